"""backup: Pods that stand in for the others of their path."""

from typing import Any

from reconciler.routing.annotations import parse_boolean
from reconciler.routing.keys.key import Key, Kind
from reconciler.settings import Settings
from reconciler.values.value import Value


class Backup(Value, frozen=True):
    """An entry's Pod is a backup."""

    def __str__(self) -> str:
        return "backup"


def _parse(value: Any, what: str, _: Settings) -> Backup | None:
    return Backup() if parse_boolean(value, what) else None


KEY = Key(
    name="backup",
    kind=Kind.ENTRY,
    parse=_parse,
    shape="true or false",
    default="false",
    does="The Pod gets requests only if no other Pod of the path is ready or, without sessionPersistence and share, "
    "if the others do not answer.",
)
