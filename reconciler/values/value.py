"""The base of all values: frozen, slotted, compared by what they hold."""

from msgspec import Struct


class Literal(str):
    """A text that nginx takes as it is written, so that a `$` in it begins no variable: a regular expression."""

    __slots__ = ()


class Value(Struct, frozen=True, gc=False):
    """A frozen value. It is never part of a reference cycle, so the garbage collector need not visit it."""
