"""Annotations: JSON that tenants write. Each object is read member by member, so that all faults in it are found."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from itertools import islice
from typing import Any, TypeVar

import msgspec

from reconciler.objects.snapshot import Resource
from reconciler.routing.problems import Problem, Reason
from reconciler.values.decoding import find_repeated, locate_json_fault
from reconciler.values.messages import excerpt
from reconciler.values.patterns import Pattern
from reconciler.values.value import Value

# An annotation full of faults must cost the others little, and a fault takes longer to read than a good entry.
_MOST_FAULTS = 200
_MOST_KEYS = 500
_TYPES = {dict: "an object", list: "an array", str: "a string", bool: "a boolean", type(None): "null"}
Parsed = TypeVar("Parsed")


class Fault(Value, frozen=True, order=True):
    """One thing in an annotation that is left out: what, why, and what is expected there."""

    what: str
    why: str
    expected: str

    def as_problem(self, resource: Resource, annotation: str) -> Problem:
        """Make it a problem of the object that has the annotation."""
        return Problem(resource, f"{annotation} {self.what}".rstrip(), self.why, self.expected, Reason.ANNOTATION)


class Refused(Exception):
    """Something in an annotation that cannot be used."""

    def __init__(self, what: str, why: str, expected: str) -> None:
        super().__init__(what)
        self.fault = Fault(what, why, expected)


class Ambiguous(dict[str, Any]):
    """A JSON object in which keys appear more than once: `repeated` names them. No value of theirs counts."""

    repeated: tuple[str, ...] = ()


def read_json(text: str, kind: type, expected: str) -> Any:
    """Decode the JSON of an annotation. An object with a repeated key is Ambiguous. Refused if it is not usable."""
    try:
        value = msgspec.json.decode(text)
        # Each member has a colon of its own. If there are more colons, one is in a string, or a member was dropped.
        if text.count(":") != _count_members(value):
            value = json.loads(text, object_pairs_hook=_make_object)
    except RecursionError:
        raise Refused("", "is nested too deeply", f"a JSON {expected}") from None
    except ValueError:  # msgspec's, and Python's for a number that is too long
        where = locate_json_fault(text)
        raise Refused("", f"is not JSON{where and ' at ' + where}", f"a JSON {expected}") from None
    if not isinstance(value, kind):
        raise Refused("", f"is JSON, but {name_type(value)}", f"a JSON {expected}")
    return value


def _count_members(value: object) -> int:
    """Count the members of all objects in a JSON value."""
    count, waiting = 0, [value]
    while waiting:
        one = waiting.pop()
        if isinstance(one, dict):
            count += len(one)
            waiting += one.values()
        elif isinstance(one, list):
            waiting += one
    return count


def _make_object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    repeated = find_repeated(pairs)
    if not repeated:
        return dict(pairs)
    ambiguous = Ambiguous(pairs)
    ambiguous.repeated = repeated
    return ambiguous


@dataclass(frozen=True, slots=True)
class Layout:
    """What a JSON object may hold: its known keys, and the object in words.

    Of a key that `is_read_elsewhere` nothing is told here. `find_meant` gives the protecting key that an unknown one
    was probably meant for: it spoils the object.
    """

    known: tuple[str, ...]
    expected: str
    is_read_elsewhere: Callable[[str], bool] = lambda _: False
    find_meant: Callable[[str], str | None] = lambda _: None


class Members:
    """The members of one JSON object. `faults` are all that were found; it is `sound` if none of them spoils it."""

    def __init__(self, value: object, what: str, layout: Layout) -> None:
        """Begin to read an object of this layout. Refused if it is not an object."""
        if not isinstance(value, dict):
            raise Refused(what, f"is {name_type(value)}", layout.expected)
        if len(value) > _MOST_KEYS:  # each unknown key is compared with the known ones
            raise Refused(what, f"has {len(value)} keys", f"at most {_MOST_KEYS} keys")
        self.faults: list[Fault] = []
        self.sound = True
        self.value = value
        self._what = what
        repeated = value.repeated if isinstance(value, Ambiguous) else ()
        for key in islice((key for key in repeated if not layout.is_read_elsewhere(key)), _MOST_FAULTS + 1):
            self.spoil(Fault(f"{what}.{excerpt(key)}", "appears twice", "each key once"))
        for key in (key for key in value if key not in layout.known and not layout.is_read_elsewhere(key)):
            place, meant = f"{what}.{excerpt(key)}", layout.find_meant(key)
            if meant:
                self.spoil(Fault(place, f"may be meant for {meant}", f"{meant}, or no such key"))
            else:
                expected = f"one of {', '.join(layout.known)}"
                self.faults.append(Fault(place, "is an unknown key and is ignored", expected))

    def spoil(self, fault: Fault) -> None:
        """Note a fault because of which the whole object cannot be used."""
        self.faults.append(fault)
        self.sound = False

    def take_over(self, inner: "Members") -> None:
        """Take over the faults of an object inside this one; what spoils that one spoils this one too."""
        self.faults += inner.faults
        self.sound = self.sound and inner.sound

    def read(self, key: str, parse: Callable[[Any, str], Parsed], default: Parsed) -> Parsed:
        """Parse a member; one that is absent or null is the default. A bad one spoils the object."""
        try:
            return self._parse(key, parse, default)
        except Refused as refused:
            self.spoil(refused.fault)
            return default

    def read_alone(self, key: str, parse: Callable[[Any, str], Parsed], default: Parsed, bad: Parsed) -> Parsed:
        """Parse a member in the same way, but a bad one spoils nothing else: `bad` stands for it."""
        try:
            return self._parse(key, parse, default)
        except Refused as refused:
            self.faults.append(refused.fault)
            return bad

    def require(self, key: str, parse: Callable[[Any, str], Parsed], expected: str) -> Parsed | None:
        """Parse a member that must be there; None if it is bad or absent."""
        if self.value.get(key) is None:
            why = "is null" if key in self.value else "is missing"
            self.spoil(Fault(f"{self._what}.{key}", why, expected))
            return None
        return self.read(key, parse, None)

    def _parse(self, key: str, parse: Callable[[Any, str], Parsed], default: Parsed) -> Parsed:
        value = self.value.get(key)
        return default if value is None else parse(value, f"{self._what}.{key}")


def check_number(faults: list[Fault]) -> None:
    """Refuse to read on after too many faults."""
    if len(faults) > _MOST_FAULTS:
        raise Refused("", "has too many faults; what comes after them is left out", f"fewer than {_MOST_FAULTS}")


def parse_text(value: object, what: str, pattern: Pattern) -> str:
    """Parse a string that a pattern accepts."""
    if not isinstance(value, str):
        raise Refused(what, f"is {name_type(value)}", f"a string: {pattern.allowed}")
    if not pattern.accepts(value):
        raise Refused(what, f"is {excerpt(value)}", pattern.allowed)
    return value


def parse_boolean(value: object, what: str) -> bool:
    """Parse true or false."""
    if not isinstance(value, bool):
        raise Refused(what, f"is {show_value(value)}", "true or false")
    return value


def name_type(value: object) -> str:
    """Name the JSON type of a value."""
    return next((name for kind, name in _TYPES.items() if isinstance(value, kind)), "a number")


def show_value(value: object) -> str:
    """Show a short value in a message, or else name its type."""
    if isinstance(value, str):
        return excerpt(value)
    return str(value) if type(value) is int and abs(value) < 10**18 else name_type(value)
