"""Shapes: the parsers that the keys of options share. Each takes a JSON value and its place, and raises Refused."""

import ipaddress
import re
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from reconciler.routing.annotations import Ambiguous, Refused, name_type, parse_text, show_value
from reconciler.values.addresses import parse_cidrs
from reconciler.values.messages import excerpt
from reconciler.values.patterns import DURATION, HEADER_NAME, HEADER_VALUE, SIZE

Parsed = TypeVar("Parsed")
Parse = Callable[[Any, str], Parsed]

# nginx compares clients of these with IPv4 ranges alone. https://nginx.org/en/docs/http/ngx_http_geo_module.html
_MAPPED = ipaddress.IPv6Network("::ffff:0:0/96")
# nginx takes it for an error of its own parser, and does not start.
_BROADCAST = "255.255.255.255/32"
_UNITS = {"ms": 1, "s": 1000, "m": 60_000, "h": 3_600_000}
_MULTIPLES = {"": 1, "k": 10**3, "M": 10**6, "G": 10**9, "Ki": 2**10, "Mi": 2**20, "Gi": 2**30}


def parse_object(value: object, what: str, readers: Mapping[str, Parse[Any]]) -> dict[str, Any]:
    """Parse the members of an object, at least one of those that have readers and no other."""
    expected = f"an object with {', '.join(readers)}"
    if not isinstance(value, dict):
        raise Refused(what, f"is {name_type(value)}", expected)
    if isinstance(value, Ambiguous):
        raise Refused(f"{what}.{excerpt(value.repeated[0])}", "appears twice", "each key once")
    if not value:
        raise Refused(what, "is empty", expected)
    for key in value:
        if key not in readers:
            raise Refused(f"{what}.{excerpt(key)}", "is an unknown key", f"one of {', '.join(readers)}")
    return {key: readers[key](one, f"{what}.{key}") for key, one in value.items()}


def parse_list(value: object, what: str, parse: Parse[Parsed], most: int) -> tuple[Parsed, ...]:
    """Parse an array of one to `most` values."""
    if not isinstance(value, list):
        raise Refused(what, f"is {name_type(value)}", f"an array of 1 to {most}")
    if not 1 <= len(value) <= most:
        raise Refused(what, f"has {len(value)} members", f"1 to {most}")
    return tuple(parse(one, f"{what}[{number}]") for number, one in enumerate(value))


def integer(smallest: int, largest: int) -> Parse[int]:
    """Make the parser of a whole number within bounds."""

    def parse(value: object, what: str) -> int:
        if type(value) is not int or not smallest <= value <= largest:
            raise Refused(what, f"is {show_value(value)}", f"an integer from {smallest} to {largest}")
        return value

    return parse


def choice(*choices: str) -> Parse[str]:
    """Make the parser of one of several words."""

    def parse(value: object, what: str) -> str:
        if not isinstance(value, str) or value not in choices:
            raise Refused(what, f"is {show_value(value)}", f"one of {', '.join(choices)}")
        return value

    return parse


def duration(smallest: int, largest: int) -> Parse[int]:
    """Make the parser of a duration within bounds, which gives milliseconds."""

    def parse(value: object, what: str) -> int:
        text = parse_text(value, what, DURATION)
        parts = re.findall(r"([0-9]+)(ms|s|m|h)", text)
        milliseconds = sum(int(number) * _UNITS[unit] for number, unit in parts)
        if not smallest <= milliseconds <= largest:
            raise Refused(what, f"is {excerpt(text)}", f"{show_duration(smallest)} to {show_duration(largest)}")
        return milliseconds

    return parse


def show_duration(milliseconds: int) -> str:
    """Write a duration with the largest unit that leaves a whole number."""
    unit = next(unit for unit in ("h", "m", "s", "ms") if milliseconds % _UNITS[unit] == 0)
    return f"{milliseconds // _UNITS[unit]}{unit}" if milliseconds else "0s"


def size(smallest: int, largest: int) -> Parse[int]:
    """Make the parser of a size within bounds, which gives bytes."""

    def parse(value: object, what: str) -> int:
        text = parse_text(value, what, SIZE)
        number, multiple = re.fullmatch(r"([0-9]+)([A-Za-z]*)", text).groups()  # type: ignore[union-attr]
        bytes_ = int(number) * _MULTIPLES[multiple]
        if not smallest <= bytes_ <= largest:
            raise Refused(what, f"is {excerpt(text)}", f"{show_size(smallest)} to {show_size(largest)}")
        return bytes_

    return parse


def show_size(bytes_: int) -> str:
    """Write a size with the largest binary multiple that leaves a whole number."""
    unit = next(unit for unit in ("Gi", "Mi", "Ki", "") if bytes_ % _MULTIPLES[unit] == 0)
    return f"{bytes_ // _MULTIPLES[unit]}{unit}"


def parse_range(value: object, what: str) -> str:
    """Parse one range of IP addresses, or one address."""
    expected = "a range of IP addresses such as 10.0.0.0/8, or an address"
    if not isinstance(value, str):
        raise Refused(what, f"is {name_type(value)}", expected)
    try:
        (found,) = parse_cidrs(value)
    except ValueError as error:
        why = str(error) if str(error).startswith("has ") else "is not one range of addresses"
        raise Refused(what, f"{excerpt(value)} {why}", expected) from None
    if found.text == _BROADCAST:
        raise Refused(what, "is the address of all, which no client has", expected)
    network = ipaddress.ip_network(found.text)
    if isinstance(network, ipaddress.IPv6Network) and network.subnet_of(_MAPPED):
        raise Refused(what, f"{excerpt(value)} is IPv4 written as IPv6", "the range as IPv4")
    return found.text


def parse_header_name(value: object, what: str) -> str:
    """Parse the name of a header."""
    return parse_text(value, what, HEADER_NAME)


def parse_header_value(value: object, what: str) -> str:
    """Parse the value of a header: no variable, no control character, no blank at an end."""
    return parse_text(value, what, HEADER_VALUE)
