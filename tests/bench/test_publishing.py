"""What publishing costs at 10,000 Pods: packing everything, packing one change, reading everything, reading one change.

The figures are processor time; docs/decisions/023-published-snapshots.md has those of one machine.
"""

import itertools
import time
from collections.abc import Callable

import pytest
from clusters import make_listing, with_one_pod_gone_unready, with_options
from fleet import make_objects
from pytest_benchmark.fixture import BenchmarkFixture
from support import objects
from support.objects import Object
from support.publishing import SETTINGS, pack, read

from reconciler.objects.listing import Listing
from reconciler.objects.normaliser import Normaliser
from reconciler.objects.published import write_pointer
from reconciler.objects.snapshot import Snapshot
from reconciler.objects.snapshot_packer import Publication, SnapshotPacker
from reconciler.objects.snapshot_reader import SnapshotReader

PODS = 10_000
ROUNDS = 15

pytestmark = pytest.mark.benchmark(timer=time.process_time)


def _make_fleet() -> tuple[Listing, Listing]:
    """Make objects as large as real ones, and the same with one Pod that is not ready any more."""
    made: list[Object] = list(make_objects(PODS))
    place = next(place for place, one in enumerate(made) if one["kind"] == "Pod")
    return objects.listing(made), objects.listing([*made[:place], objects.unready(made[place]), *made[place + 1 :]])


CLUSTERS: dict[str, Callable[[], tuple[Listing, Listing]]] = {
    "as recorded": _make_fleet,
    "with all options": lambda: (
        with_options(make_listing(PODS)),
        with_one_pod_gone_unready(with_options(make_listing(PODS))),
    ),
}


class Scene:
    """Two states of a cluster that differ in one Pod, and what each of them is when it is published."""

    def __init__(self, first: Listing, second: Listing) -> None:
        normaliser = Normaliser(SETTINGS)  # as in a daemon, what did not change is the same object in both states
        self.states: tuple[Snapshot, Snapshot] = (normaliser.normalise(first), normaliser.normalise(second))
        self.published: tuple[Publication, Publication] = (pack(self.states[0]), pack(self.states[1]))

    @property
    def new(self) -> dict[str, bytes]:
        """The shards that the second state needs beyond the first one's."""
        first, second = (one.shards for one in self.published)
        return {name: second[name] for name in second.keys() - first.keys()}


@pytest.fixture(scope="module", params=CLUSTERS)
def scene(request: pytest.FixtureRequest) -> Scene:
    return Scene(*CLUSTERS[request.param]())


def test_pack_everything(benchmark: BenchmarkFixture, scene: Scene) -> None:
    """Measure a publisher that has just started; the further figures are bytes."""
    benchmark.pedantic(pack, (scene.states[0],), rounds=ROUNDS)
    published = scene.published[0]
    benchmark.extra_info |= {
        "shards": len(published.shards),
        "packed": sum(map(len, published.shards.values())),
        "largest shard": max(map(len, published.shards.values())),
        "pointer": len(write_pointer(published.pointer)),
    }


def test_pack_one_change(benchmark: BenchmarkFixture, scene: Scene) -> None:
    """Measure one Pod that changes back and forth; the further figure is the bytes of the one new shard."""
    packer, turns = SnapshotPacker(), itertools.count(1)
    packer.pack(scene.states[0])
    benchmark.pedantic(lambda: packer.pack(scene.states[next(turns) % 2]), rounds=ROUNDS)
    assert len(scene.new) == 1
    benchmark.extra_info["new shard"] = len(*scene.new.values())


def test_read_everything(benchmark: BenchmarkFixture, scene: Scene) -> None:
    """Measure a router that has just started."""
    published = scene.published[0]
    given = write_pointer(published.pointer), published.shards
    assert benchmark.pedantic(read, given, rounds=ROUNDS) == scene.states[0]


def test_read_one_change(benchmark: BenchmarkFixture, scene: Scene) -> None:
    """Measure a router after one Pod has changed."""
    first, second = scene.published

    def prepare() -> tuple[tuple[bytes, dict[str, bytes], SnapshotReader], dict[str, object]]:
        reader = SnapshotReader()
        read(write_pointer(first.pointer), first.shards, reader)
        return (write_pointer(second.pointer), scene.new, reader), {}

    assert benchmark.pedantic(read, setup=prepare, rounds=ROUNDS) == scene.states[1]
