"""How one node grows with the cluster: what the stages, nginx's test and a reload take, and the memory of both.

Each size is measured in a process of its own, so that its peak memory is that of this size.
"""

import gc
import multiprocessing
import os
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import TypeVar

import msgspec
import psutil
from clusters import make_listing, with_one_pod_gone_unready
from meter import read_children_time, read_name, read_peak, read_share, watch_share
from support.ports import free_port

from reconciler.loop.events import Event, Reloaded
from reconciler.modes.sinks import prepare_serving
from reconciler.objects.diff import diff
from reconciler.objects.listing import Listing
from reconciler.objects.normaliser import Normaliser
from reconciler.objects.snapshot import Snapshot
from reconciler.rendering.tree import TreeRenderer
from reconciler.routing.model import Routes
from reconciler.routing.table import TableBuilder
from reconciler.settings import Settings, read_settings
from reconciler.values.certificates import PemCache
from reconciler.values.files import Files
from reconciler.values.value import Value

NOW = 1_797_600_000.0
Given = TypeVar("Given")


class Growth(Value, frozen=True):
    """The figures of one size of cluster: seconds, and MB.

    `tick` and `render` are those of a cycle in which one Pod changed, in processor time.
    """

    pods: int
    paths: int
    first: float
    tick: float
    render: float
    test: float
    reload: float
    dispatcher: float
    nginx: float
    nginx_at_most: float


class Stages:
    """The pure stages, with what each remembers of its last round, and the processor time of the last cycle."""

    def __init__(self, how: Settings) -> None:
        self._normaliser, self._tables, self._trees = Normaliser(how), TableBuilder(how, PemCache()), TreeRenderer(how)
        self._last: Snapshot | None = None
        self.tick = self.render = 0.0

    def run(self, listing: Listing) -> tuple[Routes, Files]:
        """Run all stages."""
        begun = time.process_time()
        snapshot = self._normaliser.normalise(listing)
        diff(self._last, snapshot)
        routes = self._tables.build(snapshot, NOW).routes
        built = time.process_time()
        files = self._trees.render(routes)
        self._last, self.tick, self.render = snapshot, built - begun, time.process_time() - built
        return routes, files


def measure(pods: int, folder: Path) -> Growth:
    """Measure one size, with a real nginx that serves from a folder."""
    in_process(_write_states, pods, folder)
    return in_process(_measure, pods, folder)


def in_process(function: Callable[[int, Path], Given], pods: int, folder: Path) -> Given:
    """Call a function in a new process."""
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
        return pool.submit(function, pods, folder).result()


def _write_states(pods: int, folder: Path) -> None:
    """Write two states of a cluster that differ in one Pod, as bytes, so that reading them costs as a List does."""
    listing = make_listing(pods)
    for place, state in enumerate((listing, with_one_pod_gone_unready(listing))):
        (folder / f"{place}.json").write_bytes(msgspec.json.encode(state))


def _read(folder: Path, place: int) -> Listing:
    return msgspec.json.decode((folder / f"{place}.json").read_bytes(), type=Listing)


def _measure(pods: int, folder: Path) -> Growth:
    told: list[Event] = []
    how = read_settings({"PORT": str(free_port()), "LISTEN_ADDRESSES": "127.0.0.1"})
    settings, nginx = prepare_serving(folder / "router", how, told.append)
    stages = Stages(settings)
    try:
        routes, former = stages.run(_read(folder, 0))
        first = stages.tick + stages.render
        nginx.apply(former)
        gc.collect()
        rest = read_share(_find_nginx())
        _, files = stages.run(_read(folder, 1))
        before = read_children_time(os.getpid())
        nginx.apply(files)
        tested = read_children_time(os.getpid()) - before
        load = dict(next(one.phases for one in reversed(told) if isinstance(one, Reloaded)))["load"]
        with watch_share(_find_nginx) as most:  # the watching would make the reload above slower
            nginx.apply(former)
            peak = most()
    finally:
        nginx.stop(0)
    dispatcher = read_peak(os.getpid())
    return Growth(pods, len(routes.upstreams), first, stages.tick, stages.render, tested, load, dispatcher, rest, peak)


def _find_nginx() -> set[int]:
    """Find nginx's master and workers, without the reader of the logs."""
    found = psutil.Process().children(recursive=True)
    return {one.pid for one in found if read_name(one.pid) == "nginx"}
