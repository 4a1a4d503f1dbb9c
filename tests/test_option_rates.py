"""access.rateLimit on a running nginx: what a client gets beyond its share, and who counts as one client."""

from collections.abc import Callable

import pytest
from support.objects import Object, namespace, pod, secret, unready
from support.pods import DECLARED, HOST, LATER, entry
from support.router import Answer, Router

Start = Callable[..., Router]
TRUSTED = {"TRUSTED_PROXIES": "127.0.0.1"}
# Within a minute a test gets no further request.
SLOW = {"rateLimit": {"requests": 1, "unit": "minute", "burst": 1}}


def team(ip: str, *entries: object) -> list[Object]:
    return [namespace("a", {HOST: {}, "other.k8s.local": {}}), pod("a", "web-0", ip, list(entries), DECLARED)]


def ask(here: Router, uri: str, client: str, count: int = 1) -> list[int]:
    return [here.ask(HOST, uri, X_Forwarded_For=client).status for _ in range(count)]


def told(here: Router) -> str:
    assert here.last
    return "\n".join(str(problem) for problem in here.last.table.problems)


def refused(answer: Answer) -> tuple[int, str | None]:
    return answer.status, answer.headers.get("retry-after")


def test_beyond_the_limit(router: Start, ips: list[str]) -> None:
    """A client gets its requests and the burst, then 429 with Retry-After; other clients and paths are served."""
    here = router(**TRUSTED)
    cycle = here.serve(*team(ips[0], entry("/", access=SLOW), entry("/free")))
    assert ask(here, "/", "203.0.113.1", 4) == [200, 200, 429, 429]
    # nginx counts thousandths of a request in a second: 16 for one in a minute.
    assert refused(here.ask(HOST, "/", X_Forwarded_For="203.0.113.1")) == (429, "63")
    assert refused(here.ask(HOST, "/", X_Forwarded_For="203.0.113.2")) == (200, None)
    assert ask(here, "/free", "203.0.113.1", 3) == [200] * 3
    assert told(here) == ""
    assert b'"access.rateLimit":"1 a minute, burst 1"' in cycle.files["routes.jsonl"].content


def test_hosts_count_together(router: Start, ips: list[str]) -> None:
    """One path has one limit, on whatever host it is asked for."""
    here = router(**TRUSTED)
    here.serve(*team(ips[0], entry("/", access=SLOW)))
    assert ask(here, "/", "203.0.113.1", 2) == [200, 200]
    assert here.ask("other.k8s.local", "/deep", X_Forwarded_For="203.0.113.1").status == 429


@pytest.mark.parametrize(
    ("first", "same", "other"),
    [
        ("2001:db8:0:1::1", "2001:db8:0:1:ffff::2", "2001:db8:0:2::1"),
        ("203.0.113.10", "203.0.113.10", "203.0.113.11"),
        ("::ffff:203.0.113.20", "203.0.113.20", "::ffff:203.0.113.21"),
        ("2001:db8:a0a:a0a::1", "2001:db8:a0a:a0a::2", "2001:db8:a0a:a0b::1"),
    ],
)
def test_who_is_one_client(router: Start, ips: list[str], first: str, same: str, other: str) -> None:
    """One /64 of IPv6 is one client, whatever bytes it has; an IPv4 address is one, also when written as IPv6."""
    here = router(**TRUSTED)
    here.serve(*team(ips[0], entry("/", access=SLOW)))
    assert ask(here, "/", first, 2) == [200, 200]
    assert (ask(here, "/", same), ask(here, "/", other)) == ([429], [200])


def test_forged_by_a_stranger(router: Start, ips: list[str]) -> None:
    """A client that is no trusted proxy cannot say that it is another one."""
    here = router()
    here.serve(*team(ips[0], entry("/", access=SLOW)))
    assert [ask(here, "/", f"203.0.113.{number}") for number in range(3)] == [[200], [200], [429]]


