"""Tenant: what one Namespace and its objects ask for, read on its own. Nothing here sees another Namespace."""

from collections.abc import Iterator
from contextlib import suppress
from itertools import repeat

from msgspec.structs import replace

from reconciler.objects.snapshot import Namespace
from reconciler.routing.allowances import Allowance, read_allowance, tell_cut
from reconciler.routing.annotations import Fault
from reconciler.routing.api_keys import read_api_key
from reconciler.routing.host_options import HostOptions, parse_hosts
from reconciler.routing.host_wishes import list_kept, name_asked, settle_host
from reconciler.routing.limits import (
    fit_locations,
    limit_certificates,
    limit_host_options,
    limit_kept,
    limit_locations,
    limit_options,
    limit_regexes,
)
from reconciler.routing.model import ApiKey, Path, Tenant, TenantHost, Tls
from reconciler.routing.paths import read_paths
from reconciler.routing.problems import Problem, Reason, cut_problems, problem_of
from reconciler.routing.secret_fields import SecretFields
from reconciler.routing.slips import find_host_slips
from reconciler.routing.tls import TlsRefused, find_flaws, read_clients, read_pair
from reconciler.routing.uses import measure
from reconciler.settings import Settings
from reconciler.values.certificates import CertificateError, Chain, PemCache
from reconciler.values.messages import write_time
from reconciler.values.value import Value


class _Wanted(Value, frozen=True):
    """What a Namespace wants served: its hosts, the paths of its Pods, and those that are kept on each host."""

    namespace: str
    hosts: tuple[TenantHost, ...]
    paths: tuple[Path, ...]
    kept: dict[str, tuple[Path, ...]]


def read_tenant(namespace: Namespace, settings: Settings, pems: PemCache, allowed: Allowance | None = None) -> Tenant:
    """Read all that one Namespace asks for. Only what is not legal is left out, and is a problem.

    If there is less room than all Namespaces ask for, `allowed` is what this one may use.
    """
    problems = list(tell_cut(namespace.name, allowed, settings)) if allowed else []
    most = allowed or read_allowance(settings)
    names, faults = parse_hosts(namespace.hosts, settings) if namespace.hosts is not None else ((), ())
    faults += tuple(fault for host in names for fault in find_host_slips(host.name))
    if namespace.pods and not names and not faults:
        faults = (Fault("", "names no host, so the paths of its Pods are not served", "an object of hosts"),)
    problems += (fault.as_problem(namespace.resource, settings.hosts_annotation) for fault in faults)
    fields = SecretFields(namespace.secret.data, namespace.name, pems) if namespace.secret else None
    paths = tuple(read_paths(namespace.pods, fields, most.servers, settings, problems))
    paths = limit_regexes(paths, namespace.name, problems)
    problems += _tell_lost_key(namespace, names, settings)
    wishes = [_read_host(host, namespace, fields, settings, pems) for host in names]
    # Of what exceeds MAX_HOSTS_PER_NAMESPACE only the number counts.
    first, all_names = settings.max_hosts, frozenset(host.name for host in names)
    settled = map(_settle, names[:first], wishes, repeat(namespace), repeat(all_names), repeat(settings))
    hosts = (*settled, *wishes[first:])
    named = {(one.match, one.path) for one in paths}
    kept = {host.name: tuple(list_kept(host, namespace.name, named)) for host in names[:first]}
    wanted = _Wanted(namespace.name, hosts, paths, kept)
    limited, paths = _limit(wanted, most, problems) if not allowed else _cut(wanted, first, allowed, problems)
    return Tenant(
        name=namespace.name,
        created=namespace.created,
        hosts=limited,
        paths=paths,
        api_key=_read_api_key(namespace, settings, problems),
        used=measure(limited, paths),
        problems=tuple(cut_problems(problems)),
    )


def _limit(
    wanted: _Wanted, allowed: Allowance, problems: list[Problem]
) -> tuple[tuple[TenantHost, ...], tuple[Path, ...]]:
    """Keep the hosts and paths of a Namespace, and their options, within what it may use."""
    hosts = tuple(limit_host_options(wanted.hosts, wanted.namespace, allowed, problems))
    hosts = tuple(limit_certificates(hosts, wanted.namespace, allowed))
    paths = tuple(limit_options(wanted.paths, hosts, allowed, problems))
    hosts, paths = limit_locations(hosts, paths, wanted.namespace, allowed, problems)
    return limit_kept(hosts, wanted.kept, paths, allowed, problems), paths


