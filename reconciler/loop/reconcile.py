"""reconcile(): one cycle, the only place that names all stages."""

import math
from typing import Protocol

import msgspec

from reconciler.loop.budget import Budget
from reconciler.loop.isolation import Held, find_changed, find_offenders, find_suspects, hold, keep_held
from reconciler.nginx.program import RefusedError
from reconciler.objects.diff import Change, diff
from reconciler.objects.listing import Listing
from reconciler.objects.snapshot import NOTHING, Snapshot, normalise
from reconciler.rendering.tree import render
from reconciler.routing.table import Host, Routes, RoutingTable, build_table
from reconciler.settings import Settings
from reconciler.values.files import Files
from reconciler.values.value import Value

# Routes that are nobody's: a host of no Namespace.
_SOMETHING = Routes((Host("dispatcher.invalid", (), "", None, ()),), (), (), 512)
# A tree that passes its test and yet does not go live may fail for the machine's sake, so it is tried again, in
# seconds, and there are few trials of it: each of them is a reload that has to time out.
_RETRY = 60.0
_TRIALS, _RELOADS = 200, 8


class Sink(Protocol):
    """Where a tree goes."""

    def apply(self, files: Files, snapshot: Snapshot) -> str:
        """Take a tree, and the Snapshot that it was made of, and give its release's name.

        An error leaves the last tree in place.
        """

    def check(self, files: Files) -> None:
        """Test a tree and leave everything as it is. RefusedError where nginx refuses it."""


class Cycle(Value, frozen=True):
    """What one cycle saw and did; not `applied`: no route changed, and the last release stays."""

    snapshot: Snapshot
    changes: tuple[Change, ...]
    table: RoutingTable
    files: Files
    release: str
    applied: bool
    held: tuple[Held, ...] = ()
    budget: Budget = Budget(0)


def recall(snapshot: Snapshot, files: Files, settings: Settings) -> Cycle:
    """Make the cycle to go on from where a former process left these serving; the next one applies in any case."""
    former = msgspec.structs.replace(snapshot, digest=b"")
    return Cycle(former, (), RoutingTable(_SOMETHING, (), -math.inf), files, "", True, (), Budget(settings.max_changes))


def reconcile(listing: Listing, settings: Settings, sink: Sink, last: Cycle | None, now: float) -> Cycle:
    """Bring a sink to what a Listing asks for; `last` is the cycle before, `now` in seconds since the epoch.

    Two gates: an equal digest saves the work, equal routes save the release. The sink's error goes through, and then
    `last` is still the last cycle; but where nginx refuses a tree, the Namespaces to blame are held at their last good
    state, and everyone else's change goes live.
    """
    snapshot = normalise(listing, settings)
    if last and snapshot.digest == last.snapshot.digest and now < last.table.good_until:
        return msgspec.structs.replace(last, changes=(), applied=False)
    changes = diff(last.snapshot if last else None, snapshot)
    wish = _Wish(snapshot, keep_held(last.held, snapshot, now) if last else (), settings, now)
    if last and wish.build_table().routes != last.table.routes:
        wish = wish.holding(last.budget.find_overdrawn(wish.find_changed(last), now))
    table = wish.build_table()
    if last and table.routes == last.table.routes:
        return Cycle(snapshot, changes, table, last.files, last.release, False, wish.held, last.budget)
    files = render(table.routes, settings)
    budget = wish.pay(last)  # who is refused has had a turn, too
    try:
        return Cycle(snapshot, changes, table, files, sink.apply(files, wish.served), True, wish.held, budget)
    except RefusedError as refusal:
        # What a running nginx says quotes clients, who could have anyone suspected.
        suspects = find_suspects(str(refusal), files, table.routes) if refusal.tested else frozenset()
        wish = _isolate(wish, refusal, suspects, sink, last)
    table = wish.build_table()
    if last and table.routes == last.table.routes:
        return Cycle(snapshot, changes, table, last.files, last.release, False, wish.held, budget)
    files = render(table.routes, settings)
    return Cycle(snapshot, changes, table, files, sink.apply(files, wish.served), True, wish.held, budget)


class _Wish(Value, frozen=True):
    """What shall be served: a Snapshot, but for the Namespaces that are held."""

    snapshot: Snapshot
    held: tuple[Held, ...]
    settings: Settings
    now: float

    @property
    def served(self) -> Snapshot:
        """What is served of the Snapshot, or in its Namespaces' places."""
        return hold(self.snapshot, self.held)

    def holding(self, also: tuple[Held, ...]) -> "_Wish":
        """Wish the same, with more of the Namespaces held."""
        return msgspec.structs.replace(self, held=(*self.held, *also))

    def find_changed(self, last: Cycle | None, why: str = "", until: float = math.inf) -> tuple[Held, ...]:
        """List the Namespaces that would change what is served, each as if it were to be held."""
        before = hold(last.snapshot, last.held) if last else NOTHING
        return find_changed(before, self.served, why, until)

    def pay(self, last: Cycle | None) -> Budget:
        """Charge the budget for what goes live; what the first cycle finds costs nothing."""
        if not last:
            return Budget(self.settings.max_changes)
        return last.budget.charge(self.find_changed(last), self.now)

    def build_table(self) -> RoutingTable:
        """Build its routing table: each held Namespace is a problem there."""
        table = build_table(self.served, self.settings, self.now)
        problems = sorted([*table.problems, *(one.problem for one in self.held)])
        until = min([table.good_until, *(one.until for one in self.held)])
        return RoutingTable(table.routes, tuple(problems), until)

    def render(self) -> Files:
        """Render its tree."""
        return render(self.build_table().routes, self.settings)


def _isolate(wish: _Wish, refusal: RefusedError, suspects: frozenset[str], sink: Sink, last: Cycle | None) -> _Wish:
    """Hold the Namespaces for whose sake nginx refuses a tree; where nobody's change is to blame the refusal stands."""

    def works(also: tuple[Held, ...]) -> bool:
        trial = wish.holding(also)
        try:
            if refusal.tested:
                sink.check(trial.render())
            else:
                sink.apply(trial.render(), trial.served)
        except RefusedError:
            return False
        return True

    retry = wish.now + _RETRY
    changed = wish.find_changed(last, str(refusal), math.inf if refusal.tested else retry)
    first = not (last and last.release)
    if first and not refusal.tested:
        raise refusal
    if refusal.tested and not (last and works(changed)):
        if not first:
            raise refusal
        # What a former process served need not be good with this one's settings and nginx.
        sink.check(render(_SOMETHING, wish.settings))  # which is refused where the settings are to blame
        changed = wish.find_changed(None, str(refusal))
    trials = _TRIALS if refusal.tested else _RELOADS
    return wish.holding(find_offenders(changed, suspects, trials, retry, works))
