"""Malformed and ambiguous requests: how nginx answers them, and what reaches a Pod."""

import socket
import ssl
from collections.abc import Callable, Iterator

import h2.config
import h2.connection
import h2.events
import pytest
from support.authority import Authority
from support.capture import CapturingPod, read_statuses
from support.objects import namespace, pod, secret, tls
from support.router import Router

Start = Callable[..., Router]
NAME = "test.k8s.local"
HOST = f"Host: {NAME}\r\n"
CLOSE = "Connection: close\r\n"
NEXT = f"GET /smuggled HTTP/1.1\r\n{HOST}{CLOSE}\r\n"
POST = f"POST / HTTP/1.1\r\n{HOST}"
NO_PORTS = (f"{NAME}:80@evil.dev", f'{NAME}:"><script>')
CHUNKED = f"{POST}{CLOSE}Transfer-Encoding: chunked\r\n"
BARE_CHUNKS = f"{CHUNKED}\r\n5;a\nhello\n0\n\n"


@pytest.fixture
def heard() -> Iterator[CapturingPod]:
    """Start a Pod that records what reaches it."""
    with CapturingPod() as recorder:
        yield recorder


def serve(router: Router, heard: CapturingPod, *paths: str, host: object = None) -> Router:
    """Serve a host with these paths of one Pod, `/` if there are none."""
    entries = [{"basePath": path, "containerPort": heard.port} for path in paths or ("/",)]
    router.serve(
        namespace("a", {NAME: host or {}}), pod("a", "web-0", "127.0.0.1", entries, [{"containerPort": heard.port}])
    )
    return router


def exchange(router: Router, request: str) -> list[int]:
    """Send bytes; give the statuses of all answers until nginx closes the connection."""
    with socket.create_connection(("127.0.0.1", router.port), timeout=30) as connection:
        connection.sendall(request.encode("latin-1"))
        return read_statuses(read_all(connection))


def read_all(connection: socket.socket) -> bytes:
    received = b""
    try:
        while more := connection.recv(65536):
            received += more
    except ConnectionResetError:
        pass  # nginx closed the connection before it had read everything
    return received


# Where a request ends

