"""Memo: applies a pure function to many named inputs, and does not repeat the work of its last round."""

from collections.abc import Callable, Mapping
from typing import Generic, TypeVar

Input = TypeVar("Input")
Result = TypeVar("Result")


class Memo(Generic[Input, Result]):
    """Keeps the results of the last round. It forgets what a round does not name: memory follows the cluster's size.

    A memo belongs to one loop: two loops over different clusters would push each other's results out.
    """

    def __init__(self, function: Callable[[Input], Result]) -> None:
        self._function = function
        self._last: dict[str, tuple[Input, Result]] = {}

    def round(self, inputs: Mapping[str, Input]) -> dict[str, Result]:
        """Give `function(input)` by name; it is called only for inputs that differ from the last round's."""
        last, function = self._last, self._function
        self._last = {
            name: known if (known := last.get(name)) and known[0] == value else (value, function(value))
            for name, value in inputs.items()
        }
        return {name: result for name, (_, result) in self._last.items()}
