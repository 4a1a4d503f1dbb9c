"""Memo: a pure function over many named inputs that does not do again what has not changed since the last round."""

from collections.abc import Callable, Mapping
from typing import Generic, TypeVar

Input = TypeVar("Input")
Context = TypeVar("Context")
Result = TypeVar("Result")


class Memo(Generic[Input, Context, Result]):
    """The results of the last round. What a round does not name is forgotten, so memory follows the cluster's size."""

    def __init__(self, function: Callable[[Input, Context], Result]) -> None:
        self._function = function
        self._context: Context | None = None
        self._last: dict[str, tuple[Input, Result]] = {}

    def round(self, inputs: Mapping[str, Input], context: Context) -> dict[str, Result]:
        """Give `function(input, context)` by name, called only where input or context differ from the last round's."""
        last = self._last if context == self._context else {}
        function = self._function
        done = {
            name: known if (known := last.get(name)) and known[0] == value else (value, function(value, context))
            for name, value in inputs.items()
        }
        self._last, self._context = done, context
        return {name: result for name, (_, result) in self._last.items()}
