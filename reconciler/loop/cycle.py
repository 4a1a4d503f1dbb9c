"""Cycle: what one cycle of the loop saw and did."""

import math

import msgspec

from reconciler.loop.budget import Budgets
from reconciler.loop.isolation import Held, hold
from reconciler.objects.diff import Change
from reconciler.objects.snapshot import Snapshot
from reconciler.rendering.comparison import compare
from reconciler.rendering.routes_file import RoutesError, measure_files
from reconciler.routing.model import Host, Routes, RoutingTable, Size
from reconciler.values.files import Files
from reconciler.values.value import Value

# These routes have a host that belongs to no Namespace, so they never equal the routes of tenants.
NOBODYS_ROUTES = Routes((Host("dispatcher.invalid", (), "", None, ()),), (), (), 512)


class Cycle(Value, frozen=True):
    """What one cycle saw and did. If it is not `applied`, no route changed and the last release stays.

    `size` is how much is routed; `refusal` is nginx's message if nginx refused the first tree that was tried.
    """

    snapshot: Snapshot
    changes: tuple[Change, ...]
    table: RoutingTable
    files: Files
    release: str
    applied: bool
    size: Size
    held: tuple[Held, ...] = ()
    budgets: Budgets = Budgets()
    refusal: str = ""

    @property
    def served(self) -> Snapshot:
        """The Snapshot that is served: each held Namespace is in its last good state."""
        return hold(self.snapshot, self.held)

    def is_without_reload(self, last: "Cycle | None") -> bool:
        """Tell whether nginx took what this cycle applied without a reload: it still serves the last one's release."""
        return self.applied and last is not None and self.release == last.release

    def stands_for(self, snapshot: Snapshot, now: float) -> bool:
        """Tell whether a cycle over a Snapshot would come to the same result; `now` is in seconds since the epoch."""
        return snapshot.digest == self.snapshot.digest and now < self.table.good_until

    def rest(self) -> "Cycle":
        """Give the cycle that follows this one if there is nothing to do."""
        return msgspec.structs.replace(self, changes=(), applied=False, refusal="")


def recall(snapshot: Snapshot, files: Files, budgets: Budgets) -> Cycle | None:
    """Make the cycle from which the loop continues, if a former process left these files serving.

    The next cycle applies in any case. None if another version of this program made the files: they cannot be compared.
    """
    try:
        compare({}, files)
        size = measure_files(files)
    except RoutesError:
        return None
    return recall_snapshot(snapshot, size, budgets, files)


def recall_snapshot(snapshot: Snapshot, size: Size, budgets: Budgets, files: Files) -> Cycle:
    """Make the cycle from which the loop continues after a Snapshot; the next cycle applies in any case."""
    former = msgspec.structs.replace(snapshot, digest=b"")
    table = RoutingTable(NOBODYS_ROUTES, (), -math.inf)
    return Cycle(former, (), table, files, "", applied=True, size=size, budgets=budgets)
