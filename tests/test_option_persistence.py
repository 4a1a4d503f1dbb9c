"""sessionPersistence, on a running nginx: one client, one Pod."""

import re
import secrets
from collections import Counter
from collections.abc import Callable

import pytest
from support.backends import Backends
from support.objects import Object, namespace, pod, secret, unready
from support.pods import DECLARED, HOST, LATER, PORT, entry, listen
from support.router import Router

from reconciler.routing.keys.session_persistence import find_cookie_path

Start = Callable[..., Router]
COOKIE = {"type": "Cookie"}


def team(ips: list[str], *entries: object, **of: object) -> list[Object]:
    pods = [pod("a", f"web-{number}", ip, list(entries), DECLARED) for number, ip in enumerate(ips)]
    return [namespace("a", {HOST: {}}, **of), *pods]  # type: ignore[arg-type]


def told(here: Router) -> str:
    assert here.last
    return "\n".join(str(problem) for problem in here.last.table.problems)


def ask_with(here: Router, token: str, uri: str = "/") -> str:
    return str(here.ask(HOST, uri, Cookie=f"a=b; dispatcher-session={token}").told["pod"])


def test_one_token_one_pod(router: Start, ips: list[str]) -> None:
    """A client without a token gets one, which nobody can guess and which says nothing; with it, it stays at a Pod."""
    here = router()
    here.serve(*team(ips, entry("/", sessionPersistence=COOKIE)))
    first = here.ask(HOST, "/")
    found = re.fullmatch(
        r"dispatcher-session=([0-9a-f]{32}); Path=/; HttpOnly; SameSite=Lax", first.headers["set-cookie"]
    )
    assert found
    again = [here.ask(HOST, "/x", Cookie=f"dispatcher-session={found[1]}") for _ in range(6)]
    assert {answer.told["pod"] for answer in again} == {first.told["pod"]}
    assert not any("set-cookie" in answer.headers for answer in again)
    assert len({here.ask(HOST, "/").told["pod"] for _ in range(60)}) == 3
    assert told(here) == ""


@pytest.mark.parametrize(
    "cookie",
    ["dispatcher-session=x", "dispatcher-session=" + "a" * 33, "xdispatcher-session=" + "a" * 32, "; =;;" * 500],
)
def test_what_is_no_token(router: Start, ips: list[str], cookie: str) -> None:
    """A cookie of another form, or with another name, is none: the client gets a token."""
    here = router()
    here.serve(*team(ips, entry("/", sessionPersistence=COOKIE)))
    assert here.ask(HOST, "/", Cookie=cookie).headers["set-cookie"].startswith("dispatcher-session=")


def test_pods_that_come_and_go(router: Start, backends: Backends) -> None:
    """Of 200 clients, only those of a Pod that goes are moved; a Pod that comes takes about its part of them."""
    here = router()
    ips = listen(backends, 5)
    tokens = [secrets.token_hex(16) for _ in range(200)]

    def place(some: list[str]) -> dict[str, str]:
        here.serve(*team(some, entry("/", sessionPersistence=COOKIE)))
        return {token: ask_with(here, token) for token in tokens}

    before = place(ips[:4])
    assert all(25 <= number <= 80 for number in Counter(before.values()).values())
    assert here.ask(HOST, "/", Cookie=f"dispatcher-session={tokens[0]}").told["pod"] == before[tokens[0]]
    less = place(ips[:3])
    gone = f"{ips[3]}:{PORT}"
    assert {token for token in tokens if less[token] != before[token]} == {
        token for token in tokens if before[token] == gone
    }
    more = place(ips)
    moved = {token for token in tokens if more[token] != before[token]}
    assert {more[token] for token in moved} == {f"{ips[4]}:{PORT}"}
    assert 15 <= len(moved) <= 75


def test_weights_of_a_hash(router: Start, ips: list[str]) -> None:
    """Weights are as small as they can be, and at most 100: each costs memory. Clients are spread by them."""
    here = router()
    host = namespace("a", {HOST: {}})

    def serve(*weights: int) -> bytes:
        entries = [entry("/", sessionPersistence=COOKIE, weight=weight) for weight in weights]
        pods = [
            pod("a", f"web-{n}", ip, [one], DECLARED) for n, (ip, one) in enumerate(zip(ips, entries, strict=False))
        ]
        return here.serve(host, *pods).files["nginx.conf"].content

    assert re.findall(rb"weight=(\d+)", serve(300_000, 100_000)) == [b"3"]
    spread = Counter(ask_with(here, secrets.token_hex(16)) for _ in range(200))
    assert 115 <= spread[f"{ips[0]}:{PORT}"] <= 180
    assert re.findall(rb"weight=(\d+)", serve(1_000_000, 1, 500_000)) == [b"100", b"50"]
    assert b"weight" not in serve(7, 7, 7)


