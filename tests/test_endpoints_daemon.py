"""The daemon with Pods that come and go without a reload, and what can happen to it and to its nginx meanwhile."""

import http.client
import itertools
import json
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import psutil
import pytest
from support import clock
from support.apiserver import ApiServer
from support.authority import Authority
from support.objects import namespace, unready, web
from support.running_daemon import RunningDaemon

Launch = Callable[..., RunningDaemon]


@pytest.fixture
def launch(tmp_path: Path, server: ApiServer, authority: Authority, nginx_binary: str, port: int) -> Iterator[Launch]:
    """Start a daemon that uses Lua and serves a host with one Pod; it ends with the test."""
    server.load([namespace("a", {"a.dev": {}}), web("a", port, 2)])
    started: list[RunningDaemon] = []

    def start(*before: object, **settings: str) -> RunningDaemon:
        daemon = RunningDaemon(tmp_path / "daemon", server, authority, ENDPOINTS="lua", **settings)
        daemon.before = before
        started.append(daemon)
        daemon.start()
        daemon.wait_until_serves("a.dev")
        return daemon

    yield start
    for daemon in started:
        daemon.close()


def find_pods(daemon: RunningDaemon, number: int = 8) -> set[str]:
    """Name the last parts of the addresses of the Pods that answer requests."""
    found = set()
    for _ in range(number):
        connection = http.client.HTTPConnection("127.0.0.1", daemon.port, timeout=20)
        try:
            connection.request("GET", "/", headers={"Host": "a.dev"})
            answer = connection.getresponse()
            body = answer.read()
            assert answer.status == 200, answer.status
            found.add(json.loads(body)["pod"].rpartition(":")[0].rpartition(".")[2])
        finally:
            connection.close()
    return found


def has_pods(daemon: RunningDaemon, *lasts: int) -> bool:
    """Tell whether these Pods answer. While a daemon starts, nothing listens for a moment."""
    with suppress(OSError):
        return find_pods(daemon) == {str(last) for last in lasts}
    return False


def move(server: ApiServer, port: int, *lasts: int) -> None:
    """Let the path have these Pods and no others."""
    server.load([namespace("a", {"a.dev": {}}), *(web("a", port, last) for last in lasts)])


def read_workers(daemon: RunningDaemon) -> set[int]:
    """Read the processes of nginx's workers, without those of a former release that are about to end."""
    master = daemon.master()
    children = [one for one in psutil.process_iter(["ppid", "cmdline"]) if one.info["ppid"] == master]
    return {one.pid for one in children if "shutting down" not in " ".join(one.info["cmdline"] or [])}


def test_pods_change_all_day(launch: Launch, server: ApiServer, port: int) -> None:
    """Pods come and go, and nginx's workers stay; each change is a line that says that no reload was needed."""
    daemon = launch()
    assert daemon.count("Pods come and go without a reload of nginx") == 1
    workers = read_workers(daemon)
    for lasts in ((2, 3), (3,), (4, 5), (2,)):
        move(server, port, *lasts)
        daemon.wait_for(lambda lasts=lasts: find_pods(daemon) == {str(last) for last in lasts})
    assert read_workers(daemon) == workers
    assert daemon.count("applied") >= 4


def test_crash_loop(launch: Launch, server: ApiServer, port: int) -> None:
    """A path's only Pod is ready, and is not, again and again: 503 meanwhile, and nginx's workers stay."""
    daemon = launch()
    workers = read_workers(daemon)
    for _ in range(3):
        server.load([namespace("a", {"a.dev": {}}), unready(web("a", port))])
        daemon.wait_for(lambda: daemon.ask("a.dev") == 503)
        move(server, port, 2)
        daemon.wait_for(lambda: daemon.ask("a.dev") == 200)
    assert read_workers(daemon) == workers


def test_a_hundred_changes(launch: Launch, server: ApiServer, port: int) -> None:
    """A hundred changes as fast as the API server takes them end in the last one, and no request fails on the way."""
    daemon = launch()
    lasts = itertools.cycle([(2, 3), (3, 4), (4, 5), (2, 4, 5)])
    for _ in range(100):
        move(server, port, *next(lasts))
        find_pods(daemon, 2)
    move(server, port, 3)
    daemon.wait_for(lambda: find_pods(daemon) == {"3"})


def test_clock_is_set(launch: Launch, server: ApiServer, port: int, tmp_path: Path) -> None:
    """Pods change although the clock is set back by an hour, or forward by a day."""
    offset = tmp_path / "offset"
    offset.write_text("0")
    daemon = launch(sys.executable, clock.__file__, offset)
    for jump, last in ((-3600, 3), (86400, 4)):
        (tmp_path / "next").write_text(str(jump))
        (tmp_path / "next").replace(offset)
        move(server, port, last)
        daemon.wait_for(lambda last=last: find_pods(daemon) == {str(last)})


def test_killed_daemon(launch: Launch, server: ApiServer, port: int) -> None:
    """A daemon that is killed at any moment amid changes leaves an nginx that serves; the next one is up to date."""
    daemon = launch()
    for step in range(6):
        move(server, port, 2 + step % 4)
        time.sleep(0.23 * step)  # another moment of the daemon's second each time
        assert daemon.process
        os.kill(daemon.process.pid, signal.SIGKILL)
        daemon.process.wait()
        assert len(find_pods(daemon)) == 1
        daemon.start()
        daemon.wait_for(lambda: daemon.probe("/readyz")[0] == 200)  # until then the former nginx may answer
        daemon.wait_for(lambda last=2 + step % 4: has_pods(daemon, last))


def test_stopped_worker(launch: Launch, server: ApiServer, port: int) -> None:
    """If a worker hangs, so that nginx does not take the Pods, the daemon says so and serves them by a reload."""
    daemon = launch(NGINX_WORKER_PROCESSES="1", RELOAD_TIMEOUT="30")
    daemon.wait_for(lambda: len(read_workers(daemon)) == 1, "the end of the first release's worker")
    (worker,) = read_workers(daemon)
    os.kill(worker, signal.SIGSTOP)
    try:
        move(server, port, 3)
        daemon.wait_for_line("nginx does not take Pods without a reload, so it is reloaded for them: ")
    finally:
        os.kill(worker, signal.SIGCONT)
    daemon.wait_for(lambda: find_pods(daemon) == {"3"})
    move(server, port, 4)
    daemon.wait_for(lambda: find_pods(daemon) == {"4"})


def test_killed_master(launch: Launch, server: ApiServer, port: int) -> None:
    """An nginx that is killed comes back with the Pods that it had, and takes others."""
    daemon = launch()
    for last in (3, 4):
        move(server, port, last)
        daemon.wait_for(lambda last=last: find_pods(daemon) == {str(last)})
        os.kill(daemon.master(), signal.SIGKILL)
        daemon.wait_for_line("nginx runs again", last - 2)
        assert find_pods(daemon) == {str(last)}


def test_switched_off(launch: Launch, server: ApiServer, port: int) -> None:
    """A daemon with ENDPOINTS=reload takes over a folder that one with Lua has left, and the other way round."""
    daemon = launch()
    for how, last in (("reload", 3), ("lua", 4)):
        daemon.end()
        move(server, port, last)
        daemon.start(ENDPOINTS=how)
        daemon.wait_for(lambda last=last: has_pods(daemon, last))
        state = daemon.folder / "current" / "lua" / "pods.state"
        daemon.wait_for(lambda how=how, state=state: state.exists() == (how == "lua"))
