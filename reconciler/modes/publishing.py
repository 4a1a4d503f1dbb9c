"""The turns of a publisher: stand by, or turn a loop over what the Publisher publishes, and confirm it."""

import time
from collections.abc import Callable

from reconciler.cluster.lease import Election
from reconciler.cluster.publisher import Publisher
from reconciler.cluster.stored import StoreError
from reconciler.loop.budget import make_budgets
from reconciler.loop.cycle import Cycle, recall_snapshot
from reconciler.loop.events import Applied, Elected, Event, Failed, Idle, LeftOut, Recovered, StoodBy
from reconciler.loop.loop import Loop
from reconciler.loop.ports import SinkError, Tell
from reconciler.loop.stages import Stages
from reconciler.objects.snapshot import Snapshot

# A change that changes no route, such as a new problem, is published only after this many seconds: each one costs every
# router a request.
_PAUSE = 10.0


def recall_published(snapshot: Snapshot | None, stages: Stages, now: float) -> Cycle | None:
    """Make the cycle from which a publisher's loop goes on after what is published, if anything is."""
    if snapshot is None:
        return None
    routes = stages.build_table(snapshot, now).routes
    return recall_snapshot(snapshot, routes.size, make_budgets(stages.settings), stages.render(routes))


class Publishing:
    """Turns like a loop. `make_loop` makes one that goes on, now, from what is published, if anything is.

    `clock` is monotonic, in seconds.
    """

    def __init__(
        self,
        election: Election,
        publisher: Publisher,
        tell: Tell,
        make_loop: Callable[[Snapshot | None, float], Loop],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._election = election
        self._publisher = publisher
        self._tell = tell
        self._make_loop = make_loop
        self._clock = clock
        self._loop: Loop | None = None
        self._published_at = 0.0
        self._failed = False
        self._blind = ""

    def turn(self, now: float) -> Event:
        """Run one cycle if this publisher has the Lease, and give its result; `now` is in seconds since the epoch."""
        try:
            event = self._turn(now)
        except (StoreError, SinkError) as error:
            event = Failed("sink", str(error), error.busy, error.retry_after)
            self._failed = True
            self._tell(event)
        else:
            if self._failed and not isinstance(event, Failed):
                self._failed = False
                self._tell(Recovered())
        if self._loop and self._publisher.is_lost:
            # Somebody else has published. Who may publish is asked again, and what is published is read again.
            self._loop = None
            self._election.doubt()
        return event

    def _turn(self, now: float) -> Event:
        if not self._election.stand():
            return self._stand_by()
        loop = self._loop or self._begin(now)
        event = loop.turn(now)
        if isinstance(event, Applied | Idle):
            self._keep_published(event)
            if not self._publisher.is_lost:
                self._election.renew()
        return event

    def _stand_by(self) -> Event:
        self._loop = None
        event = StoodBy(self._election.holder)
        self._tell(event)
        return event

    def _begin(self, now: float) -> Loop:
        """Make the loop that goes on from what is published. The next cycle publishes in any case.

        So the pointer has a new resourceVersion, and a publisher that had the Lease before cannot write it any more.
        """
        snapshot = self._publisher.resume()
        self._tell(Elected())
        self._loop = self._make_loop(snapshot, now)
        return self._loop

    def _keep_published(self, event: Applied | Idle) -> None:
        """Publish what the cycle serves, if it is not published, or not any more."""
        now, served = self._clock(), event.cycle.served
        if isinstance(event, Applied):
            self._published_at = now
        changed = now - self._published_at >= _PAUSE and not self._publisher.holds(served)
        if self._inspect() or (changed and not self._publisher.is_lost):
            self._publisher.apply({}, served)
            self._published_at = now

    def _inspect(self) -> bool:
        """Look at what is stored, and tell whether it has to be published again. What keeps it from looking is told."""
        try:
            again = self._publisher.inspect()
        except StoreError as error:
            failure = f"what is stored cannot be looked at: {error}"
            if failure != self._blind:
                self._tell(LeftOut((failure,)))
            self._blind = failure
            return False
        self._blind = self._blind if again is None else ""
        return bool(again)
