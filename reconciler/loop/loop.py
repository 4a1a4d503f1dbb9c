"""The loop: each turn reads a source, makes a sink serve what the source describes, and reports the result."""

from reconciler.loop.cycle import Cycle
from reconciler.loop.events import Applied, EndpointsRefused, Event, Failed, Idle, LeftOut, Recovered, Refused
from reconciler.loop.ports import Sink, SinkError, Source, SourceError, Tell
from reconciler.loop.reconcile import Plan, carry_out, make_plan
from reconciler.loop.stages import Stages
from reconciler.objects.snapshot import Snapshot


class Loop:
    """Remembers a cycle only after the sink took it. `former` is the cycle that a former process left serving."""

    def __init__(self, source: Source, sink: Sink, stages: Stages, tell: Tell, former: Cycle | None = None) -> None:
        self._source = source
        self._sink = sink
        self._stages = stages
        self._tell = tell
        self._last = former
        self._confirmed: bytes | None = None
        self._complaints: tuple[str, ...] = ()
        self._failed = False

    def turn(self, now: float) -> Event:
        """Run one cycle, report its result as an event, and return it; `now` is in seconds since the epoch."""
        try:
            event = self._run(now)
        except SourceError as error:
            event = Failed("source", str(error), error.busy, error.retry_after)
        except SinkError as error:
            event = Failed("sink", str(error), error.busy, error.retry_after)
        if isinstance(event, Failed):
            self._failed = True
        elif self._failed:
            self._failed = False
            self._tell(Recovered())
        self._tell(event)
        return event

    def _run(self, now: float) -> Event:
        last, snapshot = self._last, self._read()
        if last and last.stands_for(snapshot, now):
            return Idle(last.rest(), last)
        plan = self._confirm(make_plan(snapshot, self._stages, last, now))
        try:
            cycle = carry_out(plan, self._stages, self._sink)
        finally:
            if why := self._stages.take_refusal():
                self._tell(EndpointsRefused(why))
        self._last = cycle
        if cycle.refusal:
            self._tell(Refused(cycle.refusal, tuple(one.name for one in cycle.held)))
        return Applied(cycle, last) if cycle.applied else Idle(cycle, last)

    def _read(self, *, consistently: bool = False) -> Snapshot:
        snapshot = self._source.read(consistently=consistently)
        complaints = self._source.complaints
        if fresh := tuple(sorted(set(complaints) - set(self._complaints))):
            self._tell(LeftOut(fresh))
        self._complaints = complaints
        return snapshot

    def _confirm(self, plan: Plan) -> Plan:
        """If much would be removed, do not trust a cache: read the current state, and plan again.

        The same Snapshot is confirmed only once: it comes back each turn while it cannot be applied.
        """
        if not plan.is_sudden_loss or plan.snapshot.digest == self._confirmed:
            return plan
        snapshot = self._read(consistently=True)
        self._confirmed = snapshot.digest
        return make_plan(snapshot, self._stages, plan.last, plan.now)
