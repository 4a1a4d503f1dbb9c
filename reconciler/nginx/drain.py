"""Reads what nginx logs, so that nginx never waits: passes lines on to standard output, and counts requests.

`python drain.py REPORTS FORMAT ACCESS REQUESTS` gets open descriptors: a socket for reports, and a pipe for the access
log and one for counting, or -1. This file is run alone and needs only the standard library. It is a process of its own
because nginx waits for the reader of a full pipe: this reader has no other work, and its output has a thread.
"""

import fcntl
import json
import os
import re
import select
import socket
import sys
import threading
import time
from collections import Counter, deque
from collections.abc import Callable

# Upper bounds of the buckets of durations, in seconds; the last bucket, without a bound, follows.
BOUNDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 60.0)
_PIECE = 1 << 18  # bytes read at once
_LONGEST_LINE = 1 << 18
_MOST_WAITING = 4 << 20  # bytes that wait for standard output
_REPORTED = 200  # Namespaces in one report: a message on a unix socket must fit into its buffer
_PERIOD = 1.0
_PATIENCE = 2.0
# nginx writes a missing status so, which JSON does not allow. Within a text the quotes would be escaped.
_NO_STATUS = ((b'"status":000,', b'"status":0,'), (b'"status":009,', b'"status":9,'))
_BEGINNING = b'{"time":"'
# A byte with which UTF-8 begins a character above U+FFFF, which JSON writes as two.
_ABOVE = re.compile(rb"[\xf0-\xf4]")
_MARKED = bytes(byte if byte < 127 else ord("?") for byte in range(256))