BROKEN = {
    "length and chunks": f"{POST}Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n{NEXT}",
    "chunks and length": f"{POST}Transfer-Encoding: chunked\r\nContent-Length: 9\r\n\r\n0\r\n\r\n{NEXT}",
    "two lengths": f"{POST}Content-Length: 0\r\nContent-Length: 9\r\n\r\n{NEXT}",
    "one length twice": f"{POST}Content-Length: 0\r\nContent-Length: 0\r\n\r\n{NEXT}",
    "list of lengths": f"{POST}Content-Length: 0, 0\r\n\r\n{NEXT}",
    "signed length": f"{POST}Content-Length: +0\r\n\r\n{NEXT}",
    "negative length": f"{POST}Content-Length: -1\r\n\r\n{NEXT}",
    "hexadecimal length": f"{POST}Content-Length: 0x0\r\n\r\n{NEXT}",
    "empty length": f"{POST}Content-Length: \r\n\r\n{NEXT}",
    "huge length": f"{POST}Content-Length: 99999999999999999999\r\n\r\n{NEXT}",
    "unknown coding": f"{POST}Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n{NEXT}",
    "identity": f"{POST}Transfer-Encoding: identity\r\n\r\n{NEXT}",
    "two codings": f"{POST}Transfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n{NEXT}",
    "coding twice": f"{POST}Transfer-Encoding: chunked\r\nTransfer-Encoding: x\r\n\r\n0\r\n\r\n{NEXT}",
    "coding after a tab": f"{POST}Transfer-Encoding:\tchunked\r\n\r\n0\r\n\r\n{NEXT}",
    "coding after a control": f"{POST}Transfer-Encoding: \x0bchunked\r\n\r\n0\r\n\r\n{NEXT}",
    "coding in HTTP/1.0": f"POST / HTTP/1.0\r\n{HOST}Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n{NEXT}",
    "size that is no number": f"{CHUNKED}\r\nzz\r\nhello\r\n0\r\n\r\n{NEXT}",
    "negative size": f"{CHUNKED}\r\n-5\r\nhello\r\n0\r\n\r\n{NEXT}",
    "prefixed size": f"{CHUNKED}\r\n0x5\r\nhello\r\n0\r\n\r\n{NEXT}",
    "huge size": f"{CHUNKED}\r\nfffffffffffffffff\r\nhello\r\n0\r\n\r\n{NEXT}",
    "size too small": f"{CHUNKED}\r\n3\r\nhello\r\n0\r\n\r\n{NEXT}",
    "folded header": f"GET / HTTP/1.1\r\n{HOST}{CLOSE}X-A: a\r\n b\r\n\r\n",
    "folded first header": f"GET / HTTP/1.1\r\n {HOST}{CLOSE}\r\n",
    "blank before the colon": f"{POST}{CLOSE}Content-Length : 5\r\n\r\nhello",
    "header without a name": f"GET / HTTP/1.1\r\n{HOST}{CLOSE}: a\r\n\r\n",
    "bare carriage return": f"GET / HTTP/1.1\r\n{HOST}{CLOSE}X-A: a\rX-B: b\r\n\r\n",
    "NUL": f"GET / HTTP/1.1\r\n{HOST}{CLOSE}X-A: a\0b\r\n\r\n",
    "blank in the path": f"GET /a b HTTP/1.1\r\n{HOST}{CLOSE}\r\n",
    "tab in the path": f"GET /a\tb HTTP/1.1\r\n{HOST}{CLOSE}\r\n",
    "another version": f"GET / HTTP/2.0\r\n{HOST}{CLOSE}\r\n",
    "HTTP/2 without TLS": "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "no HTTP": "\0\1\2\3\r\n\r\n",
    "TRACE": f"TRACE / HTTP/1.1\r\n{HOST}{CLOSE}\r\n",
    "CONNECT": f"CONNECT {NAME}:80 HTTP/1.1\r\n{HOST}{CLOSE}\r\n",
    "asterisk": f"OPTIONS * HTTP/1.1\r\n{HOST}{CLOSE}\r\n",
    "one header of 9,000 bytes": f"GET / HTTP/1.1\r\n{HOST}{CLOSE}X-A: {'a' * 9000}\r\n\r\n",
    "headers of 40,000 bytes": f"GET / HTTP/1.1\r\n{HOST}{CLOSE}" + f"X-A: {'a' * 5000}\r\n" * 8 + "\r\n",
    "100,000 headers": f"GET / HTTP/1.1\r\n{HOST}{CLOSE}" + "X: a\r\n" * 100_000 + "\r\n",
    "path of 9,000 bytes": f"GET /{'a' * 9000} HTTP/1.1\r\n{HOST}{CLOSE}\r\n",
}


def test_broken_requests(router: Start, heard: CapturingPod) -> None:
    """A request that is malformed or has an ambiguous end is refused at once, and nothing of it reaches a Pod."""
    here = serve(router(), heard)
    refused = {400, 405, 414, 501, 505}
    wrong = {
        name: got for name, text in BROKEN.items() if len(got := exchange(here, text)) != 1 or got[0] not in refused
    }
    if not wrong.get("HTTP/2 without TLS"):  # newer versions of nginx answer it in HTTP/2, and close the connection
        wrong.pop("HTTP/2 without TLS", None)
    assert (wrong, heard.requests) == ({}, [])


