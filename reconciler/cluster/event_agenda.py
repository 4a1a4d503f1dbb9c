"""The agenda of a router: which Kubernetes Events are to be written, renewed or ended, and when."""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from random import Random

from reconciler.cluster.event_pace import SHORTEST, Bucket
from reconciler.cluster.event_writer import Written
from reconciler.cluster.kubernetes_events import KubernetesEvent

MOST, MOST_OF_A_NAMESPACE = 2000, 20
# An Event is renewed when its last time is older, by whichever router. The API server forgets Events after an hour,
# unless its --event-ttl says otherwise.
RENEWAL = 600.0
# A router that was slower than another one looks later the next time, but within the hour.
_MOST_LOSSES = 2
_START = 30.0  # seconds over which the routers of a cluster that start together spread their first writes
_LATER = 3600.0
_FAILURE = 60.0
# New Events of one Namespace: so many at once, then one a minute. A tenant that changes its mistakes all the time
# neither fills the API server's memory nor delays the Events of others.
_TENANTS_INTERVAL = 60.0


@dataclass(slots=True)
class Entry:
    """An Event that stands, or the end of one. It is to be looked after at the time `due`, in monotonic seconds.

    If it is `told`, the API server has it: with this `version` and `count`, or with an empty version if another router
    wrote it. `losses` counts how often another router was faster. `early`: it came after this router's start.
    """

    event: KubernetesEvent
    due: float
    early: bool
    told: bool = False
    version: str = ""
    count: int = 0
    losses: int = 0


class Agenda:
    """Holds an entry for each Event. All times are monotonic seconds, but for `wall`, which is since the epoch."""

    def __init__(self, random: Random) -> None:
        self._random = random
        self._entries: dict[KubernetesEvent, Entry] = {}
        self._budgets: dict[str, Bucket] = {}
        self._paused: dict[str, float] = {}
        self._started = False

    def replace(
        self, standing: list[KubernetesEvent], exists: Callable[[KubernetesEvent], bool], interval: float, now: float
    ) -> int:
        """Take the Events that stand now, and give how many of them are too many.

        New ones are due within `interval` seconds, in random order; at the start, after up to 30 seconds. What was told
        and stands no more is to be told as mended, if its object still `exists`.
        """
        limited = list(_limit(standing))
        wanted = dict.fromkeys(limited[:MOST])
        for event in [event for event in self._entries if event not in wanted and not event.mended]:
            if self._entries.pop(event).told and exists(event):
                self._add(event.mend(), interval, now)
        begin = now if self._started else now + self._random.uniform(0, _START)
        for event in wanted:
            self._entries.pop(event.mend(), None)
            if event not in self._entries:
                self._add(event, interval, begin)
        self._started = True
        return len(limited) - len(wanted)

    def find_due(self, now: float) -> Entry | None:
        """Find what is to be written now: first what was never told, and of that what came after the start."""
        due = (entry for entry in self._entries.values() if entry.due <= now)
        for entry in sorted(due, key=lambda entry: (entry.told, not entry.early, entry.due)):
            ready = self._find_ready(entry, now)
            if ready <= now:
                return entry
            entry.due = ready
        return None

    def find_next(self) -> float:
        """Give the time at which something is due next, infinite if nothing is."""
        return min((entry.due for entry in self._entries.values()), default=float("inf"))

    def settle(self, entry: Entry, answer: Written, now: float, wall: float) -> None:
        """Take account of the answer to a write."""
        if not entry.told and answer.outcome in ("created", "exists"):
            self._find_budget(entry, now).take(now)
        match answer.outcome:
            case "created" | "renewed":
                self._learn(entry, answer, RENEWAL + self._random.uniform(0, RENEWAL / 10), now)
                entry.losses = 0
            case "exists":
                # Somebody told it: now, or long ago if the problem came back. To know, this router has to look.
                soon, late = (10, 60) if entry.early else (RENEWAL / 2, RENEWAL)
                self._learn(entry, answer, self._random.uniform(soon, late), now)
                return
            case "seen":
                age = max(0.0, wall - answer.last)
                self._learn(entry, answer, 0.0 if age >= RENEWAL else self._lose(entry) - age, now)
                if age >= RENEWAL:
                    return
            case "stale":
                self._learn(entry, answer, self._lose(entry), now)
            case "gone":
                entry.told, entry.version, entry.due = False, "", now + self._random.uniform(0, SHORTEST)
                return
            case "refused":
                entry.due = now + _LATER
            case "denied":
                self._pause(entry.event.place, now + _LATER, now)
                return
            case _:  # failed: the cause may be of this place alone, such as a limit or a webhook for one Namespace
                self._pause(entry.event.place, now + max(_FAILURE, answer.retry_after), now)
                return
        if entry.event.mended:
            self._entries.pop(entry.event, None)

    def _pause(self, place: str, until: float, now: float) -> None:
        """Write nothing more in a Namespace until that time."""
        self._paused = {name: end for name, end in self._paused.items() if end > now}
        self._paused[place] = until

    def _add(self, event: KubernetesEvent, spread: float, now: float) -> None:
        self._entries[event] = Entry(event, now + self._random.uniform(0, spread), self._started)

    def _learn(self, entry: Entry, answer: Written, pause: float, now: float) -> None:
        entry.told, entry.version, entry.count, entry.due = True, answer.version, answer.count, now + pause

    def _lose(self, entry: Entry) -> float:
        """Count that another router was faster, and give the seconds after which this one tries next."""
        pause = RENEWAL + self._random.uniform(0, RENEWAL) * 2.0**entry.losses
        entry.losses = min(entry.losses + 1, _MOST_LOSSES)
        return pause

    def _find_ready(self, entry: Entry, now: float) -> float:
        budget = now if entry.told else self._find_budget(entry, now).find_ready(now)
        return max(budget, self._paused.get(entry.event.place, now))

    def _find_budget(self, entry: Entry, now: float) -> Bucket:
        """Find the budget of a tenant; forget those that are full again when there are many."""
        if len(self._budgets) > MOST:
            self._budgets = {name: one for name, one in self._budgets.items() if not one.is_full(now)}
        return self._budgets.setdefault(entry.event.tenant, Bucket(MOST_OF_A_NAMESPACE, _TENANTS_INTERVAL))


def _limit(events: Iterable[KubernetesEvent]) -> Iterator[KubernetesEvent]:
    """Keep the first Events of each Namespace: a tenant must not fill the API server's store."""
    told = Counter[str]()
    for event in events:
        told[event.tenant] += 1
        if told[event.tenant] <= MOST_OF_A_NAMESPACE:
            yield event
