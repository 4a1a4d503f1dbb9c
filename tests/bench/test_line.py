"""What the line costs at three sizes of cluster, from nothing and when one Pod changed.

Each row holds the stages before it too. Figures are processor time; docs/benchmarks.md holds those of one machine.
"""

import itertools
import resource
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from clusters import make_listing, with_one_pod_gone_unready
from pytest_benchmark.fixture import BenchmarkFixture

from reconciler.diff import diff
from reconciler.disk import write_files
from reconciler.files import Files
from reconciler.listing import Listing
from reconciler.nginx import check_tree, find_binary, find_version
from reconciler.render import render
from reconciler.routing import RoutingTable, build_table
from reconciler.settings import Settings, read_settings
from reconciler.snapshot import Snapshot, normalise

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


STAGES: dict[str, Callable[..., object]] = {
    "1 normalise": lambda how, listing, last: normalise(listing, how),
    "2 diff": lambda how, listing, last: diff(last, normalise(listing, how)),
    "3 build_table": lambda how, listing, last: build_table(normalise(listing, how), how, NOW),
    "4 render, all together": lambda how, listing, last: run_line(listing, last, how),
}


@pytest.mark.parametrize("upto", STAGES)
@pytest.mark.parametrize("what", ["from nothing", "one Pod changed"])
def test_line(benchmark: BenchmarkFixture, states: list[Listing], how: Settings, what: str, upto: str) -> None:
    """Measure the line up to and with one stage."""
    forget(how)
    last, *_ = run_line(states[0], None, how) if what == "one Pod changed" else (None,)
    turns = itertools.count(1)

    def prepare() -> tuple[tuple[object, ...], dict[str, object]]:
        if last is None:
            forget(how)
            return (how, states[0], None), {}
        return (how, states[next(turns) % 2], last), {}

    benchmark.pedantic(STAGES[upto], setup=prepare, rounds=ROUNDS)


@pytest.mark.benchmark(timer=children_time)
def test_nginx_test(benchmark: BenchmarkFixture, states: list[Listing], how: Settings, tmp_path: Path) -> None:
    """Measure `nginx -t` on the whole tree: processor time of that process, and its memory."""
    _, _, files = run_line(states[0], None, how)
    write_files(files, tmp_path)
    binary = find_binary("nginx") or "nginx"
    benchmark.pedantic(check_tree, args=(binary, tmp_path), rounds=ROUNDS)
    benchmark.extra_info["peak memory of the largest nginx so far, MB"] = peak_of_children()


def peak_of_children() -> float:
    """Give the most memory that any ended child has had so far, in MB."""
    return round(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024, 1)
