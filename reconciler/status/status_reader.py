"""Reads /status.json of a running router's admin port."""

from collections.abc import Iterator
from contextlib import closing
from datetime import datetime
from typing import Annotated, Any
from urllib.parse import urlsplit

import msgspec
import requests
from msgspec import Meta, Struct

from reconciler import __version__
from reconciler.values.messages import find_reason

_PATH = "/status.json"
_VERSION = 1
_PATIENCE = 20.0  # seconds
_LARGEST = 1 << 28  # bytes
_Time = Annotated[datetime, Meta(tz=True)]


class RouterError(Exception):
    """A router's status cannot be read. The message is one line."""


class _Version(Struct):
    version: int


class StatusPod(Struct):
    """A Pod behind a path."""

    name: str
    address: str
    weight: int


class StatusPath(Struct):
    """A path of a host, as a tenant writes it."""

    path: str
    namespace: str
    access: str
    answer: str
    target: str | None = None
    upstream: str = ""
    options: dict[str, str] = {}
    reload: str = ""


class StatusTls(Struct):
    """What a host's TLS is."""

    not_after: _Time
    client: bool


class StatusHost(Struct):
    """A host and its paths."""

    host: str
    namespace: str
    paths: list[StatusPath]
    tls: StatusTls | None = None
    plain: str = ""
    open: bool = True
    options: dict[str, str] = {}


class StatusProblem(Struct):
    """A problem that stands."""

    kind: str
    namespace: str
    name: str
    what: str
    why: str
    expected: str
    reason: str


class StatusHeld(Struct):
    """A Namespace at its last good state."""

    namespace: str
    why: str


class StatusServing(Struct):
    """What the router serves, in words."""

    state: str
    text: str


class StatusSetting(Struct):
    """A setting as it was written."""

    name: str
    value: str | None = None
    set: bool = False


class Status(Struct):
    """What is read of /status.json; docs/status.schema.json has all of it."""

    serving: StatusServing
    hosts: list[StatusHost]
    upstreams: dict[str, list[StatusPod]] = {}
    problems: list[StatusProblem] = []
    held: list[StatusHeld] = []
    settings: list[StatusSetting] = []


def parse_admin(text: str) -> str:
    """Parse the address of an admin port, such as http://127.0.0.1:8090. ValueError if it is none."""
    parts = urlsplit(text)
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.port == 0 or parts.query or parts.fragment:
        raise ValueError
    if parts.path not in ("", "/", _PATH) or "@" in parts.netloc:
        raise ValueError
    return f"{parts.scheme}://{parts.netloc}{_PATH}"


def fetch_status(url: str) -> Status:
    """Fetch the status from a URL that `parse_admin` gave. RouterError says why it cannot be read."""
    try:
        with closing(requests.Session()) as session:
            session.trust_env = False  # a proxy of the environment does not lead to a loopback address
            headers = {"User-Agent": f"dispatcher/{__version__}", "Accept": "application/json"}
            with session.get(url, headers=headers, timeout=_PATIENCE, stream=True, allow_redirects=False) as answer:
                if answer.status_code != requests.codes.ok:
                    raise RouterError(f"{url}: the answer is {answer.status_code}")
                body = b"".join(_limit(answer.iter_content(1 << 16), url))
    except requests.RequestException as error:
        raise RouterError(f"{url}: cannot be read: {find_reason(error)}") from None
    return _decode(body, url)


def _limit(pieces: Iterator[Any], url: str) -> Iterator[bytes]:
    size = 0
    for piece in pieces:
        size += len(piece)
        if size > _LARGEST:
            raise RouterError(f"{url}: the answer is longer than {_LARGEST} bytes")
        yield piece


def _decode(body: bytes, url: str) -> Status:
    try:
        version = msgspec.json.decode(body, type=_Version).version
        if version != _VERSION:
            raise RouterError(f"{url}: is a status of version {version}, and this program reads version {_VERSION}")
        return msgspec.json.decode(body, type=Status)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
        raise RouterError(f"{url}: the answer is not a router's {_PATH}") from None
