"""A day of a cluster that is never quiet, as steps: each has the changes between two looks of a daemon at the cluster.

The day is compressed. A step may stand for much more than an interval: a plan with 120 steps has all the updates and
all the scaling of a day, without the idle time between them. What Pods take to start, to end and to crash is not
compressed, so crash loops are as long as the steps.
"""

from collections.abc import Iterator
from functools import partial
from itertools import chain
from math import cos, pi
from random import Random

import msgspec
from clusters import PATHS_A_NAMESPACE, PODS_A_NAMESPACE
from deployments import Cause, ChangeKind, DayChange, Deployment, PodTimes

from reconciler.values.value import Value

NIGHT = PODS_A_NAMESPACE // PATHS_A_NAMESPACE  # the Pods of each application when the day begins and ends


class DayPlan(Value, frozen=True):
    """What happens in a day of `steps` steps to a cluster that has `pods` Pods at its beginning; `seed` decides when.

    There are `updates` rolling updates, each of another Deployment. Of these Deployments, `scaled` grow to `peak` Pods
    by noon and shrink again. Further `crashing` Deployments have a Pod that crashes. `hosts` times a Namespace gets a
    further host, and `paths` times an update brings a further path.
    """

    pods: int
    steps: int = 120
    updates: int = 200
    scaled: int = 60
    peak: int = 8
    crashing: int = 10
    hosts: int = 1
    paths: int = 1
    seed: int = 1
    times: PodTimes = PodTimes()


class Day:
    """The steps of a day, each once. `deployments` are as after the last step that was taken."""

    def __init__(self, plan: DayPlan) -> None:
        self.plan = plan
        self._random = Random(plan.seed)
        apps = self._random.sample(range(plan.pods // NIGHT), plan.updates + plan.crashing)
        self.deployments = [self._make(app, place < plan.scaled) for place, app in enumerate(apps)]
        self._updates = self._spread(plan.updates)
        self._crashes = self._spread(plan.crashing)
        self._hosts = self._spread(plan.hosts)

    def __iter__(self) -> Iterator[tuple[DayChange, ...]]:
        for now in range(self.plan.steps):
            self._begin(now)
            active = [one for one in self.deployments if one.is_due(now)]
            self._random.shuffle(active)
            yield (*self._add_hosts(now), *chain.from_iterable(one.advance(now) for one in active))

    @property
    def crashing(self) -> frozenset[int]:
        """The applications that have a Pod that crashes."""
        return frozenset(one.app for one in self.deployments[self.plan.updates :])

    def _make(self, app: int, scaled: bool) -> Deployment:
        random = Random(f"{self.plan.seed} {app}")
        size = partial(_follow_the_sun, self.plan, random.random()) if scaled else lambda now: NIGHT
        return Deployment(app, size, random, self.plan.times)

    def _spread(self, number: int) -> list[int]:
        """Choose steps at random, so early that the last update can end."""
        return [self._random.randrange(self.plan.steps * 4 // 5) for _ in range(number)]

    def _begin(self, now: int) -> None:
        """Begin the updates and the crash loops of this step."""
        for place, step in enumerate(self._updates):
            if step == now:
                self.deployments[place].update(now, f"/more-{place}" if place < self.plan.paths else "")
        for deployment, step in zip(self.deployments[self.plan.updates :], self._crashes, strict=True):
            if step == now:
                deployment.begin_to_crash(now)

    def _add_hosts(self, now: int) -> Iterator[DayChange]:
        for place, step in enumerate(self._hosts):
            if step == now:
                yield DayChange(ChangeKind.HOST, Cause.CONFIGURATION, self.deployments[place].app)


def count_busy_intervals(plan: DayPlan, intervals: int) -> int:
    """Count the intervals of an uncompressed day, of `intervals`, in which requests begin to go elsewhere."""
    return sum(any(change.routed for change in step) for step in Day(msgspec.structs.replace(plan, steps=intervals)))


def _follow_the_sun(plan: DayPlan, late: float, now: int) -> int:
    """Give the replicas of a Deployment: few at both ends of the day, `peak` at noon or up to a tenth later."""
    passed = max(now / plan.steps - late / 10, 0) / 0.9 if now < plan.steps else 1
    return NIGHT + round((plan.peak - NIGHT) * (1 - cos(2 * pi * min(passed, 1))) / 2)
