"""Signals: what SIGTERM, SIGINT, SIGQUIT and SIGHUP ask of the daemon."""

import os
import select
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType


class Stopped(BaseException):
    """A signal to stop came; like KeyboardInterrupt it is nobody's error."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number


class Signals:
    """SIGTERM, SIGINT or SIGQUIT: stop when the work at hand is done; a second one: now. SIGHUP: reconcile now."""

    def __init__(self) -> None:
        self.stopping = False
        self.hurry = False
        self._now = False
        self._interruptible = False
        # A pipe and no threading.Event: that one's lock is not for handlers, which may come while it is held.
        self._read, self._write = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)

    def install(self) -> None:
        """Take the signals from now on."""
        signal.set_wakeup_fd(self._write, warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda *_: None)  # it ends a wait, so that an orphan can be reaped
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGQUIT, signal.SIGHUP):
            signal.signal(number, self._take)

    def wait(self, seconds: float) -> None:
        """Wait so long, or until a signal comes."""
        if not (self.stopping or self._now) and select.select([self._read], [], [], seconds)[0]:
            os.read(self._read, 4096)

    def take_hang_up(self) -> bool:
        """Tell whether a SIGHUP has come since this was last asked."""
        came, self._now = self._now, False
        return came

    def check(self) -> None:
        """Raise Stopped where a signal to stop has come."""
        if self.stopping:
            raise Stopped(signal.SIGTERM)

    @contextmanager
    def interrupting(self) -> Iterator[None]:
        """Let the first signal to stop raise Stopped too, in work that may be left at any point."""
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
