"""requestHeaders on a running nginx: which headers reach a Pod, and that what protects the others stays whole."""

import socket
from collections.abc import Callable
from typing import Any

import pytest
from support.authority import Authority
from support.objects import Object, namespace, pod, secret, tls, unready
from support.pods import DECLARED, HOST, LATER, entry
from support.router import Router
from websockets.sync.client import connect

Start = Callable[..., Router]
KEY = "b3Blbg=="
WANTED = {"set": {"X-Team": "shop a"}, "remove": ["Cookie", "x-debug"]}


def team(ip: str, *entries: object) -> list[Object]:
    return [namespace("a", {HOST: {}}), pod("a", "web-0", ip, list(entries), DECLARED)]


def told(here: Router) -> str:
    assert here.last
    return "\n".join(str(problem) for problem in here.last.table.problems)


def test_set_and_remove(router: Start, ips: list[str]) -> None:
    """A Pod gets what is set, once, and not what is removed; everything else arrives as on other paths."""
    here = router()
    here.serve(*team(ips[0], entry("/", requestHeaders=WANTED), entry("/plain")))
    sent = {"X_Team": "forged", "Cookie": "a=b", "X_Debug": "1", "Accept": "text/html", "Expect_Ct": "x"}
    got = here.ask(HOST, "/", **sent).told["headers"]
    plain = here.ask(HOST, "/plain", **sent).told["headers"]
    assert got["x-team"] == "shop a"
    assert plain["x-team"] == "forged"
    assert plain.keys() - got.keys() == {"cookie", "x-debug"}
    assert got.keys() - plain.keys() == set()
    assert told(here) == ""


ODD = "{}; # '\"\\ }\\n ${x".replace("$", "")


@pytest.mark.parametrize("value", [ODD, "%24uri", "x" * 2048, '"' * 1900, "\\" * 1900])
def test_values_arrive_as_they_are(router: Start, ips: list[str], value: str) -> None:
    """Whatever a value looks like in nginx's language, the Pod gets it as it was written."""
    here = router()
    here.serve(*team(ips[0], entry("/", requestHeaders={"set": {"X-Odd": value}})))
    assert here.ask(HOST, "/").told["headers"]["x-odd"] == value


FORGED = {
    "X_SSL_Client_Verify": "SUCCESS", "X_SSL_Client_Subject_DN": "CN=root", "X_Forwarded_Port": "1", "Forwarded": "x",
    "X_Forwarded_For": "1.2.3.4", "X_Real_IP": "1.2.3.4", "X_Forwarded_Proto": "https", "X_Forwarded_Host": "evil",
    "X_Original_URL": "/admin", "Client_Cert": "x", "Proxy_Authorization": "x", "X_Request_ID": "chosen",
}  # fmt: skip


def test_nothing_else_changes(router: Start, ips: list[str]) -> None:
    """The API key and forged headers never arrive: a Pod gets from the router what it gets without options."""
    here = router()
    entries = [entry("/", requestHeaders={"set": {"X-Team": "a"}}), entry("/plain")]
    here.serve(*team(ips[0], *entries), secret("a", api_key="open"))
    answers = [here.ask(HOST, path, X_ROUTING_API_KEY=KEY, **FORGED) for path in ("/", "/plain")]
    got, plain = (answer.told["headers"] for answer in answers)
    assert KEY not in str(got)
    assert got.pop("x-team") == "a"
    assert got.pop("x-request-id") != plain.pop("x-request-id")
    assert got == plain
    assert got["x-forwarded-for"] == got["x-real-ip"] == "127.0.0.1"
    assert not [name for name in got if name.startswith("x-ssl-client")]


def test_identity_of_a_client(router: Start, ips: list[str], authority: Authority) -> None:
    """On a host that verifies clients, the Pod gets the client's identity, and not a forged one."""
    here = router()
    certificate, key = authority.issue("secure.dev")
    here.serve(
        namespace("a", {"secure.dev": tls(client="ca.crt")}),
        secret("a", ssl_crt=certificate, ssl_key=key, ca_crt=authority.pem),
        pod("a", "web-0", ips[0], [entry("/", requestHeaders=WANTED)], DECLARED),
    )
    context = authority.trust("ann")
    got = here.ask_tls("secure.dev", "/", context=context, **FORGED).told["headers"]
    assert (got["x-ssl-client-verify"], got["x-ssl-client-subject-dn"]) == ("SUCCESS", "CN=ann")
    assert got["x-team"] == "shop a"


