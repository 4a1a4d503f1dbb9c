"""redirect of a path, on a running nginx: who gets it, where it leads, and what a path does whose Pods disagree."""

import http.client
from collections.abc import Callable

import pytest
from support.objects import Object, listing, namespace, pod, secret, unready
from support.pods import DECLARED, HOST, LATER, entry
from support.router import Router

from reconciler.advice.evidence import Evidence
from reconciler.advice.explanation import Outcome, explain
from reconciler.advice.question import Question
from reconciler.status.explanation_record import tell_outcome
from reconciler.status.explanation_text import list_lines

Start = Callable[..., Router]
KEY = "b3Blbg=="


def moved(base: str, path: str = "/app", **more: object) -> Object:
    """Make an entry that redirects."""
    return {"basePath": base, "redirect": {"path": path}, **more}


def team(ip: str, *entries: object) -> list[Object]:
    return [namespace("a", {HOST: {}}), pod("a", "web-0", ip, list(entries), DECLARED)]


def told(here: Router) -> str:
    assert here.last
    return "\n".join(str(problem) for problem in here.last.table.problems)


def follow(here: Router, uri: str, method: str = "GET", **headers: str) -> tuple[int, str | None]:
    """Ask; give the status and the Location."""
    answer = here.ask(HOST, uri, method, **headers)
    return answer.status, answer.headers.get("location")


def test_where_it_leads(router: Start, ips: list[str]) -> None:
    """A redirect leads to a path of the host that was asked, with nothing of the request; other paths are served."""
    here = router()
    exact = {"basePath": "=/", "redirect": {"path": "/caf%C3%A9;a=b'", "statusCode": 308}}
    cycle = here.serve(*team(ips[0], moved("/old"), exact, entry("/app")))
    assert follow(here, "/old") == (302, "/app")
    assert follow(here, "/old/x?y=z", "HEAD") == (302, "/app")
    assert follow(here, "/old/%0d%0aX:y") == (302, "/app")
    assert follow(here, "/") == (308, "/caf%C3%A9;a=b'")
    assert here.ask(HOST, "/app").status == 200
    assert told(here) == ""
    routes = cycle.files["routes.jsonl"].content
    assert b'"redirect":"302 /app"' in routes


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_each_status(router: Start, ips: list[str], status: int) -> None:
    """Each status comes with the Location, also over TLS names and beside an id of the request."""
    here = router(ACCESS_LOG="json")
    here.serve(*team(ips[0], {"basePath": "/", "redirect": {"path": "/app", "statusCode": status}}))
    answer = here.ask(HOST, "/")
    assert (answer.status, answer.headers["location"]) == (status, "/app")
    assert "x-request-id" in answer.headers


def test_a_body_is_read(router: Start, ips: list[str]) -> None:
    """A POST with a body gets the redirect, and the connection goes on with the next request."""
    here = router()
    here.serve(*team(ips[0], moved("/old"), entry("/app")))
    connection = http.client.HTTPConnection("127.0.0.1", here.port, timeout=20)
    for uri, status in (("/old", 302), ("/app", 200), ("/old", 302)):
        connection.request("POST", uri, b"x" * 50_000, {"Host": HOST})
        answer = connection.getresponse()
        answer.read()
        assert answer.status == status
    connection.close()


def test_protections_hold(router: Start, ips: list[str]) -> None:
    """Who may not use a path does not learn where it leads: key, ranges, and what closes a path come first."""
    here = router(TRUSTED_PROXIES="127.0.0.1")
    ranges = {"allow": ["203.0.113.0/24"]}
    here.serve(
        *team(ips[0], moved("/old"), moved("/in", access=ranges), moved("/bad", access={})), secret("a", api_key="open")
    )
    assert follow(here, "/old") == (403, None)
    assert follow(here, "/old", X_ROUTING_API_KEY=KEY) == (302, "/app")
    inside, outside = "203.0.113.7", "198.51.100.1"
    assert follow(here, "/in", X_ROUTING_API_KEY=KEY, X_Forwarded_For=outside) == (403, None)
    assert follow(here, "/in", X_Forwarded_For=inside) == (403, None)
    assert follow(here, "/in", X_ROUTING_API_KEY=KEY, X_Forwarded_For=inside) == (302, "/app")
    assert follow(here, "/bad", X_ROUTING_API_KEY=KEY) == (403, None)


def test_no_pod_is_asked(router: Start, ips: list[str]) -> None:
    """A redirect needs no Pod that is ready, and no port that a container declares."""
    here = router()
    host, only = team(ips[0], moved("/old"))
    here.serve(host, unready(only))
    assert follow(here, "/old") == (302, "/app")
    here.serve(host, pod("a", "web-0", "10.0.0.1", [moved("/old")], []))
    assert follow(here, "/old") == (302, "/app")
    assert told(here) == ""


