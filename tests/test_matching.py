"""What explain says of a request is what a running nginx answers to it."""

import re
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from support import fixture_router
from support.authority import Authority
from support.backends import Backends
from support.examples import examples
from support.objects import FIXTURES, namespace, pod, secret, tls
from support.pods import DECLARED, entry
from support.router import Router

from reconciler.advice.evidence import Evidence
from reconciler.advice.explanation import Explanation, Outcome, explain
from reconciler.advice.matching import MISLEADING, is_misleading
from reconciler.advice.question import Question, encode_unsendable
from reconciler.rendering.routes_file import show_path
from reconciler.routing.model import Match

Start = Callable[..., Router]
SCENES = sorted([*FIXTURES.glob("*/*.yaml"), FIXTURES / "walkthrough" / "014-a-tenant-in-trouble.json"])
# Pieces of URIs, and whole ones that drawn requests meet rarely: what is encoded again behind a target, and which of
# several locations takes a path.
PIECES = r"""
    / // /a /b a b x . .. /./ /../ %2e %2F %2f%2e%2e %5c \ ; ..; ? ?a=b # % %zz %00 %0a %41 %25 %3f %23 %22 %C3%A9 %ff
    %7f %20 " < { | ~ + ' = & é $uri /.well-known /.well-known/x
"""
DIRECTED = r"""
    /a /a/ /a/x /a/b /a/b/ /a/b/x /a/b/xx /a/b/x/y /ab /a/g /a/g/x /g /b/1 /x/23 /b/1x /b/1%0a
    /a/"x /a/%22x /a/<{|}^`x /a/%3C%7B%7C%7D%5E%60x /a//b /a///x /a/%3f%23%25 /a/x\y /a/%5Cy /a/é /a/%c3%a9
    /a/%ff%00 /a/%7f%01 /a/x%20y?z=%20 /a?%22 /a/x?a?b /a/b/x/%2e. /a/%41 /a/$x
    /x.png /x.PNG /x.pNg /x.pNg/y /a/x.png /a/long/path/x.png
    /moved /moved/x /caf%C3%A9 /café/x /"%25 /"% /%22%25/x /.well-known /.well-known/x /.well-knownx
"""
BELOW: dict[str, object] = {"*.secure.dev": {}, "a.secure.dev": tls()}
HOSTS_WITH_OPTIONS = [
    namespace("odd", {
        "moved.dev": tls(), "both.dev": tls() | {"http": "serve"}, "shut.dev": tls() | {"http": "close"},
        "rest.dev": tls() | {"maintenance": True}, "restless.dev": {"maintenance": {"allow": ["127.0.0.1"]}},
        "gone.dev": tls() | {"redirect": {"hostname": "own.dev"}}, "away.dev": {"redirect": {"port": 8080}},
        "none.dev": {"http": "close"}, "kept.dev": {"keepPaths": ["/a", "=/b"]}, "first.dev": tls("nowhere"),
    }),
    namespace("bare", {"bare.dev": {"keepPaths": ["/b"]}}),
]  # fmt: skip
LONG = "x" * 1100
STATUSES = {Outcome.PODS: 200, Outcome.UNAVAILABLE: 503, Outcome.CLOSED: 403, Outcome.DEFAULT: 404}
# What a request may get from options that explain names and does not judge: whom they let in, and what Pods can speak.
REFUSALS = {
    "access.allow": {403},
    "access.deny": {403},
    "access.rateLimit": {429},
    "access.basicAuth": {401},
    "access.externalAuth": {401, 403, 500},
    "protocol": {502},
    "tls": {502},
}
BRACKETS = str.maketrans("", "", "[]")
STATUSES |= {Outcome.REFUSED: 400, Outcome.TOO_LONG: 414, Outcome.MOVED: 308}
STATUSES |= {Outcome.MAINTENANCE: 503, Outcome.WAITING: 503}


