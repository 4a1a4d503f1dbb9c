"""responseHeaders on a running nginx: which headers the answers of a path have."""

import socket
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from support.handlers import QuietHandler, run_pod
from support.objects import Object, namespace, pod, secret, unready
from support.pods import DECLARED, HOST, entry
from support.ports import free_port
from support.router import Router
from websockets.sync.client import connect

Start = Callable[..., Router]
FRAME = {"set": {"X-Frame-Options": "DENY"}}


class Chatty(QuietHandler):
    """Answers with headers that a team may want to change."""

    def get(self) -> None:
        """Send each of the headers."""
        self.send_response(200)
        for name, value in (
            ("Content-Length", "0"), ("Content-Type", "text/plain"), ("X-Powered-By", "pod"), ("Via", "pod"),
            ("X-Frame-Options", "SAMEORIGIN"), ("Set-Cookie", "pod=1"), ("Access-Control-Allow-Origin", "pod"),
        ):  # fmt: skip
            self.send_header(name, value)
        self.end_headers()


@pytest.fixture
def chatty() -> Iterator[tuple[str, int]]:
    with run_pod(1, Chatty) as address:
        yield address


def serve(here: Router, address: tuple[str, int], headers: object, **more: object) -> str:
    """Serve a path with these responseHeaders, and give the problems as text."""
    only = {"basePath": "/", "containerPort": address[1], "responseHeaders": headers, **more}
    cycle = here.serve(
        namespace("a", {HOST: {}}), pod("a", "web-0", address[0], [only], [{"containerPort": address[1]}])
    )
    return "\n".join(str(problem) for problem in cycle.table.problems)


def team(ip: str, *entries: object) -> list[Object]:
    return [namespace("a", {HOST: {}}), pod("a", "web-0", ip, list(entries), DECLARED)]


def test_set_add_and_remove(router: Start, chatty: tuple[str, int]) -> None:
    """`set` replaces the Pod's header, `add` stands beside it, `remove` leaves it out in any case of letters."""
    here = router()
    wanted = {
        "set": {"X-Frame-Options": "DENY", "X-New": "a b"}, "add": {"Set-Cookie": "team=2; Path=/"},
        "remove": ["x-powered-by", "Via"],
    }  # fmt: skip
    assert serve(here, chatty, wanted) == ""
    answer = here.ask(HOST, "/")
    assert answer.find("x-frame-options") == ["DENY"]
    assert answer.find("x-new") == ["a b"]
    assert answer.find("set-cookie") == ["pod=1", "team=2; Path=/"]
    assert answer.find("x-powered-by") + answer.find("via") == []
    assert answer.find("access-control-allow-origin") == ["pod"]
    assert answer.find("content-type") == ["text/plain"]


ODD = "{}; # '\"\\ }\\n ${x".replace("$", "")


@pytest.mark.parametrize("value", [ODD, "%24uri", "x" * 2048, '"' * 1900, "\\" * 1900, "a" * 2047 + '"'])
def test_values_arrive_as_they_are(router: Start, chatty: tuple[str, int], value: str) -> None:
    """Whatever a value looks like in nginx's language, the client gets it as it was written."""
    here = router()
    assert serve(here, chatty, {"set": {"X-Odd": value}}) == ""
    assert here.ask(HOST, "/").find("x-odd") == [value]