@pytest.mark.parametrize(
    ("request_", "body"),
    [
        (f"{CHUNKED}\r\n5\r\nhello\r\n0\r\n\r\n", b"hello"),
        (f"{CHUNKED}\r\n5;a=b\r\nhello\r\n0\r\nX-Real-IP: 6.6.6.6\r\nX-ROUTING-API-KEY: a\r\n\r\n", b"hello"),
        (BARE_CHUNKS, b"hello"),
        (f"GET / HTTP/1.1\n{HOST}{CLOSE}X-A: a\n\n", b""),
        (f"{POST}{CLOSE}Transfer-Encoding: CHUNKED\r\n\r\n5\r\nhello\r\n0\r\n\r\n", b"hello"),
        (f"{POST}{CLOSE}Content_Length: 1\r\nTransfer_Encoding: a\r\nContent-Length: 5\r\n\r\nhello", b"hello"),
        (f"\r\n\r\nGET / HTTP/1.1\r\n{HOST}{CLOSE}X-A\r\n\r\n", b""),
        (f"GET / HTTP/1.1\r\n{HOST}{CLOSE}" + "".join(f"X-{place}: a\r\n" for place in range(900)) + "\r\n", b""),
    ],
    ids=["chunks", "trailers", "bare line feeds in chunks", "bare line feeds", "case", "underscores", "blank", "many"],
)  # fmt: skip
@pytest.mark.parametrize("header", ["X-ROUTING-API-KEY", "X_KEY"])
def test_odd_requests_arrive_clean(router: Start, heard: CapturingPod, request_: str, body: bytes, header: str) -> None:
    """An odd request that nginx accepts reaches the Pod as one plain request, framed again and without trailers."""
    here = serve(router(API_KEY_HEADER=header), heard)
    statuses = exchange(here, request_)
    if request_ == BARE_CHUNKS and statuses == [400]:  # newer versions of nginx refuse it
        assert heard.requests == []
        return
    assert statuses == [200]
    ((line, headers, got),) = heard.requests
    assert (line.split()[1:], got) == (["/", "HTTP/1.1"], body)
    assert [value for name, value in headers if name == "x-real-ip"] == ["127.0.0.1"]
    framing = [name for name, _ in headers if name.replace("_", "-") in ("content-length", "transfer-encoding")]
    assert len(framing) == bool(body)
    assert "x-routing-api-key" not in dict(headers)


def test_requests_on_one_connection(router: Start, heard: CapturingPod) -> None:
    """A body ends where its length says, and what follows is the next request."""
    here = serve(router(), heard)
    assert exchange(here, f"GET / HTTP/1.1\r\n{HOST}Content-Length: 5\r\n\r\nhello{NEXT}") == [200, 200]
    assert [(line, body) for line, _, body in heard.requests] == [
        ("GET / HTTP/1.1", b"hello"),
        ("GET /smuggled HTTP/1.1", b""),
    ]


# Which host


@pytest.mark.parametrize(
    ("target", "host", "seen"),
    [
        ("/y", f"{NAME}:8080", f"{NAME}:8080"),
        ("/y", NAME.upper(), NAME.upper()),
        ("/y", f"{NAME}.", f"{NAME}."),
        ("/y", f"{NAME}.:80", f"{NAME}.:80"),
        ("/y", f"{NAME}:", f"{NAME}:"),
        ("/y", NO_PORTS[0], NAME),
        ("/y", NO_PORTS[1], NAME),
        (f"http://{NAME}/y", NAME, NAME),
        (f"HTTP://{NAME.upper()}:99/y", NAME, NAME),
        (f"http://{NAME}/y", "evil.dev", NAME),
        (f"http://{NAME}/y", "evil.dev:80", NAME),
        (f"http://{NAME}/y", f"{NAME}.evil.dev", NAME),
        (f"http://{NAME}/y", f"x{NAME}", NAME),
    ],
)
def test_host_that_goes_on(router: Start, heard: CapturingPod, target: str, host: str, seen: str) -> None:
    """The Pod gets the host that the request was routed by, as the client sent it, and no other host."""
    here = serve(router(), heard)
    statuses = exchange(here, f"GET {target} HTTP/1.1\r\nHost: {host}\r\n{CLOSE}\r\n")
    if host in NO_PORTS and statuses == [400]:  # newer versions of nginx check what follows the colon
        assert heard.requests == []
        return
    assert statuses == [200]
    assert heard.requests[0][0] == "GET /y HTTP/1.1"
    assert (heard.get("host"), heard.get("x-forwarded-host")) == ([seen], [seen])