def test_wait_of_a_fast_limit(router: Start, ips: list[str]) -> None:
    """Without burst as many requests as in the unit may come at once; with a burst of 0 one."""
    here = router(**TRUSTED)
    quick = {"rateLimit": {"requests": 3, "unit": "minute"}}
    none = {"rateLimit": {"requests": 1, "unit": "second", "burst": 0}}
    here.serve(*team(ips[0], entry("/a", access=quick), entry("/b", access=none)))
    assert ask(here, "/a", "203.0.113.1", 5) == [200] * 4 + [429]
    answers = [here.ask(HOST, "/b", X_Forwarded_For="203.0.113.1") for _ in range(5)]
    assert answers[0].status == 200
    assert (429, "1") in map(refused, answers)


def test_change_at_a_reload(router: Start, ips: list[str]) -> None:
    """A changed number or unit counts at once, and who was refused stays so after a reload that changes nothing."""
    here = router(**TRUSTED)
    here.serve(*team(ips[0], entry("/", access=SLOW)))
    assert ask(here, "/", "203.0.113.1", 3) == [200, 200, 429]
    here.serve(*team(ips[0], entry("/", access=SLOW), entry("/new")))
    assert ask(here, "/new", "203.0.113.1") == [200]
    assert ask(here, "/", "203.0.113.1") == [429]
    here.serve(*team(ips[0], entry("/", access={"rateLimit": {"requests": 100, "unit": "second"}})))
    assert ask(here, "/", "203.0.113.1", 20) == [200] * 20
    here.serve(*team(ips[0], entry("/")))
    here.serve(*team(ips[0], entry("/", access=SLOW)))
    assert ask(here, "/", "203.0.113.9", 3) == [200, 200, 429]


def test_checks_come_in_order(router: Start, ips: list[str]) -> None:
    """Who may not use the path is not counted; the limit comes before the API key and holds without ready Pods."""
    here = router(**TRUSTED)
    access = {**SLOW, "deny": ["203.0.113.66"]}
    objects = [*team(ips[0], entry("/", access=access)), secret("a", api_key="open")]
    here.serve(*objects)
    assert ask(here, "/", "203.0.113.66", 3) == [403] * 3
    assert ask(here, "/", "203.0.113.1", 3) == [403, 403, 429]
    key = "b3Blbg=="
    assert here.ask(HOST, "/", X_Forwarded_For="203.0.113.2", X_ROUTING_API_KEY=key).status == 200
    host, only, _ = objects
    here.serve(host, unready(only))
    answers = [here.ask(HOST, "/", X_Forwarded_For="203.0.113.3") for _ in range(3)]
    assert list(map(refused, answers)) == [(503, "5"), (503, "5"), (429, "63")]


def test_nothing_is_logged(router: Start, ips: list[str]) -> None:
    """What nginx refuses by a limit is not a line in its log."""
    here = router(**TRUSTED)
    here.serve(*team(ips[0], entry("/", access=SLOW)))
    assert ask(here, "/", "203.0.113.1", 3)[-1] == 429
    assert not [event for event in here.events if "limiting" in str(event)]


@pytest.mark.parametrize(
    ("wanted", "problem"),
    [
        ({"requests": 0, "unit": "second"}, "[1].access.rateLimit.requests is 0: this Pod does not serve the path"),
        ({"requests": 10_001, "unit": "second"}, "expected: an integer from 1 to 10000"),
        ({"requests": "5", "unit": "second"}, "[1].access.rateLimit.requests is '5'"),
        ({"requests": True, "unit": "second"}, "[1].access.rateLimit.requests is a boolean"),
        ({"requests": 1.5, "unit": "second"}, "[1].access.rateLimit.requests is a number"),
        ({"requests": 5, "unit": "hour"}, "[1].access.rateLimit.unit is 'hour'"),
        ({"requests": 5}, "[1].access.rateLimit.unit is missing"),
        ({"unit": "second"}, "[1].access.rateLimit.requests is missing"),
        ({"requests": 5, "unit": "second", "burst": 20_001}, "expected: an integer from 0 to 20000"),
        ({"requests": 5, "unit": "second", "brust": 1}, "[1].access.rateLimit.'brust' is an unknown key"),
        (5, "[1].access.rateLimit is a number"),
        (None, "[1].access.rateLimit is null"),
    ],
)
def test_bad_limit_closes(router: Start, ips: list[str], wanted: object, problem: str) -> None:
    """A limit that cannot be honoured closes the path, and a shorter path's Pod does not get its requests."""
    here = router()
    here.serve(*team(ips[0], entry("/"), entry("/api", access={"rateLimit": wanted})))
    assert [here.ask(HOST, uri).status for uri in ("/api/x", "/other")] == [403, 200]
    assert problem in told(here)


