"""What can happen to the daemon's machine: kills at any moment, signals, full and read-only disks, wrong clocks."""

import logging
import os
import random
import resource
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from itertools import count
from pathlib import Path

import pytest
from support import clock, faults
from support.apiserver import ApiServer
from support.authority import Authority
from support.backends import Backends
from support.clients import Client, Download, NewConnections, busy
from support.objects import Object, namespace, pod
from support.ports import free_port, loopback
from support.running_daemon import RunningDaemon, wait_until

from reconciler.disk.releases import Releases
from reconciler.disk.trees import try_lock
from reconciler.nginx.program import run_test

# 200 kills take too long for `make test`; docs/reliability.md has their results.
KILLS = int(os.environ.get("KILLS", "20"))
SHUT = ("ConnectionRefusedError", "ConnectionResetError", "RemoteDisconnected")
PORT = free_port()

Launch = Callable[..., RunningDaemon]


@pytest.fixture
def server(authority: Authority, backends: Backends) -> Iterator[ApiServer]:
    """Run a test API server with one host and one Pod that answers."""
    for place in (2, 3):
        backends.listen(address(place), PORT)
    with ApiServer(authority) as running:
        running.load([namespace("a", {"a.dev": {}}), web(2)])
        yield running


@pytest.fixture
def launch(tmp_path: Path, server: ApiServer, authority: Authority, nginx_binary: str) -> Iterator[Launch]:
    """Start daemons that follow the server, and wait until they serve; they stop when the test ends."""
    started: list[RunningDaemon] = []

    def start(*before: object, **settings: str) -> RunningDaemon:
        daemon = RunningDaemon(tmp_path / f"daemon-{len(started)}", server, authority, **settings)
        daemon.before = before
        started.append(daemon)
        daemon.start()
        daemon.wait_until_serves("a.dev")
        return daemon

    yield start
    for daemon in started:
        daemon.close()


def needs_root(*programs: str) -> pytest.MarkDecorator:
    missing = os.geteuid() != 0 or not all(map(shutil.which, programs))
    return pytest.mark.skipif(missing, reason=f"needs root, and {' and '.join(programs)}")


def address(place: int) -> str:
    return loopback(f"10.244.{place}.13")


def web(place: int, of: str = "a") -> Object:
    """Make a Pod that answers."""
    entries, ports = [{"basePath": "/", "containerPort": PORT}], [{"containerPort": PORT}]
    return pod(of, f"web-{place}", address(place), entries, ports)


def pid(daemon: RunningDaemon) -> int:
    assert daemon.process
    return daemon.process.pid


def tell(what: str, clients: list[Client]) -> list[str]:
    """Log how many requests failed and how, and give each failure's type; `--log-cli-level=INFO` shows the log."""
    failures = [failure for client in clients for failure in client.failures]
    logging.info("%s: %d of %d failed %s", what, len(failures), sum(one.sent for one in clients), sorted({*failures}))
    return [failure.partition(":")[0] for failure in failures]


# Killed


