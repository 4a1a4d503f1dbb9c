"""Figures of a running nginx, which are read only when somebody asks for them."""

import threading
import time
from collections.abc import Callable

from reconciler.values.value import Value

_FRESH = 1.0


class Connections(Value, frozen=True):
    """nginx's open connections, as its stub_status counts them.

    https://nginx.org/en/docs/http/ngx_http_stub_status_module.html
    """

    active: int
    reading: int
    writing: int
    waiting: int


class Figures(Value, frozen=True):
    """The numbers of workers that serve and that are leaving, nginx's memory in bytes, and its connections.

    What is not known is None.
    """

    serving: int = 0
    leaving: int = 0
    memory: int | None = None
    connections: Connections | None = None


class Glance:
    """Looks at nginx when it is called, but at most once a second: many askers must not cost more than one."""

    def __init__(self, look: Callable[[], Figures]) -> None:
        self._look = look
        self._turn = threading.Lock()
        self._figures, self._until = Figures(), 0.0

    def __call__(self) -> Figures:
        """Give nginx's figures, at most a second old."""
        with self._turn:
            if time.monotonic() >= self._until:
                self._figures = self._look()
                self._until = time.monotonic() + _FRESH
            return self._figures
