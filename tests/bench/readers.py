"""Simulated routers in a process of their own: all of a router that reads, and nothing of what it does with it.

Its argument is a Plan as JSON. Each router has the daemon's own source, its own connection and its own phase. One
thread looks for all of them in turn: a thousand threads would mostly wait for each other. When all have read once, the
process writes a line. For each digest on its standard input it writes how many routers have read that last; when its
input ends, it writes what all of them saw.
"""

import gc
import itertools
import random
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Self

import msgspec
from lean import make_lean_source
from meter import read_peak

from reconciler.cluster.credentials import find_credentials
from reconciler.loop.ports import Source, SourceError, Tell
from reconciler.modes.sources import make_cluster_source
from reconciler.settings import read_settings

_HERE = Path(__file__).parent


class Plan(msgspec.Struct, frozen=True):
    """How many routers there are, what they read (`published` or `cluster`), and the seconds between two looks."""

    config: str
    reads: str
    readers: int = 1
    interval: float = 2.0


class Seen(msgspec.Struct):
    """What one router saw: each digest that was new to it, with its moment by the machine's monotonic clock."""

    digests: list[tuple[float, str]] = []
    failures: list[str] = []


class Report(msgspec.Struct):
    """What all routers of one process saw. `late` is by how many seconds the latest look began too late."""

    seen: list[Seen]
    looks: int
    late: float
    processor: float
    peak: float


def make_source(plan: Plan, tell: Tell = lambda _: None) -> Source:
    """Make the source that a daemon with these settings has; `tell` gets its events."""
    environment = {"KUBECONFIG": plan.config, "SNAPSHOT_FROM": plan.reads, "API_TIMEOUT": "60"}
    credentials = find_credentials(environment)
    assert credentials
    return make_cluster_source(credentials, read_settings(environment), environment, tell)


class Reader:
    """One router. Those that read what is published share a lighter client: lean.py says why."""

    def __init__(self, plan: Plan) -> None:
        self.seen = Seen()
        self.phase = random.uniform(0, plan.interval)
        lean = plan.reads == "published"
        self._source = make_lean_source(plan.config, read_settings({})) if lean else make_source(plan)

    @property
    def digest(self) -> str:
        """The digest of the Snapshot that was read last; empty if none was."""
        return self.seen.digests[-1][1] if self.seen.digests else ""

    def look(self) -> None:
        """Read once, and note the digest if it is new."""
        try:
            digest = self._source.read().digest.hex()
        except SourceError as error:
            self.seen.failures.append(str(error))
            return
        if self.digest != digest:
            self.seen.digests.append((time.monotonic(), digest))


class Round:
    """All routers of one process, in the order of their phases."""

    def __init__(self, plan: Plan) -> None:
        self.readers = sorted((Reader(plan) for _ in range(plan.readers)), key=lambda one: one.phase)
        self.looks = 0
        self.late = 0.0
        self._interval = plan.interval
        for one in self.readers:
            one.look()

    def run(self, over: threading.Event) -> None:
        """Let each router look once in each interval until it is over."""
        begun = time.monotonic()
        for one in itertools.cycle(self.readers):
            due = begun + self.looks // len(self.readers) * self._interval + one.phase
            if over.wait(max(0.0, due - time.monotonic())):
                return
            self.late = max(self.late, time.monotonic() - due)
            self.looks += 1
            one.look()


class Readers:
    """A process of simulated routers, which have read once when it is entered."""

    def __init__(self, plan: Plan) -> None:
        self._process = subprocess.Popen(
            [sys.executable, __file__, msgspec.json.encode(plan).decode()],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, env={"PYTHONPATH": f"{_HERE}:{_HERE.parent}"},
        )  # fmt: skip

    def __enter__(self) -> Self:
        assert self._process.stdout
        assert self._process.stdout.readline(), "the routers have ended"
        return self

    def __exit__(self, *_: object) -> None:
        if self._process.poll() is None:
            self._process.communicate()

    def count(self, digest: str) -> int:
        """Count the routers that have read the Snapshot with this digest last."""
        assert self._process.stdin
        assert self._process.stdout
        self._process.stdin.write(f"{digest}\n".encode())
        self._process.stdin.flush()
        return int(self._process.stdout.readline())

    def end(self) -> Report:
        """Let all routers end, and give what they saw."""
        out, _ = self._process.communicate()
        return msgspec.json.decode(out, type=Report)


def main() -> None:
    """Look until standard input ends."""
    # All Snapshots of all routers are in one process. Python would walk through them again and again.
    gc.disable()
    together, over = Round(msgspec.json.decode(sys.argv[1], type=Plan)), threading.Event()
    thread = threading.Thread(target=together.run, args=(over,))
    thread.start()
    _write(b"ready")
    before = time.process_time()
    for line in sys.stdin:
        _write(b"%d" % sum(one.digest == line.strip() for one in together.readers))
    over.set()
    thread.join()
    spent, seen = time.process_time() - before, [one.seen for one in together.readers]
    _write(msgspec.json.encode(Report(seen, together.looks, together.late, spent, read_peak("self"))))


def _write(line: bytes) -> None:
    sys.stdout.buffer.write(line + b"\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