def test_absolute_request_of_http_1_0(router: Start, heard: CapturingPod) -> None:
    """A host that is only in the request line is used."""
    here = serve(router(), heard)
    assert exchange(here, f"GET http://{NAME}/y HTTP/1.0\r\n\r\n") == [200]
    assert heard.get("host") == [NAME]


@pytest.mark.parametrize(
    ("request_", "statuses"),
    [
        (f"GET / HTTP/1.1\r\n{HOST}Host: other\r\n{CLOSE}\r\n", [400]),
        (f"GET / HTTP/1.1\r\n{HOST}{HOST}{CLOSE}\r\n", [400]),
        (f"GET / HTTP/1.1\r\n{CLOSE}\r\n", [400]),
        (f"GET / HTTP/1.1\r\nHost: \r\n{CLOSE}\r\n", [400]),
        (f"GET / HTTP/1.1\r\nHost: {NAME} evil.dev\r\n{CLOSE}\r\n", [400]),
        (f"GET / HTTP/1.1\r\nHost: {NAME}/x\r\n{CLOSE}\r\n", [400]),
        (f"GET http://a@{NAME}/ HTTP/1.1\r\n{HOST}{CLOSE}\r\n", [400]),
        (f"GET http://evil.dev/ HTTP/1.1\r\n{HOST}{CLOSE}\r\n", []),
        (f"GET / HTTP/1.1\r\nHost: {NAME},evil.dev\r\n{CLOSE}\r\n", []),
        (f"GET / HTTP/1.1\r\nHost: evil@{NAME}\r\n{CLOSE}\r\n", []),
        ("GET / HTTP/1.0\r\n\r\n", []),
        ("GET /\r\n", []),
    ],
)
def test_hosts_that_are_none(router: Start, heard: CapturingPod, request_: str, statuses: list[int]) -> None:
    """Without exactly one known host, nothing reaches a Pod: the request is refused or the connection closed."""
    here = serve(router(), heard)
    # Older versions of nginx take some of these texts for an unknown host; newer versions refuse them with 400.
    assert exchange(here, request_) in (statuses, [400])
    assert heard.requests == []


# Which path

MISLEADING = [
    *("/a/../b", "/a/%2e%2e/b", "/a/%2E./b", "/a/..%2fb", "/a%2f..%2Fb", "/../b", "/..", "/a/..", "/a/%2e%2e", "/./b"),
    *("/a/.", "/a/./b", "/a/..?x", "/a/..;/b", "/a/..;x=y/b", "/a/.;/b", "/a/..%3b/b", r"/a/..\b", r"/a\..\b"),
    *("/a%5c..%5cb", "//b", "//a/b", "///b", "/%2fb", r"/\b", "/%5Cb", "/a#b", "/a#/../b", "/#", "/a/..#", "/a%00b"),
    *(f"http://{NAME}/a/../b", f"http://{NAME}//b", "a", "http:/b"),
]  # fmt: skip


def test_misleading_paths(router: Start, heard: CapturingPod) -> None:
    """A path that a Pod could read differently than the router is refused, wherever it leads."""
    here = serve(router(), heard, "/", "/a", "/b")
    answers = {path: exchange(here, f"GET {path} HTTP/1.1\r\n{HOST}{CLOSE}\r\n") for path in MISLEADING}
    assert (answers, heard.requests) == ({path: [400] for path in MISLEADING}, [])