class Output:
    """Writes to a descriptor in a thread. What it cannot take is dropped, and the lost lines are counted."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._waiting: deque[bytes] = deque()
        self._size = 0
        self._lost = 0
        self._over = False
        self._turn = threading.Condition()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def put(self, lines: bytes) -> None:
        """Write whole lines later, or drop them."""
        with self._turn:
            if self._size + len(lines) > _MOST_WAITING:
                self._lost += lines.count(b"\n")
                return
            self._waiting.append(lines)
            self._size += len(lines)
            self._turn.notify()

    def drop(self, lines: int) -> None:
        """Count lines that were lost."""
        with self._turn:
            self._lost += lines

    def take_lost(self) -> int:
        """Give the number of lines that were dropped since the last call."""
        with self._turn:
            lost, self._lost = self._lost, 0
            return lost

    def close(self, patience: float) -> None:
        """Write what waits, for at most `patience` seconds."""
        with self._turn:
            self._over = True
            self._turn.notify()
        self._thread.join(patience)

    def _run(self) -> None:
        while True:
            with self._turn:
                while not self._waiting:
                    if self._over:
                        return
                    self._turn.wait()
                lines = self._waiting.popleft()
            self._write(lines)
            with self._turn:
                self._size -= len(lines)

    def _write(self, lines: bytes) -> None:
        left = memoryview(lines)
        try:
            while left:
                left = left[os.write(self._descriptor, left) :]
        except OSError:  # nobody reads it, it is closed, or the disk is full
            self.drop(bytes(left).count(b"\n"))


# Of one Namespace: requests by class of status, requests by bucket of duration, and the sum of durations.
_Tally = tuple[list[int], list[int], float]


class Counts:
    """Counts requests by Namespace: by class of status, and by duration. WebSockets have no duration: they last."""

    def __init__(self) -> None:
        self._counts: dict[str, _Tally] = {}

    def add(self, lines: bytes) -> None:
        """Count whole lines of a Namespace, a status and a number of seconds."""
        for line, times in Counter(lines.splitlines()).items():
            namespace, _, rest = line.decode("ascii", "replace").partition(" ")
            try:
                status, seconds = int(rest[:3]), float(rest[4:])
            except ValueError:
                continue
            classes, buckets, total = self._counts.get(namespace) or ([0] * 5, [0] * (len(BOUNDS) + 1), 0.0)
            classes[min(max(status // 100, 1), 5) - 1] += times
            if status != 101:
                buckets[sum(seconds > bound for bound in BOUNDS)] += times
                total += seconds * times
            self._counts[namespace] = classes, buckets, total

    def take(self) -> dict[str, _Tally]:
        """Take the counts of some Namespaces."""
        names = list(self._counts)[:_REPORTED]
        return {name: self._counts.pop(name) for name in names}

    def give_back(self, taken: dict[str, _Tally]) -> None:
        """Take back counts that could not be reported."""
        self._counts = taken | self._counts


class Pipe:
    """A pipe that nginx writes lines to, each in one piece if it has at most 4 KiB.

    `take` gets whole lines, and whether the pipe was full, or held as much as is read at once: then there is no time to
    lose.
    """

    def __init__(self, descriptor: int, take: Callable[[bytes, bool], None], drop: Callable[[int], None]) -> None:
        self.descriptor = descriptor
        self._take = take
        self._drop = drop
        self._rest = b""
        self._full = min(_PIECE, fcntl.fcntl(descriptor, fcntl.F_GETPIPE_SZ))

    def read(self) -> bool:
        """Pass on the whole lines of what waits; tell whether anything did."""
        try:
            piece = os.read(self.descriptor, _PIECE)
        except BlockingIOError:
            return False
        lines, end, rest = piece.rpartition(b"\n")
        if end:
            self._take(self._rest + lines + end, len(piece) >= self._full)
            self._rest = rest
        elif len(self._rest) + len(rest) > _LONGEST_LINE:
            self._drop(1)
            self._rest = b""
        else:
            self._rest += rest
        return True


def mend_json(lines: bytes, hurried: bool = False) -> tuple[bytes, int]:
    """Make lines of JSON that any reader takes, in printable ASCII; also give the number of lines that were left out.

    nginx passes on bytes of clients that are no UTF-8, and control characters from 127 on. If it is `hurried`, each of
    their bytes becomes a question mark: escapes take longer, and nginx waits for who reads a full pipe.
    """
    for wrong, right in _NO_STATUS:
        lines = lines.replace(wrong, right)
    if not lines.isascii() or b"\x7f" in lines:
        lines = lines.translate(_MARKED) if hurried else _escape(lines)
    # Two lines above 4 KiB can mix if the pipe is full. No client can write this mark: its quotes are escaped.
    number, begun = lines.count(b"\n"), lines.count(b"\n" + _BEGINNING) + lines.startswith(_BEGINNING)
    if begun == number == lines.count(_BEGINNING):
        return lines, 0
    whole = [line for line in lines.splitlines(keepends=True) if _is_whole(line)]
    return b"".join(whole), number - len(whole)


def _is_whole(line: bytes) -> bool:
    return line.startswith(_BEGINNING) and line.count(_BEGINNING) == 1 and line.endswith(b'"}\n')


def _escape(lines: bytes) -> bytes:
    """Write what is not printable ASCII as JSON does. No Python code runs for each character: there may be millions."""
    # nginx writes no NUL. It stands for a backslash that is escaped already, so that what follows it is no escape.
    text = lines.replace(rb"\\", b"\0").decode("utf-8", "replace")
    if _ABOVE.search(lines):
        text = "".join(map(chr, memoryview(text.encode("utf-16-le")).cast("H")))
    escaped = text.encode("ascii", "backslashreplace").replace(rb"\x", rb"\u00")
    return escaped.replace(b"\x7f", rb"\u007f").replace(b"\0", rb"\\")


class Drain:
    """Reads both pipes and reports each second, until the other end of the socket for reports is closed."""

    def __init__(self, reports: socket.socket, log_format: str, access: int, requests: int) -> None:
        self._reports = reports
        self._json = log_format == "json"
        self._output = Output(sys.stdout.fileno() if sys.stdout else -1)
        self._counts = Counts()
        self._pipes = {}
        if access >= 0:
            self._pipes[access] = Pipe(access, self._pass_on, self._output.drop)
        if requests >= 0:
            self._pipes[requests] = Pipe(requests, lambda lines, _: self._counts.add(lines), lambda _: None)

    def run(self) -> None:
        """Read until nobody takes reports; then pass on what is left."""
        waiting = select.poll()
        waiting.register(self._reports, select.POLLIN)
        for descriptor in self._pipes:
            waiting.register(descriptor, select.POLLIN)
        next_report, over = time.monotonic() + _PERIOD, False
        while not over:
            for descriptor, _ in waiting.poll(max(0.0, next_report - time.monotonic()) * 1000):
                if descriptor in self._pipes:
                    self._pipes[descriptor].read()
                else:
                    over = True
            if time.monotonic() >= next_report:
                next_report = time.monotonic() + _PERIOD
                self._report()
        for pipe in self._pipes.values():
            while pipe.read():
                pass
        self._output.close(_PATIENCE)
        self._report()

    def _pass_on(self, lines: bytes, hurried: bool) -> None:
        if self._json:
            lines, lost = mend_json(lines, hurried)
            self._output.drop(lost)
        self._output.put(lines)

    def _report(self) -> None:
        """Report what was counted since the last report that was taken; an empty report says that this runs."""
        while True:
            counts, lost = self._counts.take(), self._output.take_lost()
            try:
                self._reports.send(json.dumps({"lost": lost, "counts": counts}).encode())
            except OSError:
                self._counts.give_back(counts)
                self._output.drop(lost)
                return
            if len(counts) < _REPORTED:
                return


def main() -> None:
    """Read until the daemon closes its end, or is gone."""
    reports, log_format, access, requests = sys.argv[1:5]
    with socket.socket(fileno=int(reports)) as connection:
        connection.setblocking(False)
        Drain(connection, log_format, int(access), int(requests)).run()
    os._exit(0)  # the thread may be stuck in a write that never ends


if __name__ == "__main__":
    main()
