"""The pipes into which nginx logs, and the process that reads them (drain.py); it is started again if it ends."""

import fcntl
import os
import socket
import stat
import subprocess
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path

import msgspec

from reconciler.loop.events import LinesLost, LogReaderEnded, RequestsCounted, Tally
from reconciler.loop.ports import Tell
from reconciler.nginx import drain
from reconciler.nginx.program import NginxError, keep_environment, make_command
from reconciler.rendering.access_log import ACCESS_FILE, REQUESTS_FILE
from reconciler.settings import Settings

# The kernel's limit for users without privileges: /proc/sys/fs/pipe-max-size
_ROOM = 1 << 20
_SILENCE = 10.0  # seconds without a report after which the process is taken for stuck
_BACK_OFF = 1.0
_LONGEST_REPORT = 1 << 18
_PATIENCE = 5.0
_QUIET = 60.0


class _Report(msgspec.Struct, frozen=True):
    lost: int
    counts: dict[str, Tally]


class NginxLogs:
    """What nginx logs in a folder. Without ACCESS_LOG and REQUEST_METRICS it does nothing.

    nginx waits if a pipe is full. So the reader does nothing but read, and a pipe without a reader refuses writes,
    which nginx does not mind.
    """

    def __init__(self, folder: Path, settings: Settings, tell: Tell, hidden: tuple[str, ...] = ()) -> None:
        self._format = settings.access_log
        self._names = {ACCESS_FILE: settings.access_log != "off", REQUESTS_FILE: settings.request_metrics}
        self._folder = folder
        self._tell = tell
        self._hidden = hidden
        self._over = threading.Event()
        self._connection: socket.socket | None = None
        self._lost = 0
        self._lost_at = 0.0
        self._watch = threading.Thread(target=self._keep_reading, daemon=True)

    def start(self) -> None:
        """Make the pipes and start the process that reads them. OSError if that is not possible."""
        for name, wanted in self._names.items():
            if wanted:
                _make_pipe(self._folder / name)
            else:
                _replace_pipe(self._folder / name)
        if not any(self._names.values()):
            return
        self._child, self._connection = self._start()
        self._watch.start()

    def stop(self) -> None:
        """Let the process pass on what nginx has written, and end."""
        if not self._connection:
            return
        self._over.set()
        with suppress(OSError):
            self._connection.shutdown(socket.SHUT_WR)
        self._watch.join()

    def _start(self) -> tuple[subprocess.Popen[bytes], socket.socket]:
        """Start the process with open pipes: from then on nginx can open them without waiting for a reader."""
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        pipes: list[int] = []
        try:
            for name, wanted in self._names.items():
                pipes.append(_open_pipe(self._folder / name) if wanted else -1)
            given = [theirs.fileno(), self._format, *pipes]
            command = make_command(sys.executable, self._hidden, "-I", "-S", drain.__file__, *map(str, given))
            child = subprocess.Popen(  # noqa: S603
                command, env=keep_environment(), pass_fds=[theirs.fileno(), *(one for one in pipes if one >= 0)],
                stdin=subprocess.DEVNULL,
                # Python has none if it was closed; then its number may belong to any other file by now.
                stdout=None if sys.__stdout__ else subprocess.DEVNULL,
                start_new_session=True,  # Ctrl-C in a terminal must reach only us: nginx still logs
            )  # fmt: skip
        except OSError:
            ours.close()
            raise
        finally:
            theirs.close()
            for pipe in pipes:
                if pipe >= 0:
                    os.close(pipe)
        ours.settimeout(_SILENCE)
        return child, ours

    def _keep_reading(self) -> None:
        """Tell what the process reports, and start it again whenever it ends."""
        while self._connection:
            self._listen(self._connection)
            if self._over.is_set():
                self._tell_lost()
                return
            self._tell(LogReaderEnded())
            while not self._start_again():
                if self._over.wait(_BACK_OFF):
                    return

    def _start_again(self) -> bool:
        try:
            self._child, self._connection = self._start()
        except (OSError, NginxError):
            return False
        if self._over.is_set():  # `stop` closed the former connection
            self._connection.shutdown(socket.SHUT_WR)
        return True

    def _listen(self, connection: socket.socket) -> None:
        """Tell reports until the process ends; one that is silent for too long is ended."""
        with connection, suppress(OSError):
            while report := connection.recv(_LONGEST_REPORT):
                self._tell_report(msgspec.json.decode(report, type=_Report))
        with suppress(subprocess.TimeoutExpired):
            self._child.wait(_PATIENCE if self._over.is_set() else 0.1)
        self._child.kill()
        self._child.wait()

    def _tell_report(self, report: _Report) -> None:
        now = time.monotonic()
        if report.counts:
            self._tell(RequestsCounted(report.counts))
        if report.lost:
            if not self._lost:
                self._tell(LinesLost(report.lost, over=False))
            self._lost += report.lost
            self._lost_at = now
        elif now - self._lost_at > _QUIET:
            self._tell_lost()

    def _tell_lost(self) -> None:
        if self._lost:
            self._tell(LinesLost(self._lost, over=True))
            self._lost = 0


def _make_pipe(path: Path) -> None:
    """Make a pipe. One of a former process stays: its nginx may still write to it."""
    with suppress(FileNotFoundError):
        if stat.S_ISFIFO(path.lstat().st_mode):
            return
        path.unlink()
    os.mkfifo(path, 0o600)


def _replace_pipe(path: Path) -> None:
    """Replace a pipe of a former process, whose last release is served first: nginx would wait for a reader."""
    if path.is_fifo():
        path.unlink()
        path.symlink_to(os.devnull)


def _open_pipe(path: Path) -> int:
    """Open a pipe for reading, and for writing too: so it never looks as if all writers were gone."""
    pipe = os.open(path, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
    with suppress(OSError):  # the user may have used up what all pipes may have
        fcntl.fcntl(pipe, fcntl.F_SETPIPE_SZ, _ROOM)
    return pipe
