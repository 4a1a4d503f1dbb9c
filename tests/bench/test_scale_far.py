"""What publishing costs on the way to 100,000 Pods, without requests; docs/scale.md has the figures of one machine."""

import time
from collections.abc import Callable, Sequence
from statistics import median

import msgspec
import pytest
from clusters import make_listing, with_options
from pytest_benchmark.fixture import BenchmarkFixture
from support.publishing import make_snapshot, read

from reconciler.objects.listing import Listing
from reconciler.objects.published import write_pointer
from reconciler.objects.snapshot import Snapshot
from reconciler.objects.snapshot_packer import Publication, SnapshotPacker
from reconciler.objects.snapshot_reader import SnapshotReader

CLUSTERS: dict[str, Callable[[int], Listing]] = {
    "as recorded": make_listing,
    "all options": lambda pods: with_options(make_listing(pods)),
}
SIZES, CHANGED = (1_000, 10_000, 50_000, 100_000), (1, 10, 100, 1_000)
_TIMED = (1, 100)
_ROUNDS = 5

Tell = Callable[[str], None]


def change(snapshot: Snapshot, count: int, turn: int) -> Snapshot:
    """Give the first Pod of each of `count` Namespaces another address; they lie evenly in the Snapshot."""
    namespaces = list(snapshot.namespaces)
    for place in range(0, len(namespaces), max(1, len(namespaces) // count)):
        first, *rest = namespaces[place].pods
        moved = msgspec.structs.replace(first, ip=f"172.16.{turn}.{place % 256}")
        namespaces[place] = msgspec.structs.replace(namespaces[place], pods=(moved, *rest))
    return msgspec.structs.replace(snapshot, namespaces=tuple(namespaces))


class Both:
    """A publisher's packer and a router's reader."""

    def __init__(self, snapshot: Snapshot) -> None:
        self.snapshot = snapshot
        self._packer, self._reader = SnapshotPacker(), SnapshotReader()
        self.shards: dict[str, bytes] = {}

    def publish(self, snapshot: Snapshot) -> tuple[float, float, Publication, int]:
        """Pack and read a Snapshot; give the seconds of both, what was published, and the number of new shards."""
        begun = time.process_time()
        publication = self._packer.pack(snapshot)
        packed = time.process_time()
        pointer, new = write_pointer(publication.pointer), publication.shards.keys() - self.shards.keys()
        came = time.process_time()
        again = read(pointer, publication.shards, self._reader)
        took = time.process_time() - came
        assert again.namespaces == snapshot.namespaces
        self.shards = publication.shards
        return packed - begun, took, publication, len(new)


def write_row(name: str, pods: int, both: Both) -> str:
    """Write what publishing and reading take, as a row of a table."""
    pack, take, whole, _ = both.publish(both.snapshot)
    sizes, pointer = [*map(len, whole.shards.values())], len(write_pointer(whole.pointer))
    cells = [f"{pods:,}", name, f"{len(sizes)}", f"{sum(sizes) / 1000:,.0f} kB", f"{pointer / 1000:.1f} kB"]
    new = []
    cells.append(write_times([(pack, take)]))
    for count in CHANGED:
        rounds = [both.publish(change(both.snapshot, count, turn)) for turn in range(_ROUNDS)]
        both.publish(both.snapshot)
        new.append(f"{median(one[3] for one in rounds):.0f}")
        if count in _TIMED:
            cells.append(write_times([one[:2] for one in rounds]))
    return f"| {' | '.join([*cells, *new])} |"


def write_times(times: Sequence[tuple[float, float]]) -> str:
    """Write the medians of the times of packing and of reading."""
    return ", ".join(f"{1000 * median(one[place] for one in times):.1f}" for place in (0, 1)) + " ms"


@pytest.mark.parametrize("name", CLUSTERS)
@pytest.mark.parametrize("pods", SIZES)
def test_far(benchmark: BenchmarkFixture, tell: Tell, name: str, pods: int) -> None:
    """Tell how pointer, shards and time grow, and how many shards are new if a number of Namespaces change."""
    both = Both(make_snapshot(CLUSTERS[name](pods)))
    benchmark.pedantic(lambda: tell(write_row(name, pods, both)), rounds=1)