def test_pods_that_disagree(router: Start, ips: list[str]) -> None:
    """The oldest Pod decides whether a path redirects and where to; a ready Pod counts more; others are told."""
    here = router()
    host = namespace("a", {HOST: {}})
    old = pod("a", "web-0", ips[0], [entry("/")], DECLARED)
    new = pod("a", "web-1", ips[1], [moved("/")], DECLARED, creationTimestamp=LATER)
    here.serve(host, old, new)
    assert {here.ask(HOST, "/").status for _ in range(4)} == {200}
    assert "Pod a/web-1" in told(here)
    assert (
        "has another redirect, other than Pod web-0, which is older and counts: this Pod does not serve the path "
        "until that one is gone" in told(here)
    )
    here.serve(host, unready(old), new)
    assert follow(here, "/") == (302, "/app")
    assert "Pod a/web-0" in told(here)
    assert "has no redirect, other than Pod web-1, which is newer and counts" in told(here)
    here.serve(host, unready(old), unready(new))
    assert follow(here, "/") == (503, None)
    elsewhere = pod("a", "web-2", ips[2], [moved("/", "/other")], DECLARED)
    here.serve(host, elsewhere, new)
    assert follow(here, "/") == (302, "/other")
    assert "has another redirect, other than Pod web-2, which is older and counts" in told(here)


def test_a_protection_of_another_kind(router: Start, ips: list[str]) -> None:
    """A protection of any Pod holds, also if that Pod is not the one that decides what the path is."""
    here = router()
    host = namespace("a", {HOST: {}})
    old = pod("a", "web-0", ips[0], [moved("/")], DECLARED)
    new = pod("a", "web-1", ips[1], [entry("/", access={"allow": ["203.0.113.1"]})], DECLARED, creationTimestamp=LATER)
    here.serve(host, old)
    assert follow(here, "/") == (302, "/app")
    here.serve(host, old, new)
    assert follow(here, "/") == (403, None)


def test_beside_other_keys(router: Start, ips: list[str]) -> None:
    """Keys about Pods have no effect beside a redirect; a body that is too large is still refused."""
    here = router()
    more = {
        "retry": {"attempts": 1}, "timeouts": {"read": "5s"}, "loadBalancing": "least_conn", "maxRequestBody": "1k",
        "sessionPersistence": {"type": "Cookie"}, "share": 20, "backup": True, "weight": 3,
    }  # fmt: skip
    here.serve(*team(ips[0], moved("/", "/app", **more)))
    answer = here.ask(HOST, "/")
    assert (answer.status, "set-cookie" in answer.headers) == (302, False)
    assert here.ask(HOST, "/", "POST", b"x" * 1025).status == 413
    for name in ("retry", "timeouts", "loadBalancing", "sessionPersistence"):
        assert f"'/' {name} has no effect beside redirect" in told(here)


BAD: dict[str, tuple[Object, str]] = {
    "a port too": (moved("/x", containerPort=3000), "[1].containerPort cannot go with a redirect"),
    "a target too": (moved("/x", targetPath="/t"), "[1].targetPath cannot go with a redirect"),
    "itself": (moved("/x", "/x/"), "[1].redirect.path '/x/' is the path itself"),
    "another host": (moved("/x", "//evil.example"), "[1].redirect.path is '//evil.example'"),
    "a URI": (moved("/x", "https://evil.example/"), "[1].redirect.path is 'https://evil.example/'"),
    "a variable": (moved("/x", "/$uri"), "[1].redirect.path is '/$uri'"),
    "a line break": (moved("/x", "/a\r\nX-Evil: 1"), "[1].redirect.path is"),
    "a query": (moved("/x", "/a?b"), "[1].redirect.path is '/a?b'"),
    "no path": ({"basePath": "/x", "redirect": {"statusCode": 301}}, "[1].redirect.path is missing"),
    "a status": ({"basePath": "/x", "redirect": {"path": "/a", "statusCode": 200}}, "redirect.statusCode is 200"),
    "an unknown key": (
        {"basePath": "/x", "redirect": {"path": "/a", "host": "b"}},
        "redirect.'host' is an unknown key",
    ),
    "a text": ({"basePath": "/x", "redirect": "/a"}, "[1].redirect is a string: the entry is left out"),
    "nothing": ({"basePath": "/x", "redirect": None}, "[1].containerPort is missing"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_redirects_leave_the_entry_out(router: Start, ips: list[str], name: str) -> None:
    """An entry with a bad redirect is left out, and a shorter path takes its requests."""
    bad, problem = BAD[name]
    here = router()
    here.serve(*team(ips[0], entry("/"), bad))
    assert here.ask(HOST, "/x").status == 200
    assert problem in told(here)
    assert len(told(here).splitlines()) == 1


def test_denied_by_the_operator(router: Start, ips: list[str]) -> None:
    """If the operator forbids redirects, an entry with one is left out."""
    here = router(DENIED_OPTIONS="redirect")
    here.serve(*team(ips[0], moved("/old"), entry("/")))
    assert follow(here, "/old") == (200, None)
    assert "[0].redirect is turned off by DENIED_OPTIONS: the entry is left out" in told(here)


def test_explained(router: Start, ips: list[str]) -> None:
    """`explain` says where a redirect leads and that no Pod is asked."""
    here = router()
    objects = team(ips[0], moved("/old"), entry("/"))
    cycle = here.serve(*objects)
    evidence = Evidence(cycle.table, None, listing(objects))
    told = explain(Question(HOST, "/old/x", tls=False), evidence, here.settings)
    assert (told.outcome, told.is_answered, told.backends, told.near_misses) == (Outcome.REDIRECT, False, (), ())
    assert tell_outcome(told, here.settings) == "a redirect: 302 /app, and no Pod is asked"
    lines = [str(line.show(lambda _, text: text)) for line in list_lines(told, here.settings)]
    assert "redirect   302 /app" in lines
    assert not [line for line in lines if line.startswith("Pod gets")]
