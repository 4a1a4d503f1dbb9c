"""Routes as lines that people, scripts and git can compare: one file of the tree, without any secret in it."""

import re
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import quote

import msgspec
from deepdiff import DeepDiff

from reconciler.routing.annotations import Match
from reconciler.routing.table import Host, Location, Routes
from reconciler.routing.tenant import Upstream
from reconciler.values.files import Files
from reconciler.values.memo import Memo
from reconciler.values.patterns import DNS_LABEL
from reconciler.values.value import Value

ROUTES_FILE = "routes.jsonl"
API_KEYS_FILE = "api-keys.conf"
# The folder of the default server's certificate. No host is called so: an underscore is not legal in one.
DEFAULT_SERVER = "_default"
_PEM_FILES = ("certificate.crt", "certificate.key", "clientCertificate.crt")
_AS_WRITTEN = "/!$&'()*+,;=:@~"
_SECRETS = ("key", "certificate")
_KEY_LINE = re.compile(rf'"?/({DNS_LABEL.expression})(/*)"? "?[A-Za-z0-9+/]+={{0,2}}"?;')


class RoutesError(ValueError):
    """A tree that did not come from here: its lines cannot be read as routes or keys."""


class RouteChange(Value, frozen=True, order=True):
    """One thing that changed in routing: a host, path, pod, key or certificate; `sign` is `+`, `-` or `~`."""

    kind: str
    name: str
    sign: str
    detail: str

    def __str__(self) -> str:
        return f"{self.sign} {self.kind} {self.name}{f' ({self.detail})' if self.detail else ''}"


class Size(Value, frozen=True):
    """How much is routed."""

    hosts: int
    pods: int

    def shrinks_much(self, new: "Size") -> bool:
        """Tell whether more than half of the hosts or of the Pods would go."""
        return 2 * new.hosts < self.hosts or 2 * new.pods < self.pods


def measure_routes(routes: Routes) -> Size:
    """Count hosts and the Pods behind them."""
    pods = {(upstream.namespace, server.pod) for upstream in routes.upstreams for server in upstream.servers}
    return Size(len(routes.hosts), len(pods))


def measure_files(files: Files) -> Size:
    """Count the same in a tree; RoutesError where it is not of this program's making."""
    lines = files[ROUTES_FILE].content.splitlines() if ROUTES_FILE in files else ()
    try:
        records = [msgspec.json.decode(line) for line in lines]
        pods = {(record["namespace"], pod) for record in records if "upstream" in record for pod in record["pods"]}
        return Size(sum("host" in record for record in records), len(pods))
    except (ValueError, LookupError, TypeError, AttributeError):
        raise RoutesError(f"{ROUTES_FILE} is malformed") from None


def write_routes(routes: Routes) -> bytes:
    """Write routes as lines of JSON: a line for each host with its paths, and for each upstream with its Pods."""
    hosts = _host_lines.round({host.name: host for host in routes.hosts}, None)
    upstreams = _upstream_lines.round({upstream.name: upstream for upstream in routes.upstreams}, None)
    return b"".join([*hosts.values(), *upstreams.values()])


def compare(old: Files, new: Files) -> tuple[RouteChange, ...]:
    """List what differs between two trees in routing terms, sorted; of a secret only that it changed.

    RoutesError where a tree is not of this program's making.
    """
    return compare_first(old, new, None)[0]


def compare_first(old: Files, new: Files, most: int | None) -> tuple[tuple[RouteChange, ...], int]:
    """List the first differences alone, and tell how many more there are: what nobody reads is not explained."""
    before, after = ({*tree[ROUTES_FILE].content.splitlines()} if ROUTES_FILE in tree else set() for tree in (old, new))
    try:
        routes, secrets = map(_read_items, (before - after, after - before)), map(_read_secrets, (old, new))
        (before_routes, after_routes), (before_secrets, after_secrets) = routes, secrets
        items, others = before_routes | before_secrets, after_routes | after_secrets
        changed = sorted(item for item in items.keys() | others.keys() if items.get(item) != others.get(item))
        return tuple(_explain_items(items, others, changed[:most])), max(0, len(changed) - (most or len(changed)))
    except (ValueError, LookupError, TypeError, AttributeError):
        raise RoutesError(f"{ROUTES_FILE} or {API_KEYS_FILE} is malformed") from None


