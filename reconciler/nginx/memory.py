"""The container's memory, by cgroup v2: https://docs.kernel.org/admin-guide/cgroup-v2.html#memory-interface-files."""

from pathlib import Path

from reconciler.loop.events import MemoryShort
from reconciler.loop.ports import Tell
from reconciler.nginx.process import Process

CGROUP = Path("/sys/fs/cgroup")


def is_short(cgroup: Path) -> bool:
    """Tell whether more than four fifths of the limit are in use: False without a limit, or without cgroup files.

    Cached files that were not read for a while do not count: the kernel drops them before it kills a process.
    """
    try:
        limit = (cgroup / "memory.max").read_text().strip()
        return limit != "max" and 5 * (_read_current(cgroup) - _read_idle(cgroup)) > 4 * int(limit)
    except (OSError, ValueError):
        return False


def _read_current(cgroup: Path) -> int:
    return int((cgroup / "memory.current").read_text())


def _read_idle(cgroup: Path) -> int:
    lines = (cgroup / "memory.stat").read_text().splitlines()
    return sum(int(line.split()[1]) for line in lines if line.startswith("inactive_file "))


class MemoryGuard:
    """Ends workers of a process that are shutting down while memory is short, and tells it once for each shortage."""

    def __init__(self, process: Process, cgroup: Path, tell: Tell) -> None:
        self._process = process
        self._cgroup = cgroup
        self._tell = tell
        self._short = False

    def make_room(self) -> None:
        """End the oldest of these workers if memory is short, before the kernel ends nginx for everyone."""
        if not is_short(self._cgroup):
            self._short = False
        elif self._process.end_oldest() and not self._short:
            self._short = True
            self._tell(MemoryShort())
