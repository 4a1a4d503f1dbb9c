"""The nginx process: start it, reload it, prove which release it serves, and end it."""

import os
import signal
import subprocess
import threading
import time
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import IO

import psutil

from reconciler.loop.ports import Tell
from reconciler.nginx.program import (
    NginxError,
    explain_bind,
    is_about_binding,
    keep_environment,
    make_command,
    read_complaint,
    read_message,
)
from reconciler.nginx.proof import SOCKET, ask_release
from reconciler.nginx.workers import find_children, find_leaving, find_strays, find_workers, takes_connections
from reconciler.rendering.pods_conf import NO_PODS

_POLL = 0.01
_STRAYS_TIMEOUT = 5.0
_LAST_WORDS = 1.0  # seconds to read why nginx ended; other processes may keep its output open
# nginx allocates memory in pieces of 16 kB. By default glibc takes them from one heap, and gives nothing back to the
# system when a reload frees the old configuration. The master and its workers would keep the memory of two
# configurations for good.
_MEMORY = {"MALLOC_MMAP_THRESHOLD_": "16000"}


class Process:
    """nginx in the foreground as our child. Its prefix is `folder`, and it runs the tree that `tree` names there.

    It cannot read anything in the folders `hidden`.
    """

    def __init__(self, binary: str, folder: Path, tree: str, tell: Tell, hidden: tuple[str, ...] = ()) -> None:
        self._binary = binary
        self._folder = folder
        self._tree = tree
        self._tell = tell
        self._hidden = hidden
        self._child: subprocess.Popen[str] | None = None
        self._reader: threading.Thread | None = None
        self._complaint = ""

    @property
    def pid(self) -> int | None:
        """The master's process ID; None if it does not run."""
        return self._child.pid if self._child and self._child.poll() is None else None

    @property
    def ending(self) -> str | None:
        """How nginx ended, in words; None while it runs, or before it was started."""
        code = self._child.poll() if self._child else None
        if code is None:
            return None
        killer = next((known.name for known in signal.Signals if known == -code), f"signal {-code}")
        how = f"was killed by {killer}" if code < 0 else f"ended with exit code {code}"
        return f"{how}: {self._complaint}" if self._complaint else how

    def load(self) -> set[psutil.Process]:
        """Make nginx read its tree: by a signal if it runs, else by starting it. Give the workers that are to exit."""
        self._complaint = ""
        if master := self.pid:
            workers = find_workers(master)
            os.kill(master, signal.SIGHUP)
            return workers
        self.start()
        return set()

    def start(self) -> None:
        """End the processes that a killed nginx left on the ports, and start nginx. NginxError if that fails."""
        self._end_strays()
        for left in (SOCKET, NO_PODS):  # a killed nginx leaves them, and the next one could not bind them
            (self._folder / left).unlink(missing_ok=True)
        arguments = ("-e", "stderr", "-p", f"{self._folder}/", "-c", f"{self._tree}/nginx.conf", "-g", "daemon off;")
        command = make_command(self._binary, self._hidden, *arguments)
        try:
            self._child = subprocess.Popen(  # noqa: S603  the binary is a setting
                command, cwd=self._folder, env=_MEMORY | keep_environment(),
                stderr=subprocess.PIPE, text=True, errors="replace",
                start_new_session=True,  # Ctrl-C in a terminal must reach only us: nginx is to finish its requests
            )  # fmt: skip
        except OSError as error:
            raise NginxError(f"{self._binary} cannot be run: {error.strerror}") from None
        self._reader = threading.Thread(target=self._pass_on, args=(self._child.stderr,), daemon=True)
        self._reader.start()

    def prove(self, name: str, old: Iterable[psutil.Process], timeout: float) -> None:
        """Wait until nginx answers the release's name, and none of its `old` workers takes connections any more.

        Nothing else shows that nginx refused a reload. NginxError after `timeout` seconds.
        """
        until = time.monotonic() + timeout
        while time.monotonic() < until:
            if not self.pid:
                if self._reader:
                    self._reader.join(_LAST_WORDS)
                raise NginxError(f"nginx {self.ending}")
            if ask_release(self._folder) == name and not any(map(takes_connections, old)):
                return
            time.sleep(_POLL)
        said = self._complaint or "nginx reported no error"
        raise NginxError(f"nginx did not serve release {name} within {timeout:.0f} s: {said}")

    def end_oldest(self) -> bool:
        """End the oldest worker that is shutting down. False if there is none."""
        master = self.pid
        leaving = find_leaving(master) if master else []
        if leaving:
            _send(leaving[0], signal.SIGTERM)
        return bool(leaving)

    def stop(self, patience: float) -> None:
        """End nginx, or its workers if it was killed: let them finish their requests for `patience` seconds."""
        until = time.monotonic() + patience
        for how, seconds in ((signal.SIGQUIT, patience), (signal.SIGTERM, 2.0)):
            if self._child and self._child.poll() is None:
                self._child.send_signal(how)
                with suppress(subprocess.TimeoutExpired):
                    self._child.wait(seconds)
        left = self._find_left()
        for process in left:
            _send(process, signal.SIGQUIT)
        for process in psutil.wait_procs(left, max(0.0, until - time.monotonic()))[1]:
            _send(process, signal.SIGKILL)
        self.kill()

    def kill(self) -> None:
        """End nginx at once, if it runs."""
        if self._child and self._child.poll() is None:
            workers = find_children(self._child.pid)
            self._child.kill()
            self._child.wait()
            for worker in workers:
                _send(worker, signal.SIGKILL)
        if self._reader:
            self._reader.join(_LAST_WORDS)

    def _find_left(self) -> list[psutil.Process]:
        """Find the workers of a master that was killed; none if the folder is gone."""
        if self._child and (self._child.poll() or 0) < 0:
            with suppress(FileNotFoundError):
                return list(find_strays(self._folder, self._tree, self._folder / SOCKET))
        return []

    def _pass_on(self, stream: IO[str]) -> None:
        """Tell what nginx writes, and remember the first message that kept it from running."""
        with stream:
            for line in stream:
                complaint = read_complaint(line, self._folder / self._tree) or ""
                self._complaint = self._complaint or explain_bind(complaint)
                if is_about_binding(complaint):  # nginx repeats itself, and whoever reads `ending` tells it
                    continue
                with suppress(OSError):  # nobody may read the log any more, but nginx's output must be read
                    self._tell(read_message(line))

    def _end_strays(self) -> None:
        """Make other nginx processes that still serve this folder close the ports and finish their requests.

        A killed dispatcher leaves its whole nginx, and a killed master leaves its workers. All of them go on serving.
        NginxError if they cannot be ended.
        """
        until = time.monotonic() + _STRAYS_TIMEOUT
        asked: set[psutil.Process] = set()
        while serving := set(find_strays(self._folder, self._tree, self._folder / SOCKET)):
            hard = time.monotonic() > until
            for process in serving if hard else serving - asked:
                _send(process, signal.SIGKILL if hard else signal.SIGQUIT)
            asked |= serving
            if time.monotonic() > until + _STRAYS_TIMEOUT:
                pids = sorted(process.pid for process in serving)
                raise NginxError(f"nginx processes that serve here cannot be ended: {pids}")
            time.sleep(_POLL / 10)  # short: nothing listens from the last closed port until nginx starts


def _send(process: psutil.Process, number: signal.Signals) -> None:
    with suppress(psutil.NoSuchProcess, psutil.AccessDenied):
        process.send_signal(number)
