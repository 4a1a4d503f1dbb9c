"""keepPaths: paths that a Namespace keeps while it has no Pod for them."""

from typing import Any

from reconciler.routing.annotations import Refused, name_type
from reconciler.routing.base_paths import parse_path
from reconciler.routing.keys.key import Key, Kind
from reconciler.routing.keys.shapes import parse_list
from reconciler.routing.model import Match
from reconciler.settings import Settings
from reconciler.values.value import Value

_MOST = 100
_PATH = "an absolute path, or '=' and one, as in basePath"


class KeepPaths(Value, frozen=True):
    """Prefixes and exact paths, decoded and sorted, each once."""

    prefixes: tuple[str, ...]
    exact: tuple[str, ...]

    def __str__(self) -> str:
        return " ".join((*self.prefixes, *(f"={path}" for path in self.exact)))

    @property
    def paths(self) -> tuple[tuple[Match, str], ...]:
        """All of them, with how they match."""
        return (*((Match.EXACT, path) for path in self.exact), *((Match.PREFIX, path) for path in self.prefixes))


def _parse_one(value: Any, what: str) -> tuple[Match, str]:
    if not isinstance(value, str):
        raise Refused(what, f"is {name_type(value)}", _PATH)
    if value.startswith("~"):
        raise Refused(what, "is a regular expression", _PATH)
    return parse_path(value, what)


def _parse(value: Any, what: str, _: Settings) -> KeepPaths:
    parsed = set(parse_list(value, what, _parse_one, _MOST))
    prefixes, exact = (sorted(path for match, path in parsed if match is kind) for kind in (Match.PREFIX, Match.EXACT))
    return KeepPaths(tuple(prefixes), tuple(exact))


KEY = Key(
    name="keepPaths",
    kind=Kind.FUNCTION,
    parse=_parse,
    shape=f"array of 1 to {_MOST} basePaths, no regular expressions",
    default="none",
    does="These paths answer 503 while no Pod of the Namespace names them, and nobody else gets them. Each Namespace "
    "says it for paths of its own.",
)
