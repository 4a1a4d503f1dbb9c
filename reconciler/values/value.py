"""What every value here is: frozen, slotted, compared by what it holds."""

from msgspec import Struct


class Value(Struct, frozen=True, gc=False):
    """A frozen value. It is part of no cycle, so the garbage collector need not visit the tens of thousands of them."""
