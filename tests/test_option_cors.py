"""cors on a running nginx: what pages of other origins may do, also when the answer is nginx's own."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from support.handlers import QuietHandler, run_pod
from support.objects import Object, namespace, pod, secret, unready
from support.pods import DECLARED, HOST, entry
from support.ports import free_port
from support.router import Answer, Router

Start = Callable[..., Router]
APP = "https://app.example.org"
POLICY = {
    "allowOrigins": [APP, "https://*.example.net", "http://localhost:3000"],
    "allowMethods": ["GET", "PUT"], "allowHeaders": ["Content-Type", "X-Routing-Api-Key"],
    "exposeHeaders": ["X-Total"], "allowCredentials": True, "maxAge": 600,
}  # fmt: skip


class Open(QuietHandler):
    """Allows every origin everything by itself."""

    def do_OPTIONS(self) -> None:  # noqa: N802  http.server's name
        """Answer what no preflight should ask."""
        self.answer(299)

    def get(self) -> None:
        """Answer as an application with CORS of its own does."""
        self.send_response(200)
        for name, value in (
            ("Content-Length", "0"), ("Access-Control-Allow-Origin", "*"), ("Access-Control-Allow-Credentials", "true"),
            ("Access-Control-Expose-Headers", "X-Pod"), ("Access-Control-Allow-Methods", "DELETE"),
            ("Access-Control-Allow-Headers", "X-Pod"), ("Access-Control-Max-Age", "1"),
            ("Access-Control-Allow-Private-Network", "true"), ("Vary", "Accept"),
        ):  # fmt: skip
            self.send_header(name, value)
        self.end_headers()


@pytest.fixture
def open_pod() -> Iterator[tuple[str, int]]:
    with run_pod(1, Open) as address:
        yield address


def team(ip: str, *entries: object) -> list[Object]:
    return [namespace("a", {HOST: {}}), pod("a", "web-0", ip, list(entries), DECLARED)]


def ask(here: Router, origin: str | None, uri: str = "/", **headers: str) -> Answer:
    return here.ask(HOST, uri, **({"Origin": origin} if origin is not None else {}), **headers)


def preflight(here: Router, origin: str, uri: str = "/") -> Answer:
    return here.ask(HOST, uri, "OPTIONS", Origin=origin, Access_Control_Request_Method="PUT")


def says(answer: Answer) -> dict[str, str]:
    """Give what an answer says about other origins; each header must appear once."""
    names = [name for name, _ in answer.lines if name.startswith("access-control-")]
    assert len(names) == len(set(names)), names
    return {name.removeprefix("access-control-"): answer.headers[name] for name in names}


def told(here: Router) -> str:
    assert here.last
    return "\n".join(str(problem) for problem in here.last.table.problems)


def test_preflight(router: Start, ips: list[str]) -> None:
    """A preflight of an allowed origin is answered without an API key; it says what the origin may do."""
    here = router()
    cycle = here.serve(*team(ips[0], entry("/", cors=POLICY)), secret("a", api_key="open"))
    answer = preflight(here, APP)
    assert (answer.status, answer.body) == (204, b"")
    assert says(answer) == {
        "allow-origin": APP, "allow-credentials": "true", "allow-methods": "GET, PUT",
        "allow-headers": "Content-Type, X-Routing-Api-Key", "expose-headers": "X-Total", "max-age": "600",
    }  # fmt: skip
    assert answer.find("vary") == ["Origin"]
    foreign = preflight(here, "https://evil.example.com")
    assert (foreign.status, says(foreign), foreign.find("vary")) == (204, {}, ["Origin"])
    assert told(here) == ""
    shown = f'"cors":"http://localhost:3000 https://*.example.net {APP} with credentials; methods GET, PUT; headers '
    assert shown.encode() in cycle.files["routes.jsonl"].content


def test_other_requests(router: Start, ips: list[str]) -> None:
    """Other requests need the key, and only their answers to an allowed origin name it; a 403 too."""
    here = router()
    here.serve(*team(ips[0], entry("/", cors=POLICY)), secret("a", api_key="open"))
    refused = ask(here, APP)
    allowed = ask(here, APP, X_ROUTING_API_KEY="b3Blbg==")
    assert (refused.status, allowed.status) == (403, 200)
    for answer in (refused, allowed):
        assert says(answer) == {"allow-origin": APP, "allow-credentials": "true", "expose-headers": "X-Total"}
        assert answer.find("vary") == ["Origin"]
    foreign = ask(here, "https://evil.example.com", X_ROUTING_API_KEY="b3Blbg==")
    own = ask(here, None, X_ROUTING_API_KEY="b3Blbg==")
    assert [(one.status, says(one), one.find("vary")) for one in (foreign, own)] == [(200, {}, ["Origin"])] * 2


@pytest.mark.parametrize(
    ("method", "headers"),
    [
        ("OPTIONS", {"Origin": APP}),
        ("OPTIONS", {"Access_Control_Request_Method": "PUT"}),
        ("OPTIONS", {"Access_Control_Request_Method": "a|b"}),
        ("POST", {"Origin": APP, "Access_Control_Request_Method": "PUT"}),
    ],
)
def test_what_is_no_preflight(router: Start, ips: list[str], method: str, headers: dict[str, str]) -> None:
    """A request that is not quite a preflight needs the key, and it goes to the Pod with its method."""
    here = router()
    here.serve(*team(ips[0], entry("/", cors=POLICY)), secret("a", api_key="open"))
    assert here.ask(HOST, "/", method, **headers).status == 403
    assert here.ask(HOST, "/", method, X_ROUTING_API_KEY="b3Blbg==", **headers).told["method"] == method


@pytest.mark.parametrize(
    "origin",
    [
        "null", "", "*", f"{APP}.evil.com", "https://app.example.org.evil.com", "http://app.example.org",
        "https://xapp.example.org", f"{APP}:8443", f"{APP}/", f" {APP},https://evil.com", "https://example.net",
        "https://a.b.example.net", "https://evil.com#.example.net", "https://evil.com/.example.net",
        "https://evil.com?x.example.net", "https://a@evil.example.net.com", "https://.example.net",
        "https://evil.com\\.example.net", "https://aXexample.net", "https://a.exampleXnet", "http://localhost:3001",
        "http://localhost", "https://a.example.net:443", "https://a.example.net.", "file://", "https://",
        "https://a\tb.example.net",
    ],
)  # fmt: skip
def test_hostile_origins(router: Start, ips: list[str], origin: str) -> None:
    """An origin that only looks like an allowed one is told nothing."""
    here = router()
    here.serve(*team(ips[0], entry("/", cors=POLICY)))
    assert [says(answer) for answer in (ask(here, origin), preflight(here, origin))] == [{}, {}]


def test_origins_that_match(router: Start, ips: list[str]) -> None:
    """A `*.` stands for one label; a default port is not written by browsers; a long name counts as a short one."""
    here = router()
    long = f"https://{'a' * 60}.{'b' * 60}.example.org"
    # The longest origin that nginx's map holds as it is, and one that it does not.
    edge = [f"https://{'a' * 60}.{'b' * number}" for number in (31, 32)]
    assert [len(origin) for origin in edge] == [100, 101]
    allowed = ["https://*.example.net", "HTTPS://Shop.example.org:443", "http://*.dev:8080", long, *edge]
    policy = {"allowOrigins": allowed}
    here.serve(*team(ips[0], entry("/", cors=policy)))
    good = [
        "https://a.example.net",
        "https://x-1.example.net",
        "https://shop.example.org",
        "http://a.dev:8080",
        long,
        *edge,
    ]
    assert [says(ask(here, origin)) for origin in good] == [{"allow-origin": origin} for origin in good]
    bad = ["https://shop.example.org:443", "http://a.dev", f"{long}x", long.replace(".", "x", 1)]
    assert [says(ask(here, origin)) for origin in bad] == [{}] * 4


def test_everyone(router: Start, ips: list[str]) -> None:
    """With "*" every page may read, without cookies; lists that are absent are not sent."""
    here = router()
    here.serve(*team(ips[0], entry("/", cors={"allowOrigins": ["*"]})))
    answers = [ask(here, APP), ask(here, "null"), preflight(here, "https://a.example.com"), ask(here, None)]
    assert [says(answer) for answer in answers] == [{"allow-origin": "*"}] * 4
    here.serve(*team(ips[0], entry("/", cors={"allowOrigins": ["*"], "allowMethods": ["*"], "allowHeaders": ["*"]})))
    everything = {"allow-origin": "*", "allow-methods": "*", "allow-headers": "*"}
    assert says(preflight(here, "https://a.example.com")) == everything


def test_what_the_pod_says_is_hidden(router: Start, open_pod: tuple[str, int]) -> None:
    """Nothing that a Pod says about origins reaches a client, and its own Vary does."""
    here = router()
    ip, port = open_pod
    only = {"basePath": "/", "containerPort": port, "cors": {"allowOrigins": [APP], "exposeHeaders": ["X-Total"]}}
    here.serve(namespace("a", {HOST: {}}), pod("a", "web-0", ip, [only], [{"containerPort": port}]))
    assert says(ask(here, "https://evil.example.com")) == {}
    assert says(ask(here, APP)) == {"allow-origin": APP, "expose-headers": "X-Total"}
    assert ask(here, APP).find("vary") == ["Accept", "Origin"]
    assert [preflight(here, APP).status, here.ask(HOST, "/", "OPTIONS").status] == [204, 299]


def test_on_answers_of_nginx(router: Start, ips: list[str]) -> None:
    """A page of an allowed origin can read 403, 413, 429, 502 and 503; it can never preflight what it may not use."""
    here = router()
    more = {"cors": POLICY}
    once = {"rateLimit": {"requests": 1, "unit": "minute", "burst": 0}}
    dead = [{"containerPort": free_port()}]
    here.serve(
        *team(
            ips[0], entry("/", maxRequestBody="1", **more), entry("/limited", access=once, **more),
            entry("/denied", access={"deny": ["127.0.0.1"]}, **more),
        ),
        pod("a", "w-1", ips[1], [{**entry("/dead", **more), "containerPort": dead[0]["containerPort"]}], dead),
        unready(pod("a", "web-2", ips[2], [entry("/away", **more)], DECLARED)),
    )  # fmt: skip
    paths = ("/limited", "/limited", "/denied", "/dead", "/away")
    answers = [here.ask(HOST, "/", "POST", b"xx", Origin=APP), *(ask(here, APP, path) for path in paths)]
    assert [answer.status for answer in answers] == [413, 200, 429, 403, 502, 503]
    for answer in answers:
        assert (says(answer)["allow-origin"], says(answer)["allow-credentials"]) == (APP, "true")
    assert [preflight(here, APP, path).status for path in ("/", *paths)] == [204, 204, 204, 403, 204, 204]
    assert not [event for event in here.events if "uninitialized" in str(event)]


def test_paths_have_policies_of_their_own(router: Start, ips: list[str]) -> None:
    """Two paths of the same origins may differ in what they allow."""
    here = router()
    here.serve(
        *team(
            ips[0],
            entry("/a", cors={"allowOrigins": [APP], "allowMethods": ["GET"]}),
            entry("/b", cors={"allowOrigins": [APP], "allowCredentials": True}),
            entry("/c", cors={"allowOrigins": ["https://c.example.org"]}),
            entry("/d"),
        )
    )
    assert [says(preflight(here, APP, path)) for path in ("/a", "/b", "/c")] == [
        {"allow-origin": APP, "allow-methods": "GET"}, {"allow-origin": APP, "allow-credentials": "true"}, {},
    ]  # fmt: skip
    assert preflight(here, APP, "/d").told["method"] == "OPTIONS"


BAD: dict[str, tuple[Any, str]] = {
    "a text": ("*", "[0].cors is a string: the key is left out"),
    "nothing": ({}, "[0].cors is empty"),
    "no origins": ({"maxAge": 1}, "[0].cors.allowOrigins is missing: the key is left out"),
    "an empty list": ({"allowOrigins": []}, "[0].cors.allowOrigins has 0 members"),
    "a lone text": ({"allowOrigins": APP}, "[0].cors.allowOrigins is a string"),
    "null": ({"allowOrigins": ["null"]}, "[0].cors.allowOrigins[0] is 'null'"),
    "a path": ({"allowOrigins": [f"{APP}/"]}, f"[0].cors.allowOrigins[0] is '{APP}/'"),
    "a name": ({"allowOrigins": ["app.example.org"]}, "is 'app.example.org'"),
    "another scheme": ({"allowOrigins": ["ftp://a.example.org"]}, "is 'ftp://a.example.org'"),
    "a star within": ({"allowOrigins": ["https://a.*.org"]}, "is 'https://a.*.org'"),
    "an expression": ({"allowOrigins": ["https://.*"]}, "is 'https://.*'"),
    "a variable": ({"allowOrigins": ["https://$host"]}, "is 'https://$host'"),
    "a port": ({"allowOrigins": ["https://a.org:99999"]}, "expected: a port from 1 to 65535"),
    "too many": ({"allowOrigins": [f"https://a{n}.org" for n in range(21)]}, "has 21 members"),
    "all and one": ({"allowOrigins": ["*", APP]}, '[0].cors.allowOrigins has "*" beside others'),
    "all with credentials": (
        {"allowOrigins": ["*"], "allowCredentials": True},
        '[0].cors.allowOrigins is "*" beside allowCredentials',
    ),
    "any header with credentials": (
        {"allowOrigins": [APP], "allowHeaders": ["*"], "allowCredentials": True},
        '[0].cors.allowHeaders is "*" beside allowCredentials',
    ),
    "a method": ({"allowOrigins": [APP], "allowMethods": ["get"]}, "[0].cors.allowMethods[0] is 'get'"),
    "a header": ({"allowOrigins": [APP], "allowHeaders": ["A, B"]}, "[0].cors.allowHeaders[0] is 'A, B'"),
    "a header's value": ({"allowOrigins": [APP], "exposeHeaders": ["A\r\nB"]}, "[0].cors.exposeHeaders[0] is"),
    "an age": ({"allowOrigins": [APP], "maxAge": 86_401}, "expected: an integer from 0 to 86400"),
    "a long age": ({"allowOrigins": [APP], "maxAge": "600"}, "[0].cors.maxAge is '600'"),
    "a word": ({"allowOrigins": [APP], "allowCredentials": "true"}, "[0].cors.allowCredentials is 'true'"),
    "an unknown key": ({"allowOrigins": [APP], "allowOrigin": [APP]}, "[0].cors.'allowOrigin' is an unknown key"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_policy_is_left_out(router: Start, ips: list[str], name: str) -> None:
    """A bad policy is left out: no other origin may read, and the path is served."""
    wanted, problem = BAD[name]
    here = router()
    here.serve(*team(ips[0], entry("/", cors=wanted)))
    answer = ask(here, APP)
    assert (answer.status, says(answer), answer.find("vary")) == (200, {}, [])
    assert problem in told(here)
    assert ": the key is left out" in told(here)


def test_denied_by_the_operator(router: Start, ips: list[str]) -> None:
    """A policy that the operator turned off is left out, and no headers of responseHeaders stand in for it."""
    here = router(DENIED_OPTIONS="cors")
    forged = {"set": {"Access-Control-Allow-Origin": "*"}}
    here.serve(*team(ips[0], entry("/", cors=POLICY, responseHeaders=forged)))
    assert says(ask(here, APP)) == {}
    assert "[0].cors is turned off by DENIED_OPTIONS: the key is left out" in told(here)
    assert "[0].responseHeaders names 'Access-Control-Allow-Origin', and the entry has cors" in told(here)


def test_oldest_pod_counts(router: Start, ips: list[str]) -> None:
    """If Pods disagree on a policy, the oldest one's counts."""
    here = router()
    here.serve(
        *team(ips[0], entry("/", cors={"allowOrigins": [APP]})),
        pod("a", "web-1", ips[1], [entry("/", cors={"allowOrigins": ["*"]})], DECLARED),
    )
    assert {says(ask(here, APP))["allow-origin"] for _ in range(4)} == {APP}
    assert says(ask(here, "https://evil.example.com")) == {}
    assert "has another cors, other than Pod web-0, which is older and counts" in told(here)


