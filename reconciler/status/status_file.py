"""The status file: the document of /status.json. docs/status.schema.json describes it."""

import gzip
import math
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import msgspec

from reconciler import __version__
from reconciler.rendering.routes_file import name_locations, show_access
from reconciler.routing.model import NO_ROUTES, Host, Routes, Upstream
from reconciler.routing.options import tell_options
from reconciler.routing.own_upstreams import find_own_upstreams
from reconciler.settings import VARIABLES, Settings
from reconciler.status.figures import Figures
from reconciler.status.fresh import Fresh
from reconciler.status.serving import describe_serving
from reconciler.status.state import Seen, State
from reconciler.values.certificates import Chain, parse_chain
from reconciler.values.messages import escape, write_time
from reconciler.values.value import Value

_VERSION = 1
_DAY = 86400.0


class Document(Value, frozen=True):
    """A document and its gzip form. `tag` is equal for documents between which nothing happened."""

    tag: str
    plain: bytes
    packed: bytes


class _Routing(Value, frozen=True):
    """What a document says of Routes. It stays the same as long as they do."""

    hosts: msgspec.Raw
    upstreams: msgspec.Raw
    certificates: tuple[tuple[str, str, str, float], ...]
    size: dict[str, int]


class StatusFile:
    """Writes the document: `write` gives one that is at most a second old, and is written once for all who ask.

    Only the thread that asks pays for it; the loop never waits. `look` gives nginx's figures.
    """

    def __init__(self, state: State, settings: Settings, look: Callable[[], Figures]) -> None:
        self._state = state
        self._settings = settings
        self._look = look
        self._default = parse_chain(settings.ssl_cert) if settings.ssl_cert else None
        self._routes: Routes | None = None
        self._routing = _read_routes(NO_ROUTES, self._default)
        self.write = Fresh(self.write_anew)

    def write_anew(self) -> Document:
        """Write the document of this moment. Only what it says of unchanged routes is not written again."""
        seen = self._state.seen
        routes = seen.cycle.table.routes if seen.cycle else NO_ROUTES
        if routes is not self._routes:
            self._routes, self._routing = routes, _read_routes(routes, self._default)
        plain = msgspec.json.encode(self._describe(seen, time.time()))
        # Level 1: on a large document it takes a third of the time of level 6, and a tenth more space.
        return Document(f'W/"{seen.started:.0f}-{seen.number}"', plain, gzip.compress(plain, 1, mtime=0))

    def _describe(self, seen: Seen, now: float) -> dict[str, Any]:
        return {
            "version": _VERSION,
            "program": {"name": "dispatcher", "version": seen.version or __version__},
            "time": write_time(now),
            "started": write_time(seen.started),
            "serving": describe_serving(seen, now),
            "size": {"hosts": seen.size.hosts, "pods": seen.size.pods, **self._routing.size}
            | {"namespaces": len(seen.cycle.snapshot.namespaces) if seen.cycle else 0},
            "source": _describe_source(seen),
            "nginx": self._describe_nginx(seen),
            "problems": list(_describe_problems(seen)),
            "held": list(_describe_held(seen)),
            "hosts": self._routing.hosts,
            "upstreams": self._routing.upstreams,
            "changes": list(_describe_changes(seen)),
            "reloads": [
                {
                    "time": write_time(one.at),
                    "release": one.release,
                    "phases": [{"name": name, "seconds": round(seconds, 6)} for name, seconds in one.phases],
                }
                for one in seen.reloads
            ],
            "certificates": [
                {"host": host, "namespace": namespace, "part": part}
                | {"not_after": write_time(end), "days": round((end - now) / _DAY, 2)}
                for host, namespace, part, end in self._routing.certificates
            ],
            "settings": list(_describe_settings(seen)),
        }

    def _describe_nginx(self, seen: Seen) -> dict[str, Any]:
        figures = self._look() if seen.running else Figures()
        return {
            "version": ".".join(map(str, self._settings.nginx_version)) or None,
            "running": seen.running,
            "workers": {"serving": figures.serving, "leaving": figures.leaving},
            "connections": figures.connections.active if figures.connections else None,
            "memory": figures.memory,
            "endpoints": _describe_endpoints(seen, figures),
        }


