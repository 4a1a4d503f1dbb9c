"""reconcile(): one cycle, from a Snapshot to what a sink serves; the only place that names all stages."""

import math
from dataclasses import dataclass

import msgspec

from reconciler.loop.budget import Budgets, make_budgets
from reconciler.loop.cycle import NOBODYS_ROUTES, Cycle
from reconciler.loop.isolation import Held, find_changed, find_offenders, find_suspects, hold, keep_held
from reconciler.loop.ports import EndpointsError, RefusedError, Sink
from reconciler.loop.stages import Stages
from reconciler.loop.sudden_loss import is_sudden_loss
from reconciler.objects.diff import Change, diff
from reconciler.objects.snapshot import NOTHING, Snapshot
from reconciler.rendering.endpoints import STATE_FILE
from reconciler.routing.model import RoutingTable
from reconciler.values.files import Files

# If a tree passes its test but does not go live, the machine may be the cause. So it is tried again after _RETRY
# seconds, and with only _RELOADS trials: each trial may be a reload that has to time out.
_RETRY = 60.0
_TRIALS, _RELOADS = 200, 8
# For so many seconds nginx is reloaded for changes of Pods after it did not take one without that.
_RELOADING = 600.0


@dataclass(frozen=True, slots=True)
class Draft:
    """What is to be served: a Snapshot in which some Namespaces are held back, and its routing table."""

    served: Snapshot
    held: tuple[Held, ...]
    table: RoutingTable


@dataclass(frozen=True, slots=True)
class Plan:
    """What one cycle is to do. Nothing is rendered or applied yet, so that the plan can be examined and replaced."""

    snapshot: Snapshot
    changes: tuple[Change, ...]
    draft: Draft
    last: Cycle | None
    now: float

    @property
    def is_sudden_loss(self) -> bool:
        """Whether much of what is routed would be removed."""
        return self.last is not None and is_sudden_loss(self.last.size, self.draft.table.routes.size)


def reconcile(snapshot: Snapshot, stages: Stages, sink: Sink, last: Cycle | None, now: float) -> Cycle:
    """Make a sink serve what a Snapshot describes. `last` is the cycle before; `now` is in seconds since the epoch.

    There are three gates: if the digest is equal, no work is done; if the routes are equal, nothing is applied; if only
    their Pods differ, nginx is not reloaded. After a SinkError, `last` is still the last cycle. But if the sink refuses
    a tree, the Namespaces to blame are held at their last good state, and the changes of all others are applied.
    """
    if last and last.stands_for(snapshot, now):
        return last.rest()
    return carry_out(make_plan(snapshot, stages, last, now), stages, sink)


def make_plan(snapshot: Snapshot, stages: Stages, last: Cycle | None, now: float) -> Plan:
    """Plan a cycle: find what changed, which Namespaces have to wait, and which routes are to be served."""
    stages.begin(now)
    snapshot = stages.keep_last_good(last.served if last else NOTHING, snapshot, now)
    changes = diff(last.snapshot if last else None, snapshot)
    draft = _draft(snapshot, keep_held(last.held, snapshot, now) if last else (), stages, now)
    if last and draft.table.routes != last.table.routes:
        overdrawn = last.budgets.find_overdrawn(*_part(last, draft, stages), now)
        draft = _draft(snapshot, (*draft.held, *overdrawn), stages, now) if overdrawn else draft
    return Plan(snapshot, changes, draft, last, now)


def carry_out(plan: Plan, stages: Stages, sink: Sink) -> Cycle:
    """Do what a plan says."""
    budgets = _charge(plan, stages)
    try:
        return _apply(plan, plan.draft, budgets, stages, sink)
    except RefusedError as refusal:
        draft = _isolate(plan, refusal, stages, sink)
        cycle = _apply(plan, draft, budgets, stages, sink)
        return msgspec.structs.replace(cycle, refusal=str(refusal))


def _draft(snapshot: Snapshot, held: tuple[Held, ...], stages: Stages, now: float) -> Draft:
    """Build the routing table of a Snapshot in which some Namespaces are held; each of them is a problem."""
    served = hold(snapshot, held)
    table = stages.build_table(served, now)
    problems = sorted([*table.problems, *(one.problem for one in held)])
    until = min([table.good_until, *(one.until for one in held)])
    return Draft(served, held, msgspec.structs.replace(table, problems=tuple(problems), good_until=until))