def _write_host(host: Host, _: None) -> bytes:
    tls = ["TLS"] if host.tls else []
    clients = ["client certificates"] if host.tls and host.tls.client else []
    record = {
        "host": host.name,
        "options": {"namespace": host.namespace, "listens": ", ".join(tls + clients) or "plain"},
        "paths": dict(_write_paths(host.locations)),
    }
    return msgspec.json.encode(record) + b"\n"


_host_lines = Memo(_write_host)


def _write_paths(locations: tuple[Location, ...]) -> Iterator[tuple[str, dict[str, str | None]]]:
    prefixes = {(location.path, location.upstream) for location in locations if location.match is Match.PREFIX}
    for location in locations:
        path = location.path
        if location.match is Match.EXACT and (path.rstrip("/") + "/", location.upstream) in prefixes:
            continue  # the prefix's own place
        if location.match is Match.PREFIX:
            path = path.rstrip("/") or "/"
        yield (
            show_path(location.match, path),
            {
                "namespace": location.namespace,
                "access": "closed" if location.closed else "with API key" if location.api_key else "open",
                "target": location.target,
                "upstream": location.upstream,
            },
        )


def show_path(match: Match, path: str) -> str:
    """Give a path as a tenant writes it, percent-encoded."""
    regex = match.is_regex
    return f"{match.value}{path if regex else quote(path, safe=_AS_WRITTEN, errors='surrogateescape')}"


def _write_upstream(upstream: Upstream, _: None) -> bytes:
    pods = {server.pod: {"address": server.address, "weight": server.weight} for server in upstream.servers}
    check = upstream.check and msgspec.structs.asdict(upstream.check)
    path = show_path(upstream.match, upstream.path)
    record = {"upstream": upstream.name, "namespace": upstream.namespace, "path": path, "check": check, "pods": pods}
    return msgspec.json.encode(record) + b"\n"


_upstream_lines = Memo(_write_upstream)

# Of which kind, and its name.
_Item = tuple[str, str]
_Items = dict[_Item, dict[str, Any]]


def _read_items(lines: set[bytes]) -> _Items:
    items: _Items = {}
    for line in lines:
        record = msgspec.json.decode(line)
        if "host" in record:
            items["host", record["host"]] = record["options"]
            items |= {("path", f"{record['host']}{path}"): path_ for path, path_ in record["paths"].items()}
        else:
            place = f"{record['namespace']}{record['path']}"
            items |= {
                ("pod", f"{record['namespace']}/{pod} for {record['path']}"): at for pod, at in record["pods"].items()
            }
            items |= {("check", place): record["check"]} if record["check"] else {}
    return items


def _read_secrets(tree: Files) -> _Items:
    """Read what can be told of secrets: of a value there is no more than a hash, of this process alone."""
    keys = tree[API_KEYS_FILE].content.decode().splitlines() if API_KEYS_FILE in tree else []
    items: _Items = {}
    for line in keys:
        found = _KEY_LINE.fullmatch(line)
        if not found:
            raise RoutesError(f"{API_KEYS_FILE} is malformed")
        items.setdefault(("key", f"of Namespace {found[1]}"), {})[found[2]] = hash(line)
    for path, file in tree.items():
        folder, _, name = path.rpartition("/")
        if name in _PEM_FILES:
            host = folder.rpartition("/")[2]
            of = "the default server" if host == DEFAULT_SERVER else f"host {host}"
            items.setdefault(("certificate", f"of {of}"), {})[name] = hash(file.content)
    return items


def _explain_items(old: _Items, new: _Items, changed: list[_Item]) -> Iterator[RouteChange]:
    for item in changed:
        kind, name = item
        if item not in old or item not in new:
            detail = _describe(kind, new.get(item) or old[item])
            yield RouteChange(kind, name, "+" if item in new else "-", detail)
        else:
            yield RouteChange(kind, name, "~", _explain(kind, old[item], new[item]))


def _describe(kind: str, values: Mapping[str, Any]) -> str:
    told = {} if kind in _SECRETS else values
    return ", ".join(f"{name} {value}" for name, value in told.items() if name != "upstream" and value is not None)


def _explain(kind: str, old: Mapping[str, Any], new: Mapping[str, Any]) -> str:
    if kind in _SECRETS:
        return "changed"
    items = [item for items in DeepDiff(old, new, view="tree").values() for item in items]
    return ", ".join(sorted(f"{item.path(output_format='list')[0]} {item.t1} -> {item.t2}" for item in items))
