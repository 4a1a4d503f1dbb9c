"""Signals: what SIGTERM, SIGINT, SIGQUIT and SIGHUP make the daemon do."""

import os
import select
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType


class Stopped(BaseException):
    """A signal to stop came. Like KeyboardInterrupt, it is not an error."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number


class Signals:
    """Handles SIGTERM, SIGINT and SIGQUIT, which stop the daemon, and SIGHUP, which makes it reconcile now.

    After the first signal to stop, the daemon finishes its current work; after the second one, it stops at once.
    """

    def __init__(self) -> None:
        self.stopping = False
        self.hurry = False
        self._now = False
        self._interruptible = False
        # A pipe, because a threading.Event has a lock: a signal handler may run while the lock is held.
        self._read, self._write = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)

    def install(self) -> None:
        """Handle the signals from now on."""
        signal.set_wakeup_fd(self._write, warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda *_: None)  # it ends a wait, so that an orphan can be reaped
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGQUIT, signal.SIGHUP):
            signal.signal(number, self._take)

    def wait(self, seconds: float) -> None:
        """Wait for this number of seconds, or until a signal comes."""
        if not (self.stopping or self._now) and select.select([self._read], [], [], seconds)[0]:
            os.read(self._read, 4096)

    def take_hang_up(self) -> bool:
        """Tell whether a SIGHUP has come since the last call."""
        came, self._now = self._now, False
        return came

    def check(self) -> None:
        """Raise Stopped if a signal to stop has come."""
        if self.stopping:
            raise Stopped(signal.SIGTERM)

    @contextmanager
    def interrupting(self) -> Iterator[None]:
        """Let the first signal to stop raise Stopped too, in work that may be interrupted at any point."""
        self._interruptible = True
        try:
            self.check()
            yield
        finally:
            self._interruptible = False

    def _take(self, number: int, _: FrameType | None) -> None:
        if number == signal.SIGHUP:
            self._now = True
            return
        self.hurry = self.stopping
        self.stopping = True
        if self.hurry or self._interruptible:
            raise Stopped(number)