def check(router: Router, evidence: Evidence, question: Question) -> Explanation:
    """Hold an explanation against nginx's answer; give it."""
    told = explain(question, evidence, router.settings)
    keys = dict(evidence.table.routes.api_keys)
    values = keys[told.path.namespace].values if told.path and told.path.namespace in keys else ()
    answer = fixture_router.ask(
        router, question.host, question.uri, tls=bool(question.tls), key=values[0] if values else ""
    )
    if told.outcome is Outcome.REDIRECT:
        assert answer
        assert told.path
        assert f"{answer.status} {answer.headers['location']}" == told.path.redirect
        return told
    options = told.path.options if told.path else ()
    status = answer and answer.status
    if status in set[int]().union(*(REFUSALS.get(one.name, set()) for one in options)):
        return told
    if told.outcome is Outcome.HOST_REDIRECT:
        assert status in (301, 302, 303, 307, 308), (question, told)
    else:
        assert status == STATUSES.get(told.outcome), (question, told)
    if answer and told.outcome is Outcome.PODS:
        assert told.path
        # The server in place of the Pod does not tell whether a '?' without a query reached it.
        assert answer.told["uri"].removesuffix("?") == told.path.sent.removesuffix("?"), question
        assert answer.told["pod"] in {
            one.address and one.address.replace("[", "").replace("]", "") for one in told.backends
        }
        if told.path.api_key:
            denied = fixture_router.ask(router, question.host, question.uri, tls=bool(question.tls), key="")
            assert denied
            assert denied.status == 403
    return told


def uris(evidence: Evidence) -> st.SearchStrategy[str]:
    """Draw URIs from the paths that are routed and from what nginx reads in its own way."""
    upstreams = evidence.table.routes.upstreams
    paths = [show_path(one.match, one.path).lstrip("=") for one in upstreams if not one.match.is_regex]
    regexes = [st.from_regex(one.path) for one in upstreams if one.match.is_regex]
    pieces = st.lists(st.sampled_from([*PIECES.split(), LONG, *paths, *paths]), max_size=4).map("".join)
    routed = st.sampled_from(paths or ["/"]).flatmap(lambda path: pieces.map(lambda rest: f"{path}{rest}"))
    drawn = st.one_of(pieces, routed, *regexes)
    return drawn.map(lambda text: encode_unsendable(text if text.startswith("/") else f"/{text}"))


def names(evidence: Evidence) -> list[str]:
    """List names to ask for: the routed ones, ones below and beside them, and unknown ones."""
    hosts = [host.name for host in evidence.table.routes.hosts]
    hosts += [shadow.name for shadow in evidence.table.routes.shadows] + list(evidence.contests or {})
    bare = [name.removeprefix("*.") for name in hosts]
    return sorted({*bare, *(f"x.{name}" for name in bare if name[-1].isalpha()), "unknown.dev"})


def hold(router: Router, evidence: Evidence, wanted: int) -> set[Outcome]:
    """Hold explanations of drawn requests against nginx; give the outcomes that were met."""
    clients = {host.name for host in evidence.table.routes.hosts if host.tls and host.tls.client}
    met: set[Outcome] = set()

    @given(st.sampled_from(names(evidence)), uris(evidence), st.booleans())
    @settings(
        max_examples=wanted, deadline=None, derandomize=True, database=None,
        suppress_health_check=list(HealthCheck),
    )  # fmt: skip
    def ask(name: str, uri: str, encrypted: bool) -> None:
        if name not in clients and not (encrypted and not name[-1].isalpha()):
            met.add(check(router, evidence, Question(name, uri, encrypted)).outcome)

    ask()
    return met


@pytest.mark.parametrize("scene", SCENES, ids=lambda path: path.parent.name)
def test_fixtures(scene: Path, router: Start, backends: Backends) -> None:
    """For each fixture, drawn requests get from nginx what explain says."""
    serving = router(ALLOW_REGEX_PATHS="true" if scene.parent.name in ("paths", "regex") else "false")
    evidence = fixture_router.serve(serving, backends, fixture_router.move(fixture_router.read_objects(scene)))
    assert Outcome.PODS in hold(serving, evidence, examples(120))


