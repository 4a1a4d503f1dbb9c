"""Proxies in front of the router: which are believed about the client, by headers and by the PROXY protocol."""

import json
import socket
import ssl
import struct
from collections.abc import Callable
from dataclasses import replace

import pytest
from support.authority import Authority
from support.backends import Backends
from support.objects import namespace, pod, secret, tls
from support.ports import free_port, loopback
from support.router import Router

from reconciler.nginx.program import NginxError, check_modules
from reconciler.settings import read_settings
from reconciler.values.addresses import parse_cidrs

Start = Callable[..., Router]
PORT = free_port()
HOST = "test.k8s.local"
DECLARED = [{"containerPort": PORT}]
PATHS = [{"basePath": "/", "containerPort": PORT}]
FORWARDED = ("x-forwarded-for", "x-real-ip", "x-forwarded-proto", "x-forwarded-host")


@pytest.fixture(scope="module")
def ip(backends: Backends) -> str:
    """Give the address of a Pod that answers."""
    address = loopback("10.244.7.11")
    backends.listen(address, PORT)
    return address


def serve(router: Router, ip: str) -> Router:
    router.serve(namespace("a", {HOST: {}}), pod("a", "web-0", ip, PATHS, DECLARED))
    return router


def exchange(connection: socket.socket, preface: bytes = b"", host: str = HOST, headers: bytes = b"") -> bytes:
    """Send a preface and a request, and give all bytes that come back until the connection closes."""
    with connection:
        request = f"GET / HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n".encode()
        connection.sendall(preface + request + headers + b"\r\n")
        received = b""
        try:
            while more := connection.recv(65536):
                received += more
        except ConnectionResetError:
            pass
        return received


def told(received: bytes) -> list[str]:
    """Give the headers about the client that the Pod got."""
    head, _, body = received.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200"), received
    headers = json.loads(body)["headers"]
    return [headers.get(name) for name in FORWARDED]


def connect(router: Router) -> socket.socket:
    return socket.create_connection(("127.0.0.1", router.port), timeout=20)


def ask(router: Router, **headers: str) -> list[str]:
    answer = router.ask(HOST, "/", **headers)
    return [answer.told["headers"].get(name) for name in FORWARDED]


@pytest.mark.parametrize(
    ("sent", "client"),
    [
        ("192.0.2.1", "192.0.2.1"),
        ("6.6.6.6, 192.0.2.1", "192.0.2.1"),
        ("6.6.6.6, 192.0.2.1, 10.1.2.3", "192.0.2.1"),
        ("6.6.6.6, 192.0.2.1, 10.1.2.3, 127.0.0.1", "192.0.2.1"),
        ("2001:db8::1", "2001:db8::1"),
        ("6.6.6.6, junk", "127.0.0.1"),
        ("junk, 10.1.2.3", "10.1.2.3"),
        ("10.1.2.3", "10.1.2.3"),
        ("", "127.0.0.1"),
    ],
)
def test_client_behind_trusted_proxies(router: Start, ip: str, sent: str, client: str) -> None:
    """The client is the last address that is not a trusted proxy's; the Pod gets it, and nothing the client wrote."""
    here = serve(router(TRUSTED_PROXIES="127.0.0.0/8,10.0.0.0/8"), ip)
    assert ask(here, X_Forwarded_For=sent, X_Real_IP="6.6.6.6") == [client, client, "http", HOST]


@pytest.mark.parametrize(
    ("headers", "proto", "host"),
    [
        ({"X_Forwarded_Proto": "https", "X_Forwarded_Host": "shop.dev"}, "https", "shop.dev"),
        ({"X_Forwarded_Proto": "HTTPS"}, "https", HOST),
        ({"X_Forwarded_Proto": "wss"}, "https", HOST),
        ({"X_Forwarded_Proto": "WS"}, "http", HOST),
        ({"X_Forwarded_Proto": "https, http"}, "https", HOST),
        ({"X_Forwarded_Proto": "Wss\t,http"}, "https", HOST),
        ({"X_Forwarded_Proto": "http,https"}, "http", HOST),
        ({"X_Forwarded_Proto": "httpsx"}, "http", HOST),
        ({"X_Forwarded_Proto": "x https"}, "http", HOST),
        ({"X_Forwarded_Proto": ", https"}, "http", HOST),
        ({"X_Forwarded_Proto": "gopher", "X_Forwarded_Host": ""}, "http", HOST),
        ({}, "http", HOST),
    ],
)
def test_what_a_trusted_proxy_says(router: Start, ip: str, headers: dict[str, str], proto: str, host: str) -> None:
    """A trusted proxy's protocol and host go to the Pod if they are valid; the request's own host decides the route."""
    here = serve(router(TRUSTED_PROXIES="127.0.0.1"), ip)
    assert ask(here, **headers) == ["127.0.0.1", "127.0.0.1", proto, host]


@pytest.mark.parametrize(("said", "proto"), [("http", "http"), ("ws", "http"), ("", "https"), ("gopher", "https")])
def test_protocol_behind_tls(router: Start, ip: str, authority: Authority, said: str, proto: str) -> None:
    """A trusted proxy that itself uses TLS may say that its client did not; what means nothing counts as absent."""
    here = router(TRUSTED_PROXIES="127.0.0.1")
    certificate, key = authority.issue(HOST)
    wanted = pod("a", "web", ip, PATHS, DECLARED)
    here.serve(namespace("a", {HOST: tls()}), secret("a", ssl_crt=certificate, ssl_key=key), wanted)
    assert here.ask_tls(HOST, "/", X_Forwarded_Proto=said).told["headers"]["x-forwarded-proto"] == proto


