"""What the phases of a cycle take. The loop has no clock: its source, stages and sink are measured from outside."""

import time
from collections.abc import Iterator
from contextlib import contextmanager

from reconciler.loop.ports import Sink, Source
from reconciler.loop.stages import Stages
from reconciler.objects.snapshot import Snapshot
from reconciler.routing.model import Routes, RoutingTable
from reconciler.settings import Settings
from reconciler.values.files import Files


class Stopwatch:
    """Adds up the seconds of each phase until they are taken."""

    def __init__(self) -> None:
        self._seconds: dict[str, float] = {}

    @contextmanager
    def measure(self, phase: str) -> Iterator[None]:
        """Add what the block takes to a phase."""
        begun = time.perf_counter()
        try:
            yield
        finally:
            self._seconds[phase] = self._seconds.get(phase, 0.0) + time.perf_counter() - begun

    def take(self) -> tuple[tuple[str, float], ...]:
        """Give the phases that were measured since the last call, with their seconds."""
        taken, self._seconds = tuple(self._seconds.items()), {}
        return taken


class TimedSource:
    """A source whose reading is measured."""

    def __init__(self, source: Source, stopwatch: Stopwatch) -> None:
        self._source = source
        self._stopwatch = stopwatch

    @property
    def complaints(self) -> tuple[str, ...]:
        """What the last reading left out."""
        return self._source.complaints

    def read(self, *, consistently: bool = False) -> Snapshot:
        """Read a Snapshot."""
        with self._stopwatch.measure("read"):
            return self._source.read(consistently=consistently)


class TimedStages(Stages):
    """Stages that are measured: what reads objects and builds tables as "plan", what writes trees as "render"."""

    def __init__(self, settings: Settings, stopwatch: Stopwatch) -> None:
        super().__init__(settings)
        self._stopwatch = stopwatch

    def keep_last_good(self, served: Snapshot, snapshot: Snapshot, now: float) -> Snapshot:
        """Give a Snapshot as it is to be read, after `served` was."""
        with self._stopwatch.measure("plan"):
            return super().keep_last_good(served, snapshot, now)

    def build_table(self, snapshot: Snapshot, now: float) -> RoutingTable:
        """Build the routing table of a Snapshot."""
        with self._stopwatch.measure("plan"):
            return super().build_table(snapshot, now)

    def render(self, routes: Routes) -> Files:
        """Render the tree of a table's routes."""
        with self._stopwatch.measure("render"):
            return super().render(routes)

    def render_endpoints(self, routes: Routes, files: Files) -> Files:
        """Render the tree of routes whose structure is that of another tree."""
        with self._stopwatch.measure("render"):
            return super().render_endpoints(routes, files)


class TimedSink:
    """A sink whose work is measured."""

    def __init__(self, sink: Sink, stopwatch: Stopwatch) -> None:
        self._sink = sink
        self._stopwatch = stopwatch

    def apply(self, files: Files, snapshot: Snapshot) -> str:
        """Pass a tree to the sink."""
        with self._stopwatch.measure("apply"):
            return self._sink.apply(files, snapshot)

    def check(self, files: Files) -> None:
        """Let the sink test a tree."""
        with self._stopwatch.measure("apply"):
            self._sink.check(files)
