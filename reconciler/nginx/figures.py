"""What a running nginx shows of itself: its workers and their memory."""

from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

import psutil

from reconciler.nginx.proof import ask_connections
from reconciler.nginx.workers import find_children, find_leaving
from reconciler.status.figures import Figures


def read_figures(master: int | None, folder: Path) -> Figures:
    """Read the figures of the nginx that runs in a folder, by its master's process ID."""
    if not master:
        return Figures()
    leaving = find_leaving(master)
    children = find_children(master)
    serving = len(children) - len(leaving)
    return Figures(
        max(0, serving), len(leaving), _measure([master, *(one.pid for one in children)]), ask_connections(folder)
    )


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
