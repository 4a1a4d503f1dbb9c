"""nginx's processes: which of them take connections, even while they start and end."""

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import psutil
import pytest
from support.objects import namespace
from support.router import Router
from support.running_daemon import wait_until

from reconciler.nginx.workers import find_children, find_leaving, find_workers, read_title, takes_connections

Start = Callable[..., Router]


@contextmanager
def titled(title: str) -> Iterator[psutil.Process]:
    """Run a process with a title, as nginx sets it."""
    command = ["bash", "-c", 'exec -a "$0" sleep 60', title]
    with subprocess.Popen(command) as process:
        wait_until(lambda: process.pid and title in read_title(psutil.Process(process.pid)))
        yield psutil.Process(process.pid)
        process.kill()


@pytest.mark.parametrize(
    ("title", "takes"),
    [("nginx: worker process", True), ("nginx: worker process is shutting down", False)],
)
def test_title(title: str, takes: bool) -> None:
    """A worker's title shows whether it only finishes what it serves."""
    with titled(title) as process:
        assert takes_connections(process) is takes


def test_exiting_worker_takes_no_connections() -> None:
    """A process that is exiting, or is gone, has no title and takes no connections."""
    exited = subprocess.Popen([sys.executable, "-c", ""])
    process = psutil.Process(exited.pid)
    wait_until(lambda: process.status() == psutil.STATUS_ZOMBIE)
    assert not takes_connections(process)
    exited.wait()
    assert not takes_connections(process)
    assert read_title(process) == ""


def test_number_of_another_process() -> None:
    """A process that got the number of an ended process is not mistaken for it."""
    process = psutil.Process(os.getpid())
    process._ident = (process.pid, 0.0)
    assert not takes_connections(process)


def test_children_of_nobody() -> None:
    """A process that is gone has no children and no workers."""
    gone = subprocess.Popen(["true"])
    gone.wait()
    assert find_children(gone.pid) == []
    assert find_workers(gone.pid) == set()
    assert find_leaving(gone.pid) == []


def test_workers_of_a_reload(router: Start) -> None:
    """After a reload has been proven, only new workers take connections, and no old worker does."""
    here = router()
    here.serve(namespace("a", {"a0.dev": {}}))
    master = here.nginx.pid
    assert master
    for number in range(1, 15):
        before = find_workers(master)
        assert before
        here.serve(namespace("a", {f"a{number}.dev": {}}))
        after = find_workers(master)
        assert after
        assert not before & after
        assert not any(map(takes_connections, before))


def test_oldest_leaves_first() -> None:
    """Among the workers that only finish what they serve, the oldest is the first."""
    with titled("nginx: worker process is shutting down") as first:
        time.sleep(0.05)  # the kernel counts starts in hundredths of a second
        with titled("nginx: worker process is shutting down") as second:
            # They are this process's children, as nginx's workers are their master's.
            assert find_leaving(os.getpid()) == [first, second]
