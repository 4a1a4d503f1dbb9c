"""Questions for a router, drawn at random from what clients send and should not send, and what comes back."""

import base64
import http.client
import random
import re
import socket
import ssl
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from hpack import Decoder, Encoder
from hyperframe.frame import DataFrame, Frame, GoAwayFrame, HeadersFrame, RstStreamFrame, SettingsFrame
from support.authority import Authority
from support.mirrors import BREAKING, ODD
from support.passwords import basic
from support.router import Router
from support.wide_cluster import BY_LOT, KEY, Wide

_TIMEOUT = 5
_SECRET = re.compile(r"[0-9a-f]{32}")
_POD = re.compile(r'"pod": "[^"]*"')
_NEVER_EQUAL = ("date", "x-request-id")
_LENGTH = re.compile(r'"(Transfer-Encoding: chunked|Content-Length: [0-9]+)"(, )?')
_METHODS = ("GET",) * 16 + ("HEAD", "POST", "POST", "PUT", "DELETE", "OPTIONS", "PATCH", "M-SEARCH", "TRACE")
_STATUSES = ("200", "204", "304", "401", "403", "404", "429", "500", "502", "503", "504")
_REST = (
    *("",) * 25, "/", *("/x",) * 9, "/x%20y", "/%2e%2e/app", "/../app", "//app", "?y=1", "?a=%00&b=//", ";a",
    "/%c3%a9", "%2Fb", "/a%2fb?c=/../d", "/%ff", "/a\\b", "#there", "x", "/" + "a" * 1100, "/%00", "?", "/./x", "/$uri",
    "/%25%0a",
)  # fmt: skip
_SPELLINGS = ("{0}",) * 60 + ("{0}:8080", "{0}.", "{0}.:80", "{1}", "{0}:x", "a.{0}")
_HEADERS: tuple[tuple[tuple[str, str], ...], ...] = (
    *((),) * 12,
    (("X-Routing-API-Key", base64.b64encode(KEY.encode()).decode()),),
    (("X-Routing-API-Key", "d3Jvbmc="),),
    (("X_Routing_API_Key", base64.b64encode(KEY.encode()).decode()),),
    (("Authorization", basic("alice", "rabbit")),),
    (("Authorization", basic("alice", "hole")),),
    (("Authorization", "NTLM TlRMTVNTUAABAAAA"),),
    (("Upgrade", "websocket"), ("Connection", "Upgrade")),
    (("Upgrade", "h2c"), ("Connection", "Upgrade, HTTP2-Settings")),
    (("Upgrade", "websocket"), ("Connection", "keep-alive, upgrade"), ("Authorization", "Negotiate a")),
    (("Expect", "100-continue"),),
    (("Range", "bytes=0-9"), ("If-None-Match", '"a"')),
    (("Origin", "http://localhost:3000"),),
    (("Origin", "https://a.example.net:8443"), ("Access-Control-Request-Method", "GET")),
    (("X-Forwarded-For", "10.1.2.3"),),
    (("X-Forwarded-For", "198.51.100.7, 203.0.113.7"), ("X-Forwarded-Proto", "https")),
    (("X-Forwarded-Proto", "https"), ("X-Forwarded-Host", "else.test")),
    (("Cookie", "a=b; dispatcher-session=" + "0a" * 16),),
    (("Cookie", "a=b"), ("X-Team", "red"), ("X-Debug", "1"), ("X-A-B", "1")),
    (("Connection", "close, X-Team"), ("X-Team", "red"), ("TE", "trailers")),
    (
        ("Proxy-Connection", "keep-alive"),
        ("Keep-Alive", "timeout=5"),
        ("X-Request-ID", "mine"),
        ("Accept-Encoding", "br"),
    ),
)


@dataclass(frozen=True)
class Question:
    """A request: `way` is http, tls or h2; `known` clients have a certificate; `chunked` bodies tell no length."""

    way: str
    host: str
    method: str
    uri: str
    version: str
    headers: tuple[tuple[str, str], ...]
    size: int
    chunked: bool
    known: bool


def draw_questions(wide: Wide, seed: int, number: int) -> Iterator[Question]:
    """Draw questions, the same ones for each seed."""
    dice = random.Random(seed)
    paths = [path.lstrip("=") if path[0] in "=/" else "/r1/pic.png" for path in wide.paths]
    for _ in range(number):
        host = dice.choice(wide.hosts).replace("*", dice.choice("ab"))
        if dice.random() < 0.8:
            host = dice.choice(("plain.test", "plain.test", "main.secure.test"))
        yield _draw(dice, host, dice.choice(paths), host in wide.secure)


def _draw(dice: random.Random, host: str, path: str, secure: bool) -> Question:
    way = dice.choice(("http", "http", "tls", "h2", "h2") if secure else ("http",) * 40 + ("tls", "h2"))
    method = dice.choice(_METHODS)
    odd = ODD if path == "/broken" else (*_STATUSES, *(one for one in ODD if one not in BREAKING))
    rest = "/" + dice.choice(odd) if dice.random() < 0.3 or path == "/broken" else dice.choice(_REST)
    headers = dice.choice(_HEADERS) + dice.choice(_HEADERS)
    if dice.random() < 0.2:
        headers += (("X-Wish", dice.choice(("401", "403", "500", "204"))),)
    has_body = method in ("POST", "PUT", "PATCH") or dice.random() < 0.05
    return Question(
        way=way,
        host=dice.choice(_SPELLINGS).format(host, host.upper()),
        method=method,
        uri=(f"http://else.test{path}{rest}" if dice.random() < 0.02 else path + rest),
        version=dice.choice(("1.1",) * 6 + ("1.0",)),
        headers=headers,
        size=dice.choice((0, 1, 1024, 1025, 9000, 40_000)) if has_body else 0,
        chunked=has_body and dice.random() < 0.3,
        known=dice.random() < 0.5,
    )