def test_on_all_answers(router: Start, ips: list[str]) -> None:
    """Answers of nginx itself have the headers too: 403, 413, 429, 502, and the 503 of a path without ready Pods."""
    here = router()
    once = {"rateLimit": {"requests": 1, "unit": "minute", "burst": 0}}
    dead = [{"containerPort": free_port()}]
    host, *others = team(
        ips[0],
        entry("/", responseHeaders=FRAME, maxRequestBody="1"),
        entry("/limited", responseHeaders=FRAME, access=once),
        entry("/denied", responseHeaders=FRAME, access={"deny": ["127.0.0.1"]}),
    )
    dead_pod = pod(
        "a", "w-1", ips[1], [{**entry("/dead", responseHeaders=FRAME), "containerPort": dead[0]["containerPort"]}], dead
    )
    away = unready(pod("a", "web-2", ips[2], [entry("/away", responseHeaders=FRAME)], DECLARED))
    here.serve(host, *others, dead_pod, away)
    asked = [("/", b""), ("/", b"xx"), ("/limited", b""), ("/limited", b""), ("/denied", b""), ("/dead", b""),
             ("/away", b"")]  # fmt: skip
    answers = [here.ask(HOST, uri, "POST", body) for uri, body in asked]
    assert [answer.status for answer in answers] == [200, 413, 200, 429, 403, 502, 503]
    assert {tuple(answer.find("x-frame-options")) for answer in answers} == {("DENY",)}
    assert [answer.find("retry-after") for answer in answers[-4:]] == [["63"], [], [], ["5"]]


def test_on_the_answer_to_a_wrong_key(router: Start, ips: list[str]) -> None:
    """A request without the API key gets 403 with the headers."""
    here = router()
    here.serve(*team(ips[0], entry("/", responseHeaders=FRAME)), secret("a", api_key="open"))
    answer = here.ask(HOST, "/")
    assert (answer.status, answer.find("x-frame-options")) == (403, ["DENY"])
    assert here.ask(HOST, "/", X_ROUTING_API_KEY="b3Blbg==").find("x-frame-options") == ["DENY"]


def test_websocket_is_kept(router: Start, ips: list[str]) -> None:
    """The answer that switches to a WebSocket keeps its Upgrade, once, and other answers have none."""
    here = router(ACCESS_LOG="json")
    wanted = {**FRAME, "remove": ["Via"]}
    here.serve(*team(ips[0], entry("/", responseHeaders=wanted)))
    raw = socket.create_connection(("127.0.0.1", here.port))
    with connect(f"ws://{HOST}/", sock=raw) as websocket:
        assert websocket.response
        assert websocket.response.headers.get_all("Upgrade") == ["websocket"]
        assert websocket.response.headers.get_all("X-Frame-Options") == ["DENY"]
        assert len(websocket.response.headers.get_all("X-Request-ID")) == 1
        websocket.send("hello")
        assert str(websocket.recv(timeout=20)).endswith("hello")
    answer = here.ask(HOST, "/", X_Answer_Accel="/stolen")
    assert answer.find("upgrade") + answer.find("x-accel-redirect") == []
    assert len(answer.find("x-request-id")) == 1


