"""What the stages from a Listing to the tree cost at three sizes of cluster: from nothing, and if one Pod changed.

The figures are processor time; docs/benchmarks.md has those of one machine.
"""

import itertools
import resource
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from clusters import make_listing, with_one_pod_gone_unready, with_options
from pytest_benchmark.fixture import BenchmarkFixture

from reconciler.disk.trees import write_files
from reconciler.nginx.program import check_tree, find_binary, find_version
from reconciler.objects.diff import diff
from reconciler.objects.listing import Listing
from reconciler.objects.normaliser import Normaliser
from reconciler.objects.snapshot import Snapshot
from reconciler.rendering.tree import TreeRenderer
from reconciler.routing.table import TableBuilder
from reconciler.settings import Settings, read_settings
from reconciler.values.certificates import PemCache
from reconciler.values.files import Files

NOW = 1_797_600_000.0
SIZES = (100, 2_000, 10_000)
ROUNDS = 9

pytestmark = pytest.mark.benchmark(timer=time.process_time)


@pytest.fixture(scope="module", params=SIZES)
def states(request: pytest.FixtureRequest) -> list[Listing]:
    """Give two states of a cluster that differ in one Pod, each decoded on its own; tests switch between them."""
    return [make_listing(request.param), with_one_pod_gone_unready(make_listing(request.param))]


@pytest.fixture(scope="module")
def how() -> Settings:
    return replace(read_settings({"PORT": "18080"}), nginx_version=find_version(find_binary("nginx") or "nginx"))


class Line:
    """The stages from decoded objects to the rendered tree, with what each remembers of its last round."""

    def __init__(self, how: Settings) -> None:
        self.normaliser, self.tables, self.trees = Normaliser(how), TableBuilder(how, PemCache()), TreeRenderer(how)

    def run(self, listing: Listing, last: Snapshot | None) -> tuple[Snapshot, Files]:
        """Run all stages."""
        snapshot = self.normaliser.normalise(listing)
        diff(last, snapshot)
        return snapshot, self.trees.render(self.tables.build(snapshot, NOW).routes)

    def prepare(self, stage: str, listing: Listing, last: Snapshot | None) -> Callable[[], object]:
        """Run the stages before this stage, and give a function that runs this stage alone."""
        if stage == "together":
            return lambda: self.run(listing, last)
        if stage == "normalise":
            return lambda: self.normaliser.normalise(listing)
        snapshot = self.normaliser.normalise(listing)
        if stage == "diff":
            return lambda: diff(last, snapshot)
        if stage == "build_table":
            return lambda: self.tables.build(snapshot, NOW)
        routes = self.tables.build(snapshot, NOW).routes
        return lambda: self.trees.render(routes)


def children_time() -> float:
    """Give the processor time of all ended children, in seconds."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


@pytest.mark.parametrize("stage", ["normalise", "diff", "build_table", "render", "together"])
@pytest.mark.parametrize("what", ["from nothing", "one Pod changed"])
def test_line(benchmark: BenchmarkFixture, states: list[Listing], how: Settings, what: str, stage: str) -> None:
    """Measure one stage, or all; the stages before it run before the clock starts."""
    line, turns = Line(how), itertools.count()

    def prepare() -> tuple[tuple[Callable[[], object]], dict[str, object]]:
        if what == "from nothing":
            return (Line(how).prepare(stage, states[0], None),), {}
        turn = next(turns)
        last, _ = line.run(states[turn % 2], None)
        return (line.prepare(stage, states[(turn + 1) % 2], last),), {}

    benchmark.pedantic(lambda run: run(), setup=prepare, rounds=ROUNDS)


@pytest.mark.benchmark(timer=children_time)
def test_nginx_test(benchmark: BenchmarkFixture, states: list[Listing], how: Settings, tmp_path: Path) -> None:
    """Measure `nginx -t` on the whole tree: processor time of that process, and its memory."""
    _, files = Line(how).run(states[0], None)
    write_files(files, tmp_path)
    binary = find_binary("nginx") or "nginx"
    benchmark.pedantic(check_tree, args=(binary, tmp_path), rounds=ROUNDS)
    benchmark.extra_info["nginx -t, peak memory in MB"] = measure_memory(binary, tmp_path)


@pytest.mark.benchmark(timer=children_time)
@pytest.mark.parametrize("options", [False, True], ids=["without options", "with all options"])
def test_nginx_test_of_a_thousand_locations(
    benchmark: BenchmarkFixture, how: Settings, tmp_path: Path, options: bool
) -> None:
    """Measure `nginx -t` on a thousand locations of a hundred Namespaces, without options and with all."""
    listing = make_listing(2_000)
    _, files = Line(how).run(with_options(listing) if options else listing, None)
    assert files["routes.jsonl"].content.count(b"sessionPersistence") == (500 if options else 0)
    write_files(files, tmp_path)
    binary = find_binary("nginx") or "nginx"
    benchmark.pedantic(check_tree, args=(binary, tmp_path), rounds=ROUNDS)
    benchmark.extra_info["nginx -t, peak memory in MB"] = measure_memory(binary, tmp_path)


# It runs in a small process, because a child's peak begins with the peak of the process that forked it.
_MEASURE = """
import resource, subprocess, sys
subprocess.run(sys.argv[1:], check=True)
print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)
"""


def measure_memory(binary: str, tree: Path) -> float:
    """Measure the peak memory of `nginx -t` on a tree, in MB."""
    command = [binary, "-t", "-q", "-e", "stderr", "-p", f"{tree}/", "-c", "nginx.conf"]
    measured = subprocess.run(
        [sys.executable, "-c", _MEASURE, *command], capture_output=True, check=True, text=True, cwd=tree
    )
    return round(int(measured.stdout) / 1024, 1)