PLAIN = [
    *("/b", "/b/", "/b//c", "/b/c//", "/b/...", "/b/.well-known", "/b..c/d", "/b/..c", "/b/c..", "/b;x/c", "/b;x=../c"),
    *("/b%2fc", "/b/%252e%252e/c", "/b?/../c", "/b?//c", "/b?#", "/b/\x80\xff", "/%62", "/b%0ac", "/b%3fc%23d"),
]  # fmt: skip


def test_plain_paths(router: Start, heard: CapturingPod) -> None:
    """All other paths reach the Pod byte for byte; they are decoded only to find the location."""
    here = serve(router(), heard)
    for path in PLAIN:
        assert exchange(here, f"GET {path} HTTP/1.1\r\n{HOST}{CLOSE}\r\n") == [200], path
    assert [line for line, _, _ in heard.requests] == [f"GET {path} HTTP/1.1" for path in PLAIN]


def test_keys_and_rules_hold_for_every_spelling(router: Start, heard: CapturingPod) -> None:
    """No spelling of a path reaches a Namespace's Pods without its key, or a path that is not served."""
    here = router()
    ports = [{"containerPort": heard.port}]
    here.serve(
        namespace("a", {NAME: {}}),
        pod("a", "web-0", "127.0.0.1", [{"basePath": "/a", "containerPort": heard.port}], ports),
        secret("a", api_key="key"),
    )
    spellings = ["/a", "/%61", "/a/", "/a//x", "/a%2fx", "/x%2f..%2fa", "/x/../a", "/a;/x", "/A", "/a%20", "/a/%2e/x"]
    for path in [*spellings, *MISLEADING]:
        (status,) = exchange(here, f"GET {path} HTTP/1.1\r\n{HOST}{CLOSE}\r\n")
        assert status in (400, 403, 404), path
    assert heard.requests == []


# Which headers

ONE_CONNECTION = {
    "TE": "trailers", "Trailer": "a", "Keep-Alive": "timeout=5", "Proxy-Connection": "keep-alive", "Upgrade": "h2c",
    "Proxy-Authorization": "a", "HTTP2-Settings": "AAMAAABkAARAAAAA", "Expect": "100-continue",
}  # fmt: skip
CLAIMS = {
    "Proxy": "http://evil.dev", "Forwarded": "for=6.6.6.6;proto=https", "X-Original-URL": "/admin",
    "X-Rewrite-URL": "/admin", "X-Forwarded-Port": "1", "X-Forwarded-Prefix": "/x", "X-Forwarded-Server": "x",
    "X-Forwarded-Ssl": "on", "X-Forwarded-Scheme": "https", "X-Forwarded-Protocol": "ssl", "X-Scheme": "https",
    "X-Original-URI": "/admin", "Front-End-Https": "on", "Client-Cert": "x", "Client-Cert-Chain": "x",
    "X-Forwarded-Client-Cert": "x", "X-SSL-Client-Cert": "x", "X-SSL-Client-DN": "x", "X-SSL-Client-S-DN": "x",
}  # fmt: skip


@pytest.mark.parametrize("header", ["X-ROUTING-API-KEY", "X_KEY"])
def test_headers_that_do_not_go_on(router: Start, heard: CapturingPod, header: str) -> None:
    """Headers for one connection, and headers that a Pod could take for the router's, are removed in any spelling."""
    here = serve(router(API_KEY_HEADER=header), heard)
    sent = {**ONE_CONNECTION, **CLAIMS, **{name.replace("-", "_"): value for name, value in CLAIMS.items()}}
    lines = "".join(f"{name}: {value}\r\n" for name, value in sent.items())
    connection = "Connection: close, X-Real-IP, X-Forwarded-For, X-Mine\r\n"
    assert exchange(here, f"GET / HTTP/1.1\r\n{HOST}{connection}{lines}X-Mine: 1\r\nX-Other: 2\r\n\r\n") == [100, 200]
    ((_, headers, _),) = heard.requests
    assert sorted(name for name, _ in headers) == [
        *("host", "x-forwarded-for", "x-forwarded-host", "x-forwarded-proto", "x-mine", "x-other", "x-real-ip"),
        "x-request-id",
    ]


