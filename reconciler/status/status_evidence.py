"""From a running router's status to evidence: the routes that it tells, as a routing table."""

import math
from collections.abc import Iterator
from urllib.parse import unquote

from reconciler.advice.evidence import Evidence, HeldNamespace
from reconciler.objects.listing import Listing
from reconciler.objects.snapshot import Resource
from reconciler.routing.model import Answer, Host, Location, Match, Plain, Routes, RoutingTable, Server, Tls, Upstream
from reconciler.routing.options import Option, ToldOption
from reconciler.routing.paths import name_upstream
from reconciler.routing.problems import Problem, Reason
from reconciler.routing.shadows import find_shadows
from reconciler.settings import Settings, SettingsError, read_settings
from reconciler.status.status_reader import Status, StatusHost, StatusPath, StatusProblem, StatusTls
from reconciler.values.certificates import Chain

_ANSWERS = {answer.value: answer for answer in Answer}
_PLAIN = {plain.value: plain for plain in Plain}
# The settings that say what a request gets. Others name files, which lie on the router's machine.
_READ = ("PORT", "SSL_PORT", "DEFAULT_LOCATION_RETURN", "API_KEY_HEADER", "NGINX_STATUS_PATH", "HOST_SHARING")


def make_evidence(status: Status, url: str) -> Evidence:
    """Make evidence of a status. A router does not tell of what it does not route, which is one of the gaps."""
    hosts: list[Host] = []
    upstreams: dict[str, Upstream] = {}
    for host in status.hosts:
        upstreams |= {one.name: one for one in (_read_upstream(path, status) for path in host.paths)}
        hosts.append(_read_host(host))
    served = {one.name: one for one in hosts}
    shadows = tuple(find_shadows(served, served, tls=True))
    routes = Routes(tuple(hosts), tuple(upstreams.values()), (), 512, None, shadows)
    problems = tuple(map(_read_problem, status.problems))
    gaps = [
        f"{url} tells what the router serves, and nothing of objects that it does not route or Pods without traffic"
    ]
    gaps += [] if status.serving.state == "serving" else [f"the router says: {status.serving.text}"]
    held = tuple(HeldNamespace(one.namespace, one.why) for one in status.held)
    paths = (path for host in status.hosts for path in host.paths if path.reload)
    own = {name_upstream(one.namespace, *_read_route(one.path)): one.reload for one in paths}
    table = RoutingTable(routes, problems, math.inf)
    return Evidence(table, None, Listing(), held=held, gaps=tuple(gaps), own_upstreams=own)


def read_router_settings(status: Status, settings: Settings) -> Settings:
    """Read the router's own settings that say what a request gets; `settings` if they cannot be read."""
    given = {one.name: one.value for one in status.settings if one.name in _READ and one.value}
    try:
        return read_settings(given)
    except SettingsError:
        return settings


def _read_host(one: StatusHost) -> Host:
    exact = {path.path.removeprefix("=") for path in one.paths if path.path.startswith("=")}
    locations = [location for path in one.paths for location in _list_locations(path, exact)]
    in_order = tuple(sorted(locations, key=lambda location: location.match.is_regex))
    tls = _read_tls(one.tls) if one.tls else None
    # A former router does not tell what the plain port answers.
    plain = _PLAIN.get(one.plain, Plain.CLOSED if tls else Plain.SERVES)
    options = tuple(Option(name, ToldOption(text)) for name, text in one.options.items())
    return Host(one.host, (), one.namespace, tls, in_order, plain, options, one.open)


def _list_locations(path: StatusPath, exact: set[str]) -> Iterator[Location]:
    """List the locations of a path. A prefix has two, unless its exact one is told by itself."""
    match, text = _read_route(path.path)
    upstream = "" if path.answer == Answer.RESERVED.value else name_upstream(path.namespace, match, text)
    answer = _ANSWERS.get(path.answer, Answer.PODS)
    key = path.access == "with API key"
    options = tuple(Option(name, ToldOption(text)) for name, text in path.options.items())
    if match is not Match.PREFIX:
        yield Location(match, text, path.namespace, upstream, path.target, answer, key, 0, options)
        return
    bare = None if path.target is None else path.target.rstrip("/")
    if path.path not in exact:
        yield Location(
            Match.EXACT, text, path.namespace, upstream, None if bare is None else bare or "/", answer, key, 0, options
        )
    below = None if bare is None else f"{bare}/"
    yield Location(match, f"{text.rstrip('/')}/", path.namespace, upstream, below, answer, key, 0, options)


def _read_route(shown: str) -> tuple[Match, str]:
    """Read a path as `show_path` writes it."""
    modifier = next(one for one in ("~*", "~", "=", "") if shown.startswith(one))
    match, text = Match(modifier), shown.removeprefix(modifier)
    return match, text if match.is_regex else unquote(text, errors="surrogateescape")


def _read_upstream(path: StatusPath, status: Status) -> Upstream:
    match, text = _read_route(path.path)
    servers = tuple(Server(pod.address, pod.weight, pod.name) for pod in status.upstreams.get(path.upstream, ()))
    return Upstream(name_upstream(path.namespace, match, text), path.namespace, match, text, servers, None)


def _read_tls(tls: StatusTls) -> Tls:
    """Give TLS of which only the dates are known."""
    chain = Chain(b"", -math.inf, tls.not_after.timestamp(), frozenset(), (), ())
    return Tls(chain, b"", chain if tls.client else None)


def _read_problem(one: StatusProblem) -> Problem:
    reason = next((reason for reason in Reason if reason.value == one.reason), Reason.MORE)
    return Problem(Resource(one.kind, one.namespace, one.name), one.what, one.why, one.expected, reason)
