"""Stand-ins for Pods: real HTTP/1.1 and WebSocket servers on loopback addresses."""

import asyncio
import json
import socket
import threading
from collections.abc import Awaitable, Callable
from itertools import count
from pathlib import Path
from typing import Any, Self

import uvicorn

Receive = Callable[[], Awaitable[dict[str, Any]]]
Send = Callable[[dict[str, Any]], Awaitable[None]]


_QUIET: dict[str, Any] = {"log_level": "error", "ws": "websockets-sansio", "timeout_graceful_shutdown": 1}


class Backends:
    """Answers each request with what arrived: a JSON object with the server's address, method, URI and headers.

    A request's X-Answer-Accel comes back as X-Accel-Redirect. If the path ends with `/stream`, the answer has two
    pieces, and the second one is sent after `let_go`. If the path ends with `/drip`, the answer is numbered lines, sent
    until `let_go`. A WebSocket gets back what it sends, with the server's address in front.
    """

    def __init__(self) -> None:
        self._loop: asyncio.AbstractEventLoop | None = None
        self._servers: dict[tuple[str, int], uvicorn.Server] = {}
        self._threads: list[threading.Thread] = []
        self._gate = threading.Event()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for server in self._servers.values():
            server.should_exit = True
        for thread in self._threads:
            thread.join()

    def listen(self, ip: str, port: int, pair: tuple[Path, Path] | None = None) -> None:
        """Answer on this address from now on, over TLS if `pair` has the files of a certificate and its key."""
        if (ip, port) in self._servers:
            return
        # asyncio sends at once only if the socket names its protocol; else a body waits 40 ms for an ACK of its head.
        family = socket.AF_INET6 if ":" in ip else socket.AF_INET
        listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((ip, port))
        listener.listen(128)
        how = _QUIET | ({"ssl_certfile": pair[0], "ssl_keyfile": pair[1]} if pair else {})
        config = uvicorn.Config(self._answer, interface="asgi3", lifespan="off", proxy_headers=False, **how)
        server = self._servers[ip, port] = uvicorn.Server(config)
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
        thread.start()
        self._threads.append(thread)

    def let_go(self) -> None:
        """Send the second piece of every stream that waits for it."""
        self._gate.set()

    async def _answer(self, scope: dict[str, Any], receive: Receive, send: Send) -> None:
        pod = "{}:{}".format(*scope["server"])
        if scope["type"] == "websocket":
            await self._echo(pod, receive, send)
        elif scope["path"].endswith("/stream"):
            await self._stream(send)
        elif scope["path"].endswith("/drip"):
            await self._drip(send)
        else:
            await self._tell(pod, scope, receive, send)

    async def _tell(self, pod: str, scope: dict[str, Any], receive: Receive, send: Send) -> None:
        size = 0
        more = True
        while more:
            message = await receive()
            size += len(message.get("body", b""))
            more = message.get("more_body", False)
        query = f"?{scope['query_string'].decode()}" if scope["query_string"] else ""
        told = {
            "pod": pod,
            "method": scope["method"],
            "uri": scope["raw_path"].decode("latin-1") + query,
            "headers": {name.decode(): value.decode("latin-1") for name, value in scope["headers"]},
            "client": scope["client"][1],
            "size": size,
        }
        body = json.dumps(told).encode()
        headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
        if accel := told["headers"].get("x-answer-accel"):
            headers.append((b"x-accel-redirect", accel.encode()))
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": body})

    async def _stream(self, send: Send) -> None:
        self._gate.clear()
        headers = [(b"x-accel-buffering", b"no"), (b"content-type", b"text/plain")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": b"first,", "more_body": True})
        await asyncio.to_thread(self._gate.wait, 30)
        await send({"type": "http.response.body", "body": b"second"})

    async def _drip(self, send: Send) -> None:
        self._gate.clear()
        await send({"type": "http.response.start", "status": 200, "headers": [(b"x-accel-buffering", b"no")]})
        for number in count():
            await send({"type": "http.response.body", "body": b"%d\n" % number, "more_body": True})
            if await asyncio.to_thread(self._gate.wait, 0.01):
                break
        await send({"type": "http.response.body", "body": b"end\n"})

    async def _echo(self, pod: str, receive: Receive, send: Send) -> None:
        await send({"type": "websocket.accept"})
        while (message := await receive())["type"] != "websocket.disconnect":
            if message["type"] == "websocket.receive":
                await send({"type": "websocket.send", "text": f"{pod} {message['text']}"})
