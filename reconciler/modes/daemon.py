"""The daemon: turns the loop every RECONCILE_INTERVAL seconds, and at SIGHUP, until a signal stops it."""

import random
import time
from collections.abc import Callable
from typing import Protocol

import schedule

from reconciler.loop.events import Applied, Event, Failed, HungUp, Timed, Turned
from reconciler.loop.ports import Sink, Source, Tell
from reconciler.modes.signals import Signals, Stopped
from reconciler.modes.stopwatch import Stopwatch
from reconciler.objects.snapshot import Snapshot
from reconciler.settings import Settings
from reconciler.values.files import Files

_LONGEST_BACK_OFF = 30.0
_LONGEST_RETRY_AFTER = 300.0


def longest_turn(settings: Settings) -> float:
    """Give the longest time in seconds that a turn may take.

    All lists may take their whole timeout, twice. So may nginx, with a tree whose test takes nearly a minute.
    """
    return 360.0 + 8 * (settings.api_timeout + settings.reload_timeout) + settings.reconcile_interval


class Turning(Protocol):
    """What the daemon turns: a loop, or what decides whether one turns."""

    def turn(self, now: float) -> Event:
        """Run one cycle, and give its result; `now` is in seconds since the epoch."""


class InterruptibleTurns:
    """Turns that raise Stopped if the first signal to stop comes: each of them may be cut off anywhere."""

    def __init__(self, turning: Turning, signals: Signals) -> None:
        self._turning = turning
        self._signals = signals

    def turn(self, now: float) -> Event:
        """Run one cycle. Stopped if a signal to stop comes."""
        with self._signals.interrupting():
            return self._turning.turn(now)


class InterruptibleSource:
    """A source that raises Stopped if the first signal to stop comes while it reads."""

    def __init__(self, source: Source, signals: Signals) -> None:
        self._source = source
        self._signals = signals

    @property
    def complaints(self) -> tuple[str, ...]:
        """What the last reading left out."""
        return self._source.complaints

    def read(self, *, consistently: bool = False) -> Snapshot:
        """Read a Snapshot. Stopped if a signal to stop comes."""
        with self._signals.interrupting():
            return self._source.read(consistently=consistently)


class AttendedSink:
    """A sink that reports that the loop is alive, and checks for signals, before each tree: a search tries many."""

    def __init__(self, sink: Sink, signals: Signals, tell: Tell) -> None:
        self._sink = sink
        self._signals = signals
        self._tell = tell

    def apply(self, files: Files, snapshot: Snapshot) -> str:
        """Pass a tree to the sink. Stopped if a signal to stop has come."""
        self._attend()
        return self._sink.apply(files, snapshot)

    def check(self, files: Files) -> None:
        """Let the sink test a tree. Stopped if a signal to stop has come."""
        self._attend()
        self._sink.check(files)

    def _attend(self) -> None:
        self._tell(Turned())
        self._signals.check()


class Daemon:
    """Turns a loop. It calls `keep_house` between turns, when it waits for no process that it started.

    `stopwatch` is what measures the loop's parts.
    """

    def __init__(
        self,
        loop: Turning,
        settings: Settings,
        tell: Tell,
        keep_house: Callable[[], None] = lambda: None,
        stopwatch: Stopwatch | None = None,
    ) -> None:
        self._loop = loop
        self._settings = settings
        self._tell = tell
        self._keep_house = keep_house
        self._stopwatch = stopwatch or Stopwatch()
        self._busy = 0
        self._not_before = 0.0

    def run(self, signals: Signals) -> None:
        """Turn the loop until a signal stops it."""
        interval = self._settings.reconcile_interval
        scheduler = schedule.Scheduler()
        scheduler.every(interval).seconds.do(self._turn, signals)
        # A random delay, so that the routers of a cluster do not all read the API server at once.
        signals.wait(random.uniform(0, interval))  # noqa: S311
        scheduler.run_all()
        while not signals.stopping:
            self._tell(Turned())
            signals.wait(min(max(scheduler.idle_seconds or 0.0, 0.0), interval))
            self._keep_house()
            if signals.take_hang_up():
                self._not_before = 0.0
                scheduler.run_all()
                self._tell(HungUp())
            elif (scheduler.idle_seconds or 0.0) > interval:  # the clock was set back
                scheduler.run_all()
            else:
                scheduler.run_pending()

    def _turn(self, signals: Signals) -> None:
        """Turn the loop once, unless it is too early after the last turn."""
        if signals.stopping or time.monotonic() < self._not_before:
            return
        try:
            self._pause_after(self._loop.turn(time.time()))
            if phases := self._stopwatch.take():
                self._tell(Timed(phases))
        except Stopped:
            return

    def _pause_after(self, event: Event) -> None:
        """Set the earliest time of the next turn.

        After a reload, the pause is MIN_RELOAD_INTERVAL. For a busy API server, it is the time that the server
        requested, or a time that grows with each failure if that is longer.
        """
        settings = self._settings
        if isinstance(event, Failed):
            if event.busy:
                doubled = min(_LONGEST_BACK_OFF, settings.reconcile_interval * 2.0**self._busy)
                # A random part, so that the pause is not the same on all nodes.
                pause = doubled * random.uniform(0.5, 1.0)  # noqa: S311
                self._not_before = time.monotonic() + max(min(event.retry_after, _LONGEST_RETRY_AFTER), pause)
                self._busy = min(self._busy + 1, 10)
            return
        self._busy = 0
        if isinstance(event, Applied) and event.is_release:
            self._not_before = time.monotonic() + settings.min_reload_interval