def _read_routes(routes: Routes, default: Chain | None) -> _Routing:
    own = find_own_upstreams(routes)
    hosts = msgspec.json.encode([_describe_host(host, own) for host in routes.hosts])
    # Once for all hosts: a Namespace may have a thousand hosts, and each Pod serves all of them.
    upstreams = msgspec.json.encode({upstream.name: _describe_pods(upstream) for upstream in routes.upstreams})
    chains = [
        (host.name, host.namespace, part, chain)
        for host in routes.hosts
        if host.tls
        for part, chain in (("certificate", host.tls.chain), ("clientCertificate", host.tls.client))
    ]
    chains.append(("", "", "default", routes.default.chain if routes.default else default))
    ends = [(host, namespace, part, chain.not_after) for host, namespace, part, chain in chains if chain]
    size = {"locations": sum(len(host.locations) for host in routes.hosts), "upstreams": len(routes.upstreams)}
    return _Routing(
        msgspec.Raw(hosts), msgspec.Raw(upstreams), tuple(sorted(ends, key=lambda end: (end[3], end))), size
    )


def _describe_host(host: Host, own: Mapping[str, str]) -> dict[str, Any]:
    tls = host.tls and {"not_after": write_time(host.tls.chain.not_after), "client": bool(host.tls.client)}
    paths = [
        {
            "path": path,
            "namespace": location.namespace,
            "access": show_access(location),
            "target": location.target,
            "answer": location.answer.value,
            "upstream": location.upstream,
            "options": tell_options(location.options),
            "reload": own.get(location.upstream, ""),
        }
        for path, location in name_locations(host.locations)
    ]
    return {
        "host": host.name,
        "namespace": host.namespace,
        "plain": host.plain.value,
        "open": host.open,
        "options": tell_options(host.options),
        "tls": tls,
        "paths": paths,
    }


def _describe_pods(upstream: Upstream) -> list[dict[str, Any]]:
    return [{"name": one.pod, "address": one.address, "weight": one.weight} for one in upstream.servers]


def _describe_endpoints(seen: Seen, figures: Figures) -> dict[str, Any]:
    """Describe how Pods come and go in nginx, and why with reloads, unless a person chose that."""
    chosen = seen.chosen
    why = "" if seen.without_reload or not chosen else seen.refused or chosen.why
    version = figures.standing.version if figures.standing else None
    told = {"chosen": chosen.by if chosen else None, "without_reload": seen.without_reload}
    return {**told, "why": why or None, "version": version}


def _describe_source(seen: Seen) -> dict[str, Any]:
    answers = [
        {"resource": resource, "code": code, "number": one.number, "bytes": one.received, "last": write_time(one.last)}
        for (resource, code), one in sorted(seen.answers.items())
    ]
    return {"text": seen.source, "answers": answers}


def _describe_problems(seen: Seen) -> Iterator[dict[str, str]]:
    for problem, since in seen.standing.items():
        yield problem.as_record() | {"since": write_time(since)}


def _describe_held(seen: Seen) -> Iterator[dict[str, str | None]]:
    for one in seen.cycle.held if seen.cycle else ():
        until = write_time(one.until) if math.isfinite(one.until) else None
        yield {"namespace": one.name, "why": one.why, "until": until}


def _describe_changes(seen: Seen) -> Iterator[dict[str, Any]]:
    for one in seen.changes:
        changes = [{"sign": change.sign, "text": escape(str(change)[2:])} for change in one.changes]
        told = {"time": write_time(one.at), "release": one.release, "without_reload": one.without_reload}
        yield {**told, "changes": changes, "more": one.more}


def _describe_settings(seen: Seen) -> Iterator[dict[str, Any]]:
    """Describe all settings: those that are set as they were written, which holds no secret: keys are in files."""
    for variable in VARIABLES.values():
        name = next((name for name in variable.names if name in seen.settings), variable.names[0])
        value, default = seen.settings.get(name, variable.default), variable.default
        is_set = name in seen.settings
        yield {"name": name, "value": value, "default": default, "allowed": variable.allowed, "set": is_set}
