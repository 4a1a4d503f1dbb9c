"""What it costs to change Pods without a reload, and to choose them in Lua, beside nginx's own upstreams."""

import socket
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import pytest
from meter import read_share, read_time
from pytest_benchmark.fixture import BenchmarkFixture
from support.lua_nginx import LuaNginx, write_sets
from support.ports import free_port
from support.running_daemon import wait_until

from reconciler.nginx.program import find_version
from reconciler.rendering.endpoints import find_change, write_parts
from reconciler.routing.model import Server

Lua = Callable[..., LuaNginx]
PODS = 4  # of each path
PATHS = 500
CLIENTS = 48
ROUNDS = 5
BURSTS = 100
CHANGES = 200
_POD = """worker_processes 1; daemon off; pid pod.pid; error_log stderr; worker_rlimit_nofile 16384;
events {{ worker_connections 12000; }}
http {{ access_log off; keepalive_requests 100000000; server {{ {listens} return 200 ok; }} }}"""
_HEAD = "HTTP/1.1\r\nHost: a.test\r\nUser-Agent: curl/8.5.0\r\nAccept: */*\r\n\r\n"
_PROBE = """
import http.client, sys, time
connection, took, until = http.client.HTTPConnection("127.0.0.1", int(sys.argv[1])), [], time.monotonic() + 2
while time.monotonic() < until:
    began = time.monotonic()
    connection.request("GET", "/")
    connection.getresponse().read()
    took.append(1000 * (time.monotonic() - began))
took.sort()
print("; ".join(f"{took[int(len(took) * part)]:.1f}" for part in (0.5, 0.99, 0.999)), f"{took[-1]:.1f}", sep="; ")
"""


def make_sets(paths: int, first: str = "127.7", port: int = 9) -> dict[str, tuple[Server, ...]]:
    """Make the sets of as many paths, with other Pods each. Nobody listens on port 9."""
    return {
        f"{path:032x}.tenant": tuple(
            Server(f"{first}.{pod // 250}.{pod % 250 + 1}:{port}", 1, "")
            for pod in range(path * PODS, (path + 1) * PODS)
        )
        for path in range(paths)
    }


@contextmanager
def serve_pods(folder: Path, binary: str, sets: dict[str, tuple[Server, ...]]) -> Iterator[None]:
    """Answer as all Pods of sets."""
    folder.mkdir()
    addresses = [one.address for servers in sets.values() for one in servers]
    listens = " ".join(f"listen {address};" for address in addresses)
    (folder / "nginx.conf").write_text(_POD.format(listens=listens))
    with subprocess.Popen([binary, "-e", "stderr", "-p", f"{folder}/", "-c", "nginx.conf"]) as process:
        try:
            wait_until(lambda: _answers(addresses[-1]))
            yield
        finally:
            process.terminate()


def _answers(address: str) -> bool:
    ip, _, port = address.rpartition(":")
    with suppress(OSError), socket.create_connection((ip, int(port))):
        return True
    return False


def spend(here: LuaNginx, paths: list[str]) -> float:
    """Give the processor time of the only worker for a request, in seconds; the requests take the paths in turns."""
    (worker,) = here.workers
    requests = [f"GET {path} {_HEAD}".encode() for path in paths]
    with ExitStack() as stack:
        clients = [
            stack.enter_context(socket.create_connection(("127.0.0.1", here.port), timeout=20)) for _ in range(CLIENTS)
        ]
        sent = 0
        for burst in range(2 * BURSTS):
            if burst == BURSTS:
                before = read_time(worker.pid)
            for client in clients:
                client.sendall(requests[sent % len(requests)])
                sent += 1
            for client in clients:
                answer = b""
                while not answer.endswith(b"\r\n\r\nok"):
                    answer += client.recv(65536)
                assert answer.startswith(b"HTTP/1.1 200 "), answer
        return (read_time(worker.pid) - before) / (BURSTS * CLIENTS)


