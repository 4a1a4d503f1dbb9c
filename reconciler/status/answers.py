"""Answers over HTTP: a read-only WSGI application that a function fills, and the headers that every answer has."""

from collections.abc import Callable, Iterable
from http import HTTPStatus
from io import BytesIO
from typing import TYPE_CHECKING, Any

from reconciler.values.value import Value

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIEnvironment

TEXT = "text/plain; charset=utf-8"
NO_CONTENT = "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
# A browser neither stores an answer, nor shows it in a frame, nor guesses its type, nor lets other origins read it.
_HEADERS = (
    ("Cache-Control", "no-store"),
    ("X-Content-Type-Options", "nosniff"),
    ("X-Frame-Options", "DENY"),
    ("Referrer-Policy", "no-referrer"),
    ("Cross-Origin-Resource-Policy", "same-origin"),
)
_METHODS = ("GET", "HEAD")


class Request(Value, frozen=True):
    """What an answer may depend on: the path, Host, and whether gzip is accepted; `known` is the text of If-None-Match.

    `accept` is the text of Accept.
    """

    path: str
    host: str
    packs: bool = False
    known: str = ""
    accept: str = ""


class HttpAnswer(Value, frozen=True):
    """An answer; `policy` is its Content-Security-Policy."""

    status: HTTPStatus
    body: bytes
    kind: str = TEXT
    policy: str = NO_CONTENT
    headers: tuple[tuple[str, str], ...] = ()


def say(status: HTTPStatus, text: str, *headers: tuple[str, str]) -> HttpAnswer:
    """Make an answer of one line."""
    return HttpAnswer(status, f"{text}\n".encode("utf-8", "backslashreplace"), headers=headers)


class Application:
    """A WSGI application that takes GET and HEAD, and lets `answer` make the answer."""

    def __init__(self, answer: Callable[[Request], HttpAnswer]) -> None:
        self._answer = answer

    def __call__(self, environ: "WSGIEnvironment", start: "StartResponse") -> Iterable[bytes]:
        """Answer a request."""
        method = environ["REQUEST_METHOD"]
        if method in _METHODS:
            answer = self._answer(_read_request(environ))
        else:
            answer = say(HTTPStatus.METHOD_NOT_ALLOWED, "methods: GET and HEAD", ("Allow", ", ".join(_METHODS)))
        headers = [("Content-Security-Policy", answer.policy), *_HEADERS, *answer.headers]
        if answer.status is not HTTPStatus.NOT_MODIFIED:
            headers += [("Content-Type", answer.kind), ("Content-Length", str(len(answer.body)))]
        start(f"{answer.status.value} {answer.status.phrase}", headers)
        # As a file the body is sent as it is: slow readers share it, and need no copy of it each.
        wrap = environ["wsgi.file_wrapper"]
        return wrap(BytesIO(answer.body)) if answer.body and method != "HEAD" else ()


def _read_request(environ: "WSGIEnvironment") -> Request:
    def read(name: str) -> str:
        return str(environ.get(name, ""))

    return Request(
        path=read("PATH_INFO"),
        host=read("HTTP_HOST"),
        packs=_accepts_gzip(read("HTTP_ACCEPT_ENCODING")),
        known=read("HTTP_IF_NONE_MATCH"),
        accept=read("HTTP_ACCEPT"),
    )


def _accepts_gzip(text: str) -> bool:
    """Tell whether gzip stands among the encodings that are accepted, and not with the weight 0."""
    codings: dict[str, Any] = {}
    for part in text.lower().split(","):
        name, _, weight = part.partition(";")
        codings[name.strip()] = weight.replace(" ", "")
    return "gzip" in codings and codings["gzip"] not in ("q=0", "q=0.0", "q=0.00", "q=0.000")
