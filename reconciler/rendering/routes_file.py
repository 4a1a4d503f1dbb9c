"""The routes file: routes as lines of JSON that people, scripts and git can compare. It holds no secret."""

from collections.abc import Iterator
from typing import Any

import msgspec

from reconciler.rendering.path_rules import PathRules, show_path
from reconciler.routing.keys.catalogue import filter_protections
from reconciler.routing.model import Answer, Host, Location, Routes, Server, Size, Upstream
from reconciler.routing.options import tell_options
from reconciler.values.files import Files
from reconciler.values.memo import Memo

ROUTES_FILE = "routes.jsonl"
API_KEYS_FILE = "api-keys.conf"


class RoutesError(ValueError):
    """A tree that this program did not make: its lines cannot be read as routes or keys."""


class RoutesWriter:
    """Writes routes files for one loop. A host or upstream that did not change is not written again."""

    def __init__(self) -> None:
        self._hosts = Memo(_write_host)
        self._upstreams = Memo(_write_upstream)

    def write(self, routes: Routes) -> bytes:
        """Write a line for each host with its paths, and one for each upstream with its Pods."""
        hosts = self._hosts.round({host.name: host for host in routes.hosts})
        upstreams = self._upstreams.round({upstream.name: upstream for upstream in routes.upstreams})
        return b"".join([*hosts.values(), *upstreams.values()])


def measure_files(files: Files) -> Size:
    """Count the hosts and Pods of a tree. RoutesError if this program did not make it."""
    lines = files[ROUTES_FILE].content.splitlines() if ROUTES_FILE in files else ()
    try:
        records = [msgspec.json.decode(line) for line in lines]
        pods = {(record["namespace"], pod) for record in records if "upstream" in record for pod in record["pods"]}
        return Size(sum("host" in record for record in records), len(pods))
    except (ValueError, LookupError, TypeError, AttributeError):
        raise RoutesError(f"{ROUTES_FILE} is malformed") from None


def name_locations(locations: tuple[Location, ...]) -> Iterator[tuple[str, Location]]:
    """Give locations with their paths as tenants write them: the two locations of a prefix are one path."""
    rules = PathRules(locations)
    for location in locations:
        if not rules.is_second(location):
            yield rules.show(location), location


def _write_host(host: Host) -> bytes:
    return msgspec.json.encode(tell_host(host)) + b"\n"


def tell_host(host: Host) -> dict[str, Any]:
    """Give a host and its paths as the routes file has them."""
    tls = ["TLS"] if host.tls else []
    clients = ["client certificates"] if host.tls and host.tls.client else []
    return {
        "host": host.name,
        "options": {
            "namespace": host.namespace,
            "listens": ", ".join(tls + clients) or "plain",
            **({"PORT": host.plain.value} if host.plain is not host.usual_plain else {}),
            **tell_options(host.options),
        },
        "paths": dict(_list_paths(host.locations)),
    }


def _list_paths(locations: tuple[Location, ...]) -> Iterator[tuple[str, dict[str, str | None]]]:
    for path, location in name_locations(locations):
        yield (
            path,
            {
                "namespace": location.namespace,
                "access": show_access(location),
                "target": location.target,
                "waits for": "a ready Pod" if location.answer is Answer.UNAVAILABLE else None,
                "upstream": location.upstream,
                **tell_options(location.options),
            },
        )


def show_access(location: Location) -> str:
    """Say who may use a location: open, with API key, restricted by options, closed, or reserved."""
    if location.answer in (Answer.CLOSED, Answer.RESERVED):
        return "closed" if location.answer is Answer.CLOSED else "reserved"
    if location.api_key:
        return "with API key"
    return "restricted" if filter_protections(location.options) else "open"


def _write_upstream(upstream: Upstream) -> bytes:
    pods = {server.pod: _write_server(server) for server in upstream.servers}
    check = upstream.check and msgspec.structs.asdict(upstream.check)
    path = show_path(upstream.match, upstream.path)
    record = {"upstream": upstream.name, "namespace": upstream.namespace, "path": path, "check": check, "pods": pods}
    return msgspec.json.encode(record) + b"\n"


def _write_server(server: Server) -> dict[str, Any]:
    backup = {"use": "backup"} if server.backup else {}
    return {"address": server.address, "weight": server.weight, **backup}
