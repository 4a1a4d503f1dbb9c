"""Pods that answer with what arrived, to the byte, and that answer oddly if a request wishes so."""

import asyncio
import json
import ssl
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Self

from support.closing import close_server

_STARTS = b"HTTP/1.1 200 OK\r\n"
_HANDSHAKE = b"\x16"  # of TLS
_LONG = b"X-Long: " + b"a" * 9000 + b"\r\n"


def _close(body: bytes) -> bytes:
    return b"HTTP/1.1 200 OK\r\nConnection: close\r\n" + _measure(body)


def _measure(body: bytes) -> bytes:
    return b"Content-Length: %d\r\n\r\n%b" % (len(body), body)


def _chunk(body: bytes) -> bytes:
    return _STARTS + b"Transfer-Encoding: chunked\r\n\r\n%x\r\n%b\r\n0\r\n\r\n" % (len(body), body)


# What a Pod sends in place of its usual answer, from that answer's body. After those in _ENDINGS it hangs up.
_ODD: dict[str, Callable[[bytes], bytes]] = {
    "hang-up": lambda _: b"",
    "garbage": lambda _: _STARTS + b"X-\0: a\r\n\r\n",
    "cut": lambda body: _STARTS + b"Content-Length: 9999\r\n\r\n" + body,
    "switch": lambda _: b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: upgrade\r\n\r\n",
    "old": lambda body: b"HTTP/1.0 200 OK\r\n\r\n" + body,
    "close": _close,
    "chunks": _chunk,
    "long": lambda body: _STARTS + _LONG + _measure(body),
    "longer": lambda body: _STARTS + _LONG * 2 + _measure(body),
    "many": lambda body: _STARTS + b"Set-Cookie: a=b\r\nSet-Cookie: c=d\r\nX-Powered-By: Pod\r\n" + _measure(body),
    "moved": lambda body: b"HTTP/1.1 302 Found\r\nLocation: http://_pods/there\r\n" + _measure(body),
    "accel": lambda body: _STARTS + b"X-Accel-Redirect: /app\r\nX-Accel-Buffering: no\r\n" + _measure(body),
    "strict": lambda body: _STARTS + b"Strict-Transport-Security: max-age=1\r\nUpgrade: h2c\r\n" + _measure(body),
}
_ENDINGS = ("hang-up", "garbage", "cut", "switch", "old", "close")
ODD = tuple(_ODD)
# These end a connection without an answer, so that nginx may ask another Pod.
BREAKING = ("hang-up",)


class Mirrors:
    """Runs Pods on loopback addresses.

    The usual answer is a JSON object with the Pod's address, the request's head in lines, and the size of its body. A
    request may wish for another status, or for one of ODD, by its path's last segment. A request without a path of
    that kind, as those to authorisers, may name the status in the header X-Wish.
    """

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._servers: dict[tuple[str, int], asyncio.Server] = {}
        self._idle: dict[tuple[str, int], set[asyncio.StreamWriter]] = {}
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        asyncio.run_coroutine_threadsafe(self._end(), self._loop).result()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def listen(self, ip: str, port: int, context: ssl.SSLContext | None = None) -> None:
        """Answer on this address from now on, over TLS if there is a context."""
        started = asyncio.start_server(self._serve, ip, port, ssl=context, limit=1 << 20)
        self._servers[ip, port] = asyncio.run_coroutine_threadsafe(started, self._loop).result()

    def leave(self, ip: str, port: int) -> None:
        """Take no more connections on this address, close those that are idle, and others after their answer."""
        asyncio.run_coroutine_threadsafe(self._leave(ip, port), self._loop).result()

    async def _leave(self, ip: str, port: int) -> None:
        await close_server(self._servers.pop((ip, port)))
        for writer in self._idle.pop((ip, port), ()):
            writer.close()

    async def _end(self) -> None:
        for server in self._servers.values():
            await close_server(server)
        tasks = asyncio.all_tasks() - {asyncio.current_task()}
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        place = writer.get_extra_info("sockname")[:2]
        idle = self._idle.setdefault(place, set())
        with suppress(ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError, ssl.SSLError):
            stays = True
            while stays and place in self._servers:
                idle.add(writer)
                first = await reader.readexactly(1)
                idle.discard(writer)
                stays = first != _HANDSHAKE and await _answer(first, reader, writer)
        idle.discard(writer)
        writer.close()


async def _answer(first: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
    """Answer the request that begins with a byte, and tell whether the connection stays open."""
    head = (first + await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")[:-2]
    if head[0].startswith("PRI "):  # gRPC, which this Pod does not speak
        return False
    headers = dict(line.lower().split(": ", 1) for line in head[1:] if ": " in line)
    size = await _read_body(reader, headers)
    name = writer.get_extra_info("sockname")
    told: dict[str, Any] = {"pod": f"{name[0]}:{name[1]}", "head": head, "size": size}
    body = json.dumps(told).encode()
    last = head[0].split(" ")[1].partition("?")[0].rpartition("/")[2]
    wish = last if last in _ODD or last.isdigit() else headers.get("x-wish", "")
    writer.write(_write(wish, body, head[0]))
    await writer.drain()
    return wish not in _ENDINGS


def _write(wish: str, body: bytes, first: str) -> bytes:
    if wish in _ODD:
        return _ODD[wish](body)
    status = int(wish) if len(wish) == 3 and wish.isdigit() else 200
    bare = first.startswith("HEAD ") or status in (204, 304)
    more = b"X-Auth-Request-User: alice\r\nX-Team: blue\r\n" + (
        b'WWW-Authenticate: Bearer realm="x"\r\n' * (status == 401)
    )
    return b"HTTP/1.1 %d Said\r\n%b" % (status, more) + (b"\r\n" if bare else _measure(body))


async def _read_body(reader: asyncio.StreamReader, headers: dict[str, str]) -> int:
    if headers.get("transfer-encoding") != "chunked":
        return len(await reader.readexactly(int(headers.get("content-length", "0"))))
    size = 0
    while length := int((await reader.readuntil(b"\r\n")).decode(), 16):
        await reader.readexactly(length + 2)
        size += length
    await reader.readuntil(b"\r\n")
    return size
