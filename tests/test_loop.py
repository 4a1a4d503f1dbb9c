"""The loop: what a turn does, what it remembers, and which events it reports."""

from collections.abc import Callable, Iterator

import pytest
from support.objects import Object, listing, namespace, web
from support.stages import normalise

from reconciler.loop.budget import Budgets
from reconciler.loop.cycle import recall
from reconciler.loop.events import Applied, Event, Failed, Idle, LeftOut, Recovered, Refused
from reconciler.loop.loop import Loop
from reconciler.loop.ports import RefusedError, SinkError, SourceError
from reconciler.loop.stages import Stages
from reconciler.modes.observers import tell_all
from reconciler.objects.snapshot import NOTHING, Snapshot
from reconciler.settings import read_settings
from reconciler.values.files import File, Files

SETTINGS = read_settings({"MAX_CHANGES_PER_NAMESPACE": "0"})
A, B, C = ([namespace(name, {f"{name}.dev": {}}), web(name, 3000)] for name in "abc")


class Cluster:
    """A source: a cache that may be older than the true state."""

    def __init__(self) -> None:
        self.true = self.cached = NOTHING
        self.error: SourceError | None = None
        self.complaints: tuple[str, ...] = ()
        self.asked: list[bool] = []

    def hold(self, *groups: list[Object], cached: Snapshot | None = None) -> Snapshot:
        """Hold these objects; the cache knows them too, unless it is given."""
        self.true = normalise(listing([one for group in groups for one in group]), SETTINGS)
        self.cached = cached or self.true
        return self.true

    def read(self, *, consistently: bool = False) -> Snapshot:
        self.asked.append(consistently)
        if self.error:
            raise self.error
        return self.true if consistently else self.cached


class Trees:
    """A sink that keeps trees, and refuses a tree that contains a forbidden text."""

    def __init__(self) -> None:
        self.taken: list[Files] = []
        self.error: SinkError | None = None
        self.forbidden = b"refused"

    def apply(self, files: Files, _: Snapshot) -> str:
        self.check(files)
        if self.error:
            raise self.error
        self.taken.append(files)
        return f"release {len(self.taken)}"

    def check(self, files: Files) -> None:
        if self.forbidden in files["nginx.conf"].content:
            raise RefusedError("no such thing", tested=True)


class Scene:
    """A loop over a cluster and trees, with all events that it reported."""

    def __init__(self) -> None:
        self.cluster, self.trees = Cluster(), Trees()
        self.events: list[Event] = []
        self.loop = Loop(self.cluster, self.trees, Stages(SETTINGS), self.events.append)
        self._now: Iterator[float] = iter(range(1_000_000_000, 1_000_001_000))

    def turn(self) -> Event:
        """Turn the loop once, and give the event of this turn; it is also the last one that was reported."""
        event = self.loop.turn(next(self._now))
        assert self.events[-1] is event
        return event


@pytest.fixture
def scene() -> Scene:
    return Scene()


def hosts(event: Event) -> list[str]:
    assert isinstance(event, Applied | Idle)
    return [host.name for host in event.cycle.table.routes.hosts]


def test_first_turn_applies(scene: Scene) -> None:
    """The first cycle applies a release even for an empty cluster, because no earlier cycle exists to compare with."""
    event = scene.turn()
    assert isinstance(event, Applied)
    assert (event.cycle.release, event.last, len(scene.trees.taken)) == ("release 1", None, 1)


def test_equal_digest_saves_the_work(scene: Scene) -> None:
    """A turn with an equal Snapshot is idle: nothing is built, and the cycle has no changes and no new release."""
    scene.cluster.hold(A)
    first = scene.turn()
    scene.cluster.hold(A)
    event = scene.turn()
    assert isinstance(event, Idle)
    assert isinstance(first, Applied)
    assert (event.cycle.changes, event.cycle.applied, event.cycle.files is first.cycle.files) == ((), False, True)


def test_equal_routes_save_the_release(scene: Scene) -> None:
    """A change that affects no route is reported with its objects, but no release is applied."""
    scene.cluster.hold(A)
    scene.turn()
    scene.cluster.hold([*A, namespace("z", None)])
    event = scene.turn()
    assert isinstance(event, Idle)
    assert [str(change.resource) for change in event.cycle.changes] == ["Namespace z"]
    assert len(scene.trees.taken) == 1


@pytest.mark.parametrize("port", ["source", "sink"])
def test_failure_and_recovery(scene: Scene, port: str) -> None:
    """Each failure is reported with its port; the recovery is reported once, before the first cycle that succeeds."""
    scene.cluster.hold(A)
    scene.turn()
    scene.cluster.hold(A, B)
    scene.cluster.error = SourceError("gone", busy=True, retry_after=7.0) if port == "source" else None
    scene.trees.error = SinkError("gone") if port == "sink" else None
    expected = Failed(port, "gone", busy=port == "source", retry_after=7.0 if port == "source" else 0.0)
    assert [scene.turn(), scene.turn()] == [expected, expected]
    scene.cluster.error = scene.trees.error = None
    assert hosts(scene.turn()) == ["a.dev", "b.dev"]
    assert [type(event) for event in scene.events] == [Applied, Failed, Failed, Recovered, Applied]


