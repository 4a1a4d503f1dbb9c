"""Near misses: what would answer a request if one thing were different."""

from collections.abc import Iterable
from enum import StrEnum
from itertools import islice

from reconciler.objects.snapshot import Resource
from reconciler.values.value import Value

MOST = 12


class Miss(StrEnum):
    """The class of a near miss, for scripts."""

    NOT_SELECTED = "NotSelected"
    NOT_WATCHED = "NotWatched"
    LEFT_OUT = "LeftOut"
    NOT_SHARED = "NotShared"
    OTHER_PORT = "OtherPort"
    WRONG_LEVEL = "WrongLevel"
    WRONG_NAME = "WrongName"
    UNREADABLE = "Unreadable"
    OVER = "Over"
    NO_PODS = "NoPods"
    HELD = "HeldBack"
    SIMILAR = "Similar"
    OTHER_PATHS = "OtherPaths"


class NearMiss(Value, frozen=True):
    """One thing because of which a request is not answered as it might be: the object, why, and what is to be done.

    Without an object it is about the request itself.
    """

    kind: Miss
    resource: Resource | None
    why: str
    expected: str


def cut_misses(misses: Iterable[NearMiss]) -> tuple[NearMiss, ...]:
    """Keep the first near misses, each once."""
    return tuple(islice(dict.fromkeys(misses), MOST))