@pytest.mark.parametrize("header", ["X-ROUTING-API-KEY", "X_KEY"])
def test_address_from_outside(router: Start, heard: CapturingPod, header: str) -> None:
    """The Pod gets the address of the connection, in whatever spelling and however often the client sends another."""
    here = serve(router(API_KEY_HEADER=header), heard)
    names = ("X-Forwarded-For", "x-forwarded-for", "X_Forwarded_For", "X-Forwarded_For", "X_Real-IP", "X-Real-IP")
    forged = "".join(f"{name}: 6.6.6.6\r\n" for name in names)
    assert exchange(here, f"GET / HTTP/1.1\r\n{HOST}{CLOSE}{forged}\r\n") == [200]
    assert "6.6.6.6" not in str(heard.requests)
    assert heard.get("x-forwarded-for") == heard.get("x-real-ip") == ["127.0.0.1"]


@pytest.mark.parametrize("upgrade", ["h2c", "websocket, h2c", "h2c, websocket", "websocket/13", "TLS/1.2", "x"])
def test_upgrades_that_do_not_go_on(router: Start, heard: CapturingPod, upgrade: str) -> None:
    """An upgrade is passed on only if it names WebSocket and nothing else."""
    here = serve(router(), heard)
    asked = f"Connection: close, upgrade\r\nUpgrade: {upgrade}\r\n"
    assert exchange(here, f"GET / HTTP/1.1\r\n{HOST}{asked}\r\n") == [200]
    assert (heard.get("upgrade"), heard.get("connection")) == ([], [])


@pytest.mark.parametrize("connection", ["close", "keep-alive", "upgraded", "x-upgrade"])
def test_upgrade_that_the_connection_does_not_name(router: Start, heard: CapturingPod, connection: str) -> None:
    """An Upgrade header is not passed on if the Connection header does not name it."""
    here = serve(router(), heard)
    asked = f"Connection: {connection}\r\nUpgrade: websocket\r\n"
    with socket.create_connection(("127.0.0.1", here.port), timeout=30) as client:
        client.sendall(f"GET / HTTP/1.1\r\n{HOST}{asked}\r\n".encode())
        assert read_statuses(client.recv(65536)) == [200]
    assert heard.get("upgrade") == []


# What a Pod answers


def test_long_head_of_an_answer(router: Start, heard: CapturingPod) -> None:
    """The head of a Pod's answer may have up to 16 KiB, for example because of cookies."""
    cookies = b"".join(b"Set-Cookie: c%d=%b\r\n" % (number, b"x" * 3000) for number in range(5))
    heard.reply = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n" + cookies + b"\r\n"
    assert exchange(serve(router(), heard), f"GET / HTTP/1.1\r\n{HOST}{CLOSE}\r\n") == [200]


def test_request_that_breaks_pods(router: Start) -> None:
    """If a Pod drops the connection at a request, one other Pod is tried, and not all Pods."""
    here = router()
    with CapturingPod() as one, CapturingPod() as two, CapturingPod() as three, CapturingPod() as four:
        recorders = (one, two, three, four)
        pods = []
        for recorder in recorders:
            recorder.reply = b""
            entries, ports = [{"basePath": "/", "containerPort": recorder.port}], [{"containerPort": recorder.port}]
            pods.append(pod("a", f"web-{recorder.port}", "127.0.0.1", entries, ports))
        here.serve(namespace("a", {NAME: {}}), *pods)
        assert exchange(here, f"GET / HTTP/1.1\r\n{HOST}{CLOSE}\r\n") == [502]
        assert sum(len(recorder.requests) for recorder in recorders) == 2


# Slow clients


