"""responseHeaders: headers that a path's answers have, and those of the Pod that they do not have."""

from collections.abc import Collection
from typing import Any

from reconciler.routing.annotations import Refused
from reconciler.routing.keys.header_changes import MOST, Header, parse_changes
from reconciler.routing.keys.key import Key, Kind
from reconciler.settings import Settings
from reconciler.values.header_names import is_of_answers
from reconciler.values.messages import excerpt
from reconciler.values.value import Value


class ResponseHeaders(Value, frozen=True):
    """Headers that replace those of the Pod, headers beside those of the Pod, and names of headers to leave out."""

    set: tuple[Header, ...] = ()
    add: tuple[Header, ...] = ()
    remove: tuple[str, ...] = ()

    def __str__(self) -> str:
        parts = {"set": self.set, "add": self.add, "remove": self.remove}
        return ", ".join(f"{verb} {one}" for verb, some in parts.items() for one in some)

    @property
    def hidden(self) -> tuple[str, ...]:
        """The headers that the Pod's answers lose."""
        return (*(header.name for header in self.set), *self.remove)

    @property
    def written(self) -> tuple[Header, ...]:
        """The headers that nginx writes."""
        return (*self.set, *self.add)

    def leave_out(self, header: str) -> "ResponseHeaders":
        """Give the same without what it says about one header."""
        wanted = header.lower()
        return ResponseHeaders(
            set=tuple(one for one in self.set if one.name.lower() != wanted),
            add=tuple(one for one in self.add if one.name.lower() != wanted),
            remove=tuple(name for name in self.remove if name.lower() != wanted),
        )


def _parse(value: Any, what: str, _: Settings) -> ResponseHeaders:
    return ResponseHeaders(**parse_changes(value, what, ("set", "add", "remove"), is_of_answers))


def _check_others(value: ResponseHeaders, what: str, others: Collection[str]) -> None:
    """Refuse headers that cors writes: a browser refuses an answer that has one twice."""
    if "cors" in others:
        for name in (*value.hidden, *(header.name for header in value.add)):
            if name.lower().startswith("access-control-"):
                raise Refused(what, f"names {excerpt(name)}, and the entry has cors", "cors alone, or no cors")


KEY = Key(
    name="responseHeaders",
    kind=Kind.FUNCTION,
    parse=_parse,
    shape=f'{{"set": {{name: value}}, "add": {{name: value}}, "remove": [name]}}, at most {MOST} headers',
    default="the Pod's headers",
    weight=1,
    needs_pods=False,
    check_others=_check_others,
    does="Headers of all answers of the path, also those of nginx itself such as 403, 429 and 503. `set` replaces the "
    "Pod's header, `add` stands beside it, `remove` leaves it out.",
)
