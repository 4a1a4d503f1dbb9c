"""What keeps nginx serving: it is restarted when it dies, and a new process continues where a killed one stopped."""

import http.client
import os
import shutil
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import psutil
import pytest
from support.backends import Backends
from support.objects import namespace, pod
from support.pods import DECLARED, entry
from support.router import Router, find_pids
from support.running_daemon import wait_until

from reconciler.loop.events import FormerUnserved, MemoryShort, NginxEnded, NginxFailed, NginxStarted
from reconciler.nginx import sink
from reconciler.nginx.memory import is_short
from reconciler.nginx.process import Process
from reconciler.nginx.program import NginxError

Start = Callable[..., Router]
ONE, TWO = namespace("a", {"one.dev": {}}), namespace("a", {"two.dev": {}})


def answers(router: Router, host: str) -> bool:
    try:
        return router.ask(host, "/").status == 404
    except OSError:
        return False


def is_open(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), 20).close()
    except OSError:
        return False
    return True


def serving_again(router: Router) -> Router:
    """Replace the router's sink by a new one, as a new process would, and forget the events so far."""
    router.events.clear()
    router.nginx = router.start_sink()
    return router


def test_killed_master_is_started_again(router: Start) -> None:
    """A killed master is restarted without any cycle; its old workers go on serving until new ones replace them."""
    here = router()
    release = here.serve(ONE).release
    here.nginx.stop()
    serving_again(here).nginx.resume()
    killed, orphans = here.nginx.pid, here.workers()
    assert killed
    os.kill(killed, signal.SIGKILL)
    wait_until(lambda: here.nginx.pid not in (None, killed))
    again = [NginxEnded("was killed by SIGKILL"), NginxStarted(release, again=True)]
    wait_until(lambda: here.events == [NginxStarted(release, again=False), *again])
    assert answers(here, "one.dev")
    assert not orphans & here.workers()


