"""What is made when somebody asks for it, but not more often than it can have changed much."""

import threading
import time
from collections.abc import Callable
from typing import Generic, TypeVar

_SECONDS = 1.0
Made = TypeVar("Made")


class Fresh(Generic[Made]):
    """Makes a value when it is called, at most once a second and once for all who ask: many must not cost more."""

    def __init__(self, make: Callable[[], Made]) -> None:
        self._make = make
        self._turn = threading.Lock()
        self._made: Made | None = None
        self._until = 0.0

    def __call__(self) -> Made:
        """Give the value, at most a second old."""
        with self._turn:
            if self._made is None or time.monotonic() >= self._until:
                self._made = self._make()
                self._until = time.monotonic() + _SECONDS
            return self._made
