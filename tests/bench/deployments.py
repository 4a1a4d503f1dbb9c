"""Deployments of a simulated cluster: what their controller and the kubelets do to their Pods, step by step."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import Enum
from math import ceil, inf
from random import Random
from typing import NamedTuple

from reconciler.values.value import Value


class ChangeKind(Enum):
    """What happens to a Pod, or to a Namespace."""

    CREATED = "created"
    READY = "ready"
    CRASHED = "crashed"
    ENDING = "told to end"
    GONE = "gone"
    HOST = "has another host"


class Cause(Enum):
    """Why it happens."""

    UPDATE = "rolling updates"
    SCALING = "autoscaling"
    CRASH = "crash loops"
    CONFIGURATION = "hosts and paths"


class DayChange(Value, frozen=True):
    """A change of a Pod, which is the Pod number `serial` of the application `app`; or of this application's Namespace.

    `ready` tells whether the Pod is ready after it. A Pod serves the path of its application, and `path` if it has one.
    """

    kind: ChangeKind
    cause: Cause
    app: int
    serial: int = 0
    ready: bool = False
    path: str = ""

    @property
    def routed(self) -> bool:
        """Tell whether the change decides where requests go: an unready Pod, or one that is told to end, gets none."""
        ended = self.kind is ChangeKind.ENDING and self.ready
        return ended or self.kind in (ChangeKind.READY, ChangeKind.CRASHED, ChangeKind.HOST)


class PodTimes(NamedTuple):
    """How long things take, in steps: from a Pod's creation until it is ready, from the order to end until it is gone.

    `up` is how long a Pod that crashes is ready; `backoff` is the kubelet's wait after the first crash. It is doubled
    with each crash, up to `most`.
    """

    start: tuple[int, int] = (2, 5)
    grace: int = 5
    up: tuple[int, int] = (3, 6)
    backoff: float = 5
    most: float = 150


@dataclass
class _Pod:
    serial: int
    release: int
    cause: Cause
    path: str = ""
    ready: bool = False
    ending: bool = False
    due: float = inf
    crashes: int | None = None


class Deployment:
    """An application with its Pods; `size` gives the number of replicas at a step.

    Updates are rolling, with maxSurge and maxUnavailable of 25 %:
    https://kubernetes.io/docs/concepts/workloads/controllers/deployment/#rolling-update-deployment
    """

    def __init__(self, app: int, size: Callable[[int], int], random: Random, times: PodTimes) -> None:
        self.app = app
        self._size, self._random, self._times = size, random, times
        self._wanted = size(0)
        self._release, self._path = 0, ""
        self._pods = [_Pod(serial, 0, Cause.UPDATE, ready=True) for serial in range(self._wanted)]
        self._made = self._wanted
        self._due: float = inf

    @property
    def ready(self) -> list[int]:
        """The serials of the Pods that requests can reach."""
        return [pod.serial for pod in self._pods if pod.ready and not pod.ending]

    def update(self, now: int, path: str = "") -> None:
        """Begin a rolling update; new Pods serve this path too."""
        self._release += 1
        self._path = path or self._path
        self._due = now

    def begin_to_crash(self, now: int) -> None:
        """Let one Pod crash from now on, again and again."""
        self._pods[0].crashes, self._pods[0].cause = 0, Cause.CRASH
        self._due = self._pods[0].due = now

    def is_due(self, now: int) -> bool:
        """Tell whether something changes at this step."""
        return now >= self._due or self._size(now) != self._wanted

    def advance(self, now: int) -> Iterator[DayChange]:
        """Do what comes at this step. No step at which something is due may be left out."""
        self._wanted = self._size(now)
        for pod in [*self._pods]:
            if pod.due <= now:
                yield self._turn(pod, now)
        yield from self._replace(now)
        self._due = min((pod.due for pod in self._pods), default=inf)

    def _turn(self, pod: _Pod, now: int) -> DayChange:
        """Let a Pod do what it does next."""
        pod.due = inf
        if pod.ending:
            self._pods.remove(pod)
            return self._tell(ChangeKind.GONE, pod)
        pod.ready = not pod.ready
        if pod.crashes is not None:
            pod.due = now + (self._random.randint(*self._times.up) if pod.ready else self._back_off(pod))
        return self._tell(ChangeKind.READY if pod.ready else ChangeKind.CRASHED, pod)

    def _back_off(self, pod: _Pod) -> int:
        """Give the steps until a Pod that has just crashed is ready again.

        https://kubernetes.io/docs/concepts/workloads/pods/pod-lifecycle/#restart-policy
        """
        crashes, pod.crashes = pod.crashes or 0, (pod.crashes or 0) + 1
        waited = min(self._times.backoff * 2**crashes, self._times.most)
        return ceil(waited) + self._random.randint(*self._times.start)

    def _replace(self, now: int) -> Iterator[DayChange]:
        """Create and end Pods, as the Deployment's controller does."""
        alive = [pod for pod in self._pods if not pod.ending]
        old = [pod for pod in alive if pod.release < self._release]
        spare = self._wanted // 4 if old else 0
        most = self._wanted + (ceil(self._wanted / 4) if old else 0)
        for _ in range(min(self._wanted - len(alive) + len(old), most - len(alive))):
            yield self._create(now, Cause.UPDATE if old else Cause.SCALING)
        available = sum(pod.ready for pod in alive) - self._wanted + spare
        for pod in sorted(old, key=lambda pod: pod.ready):  # unready ones go first, and cost nothing
            if pod.ready and available <= 0:
                break
            available -= pod.ready
            yield self._end(pod, now, Cause.UPDATE)
        if not old:
            surplus = len(alive) - self._wanted
            for pod in sorted(alive, key=lambda pod: (pod.ready, -pod.serial))[: max(surplus, 0)]:
                yield self._end(pod, now, Cause.SCALING)

    def _create(self, now: int, cause: Cause) -> DayChange:
        due = now + self._random.randint(*self._times.start)
        pod = _Pod(self._made, self._release, cause, self._path, due=due)
        self._made += 1
        self._pods.append(pod)
        return self._tell(ChangeKind.CREATED, pod)

    def _end(self, pod: _Pod, now: int, cause: Cause) -> DayChange:
        pod.ending, pod.cause, pod.due = True, cause, now + self._times.grace
        return self._tell(ChangeKind.ENDING, pod)

    def _tell(self, kind: ChangeKind, pod: _Pod) -> DayChange:
        return DayChange(kind, pod.cause, self.app, pod.serial, pod.ready, pod.path)