def test_requests(
    benchmark: BenchmarkFixture, lua: Lua, nginx_binary: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Processor time of a request, in Lua and with nginx's own upstreams in turns, to one path and to many."""
    sets = make_sets(PATHS, "127.77", free_port())
    found: dict[tuple[str, int], list[float]] = {}

    def measure() -> None:
        with serve_pods(tmp_path / "pods", nginx_binary, sets):
            here = lua(sets, workers=1, locations=True, pool=2048, connections=8192)
            for _ in range(ROUNDS):
                for paths in (1, PATHS):
                    for way in ("lua", "static"):
                        asked = [f"/each/{way}/{name}/" for name in list(sets)[:paths]]
                        found.setdefault((way, paths), []).append(spend(here, asked))

    benchmark.pedantic(measure, rounds=1)
    lines = []
    for paths in (1, PATHS):
        inside, static = (1e6 * min(found[way, paths]) for way in ("lua", "static"))
        lines.append(f"{paths} paths: Lua {inside:.1f} µs, upstream {static:.1f} µs, ratio {inside / static:.2f}")
    tell(capsys, nginx_binary, lines)


@pytest.mark.parametrize("paths", [500, 2500])
def test_changes(
    benchmark: BenchmarkFixture, lua: Lua, nginx_binary: str, capsys: pytest.CaptureFixture[str], paths: int
) -> None:
    """Time from a change to the answer of a request that saw it, processor time of a change, and memory."""
    sets = make_sets(paths)
    lines: list[str] = []

    def measure() -> None:
        here = lua(sets, static=False)
        rest = share(here)
        took, spent = change_often(here)
        lines.append(f"{paths * PODS} Pods, seen after {statistics.median(took):.1f} ms, worst {max(took):.1f} ms")
        lines.append(
            f"processor time of a change {1000 * spent:.2f} ms; MB at rest {rest:.0f}, after {share(here):.0f}"
        )
        lines.append(f"dictionary: {8 - here.standing.free / 2**20:.1f} MiB used")

    benchmark.pedantic(measure, rounds=1)
    tell(capsys, nginx_binary, lines)


def change_often(here: LuaNginx) -> tuple[list[float], float]:
    """Change a path's Pods again and again; give the times until they are seen, in ms, and the worker's time in s."""
    name = next(iter(here.sets))
    took = []
    other = (Server("127.0.0.1:9", 1, ""),)
    before = sum(read_time(one.pid) for one in here.workers)
    for turn in range(CHANGES):
        began = time.monotonic()
        here.replace({**here.sets, name: () if turn % 2 else other})
        while here.ask(f"/lua/{name}/").status != (503 if turn % 2 else 502):
            pass
        took.append(1000 * (time.monotonic() - began))
    return took, (sum(read_time(one.pid) for one in here.workers) - before) / CHANGES


def share(here: LuaNginx) -> float:
    """Give the memory of nginx, in MB."""
    assert here.process.pid
    return read_share([here.process.pid, *(one.pid for one in here.workers)])


def test_change_of_everything(
    benchmark: BenchmarkFixture, lua: Lua, nginx_binary: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """How long requests of others wait while all 10,000 Pods change, beside the same time without a change."""
    sets = make_sets(2500)
    other = make_sets(2500, "127.8")
    lines: list[str] = []

    def measure() -> None:
        here = lua({**sets, "0a.a": ()}, workers=1, static=False)
        parts = len(write_parts(find_change(write_sets(here.sets), write_sets({**other, "0a.a": ()})), 1, 2))
        quiet = read_slow(start_probe(here))
        probe, took = start_probe(here), []
        while probe.poll() is None:
            began = time.monotonic()
            here.replace({**(sets if len(took) % 2 else other), "0a.a": ()})
            took.append(1000 * (time.monotonic() - began))
        lines.append(f"10,000 Pods in {parts} parts: {statistics.median(took):.0f} ms, {len(took)} times")
        lines.append(f"answers meanwhile after {read_slow(probe)} ms, without {quiet} ms (median, 99 %, 99.9 %, worst)")

    benchmark.pedantic(measure, rounds=1)
    tell(capsys, nginx_binary, lines)


def start_probe(here: LuaNginx) -> subprocess.Popen[str]:
    """Ask for two seconds, in a process of its own so that this one does not delay it."""
    command = [sys.executable, "-c", _PROBE, str(here.port)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def read_slow(probe: subprocess.Popen[str]) -> str:
    """Give the times until answers came, in ms."""
    return probe.communicate()[0].strip()


def tell(capsys: pytest.CaptureFixture[str], binary: str, lines: list[str]) -> None:
    """Print figures."""
    with capsys.disabled():
        sys.stdout.write(f"\n  nginx {'.'.join(map(str, find_version(binary)))}: {'; '.join(lines)}")
