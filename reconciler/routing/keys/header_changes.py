"""Header changes: the shape in which a path says what nginx does with headers."""

from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

from reconciler.routing.annotations import Ambiguous, Refused, name_type
from reconciler.routing.keys.shapes import parse_header_name, parse_header_value, parse_list, parse_object
from reconciler.values.header_names import simplify
from reconciler.values.messages import excerpt
from reconciler.values.value import Value

MOST = 16
# Each location holds a copy of its headers.
_MOST_TEXT = 4096
# nginx takes a parameter of 4,000 bytes, and needs one more for each quotation mark and backslash.
_MOST_WRITTEN = 3900


class Header(Value, frozen=True):
    """A header, which may have variables of nginx nowhere."""

    name: str
    value: str

    def __str__(self) -> str:
        return f"{self.name}: {self.value if len(self.value) <= 60 else self.value[:57] + '...'}"


def parse_changes(value: Any, what: str, members: tuple[str, ...], is_ours: Callable[[str], bool]) -> dict[str, Any]:
    """Parse an object whose member `remove` has names of headers, and whose other ones have headers.

    A header that `is_ours` is refused, and so is one that is named twice.
    """
    shapes = {name: _parse_names if name == "remove" else _parse_headers for name in members}
    given = parse_object(value, what, shapes)
    names = list(_list_names(given))
    if ours := next((name for name in names if is_ours(name)), None):
        raise Refused(what, f"names {excerpt(ours)}, which the router alone decides about", "other headers")
    ((name, count),) = Counter(map(simplify, names)).most_common(1)
    if count > 1:
        raise Refused(what, f"names {excerpt(name)} twice", "each header once")
    if len(names) > MOST:
        raise Refused(what, f"has {len(names)} headers", f"at most {MOST}")
    size = sum(len(one.name) + len(one.value) for name in given if name != "remove" for one in given[name])
    if size > _MOST_TEXT:
        raise Refused(what, f"has {size} characters", f"at most {_MOST_TEXT} in all names and values")
    return given


def _list_names(given: dict[str, Any]) -> Iterator[str]:
    for name, some in given.items():
        yield from some if name == "remove" else (header.name for header in some)


def _parse_names(value: object, what: str) -> tuple[str, ...]:
    return tuple(sorted(parse_list(value, what, parse_header_name, MOST)))


def _parse_headers(value: object, what: str) -> tuple[Header, ...]:
    expected = f"an object of 1 to {MOST} names and values"
    if not isinstance(value, dict):
        raise Refused(what, f"is {name_type(value)}", expected)
    if isinstance(value, Ambiguous):
        raise Refused(f"{what}.{excerpt(value.repeated[0])}", "appears twice", "each header once")
    if not 1 <= len(value) <= MOST:
        raise Refused(what, f"has {len(value)} members", expected)
    return tuple(_parse_header(name, text, what) for name, text in sorted(value.items()))


def _parse_header(name: str, text: object, what: str) -> Header:
    header = Header(parse_header_name(name, what), parse_header_value(text, f"{what}.{name}"))
    written = len(header.value) + header.value.count('"') + header.value.count("\\")
    if written > _MOST_WRITTEN:
        raise Refused(f"{what}.{name}", "has too many quotation marks and backslashes", f"{_MOST_WRITTEN} bytes in all")
    return header