@contextmanager
def changing(server: ApiServer, look: Callable[[], None]) -> Iterator[None]:
    """Change the routes again and again, and call `look` after each change."""
    over = threading.Event()

    def change() -> None:
        for step in count():
            if over.wait(0.03):
                return
            server.put(namespace("b", {f"b-{step}.dev": {}}))
            look()

    thread = threading.Thread(target=change)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def test_killed_daemon(launch: Launch, server: ApiServer, backends: Backends, nginx_binary: str) -> None:
    """A daemon killed at any moment leaves a whole live release and a serving nginx, and the next daemon continues."""
    daemon = launch(RECONCILE_INTERVAL="60")
    clients: list[Client] = [NewConnections(daemon.port, "a.dev") for _ in range(2)]
    chance = random.Random(0)
    ready = threading.Event()
    ready.set()

    def look() -> None:
        process = daemon.process
        if ready.is_set():  # SIGHUP would end a daemon that does not handle it yet
            process.send_signal(signal.SIGHUP)

    with busy(clients, backends), changing(server, look):
        for _ in range(KILLS):
            time.sleep(chance.uniform(0, 1.0))
            ready.clear()
            daemon.end(signal.SIGKILL)
            check_folder(daemon.folder, nginx_binary)
            # It may have been killed before the new nginx started, or while that one was starting.
            daemon.wait_for(lambda: daemon.ask("a.dev") == 200 or not daemon.find_nginx())
            starts = daemon.count("starts on")
            daemon.start()
            daemon.wait_for_line("starts on", starts + 1)
            ready.set()
    applied = daemon.count("applied")
    logging.info("%d kills, %d releases applied", KILLS, applied)
    assert {*tell("killed daemons", clients)} <= {*SHUT}
    server.put(namespace("b", {"last.dev": {}}))
    look()
    daemon.wait_for(lambda: daemon.ask("last.dev") == 404)
    assert daemon.ask("a.dev") == 200
    assert not [path for path in (daemon.folder / "releases").iterdir() if path.name.startswith(".")]
    assert daemon.end() == 0


def is_free(folder: Path) -> bool:
    """Tell whether nobody has the folder's lock: a killed daemon's child has it until it begins its program."""
    handle = os.open(folder / "run", os.O_RDONLY)
    try:
        return try_lock(handle)
    finally:
        os.close(handle)


def check_folder(folder: Path, nginx_binary: str) -> None:
    """Check what a killed daemon left: the live release is whole, and nginx accepts it."""
    wait_until(lambda: is_free(folder))
    releases = Releases(folder)
    assert releases.mine
    assert next(releases.find_whole()).name == releases.live
    releases.close()
    assert run_test(nginx_binary, folder, folder / "current") == []


def test_killed_master(launch: Launch, backends: Backends) -> None:
    """A killed master is replaced; connections fail only while the new nginx takes over the ports."""
    daemon = launch()
    clients: list[Client] = [NewConnections(daemon.port, "a.dev") for _ in range(2)]
    with busy(clients, backends):
        os.kill(daemon.master(), signal.SIGKILL)
        daemon.wait_for_line("nginx runs again")
    assert {*tell("killed master", clients)} <= {*SHUT}
    assert daemon.count("nginx was killed by SIGKILL; it is started again") == 1
    assert daemon.ask("a.dev") == 200


def test_killed_worker(launch: Launch, backends: Backends) -> None:
    """A killed worker loses at most the requests that it was answering, and no connection is refused."""
    daemon = launch()
    clients: list[Client] = [NewConnections(daemon.port, "a.dev") for _ in range(2)]
    with busy(clients, backends):
        for _ in range(5):
            workers = children(daemon.master())
            os.kill(min(workers), signal.SIGKILL)
            daemon.wait_for(lambda was=workers: len(children(daemon.master()) - {min(was)}) == len(was))
    failures = tell("five killed workers", clients)
    assert {*failures} <= {"ConnectionResetError", "RemoteDisconnected"}
    assert len(failures) <= 5 * len(clients)


def test_killed_daemon_and_master(launch: Launch, server: ApiServer, backends: Backends) -> None:
    """If daemon and master are both killed, the workers still serve, and the next daemon takes over from them."""
    daemon = launch()
    clients: list[Client] = [NewConnections(daemon.port, "a.dev") for _ in range(2)]
    with busy(clients, backends):
        master = daemon.master()
        orphans = children(master)
        daemon.end(signal.SIGKILL)
        os.kill(master, signal.SIGKILL)
        assert daemon.ask("a.dev") == 200
        server.put(namespace("b", {"b.dev": {}}))
        daemon.start()
        daemon.wait_for(lambda: daemon.ask("b.dev") == 404)
    assert {*tell("killed daemon and master", clients)} <= {*SHUT}
    daemon.wait_for(lambda: not orphans & {*daemon.find_nginx()})


def children(parent: int) -> set[int]:
    return {int(child) for child in Path(f"/proc/{parent}/task/{parent}/children").read_text().split()}