@pytest.mark.parametrize("environment", [{}, {"TRUSTED_PROXIES": "10.0.0.0/8,127.0.0.2,::1"}])
def test_nobody_else_is_believed(router: Start, ip: str, environment: dict[str, str]) -> None:
    """The headers that an untrusted peer sends about the client are replaced."""
    here = serve(router(**environment), ip)
    forged = {"X_Forwarded_For": "10.0.0.1", "X_Real_IP": "10.0.0.1", "X_Forwarded_Host": "x", "Forwarded": "for=x"}
    assert ask(here, X_Forwarded_Proto="https", **forged) == ["127.0.0.1", "127.0.0.1", "http", HOST]


V1 = b"PROXY TCP4 192.0.2.1 192.0.2.9 4711 80\r\n"
V2 = b"\r\n\r\n\0\r\nQUIT\n" + struct.pack("!BBH4s4sHH", 0x21, 0x11, 12, b"\xc0\0\2\1", b"\xc0\0\2\x09", 4711, 80)


@pytest.mark.parametrize("preface", [V1, V2], ids=["version 1", "version 2"])
@pytest.mark.parametrize(
    ("trusted", "client"), [("", "192.0.2.1"), ("127.0.0.1", "192.0.2.1"), ("10.0.0.0/8", "127.0.0.1")]
)
def test_proxy_protocol(router: Start, ip: str, preface: bytes, trusted: str, client: str) -> None:
    """With PROXY_PROTOCOL the client's address is the one in the PROXY header, if the peer is trusted."""
    here = serve(router(PROXY_PROTOCOL="true", TRUSTED_PROXIES=trusted), ip)
    assert told(exchange(connect(here), preface)) == [client, client, "http", HOST]


def test_headers_behind_the_proxy_protocol(router: Start, ip: str) -> None:
    """A proxy that speaks the PROXY protocol writes no X-Forwarded headers: those are the client's, and are ignored."""
    here = serve(router(PROXY_PROTOCOL="true", TRUSTED_PROXIES="127.0.0.1"), ip)
    forged = b"X-Forwarded-For: 6.6.6.6\r\nX-Forwarded-Host: evil.dev\r\nX-Forwarded-Proto: https\r\n"
    assert told(exchange(connect(here), V1, headers=forged)) == ["192.0.2.1", "192.0.2.1", "http", HOST]


def test_proxy_protocol_over_tls(router: Start, ip: str, authority: Authority) -> None:
    """The TLS handshake begins after the PROXY protocol's header."""
    here = router(PROXY_PROTOCOL="true")
    certificate, key = authority.issue(HOST)
    here.serve(
        namespace("a", {HOST: tls()}),
        pod("a", "web-0", ip, PATHS, DECLARED),
        secret("a", ssl_crt=certificate, ssl_key=key),
    )
    raw = socket.create_connection(("127.0.0.1", here.ssl_port), timeout=20)
    raw.sendall(V1)
    secured: ssl.SSLSocket = authority.trust().wrap_socket(raw, server_hostname=HOST)
    assert told(exchange(secured)) == ["192.0.2.1", "192.0.2.1", "https", HOST]


@pytest.mark.parametrize("preface", [b"", b"PROXY NONSENSE\r\n", b"PROXY TCP4 192.0.2.1"])
def test_proxy_protocol_is_needed(router: Start, ip: str, preface: bytes) -> None:
    """With PROXY_PROTOCOL a connection that does not begin with a PROXY header is closed without an answer."""
    here = serve(router(PROXY_PROTOCOL="true"), ip)
    assert exchange(connect(here), preface) == b""


def test_proxy_protocol_is_off(router: Start, ip: str) -> None:
    """Without PROXY_PROTOCOL a PROXY header is answered with 400."""
    here = serve(router(TRUSTED_PROXIES="127.0.0.1"), ip)
    assert exchange(connect(here), V1).startswith(b"HTTP/1.1 400")


@pytest.mark.parametrize("environment", [{"TRUSTED_PROXIES": "10.0.0.1"}, {"PROXY_PROTOCOL": "true"}])
def test_nginx_without_the_module(nginx_without: Callable[[str], str], environment: dict[str, str]) -> None:
    """An nginx without the realip module is refused only if it is needed, and the message names the module."""
    binary = nginx_without("http_realip_module")
    with pytest.raises(NginxError, match="built without ngx_http_realip_module"):
        check_modules(binary, read_settings(environment))
    check_modules(binary, read_settings({}))


@pytest.fixture
def nginx_without(tmp_path, nginx_binary: str) -> Callable[[str], str]:
    """Make an nginx that reports that it is built without a module."""

    def make(module: str) -> str:
        script = tmp_path / "nginx"
        script.write_text(f"#!/bin/sh\n{nginx_binary} \"$@\" 2>&1 | sed 's/--with-{module}//' >&2\n")
        script.chmod(0o755)
        return str(script)

    return make


def test_ranges_that_overlap(router: Start, ip: str) -> None:
    """TRUSTED_PROXIES may hold ranges that overlap or repeat."""
    here = router(TRUSTED_PROXIES="10.0.0.0/8,10.0.0.0/8,10.1.0.0/16,::/0,127.0.0.1")
    assert here.settings == replace(here.settings, trusted_proxies=parse_cidrs("10.0.0.0/8,10.1.0.0/16,::/0,127.0.0.1"))
    assert ask(serve(here, ip), X_Forwarded_For="192.0.2.1")[0] == "192.0.2.1"