def test_beyond_the_share(router: Start, ips: list[str]) -> None:
    """A policy counts as two more paths: beyond the Namespace's share, the last ones by name fall away."""
    here = router(MAX_LOCATIONS_PER_NAMESPACE="10")
    here.serve(*team(ips[0], *(entry(path, cors={"allowOrigins": [APP]}) for path in ("/a", "/b"))))
    assert [says(ask(here, APP, path)) for path in ("/a", "/b")] == [{"allow-origin": APP}, {}]
    assert "path '/b' cors is beyond the Namespace's share: it is left out" in told(here)


def test_beyond_the_variables(router: Start, ips: list[str]) -> None:
    """A Namespace may have 150 variables: equal policies share theirs, and the last different ones fall away."""
    here = router()
    different = [entry(f"/{n:03}", cors={"allowOrigins": [f"https://a{n}.example.org"]}) for n in range(151)]
    equal = [entry(f"/{n}", cors={"allowOrigins": ["https://a0.example.org"]}) for n in range(200, 300)]
    here.serve(*team(ips[0], *different, *equal))
    (problem,) = told(here).splitlines()
    assert "path '/150' cors is beyond the Namespace's share: it is left out" in problem
    assert says(ask(here, "https://a0.example.org", "/299")) == {"allow-origin": "https://a0.example.org"}


def test_many_policies(router: Start, ips: list[str]) -> None:
    """Nginx says nothing about the number of variables that many policies need."""
    here = router()
    entries = [entry(f"/{n}", cors={"allowOrigins": [f"https://a{n}.example.org"]}) for n in range(60)]
    here.serve(*team(ips[0], *entries))
    here.serve(*team(ips[0], *entries, entry("/more")))
    assert says(ask(here, "https://a59.example.org", "/59")) == {"allow-origin": "https://a59.example.org"}
    assert not [event for event in here.events if "hash" in str(event)]