def test_all_outcomes(router: Start, backends: Backends, ips: list[str], authority: Authority) -> None:
    """In a cluster with every kind of path, host and answer, drawn requests get from nginx what explain says."""
    serving = router(ALLOW_REGEX_PATHS="true", MAX_CERTIFICATES_PER_NAMESPACE="10")
    certificate, key = authority.issue("secure.dev")
    paths = [
        entry("/"),
        entry("/a", targetPath="/v1"),
        entry("=/a/b", targetPath="/one/"),
        entry("/a/b/x", targetPath="/"),
        entry("=/x/23"),
        entry("/caf%C3%A9"),
        entry("/a/long/path"),
        entry("/%22%25"),
        {"basePath": "/moved", "redirect": {"path": "/a"}},
    ]
    regexes = [entry("~^/(b|x)/[0-9]+$"), entry(r"~*\.PNG$"), entry(r"~\.png$")]
    wanted = [
        namespace("own", {"own.dev": {"sharedWith": ["guest"]}, "secure.dev": tls(), **BELOW}),
        secret("own", ssl_crt=certificate, ssl_key=key),
        namespace("guest", {"own.dev": {}, "*.own.dev": {}}, created="2026-11-23T00:00:00Z"),
        pod("own", "web-0", ips[0], paths, DECLARED),
        pod("own", "web-5", ips[2], regexes, DECLARED),
        pod("guest", "web-1", ips[1], [entry("/g"), entry("/a/g")], DECLARED),
        namespace("keyed", {"keyed.dev": {}}), secret("keyed", api_key="open sesame"),
        pod("keyed", "web-2", ips[2], [entry("/a"), entry("/b")], DECLARED),
        namespace("closed", {"closed.dev": {"requireApiKey": True}}),
        pod("closed", "web-3", ips[2], [entry("/a")], DECLARED),
        namespace("down", {"down.dev": {}}),
        *HOSTS_WITH_OPTIONS,
        pod("odd", "web-6", ips[0], [entry("/"), entry("/.well-known/acme-challenge"), *regexes], DECLARED),
        pod("bare", "web-7", ips[0], [entry("/.well-known/acme-challenge")], DECLARED),
        secret("odd", ssl_crt=certificate, ssl_key=key),
        pod("down", "web-4", "", [entry("/a"), entry("/")], DECLARED),
    ]  # fmt: skip
    evidence = fixture_router.serve(serving, backends, wanted)
    matches = [
        place.match for host in evidence.table.routes.hosts for place in host.locations if host.name == "own.dev"
    ]
    assert set(matches) == set(Match)
    directed = (Question("own.dev", encode_unsendable(uri), tls=False) for uri in [*DIRECTED.split(), f"/{LONG}"])
    met = {check(serving, evidence, question).outcome for question in directed}
    met |= hold(serving, evidence, 900)
    assert met == set(Outcome)


def test_same_expressions() -> None:
    """The expression for misleading paths is that of nginx.conf."""
    import reconciler.templates

    (folder,) = reconciler.templates.__path__
    template = (Path(folder) / "nginx.conf.j2").read_text()
    assert f'"~*{MISLEADING}" 1;' in template


# What the one expression stands for: what looks like a host in front, dot segments, a fragment.
RULES = [
    r"^/(?:/|\\|%2f|%5c)",
    r"^[^?]*(?:/|\\|%2f|%5c)(?:[.]|%2e){1,2}(?:[/;?#\\]|%2f|%5c|%3b|%3f|%23|$)",
    r"^[^?]*#",
]
MISLEADING_PARTS = ["/", "\\", "%2f", "%5C", ".", "..", "%2e", ";", "?", "#", "%3b", "%3F", "%23", "a", "%", "/b/c"]


@given(st.lists(st.sampled_from(MISLEADING_PARTS), max_size=14))
@example(["a/" * 4000])
@example(["%2e%" * 2000])
def test_misleading_paths(parts: list[str]) -> None:
    uri = "/" + "".join(parts)
    assert is_misleading(uri) == any(re.search(rule, uri, re.IGNORECASE) for rule in RULES)


@pytest.mark.parametrize("uri", ["/" + "a/" * 4000, "/" + "a%2fb/" * 1300, "/" + "%2e%41" * 1000, "/" + ".a/" * 2000])
def test_long_paths(router: Start, ips: list[str], uri: str) -> None:
    """The expression comes to an end on the longest paths, in the memory that nginx gives to compiled ones."""
    here = router()
    here.serve(namespace("a", {"a.dev": {}}), pod("a", "web-0", ips[0], [entry("/")], DECLARED))
    answer = here.ask("a.dev", uri)
    assert (answer.status, is_misleading(uri)) in ((200, False), (400, True))
