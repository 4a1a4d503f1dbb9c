"""One router in a process of its own, which reads when it is told to, and tells what that took.

Its argument is a Plan as JSON. For each line on its standard input it reads once, and writes a Look.
"""

import os
import socket
import struct
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import Self

import msgspec
from meter import read_peak
from readers import Plan, make_source

from reconciler.cluster.lease import LEASES
from reconciler.loop.events import Answered, Event

_HERE = Path(__file__).parent
# Of struct tcp_info in /usr/include/linux/tcp.h: tcpi_bytes_acked and tcpi_bytes_received
_INFO, _COUNTS, _PLACE = 256, struct.Struct("=QQ"), 120


class Look(msgspec.Struct):
    """What one reading took: requests, bytes on the wire in both directions, and seconds of the router's processor.

    `peak` is the process's peak memory so far, in MB.
    """

    digest: str
    requests: int
    wire: int
    processor: float
    peak: float


class Router:
    """A process with one router."""

    def __init__(self, plan: Plan) -> None:
        self._process = subprocess.Popen(
            [sys.executable, __file__, msgspec.json.encode(plan).decode()],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, env={"PYTHONPATH": f"{_HERE}:{_HERE.parent}"},
        )  # fmt: skip

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.communicate()

    def look(self) -> Look:
        """Let the router read once."""
        assert self._process.stdin
        assert self._process.stdout
        self._process.stdin.write(b"\n")
        self._process.stdin.flush()
        return msgspec.json.decode(self._process.stdout.readline(), type=Look)


def count_bytes() -> int:
    """Count the bytes that this process's TCP connections have carried in both directions, TLS and headers too."""
    total = 0
    for entry in Path("/proc/self/fd").iterdir():
        with suppress(OSError):  # it is closed by now, or is no TCP socket
            if os.readlink(entry).startswith("socket:"):
                with socket.socket(fileno=os.dup(int(entry.name))) as one:
                    info = one.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _INFO)
                total += sum(_COUNTS.unpack_from(info, _PLACE))
    return total


def main() -> None:
    """Read once for each line of standard input, until it ends."""
    answers: list[Event] = []
    source = make_source(msgspec.json.decode(sys.argv[1], type=Plan), answers.append)
    for _ in sys.stdin:
        before, spent, requests = count_bytes(), time.process_time(), _count(answers)
        digest = source.read().digest.hex()
        spent = time.process_time() - spent
        look = Look(digest, _count(answers) - requests, count_bytes() - before, spent, read_peak("self"))
        sys.stdout.buffer.write(msgspec.json.encode(look) + b"\n")
        sys.stdout.flush()


def _count(events: list[Event]) -> int:
    """Count answers, but not those of the Lease: it is looked at by the clock."""
    return sum(isinstance(event, Answered) and event.resource != LEASES.resource for event in events)


if __name__ == "__main__":
    main()
