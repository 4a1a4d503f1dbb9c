"""nginx's processes, as the operating system shows them: which workers take connections, and what was left behind."""

import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import psutil

# nginx writes what a process is into its title, which stands in the place of its command line.
_MASTER, _WORKER, _LEAVING = "nginx: master process", "nginx: worker process", "shutting down"


def find_workers(master: int) -> set[psutil.Process]:
    """Find the workers of a master that take new connections."""
    return {worker for worker in find_children(master) if takes_connections(worker)}


def find_leaving(master: int) -> list[psutil.Process]:
    """Find the workers of a master that only finish what they serve, the oldest first."""
    leaving = [worker for worker in find_children(master) if _LEAVING in read_title(worker)]
    return sorted(leaving, key=lambda worker: worker.create_time())


def takes_connections(worker: psutil.Process) -> bool:
    """Tell whether a worker takes new connections. One that is exiting has an empty title, and takes none."""
    title = read_title(worker)
    return title != "" and _LEAVING not in title


def read_title(process: psutil.Process) -> str:
    """Read a process's title; empty if it is exiting, or gone and its number another process's."""
    with suppress(psutil.Error):
        if process.is_running():
            return " ".join(process.cmdline())
    return ""


def find_children(parent: int) -> list[psutil.Process]:
    """Find the children of a process; none if it is gone."""
    # /proc/<pid>/task/<pid>/children would be quicker, but now and then it leaves out a child that lives.
    with suppress(psutil.NoSuchProcess):
        return psutil.Process(parent).children()
    return []


def find_strays(folder: Path, tree: str, socket: Path) -> Iterator[psutil.Process]:
    """Find the nginx processes that were started in a folder for the configuration `tree`, and still take connections.

    `socket` is one that such an nginx listens on. The folder may have had another path when they were started. Another
    nginx may run in it too, with a configuration of its own: it and its workers are left alone.
    """
    here, ours = folder.stat(), f" -c {tree}/nginx.conf"
    for pid in psutil.pids():
        with suppress(OSError, psutil.Error):
            if not os.path.samestat(Path(f"/proc/{pid}/cwd").stat(), here):
                continue
            process = psutil.Process(pid)
            title = read_title(process)
            if _LEAVING in title:
                continue
            # A master has no title for ending. It removes its socket when it closes its ports.
            if title.startswith(_MASTER) and ours in title and (socket.exists() or find_workers(pid)):
                yield process
            if title.startswith(_WORKER) and _is_ours(process.parent(), ours):
                yield process


def reap_orphans(own: int | None) -> None:
    """As the first process of a container, reap what others left, such as a worker whose master was killed.

    `own` is our nginx master, which is waited for elsewhere. Nothing else that this process started may be running:
    its exit code would be lost.
    """
    if os.getpid() != 1:
        return
    for child in find_children(1):
        with suppress(OSError, psutil.Error):
            if child.pid != own and child.status() == psutil.STATUS_ZOMBIE:
                os.waitpid(child.pid, os.WNOHANG)


def _is_ours(master: psutil.Process | None, ours: str) -> bool:
    """Tell whether a worker belongs to our configuration; one whose master is gone could be nobody else's."""
    title = read_title(master) if master else ""
    return not title.startswith(_MASTER) or ours in title
