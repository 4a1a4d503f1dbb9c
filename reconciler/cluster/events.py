"""The observer that tells problems as Kubernetes Events, for who can mend them and does not see the log.

It notes what stands, and a thread of its own writes: nothing that an API server does makes the loop wait.
"""

import threading
import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from random import Random

from reconciler.cluster.event_agenda import MOST, Agenda, Entry
from reconciler.cluster.event_pace import Pace
from reconciler.cluster.event_writer import EventWriter, Written
from reconciler.cluster.kubernetes_events import KubernetesEvent, make_events
from reconciler.loop import events
from reconciler.loop.events import Event, Reported
from reconciler.loop.ports import Tell
from reconciler.objects.listing import Listing
from reconciler.objects.snapshot import Resource
from reconciler.routing.problems import Problem

_LONGEST_WAIT = 60.0
_LAST_WAIT = 1.0  # for the end of the thread: if it is inside a request, it ends with the process


class EventReporter:
    """Tells the problems of the last cycle. `see` gets each Listing, because a Snapshot has no uids."""

    def __init__(self, writer: EventWriter, random: Random) -> None:
        self._writer = writer
        self._agenda = Agenda(random)
        self._pace = Pace()
        self._listing = Listing()
        self._problems: tuple[Problem, ...] | None = None
        # One place: what stands now is all that counts, so newer news replaces news that was not read yet.
        self._news = deque[tuple[tuple[Problem, ...], Listing]](maxlen=1)
        self._woken = threading.Event()
        self._over = False
        self._too_many = 0
        self._tell: Tell = lambda _: None

    def see(self, listing: Listing) -> None:
        """Note the objects that were read."""
        self._listing = listing

    def observe(self, event: Event) -> None:
        """Note the problems of a cycle, if they may differ from the last one's."""
        match event:
            case events.Applied() | events.Idle() if event.cycle.table.problems is not self._problems:
                self._problems = event.cycle.table.problems
                self._news.append((self._problems, self._listing))
                self._woken.set()

    @contextmanager
    def running(self, tell: Tell) -> Iterator[None]:
        """Write in a thread while the block runs. `tell` gets an event for each write."""
        self._tell = tell
        thread = threading.Thread(target=self._run, name="events", daemon=True)
        thread.start()
        try:
            yield
        finally:
            self._over = True
            self._woken.set()
            thread.join(_LAST_WAIT)

    def turn(self, now: float, wall: float) -> float:
        """Write one Event if one is due, and give the seconds to wait for the next turn.

        `now` is in monotonic seconds; `wall` is in seconds since the epoch.
        """
        while self._news:
            self._take(*self._news.popleft(), now)
        ready = self._pace.find_ready(now)
        if ready > now:
            return ready - now
        entry = self._agenda.find_due(now)
        if not entry:
            return min(_LONGEST_WAIT, max(0.0, self._agenda.find_next() - now))
        self._pace.spend(now)
        answer = self._write(entry, wall)
        self._pace.note(answer.outcome, answer.retry_after, now)
        self._agenda.settle(entry, answer, now, wall)
        self._tell(Reported(answer.outcome, answer.why))
        return 0.0

    def _run(self) -> None:
        while not self._over:
            wait = self.turn(time.monotonic(), time.time())
            self._woken.wait(wait)
            self._woken.clear()

    def _take(self, problems: tuple[Problem, ...], listing: Listing, now: float) -> None:
        uids = _list_uids(listing)

        def exists(event: KubernetesEvent) -> bool:
            return event.resource in uids and event.uid in ("", uids[event.resource])

        standing = make_events(problems, uids)
        too_many = self._agenda.replace(standing, exists, self._pace.interval, now)
        if too_many and not self._too_many:
            why = f"more than {MOST} problems stand: {too_many} of them are not told as Kubernetes Events"
            self._tell(Reported("dropped", why))
        self._too_many = too_many

    def _write(self, entry: Entry, wall: float) -> Written:
        if not entry.told:
            return self._writer.create(entry.event, wall)
        if not entry.version:
            return self._writer.look(entry.event)
        return self._writer.renew(entry.event, entry.version, entry.count, wall)


def _list_uids(listing: Listing) -> dict[Resource, str]:
    """List the uids of Namespaces and Pods; an object without one has an empty one."""
    uids = {Resource("Namespace", "", one.metadata.name): one.metadata.uid or "" for one in listing.namespaces}
    for pod in listing.pods:
        uids[Resource("Pod", pod.metadata.namespace or "", pod.metadata.name)] = pod.metadata.uid or ""
    return uids
