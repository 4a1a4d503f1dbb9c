"""What it costs when all paths of a large cluster are used: answers, idle connections, nginx's time for a request."""

import asyncio
import base64
import itertools
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest
from fleet import make_objects, name_host, name_key
from meter import read_share, read_time
from pytest_benchmark.fixture import BenchmarkFixture
from support import objects
from support.ports import free_port
from support.running_daemon import wait_until
from support.stages import build_table, normalise, render

from reconciler.modes.sinks import prepare_serving
from reconciler.settings import read_settings

PODS = 10_000
CLIENTS = 64
REQUESTS = 75_000
_PATHS = 5
_ADDRESSES = [f"127.0.0.{last}" for last in range(2, 6)]
_POD = """worker_processes 2; daemon off; pid pod.pid; error_log stderr; worker_rlimit_nofile 20000;
events {{ worker_connections 19000; }}
http {{ access_log off; keepalive_requests 1000000; server {{ {listens} location / {{ return 200 "ok"; }} }} }}"""


@contextmanager
def run_pods(folder: Path, binary: str) -> Iterator[int]:
    """Run one nginx that answers for all Pods; give its port."""
    port = free_port()
    listens = " ".join(f"listen {address}:{port};" for address in _ADDRESSES)
    (folder / "nginx.conf").write_text(_POD.format(listens=listens))
    with subprocess.Popen([binary, "-e", "stderr", "-p", f"{folder}/", "-c", "nginx.conf"]) as process:
        try:
            yield port
        finally:
            process.terminate()


def make_cluster(port: int) -> list[objects.Object]:
    """Make the cluster; its Pods have the four addresses in turn, so that each path has four servers."""
    made = list(make_objects(PODS))
    for number, one in enumerate(one for one in made if one["kind"] == "Pod"):
        ip = _ADDRESSES[number // _PATHS % len(_ADDRESSES)]
        one["status"] |= {"podIP": ip, "podIPs": [{"ip": ip}]}
        one["spec"]["containers"][0]["ports"] = [{"containerPort": port, "protocol": "TCP"}]
        paths = objects.PATHS
        one["metadata"]["annotations"][paths] = one["metadata"]["annotations"][paths].replace('"3000"', f'"{port}"')
    return made


def write_requests() -> list[bytes]:
    """Write a request for each path of the cluster."""
    return [
        f"GET /app-{path} HTTP/1.1\r\nHost: {name_host(number)}\r\n"
        f"X-Routing-Api-Key: {base64.b64encode(name_key(number).encode()).decode()}\r\n\r\n".encode()
        for number in range(PODS // 20)
        for path in range(_PATHS)
    ]


async def send_all(port: int, requests: list[bytes]) -> Counter[str]:
    """Send requests in turn over connections of several clients; count what came."""
    turns = itertools.cycle(requests)
    answers: Counter[str] = Counter()

    async def send() -> None:
        writer = None
        while answers.total() < REQUESTS:
            try:
                if writer is None:
                    reader, writer = await asyncio.open_connection("127.0.0.1", port)
                writer.write(next(turns))
                head = await reader.readuntil(b"\r\n\r\n")
                length = int(head.lower().partition(b"content-length:")[2].partition(b"\r\n")[0])
                await reader.readexactly(length)
                answers[head[9:12].decode()] += 1
                if b"Connection: close" in head:
                    writer.close()
                    writer = None
            except (OSError, EOFError):
                answers["closed"] += 1
                if writer:
                    writer.close()
                writer = None
        if writer:
            writer.close()
            await writer.wait_closed()

    await asyncio.gather(*(send() for _ in range(CLIENTS)))
    return answers


@pytest.mark.parametrize("connections", ["", "4096"], ids=["default", "4096"])
def test_all_paths(
    benchmark: BenchmarkFixture, tmp_path: Path, nginx_binary: str, capsys: pytest.CaptureFixture[str], connections: str
) -> None:
    """Use 2,500 paths in turn: every request must be answered by a Pod."""
    port = free_port()
    how = read_settings({
        "PORT": str(port), "LISTEN_ADDRESSES": "127.0.0.1", "DENY_POD_CIDRS": "none",
        "NGINX_WORKER_CONNECTIONS": connections,
    })  # fmt: skip
    pods = tmp_path / "pods"
    pods.mkdir()
    with run_pods(pods, nginx_binary) as pods_port:
        settings, nginx = prepare_serving(tmp_path / "router", how, lambda _: None)
        try:
            snapshot = normalise(objects.listing(make_cluster(pods_port)), settings)
            nginx.apply(render(build_table(snapshot, settings, time.time()).routes, settings))
            assert nginx.pid
            master = psutil.Process(nginx.pid)
            wait_until(lambda: len(master.children()) == settings.worker_processes)
            workers = master.children()
            before = sum(read_time(worker.pid) for worker in workers)
            answers = benchmark.pedantic(lambda: asyncio.run(send_all(port, write_requests())), rounds=1)
            spent = sum(read_time(worker.pid) for worker in workers) - before
            kept = sum(
                one.status == "ESTABLISHED" and one.raddr.port == pods_port
                for worker in workers
                for one in worker.net_connections("tcp")
            )
            memory = read_share([nginx.pid, *(worker.pid for worker in workers)])
        finally:
            nginx.stop(0)
    with capsys.disabled():
        sys.stdout.write(
            f"\n  {PODS:,} Pods, {settings.worker_connections} connections, {len(workers)} workers: "
            f"answers {dict(answers)}, {kept} idle connections to Pods, {1e6 * spent / REQUESTS:.0f} µs a request, "
            f"{memory:.0f} MB"
        )
    assert set(answers) == {"200"}
