"""What the machine and the container give nginx: processors, and descriptors for its connections."""

import math
import os
import resource
from pathlib import Path

from reconciler.nginx.memory import CGROUP

# Descriptors of a worker that are no connections: listening sockets, epoll, the release's socket, files.
_OTHERS = 64
_FEWEST = 64


def count_processors(cgroup: Path = CGROUP) -> int:
    """Count the processors that this process may use: those of its affinity, but not more than the container's limit.

    A limit of 1.5 processors counts as two. https://docs.kernel.org/admin-guide/cgroup-v2.html#cpu-interface-files
    """
    usable = len(os.sched_getaffinity(0))
    limit = _read_limit(cgroup)
    return max(1, min(usable, math.ceil(limit))) if limit else usable


def raise_descriptors(connections: int) -> int:
    """Let this process, and so nginx, open as many descriptors as connections may need; give the limit.

    It is raised only as far as needed: programs with a limit of a thousand million can be slow.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    needed = 2 * connections + _OTHERS
    limit = needed if hard == resource.RLIM_INFINITY else min(hard, needed)
    if soft != resource.RLIM_INFINITY and soft < limit:
        resource.setrlimit(resource.RLIMIT_NOFILE, (limit, hard))
        return limit
    return max(limit, soft)


def fit_connections(wanted: int, descriptors: int, *, files: bool) -> int:
    """Give how many of the `wanted` connections one worker can have.

    Each is a descriptor. If there are `files` for requests' bodies, half of the connections may have one too.
    """
    room = descriptors - _OTHERS
    return max(_FEWEST, min(wanted, room * 2 // 3 if files else room))


def _read_limit(cgroup: Path) -> float | None:
    """Read the container's limit in processors, by cgroup v2 or v1; None without one."""
    for names in (("cpu.max",), ("cpu/cpu.cfs_quota_us", "cpu/cpu.cfs_period_us")):
        try:
            quota, period = " ".join((cgroup / name).read_text() for name in names).split()
            return int(quota) / int(period) if quota not in ("max", "-1") else None
        except (OSError, ValueError, ZeroDivisionError):
            continue
    return None
