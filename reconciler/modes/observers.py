"""Passing events to observers."""

import threading
from collections.abc import Iterable

from reconciler.loop.events import Event
from reconciler.loop.ports import Observer, Tell


def tell_all(observers: Iterable[Observer]) -> Tell:
    """Make the function that passes an event to all observers, in order. It passes events of all threads one by one."""
    known, turn = tuple(observers), threading.RLock()

    def tell(event: Event) -> None:
        with turn:
            for observer in known:
                observer.observe(event)

    return tell