def test_slow_heads(router: Start, heard: CapturingPod) -> None:
    """A request head that is not complete in time is dropped, however steadily it comes."""
    here = serve(router(NGINX_CLIENT_HEADER_TIMEOUT="1"), heard)
    with socket.create_connection(("127.0.0.1", here.port), timeout=0.1) as connection:
        connection.sendall(f"GET / HTTP/1.1\r\n{HOST}X-A: ".encode())
        assert trickle(connection) == []
    assert heard.heads == []


def test_slow_handshakes(router: Start) -> None:
    """A TLS handshake that is not complete in time is dropped."""
    here = router(NGINX_CLIENT_HEADER_TIMEOUT="1")
    here.serve()
    with socket.create_connection(("127.0.0.1", here.ssl_port), timeout=30) as connection:
        connection.sendall(b"\x16\x03\x01")
        assert read_all(connection) == b""


def trickle(connection: socket.socket) -> list[int]:
    """Send a byte now and again until nginx closes the connection; give the statuses that it sent."""
    received = b""
    try:
        while True:
            try:
                if not (more := connection.recv(65536)):
                    return read_statuses(received)
                received += more
            except TimeoutError:
                connection.sendall(b"a")
    except (ConnectionResetError, BrokenPipeError):
        return read_statuses(received)


def test_stalled_bodies(router: Start, heard: CapturingPod) -> None:
    """A body that stops coming is dropped, and no Pod gets a complete request."""
    here = serve(router(NGINX_CLIENT_BODY_TIMEOUT="1"), heard)
    assert exchange(here, f"PUT / HTTP/1.1\r\n{HOST}{CLOSE}Content-Length: 9\r\n\r\nhello") in ([408], [])
    assert heard.requests == []


def test_slow_bodies_stream(router: Start, heard: CapturingPod) -> None:
    """A slow body may take all the time that it needs: the limit is for one pause."""
    here = serve(router(NGINX_CLIENT_BODY_TIMEOUT="1", NGINX_CLIENT_HEADER_TIMEOUT="1"), heard)
    with socket.create_connection(("127.0.0.1", here.port), timeout=0.1) as connection:
        connection.sendall(f"PUT / HTTP/1.1\r\n{HOST}{CLOSE}Content-Length: 25\r\n\r\n".encode())
        assert trickle(connection) == [200]
    assert heard.requests[0][2] == b"a" * 25


# HTTP/2

GET = [(":method", "GET"), (":scheme", "https"), (":path", "/"), (":authority", NAME)]
ODD_HTTP2 = {
    "another host header": [*GET, ("host", "evil.dev")],
    "path twice": [*GET, (":path", "/x")],
    "authority twice": [*GET, (":authority", "evil.dev")],
    "unknown pseudo header": [*GET, (":protocol", "websocket")],
    "upper case": [*GET, ("X-A", "a")],
    "line break in a value": [*GET, ("x-a", "a\r\nx-real-ip: 6.6.6.6")],
    "line break in the path": [*GET[:2], (":path", "/ HTTP/1.1\r\nx-a: b"), GET[3]],
    "blank in the path": [*GET[:2], (":path", "/a b"), GET[3]],
    "path without a slash": [*GET[:2], (":path", "a"), GET[3]],
    "empty path": [*GET[:2], (":path", ""), GET[3]],
    "no path": [*GET[:2], GET[3]],
    "no host": GET[:3],
    "blank in the method": [(":method", "GET /x HTTP/1.1"), *GET[1:]],
    "CONNECT": [(":method", "CONNECT"), *GET[1:]],
    "misleading path": [*GET[:2], (":path", "/a/../b"), GET[3]],
    "another authority": [*GET[:3], (":authority", "evil.dev")],
}
CLEAN_HTTP2 = {
    "pseudo header at the end": [*GET[:2], GET[3], ("te", "a"), (":path", "/")],
    "for one connection": [
        *GET,
        ("connection", "x"),
        ("te", "trailers"),
        ("upgrade", "h2c"),
        ("proxy-connection", "x"),
    ],
    "chunks": [*GET, ("transfer-encoding", "chunked")],
    "same host header": [*GET[:3], ("host", NAME)],
    "address": [*GET, ("x-forwarded-for", "6.6.6.6"), ("x-real-ip", "6.6.6.6"), ("x_real_ip", "6.6.6.6")],
    "identity": [*GET, ("x-ssl-client-verify", "SUCCESS"), ("x-routing-api-key", "6.6.6.6")],
}


