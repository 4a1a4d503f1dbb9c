"""What processes cost: processor time and memory, as the kernel counts them."""

import os
import re
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

_TICKS = os.sysconf("SC_CLK_TCK")


def read_time(pid: int) -> float:
    """Read the processor time of a process with all its threads, in seconds, exact to the nanosecond."""
    # The kernel's number for another process's clock: /usr/include/linux/posix-timers.h, MAKE_PROCESS_CPUCLOCK
    return time.clock_gettime(~pid << 3 | 2)


def read_children_time(pid: int) -> float:
    """Read the processor time of a process's ended children, in seconds, exact to the hundredth."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[13]) + int(fields[14])) / _TICKS


def read_name(pid: int) -> str:
    """Read the name of the program that a process runs; empty if the process has ended."""
    try:
        return Path(f"/proc/{pid}/comm").read_text().strip()
    except OSError:
        return ""


def read_peak(pid: int) -> float:
    """Read the peak memory of a process, in MB."""
    return _find("VmHWM", f"/proc/{pid}/status")


def read_share(pids: Iterable[int]) -> float:
    """Read the memory of processes, in MB; memory that they share is counted once."""
    found = 0.0
    for pid in pids:
        with suppress(OSError, ValueError):  # the process has ended
            found += _find("Pss", f"/proc/{pid}/smaps_rollup")
    return found


@contextmanager
def watch_share(find: Callable[[], Iterable[int]], pause: float = 0.02) -> Iterator[Callable[[], float]]:
    """Watch `read_share` of processes that come and go, and give a function that returns the peak so far, in MB.

    `pause` seconds pass between two looks.
    """
    found, over = [0.0], threading.Event()

    def watch() -> None:
        while not over.wait(pause):
            found.append(read_share(find()))

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield lambda: max(found)
    finally:
        over.set()
        thread.join()


def _find(name: str, path: str) -> float:
    found = re.search(rf"^{name}:\s+(\d+) kB", Path(path).read_text(), re.MULTILINE)
    if not found:
        raise ValueError(f"{path} tells no {name}")
    return int(found[1]) / 1024
