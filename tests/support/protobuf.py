"""How a test API server writes protobuf, by hand and with its own table of numbers, so that it repeats no mistake."""

import base64
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from datetime import datetime
from functools import lru_cache
from typing import Any

from support.answers import JSON, Answer
from support.objects import FIXTURES

CONTENT_TYPE = "application/vnd.kubernetes.protobuf"
HEADERS = {"Cache-Control": "no-cache, private", "Content-Type": CONTENT_TYPE}
# For each message the number of each field, and for a message in a field its name.
NUMBERS: Mapping[str, Mapping[str, list[Any]]] = json.loads((FIXTURES / "protobuf.json").read_text())

_ACTIONS = ("httpGet", "tcpSocket", "exec", "grpc")


def write_varint(number: int) -> bytes:
    number &= 2**64 - 1
    written = bytearray()
    while number > 127:
        written.append(number & 127 | 128)
        number >>= 7
    return bytes([*written, number])


def write_field(number: int, value: bytes | int) -> bytes:
    if isinstance(value, int):
        return write_varint(number << 3) + write_varint(value)
    return write_varint(number << 3 | 2) + write_varint(len(value)) + value


def write_message(name: str, value: Mapping[str, Any]) -> bytes:
    """Write an object of the API. What the table does not name becomes one unknown field of about the same length."""
    if name == "Probe":  # JSON has no object around the action
        value = {field: each for field, each in value.items() if field not in _ACTIONS} | {
            "handler": {field: value[field] for field in _ACTIONS if field in value}
        }
    known = {field: each for field, each in value.items() if field in NUMBERS[name] and each is not None}
    rest = {field: each for field, each in value.items() if field not in NUMBERS[name]}
    written = [b"".join(_write_values(NUMBERS[name][field], each)) for field, each in known.items()]
    return b"".join([*written, write_field(1000, json.dumps(rest).encode()) if rest else b""])


def _write_values(how: list[Any], value: Any) -> Iterator[bytes]:
    number, kind, *_ = how
    if kind == "map" or kind == "map of bytes":
        for key, each in value.items():
            content = base64.b64decode(each or "") if kind == "map of bytes" else (each or "").encode()
            yield write_field(number, write_field(1, key.encode()) + write_field(2, content))
    elif kind == "time":
        yield write_field(number, write_field(1, int(datetime.fromisoformat(value).timestamp())))
    elif kind == "int or string":
        inner = write_field(1, 0) + write_field(2, value) if isinstance(value, int) else write_text(value)
        yield write_field(number, inner)
    elif isinstance(value, list):
        for each in value:
            yield write_field(number, write_message(kind, each))
    elif isinstance(value, dict):
        yield write_field(number, write_message(kind, value))
    else:
        yield write_field(number, value.encode() if isinstance(value, str) else int(value))


def write_text(value: str) -> bytes:
    return write_field(1, 1) + write_field(3, value.encode())


@lru_cache(maxsize=65536)
def write_item(kind: str, item: bytes) -> bytes:
    """Write one item of a List, from its JSON."""
    return write_field(2, write_message(kind, json.loads(item)))


def write_envelope(kind: str, content: bytes) -> bytes:
    return b"k8s\0" + write_head(kind, len(content)) + content + write_tail()


def write_head(kind: str, length: int) -> bytes:
    """Write what stands before an object: its kind, and how many bytes it has."""
    named = write_field(1, b"v1") + write_field(2, kind.encode())
    return write_field(1, named) + write_varint(2 << 3 | 2) + write_varint(length)


def write_tail() -> bytes:
    return write_field(3, b"") + write_field(4, b"")


def write_list(kind: str, metadata: Mapping[str, Any], items: Iterable[bytes]) -> tuple[bytes, bytes, bytes]:
    """Write a List in three pieces; the second one holds the items."""
    told = write_field(1, write_message("ListMeta", metadata))
    content = b"".join(write_item(kind, item) for item in items)
    return b"k8s\0" + write_head(f"{kind}List", len(told) + len(content)) + told, content, write_tail()


def write_status(status: Mapping[str, Any]) -> bytes:
    """Write the Status of a failure."""
    return write_envelope("Status", write_message("Status", status))


def translate(answer: Answer) -> Answer:
    """Write the Status of a failure in protobuf; give any other answer as it is."""
    if answer.status < 400 or answer.headers.get("Content-Type") != JSON["Content-Type"]:
        return answer
    try:
        body = write_status(json.loads(b"".join(answer.body)))
    except (ValueError, AttributeError):
        return answer
    return replace(answer, body=(body,), headers=dict(answer.headers) | HEADERS)