def test_websocket_still_switches(router: Start, ips: list[str]) -> None:
    """A WebSocket works on a path that changes headers."""
    here = router()
    here.serve(*team(ips[0], entry("/", requestHeaders=WANTED)))
    with connect(f"ws://{HOST}/", sock=socket.create_connection(("127.0.0.1", here.port))) as websocket:
        websocket.send("hello")
        assert str(websocket.recv(timeout=20)).endswith("hello")


def ask_raw(here: Router, *lines: str) -> str:
    """Send headers in their very spelling, and give what the Pod says that it got."""
    with socket.create_connection(("127.0.0.1", here.port), timeout=20) as raw:
        head = "\r\n".join(["GET / HTTP/1.1", f"Host: {HOST}", "Connection: close", *lines])
        raw.sendall(f"{head}\r\n\r\n".encode())
        return b"".join(iter(lambda: raw.recv(65536), b"")).decode()


def test_other_spellings(router: Start, ips: list[str]) -> None:
    """Where nginx takes underscores, a client cannot send a header of the path in another spelling."""
    here = router(API_KEY_HEADER="X_Key")
    wanted = {"set": {"X-Team-Name": "shop"}, "remove": ["X-Debug"]}
    here.serve(*team(ips[0], entry("/", requestHeaders=wanted)))
    answer = ask_raw(here, "X_Team_Name: forged", "x-team_name: forged", "X_DEBUG: forged", "X_Other: kept")
    assert "forged" not in answer
    assert '"x-team-name": "shop"' in answer
    assert '"x_other": "kept"' in answer
    here.serve(*team(ips[0], entry("/", requestHeaders={"set": {"Content-Type": "text/x"}})))
    answer = ask_raw(here, "Content_Type: forged", "Content-Type: forged")
    assert '"content-type": "text/x"' in answer
    assert "forged" not in answer
    plain = router()
    plain.serve(*team(ips[0], entry("/", requestHeaders=wanted)))
    assert "forged" not in ask_raw(plain, "X_Team_Name: forged", "X_DEBUG: forged")


