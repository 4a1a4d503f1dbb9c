"""The base of all values: frozen, slotted, compared by what they hold."""

from msgspec import Struct


class Value(Struct, frozen=True, gc=False):
    """A frozen value. It is never part of a reference cycle, so the garbage collector need not visit it."""
