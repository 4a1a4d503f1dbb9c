"""What following a cluster costs, with the real daemon, a real nginx and a test API server in its own process.

docs/benchmarks.md has the figures of one machine.
"""

import base64
import http.client
import itertools
import json
import random
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from statistics import median

import psutil
import pytest
from clusters import PODS_A_NAMESPACE, make_listing
from fleet import make_pod, name_host, name_key
from meter import read_children_time, read_name, read_peak, read_share, read_time, watch_share
from pytest_benchmark.fixture import BenchmarkFixture
from remote import RemoteApiServer
from support.backends import Backends
from support.ports import free_port
from support.running_daemon import RunningDaemon
from support.stages import build_table, normalise, render

from reconciler.modes.sinks import prepare_serving
from reconciler.settings import Settings, read_settings
from reconciler.values.files import File, Files

SIZES = (2_000, 10_000)
CHANGES = 50
IDLE_TICKS = 30
WATCHED = 5
RELOADS = 20
# RunningDaemon sets these to other values; empty ones mean the defaults.
_DEFAULTS = dict.fromkeys(("RECONCILE_INTERVAL", "MIN_RELOAD_INTERVAL", "API_TIMEOUT", "NGINX_WORKER_CONNECTIONS"), "")
_ADDRESSES = ("127.0.0.2", "127.0.0.3")

Tell = Callable[[str], None]


class Live:
    """A daemon that follows a cluster; one Pod in the middle of the cluster answers requests and is changed."""

    def __init__(self, server: RemoteApiServer, daemon: RunningDaemon, pods: int, port: int) -> None:
        self.server = server
        self.daemon = daemon
        self.pods = pods
        self._number = pods // PODS_A_NAMESPACE // 2
        self._port = port
        self._changes = itertools.count()
        self._moves = itertools.count(1)
        self._path = ""

    @property
    def pid(self) -> int:
        assert self.daemon.process
        return self.daemon.process.pid

    def change(self) -> str:
        """Give the Pod another path, and return this path as soon as the API server holds it."""
        self._path = f"/change-{next(self._changes)}"
        self.server.put(make_pod(self._number, 7, _ADDRESSES[0], self._port, self._path))
        return self._path

    def move(self) -> str:
        """Let the last path have a Pod of another address alone, and return that as soon as the API server holds it."""
        address = _ADDRESSES[next(self._moves) % 2]
        self.server.put(make_pod(self._number, 7, address, self._port, self._path))
        return address

    def wait_for_pod(self, address: str) -> None:
        """Request the last path over new connections until the Pod of this address answers."""
        while not self._read(self._path)[1].startswith(address):
            time.sleep(0.005)

    def wait_for(self, path: str) -> None:
        """Request a path over new connections until the Pod answers."""
        while self._ask(path) != 200:
            time.sleep(0.005)

    def wait_for_ticks(self, number: int) -> None:
        """Wait until this number of further cycles has begun."""
        until = self.server.count_ticks() + number
        while self.server.count_ticks() < until:
            time.sleep(0.05)

    def find_nginx(self) -> set[int]:
        """Find nginx's master and workers, and the process that tests a tree if it runs."""
        found = psutil.Process(self.pid).children(recursive=True)
        return {one.pid for one in found if read_name(one.pid) == "nginx"}  # until its exec a child is not nginx

    def _ask(self, path: str) -> int:
        return self._read(path)[0]

    def _read(self, path: str) -> tuple[int, str]:
        """Request a path, and give the status and the address of the Pod that answers; 0 and nothing without answer."""
        connection = http.client.HTTPConnection("127.0.0.1", self.daemon.port, timeout=10)
        key = base64.b64encode(name_key(self._number).encode()).decode()
        try:
            connection.request("GET", path, headers={"Host": name_host(self._number), "X-Routing-Api-Key": key})
            answer = connection.getresponse()
            body = answer.read()
            return answer.status, json.loads(body)["pod"] if answer.status == 200 else ""
        except (OSError, http.client.HTTPException):
            return 0, ""
        finally:
            connection.close()


@pytest.fixture(params=SIZES)
def live(request: pytest.FixtureRequest, tmp_path: Path, backends: Backends) -> Iterator[Live]:
    """Start a daemon with default settings that follows a cluster of this size, and wait until it serves."""
    port = free_port()
    for address in _ADDRESSES:
        backends.listen(address, port)
    with RemoteApiServer(tmp_path, request.param) as server:
        daemon = RunningDaemon(tmp_path / "daemon", server, server, **_DEFAULTS)
        try:
            daemon.start()
            running = Live(server, daemon, request.param, port)
            running.wait_for(running.change())
            yield running
        finally:
            daemon.close()


