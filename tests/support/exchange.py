"""How a test API server sends an answer: the headers as Go's server sends them, then the body in pieces."""

import asyncio
import gzip
from collections.abc import Callable
from dataclasses import dataclass, field

from aiohttp import web
from support.answers import Answer

_PIECE = 1 << 18  # small enough to let other requests have their turn
_SMALL = 2048  # Go's server buffers this much; a longer body is sent before its length is known
_LARGE = 128 * 1024  # Kubernetes compresses larger bodies, for clients that can read them
_REASONS = {413: "Request Entity Too Large", 422: "Unprocessable Entity"}  # other Pythons know other words
_ORDER = (
    "Cache-Control", "Content-Encoding", "Content-Type", "Retry-After", "Vary", "X-Content-Type-Options",
    "Date", "Content-Length", "Connection", "Transfer-Encoding",
)  # fmt: skip


@dataclass(frozen=True)
class Exchange:
    """An answer under way. `tell` is called before it begins; `mended` is set when an answer that hangs must go on."""

    request: web.Request
    response: web.StreamResponse
    body: bytes = field(repr=False)
    tell: Callable[[], None]
    mended: asyncio.Event

    async def start(self) -> None:
        """Send the headers."""
        self.tell()
        await self.response.prepare(self.request)

    async def send(self, start: int = 0, end: int | None = None) -> None:
        """Send a part of the body."""
        rest = memoryview(self.body)[start:end]
        for place in range(0, len(rest), _PIECE):
            await self.response.write(rest[place : place + _PIECE])

    async def send_half(self) -> int:
        """Send the headers and half of the body; give the size of that half."""
        await self.start()
        await self.send(0, len(self.body) // 2)
        return len(self.body) // 2

    def close(self) -> None:
        """Close the connection; what was written is sent first."""
        if self.request.transport:
            self.request.transport.close()


async def send_whole(exchange: Exchange) -> None:
    """Send a whole answer, without a fault."""
    await exchange.start()
    await exchange.send()
    await exchange.response.write_eof()


def write_response(answer: Answer, packed: bool) -> tuple[web.StreamResponse, bytes]:
    """Make the response to an answer, and its body; a large body is compressed if `packed` is true."""
    body, headers = b"".join(answer.body), dict(answer.headers)
    if packed and len(body) > _LARGE:
        body = gzip.compress(body, 1)
        headers |= {"Content-Encoding": "gzip", "Vary": "Accept-Encoding"}
    response = web.StreamResponse(status=answer.status, reason=_REASONS.get(answer.status), headers=headers)
    if headers.get("Connection") == "close":
        response.force_close()
    if len(body) <= _SMALL:
        response.content_length = len(body)
    else:
        response.enable_chunked_encoding()
    return response, body


async def order_headers(request: web.Request, response: web.StreamResponse) -> None:
    """Put headers into the order of Go's server, and drop those that it would not send."""
    ordered = [(name, response.headers[name]) for name in _ORDER if name in response.headers]
    response.headers.clear()
    response.headers.extend(ordered)