# Signals to stop


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGQUIT])
def test_stop_drains(launch: Launch, backends: Backends, number: signal.Signals) -> None:
    """After a signal to stop, new connections are refused, a running download finishes, and the exit code is 0."""
    daemon = launch(SHUTDOWN_TIMEOUT="60")
    download = Download(daemon.port, "a.dev")
    with busy([download], backends):
        daemon.wait_for(lambda: download.sent > 5)
        daemon.process.send_signal(number)
        daemon.wait_for(lambda: daemon.ask("a.dev") == 0)
        sent = download.sent
        daemon.wait_for(lambda: download.sent > sent + 20)
        assert daemon.process.poll() is None
    assert download.failures == []
    assert daemon.process.wait(60) == 0
    assert daemon.find_nginx() == []


def test_stop_drains_no_longer_than_it_may(launch: Launch, backends: Backends) -> None:
    """After SHUTDOWN_TIMEOUT a running download is cut off, and the exit code is still 0."""
    daemon = launch(SHUTDOWN_TIMEOUT="1")
    download = Download(daemon.port, "a.dev")
    with busy([download], backends):
        daemon.wait_for(lambda: download.sent > 5)
        assert daemon.end() == 0
        daemon.wait_for(lambda: download.failures)
    assert daemon.find_nginx() == []


def test_second_signal_ends_at_once(launch: Launch, backends: Backends) -> None:
    """A second signal to stop ends the daemon without waiting for running requests."""
    daemon = launch(SHUTDOWN_TIMEOUT="3600")
    download = Download(daemon.port, "a.dev")
    with busy([download], backends):
        daemon.wait_for(lambda: download.sent > 5)
        daemon.process.send_signal(signal.SIGTERM)
        daemon.wait_for(lambda: daemon.ask("a.dev") == 0)
        assert daemon.process.poll() is None
        assert daemon.end() == 128 + signal.SIGTERM
    assert daemon.find_nginx() == []


def test_stop_does_not_wait_for_the_cluster(launch: Launch, server: ApiServer) -> None:
    """A signal to stop ends the daemon even while a read of the cluster hangs."""
    daemon = launch(API_TIMEOUT="600")
    server.fail(faults.HANG)
    asked = len(server.requests)
    server.wait_for(lambda _: len(server.requests) > asked)
    assert daemon.end() == 0
    server.mend()


# The disk


SMALL_DISK = ("unshare", "-m", "sh", "-c", 'mkdir -p "$0" && mount -t tmpfs -o size=1m tmpfs "$0" && exec "$@"')


@needs_root("unshare", "nsenter")
@pytest.mark.parametrize("what", ["full", "read-only"])
def test_disk_fails(launch: Launch, server: ApiServer, tmp_path: Path, what: str) -> None:
    """A full or read-only disk is logged once; nginx serves on, and gets the newest state once the disk works again."""
    daemon = launch(*SMALL_DISK, tmp_path / "daemon-0" / "router")
    folder = Path(f"/proc/{pid(daemon)}/root{daemon.folder}")
    remount = ("nsenter", "-m", "-t", pid(daemon), "mount", "-o", "remount,{}", daemon.folder)

    def run(mode: str) -> None:
        subprocess.run([str(word).format(mode) for word in remount], check=True)

    if what == "full":
        fill(folder / "filler")
    else:
        run("ro")
    server.put(namespace("b", {"b.dev": {}}))
    reason = "No space left on device" if what == "full" else "Read-only file system"
    daemon.wait_for_line(reason)
    asked = len(server.requests)
    server.wait_for(lambda _: len(server.requests) > asked + 8)
    assert daemon.count(reason) == 1
    assert (daemon.ask("a.dev"), daemon.ask("b.dev")) == (200, 0)
    if what == "full":
        (folder / "filler").unlink()
    else:
        run("rw")
    daemon.wait_for(lambda: daemon.ask("b.dev") == 404)
    daemon.wait_for_line("recovered")
    assert daemon.count("recovered") == 1
    assert daemon.end() == 0


