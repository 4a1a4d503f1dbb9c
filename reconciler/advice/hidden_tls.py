"""Hidden TLS: routing without Secrets, for a person who may not read them. Hosts keep that they have TLS."""

import json
import math
from collections.abc import Iterator

from msgspec.structs import replace

from reconciler.advice.evidence import Evidence
from reconciler.objects.snapshot import Namespace, Snapshot
from reconciler.routing.annotations import Ambiguous, Refused, read_json
from reconciler.routing.host_options import HostOptions, parse_hosts
from reconciler.routing.host_wishes import settle_host
from reconciler.routing.model import Host, Tls
from reconciler.routing.shadows import find_shadows
from reconciler.settings import Settings
from reconciler.values.addresses import parse_address
from reconciler.values.certificates import Chain

_UNKNOWN = Chain(b"", -math.inf, math.inf, frozenset(), (), ())


def hide_tls(snapshot: Snapshot) -> Snapshot:
    """Take `ssl` from the options of all hosts: without its Secret a host would count as left out.

    `http` goes with it, for it means something else without TLS.
    """
    return replace(snapshot, namespaces=tuple(replace(one, hosts=_strip(one.hosts)) for one in snapshot.namespaces))


def show_tls(evidence: Evidence, snapshot: Snapshot, settings: Settings) -> Evidence:
    """Give the hosts TLS again, with certificates that nobody knows; `snapshot` is the one before `hide_tls`."""
    wishes = {(one.name, wish.name): wish for one in snapshot.namespaces for wish in _list_tls(one, settings)}
    routes = evidence.table.routes
    hosts = tuple(_give_tls(host, wishes.get((host.namespace, host.name)), settings) for host in routes.hosts)
    claimed = [name for name, contest in (evidence.contests or {}).items() if contest.claims]
    shadows = tuple(find_shadows(claimed, {host.name: host for host in hosts}, tls=True))
    table = replace(evidence.table, routes=replace(routes, hosts=hosts, shadows=shadows))
    return replace(evidence, table=table, has_secrets=False)


def _strip(text: str | None) -> str | None:
    """Take `ssl` from an annotation; one that is malformed stays as it is, with its faults."""
    sound = {one.name for one in parse_hosts(text)[0] if one.tls and not one.broken} if text else set()
    try:
        named = read_json(text, dict, "object") if text and sound else Ambiguous()
    except Refused:
        return text
    if isinstance(named, Ambiguous):
        return text
    for name, options in named.items():
        if isinstance(options, dict) and (parse_address(name) or name.lower()) in sound:
            options.pop("ssl", None)
            options.pop("http", None)
    return json.dumps(named)


def _list_tls(namespace: Namespace, settings: Settings) -> Iterator[HostOptions]:
    wishes = parse_hosts(namespace.hosts, settings)[0] if namespace.hosts else ()
    yield from (one for one in wishes if one.tls and not one.broken)


def _give_tls(host: Host, wish: HostOptions | None, settings: Settings) -> Host:
    if not wish or not wish.tls:
        return host
    tls = Tls(_UNKNOWN, b"", _UNKNOWN if wish.tls.client else None)
    plain = settle_host(wish, tls, {wish.name}, settings).plain
    return replace(host, tls=tls, plain=plain)
