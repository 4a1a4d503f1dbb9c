"""buffering: whether nginx gathers a Pod's answer before it sends it on."""

from typing import Any

from reconciler.routing.annotations import parse_boolean
from reconciler.routing.keys.key import Key, Kind
from reconciler.settings import Settings
from reconciler.values.value import Value


class Unbuffered(Value, frozen=True):
    """Each piece of an answer is sent on at once."""

    def __str__(self) -> str:
        return "off"


def _parse(value: Any, what: str, _: Settings) -> Unbuffered | None:
    return None if parse_boolean(value, what) else Unbuffered()


KEY = Key(
    name="buffering",
    kind=Kind.FUNCTION,
    passing=True,
    parse=_parse,
    shape="boolean",
    default="true",
    does="With false, each piece of an answer is sent on at once, and a slow client keeps its Pod busy. A Pod gets the "
    "same for one answer by the header X-Accel-Buffering: no.",
)