def test_what_the_sink_did_not_take_is_not_remembered(scene: Scene) -> None:
    """A Snapshot whose tree the sink did not take is tried again, although nothing in the cluster changed."""
    scene.trees.error = SinkError("full")
    scene.cluster.hold(A)
    scene.turn()
    scene.trees.error = None
    assert isinstance(scene.turn(), Applied)


def test_refusal_is_told_with_who_is_held(scene: Scene) -> None:
    """A refusal is its own event with the held Namespaces; it comes before the event for what was still applied."""
    scene.cluster.hold(A, B)
    scene.turn()
    scene.cluster.hold(A, [namespace("b", {"refused.dev": {}})], C)
    event = scene.turn()
    assert hosts(event) == ["a.dev", "b.dev", "c.dev"]
    assert scene.events[1:] == [Refused("no such thing", ("b",)), event]
    assert isinstance(scene.turn(), Idle)
    assert len(scene.events) == 4


def test_complaints_are_told_once(scene: Scene) -> None:
    """A complaint of the source is reported when it is new, and again if it comes back after it was gone."""
    scene.cluster.complaints = ("b", "a")
    scene.turn()
    scene.turn()
    scene.cluster.complaints = ("a", "c")
    scene.turn()
    scene.cluster.complaints = ()
    scene.turn()
    scene.cluster.complaints = ("a",)
    scene.turn()
    told = [event.complaints for event in scene.events if isinstance(event, LeftOut)]
    assert told == [("a", "b"), ("c",), ("a",)]


def test_sudden_loss_is_confirmed(scene: Scene) -> None:
    """A cache that has lost more than half is not trusted: the loop reads the true state."""
    scene.cluster.hold(A, B, C)
    scene.turn()
    stale = normalise(listing(A), SETTINGS)
    scene.cluster.hold(A, B, C, cached=stale)
    assert isinstance(scene.turn(), Applied | Idle)
    assert scene.cluster.asked == [False, False, True]
    assert len(scene.trees.taken) == 1


def test_true_loss_is_served(scene: Scene) -> None:
    """A true loss is served; it is confirmed only once, even if the sink does not take it at first."""
    scene.cluster.hold(A, B, C)
    scene.turn()
    scene.cluster.hold(A)
    scene.trees.error = SinkError("full")
    scene.turn()
    scene.turn()
    scene.trees.error = None
    assert hosts(scene.turn()) == ["a.dev"]
    assert scene.cluster.asked == [False, False, True, False, False]


def test_small_loss_is_believed(scene: Scene) -> None:
    """A loss of at most half is not confirmed by a second read."""
    scene.cluster.hold(A, B, C)
    scene.turn()
    scene.cluster.hold(A, B)
    assert hosts(scene.turn()) == ["a.dev", "b.dev"]
    assert scene.cluster.asked == [False, False]


def test_former_process(scene: Scene) -> None:
    """A loop that continues a former process's release applies in any case, and knows how much was routed."""
    scene.cluster.hold(A, B, C)
    first = scene.turn()
    assert isinstance(first, Applied)
    former = recall(first.cycle.snapshot, first.cycle.files, Budgets())
    assert former
    assert former.size == first.cycle.size
    again = Scene()
    again.loop = Loop(again.cluster, again.trees, Stages(SETTINGS), again.events.append, former)
    again.cluster.hold(A, B, C, cached=NOTHING)
    assert isinstance(again.turn(), Applied)
    assert again.cluster.asked == [False, True]


def test_former_process_of_another_version() -> None:
    """The loop does not continue from a tree whose lines this version cannot read."""
    assert recall(NOTHING, {"routes.jsonl": File(b'{"host": 1}\n')}, Budgets()) is None


def test_a_bug_is_no_failure(scene: Scene) -> None:
    """An error that is neither the source's nor the sink's is a bug, and ends the loop."""
    scene.cluster.read = lambda **_: 1 / 0  # type: ignore[method-assign,assignment,return-value]
    with pytest.raises(ZeroDivisionError):
        scene.turn()


def test_two_loops_keep_their_results() -> None:
    """Two loops over different clusters keep their own results: equal hosts stay the same objects."""
    one, other = Stages(SETTINGS), Stages(SETTINGS)
    ours, theirs = (normalise(listing(group), SETTINGS) for group in ([*A, *B], C))
    first = one.build_table(ours, 0.0)
    tree = one.render(first.routes)
    other.render(other.build_table(theirs, 0.0).routes)
    again = one.build_table(ours, 0.0)
    assert all(new is old for new, old in zip(again.routes.hosts, first.routes.hosts, strict=True))
    assert one.render(again.routes) == tree


def test_observers_are_told_in_order() -> None:
    """Each observer gets each event, one observer after the other."""

    class Witness:
        def __init__(self, name: str) -> None:
            self.name = name

        def observe(self, event: Event) -> None:
            told.append((self.name, event))

    told: list[tuple[str, Event]] = []
    tell: Callable[[Event], None] = tell_all([Witness("a"), Witness("b")])
    tell(Recovered())
    assert told == [("a", Recovered()), ("b", Recovered())]
