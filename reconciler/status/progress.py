"""Progress: a bar at a terminal for what takes longer than a second. In a pipe and with lines of JSON there is none."""

import os
import sys
import threading
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from types import TracebackType

from tqdm import tqdm

_DELAY = 1.0  # seconds


class _Bar(tqdm):  # type: ignore[type-arg]
    monitor_interval = 0  # no thread


class Progress(AbstractContextManager["Progress"]):
    """A bar on standard error for `total` steps. It vanishes at the end."""

    def __init__(self, total: int, unit: str, log_format: str) -> None:
        # Its own lock is for several processes, and starts one that watches over it.
        _Bar.set_lock(threading.RLock())
        shown = sys.stderr.isatty() and log_format != "json" and os.environ.get("TERM") != "dumb"
        self._bar = _Bar(total=total, unit=f" {unit}", delay=_DELAY, leave=False, disable=not shown, file=sys.stderr)

    def step(self) -> None:
        """Count one step."""
        self._bar.update()

    @contextmanager
    def aside(self) -> Iterator[None]:
        """Take the bar away while lines are written, so that both can be read."""
        if self._bar.disable:
            yield
            return
        with _Bar.external_write_mode(file=sys.stderr):
            yield

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._bar.close()
