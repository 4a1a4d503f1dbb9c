"""Near misses: what would answer a request if one thing were different."""

from collections.abc import Iterable
from enum import StrEnum
from itertools import islice

from reconciler.objects.snapshot import Resource
from reconciler.routing.annotations import Fault
from reconciler.settings import Settings
from reconciler.values.value import Value

MOST = 12


class Miss(StrEnum):
    """The class of a near miss, for scripts. What a problem can be too has the reason's name."""

    NOT_SELECTED = "NotSelected"
    NOT_WATCHED = "NotWatched"
    LEFT_OUT = "LeftOut"
    NOT_SHARED = "NotShared"
    OTHER_PORT = "OtherPort"
    WRONG_LEVEL = "MisplacedAnnotation"
    WRONG_NAME = "MisspeltName"
    UNREADABLE = "Unreadable"
    OVER = "Over"
    NO_PODS = "NoPods"
    HELD = "ChangeHeldBack"
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


def tell_unreadable(fault: Fault, resource: Resource, settings: Settings) -> NearMiss:
    """Tell that an entry of paths, which may be the one that is asked for, is left out."""
    problem = fault.as_problem(resource, settings.paths_annotation)
    return NearMiss(
        Miss.UNREADABLE, resource, f"has an entry that is left out: {problem.what} {problem.why}", problem.expected
    )


def cut_misses(misses: Iterable[NearMiss]) -> tuple[NearMiss, ...]:
    """Keep the first near misses, each once."""
    return tuple(islice(dict.fromkeys(misses), MOST))