BAD: dict[str, tuple[Any, str]] = {
    "a text": ("DENY", "[0].responseHeaders is a string: the key is left out"),
    "nothing": ({}, "is empty"),
    "an unknown key": ({"replace": {"A": "b"}}, "[0].responseHeaders.'replace' is an unknown key: the key is left out"),
    "no object": ({"set": ["A"]}, "[0].responseHeaders.set is an array"),
    "an empty object": ({"set": {}}, "[0].responseHeaders.set has 0 members"),
    "no array": ({"remove": "Via"}, "[0].responseHeaders.remove is a string"),
    "a variable": ({"set": {"X-A": "$request_id"}}, "[0].responseHeaders.set.X-A is '$request_id'"),
    "a line break": ({"set": {"X-A": "a\r\nSet-Cookie: b"}}, "is 'a\\r\\nSet-Cookie: b'"),
    "a number": ({"set": {"X-A": 1}}, "[0].responseHeaders.set.X-A is a number"),
    "an empty value": ({"set": {"X-A": ""}}, "[0].responseHeaders.set.X-A is ''"),
    "a long value": ({"set": {"X-A": "a" * 2049}}, "at most 2048 characters"),
    "quotation marks": ({"set": {"X-A": '"' * 2000}}, "has too many quotation marks and backslashes"),
    "much text": ({"set": {f"X-{number}": "a" * 2048 for number in range(2)}}, "has 4102 characters"),
    "a name with a blank": ({"set": {"X A": "b"}}, "[0].responseHeaders.set is 'X A'"),
    "a name with an underscore": ({"remove": ["X_A"]}, "[0].responseHeaders.remove[0] is 'X_A'"),
    "a header twice": ({"set": {"X-A": "b", "x-a": "c"}}, "names 'x-a' twice"),
    "two verbs": ({"set": {"X-A": "b"}, "remove": ["X-A"]}, "names 'x-a' twice"),
    "too many": ({"set": {f"X-{n}": "b" for n in range(10)}, "remove": [f"Y-{n}" for n in range(7)]}, "has 17 headers"),
    "beside cors": (
        {"set": {"Access-Control-Allow-Origin": "*"}},
        "names 'Access-Control-Allow-Origin', and the entry has cors: the key is left out",
    ),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_headers_are_left_out(router: Start, chatty: tuple[str, int], name: str) -> None:
    """A key that nginx could not honour as it is written is left out whole, and the path is served."""
    wanted, problem = BAD[name]
    here = router()
    told = serve(here, chatty, wanted, **({"cors": {"allowOrigins": ["*"]}} if "cors" in name else {}))
    assert problem in told
    answer = here.ask(HOST, "/")
    assert answer.status == 200
    assert answer.find("x-frame-options") == ["SAMEORIGIN"]


OURS = (
    "Connection", "connection", "Upgrade", "TE", "Trailer", "Transfer-Encoding", "Content-Length", "Keep-Alive",
    "Proxy-Connection", "Proxy-Authenticate", "X-Accel-Redirect", "x-accel-buffering", "Date", "Server",
    "Content-Type", "Content-Encoding", "Content-Range", "Retry-After", "X-Request-ID",
)  # fmt: skip


@pytest.mark.parametrize("verb", ["set", "add", "remove"])
def test_headers_of_the_router(router: Start, chatty: tuple[str, int], verb: str) -> None:
    """A header that is about the connection, or that nginx writes itself, is refused in all members."""
    here = router()
    for name in OURS:
        told = serve(here, chatty, {verb: [name] if verb == "remove" else {name: "x"}})
        assert f"names '{name}', which the router alone decides about: the key is left out" in told


def test_denied_by_the_operator(router: Start, chatty: tuple[str, int]) -> None:
    """Headers that the operator turned off are left out."""
    here = router(DENIED_OPTIONS="responseHeaders")
    assert "[0].responseHeaders is turned off by DENIED_OPTIONS: the key is left out" in serve(here, chatty, FRAME)
    assert here.ask(HOST, "/").find("x-frame-options") == ["SAMEORIGIN"]


def test_oldest_pod_counts(router: Start, ips: list[str]) -> None:
    """If Pods disagree on headers, the oldest one's count."""
    here = router()
    cycle = here.serve(
        *team(ips[0], entry("/", responseHeaders={"set": {"X-A": "old"}})),
        pod("a", "web-1", ips[1], [entry("/", responseHeaders={"set": {"X-A": "new"}})], DECLARED),
    )
    assert {here.ask(HOST, "/").headers["x-a"] for _ in range(4)} == {"old"}
    (told,) = cycle.table.problems
    assert "has another responseHeaders, other than Pod web-0, which is older and counts" in str(told)


def test_told(router: Start, chatty: tuple[str, int]) -> None:
    """The routes tell the headers, long values in part."""
    here = router()
    serve(here, chatty, {"set": {"X-A": "b" * 70}, "add": {"X-C": "d"}, "remove": ["Via"]})
    assert here.last
    told = f'"responseHeaders":"set X-A: {"b" * 57}..., add X-C: d, remove Via"'
    assert told.encode() in here.last.files["routes.jsonl"].content
