"""reconcile(): one cycle, the only place that names all stages."""

from typing import Protocol

from reconciler.diff import Change, diff
from reconciler.files import Files
from reconciler.listing import Listing
from reconciler.render import render
from reconciler.routing import RoutingTable, build_table
from reconciler.settings import Settings
from reconciler.snapshot import Snapshot, normalise
from reconciler.values import Value


class Sink(Protocol):
    """Where a tree goes."""

    def apply(self, files: Files) -> str:
        """Take a tree and give its release's name; an error leaves the last tree in place."""


class Cycle(Value, frozen=True):
    """What one cycle saw and did; not `applied`: no route changed, and the last release stays."""

    snapshot: Snapshot
    changes: tuple[Change, ...]
    table: RoutingTable
    files: Files
    release: str
    applied: bool


def reconcile(listing: Listing, settings: Settings, sink: Sink, last: Cycle | None, now: float) -> Cycle:
    """Bring a sink to what a Listing asks for; `last` is the cycle before, `now` in seconds since the epoch.

    Two gates: an equal digest saves the work, equal routes save the release. The sink's error goes through, and then
    `last` is still the last cycle.
    """
    snapshot = normalise(listing, settings)
    if last and snapshot.digest == last.snapshot.digest and now < last.table.good_until:
        return Cycle(last.snapshot, (), last.table, last.files, last.release, applied=False)
    changes = diff(last.snapshot if last else None, snapshot)
    table = build_table(snapshot, settings, now)
    if last and table.routes == last.table.routes:
        return Cycle(snapshot, changes, table, last.files, last.release, applied=False)
    files = render(table.routes, settings)
    return Cycle(snapshot, changes, table, files, sink.apply(files), applied=True)