class Asker:
    """Asks routers over new connections."""

    def __init__(self, authority: Authority) -> None:
        self._contexts = {
            (way, known): _make_context(authority, way, known) for way in ("tls", "h2") for known in (True, False)
        }

    def ask(self, router: Router, one: Question) -> dict[str, Any]:
        """Give what a client sees, without what is never equal."""
        port = router.port if one.way == "http" else router.ssl_port
        with socket.create_connection(("127.0.0.1", port), timeout=_TIMEOUT) as raw:
            try:
                return _compare_by(one, *self._exchange(raw, one))
            except (OSError, http.client.HTTPException) as error:
                # How a connection ends depends on which of both ends is faster.
                return {"error": "late" if isinstance(error, TimeoutError) else "closed"}

    def _exchange(self, raw: socket.socket, one: Question) -> tuple[int, list[tuple[str, str]], bytes]:
        if one.way == "http":
            return _ask_http1(raw, one)
        name = one.host.lower().partition(":")[0].rstrip(".")
        with self._contexts[one.way, one.known].wrap_socket(raw, server_hostname=name) as secure:
            return _ask_http2(secure, one) if one.way == "h2" else _ask_http1(secure, one)


def _make_context(authority: Authority, way: str, known: bool) -> ssl.SSLContext:
    context = authority.trust("wide-client" if known else None)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    if way == "h2":
        context.set_alpn_protocols(["h2"])
    return context


def _compare_by(one: Question, status: int, headers: list[tuple[str, str]], body: bytes) -> dict[str, Any]:
    text = _SECRET.sub("*", body.decode("latin-1"))
    if one.uri.startswith(BY_LOT):
        text = _POD.sub("", text)
    left_out = _NEVER_EQUAL
    if one.chunked:
        # nginx tells a Pod the length if the whole body has come by then.
        text, left_out = _LENGTH.sub("", text), (*_NEVER_EQUAL, "content-length")
    kept = [(name, _SECRET.sub("*", value)) for name, value in headers if name.lower() not in left_out]
    return {"status": status, "headers": kept, "body": text}


def _ask_http1(connection: socket.socket, one: Question) -> tuple[int, list[tuple[str, str]], bytes]:
    headers = [("Host", one.host), *one.headers]
    if one.chunked:
        headers.append(("Transfer-Encoding", "chunked"))
    elif one.size:
        headers.append(("Content-Length", str(one.size)))
    head = "".join(f"{name}: {value}\r\n" for name, value in headers)
    body = b"b" * one.size
    if one.chunked:
        body = (b"%x\r\n%b\r\n" % (one.size, body) if body else b"") + b"0\r\n\r\n"
    connection.sendall(f"{one.method} {one.uri} HTTP/{one.version}\r\n{head}\r\n".encode("latin-1") + body)
    with http.client.HTTPResponse(connection, method=one.method) as response:
        response.begin()
        return response.status, response.getheaders(), response.read()


def _ask_http2(connection: ssl.SSLSocket, one: Question) -> tuple[int, list[tuple[str, str]], bytes]:
    forbidden = ("connection", "upgrade", "proxy-connection", "keep-alive", "te", "expect")
    more = [(name.lower(), value) for name, value in one.headers if name.lower() not in forbidden]
    if one.size and not one.chunked:
        more.append(("content-length", str(one.size)))
    first = {":method": one.method, ":scheme": "https", ":authority": one.host, ":path": one.uri}
    block = Encoder().encode([*first.items(), *more])
    frames: list[Frame] = [SettingsFrame(0), HeadersFrame(1, block, flags=["END_HEADERS"])]
    pieces = [b"b" * min(16_384, one.size - at) for at in range(0, one.size, 16_384)]
    frames += [DataFrame(1, piece) for piece in pieces]
    frames[-1].flags.add("END_STREAM")
    connection.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"".join(frame.serialize() for frame in frames))
    return _read_http2(connection)


def _read_http2(connection: ssl.SSLSocket) -> tuple[int, list[tuple[str, str]], bytes]:
    decoder, headers, body = Decoder(), list[tuple[str, str]](), b""
    with connection.makefile("rb") as incoming:
        while len(head := incoming.read(9)) == 9:
            frame, length = Frame.parse_frame_header(memoryview(head))
            frame.parse_body(memoryview(incoming.read(length)))
            if isinstance(frame, HeadersFrame):
                headers = [(str(name), str(value)) for name, value in decoder.decode(frame.data)]
            elif isinstance(frame, DataFrame):
                body += frame.data
            if isinstance(frame, RstStreamFrame | GoAwayFrame):
                return 0, [*headers, (type(frame).__name__, str(frame.error_code))], body
            if frame.stream_id == 1 and "END_STREAM" in frame.flags:
                return int(dict(headers)[":status"]), headers, body
    return 0, headers, body