def test_many_points_fall_away(router: Start, ips: list[str]) -> None:
    """Weights beyond a Namespace's share cost the last paths their persistence, and they are served without it."""
    here = router(MAX_LOCATIONS_PER_NAMESPACE="110")
    ones = [entry(path, sessionPersistence=COOKIE) for path in ("/a", "/b")]
    heavy = [{**one, "weight": 99} for one in ones]
    cycle = here.serve(
        namespace("a", {HOST: {}}), pod("a", "w-0", ips[0], ones, DECLARED), pod("a", "w-1", ips[1], heavy, DECLARED)
    )
    assert cycle.files["nginx.conf"].content.count(b" consistent;") == 1
    assert [here.ask(HOST, path).status for path in ("/a", "/b")] == [200, 200]
    assert "path '/b' sessionPersistence is beyond the Namespace's share: it is left out" in told(here)


def test_name_and_time(router: Start, ips: list[str]) -> None:
    """A cookie has the name and the time that a path wants; the path of the cookie is that of the requests."""
    here = router()
    wanted = {"type": "Cookie", "sessionName": "my.app_sid-1", "absoluteTimeout": "1h30m"}
    here.serve(*team(ips, entry("/shop", sessionPersistence=wanted), entry("=/one", sessionPersistence=COOKIE)))
    token = r"[0-9a-f]{32}"
    cookie = here.ask(HOST, "/shop/x").headers["set-cookie"]
    assert re.fullmatch(rf"my\.app_sid-1={token}; Path=/shop; Max-Age=5400; HttpOnly; SameSite=Lax", cookie)
    assert " Path=/one;" in here.ask(HOST, "/one").headers["set-cookie"]
    assert "set-cookie" in here.ask(HOST, "/shop", Cookie=f"myXapp_sid-1={'a' * 32}").headers


@pytest.mark.parametrize(
    ("path", "cookie"),
    [("/", "/"), ("/a/b", "/a/b"), ("/a;b/c", "/"), ("/x/caf\u00e9/y", "/x"), ("/x/%/y", "/x"), ("/a/", "/a/")],
)
def test_path_of_a_cookie(path: str, cookie: str) -> None:
    """The path of a cookie ends before the first segment that clients may spell in different ways."""
    assert find_cookie_path(path) == cookie


def test_secure_on_tls(router: Start, ips: list[str]) -> None:
    """A client that uses TLS, here or at a trusted proxy, gets a cookie for TLS alone."""
    here = router(TRUSTED_PROXIES="127.0.0.1")
    here.serve(*team(ips, entry("/", sessionPersistence=COOKIE)))
    assert here.ask(HOST, "/", X_Forwarded_Proto="https").headers["set-cookie"].endswith("; Secure")
    assert not here.ask(HOST, "/").headers["set-cookie"].endswith("; Secure")
    other = router()
    other.serve(*team(ips, entry("/", sessionPersistence=COOKIE)))
    assert not other.ask(HOST, "/", X_Forwarded_Proto="https").headers["set-cookie"].endswith("; Secure")


def test_clients_address(router: Start, backends: Backends) -> None:
    """With ClientIP, all requests from one address go to one Pod, and no cookie is set."""
    here = router(TRUSTED_PROXIES="127.0.0.1")
    here.serve(*team(listen(backends, 4), entry("/", sessionPersistence={"type": "ClientIP"})))
    places = {}
    for number in range(40):
        answers = [here.ask(HOST, "/", X_Forwarded_For=f"203.0.113.{number}") for _ in range(2)]
        assert not any("set-cookie" in answer.headers for answer in answers)
        (places[number],) = {answer.told["pod"] for answer in answers}
    assert len({*places.values()}) == 4


def test_beside_other_keys(router: Start, ips: list[str]) -> None:
    """Upgrades and API keys work as without it, a single Pod is enough, and the cookie goes on to the Pod."""
    here = router()
    host, only, *_ = team(ips, entry("/", sessionPersistence=COOKIE, loadBalancing="least_conn"))
    here.serve(host, only, secret("a", api_key="open"))
    assert here.ask(HOST, "/").status == 403
    answer = here.ask(HOST, "/", X_ROUTING_API_KEY="b3Blbg==", Cookie="a=b")
    assert answer.told["headers"]["cookie"] == "a=b"
    assert "x-routing-api-key" not in answer.told["headers"]
    assert "loadBalancing has no effect beside sessionPersistence" in told(here)
    here.serve(host, unready(only))
    assert here.ask(HOST, "/").status == 503
    assert "set-cookie" not in here.ask(HOST, "/").headers