def test_nothing_for_a_closed_path(router: Start, ips: list[str]) -> None:
    """A path that no host serves has no limit in nginx, and the others are served."""
    here = router()
    closed, only = team(ips[0], entry("/", access=SLOW))
    closed["metadata"]["annotations"]["github.com/30x.dispatcher.hosts"] = f'{{"{HOST}": {{"requireApiKey": true}}}}'
    cycle = here.serve(closed, only)
    assert here.ask(HOST, "/").status == 403
    assert b"limit_" not in cycle.files["nginx.conf"].content


def test_denied_by_the_operator(router: Start, ips: list[str]) -> None:
    """A limit that the operator turned off closes the path."""
    here = router(DENIED_OPTIONS="access.rateLimit")
    here.serve(*team(ips[0], entry("/", access=SLOW)))
    assert here.ask(HOST, "/").status == 403
    assert "[0].access.rateLimit is turned off by DENIED_OPTIONS: this Pod does not serve the path" in told(here)


def test_pods_that_disagree(router: Start, ips: list[str]) -> None:
    """A path is limited as soon as one Pod says so; of two limits the newest Pod's counts."""
    here = router(**TRUSTED)
    host, old = team(ips[0], entry("/"))
    new = pod("a", "web-1", ips[1], [entry("/", access=SLOW)], DECLARED, creationTimestamp=LATER)
    here.serve(host, old, new)
    assert ask(here, "/", "203.0.113.1", 3) == [200, 200, 429]
    assert "has no access.rateLimit, other than Pod web-1, which protects the path" in told(here)
    wide = {"rateLimit": {"requests": 100, "unit": "second"}}
    host, old = team(ips[0], entry("/", access=wide))
    here.serve(host, old, new)
    assert ask(here, "/", "203.0.113.2", 3) == [200, 200, 429]
    assert "has another access.rateLimit, other than Pod web-1, which is newer and counts" in told(here)


def test_too_many_zones(router: Start, ips: list[str]) -> None:
    """A Namespace has memory for twenty limits: the path that comes last by name is closed."""
    here = router()
    paths = [f"/p{number:02}" for number in range(21)]
    cycle = here.serve(*team(ips[0], *(entry(path, access=SLOW) for path in paths), entry("/z")))
    assert [here.ask(HOST, uri).status for uri in ("/p00", "/p19", "/p20", "/z")] == [200, 200, 403, 200]
    assert (
        "path '/p20' access.rateLimit is beyond the Namespace's share: all requests get 403; expected: at most 20 "
        "(MAX_ZONES_PER_NAMESPACE)" in told(here)
    )
    written = cycle.files["nginx.conf"].content
    assert (written.count(b"limit_req_zone"), written.count(b"$client_net {")) == (20, 1)


def test_nothing_without_a_limit(router: Start, ips: list[str]) -> None:
    """Nothing is declared for limits while no path has one, and an option's headers leave the others in place."""
    here = router(ACCESS_LOG="json")
    assert b"client_net" not in here.serve(*team(ips[0], entry("/"))).files["nginx.conf"].content
    host, only = team(ips[0], entry("/", access=SLOW))
    here.serve(host, only)
    assert "x-request-id" in here.ask(HOST, "/").headers
    here.serve(host, unready(only))
    assert refused(here.ask(HOST, "/")) == (503, "5")
    assert "x-request-id" in here.ask(HOST, "/").headers
    assert refused(here.ask(HOST, "/")) == (429, "63")
