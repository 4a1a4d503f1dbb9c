"""Key: the declaration of one option, from which everything that knows about options is made."""

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from typing import Any

from reconciler.routing.secret_fields import SecretFields
from reconciler.settings import Settings
from reconciler.values.value import Value


class Kind(Enum):
    """What a key is for. It decides what a bad value does, and whose value counts if the Pods of a path disagree."""

    FUNCTION = "function"
    ENTRY = "entry"
    PROTECTION = "protection"
    WIRE = "wire"

    @property
    def closes(self) -> bool:
        """Whether a bad value closes the path: without the key, requests would go where they must not."""
        return self in (Kind.PROTECTION, Kind.WIRE)

    @property
    def effect(self) -> str:
        """What a bad value does, as the end of a sentence."""
        if self is Kind.FUNCTION:
            return "the key is left out"
        return "the entry is left out" if self is Kind.ENTRY else "this Pod does not serve the path"


@dataclass(frozen=True, slots=True)
class Key:
    """A key of a path's entry; a dot in its name stands for an object around it.

    `parse` gets the value, its place for messages, and the settings; it raises Refused for a bad value, and gives None
    for one that says what holds without the key. `resolve` replaces a reference by what the routing Secret holds.
    `weight` is the number of locations that the key counts as besides the path's own, `zones` that of shared memory
    zones, and `count_ranges` counts ranges of addresses. If it `hashes`, each Pod costs memory by its weight.
    `shape`, `default` and `does` are for the reference.
    """

    name: str
    kind: Kind
    parse: Callable[[Any, str, Settings], Value | None]
    shape: str
    default: str
    does: str
    weight: int = 0
    zones: int = 0
    hashes: bool = False
    count_ranges: Callable[[Any], int] = lambda _: 0
    resolve: Callable[[Any, str, SecretFields | None], Value] | None = None

    @property
    def outer(self) -> str:
        """The name of the member of an entry that holds the key."""
        return self.name.partition(".")[0]