@pytest.mark.parametrize(
    ("wanted", "problem"),
    [
        ({"type": "Header"}, "[0].sessionPersistence.type is 'Header': the key is left out"),
        ({"sessionName": "x"}, "[0].sessionPersistence.type is missing"),
        ({"type": "Cookie", "sessionName": "a b"}, "sessionName is 'a b'"),
        ({"type": "Cookie", "sessionName": "a=$request_id"}, "sessionName is"),
        ({"type": "Cookie", "sessionName": "__Host-x"}, "sessionName is '__Host-x'"),
        ({"type": "Cookie", "sessionName": "x" * 65}, "sessionName is"),
        ({"type": "Cookie", "sessionName": 5}, "sessionName is a number"),
        ({"type": "Cookie", "absoluteTimeout": "500ms"}, "expected: 1s to 8760h"),
        ({"type": "Cookie", "absoluteTimeout": 5}, "absoluteTimeout is a number"),
        ({"type": "Cookie", "idleTimeout": "5s"}, "'idleTimeout' is an unknown key"),
        ({"type": "ClientIP", "sessionName": "x"}, "has what only a cookie can have"),
        ("Cookie", "[0].sessionPersistence is a string"),
    ],
)
def test_bad_values_are_left_out(router: Start, ips: list[str], wanted: object, problem: str) -> None:
    """A bad value is left out, and the path is served without a cookie."""
    here = router()
    here.serve(*team(ips[:1], entry("/", sessionPersistence=wanted)))
    answer = here.ask(HOST, "/")
    assert (answer.status, "set-cookie" in answer.headers) == (200, False)
    assert problem in told(here)


def test_oldest_pod_counts(router: Start, ips: list[str]) -> None:
    """If Pods disagree, the oldest one counts; an operator may forbid the key."""
    here = router()
    old = pod("a", "web-0", ips[0], [entry("/")], DECLARED)
    new = pod("a", "web-1", ips[1], [entry("/", sessionPersistence=COOKIE)], DECLARED, creationTimestamp=LATER)
    here.serve(namespace("a", {HOST: {}}), old, new)
    assert "set-cookie" not in here.ask(HOST, "/").headers
    assert "has another sessionPersistence, other than Pod web-0, which is older and counts" in told(here)
    strict = router(DENIED_OPTIONS="sessionPersistence")
    strict.serve(namespace("a", {HOST: {}}), new)
    assert "set-cookie" not in strict.ask(HOST, "/").headers
    assert "is turned off by DENIED_OPTIONS: the key is left out" in told(strict)


def test_a_browser_stays(router: Start, ips: list[str]) -> None:
    """A real browser keeps the cookie: it stays at one Pod below the path, and scripts cannot read it."""
    pytest.importorskip("playwright", reason="playwright is not installed; `make test` installs it")
    chromium = pytest.importorskip("support.browser")
    binary = chromium.find_chromium()
    if not binary:
        pytest.skip("no Chromium: `.ci/setup chromium` installs it, as root or by sudo")
    here = router()
    host, *pods = team(ips, entry("/shop", sessionPersistence=COOKIE), entry("/"))
    host["metadata"]["annotations"]["github.com/30x.dispatcher.hosts"] = '{"127.0.0.1": {}}'
    here.serve(host, *pods)
    base = f"http://127.0.0.1:{here.port}"
    with chromium.start_browser(binary) as browser:
        page = browser.new_page()
        seen = []
        for uri in ("/shop", "/shop/a", "/shop/b?c=d", "/shop"):
            answer = page.goto(f"{base}{uri}")
            assert answer
            seen.append(answer.json()["pod"])
        assert len({*seen}) == 1
        (cookie,) = page.context.cookies()
        assert (cookie["name"], cookie["path"], cookie["httpOnly"]) == ("dispatcher-session", "/shop", True)
        assert page.evaluate("document.cookie") == ""
        other = page.goto(f"{base}/")
        assert other
        assert "cookie" not in other.json()["headers"]


def test_nothing_for_a_closed_path(router: Start, ips: list[str]) -> None:
    """A path that its host closes declares no variable, and its upstream uses none: nginx loads it."""
    here = router()
    paths = [entry("/", sessionPersistence={"type": "Cookie"}, access={"externalAuth": {"path": "/nowhere"}})]
    here.serve(namespace("a", {HOST: {}}), pod("a", "web-0", ips[0], paths, DECLARED))
    assert here.ask(HOST, "/").status == 403
