"""access.allow and access.deny: which clients may use a path, by their addresses."""

from hashlib import blake2b
from typing import Any

from reconciler.routing.keys.key import Key, Kind
from reconciler.routing.keys.shapes import parse_list, parse_range
from reconciler.settings import Settings
from reconciler.values.value import Value

_MOST = 200
# Each different list is a variable of nginx, which compares all variables with each other when it loads.
_OF_A_LIST = 9


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


def _count(value: AddressRanges) -> int:
    return len(value.ranges) + _OF_A_LIST


_SHAPE = f'array of 1 to {_MOST} ranges such as "10.0.0.0/8" or addresses'
DENY = Key(
    name="access.deny",
    kind=Kind.PROTECTION,
    parse=_parse,
    shape=_SHAPE,
    default="nobody",
    count_ranges=_count,
    needs_pods=False,
    does="Clients with these addresses get 403, also those that access.allow names.",
)
ALLOW = Key(
    name="access.allow",
    kind=Kind.PROTECTION,
    parse=_parse,
    shape=_SHAPE,
    default="everyone",
    count_ranges=_count,
    needs_pods=False,
    does="All other clients get 403. Behind a load balancer TRUSTED_PROXIES must name it.",
)
