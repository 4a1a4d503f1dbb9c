"""The daemon: cycle after cycle over a live cluster, each told in few words, until it is stopped."""

import os
import random
import time
from contextlib import suppress
from typing import Protocol

import schedule

from reconciler.cluster.source import ClusterError
from reconciler.disk.artefact import ArtefactError
from reconciler.loop.reconcile import Cycle, Sink, reconcile
from reconciler.modes.signals import Signals, Stopped
from reconciler.nginx.process import find_children, read_state
from reconciler.nginx.program import NginxError
from reconciler.objects.listing import Listing
from reconciler.objects.snapshot import Snapshot, normalise
from reconciler.rendering.routes_file import RoutesError, Size, compare, measure_files, measure_routes
from reconciler.routing.table import build_table
from reconciler.settings import Settings
from reconciler.status.health import Health
from reconciler.status.log import Report
from reconciler.values.files import Files

_LONGEST_BACK_OFF = 30.0
_LONGEST_RETRY_AFTER = 300.0


class Source(Protocol):
    """Where Listings come from."""

    @property
    def complaints(self) -> tuple[str, ...]:
        """What of the last reading is left out, a line each."""

    def read(self, *, consistently: bool = False) -> Listing:
        """List everything, the very same object where nothing has changed. ClusterError where it cannot be had."""


class _Attended:
    """A sink between whose trials signals and probes are attended to: of one refused tree there may be many."""

    def __init__(self, sink: Sink, signals: Signals, health: Health) -> None:
        self._sink = sink
        self._signals = signals
        self._health = health

    def apply(self, files: Files, snapshot: Snapshot) -> str:
        """Hand a tree on. Stopped where a signal has come before."""
        self._attend()
        return self._sink.apply(files, snapshot)

    def check(self, files: Files) -> None:
        """Have a tree tested. Stopped where a signal has come before."""
        self._attend()
        self._sink.check(files)

    def _attend(self) -> None:
        self._health.turned()
        self._signals.check()


class Daemon:
    """Brings a sink to what a source says, again and again. `former` is what a former process left serving."""

    def __init__(
        self, source: Source, settings: Settings, sink: Sink, report: Report, former: Cycle | None = None
    ) -> None:
        self._source = source
        self._settings = settings
        self._sink = sink
        self._report = report
        self._last, self._size = _measure(former)
        self._listing: Listing | None = None
        self._believed: Listing | None = None
        self._error = ""
        self._complaints: tuple[str, ...] = ()
        self._busy = 0
        self._not_before = 0.0
        # All lists may take their whole time, twice, and so may nginx, of a tree whose test takes nearly a minute too.
        self.health = Health(360.0 + 8 * (settings.api_timeout + settings.reload_timeout) + settings.reconcile_interval)

    @property
    def routes_something(self) -> bool:
        """Tell whether any host is served."""
        return self._size.hosts > 0

    def run(self, signals: Signals) -> None:
        """Run a cycle every RECONCILE_INTERVAL, and at SIGHUP, until a signal stops it."""
        interval = self._settings.reconcile_interval
        scheduler = schedule.Scheduler()
        scheduler.every(interval).seconds.do(self._turn, signals)
        # So that the nodes of a cluster do not all ask at once.
        signals.wait(random.uniform(0, interval))  # noqa: S311
        scheduler.run_all()
        while not signals.stopping:
            self.health.turned()
            signals.wait(min(max(scheduler.idle_seconds or 0.0, 0.0), interval))
            _reap_orphans(getattr(self._sink, "pid", None))
            if signals.take_hang_up():
                self._not_before = 0.0
                scheduler.run_all()
            elif (scheduler.idle_seconds or 0.0) > interval:  # the clock was set back
                scheduler.run_all()
            else:
                scheduler.run_pending()

    def _turn(self, signals: Signals) -> None:
        """Run one cycle, unless it is too early for one after the last."""
        if signals.stopping or time.monotonic() < self._not_before:
            return
        try:
            with signals.interrupting():
                listing = self._read()
            self._busy = 0
            self._reconcile(listing, _Attended(self._sink, signals, self.health))
        except Stopped:
            return
        except ClusterError as error:
            self._fail(str(error))
            self._back_off(error)
        except (ArtefactError, NginxError) as error:
            self._fail(str(error))

    def _read(self) -> Listing:
        """List the cluster; where much would go that is routed, believe no cache."""
        listing = self._source.read()
        # What was read past the caches once is not read so again while nginx cannot take it.
        if listing is not self._listing and listing is not self._believed:
            routes = build_table(normalise(listing, self._settings), self._settings, time.time()).routes
            if self._size.shrinks_much(measure_routes(routes)):
                listing = self._believed = self._source.read(consistently=True)
        for complaint in set(self._source.complaints) - set(self._complaints):
            self._report.tell_warning(complaint)
        self._complaints = self._source.complaints
        return listing

    def _reconcile(self, listing: Listing, sink: Sink) -> None:
        now = time.time()
        if self._last and listing is self._listing and now < self._last.table.good_until:
            self._recover()
            return
        cycle = reconcile(listing, self._settings, sink, self._last, now)
        self.health.serve(cycle.release)
        self._recover()
        self._report.tell_live(cycle, self._last)
        if cycle.applied:
            self._not_before = time.monotonic() + self._settings.min_reload_interval
            self._size = measure_routes(cycle.table.routes)
        self._last, self._listing = cycle, listing

    def _fail(self, text: str) -> None:
        """Tell an error when its text changes, and not each time that it comes; whoever asks then finds it, too."""
        self.health.fail(text)
        if text != self._error:
            self._report.tell_error(text)
        self._error = text

    def _recover(self) -> None:
        self.health.fail("")
        if self._error:
            self._report.tell_notice("recovered: the cluster is read, and what it asks for is served")
        self._error = ""

    def _back_off(self, error: ClusterError) -> None:
        """Leave a busy API server alone: as long as it asks for, else twice as long each time, not all nodes alike."""
        if error.busy:
            doubled = min(_LONGEST_BACK_OFF, self._settings.reconcile_interval * 2.0**self._busy)
            wait = max(min(error.retry_after, _LONGEST_RETRY_AFTER), doubled * random.uniform(0.5, 1.0))  # noqa: S311
            self._not_before = time.monotonic() + wait
            self._busy = min(self._busy + 1, 10)


def _measure(former: Cycle | None) -> tuple[Cycle | None, Size]:
    """Measure what a former process left; the tree of a version with other lines counts as none."""
    with suppress(RoutesError):
        if former:
            compare({}, former.files)
            return former, measure_files(former.files)
    return None, Size(0, 0)


def _reap_orphans(own: int | None) -> None:
    """As the container's first process, reap what others left: an nginx worker whose master was killed, for one."""
    if os.getpid() != 1:
        return
    for child in find_children(1) - {own}:
        with suppress(OSError):  # another thread may have reaped it by now
            if read_state(child) == "Z":
                os.waitpid(child, os.WNOHANG)
