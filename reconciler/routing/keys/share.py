"""share: which part of a path's requests the Pods of one revision get, however many they are."""

from typing import Any

from reconciler.routing.keys.key import Key, Kind
from reconciler.routing.keys.shapes import integer
from reconciler.settings import Settings
from reconciler.values.value import Value


class Share(Value, frozen=True):
    """What an entry asks for: a percentage."""

    percent: int

    def __str__(self) -> str:
        return f"{self.percent} %"


class Shares(Value, frozen=True):
    """What a path has: its revisions with their parts, as people read them.

    If `at_random`, nginx draws a Pod for each request: after each reload it would begin its round with the heaviest.
    """

    told: tuple[str, ...]
    at_random: bool

    def __str__(self) -> str:
        return ", ".join(self.told)

    @property
    def methods(self) -> tuple[str, ...]:
        """The method of nginx, if the path needs another one than without shares."""
        return ("random",) if self.at_random else ()


def _is_at_random(shares: Any) -> bool:
    return isinstance(shares, Shares) and shares.at_random


def _parse(value: Any, what: str, _: Settings) -> Share:
    return Share(integer(0, 100)(value, what))


KEY = Key(
    name="share",
    kind=Kind.ENTRY,
    needs_upstream=_is_at_random,
    parse=_parse,
    shape="integer from 0 to 100",
    default="what the others leave",
    does="The percentage of the path's requests for all Pods with this Pod's app.name and app.rev together. With 0 "
    "they get none. Beside sessionPersistence it is the percentage of clients.",
)
