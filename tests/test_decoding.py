"""Messages about text that cannot be decoded, in words that do not depend on a library's version."""

from typing import Annotated

import msgspec
import pytest

from reconciler.objects.listing import ALLOWED, Pod
from reconciler.values.decoding import describe_fault, locate_json_fault


class Inner(msgspec.Struct):
    size: int
    when: Annotated[str, msgspec.Meta(pattern="^x")] = "x"


class Outer(msgspec.Struct):
    inner: list[Inner] | None = None
    labels: dict[str, str | None] | None = None
    ready: bool = False
    share: float = 0.0


def refuse(text: str, kind: type = Outer, **allowed: str) -> str:
    with pytest.raises(msgspec.DecodeError) as caught:
        msgspec.json.decode(text, type=kind)
    return describe_fault(caught.value, {name.replace("_", "."): words for name, words in allowed.items()})


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("7", "is an integer; expected: an object"),
        ("null", "is null; expected: an object"),
        ('{"inner": {}}', "inner is an object; expected: an array or null"),
        ('{"inner": [{"size": 1}, {}]}', "inner[1].size is missing"),
        ('{"inner": [{"size": "SECRET"}]}', "inner[0].size is a string; expected: an integer"),
        ('{"inner": [{"size": 1.5}]}', "inner[0].size is a number; expected: an integer"),
        ('{"labels": {"SECRET": true}}', "labels[...] is a boolean; expected: a string or null"),
        ('{"ready": "SECRET"}', "ready is a string; expected: a boolean"),
        ('{"share": [1]}', "share is an array; expected: a number"),
        ('{"inner": [{"size": 1, "when": "SECRET"}]}', "inner[0].when has a value that is not allowed"),
        ('{"inner": ', "is not JSON"),
        ('{"inner": "SECRET}', "is not JSON"),
    ],
)
def test_fault(text: str, told: str) -> None:
    """A message names the field, its type and what is expected, but neither a value nor a library's words."""
    assert refuse(text) == told


def test_missing_at_the_top() -> None:
    """A field that is missing at the top level has no path before its name."""
    assert refuse("{}", Inner) == "size is missing"


TIME = "metadata.creationTimestamp is not a time; expected: RFC 3339 with a time zone"
NAME = "metadata.name is not allowed; expected: lower-case letters, digits, '-' and '.', at most 253"
NAMESPACE = "metadata.namespace is not allowed; expected: lower-case letters, digits and '-', at most 63"


@pytest.mark.parametrize(
    ("metadata", "told"),
    [
        ('"name": "A_B"', NAME),
        ('"name": "a", "namespace": "a.b"', NAMESPACE),
        ('"name": "a", "creationTimestamp": "soon"', TIME),
        ('"name": "a", "creationTimestamp": "2026-01-02T03:04:05"', TIME),
    ],
)
def test_what_is_allowed_instead(metadata: str, told: str) -> None:
    """If a pattern refuses a text, the message describes what is allowed, without the regular expression."""
    with pytest.raises(msgspec.ValidationError) as caught:
        msgspec.json.decode(f'{{"metadata": {{{metadata}}}}}', type=Pod)
    assert describe_fault(caught.value, ALLOWED) == told


@pytest.mark.parametrize(
    ("text", "where"),
    [
        ("{'a': 1}", "line 1, column 2"),
        ('{"a": 1,\n "b" 2}', "line 2, column 6"),
        ("", "line 1, column 1"),
        ("[1", "line 1, column 3"),
        ("[NaN]", ""),
        ('{"a": 1}', ""),
    ],
)
def test_place(text: str, where: str) -> None:
    """The line and the column at which a text stops being JSON are given, if Python's parser knows them."""
    assert locate_json_fault(text) == where
