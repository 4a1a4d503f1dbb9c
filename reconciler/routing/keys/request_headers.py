"""requestHeaders: headers that a path's Pods get, and those of the client that they do not get."""

from functools import partial
from typing import Any

from reconciler.routing.annotations import Refused
from reconciler.routing.keys.header_changes import MOST, Header, parse_changes
from reconciler.routing.keys.key import Key, Kind
from reconciler.settings import Settings
from reconciler.values.header_names import is_of_requests, simplify, spell
from reconciler.values.value import Value

# With an underscore in API_KEY_HEADER nginx takes all spellings, each of which is a line in each location.
_MOST_SPELLINGS = 64
_MOST_HYPHENS = 6


class RequestHeaders(Value, frozen=True):
    """Headers that replace those of the client, and all names under which a client could send one of them or another.

    The text for people has names alone: a value may be a password.
    """

    set: tuple[Header, ...] = ()
    remove: tuple[str, ...] = ()
    spellings: tuple[str, ...] = ()

    def __str__(self) -> str:
        names = {"set": [header.name for header in self.set], "remove": self.remove}
        return ", ".join(f"{verb} {name}" for verb, some in names.items() for name in some)

    @property
    def hidden(self) -> tuple[str, ...]:
        """The headers that a Pod does not get from the client."""
        return (*self.remove, *self.spellings)


def _parse(value: Any, what: str, settings: Settings) -> RequestHeaders:
    is_ours = partial(_is_ours, key=settings.api_key_header)
    given = parse_changes(value, what, ("set", "remove"), is_ours)
    names = (*(header.name for header in given.get("set", ())), *given.get("remove", ()))
    spellings = _list_others(names, what) if "_" in settings.api_key_header else ()
    return RequestHeaders(**given, spellings=spellings)


def _is_ours(name: str, key: str) -> bool:
    return is_of_requests(name) or simplify(name) == simplify(key)


def _list_others(names: tuple[str, ...], what: str) -> tuple[str, ...]:
    """List the spellings with underscores, which a Pod may take for the same headers."""
    if any(name.count("-") > _MOST_HYPHENS for name in names):
        raise Refused(what, f"names a header with more than {_MOST_HYPHENS} hyphens", "shorter names")
    others = [spelling for name in names for spelling in spell(name) if spelling != name]
    if len(others) > _MOST_SPELLINGS:
        why = f"names headers that have {len(others)} spellings with underscores"
        raise Refused(what, why, f"at most {_MOST_SPELLINGS}: fewer headers, or names with fewer hyphens")
    return tuple(others)


KEY = Key(
    name="requestHeaders",
    kind=Kind.PROTECTION,
    parse=_parse,
    shape=f'{{"set": {{name: value}}, "remove": [name]}}, at most {MOST} headers',
    default="the client's headers",
    weight=2,  # the longest family of headers
    does="Headers of requests to the Pods. `set` replaces the client's header, `remove` leaves it out. What the router "
    "itself tells Pods, and the API key, cannot be named.",
)
