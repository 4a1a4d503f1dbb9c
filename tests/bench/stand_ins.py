"""Many stand-ins for Pods in one thread: small HTTP servers on loopback addresses, which start, crash and end."""

import asyncio
import threading
import time
from collections.abc import Coroutine
from typing import Any, Self, cast

from support.closing import close_server

# What a long answer is sent in: nginx passes each piece on at once only if it does not buffer.
_PIECES = 20
_CHUNK = b"8\r\nanother\n\r\n"


class StandIns:
    """Answers for many Pods, each at an address of its own, all at `port`; answers name the Pod's address in `X-Pod`.

    `first` has the moment of the first request that reached each Pod since it started. A request for `/…?seconds=N` is
    answered in pieces for so long.
    """

    def __init__(self, port: int) -> None:
        self.port = port
        self.first: dict[str, float] = {}
        self._pods: dict[str, _Pod] = {}
        self._started: list[_Pod] = []
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        for pod in self._started:
            self._run(pod.crash())
        self._run(_finish())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    @property
    def running(self) -> list[str]:
        """The addresses of the Pods that run."""
        return [*self._pods]

    def start(self, ip: str) -> None:
        """Start a Pod; it has had no request yet."""
        self.first.pop(ip, None)
        pod = self._pods[ip] = _Pod(ip, self.first)
        self._started.append(pod)
        self._run(pod.listen(self.port))

    def end(self, ip: str) -> None:
        """End a Pod that finishes the answers that it has begun."""
        self._run(self._pods.pop(ip).end())

    def crash(self, ip: str) -> None:
        """End a Pod with all its connections at once."""
        self._run(self._pods.pop(ip).crash())

    def _run(self, work: Coroutine[Any, Any, None]) -> None:
        asyncio.run_coroutine_threadsafe(work, self._loop).result(30)


async def _finish() -> None:
    """Let the loop close what was aborted."""
    for _ in range(5):
        await asyncio.sleep(0)


class _Pod:
    """A server with its connections."""

    def __init__(self, ip: str, first: dict[str, float]) -> None:
        self.head = f"HTTP/1.1 200 OK\r\nX-Pod: {ip}\r\n".encode()
        self.ending = self._crashed = False
        self.connections: set[_Connection] = set()
        self._ip, self._first = ip, first
        self._server: asyncio.Server | None = None

    async def listen(self, port: int) -> None:
        """Accept connections."""
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(lambda: _Connection(self), self._ip, port)

    def note(self) -> None:
        """Remember that a request came."""
        self._first.setdefault(self._ip, time.monotonic())

    async def end(self) -> None:
        """Accept no more connections, and close each as soon as it is idle."""
        await self._close()
        self.ending = True
        for connection in self.connections:
            connection.close_if_idle()

    async def crash(self) -> None:
        """Accept no more connections, and abort all."""
        await self._close()
        self._crashed = True
        for connection in self.connections:
            connection.abort()

    def admit(self, connection: "_Connection") -> None:
        """Keep a new connection. It may have been accepted a moment before the Pod ended."""
        self.connections.add(connection)
        if self._crashed:
            connection.abort()

    async def _close(self) -> None:
        if self._server:
            await close_server(self._server)


class _Connection(asyncio.Protocol):
    """Reads requests, and answers one after the other."""

    def __init__(self, pod: _Pod) -> None:
        self._pod = pod
        self._read = b""
        self._left = 0  # pieces of the answer that is being sent
        self._waits: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._pod.admit(self)

    def connection_lost(self, exc: Exception | None) -> None:
        self._pod.connections.discard(self)
        if self._waits:
            self._waits.cancel()

    def data_received(self, data: bytes) -> None:
        self._read += data
        while not self._left and (place := self._read.find(b"\r\n\r\n")) >= 0:
            head, body = self._read[:place].lower(), self._read[place + 4 :]
            length = int(head.partition(b"content-length:")[2].partition(b"\r\n")[0] or 0)
            if len(body) < length:
                return
            self._read = body[length:]
            self._pod.note()
            self._answer(head.partition(b"\r\n")[0])

    def close_if_idle(self) -> None:
        """Close the connection unless it owes an answer."""
        if not self._left and not self._read:
            self._transport.close()

    def abort(self) -> None:
        """Drop the connection with what it owes."""
        self._transport.abort()

    def _answer(self, line: bytes) -> None:
        seconds = float(line.partition(b"?seconds=")[2].partition(b" ")[0] or 0)
        if seconds:
            self._transport.write(self._pod.head + b"X-Accel-Buffering: no\r\nTransfer-Encoding: chunked\r\n\r\n")
            self._left = _PIECES
            self._send_piece(seconds / _PIECES)
        else:
            self._transport.write(self._pod.head + b"Content-Length: 3\r\n\r\nok\n")
            self._close_if_ending()

    def _send_piece(self, pause: float) -> None:
        self._left -= 1
        self._transport.write(_CHUNK if self._left else b"0\r\n\r\n")
        if self._left:
            self._waits = asyncio.get_running_loop().call_later(pause, self._send_piece, pause)
        else:
            self._close_if_ending()

    def _close_if_ending(self) -> None:
        if self._pod.ending:
            self._transport.close()
