"""maintenance: a host answers 503 for a time."""

from collections.abc import Iterator
from hashlib import blake2b
from typing import Any

from reconciler.routing.keys.address_ranges import COST_OF_A_LIST
from reconciler.routing.keys.key import Key, Kind
from reconciler.routing.keys.shapes import duration, parse_list, parse_object, parse_range, show_duration
from reconciler.settings import Settings
from reconciler.values.value import Value

_SECOND = 1000
_DAY = 86_400_000
_RETRY_AFTER = 300
_MOST = 200


class Maintenance(Value, frozen=True):
    """Seconds after which clients may ask again, and the ranges of addresses that are served on, sorted."""

    retry_after: int = _RETRY_AFTER
    allow: tuple[str, ...] = ()

    def __str__(self) -> str:
        ranges = f" except for {' '.join(self.allow)}" if self.allow else ""
        return f"on{ranges}, retry after {show_duration(self.retry_after * _SECOND)}"

    @property
    def for_everyone(self) -> tuple[int, ...]:
        """The status, if everybody gets it."""
        return () if self.allow else (503,)

    @property
    def for_others(self) -> tuple[int, ...]:
        """The status, if only some get it."""
        return (503,) if self.allow else ()

    @property
    def digest(self) -> str:
        """A name that only equal ranges have, for a variable of nginx."""
        return blake2b(" ".join(self.allow).encode(), digest_size=8).hexdigest()


def _parse_ranges(value: Any, what: str) -> tuple[str, ...]:
    return tuple(sorted(set(parse_list(value, what, parse_range, _MOST))))


def _parse(value: Any, what: str, _: Settings) -> Maintenance | None:
    if isinstance(value, bool):
        return Maintenance() if value else None
    given = parse_object(value, what, {"retryAfter": duration(_SECOND, _DAY), "allow": _parse_ranges})
    retry_after = -(-given["retryAfter"] // _SECOND) if "retryAfter" in given else _RETRY_AFTER
    return Maintenance(retry_after, given.get("allow", ()))


def _list_variables(value: Maintenance) -> Iterator[str]:
    yield from (f"resting {value.digest}" for _ in value.for_others)


def _list_ranges(value: Maintenance) -> Iterator[str]:
    """Name the ranges of a list, and what the list itself costs."""
    ranges = len(value.allow) + COST_OF_A_LIST if value.allow else 0
    yield from (f"resting {value.digest} {number}" for number in range(ranges))


KEY = Key(
    name="maintenance",
    kind=Kind.FUNCTION,
    parse=_parse,
    shape=f'true, or {{"retryAfter": duration, "allow": array of 1 to {_MOST} ranges}}; retryAfter 1s-24h',
    default="off; retryAfter 5m",
    instead=Maintenance(),
    list_ranges=_list_ranges,
    list_variables=_list_variables,
    does="All requests get 503 with Retry-After, except those of clients with the addresses in allow.",
)
