"""nginx's processes, as the operating system shows them: which workers take connections, and which are left over."""

import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import psutil

from reconciler.settings import Settings
from reconciler.values.parsers import count_seconds

# nginx writes the role of a process into its title, which replaces its command line.
_MASTER, _WORKER, _LEAVING = "nginx: master process", "nginx: worker process", "shutting down"


def find_patience(settings: Settings) -> float:
    """Find for how many seconds a worker may finish its requests. Without a limit it is a day."""
    return count_seconds(settings.worker_shutdown_timeout) or 86400.0


def find_workers(master: int) -> set[psutil.Process]:
    """Find the workers of a master that take new connections."""
    return {worker for worker in find_children(master) if takes_connections(worker)}


def find_leaving(master: int) -> list[psutil.Process]:
    """Find the workers of a master that are shutting down, the oldest first."""
    leaving = [worker for worker in find_children(master) if _LEAVING in read_title(worker)]
    return sorted(leaving, key=lambda worker: worker.create_time())


def takes_connections(worker: psutil.Process) -> bool:
    """Tell whether a worker takes new connections. An exiting worker has an empty title, and takes none."""
    title = read_title(worker)
    return title != "" and _LEAVING not in title


def read_title(process: psutil.Process) -> str:
    """Read a process's title; empty if it is exiting or gone, even if another process has its ID now."""
    with suppress(psutil.Error):
        if process.is_running():
            return " ".join(process.cmdline())
    return ""


def find_children(parent: int) -> list[psutil.Process]:
    """Find the children of a process; none if it is gone."""
    # /proc/<pid>/task/<pid>/children would be quicker, but sometimes it leaves out a living child.
    with suppress(psutil.NoSuchProcess):
        return psutil.Process(parent).children()
    return []


def find_strays(folder: Path, tree: str, socket: Path) -> Iterator[psutil.Process]:
    """Find the nginx processes that were started in a folder with the configuration `tree`, and still take connections.

    Such an nginx listens on `socket`. The folder may have had another path when they were started. Another nginx may
    run in the folder too, with its own configuration: it and its workers are left alone.
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
            # The title does not show that a master is ending. But it removes its socket when it closes its ports.
            if title.startswith(_MASTER) and ours in title and (socket.exists() or find_workers(pid)):
                yield process
            if title.startswith(_WORKER) and _is_ours(process.parent(), ours):
                yield process


def reap_orphans(own: int | None) -> None:
    """Reap orphaned processes, such as workers of a killed master, if this is the first process of a container.

    `own` is our nginx master, which is waited for elsewhere. No other child that this process started may be running:
    its exit code would be lost.
    """
    if os.getpid() != 1:
        return
    for child in find_children(1):
        with suppress(OSError, psutil.Error):
            if child.pid != own and child.status() == psutil.STATUS_ZOMBIE:
                os.waitpid(child.pid, os.WNOHANG)


def _is_ours(master: psutil.Process | None, ours: str) -> bool:
    """Tell whether a worker belongs to our configuration. A worker whose master is gone cannot belong to others."""
    title = read_title(master) if master else ""
    return not title.startswith(_MASTER) or ours in title
