"""Question: what a person asks about, a host with or without a path, as the request that a client would send."""

import re

from reconciler.values.addresses import parse_address
from reconciler.values.messages import excerpt
from reconciler.values.patterns import HOST_NAME
from reconciler.values.value import Value

ALLOWED = "HOST, HOST/PATH or a URL such as https://shop.example.com/api"
_PARTS = re.compile(r"(?:([A-Za-z][A-Za-z0-9+.-]*)://)?([^/?#]*)(.*)", re.DOTALL)
_SCHEMES = {"http": False, "ws": False, "https": True, "wss": True}
_LONGEST = 8000  # nginx reads no longer request line


class QuestionError(ValueError):
    """A text that names no host. The message is one line."""


class Question(Value, frozen=True):
    """A request: its host in lower case without a port, and its URI as a client sends it: path and query, encoded.

    `tls` is None if the person did not name a scheme.
    """

    host: str
    uri: str
    tls: bool | None = None

    def __str__(self) -> str:
        scheme = {None: "", False: "http://", True: "https://"}[self.tls]
        return f"{scheme}{self.host}{self.uri}"


def parse_question(text: str) -> Question:
    """Parse HOST, HOST/PATH or a URL. QuestionError says what is wrong, in one line."""
    match = _PARTS.fullmatch(text.strip())
    scheme, authority, rest = match.groups("") if match else ("", "", "")
    if scheme and scheme.lower() not in _SCHEMES:
        raise QuestionError(f"{excerpt(scheme)} is not a scheme that is served; allowed: http, https, ws, wss")
    host = _parse_host(authority)
    if not host:
        raise QuestionError(f"{excerpt(authority or text)} is not a host; allowed: {ALLOWED}, with {HOST_NAME.allowed}")
    if len(rest) > _LONGEST:
        raise QuestionError(f"the path has more than {_LONGEST} characters")
    if scheme:
        rest = rest.partition("#")[0]  # clients keep a URL's fragment to themselves
    uri = rest if rest.startswith("/") else f"/{rest}"
    return Question(host, encode_unsendable(uri), _SCHEMES.get(scheme.lower()) if scheme else None)


def encode_unsendable(uri: str) -> str:
    """Percent-encode what no client sends as it is: blanks, control characters, and all that is not ASCII."""
    written = uri.encode("utf-8", "surrogateescape")
    return "".join(chr(byte) if 0x21 <= byte <= 0x7E else f"%{byte:02X}" for byte in written)


def _parse_host(authority: str) -> str | None:
    """Give the host of a URL's authority as nginx compares it; None if it is none."""
    bare = re.sub(r":[0-9]*\Z", "", authority) if authority.startswith("[") else authority
    if address := parse_address(bare.removeprefix("[").removesuffix("]")):
        return address
    name = re.sub(r":[0-9]*\Z", "", authority)
    name = name.removesuffix(".")  # nginx drops the dot too
    return parse_address(name) or (name.lower() if HOST_NAME.accepts(name) else None)