def test_workers_of_a_killed_master_finish(
    router: Start, backends: Backends, ips: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """If dispatcher is stopped before it has replaced a killed master, the workers finish their requests and end."""
    monkeypatch.setattr(sink, "_BACK_OFF", (600.0,))
    here = router()
    here.serve(ONE, pod("a", "web-0", ips[0], [entry("/")], DECLARED))
    workers, master = here.workers(), here.nginx.pid
    assert master
    connection = http.client.HTTPConnection("127.0.0.1", here.port, timeout=20)
    connection.request("GET", "/stream", headers={"Host": "one.dev"})
    response = connection.getresponse()
    assert response.read(6) == b"first,"
    os.kill(master, signal.SIGKILL)
    wait_until(lambda: NginxEnded("was killed by SIGKILL") in here.events)
    stopping = threading.Thread(target=here.nginx.stop)
    stopping.start()
    wait_until(lambda: not is_open(here.port))
    assert stopping.is_alive()
    backends.let_go()
    assert response.read() == b"second"
    connection.close()
    stopping.join(20)
    assert not stopping.is_alive()
    assert not any(map(psutil.pid_exists, workers))


def test_killed_worker_is_replaced(router: Start) -> None:
    """A killed worker is replaced by the master."""
    here = router()
    here.serve(ONE)
    before = here.workers()
    for worker in before:
        with suppress(ProcessLookupError):  # it may have ended already
            os.kill(worker, signal.SIGKILL)
    wait_until(lambda: bool(here.workers()) and not here.workers() & before)
    assert answers(here, "one.dev")


def test_broken_nginx_is_tried_again(router: Start, tmp_path: Path, nginx_binary: str) -> None:
    """An nginx that cannot be started is retried; once it starts, it serves the last good release."""
    binary = tmp_path / "nginx"
    binary.symlink_to(nginx_binary)
    here = router(NGINX_BINARY=str(binary))
    release = here.serve(ONE).release
    here.nginx.stop()
    serving_again(here).nginx.resume()
    binary.unlink()
    assert here.nginx.pid
    os.kill(here.nginx.pid, signal.SIGKILL)
    failed = NginxFailed(f"{binary} cannot be run: No such file or directory")
    wait_until(lambda: here.events.count(failed) == 2)
    binary.symlink_to(nginx_binary)
    wait_until(lambda: here.events[-1] == NginxStarted(release, again=True))
    assert answers(here, "one.dev")
    assert here.events.count(NginxEnded("was killed by SIGKILL")) == 1
    assert {type(event) for event in here.events} == {NginxStarted, NginxEnded, NginxFailed}


def test_resume_serves_the_last_good_release(router: Start) -> None:
    """A new process serves at once what the last process served, without a cycle."""
    here = router()
    files = dict(here.serve(ONE).files)
    release = here.last.release if here.last else ""
    here.nginx.stop()
    assert not answers(here, "one.dev")
    serving_again(here)
    resumed = here.nginx.resume()
    assert resumed
    assert resumed.name == release
    assert resumed.files == files
    assert here.last
    assert resumed.snapshot == here.last.snapshot
    assert answers(here, "one.dev")


def test_resume_without_a_release(router: Start) -> None:
    """If nothing was served before, nothing is resumed."""
    assert router().nginx.resume() is None


def test_resume_passes_over_what_is_damaged(router: Start) -> None:
    """A release whose files were lost, as in a power failure, is not served; the release before it is."""
    here = router()
    here.serve(ONE)
    here.serve(TWO)
    here.nginx.stop()
    (here.folder / "current" / "nginx.conf").write_bytes(b"")
    serving_again(here)
    here.nginx.resume()
    assert answers(here, "one.dev")
    assert not answers(here, "two.dev")


def test_resume_passes_over_what_cannot_be_read(router: Start) -> None:
    """Something else in place of a release is passed over too."""
    here = router()
    here.serve(ONE)
    here.serve(TWO)
    here.nginx.stop()
    live = (here.folder / "current").resolve()
    shutil.rmtree(live)
    live.write_text("a file")
    serving_again(here)
    here.nginx.resume()
    assert answers(here, "one.dev")


def test_watch_outlives_a_broken_link(router: Start) -> None:
    """A broken link and a signal without a name do not end the watch: once the link is repaired, nginx runs again."""
    here = router()
    here.serve(ONE)
    current, killed = here.folder / "current", here.nginx.pid
    assert killed
    live = current.readlink()
    current.unlink()
    current.mkdir()
    os.kill(killed, 40)
    wait_until(lambda: here.nginx.pid is None)
    time.sleep(0.5)
    current.rmdir()
    current.symlink_to(live)
    wait_until(lambda: here.nginx.pid is not None and answers(here, "one.dev"))


def test_resume_passes_over_what_nginx_refuses(router: Start, tmp_path: Path, nginx_binary: str) -> None:
    """A release that this nginx no longer accepts is passed over, and an event reports it."""
    here = router()
    release = here.serve(ONE).release
    here.nginx.stop()
    judge = tmp_path / "judge"
    refusal = 'case "$1" in -t) echo "nginx: [emerg] too old" >&2; exit 1 ;; esac'
    judge.write_text(f'#!/bin/sh\n{refusal}\nexec {nginx_binary} "$@"\n')
    judge.chmod(0o755)
    other = router(NGINX_BINARY=str(judge))
    other.nginx.stop()
    other.nginx = other.start_sink(here.folder)
    with pytest.raises(NginxError, match="no former release can be served"):
        other.nginx.resume()
    assert (here.folder / "current").readlink().name == release
    serving = other.nginx.pid
    assert serving is None
    assert other.events == [FormerUnserved(release, f"nginx refuses release {release}: too old")]


def test_large_tree_has_longer(router: Start, tmp_path: Path, nginx_binary: str) -> None:
    """A tree that takes long to test may take as long to load, whatever RELOAD_TIMEOUT is."""
    slow = tmp_path / "slow"
    slow.write_text(f'#!/bin/sh\ncase "$1" in -t|-e) sleep 2 ;; esac\nexec {nginx_binary} "$@"\n')
    slow.chmod(0o755)
    here = router(NGINX_BINARY=str(slow), RELOAD_TIMEOUT="1")
    here.serve(ONE)
    assert answers(here, "one.dev")


def test_damaged_release_is_written_anew(router: Start) -> None:
    """A release of the right name, but with other files in it, is written anew."""
    here = router()
    release = here.serve(ONE).release
    here.serve(TWO)
    (here.folder / "releases" / release / "nginx.conf").write_bytes(b"nonsense;")
    here.serve(ONE)
    assert answers(here, "one.dev")


def leave(router: Router, host: str) -> tuple[socket.socket, int]:
    """Begin a request and serve another host; give the connection, and the worker that waits for the request's end."""
    client = socket.create_connection(("127.0.0.1", router.port))
    client.sendall(b"GET / HTTP/1.1\r\nHost: one.dev\r\n")
    before = router.workers()
    assert answers(router, "one.dev")  # so that a worker has accepted the connection before
    router.serve(namespace("a", {"one.dev": {}, host: {}}))
    wait_until(lambda: len([pid for pid in before if Path(f"/proc/{pid}").exists()]) == 1)
    (worker,) = [pid for pid in before if Path(f"/proc/{pid}").exists()]
    return client, worker


def is_told_to_end(pid: int) -> bool:
    pending = Path(f"/proc/{pid}/status").read_text().partition("ShdPnd:")[2].split()[0]
    return bool(int(pending, 16) & 1 << (signal.SIGTERM - 1))


def test_short_memory_ends_workers_that_leave(router: Start, tmp_path: Path) -> None:
    """Above four fifths of the container's memory, the oldest leaving worker is ended, and no other worker."""
    here = router(WORKER_SHUTDOWN_TIMEOUT="240s")
    here.nginx.stop()
    for name, content in {"memory.max": "1000", "memory.current": "900", "memory.stat": "inactive_file 101"}.items():
        (tmp_path / name).write_text(f"{content}\n")
    here.nginx = here.start_sink(cgroup=tmp_path)
    here.serve(ONE)
    (one, older), (two, younger) = leave(here, "two.dev"), leave(here, "three.dev")
    serving = here.workers()
    assert MemoryShort() not in here.events
    os.kill(older, signal.SIGSTOP)
    (tmp_path / "memory.stat").write_text("inactive_file 99\n")
    wait_until(lambda: is_told_to_end(older))
    assert "shutting down" in Path(f"/proc/{younger}/cmdline").read_text()
    os.kill(older, signal.SIGCONT)
    with one, two:
        for client in (one, two):
            client.settimeout(60)
            assert client.recv(1) == b""
    assert here.events.count(MemoryShort()) == 1
    wait_until(lambda: here.workers() == serving)
    assert answers(here, "three.dev")
    (tmp_path / "memory.stat").write_text("inactive_file 101\n")
    wait_until(lambda: not here.nginx._guard._short)
    with leave(here, "four.dev")[0] as third:
        third.settimeout(60)
        (tmp_path / "memory.stat").write_text("inactive_file 99\n")
        assert third.recv(1) == b""
    wait_until(lambda: here.events.count(MemoryShort()) == 2)


@pytest.mark.parametrize("limit", ["max", None])
def test_memory_without_a_limit(tmp_path: Path, limit: str | None) -> None:
    """Without a limit, or without a cgroup's file with a limit, memory is never short."""
    (tmp_path / "memory.current").write_text("900\n")
    if limit:
        (tmp_path / "memory.max").write_text(f"{limit}\n")
    assert not is_short(tmp_path)


def test_stop_lets_a_request_finish(router: Start) -> None:
    """A stopped nginx finishes what it serves before it ends, if that takes no longer than SHUTDOWN_TIMEOUT."""
    here = router(SHUTDOWN_TIMEOUT="20")
    here.serve(ONE)
    master = here.nginx.pid
    assert master
    with socket.create_connection(("127.0.0.1", here.port)) as client:
        client.sendall(b"GET / HTTP/1.1\r\nHost: one.dev\r\n")  # the end of the request is sent later
        time.sleep(0.3)
        stopping = threading.Thread(target=here.nginx.stop)
        stopping.start()
        time.sleep(0.3)
        assert Path(f"/proc/{master}").exists()
        client.sendall(b"\r\n")
        assert b"404 Not Found" in client.recv(4096)
        stopping.join()
    assert not Path(f"/proc/{master}").exists()
    serving_again(here)


def test_stranger_in_the_folder(router: Start, nginx_binary: str) -> None:
    """Another nginx that runs in the folder with its own configuration is left alone."""
    here = router()
    here.serve(ONE)
    stranger = here.folder / "stranger.conf"
    stranger.write_text("pid stranger.pid; daemon off; error_log stderr; events {} http { access_log off; }")
    with subprocess.Popen([nginx_binary, "-p", here.folder, "-c", "stranger.conf"], cwd=here.folder) as strange:
        wait_until(lambda: bool(find_pids(strange.pid)))
        workers = find_pids(strange.pid)
        killed = here.nginx.pid
        assert killed
        os.kill(killed, signal.SIGKILL)
        wait_until(lambda: here.nginx.pid not in (None, killed) and answers(here, "one.dev"))
        assert find_pids(strange.pid) == workers
        strange.terminate()


def test_stray_without_its_socket(router: Start, tmp_path: Path) -> None:
    """The nginx of a killed dispatcher is ended even if its socket was removed, and by whatever path it was started."""
    here = router()
    here.serve(ONE)
    here.nginx.stop()
    link = tmp_path / "link"
    link.symlink_to(here.folder)
    former = Process(here.settings.nginx_binary, link, "current", here.events.append)
    former.start()
    master = former.pid
    assert master
    wait_until(lambda: answers(here, "one.dev"))
    (here.folder / "run" / "release.sock").unlink()
    serving_again(here).nginx.resume()
    wait_until(lambda: former.pid is None)
    assert here.nginx.pid != master
    assert answers(here, "one.dev")
    former.kill()
