"""Faults between a client and a test API server: wrong answers, and answers that are sent badly."""

import asyncio
import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase

from aiohttp import web
from support.answers import JSON, NO_SNIFFING, UNAUTHORIZED, Answer, write_expired, write_forbidden, write_status
from support.exchange import Exchange, send_whole


@dataclass(frozen=True)
class Fault:
    """Changes the answer, or how it is sent, or both; with an answer in `instead`, the request has no effect."""

    change: Callable[[Answer], Answer] = lambda answer: answer
    send: Callable[[Exchange], Awaitable[None]] | None = None
    instead: Answer | None = None


@dataclass
class Applied:
    """A fault that is active for the next `left` requests whose path and method match."""

    fault: Fault
    path: str
    method: str
    left: float
    mended: asyncio.Event

    def takes(self, request: web.Request) -> bool:
        """Tell whether the fault applies to this request; if it does, reduce `left` by one."""
        fits = self.left > 0 and fnmatchcase(request.method, self.method)
        fits = fits and any(fnmatchcase(each, self.path) for each in (request.path, request.path_qs))
        self.left -= fits
        return fits


async def _hang(exchange: Exchange) -> None:
    await exchange.mended.wait()
    await send_whole(exchange)


async def _hang_inside(exchange: Exchange) -> None:
    sent = await exchange.send_half()
    await exchange.mended.wait()
    await exchange.send(sent)
    await exchange.response.write_eof()


async def _drip(exchange: Exchange) -> None:
    await exchange.start()
    sent = 0
    while sent < len(exchange.body) and not exchange.mended.is_set():
        await exchange.send(sent, sent + 1)
        sent += 1
        try:
            await asyncio.wait_for(exchange.mended.wait(), 1)
        except TimeoutError:
            continue
    await exchange.send(sent)
    await exchange.response.write_eof()


async def _cut(exchange: Exchange) -> None:
    await exchange.send_half()
    exchange.close()


async def _close(exchange: Exchange) -> None:
    exchange.close()


def answer_with(answer: Answer) -> Fault:
    """Make a fault that gives every request this answer and lets it do nothing."""
    return Fault(instead=answer)


def _say(*body: bytes, status: int = 200, **headers: str) -> Fault:
    return answer_with(Answer(status, body, JSON | {name.replace("_", "-"): value for name, value in headers.items()}))


def too_many_requests(after: int = 1) -> Fault:
    """Make a fault that answers 429 as plain text, with the seconds to wait."""
    headers = NO_SNIFFING | {"Content-Type": "text/plain; charset=utf-8", "Retry-After": str(after)}
    return answer_with(Answer(429, (b"Too many requests, please try again later.\n",), JSON | headers))


def unavailable(after: int | None = None) -> Fault:
    """Make a fault that answers 503, as a server that starts or stops does, with the seconds to wait if given."""
    headers = {} if after is None else {"Retry-After": str(after)}
    return answer_with(write_status(503, "ServiceUnavailable", "apiserver not ready", {}, headers))


def _empty(answer: Answer) -> Answer:
    return replace(answer, body=(answer.body[0], answer.body[-1]) if len(answer.body) == 3 else answer.body)


def _rename(answer: Answer) -> Answer:
    return replace(answer, body=(re.sub(rb'"kind":"\w+"', b'"kind":"EndpointsList"', answer.body[0]), *answer.body[1:]))


def _malform(answer: Answer) -> Answer:
    """Replace one text in the first item by a number: a Pod's address, else the name."""
    head, items, *tail = answer.body if len(answer.body) == 3 else (*answer.body, b"")
    name = b"podIP" if b'"podIP":"' in items else b"name"
    return replace(answer, body=(head, re.sub(rb'"%s":"[^"]*"' % name, b'"%s":17' % name, items, count=1), *tail))


HANG = Fault(send=_hang)
HANG_INSIDE = Fault(send=_hang_inside)
DRIP = Fault(send=_drip)
CUT = Fault(send=_cut)
CLOSE = Fault(send=_close)
STATUS = Fault(lambda _: replace(write_status(500, "InternalError", "an error on the server"), status=200))
HTML = _say(b"<html><body><h1>It works!</h1></body></html>\n", Content_Type="text/html")
EMPTY = Fault(_empty)
OTHER_KIND = Fault(_rename)
WRONG_JSON = Fault(lambda answer: replace(answer, body=(b"".join(answer.body)[:-3], b"\n")))
MALFORMED = Fault(_malform)
REFUSED_TOKEN = answer_with(UNAUTHORIZED)
FORBIDDEN = answer_with(write_forbidden("somebody", "list", "pods", "", ""))
GONE = answer_with(write_expired("abc"))
NOT_FOUND = answer_with(write_status(404, "NotFound", "not found"))
INTERNAL_ERROR = answer_with(write_status(500, "", "etcdserver: leader changed"))
