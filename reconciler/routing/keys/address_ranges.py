"""access.allow and access.deny: which clients may use a path, by their addresses."""

from collections.abc import Iterator
from hashlib import blake2b
from typing import Any

from reconciler.routing.keys.key import Key, Kind
from reconciler.routing.keys.shapes import parse_list, parse_range
from reconciler.settings import Settings
from reconciler.values.value import Value

_MOST = 200
# What a list costs besides its ranges, in ranges.
COST_OF_A_LIST = 9


class AddressRanges(Value, frozen=True):
    """Ranges of IP addresses, sorted, each once."""

    ranges: tuple[str, ...]

    def __str__(self) -> str:
        return " ".join(self.ranges)

    @property
    def digest(self) -> str:
        """A name that only equal ranges have, for a variable of nginx."""
        return blake2b(" ".join(self.ranges).encode(), digest_size=8).hexdigest()


def _parse(value: Any, what: str, _: Settings) -> AddressRanges:
    return AddressRanges(tuple(sorted(set(parse_list(value, what, parse_range, _MOST)))))


def _list_ranges(value: AddressRanges) -> Iterator[str]:
    """Name the ranges of a list, and what the list itself costs."""
    yield from (f"{value.digest} {number}" for number in range(len(value.ranges) + COST_OF_A_LIST))


def _list_variables(value: AddressRanges) -> Iterator[str]:
    yield value.digest


_SHAPE = f'array of 1 to {_MOST} ranges such as "10.0.0.0/8" or addresses'
DENY = Key(
    name="access.deny",
    kind=Kind.PROTECTION,
    parse=_parse,
    shape=_SHAPE,
    default="nobody",
    list_ranges=_list_ranges,
    list_variables=_list_variables,
    needs_pods=False,
    does="Clients with these addresses get 403, also those that access.allow names.",
)
ALLOW = Key(
    name="access.allow",
    kind=Kind.PROTECTION,
    parse=_parse,
    shape=_SHAPE,
    default="everyone",
    list_ranges=_list_ranges,
    list_variables=_list_variables,
    needs_pods=False,
    does="All other clients get 403. Behind a load balancer TRUSTED_PROXIES must name it.",
)
