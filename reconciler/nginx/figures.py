"""What a running nginx shows of itself: its workers and their memory."""

from collections.abc import Iterable
from contextlib import suppress

import psutil

from reconciler.nginx.workers import find_children, find_leaving
from reconciler.status.figures import Figures


def read_figures(master: int | None) -> Figures:
    """Read the figures of an nginx by its master's process ID."""
    if not master:
        return Figures()
    leaving = find_leaving(master)
    children = find_children(master)
    serving = len(children) - len(leaving)
    return Figures(max(0, serving), len(leaving), _measure([psutil.Process(master), *children]))


def _measure(processes: Iterable[psutil.Process]) -> int:
    """Add up the memory of processes in bytes; what they share is counted once, if the kernel lets us see that."""
    total = 0
    for process in processes:
        with suppress(psutil.Error):
            try:
                total += process.memory_full_info().pss
            except psutil.AccessDenied:
                total += process.memory_info().rss
    return total
