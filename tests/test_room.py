"""Room: connections, processes and descriptors are shared so that no tenant takes them all; on a running nginx."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.apiserver import ApiServer
from support.authority import Authority
from support.backends import Backends
from support.objects import Object, namespace, pod
from support.ports import free_port
from support.router import Router, find_pids
from support.running_daemon import RunningDaemon

from reconciler.nginx.machine import count_processors, fit_connections
from reconciler.rendering.kept_connections import count_room, share_room

Start = Callable[..., Router]
Address = tuple[str, int]
_GREEDY, _MODEST = "greedy.example.com", "modest.example.com"


@pytest.fixture
def where(backends: Backends) -> Address:
    """Give the address of a running Pod."""
    address = ("127.0.0.2", free_port())
    backends.listen(*address)
    return address


def serve(router: Router, where: Address, numbers: dict[str, int]) -> None:
    """Serve hosts with this number of paths, each path of one Pod."""
    ip, port = where
    made: list[Object] = []
    for host, number in numbers.items():
        name = host.partition(".")[0]
        paths = [{"basePath": f"/{path}", "containerPort": port} for path in range(number)]
        made += [namespace(name, {host: {}}), pod(name, "web", ip, paths, [{"containerPort": port}])]
    router.serve(*made)


def count_idle(router: Router, port: int) -> int:
    """Count the connections to a Pod's port that nginx's workers have."""
    wanted = f":{port:04X}"
    inodes = {line.split()[9] for line in Path("/proc/net/tcp").read_text().splitlines()[1:] if wanted in line[:40]}
    folders = [Path(f"/proc/{worker}/fd") for worker in router.workers()]
    links = [os.readlink(link) for folder in folders for link in folder.iterdir()]
    return sum(f"socket:[{inode}]" in links for inode in inodes)


def test_a_tenant_with_many_paths_leaves_clients_room(router: Start, where: Address) -> None:
    """All paths are used in turn: every request is answered, and a quarter of the connections stays free."""
    here = router(NGINX_WORKER_CONNECTIONS="256", NGINX_WORKER_PROCESSES="1")
    serve(here, where, {_GREEDY: 300, _MODEST: 2})
    answers = [here.ask(_GREEDY, f"/{path}").status for path in range(300)]
    answers += [here.ask(_MODEST, f"/{path}").status for path in range(2)]
    assert answers == [200] * 302
    assert count_idle(here, where[1]) <= 192


def test_a_modest_tenant_s_connections_are_kept(router: Start, where: Address) -> None:
    """A tenant with few paths has its connections reused, whatever number of paths another one has."""
    here = router(NGINX_WORKER_CONNECTIONS="256", NGINX_WORKER_PROCESSES="1", ENDPOINTS="reload")
    serve(here, where, {_GREEDY: 300, _MODEST: 2})
    clients = {here.ask(_MODEST, "/1").told["client"] for _ in range(5)}
    assert len(clients) == 1
    clients = {here.ask(_GREEDY, "/1").told["client"] for _ in range(5)}
    assert len(clients) == 5


@given(st.dictionaries(st.text("abcdef", min_size=1), st.integers(1, 500), max_size=40), st.integers(64, 20_000))
def test_idle_connections_are_shared(numbers: dict[str, int], connections: int) -> None:
    """All together fit into the room. A Namespace has at least what an equal part gives, and nothing lies unused."""
    kept = {name: total // numbers[name] for name, total in share_room(numbers, connections).items()}
    room = count_room(connections)
    assert sum(kept[name] * number for name, number in numbers.items()) <= room <= connections * 3 / 4
    for name, number in numbers.items():
        assert kept[name] >= min(64, room // len(numbers) // number)
    if sum(64 * number for number in numbers.values()) <= room:
        assert set(kept.values()) <= {64}


def test_shares_by_example() -> None:
    """What a small Namespace does not need is for the large ones."""
    assert share_room({"small": 1, "large": 60, "larger": 200}, 4096) == {"small": 64, "large": 1504, "larger": 1504}
    assert share_room({"small": 1, "large": 100, "larger": 200}, 1024) == {"small": 64, "large": 352, "larger": 352}
    assert share_room({}, 2048) == {}


# What the machine gives


@pytest.mark.parametrize(
    ("files", "most"),
    [
        ({}, 1000),
        ({"cpu.max": "max 100000\n"}, 1000),
        ({"cpu.max": "200000 100000\n"}, 2),
        ({"cpu.max": "150000 100000\n"}, 2),
        ({"cpu.max": "5000 100000\n"}, 1),
        ({"cpu.max": "rubbish\n"}, 1000),
        ({"cpu.max": "100000 0\n"}, 1000),
        ({"cpu/cpu.cfs_quota_us": "-1\n", "cpu/cpu.cfs_period_us": "100000\n"}, 1000),
        ({"cpu/cpu.cfs_quota_us": "100000\n", "cpu/cpu.cfs_period_us": "100000\n"}, 1),
    ],
)
def test_processors_of_a_container(tmp_path: Path, files: dict[str, str], most: int) -> None:
    """The container's limit counts, rounded up, if it is lower than the number of processors."""
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    assert count_processors(tmp_path) == min(len(os.sched_getaffinity(0)), most)


@pytest.mark.parametrize(
    ("wanted", "descriptors", "files", "fit"),
    [(4096, 20_000, False, 4096), (4096, 1024, False, 960), (4096, 1024, True, 640), (64, 64, False, 64)],
)
def test_connections_fit_into_the_descriptors(wanted: int, descriptors: int, fit: int, *, files: bool) -> None:
    """A worker gets no more connections than it has descriptors for."""
    assert fit_connections(wanted, descriptors, files=files) == fit


@pytest.mark.parametrize(("workers", "number"), [("1", 1), ("3", 3), ("auto", None)])
def test_number_of_workers(router: Start, where: Address, workers: str, number: int | None) -> None:
    """NGINX_WORKER_PROCESSES workers run; `auto` in a tree is nginx's own, which counts all processors."""
    here = router(NGINX_WORKER_PROCESSES=workers)
    serve(here, where, {_MODEST: 1})
    assert len(here.workers()) == (number or os.cpu_count())


def test_the_numbers_are_told_and_used(server: ApiServer, tmp_path: Path, authority: Authority) -> None:
    """A process with few descriptors and one processor says so at its start, and nginx has what fits."""
    daemon = RunningDaemon(tmp_path, server, authority, NGINX_WORKER_CONNECTIONS="4096")
    daemon.before = ("prlimit", "--nofile=200:300", "taskset", "-c", min(os.sched_getaffinity(0)))
    daemon.start()
    try:
        daemon.wait_for_line("nginx has 1 worker, each with 236 connections, of which 177 may wait idle for Pods")
        daemon.wait_for_line("NGINX_WORKER_CONNECTIONS: 4096 are more than 300 descriptors allow")
        daemon.wait_for_line("applied")
        (worker,) = find_pids(daemon.master())
        limits = Path(f"/proc/{worker}/limits").read_text().splitlines()
        assert [line.split()[3:5] for line in limits if line.startswith("Max open files")] == [["300", "300"]]
    finally:
        daemon.close()
    assert not daemon.count("exceed open file resource limit")
