"""The server of the health and admin ports: it answers, whatever other clients do, and costs little meanwhile."""

import socket
import threading
from collections.abc import Iterator
from http import HTTPStatus

import httpx
import psutil
import pytest
from support.running_daemon import wait_until

from reconciler.status.answers import Application, HttpAnswer, Request, say
from reconciler.status.server import HttpServer, PortError, serve

_LARGE = say(HTTPStatus.OK, "x" * 8_000_000)


def _answer(request: Request) -> HttpAnswer:
    return _LARGE if request.path == "/large" else say(HTTPStatus.OK, "ok")


@pytest.fixture
def server() -> Iterator[HttpServer]:
    """Serve a short and a long answer; idle clients may stay for longer than any test runs."""
    running = HttpServer(Application(_answer), "127.0.0.1", 0, threads=1, patience=3600)
    yield running
    running.close()


def connect(server: HttpServer, sent: bytes) -> socket.socket:
    client = socket.create_connection(("127.0.0.1", server.port))
    client.settimeout(30)
    client.sendall(sent)
    return client


def ask(server: HttpServer, method: str = "GET", **headers: str) -> httpx.Response:
    return httpx.request(method, f"http://127.0.0.1:{server.port}/", headers=headers)


@pytest.mark.parametrize("sent", [b"", b"G", b"GET / HTTP/1.1\r\nHost: a\r\n"])
def test_slow_clients_keep_nobody_away(server: HttpServer, sent: bytes) -> None:
    """A request is answered while 200 clients never finish theirs: the connection that is open longest is closed."""
    clients = [connect(server, sent) for _ in range(200)]
    assert clients[0].recv(1) == b""
    assert ask(server).text == "ok\n"
    assert clients[-1].fileno() > 0
    for client in clients:
        client.close()


def test_slow_readers_cost_no_memory(server: HttpServer) -> None:
    """Fifty clients that ask for eight megabytes and read nothing do not make fifty copies of them."""
    before = psutil.Process().memory_info().rss
    clients = [connect(server, b"GET /large HTTP/1.1\r\nHost: a\r\n\r\n") for _ in range(50)]
    for client in clients:
        assert client.recv(10) == b"HTTP/1.1 2"
    assert ask(server).text == "ok\n"
    assert psutil.Process().memory_info().rss - before < 50 * len(_LARGE.body) / 2
    for client in clients:
        client.close()


def test_idle_clients_are_closed() -> None:
    """A client that sends nothing for a while is closed, also if nobody else needs the room."""
    server = HttpServer(Application(_answer), "127.0.0.1", 0, threads=1, patience=1)
    with connect(server, b"") as client:
        assert client.recv(1) == b""
    server.close()


def test_threads_are_bounded(server: HttpServer) -> None:
    """Many clients at once have no thread each."""
    before = threading.active_count()
    clients = [connect(server, b"GET / HTTP/1.1\r\nHost: a\r\n\r\n") for _ in range(60)]
    for client in clients:
        assert client.recv(10) == b"HTTP/1.1 2"
    assert threading.active_count() == before
    for client in clients:
        client.close()


def test_port_is_taken() -> None:
    """If a port cannot be used, the error is one line, and names the setting."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        number = taken.getsockname()[1]
        with pytest.raises(PortError, match=f"^HEALTH_PORT: 127.0.0.1:{number} cannot be used: Address already in"):
            serve(Application(_answer), "HEALTH_PORT", "127.0.0.1", number)


def test_close_ends_everything() -> None:
    """After a server was closed, its port is free, its connections are closed and its threads have ended."""
    before = threading.active_count()
    server = serve(Application(_answer), "ADMIN_PORT", "127.0.0.1", 0)
    client = connect(server, b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")  # accepted, and kept
    while not client.recv(1000).endswith(b"ok\n"):
        pass
    server.close()
    assert client.recv(1) == b""
    wait_until(lambda: threading.active_count() == before)
    serve(Application(_answer), "ADMIN_PORT", "127.0.0.1", server.port).close()
    client.close()


def test_ipv6() -> None:
    """A server listens on an IPv6 address too."""
    server = serve(Application(_answer), "ADMIN_PORT", "[::1]", 0)
    assert httpx.get(f"http://[::1]:{server.port}/").text == "ok\n"
    server.close()


def test_head_and_other_methods(server: HttpServer) -> None:
    """HEAD gives the same headers without a body; methods that change things are refused."""
    got, head = ask(server), ask(server, "HEAD")
    assert (head.status_code, head.content) == (200, b"")
    assert head.headers["Content-Length"] == got.headers["Content-Length"] == "3"
    for method in ("POST", "PUT", "DELETE", "OPTIONS", "TRACE", "PATCH"):
        refused = ask(server, method)
        assert (refused.status_code, refused.headers["Allow"]) == (405, "GET, HEAD"), method


def test_headers(server: HttpServer) -> None:
    """No answer is stored, framed, sniffed, or read by other origins, and none names the server's software."""
    for status, headers in ((200, ask(server).headers), (405, ask(server, "POST").headers)):
        assert headers["Cache-Control"] == "no-store", status
        assert headers["X-Content-Type-Options"] == "nosniff"
        assert headers["Referrer-Policy"] == "no-referrer"
        assert headers["Cross-Origin-Resource-Policy"] == "same-origin"
        assert {"default-src 'none'", "frame-ancestors 'none'"} <= {*headers["Content-Security-Policy"].split("; ")}
        assert "Server" not in headers
        assert "Access-Control-Allow-Origin" not in headers


def test_oversized_requests(server: HttpServer) -> None:
    """A head or a body that no reader of these pages sends is refused."""
    assert ask(server, x="y" * 10_000).status_code == 431
    assert httpx.post(f"http://127.0.0.1:{server.port}/", content=b"x" * 10_000).status_code == 413


@pytest.mark.parametrize(
    ("text", "packs"),
    [
        ("gzip", True), ("br, gzip;q=0.5", True), ("GZIP", True), ("", False), ("br", False), ("gzip;q=0", False),
        ("gzip; q=0.0", False), ("*", False),
    ],
)  # fmt: skip
def test_who_accepts_gzip(text: str, packs: bool) -> None:
    """Gzip is sent to those who name it, and not to those who exclude it."""
    seen: list[bool] = []

    def note(request: Request) -> HttpAnswer:
        seen.append(request.packs)
        return say(HTTPStatus.OK, "")

    server = serve(Application(note), "ADMIN_PORT", "127.0.0.1", 0)
    ask(server, **{"Accept-Encoding": text})
    server.close()
    assert seen == [packs]