@pytest.fixture
def secure(router: Start, heard: CapturingPod, authority: Authority) -> Router:
    """Serve a host with TLS."""
    here = router()
    certificate, key = authority.issue(NAME)
    paths = [{"basePath": "/", "containerPort": heard.port}]
    here.serve(
        namespace("a", {NAME: tls()}),
        pod("a", "web-0", "127.0.0.1", paths, [{"containerPort": heard.port}]),
        secret("a", ssl_crt=certificate, ssl_key=key),
    )
    return here


def ask_http2(router: Router, authority: Authority, headers: list[tuple[str, str]]) -> str:
    """Send a request's headers unchanged over HTTP/2; give the status, or how nginx dropped the request."""
    context: ssl.SSLContext = authority.trust()
    context.set_alpn_protocols(["h2"])
    config = h2.config.H2Configuration(
        validate_outbound_headers=False, normalize_outbound_headers=False, header_encoding="utf-8"
    )
    http2 = h2.connection.H2Connection(config)
    raw = socket.create_connection(("127.0.0.1", router.ssl_port), timeout=30)
    with context.wrap_socket(raw, server_hostname=NAME) as connection:
        http2.initiate_connection()
        http2.send_headers(1, headers, end_stream=True)
        connection.sendall(http2.data_to_send())
        while data := connection.recv(65536):
            for event in http2.receive_data(data):
                if isinstance(event, h2.events.ResponseReceived):
                    return dict(event.headers)[":status"]
                if isinstance(event, h2.events.StreamReset | h2.events.ConnectionTerminated):
                    return "dropped"
        return "closed"


@pytest.mark.parametrize("name", ODD_HTTP2)
def test_odd_http2(secure: Router, heard: CapturingPod, authority: Authority, name: str) -> None:
    """Over HTTP/2, headers that could become another request in HTTP/1.1 are refused."""
    assert ask_http2(secure, authority, ODD_HTTP2[name]) in ("400", "405", "dropped", "closed")
    assert heard.requests == []


def test_answer_s_connection_headers(secure: Router, heard: CapturingPod, authority: Authority) -> None:
    """A Pod's headers about its connection do not reach a client: they would break its HTTP/2 connection."""
    heard.reply = (
        b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nUpgrade: h2,h2c\r\nConnection: Upgrade, Keep-Alive\r\n"
        b"Keep-Alive: timeout=5\r\nProxy-Connection: keep-alive\r\n\r\n"
    )
    assert ask_http2(secure, authority, GET) == "200"


# Every version of nginx accepts these; newer versions refuse what the others contain.
ALWAYS_CLEAN = {"address", "identity"}


@pytest.mark.parametrize("name", CLEAN_HTTP2)
def test_clean_http2(secure: Router, heard: CapturingPod, authority: Authority, name: str) -> None:
    """A request that is accepted over HTTP/2 reaches the Pod as one plain request."""
    if ask_http2(secure, authority, CLEAN_HTTP2[name]) == "200":
        ((line, headers, _),) = heard.requests
        assert (line, heard.get("host")) == ("GET / HTTP/1.1", [NAME])
        assert {name: value for name, value in headers if name == "content-length"} in ({}, {"content-length": "0"})
        assert {name for name, _ in headers} - {"content-length"} == {
            *("host", "x-forwarded-for", "x-forwarded-host", "x-forwarded-proto", "x-real-ip", "x-request-id")
        }
        assert "6.6.6.6" not in str(headers)
    else:
        assert (heard.requests, name in ALWAYS_CLEAN) == ([], False)
