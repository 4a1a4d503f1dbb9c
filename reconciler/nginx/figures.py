"""What a running nginx shows of itself: its workers and their memory, its connections, and the Pods that it has."""

import time
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

import psutil

from reconciler.disk.releases import CURRENT
from reconciler.loop.ports import EndpointsError
from reconciler.nginx.endpoints import read_standing
from reconciler.nginx.proof import ask_connections
from reconciler.nginx.workers import find_children, find_leaving
from reconciler.rendering.endpoints import STATE_FILE
from reconciler.status.figures import Figures, Standing

_PATIENCE = 1.0  # seconds for all that nginx is asked: whoever reads metrics waits for it


def read_figures(master: int | None, folder: Path) -> Figures:
    """Read the figures of the nginx that runs in a folder, by its master's process ID."""
    if not master:
        return Figures()
    leaving = find_leaving(master)
    children = find_children(master)
    serving = len(children) - len(leaving)
    memory = _measure([master, *(one.pid for one in children)])
    until = time.monotonic() + _PATIENCE
    connections = ask_connections(folder)
    return Figures(max(0, serving), len(leaving), memory, connections, _ask_standing(folder, until))


def _ask_standing(folder: Path, until: float) -> Standing | None:
    """Ask for the Pods that nginx has, if it has any, and if it did not take all the time to answer about the rest."""
    rest = until - time.monotonic()
    if rest > 0 and (folder / CURRENT / STATE_FILE).is_file():
        with suppress(EndpointsError):  # as with a release without Lua that runs until this one is loaded
            return read_standing(folder, rest)
    return None


def _measure(pids: Iterable[int]) -> int:
    """Add up the memory of processes in bytes; what they share is counted once, if the kernel lets us see that."""
    total = 0
    for pid in pids:
        with suppress(psutil.Error):
            process = psutil.Process(pid)
            try:
                total += process.memory_full_info().pss
            except psutil.AccessDenied:
                total += process.memory_info().rss
    return total
