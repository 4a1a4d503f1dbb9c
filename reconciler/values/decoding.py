"""Decoding, and what is wrong with text that cannot be decoded: in our own words, for a library's words change."""

import base64
import json
import re
from collections import Counter
from collections.abc import Mapping
from typing import Any

import msgspec

_TYPES = {
    "object": "an object", "array": "an array", "str": "a string", "int": "an integer", "float": "a number",
    "bool": "a boolean", "null": "null", "datetime": "a time",
}  # fmt: skip
_LINE_BREAKS = {ord("\n"): None, ord("\r"): None}
_PLACE = re.compile(r" - at `\$\.?([^`]*)`\Z")
_WRONG_TYPE = re.compile(r"Expected `([^`]+)`, got `([^`]+)`")
_MISSING = re.compile(r"Object missing required field `([^`]+)`")
_NO_TIME = re.compile(r"Invalid RFC3339|Expected `datetime`")
_NOTHING_KNOWN: Mapping[str, str] = {}


def describe_fault(error: msgspec.DecodeError, allowed: Mapping[str, str] = _NOTHING_KNOWN) -> str:
    """Say which field of a decoded text is wrong and what is expected there; values are never shown.

    `allowed` says, by the path of a field such as `metadata.name`, which texts are legal in it.
    """
    if not isinstance(error, msgspec.ValidationError):
        return "is not JSON"
    text = str(error)
    place = _PLACE.search(text)
    field = place[1] if place else ""
    text = text[: place.start()] if place else text
    if missing := _MISSING.fullmatch(text):
        return f"{field}.{missing[1]} is missing".removeprefix(".")
    return f"{field} {_describe_value(text, allowed.get(field, ''))}".lstrip()


def _describe_value(text: str, allowed: str) -> str:
    if wrong := _WRONG_TYPE.fullmatch(text):
        expected, found = (" or ".join(_TYPES.get(one, one) for one in group.split(" | ")) for group in wrong.groups())
        return f"is {found}; expected: {expected}"
    if _NO_TIME.match(text):
        return "is not a time; expected: RFC 3339 with a time zone"
    return f"is not allowed; expected: {allowed}" if allowed else "has a value that is not allowed"


def find_repeated(pairs: list[tuple[str, Any]]) -> tuple[str, ...]:
    """Find the keys that appear more than once in the pairs of a JSON object."""
    if len(dict(pairs)) == len(pairs):
        return ()
    return tuple(key for key, times in Counter(key for key, _ in pairs).items() if times > 1)


def decode_base64(text: str) -> bytes | None:
    """Decode base64 as Kubernetes does: a manifest may have it wrapped over several lines. None for other text."""
    try:
        return base64.b64decode(text.translate(_LINE_BREAKS), validate=True)
    except ValueError:
        return None


def locate_json_fault(text: str) -> str:
    """Say at which line and column a text stops being JSON; both begin at 1. Empty if Python accepts it."""
    try:
        json.loads(text)
    except json.JSONDecodeError as error:
        return f"line {error.lineno}, column {error.colno}"
    except (ValueError, RecursionError):
        pass
    return ""