BAD: dict[str, tuple[Any, str]] = {
    "a text": ("X-Team: a", "[1].requestHeaders is a string: this Pod does not serve the path"),
    "null": (None, "[1].requestHeaders is null: this Pod does not serve the path"),
    "an unknown key": ({"add": {"A": "b"}}, "[1].requestHeaders.'add' is an unknown key"),
    "a variable": ({"set": {"X-A": "$host"}}, "[1].requestHeaders.set.X-A is '$host'"),
    "a line break": ({"set": {"X-A": "a\r\nB: c"}}, "is 'a\\r\\nB: c'"),
    "an empty value": ({"set": {"X-A": ""}}, "[1].requestHeaders.set.X-A is ''"),
    "a header twice": ({"set": {"X-A": "b"}, "remove": ["x-a"]}, "names 'x-a' twice"),
    "too many": ({"remove": [f"X-{number}" for number in range(17)]}, "has 17 members"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_headers_close(router: Start, ips: list[str], name: str) -> None:
    """A header may be what protects a path: a key that cannot be honoured closes it, and no shorter path serves it."""
    wanted, problem = BAD[name]
    here = router()
    here.serve(*team(ips[0], entry("/"), entry("/admin", requestHeaders=wanted)))
    assert [here.ask(HOST, uri).status for uri in ("/admin/x", "/other")] == [403, 200]
    assert problem in told(here)


def test_misspelt_key_closes(router: Start, ips: list[str]) -> None:
    """A key that was probably meant for this one closes the path."""
    here = router()
    here.serve(*team(ips[0], entry("/"), entry("/admin", requestHeader=WANTED)))
    assert here.ask(HOST, "/admin/x").status == 403
    assert "[1].'requestHeader' may be meant for requestHeaders: this Pod does not serve the path" in told(here)


OURS = (
    "Host", "Connection", "Upgrade", "TE", "Trailer", "Transfer-Encoding", "Content-Length", "Keep-Alive", "Expect",
    "Proxy-Connection", "proxy-anything", "X-Real-IP", "x-forwarded-for", "X-Forwarded-Proto", "X-Forwarded-Host",
    "X-Forwarded-Prefix", "Forwarded", "X-Request-Id", "X-SSL-Client-Verify", "x-ssl-client-new", "X-Original-URL",
    "HTTP2-Settings", "Client-Cert", "X-Routing-Api-Key",
)  # fmt: skip


@pytest.mark.parametrize("verb", ["set", "remove"])
@pytest.mark.parametrize("key", ["X-ROUTING-API-KEY", "X_ROUTING_API-KEY"])
def test_headers_of_the_router(router: Start, ips: list[str], verb: str, key: str) -> None:
    """A header that is about the connection, that the router writes, or that holds the key, is refused."""
    here = router(API_KEY_HEADER=key)
    pods = [
        pod("a", f"w-{number}", ips[0], [entry(f"/{number}", requestHeaders=changes)], DECLARED)
        for number, changes in enumerate({verb: [name] if verb == "remove" else {name: "x"}} for name in OURS)
    ]
    here.serve(namespace("a", {HOST: {}}), *pods)
    for name in OURS:
        assert f"[0].requestHeaders names '{name}', which the router alone decides about" in told(here)
    assert {here.ask(HOST, f"/{number}").status for number in range(len(OURS))} == {403}


@pytest.mark.parametrize(
    ("wanted", "problem"),
    [
        ({"remove": ["a-b-c-d-e-f-g-h"]}, "names a header with more than 6 hyphens"),
        ({"remove": ["a-b-c-d-e-f", "g-h-i-j-k-l-m"]}, "names headers that have 94 spellings with underscores"),
    ],
)
def test_too_many_spellings(router: Start, ips: list[str], wanted: object, problem: str) -> None:
    """Where nginx takes underscores, names with many hyphens close the path; elsewhere they are served."""
    here, plain = router(API_KEY_HEADER="X_Key"), router()
    for one in (here, plain):
        one.serve(*team(ips[0], entry("/", requestHeaders=wanted)))
    assert [one.ask(HOST, "/").status for one in (here, plain)] == [403, 200]
    assert problem in told(here)


def test_denied_by_the_operator(router: Start, ips: list[str]) -> None:
    """Headers that the operator turned off close the path."""
    here = router(DENIED_OPTIONS="requestHeaders")
    here.serve(*team(ips[0], entry("/", requestHeaders=WANTED)))
    assert here.ask(HOST, "/").status == 403
    assert "[0].requestHeaders is turned off by DENIED_OPTIONS: this Pod does not serve the path" in told(here)


def test_pods_that_disagree(router: Start, ips: list[str]) -> None:
    """As soon as one Pod changes headers, all get them changed; of two different values the newest Pod's counts."""
    here = router()
    host, old = team(ips[0], entry("/"))
    new = pod("a", "web-1", ips[1], [entry("/", requestHeaders=WANTED)], DECLARED, creationTimestamp=LATER)
    here.serve(host, old, new)
    assert {here.ask(HOST, "/").told["headers"].get("x-team") for _ in range(4)} == {"shop a"}
    assert "has no requestHeaders, other than Pod web-1, which protects the path" in told(here)
    host, old = team(ips[0], entry("/", requestHeaders={"set": {"X-Team": "old"}}))
    here.serve(host, old, new)
    assert {here.ask(HOST, "/").told["headers"].get("x-team") for _ in range(4)} == {"shop a"}
    assert "has another requestHeaders, other than Pod web-1, which is newer and counts" in told(here)


def test_told_without_values(router: Start, ips: list[str]) -> None:
    """The routes tell the names of the headers alone; without ready Pods a static tree does not have the headers."""
    here = router(ENDPOINTS="reload")
    objects = team(ips[0], entry("/", requestHeaders={"set": {"Authorization": "Basic hidden"}, "remove": ["Cookie"]}))
    host, only = objects
    for pod_ in (only, unready(only)):
        cycle = here.serve(host, pod_)
        routes = cycle.files["routes.jsonl"].content
        assert b'"requestHeaders":"set Authorization, remove Cookie"' in routes
        assert b"hidden" not in routes
    assert here.ask(HOST, "/").status == 503
    assert b"hidden" not in cycle.files["nginx.conf"].content


def test_beyond_the_share(router: Start, ips: list[str]) -> None:
    """Changed headers count as two more paths: beyond the Namespace's share, the last ones by name close."""
    here = router(MAX_LOCATIONS_PER_NAMESPACE="10")
    here.serve(*team(ips[0], *(entry(path, requestHeaders=WANTED) for path in ("/a", "/b"))))
    assert [here.ask(HOST, path).status for path in ("/a", "/b")] == [200, 403]
    assert "path '/b' requestHeaders is beyond the Namespace's share: all requests get 403" in told(here)
