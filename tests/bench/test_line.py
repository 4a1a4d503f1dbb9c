"""What the line costs at three sizes of cluster, from nothing and when one Pod changed.

Figures are processor time; docs/benchmarks.md holds those of one machine.
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
from clusters import make_listing, with_one_pod_gone_unready
from pytest_benchmark.fixture import BenchmarkFixture

from reconciler.disk.trees import write_files
from reconciler.nginx.program import check_tree, find_binary, find_version
from reconciler.objects.diff import diff
from reconciler.objects.listing import Listing
from reconciler.objects.snapshot import Snapshot, normalise
from reconciler.rendering.tree import render
from reconciler.routing.table import RoutingTable, build_table
from reconciler.settings import Settings, read_settings
from reconciler.values.files import Files

NOW = 1_797_600_000.0
SIZES = (100, 2_000, 10_000)
ROUNDS = 9

pytestmark = pytest.mark.benchmark(timer=time.process_time)


@pytest.fixture(scope="module", params=SIZES)
def states(request: pytest.FixtureRequest) -> list[Listing]:
    """Give two states of a cluster that differ in one Pod, each decoded on its own, to go to and fro between."""
    return [make_listing(request.param), with_one_pod_gone_unready(make_listing(request.param))]


@pytest.fixture(scope="module")
def how() -> Settings:
    return replace(read_settings({"PORT": "18080"}), nginx_version=find_version(find_binary("nginx") or "nginx"))


def run_line(listing: Listing, last: Snapshot | None, how: Settings) -> tuple[Snapshot, RoutingTable, Files]:
    """Run the line from decoded objects to the rendered tree."""
    snapshot = normalise(listing, how)
    diff(last, snapshot)
    table = build_table(snapshot, how, NOW)
    return snapshot, table, render(table.routes, how)


def forget(how: Settings) -> None:
    """Let every stage forget its last round, as in a new process."""
    run_line(Listing(), None, how)


def children_time() -> float:
    """Give the processor time of all ended children, in seconds."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


Inputs = tuple[object, ...]

STAGES: dict[str, tuple[Callable[..., Inputs], Callable[..., object]]] = {
    "normalise": (lambda listing, last, how: (listing, how), normalise),
    "diff": (lambda listing, last, how: (last, normalise(listing, how)), diff),
    "build_table": (lambda listing, last, how: (normalise(listing, how), how, NOW), build_table),
    "render": (lambda listing, last, how: (build_table(normalise(listing, how), how, NOW).routes, how), render),
    "together": (lambda listing, last, how: (listing, last, how), run_line),
}


@pytest.mark.parametrize("stage", STAGES)
@pytest.mark.parametrize("what", ["from nothing", "one Pod changed"])
def test_line(benchmark: BenchmarkFixture, states: list[Listing], how: Settings, what: str, stage: str) -> None:
    """Measure one stage, or all; what it stands on is made before the clock runs."""
    make_inputs, run = STAGES[stage]
    turns = itertools.count()

    def prepare() -> tuple[Inputs, dict[str, object]]:
        if what == "from nothing":
            forget(how)
            return make_inputs(states[0], None, how), {}
        turn = next(turns)
        last, *_ = run_line(states[turn % 2], None, how)
        return make_inputs(states[(turn + 1) % 2], last, how), {}

    benchmark.pedantic(run, setup=prepare, rounds=ROUNDS)


@pytest.mark.benchmark(timer=children_time)
def test_nginx_test(benchmark: BenchmarkFixture, states: list[Listing], how: Settings, tmp_path: Path) -> None:
    """Measure `nginx -t` on the whole tree: processor time of that process, and its memory."""
    _, _, files = run_line(states[0], None, how)
    write_files(files, tmp_path)
    binary = find_binary("nginx") or "nginx"
    benchmark.pedantic(check_tree, args=(binary, tmp_path), rounds=ROUNDS)
    benchmark.extra_info["nginx -t, peak memory in MB"] = measure_memory(binary, tmp_path)


# In a small process of its own: a child's peak begins with that of the process it was forked from.
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
