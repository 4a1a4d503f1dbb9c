"""What the admin port costs at 10,000 Pods: its observers in a tick, and its documents for the one who asks."""

import itertools
import time
from dataclasses import replace

import pytest
from clusters import make_listing, with_one_pod_gone_unready
from pytest_benchmark.fixture import BenchmarkFixture

from reconciler.loop.events import Answered, Timed
from reconciler.loop.loop import Loop
from reconciler.loop.ports import Observer
from reconciler.loop.stages import Stages
from reconciler.modes.observers import tell_all
from reconciler.objects.normaliser import Normaliser
from reconciler.objects.snapshot import Snapshot
from reconciler.settings import Settings, read_settings
from reconciler.status.figures import Figures
from reconciler.status.metrics import Gauges, Metrics
from reconciler.status.state import State
from reconciler.status.status_file import StatusFile
from reconciler.values.files import Files

NOW = 1_797_600_000.0
ROUNDS = 15
ANSWERS = [Answered(resource, 200, 500) for resource in ("namespaces", "pods", "secrets")]

pytestmark = pytest.mark.benchmark(timer=time.process_time)


class Alternating:
    """A source that gives two states of a cluster in turn, or one of them again."""

    complaints = ()

    def __init__(self, states: list[Snapshot]) -> None:
        self.states = states
        self.place = 0

    def read(self, *, consistently: bool = False) -> Snapshot:
        return self.states[self.place % 2]


class Taking:
    """A sink that takes every tree."""

    def __init__(self) -> None:
        self._numbers = itertools.count()

    def apply(self, files: Files, snapshot: Snapshot) -> str:
        return str(next(self._numbers))

    def check(self, files: Files) -> None:
        pass


@pytest.fixture(scope="module")
def how() -> Settings:
    return replace(read_settings({"MAX_CHANGES_PER_NAMESPACE": "0"}), nginx_version=(1, 26, 3))


@pytest.fixture(scope="module")
def states(how: Settings) -> list[Snapshot]:
    normaliser = Normaliser(how)
    listings = make_listing(10_000), with_one_pod_gone_unready(make_listing(10_000))
    return [normaliser.normalise(listing) for listing in listings]


@pytest.mark.parametrize("watched", [False, True], ids=["without", "with"])
@pytest.mark.parametrize("busy", [False, True], ids=["idle", "one Pod changed"])
def test_tick(benchmark: BenchmarkFixture, states: list[Snapshot], how: Settings, busy: bool, watched: bool) -> None:
    """Measure a tick of the loop without and with the observers, and the events that come with it."""
    state = State()
    observers: list[Observer] = [state, Metrics()] if watched else []
    source, tell = Alternating(states), tell_all(observers)
    loop = Loop(source, Taking(), Stages(how), tell)
    loop.turn(NOW)

    def prepare() -> None:
        source.place += busy

    def tick() -> None:
        loop.turn(NOW)
        for event in (*ANSWERS, Timed((("read", 0.01),))):
            tell(event)

    benchmark.pedantic(tick, setup=prepare, rounds=ROUNDS)


@pytest.mark.parametrize("what", ["status anew", "status again", "metrics"])
def test_document(benchmark: BenchmarkFixture, states: list[Snapshot], how: Settings, what: str) -> None:
    """Measure a document: after the routes changed, and while they are the same."""
    state = State()
    metrics = Metrics()
    metrics.add(Gauges(state, Figures, "1.26.3"))
    loop = Loop(Alternating(states), Taking(), Stages(how), tell_all([state, metrics]))
    loop.turn(NOW)
    known = StatusFile(state, how, Figures)
    known.write_anew()

    def write() -> None:
        if what == "metrics":
            metrics.write("")
        else:
            (known if what == "status again" else StatusFile(state, how, Figures)).write_anew()

    benchmark.pedantic(write, rounds=ROUNDS)