def test_follow(benchmark: BenchmarkFixture, live: Live, tell: Tell) -> None:
    """Measure the time from a Pod's change to its first served request, then the daemon's time and memory.

    The changes come at random moments of the interval between two cycles.
    """
    waits: list[float] = []

    def prepare() -> tuple[tuple[str], dict[str, object]]:
        time.sleep(random.uniform(3, 5))
        return (live.change(),), {}

    def wait(path: str) -> None:
        begun = time.perf_counter()
        live.wait_for(path)
        waits.append(time.perf_counter() - begun)

    before = read_time(live.pid), read_children_time(live.pid), live.server.count_ticks(), read_time(live.server.pid)
    benchmark.pedantic(wait, setup=prepare, rounds=CHANGES)
    after = read_time(live.pid), read_children_time(live.pid), live.server.count_ticks(), read_time(live.server.pid)
    spent, tested, ticks, asked = (late - early for early, late in zip(before, after, strict=True))
    idle = measure_idle_tick(live)
    busy = (spent - (ticks - CHANGES) * idle) / CHANGES
    pods = f"{live.pods:,} Pods"
    tell(f"{pods}, change to first request: median {median(waits):.2f} s, p99 {max(waits):.2f} s")
    tell(f"{pods}, a tick of the daemon: idle {1000 * idle:.1f} ms, busy {1000 * busy:.0f} ms")
    tell(f"{pods}, of others in a busy tick: nginx -t {1000 * tested / CHANGES:.0f} ms, "
         f"test API server {1000 * asked / CHANGES:.0f} ms")  # fmt: skip
    tell(f"{pods}, memory: {measure_memory(live)}")
    assert not [line for line in live.daemon.lines if "error" in line or "again" in line]


def test_follow_pods(benchmark: BenchmarkFixture, live: Live, tell: Tell) -> None:
    """Measure the time from a change of a known path's Pods to the first request that the new one answers."""
    waits: list[float] = []

    def prepare() -> tuple[tuple[str], dict[str, object]]:
        time.sleep(random.uniform(3, 5))
        return (live.move(),), {}

    def wait(address: str) -> None:
        begun = time.perf_counter()
        live.wait_for_pod(address)
        waits.append(time.perf_counter() - begun)

    nginx = read_share(live.find_nginx())
    before = read_time(live.pid), read_children_time(live.pid)
    with watch_share(live.find_nginx) as most:
        benchmark.pedantic(wait, setup=prepare, rounds=CHANGES)
        peak = most()
    spent, tested = (late - early for early, late in zip(before, (read_time(live.pid), read_children_time(live.pid)),
                                                         strict=True))  # fmt: skip
    how = "without a reload" if live.daemon.count("without a reload:") else "by reloads"
    pods = f"{live.pods:,} Pods, {how}"
    tell(f"{pods}, another Pod to first request: median {median(waits):.2f} s, p99 {max(waits):.2f} s")
    tell(f"{pods}, processor time of the daemon {spent:.1f} s, of nginx -t {tested:.1f} s; nginx {nginx:.0f} MB at "
         f"rest, at most {peak:.0f} MB")  # fmt: skip


def measure_idle_tick(live: Live) -> float:
    """Measure the processor time of a tick without changes, in seconds; work between two ticks counts too."""
    live.wait_for_ticks(2)
    before = read_time(live.pid)
    live.wait_for_ticks(IDLE_TICKS)
    return (read_time(live.pid) - before) / IDLE_TICKS


def measure_memory(live: Live) -> str:
    """Measure the daemon's peak memory, and nginx's memory at rest and during reloads."""
    rest = read_share(live.find_nginx())
    with watch_share(live.find_nginx) as most:
        for _ in range(WATCHED):
            live.wait_for(live.change())
            live.wait_for_ticks(2)
        return f"daemon {read_peak(live.pid):.0f} MB, nginx {rest:.0f} MB, during a reload {most():.0f} MB"


@pytest.fixture
def how() -> Settings:
    return read_settings({"PORT": str(free_port()), "LISTEN_ADDRESSES": "127.0.0.1"})


@pytest.mark.parametrize("pods", SIZES)
def test_test_and_reload(benchmark: BenchmarkFixture, tmp_path: Path, how: Settings, pods: int) -> None:
    """Measure how long it takes to write, test, load and prove a tree that is not yet on disk."""
    settings, nginx = prepare_serving(tmp_path / "router", how, lambda _: None)
    table = build_table(normalise(make_listing(pods), settings), settings, time.time())
    files = render(table.routes, settings)

    def prepare() -> tuple[tuple[Files], dict[str, object]]:
        text = files["nginx.conf"].content + f"# {next(turns)}\n".encode()
        return ({**files, "nginx.conf": File(text)},), {}

    turns = itertools.count()
    try:
        nginx.apply(files)
        benchmark.pedantic(nginx.apply, setup=prepare, rounds=RELOADS)
    finally:
        nginx.stop(0)
