"""Reading: the options of an entry or of a host, by their declarations. A key that protects never falls away."""

from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Any

from reconciler.routing.annotations import Ambiguous, Fault, Refused
from reconciler.routing.keys.catalogue import HOST_KEYS, PATH_KEYS
from reconciler.routing.keys.key import Key, Kind
from reconciler.routing.keys.shapes import parse_object
from reconciler.routing.keys.slips import find_meant
from reconciler.routing.options import Option, Options
from reconciler.settings import Settings
from reconciler.values.messages import excerpt
from reconciler.values.value import Value

OPTION_NAMES = tuple(dict.fromkeys(key.outer for key in PATH_KEYS.values()))
HOST_OPTION_NAMES = tuple(dict.fromkeys(key.outer for key in HOST_KEYS.values()))


def is_option(name: str) -> bool:
    """Tell whether a key of an entry is an option, or was probably meant for one that protects."""
    return name in OPTION_NAMES or find_meant(name) is not None


class ReadOptions(Value, frozen=True):
    """The options of an entry or a host that can be used, and all faults.

    `sound` is False if the entry has to be left out, and `closed` is True if its Pod must not serve the path.
    """

    options: Options
    closed: bool
    sound: bool
    faults: tuple[Fault, ...]


NO_OPTIONS = ReadOptions((), closed=False, sound=True, faults=())


class OptionReader:
    """Reads the options of one JSON object by the declarations of their keys; `what` is its place for messages.

    `find_meant` gives the protecting key that an unknown one was probably meant for.
    """

    def __init__(
        self,
        what: str,
        settings: Settings,
        keys: Mapping[str, Key] = PATH_KEYS,
        find_meant: Callable[[str], str | None] = find_meant,
    ) -> None:
        self._what = what
        self._settings = settings
        self._keys = keys
        self._find_meant = find_meant
        self._options: list[Option] = []
        self._faults: list[Fault] = []
        self._spoilt: set[Kind] = set()

    def read(self, entry: dict[str, Any]) -> ReadOptions:
        """Read the options of a JSON object that may hold other keys too."""
        names = dict.fromkeys(key.outer for key in self._keys.values())
        self._read_slips(entry.keys() - names)
        for outer in names:
            if outer in entry:
                keys = [key for key in self._keys.values() if key.outer == outer]
                repeated = isinstance(entry, Ambiguous) and outer in entry.repeated
                self._read_outer(outer, keys, entry[outer], repeated=repeated)
        self._check_others(entry.keys())
        closed = any(kind.closes for kind in self._spoilt)
        return ReadOptions(tuple(self._options), closed, Kind.ENTRY not in self._spoilt, tuple(self._faults))

    def _read_slips(self, names: Iterable[str]) -> None:
        for name in sorted(names):
            if meant := self._find_meant(name):
                why = f"may be meant for {meant}"
                fault = Fault(f"{self._what}.{excerpt(name)}", why, f"{meant}, or no such key")
                self._spoil(Kind.PROTECTION, Kind.PROTECTION.effect, fault)

    def _read_outer(self, outer: str, keys: list[Key], value: Any, *, repeated: bool) -> None:
        """Read a member that is a key, or an object of keys."""
        what, first = f"{self._what}.{outer}", keys[0]
        if repeated:
            self._refuse(first, Fault(what, "appears twice", "each key once"))
        elif value is None and not first.kind.closes:
            return
        elif first.name == outer:
            self._read_key(first, value, what)
        else:
            # Whatever is wrong with the object, its keys may have been meant to protect.
            given: dict[str, Any] = {}
            try:
                given = parse_object(value, what, {key.name.partition(".")[2]: lambda one, _: one for key in keys})
            except Refused as refused:
                self._refuse(first, refused.fault)
            for key in keys:
                inner = key.name.partition(".")[2]
                if inner in given:
                    self._read_key(key, given[inner], f"{what}.{inner}")

    def _read_key(self, key: Key, value: Any, what: str) -> None:
        try:
            parsed = key.parse(value, what, self._settings)
        except Refused as refused:
            self._refuse(key, refused.fault)
            return
        if parsed is None:  # a Pod that names what holds anyway agrees with one that does not
            return
        if key.name in self._settings.denied_options:
            self._refuse(key, Fault(what, "is turned off by DENIED_OPTIONS", "an entry without it"))
        else:
            self._options.append(Option(key.name, parsed))

    def _check_others(self, names: Collection[str]) -> None:
        """Leave out what cannot stand beside another key of the entry, whether that one is good or not."""
        for option in tuple(self._options):
            key = self._keys[option.name]
            try:
                key.check_others(option.value, f"{self._what}.{key.name}", names)
            except Refused as refused:
                self._options.remove(option)
                self._refuse(key, refused.fault)

    def _refuse(self, key: Key, fault: Fault) -> None:
        """Note the fault of a key's value, and take what counts in its place."""
        self._options += () if key.instead is None else (Option(key.name, key.instead),)
        self._spoil(key.kind, key.effect, fault)

    def _spoil(self, kind: Kind, effect: str, fault: Fault) -> None:
        self._faults.append(Fault(fault.what, f"{fault.why}: {effect}", fault.expected))
        self._spoilt.add(kind)
