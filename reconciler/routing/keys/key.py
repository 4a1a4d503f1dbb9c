"""Key: the declaration of one option, from which everything that knows about options is made."""

from collections.abc import Callable, Collection, Iterable
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
    """A key of a path's entry, or of a host's options; a dot in its name stands for an object around it.

    `parse` gets the value, its place for messages, and the settings; it gives None for a value that says what holds
    without the key, and raises Refused for a bad one, in whose place `instead` counts, if it is given. `resolve`
    replaces a reference by what the routing Secret holds.
    `check_others` gets the value, its place and the names of all keys of the entry; it raises Refused if the value
    cannot stand beside another key. `passing` is True if the key says how nginx talks to Pods, which then holds also
    for what nginx asks them itself. `needs_pods` is False for what counts on a path without a ready Pod too.

    `weight` is the number of locations that the key counts as besides the path's own, `zones` that of shared memory
    zones. If it `hashes`, each Pod costs memory by its weight. `count_certificates` counts the certificates of each
    location. Equal options share what they list: `list_ranges` names ranges of addresses with what each list costs,
    `list_variables` the variables that are declared, and `list_headers` the headers of answers that nginx has in
    variables of its own. `list_secret_files` gives the files
    that a resolved value needs: their paths in the tree, and what nginx's workers alone may read there.
    `needs_upstream` tells whether the Pods must be those of an upstream of nginx's own, for a path's agreed value.
    `shape`, `default` and `does` are for the reference.
    """

    name: str
    kind: Kind
    parse: Callable[[Any, str, Settings], Value | None]
    shape: str
    default: str
    does: str
    passing: bool = False
    weight: int = 0
    needs_pods: bool = True
    zones: int = 0
    hashes: bool = False
    list_ranges: Callable[[Any], Iterable[str]] = lambda _: ()
    list_variables: Callable[[Any], Iterable[str]] = lambda _: ()
    count_certificates: Callable[[Any], int] = lambda _: 0
    resolve: Callable[[Any, str, SecretFields | None], Value] | None = None
    instead: Value | None = None
    check_others: Callable[[Any, str, Collection[str]], None] = lambda *_: None
    list_headers: Callable[[Any], Iterable[str]] = lambda _: ()
    list_secret_files: Callable[[Any], Iterable[tuple[str, bytes]]] = lambda _: ()
    needs_upstream: Callable[[Any], bool] = lambda _: False

    @property
    def outer(self) -> str:
        """The name of the member of an entry that holds the key."""
        return self.name.partition(".")[0]

    @property
    def effect(self) -> str:
        """What a bad value does, as the end of a sentence."""
        return f"it counts as {self.instead}" if self.instead else self.kind.effect