@needs_root("unshare")
def test_full_of_former_releases(launch: Launch, server: ApiServer, tmp_path: Path) -> None:
    """Former releases are removed if a new release needs their room."""
    daemon = launch(*SMALL_DISK, tmp_path / "daemon-0" / "router")
    folder = Path(f"/proc/{pid(daemon)}/root{daemon.folder}")
    for number in range(6):  # each release takes a third of the disk
        server.put(namespace("b", {f"h{number}-{host}.b.dev": {} for host in range(800)}))
        daemon.wait_for(lambda number=number: daemon.ask(f"h{number}-799.b.dev") == 404)
    assert len([*(folder / "releases").iterdir()]) < 3
    assert daemon.count("No space left on device") == 0


def fill(path: Path) -> None:
    """Fill the disk with one file."""
    with suppress(OSError), path.open("wb", buffering=0) as stream:
        while stream.write(bytes(4096)):
            pass


def test_no_room(launch: Launch, server: ApiServer) -> None:
    """If files cannot be written whole, this is logged once, nginx serves on, and the daemon recovers by itself."""
    daemon = launch()
    resource.prlimit(pid(daemon), resource.RLIMIT_FSIZE, (64, resource.RLIM_INFINITY))
    server.put(namespace("b", {"b.dev": {}}))
    daemon.wait_for_line("File too large")
    asked = len(server.requests)
    server.wait_for(lambda _: len(server.requests) > asked + 8)
    assert daemon.count("File too large") == 1
    assert (daemon.ask("a.dev"), daemon.ask("b.dev")) == (200, 0)
    resource.prlimit(pid(daemon), resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    daemon.wait_for(lambda: daemon.ask("b.dev") == 404)


def test_second_daemon_is_refused(launch: Launch, server: ApiServer, authority: Authority, tmp_path: Path) -> None:
    """A second daemon on the same folder ends with an error of one line, and the first daemon serves on."""
    first = launch()
    master = first.master()
    with closing(RunningDaemon(tmp_path / "second", server, authority)) as second:
        second.start("--serve", "--output", first.folder)
        assert second.process
        assert second.process.wait(60) == 3
    lines = [line for line in second.lines if "starts on" not in line]
    (line,) = lines
    assert line.endswith(f" error   {first.folder}: another dispatcher serves this folder")
    assert first.ask("a.dev") == 200
    assert first.master() == master


# The clock


def test_clock_is_set(launch: Launch, server: ApiServer, tmp_path: Path) -> None:
    """Changes are served although the clock is set back by an hour, or forward by a day or by seconds."""
    offset = tmp_path / "offset"
    offset.write_text("0")
    daemon = launch(sys.executable, clock.__file__, offset)
    for place, jump in enumerate((-3600, 86400, 5)):
        (tmp_path / "next").write_text(str(jump))
        (tmp_path / "next").replace(offset)
        for step in range(2):
            host = f"b-{place}-{step}.dev"
            server.put(namespace("b", {host: {}}))
            daemon.wait_for(lambda host=host: daemon.ask(host) == 404)
    assert daemon.ask("a.dev") == 200


# The first process of a container


@needs_root("unshare")
def test_first_process_reaps_orphans(launch: Launch) -> None:
    """As process 1 the daemon leaves no zombies: it reaps the workers of a killed nginx, which become its children."""
    daemon = launch("unshare", "--pid", "--fork", "--mount-proc")
    (first,) = children(pid(daemon))
    (master,) = children(first)
    workers = children(master)
    os.kill(master, signal.SIGKILL)
    daemon.wait_for(lambda: workers <= children(first), "the workers' new parent")
    daemon.wait_for_line("nginx runs again")
    daemon.wait_for(lambda: not workers & children(first), "the workers' end")
    assert daemon.ask("a.dev") == 200
    os.kill(first, signal.SIGTERM)
    assert daemon.process
    assert daemon.process.wait(60) == 0