def _part(last: Cycle, draft: Draft, stages: Stages) -> tuple[tuple[Held, ...], tuple[Held, ...]]:
    """Part the Namespaces that changed: those because of which nginx has to reload, and those with other Pods alone.

    If it has to reload because of what nobody asks for, it counts as everybody's.
    """
    changed = find_changed(last.served, draft.served, "", math.inf)
    if stages.has_same_structure(last.table.routes, draft.table.routes):
        return (), changed
    touched = stages.find_touched(last.table, draft.table)
    reloading = tuple(one for one in changed if touched is None or one.name in touched) or changed
    return reloading, tuple(one for one in changed if one not in reloading)


def _charge(plan: Plan, stages: Stages) -> Budgets:
    """Charge the Namespaces whose changes are applied, even if they are refused. The first cycle costs nothing."""
    last, draft = plan.last, plan.draft
    if not last:
        return make_budgets(stages.settings)
    if draft.table.routes == last.table.routes:
        return last.budgets
    return last.budgets.charge(*_part(last, draft, stages), plan.now)


def _apply(plan: Plan, draft: Draft, budgets: Budgets, stages: Stages, sink: Sink) -> Cycle:
    """Give a draft to the sink, unless its routes are those of the last release."""
    last, table = plan.last, draft.table
    if last and table.routes == last.table.routes:
        files, release, applied, size = last.files, last.release, False, last.size
    else:
        files, release = _serve(plan, draft, stages, sink)
        applied, size = True, table.routes.size
    return Cycle(plan.snapshot, plan.changes, table, files, release, applied, size, draft.held, budgets)


def _serve(plan: Plan, draft: Draft, stages: Stages, sink: Sink) -> tuple[Files, str]:
    """Render a draft and give it to the sink."""
    last, routes = plan.last, draft.table.routes
    if last and STATE_FILE in last.files and stages.has_same_structure(last.table.routes, routes):
        files = stages.render_endpoints(routes, last.files)
    else:
        files = stages.render(routes)
    return _offer(files, draft, plan.now, stages, sink)


def _offer(files: Files, draft: Draft, now: float, stages: Stages, sink: Sink) -> tuple[Files, str]:
    """Give files to the sink. If it does not take them because Pods come and go by Lua, use reloads for a while.

    Whether Lua is to blame, a tree without it shows: no tenant must be held for that.
    """
    try:
        return files, sink.apply(files, draft.served)
    except (EndpointsError, RefusedError) as error:
        if not stages.uses_lua:
            raise
        # What the sink cannot do with Pods it has told itself.
        stages.use_reloads(now, _RELOADING, "" if isinstance(error, EndpointsError) else str(error))
        files = stages.render(draft.table.routes)
        try:
            return files, sink.apply(files, draft.served)
        except RefusedError:
            if isinstance(error, EndpointsError):
                raise
            stages.use_lua()
            raise error from None


def _isolate(plan: Plan, refusal: RefusedError, stages: Stages, sink: Sink) -> Draft:
    """Hold the Namespaces that are to blame for a refusal. If no change is to blame, raise the refusal."""
    last, draft = plan.last, plan.draft

    def try_holding(also: tuple[Held, ...]) -> bool:
        trial = _draft(plan.snapshot, (*draft.held, *also), stages, plan.now)
        return _is_taken(trial, plan.now, refusal.tested, stages, sink)

    is_first = not (last and last.release)
    if is_first and not refusal.tested:
        raise refusal
    # The messages of a running nginx quote clients, so a client could make any Namespace a suspect.
    files = stages.render(draft.table.routes)
    suspects = find_suspects(str(refusal), files, draft.table.routes) if refusal.tested else frozenset[str]()
    retry = plan.now + _RETRY
    until = math.inf if refusal.tested else retry
    changed = find_changed(last.served if last else NOTHING, draft.served, str(refusal), until)
    if refusal.tested and not (last and try_holding(changed)):
        if not is_first:
            raise refusal
        # What a former process served may not work with the settings and the nginx of this process. If even a tree
        # without tenants is refused, the settings are to blame.
        sink.check(stages.render(NOBODYS_ROUTES))
        changed = find_changed(NOTHING, draft.served, str(refusal), math.inf)
    offenders = find_offenders(changed, suspects, _TRIALS if refusal.tested else _RELOADS, retry, try_holding)
    return _draft(plan.snapshot, (*draft.held, *offenders), stages, plan.now)


def _is_taken(draft: Draft, now: float, tested: bool, stages: Stages, sink: Sink) -> bool:
    """Try a draft: if the sink's test refused a tree (`tested`), by this test alone, else by applying the draft."""
    files = stages.render(draft.table.routes)
    try:
        if tested:
            sink.check(files)
        else:
            _offer(files, draft, now, stages, sink)
    except RefusedError:
        return False
    return True