def _cut(
    wanted: _Wanted, most_hosts: int, allowed: Allowance, problems: list[Problem]
) -> tuple[tuple[TenantHost, ...], tuple[Path, ...]]:
    """Do the same where other Namespaces are why it may use less. Nobody gets the hosts that it loses."""
    hosts, paths = fit_locations(wanted.hosts, wanted.paths, allowed)
    hosts, paths = _limit(replace(wanted, hosts=hosts, paths=paths), allowed, problems)
    lost = (_lose(host, wanted.namespace) for host in wanted.hosts[len(hosts) : most_hosts])
    return (*hosts, *lost), paths


def _lose(host: TenantHost, namespace: str) -> TenantHost:
    """Give a host that is not served, and that nobody else gets."""
    why = "is left out: beside all other Namespaces there is no room for it"
    problem = problem_of(namespace, f"host {host.name}", why, "fewer hosts or paths", Reason.LIMIT)
    return replace(host, served=False, tls=None, problems=(problem,), waits=False)


def _read_api_key(namespace: Namespace, settings: Settings, problems: list[Problem]) -> ApiKey | None:
    """Read the API key. A Namespace that is being deleted and has lost it is closed until it is gone."""
    key = read_api_key(namespace.secret, settings.api_key_secret_field, problems)
    return ApiKey(()) if key is None and namespace.key_lost and namespace.terminating else key


def _read_host(
    host: HostOptions, namespace: Namespace, fields: SecretFields | None, settings: Settings, pems: PemCache
) -> TenantHost:
    """Read what a host's options refer to. A host whose TLS cannot be served is not served at all."""
    needs_key = host.require_api_key or settings.require_api_key
    wish = TenantHost(
        host.name, not host.broken, shared_with=host.shared_with, require_api_key=needs_key, broken=host.broken
    )
    if not host.tls or host.broken:
        return wish
    what = f"host {host.name}"
    problems = []
    try:
        try:
            chain, key = read_pair(host.tls, fields, settings, pems)
        except TlsRefused as refused:
            kept = _find_kept(host.name, namespace, pems)
            if not kept:
                raise
            chain, key = kept
            why = f"{refused.why}: its last good certificate and key are served until {write_time(chain.not_after)}"
            problems.append(Problem(namespace.resource, what, why, refused.expected, Reason.TLS))
        tls = Tls(chain, key, read_clients(host.tls, fields, pems))
    except TlsRefused as refused:
        why = f"is left out: it {refused.why}"
        problem = Problem(namespace.resource, what, why, refused.expected, Reason.TLS)
        return replace(wish, served=False, problems=(problem,), waits=bool(settings.ssl_cert))
    for part, why, expected in find_flaws(host.name, tls):
        problems.append(Problem(namespace.resource, f"{what} {part}", why, expected, Reason.TLS))
    return replace(wish, tls=tls, problems=tuple(problems))


def _settle(
    host: HostOptions, wish: TenantHost, namespace: Namespace, names: frozenset[str], settings: Settings
) -> TenantHost:
    """Add to a host what its options come to; `names` are all hosts of the Namespace."""
    settled = settle_host(host, wish.tls, names, settings)
    told = (
        Problem(namespace.resource, f"host {host.name} {fault.what}", fault.why, fault.expected, Reason.OPTION)
        for fault in (settled.faults if wish.served else ())
    )
    problems = (*wish.problems, *told)
    return replace(wish, plain=settled.plain, options=settled.options, asked=name_asked(host), problems=problems)


def _find_kept(host: str, namespace: Namespace, pems: PemCache) -> tuple[Chain, bytes] | None:
    """Find the pair that is kept for a host. One that a former version of this program accepted may be refused now."""
    for kept in namespace.kept:
        if host in kept.hosts:
            with suppress(CertificateError):
                return pems.parse_chain(kept.pair.certificate), kept.pair.key
    return None


def _tell_lost_key(namespace: Namespace, hosts: tuple[HostOptions, ...], settings: Settings) -> Iterator[Problem]:
    """Tell that paths are open to everyone since their API key is gone, unless each host says what is to be then."""
    if namespace.key_lost and namespace.terminating:
        why = "is gone while the Namespace is being deleted, and its paths answer 403"
        yield Problem(
            namespace.resource, "its API key", why, "the Namespace gone, or its Secret as it was", Reason.API_KEY
        )
    elif namespace.key_lost and not settings.require_api_key and any(host.require_api_key is None for host in hosts):
        field, secret = settings.api_key_secret_field, settings.api_key_secret_name
        why = "is gone, and its paths are open to everyone"
        expected = f'the field {field} of Secret {secret}, or "requireApiKey" true or false for each host'
        yield Problem(namespace.resource, "its API key", why, expected, Reason.API_KEY)
