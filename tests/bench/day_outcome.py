"""What a day took: processor time, reloads, memory, the waits of Pods and the lost requests, in words too."""

from collections import Counter
from collections.abc import Iterator
from typing import Self

from deployments import Cause, ChangeKind
from lags import describe

from reconciler.values.value import Value


class Spent(Value, frozen=True):
    """Seconds of processor time: of the daemon, of its ended children, which test trees, and of all of nginx.

    Also how many requests were sent so far, and when this was read.
    """

    daemon: float
    tested: float
    nginx: float
    requests: int
    moment: float

    def __sub__(self, early: Self) -> "Spent":
        return Spent(*(getattr(self, name) - getattr(early, name) for name in self.__struct_fields__))


class Outcome(Value, frozen=True):
    """What a day took.

    `changes` counts what was written to the API server, `reloads` is the daemon's own count, and `workers` counts those
    of nginx that were seen, from all releases. `rest` was spent before the first change, `day` from then on. `waits`
    are the seconds from the moment at which the API server held a Pod as ready until a request reached it; `unseen`
    counts Pods that went before one did. `lost` counts requests by kind. `nginx` is the most memory of nginx's master
    and all workers, those of former releases too, and `memory` the most of the daemon, both in MB.
    """

    steps: int
    changes: Counter[tuple[Cause, ChangeKind]]
    reloads: int
    workers: int
    rest: Spent
    day: Spent
    waits: tuple[float, ...]
    unseen: int
    lost: Counter[str]
    nginx: float
    memory: float

    @property
    def beyond(self) -> tuple[float, float, float]:
        """Seconds of the daemon, of tests and of nginx beyond what the same time and requests take at rest."""
        rest, day = self.rest, self.day
        daemon = day.daemon - rest.daemon * day.moment / rest.moment
        return daemon, day.tested, day.nginx - rest.nginx * day.requests / rest.requests

    def describe(self) -> Iterator[str]:
        """Describe the outcome, line by line."""
        day, causes = self.day, Counter[str]()
        for (cause, _), number in self.changes.items():
            causes[cause.value] += number
        yield f"{self.steps} steps, {self.changes.total():,} changes ({_list(causes)}), {self.reloads} reloads"
        yield f"Pod ready to first request ({len(self.waits)} Pods, {self.unseen} never): {describe(self.waits)}"
        yield f"lost {self.lost.total()} of {day.requests:,} requests: {_list(self.lost) or 'none'}"
        totals = day.daemon, day.tested, day.nginx
        for name, total, beyond in zip(("daemon", "nginx -t", "nginx"), totals, self.beyond, strict=True):
            share = 1000 * beyond / self.changes.total()
            yield f"{name}: {total:.1f} s; {share:.2f} ms a change beyond what rest takes"
        yield f"most memory: daemon {self.memory:.0f} MB, nginx {self.nginx:.0f} MB"


def _list(counted: Counter[str]) -> str:
    return ", ".join(f"{number:,} {name}" for name, number in sorted(counted.items()))
