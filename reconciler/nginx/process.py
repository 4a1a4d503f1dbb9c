"""The nginx process: started, reloaded, asked for the release that it serves, and ended."""

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import IO

from reconciler.nginx.program import NginxError, clean, keep_environment, make_command, read_complaint
from reconciler.values.patterns import show

SOCKET = "run/release.sock"
_POLL = 0.01
_STRAYS_TIMEOUT = 5.0
_LEAVING = b"shutting down"
# nginx asks for memory in pieces of 16 kB. glibc would cut them from one heap, of which nothing goes back to the system
# once a reload has let go of the old configuration: the master and its workers would hold the memory of two for good.
_MEMORY = {"MALLOC_MMAP_THRESHOLD_": "16000"}


class Process:
    """nginx in the foreground as our child, with `folder` as its prefix; it runs the tree that `tree` names there.

    What lies in the folders `hidden` it cannot read.
    """

    def __init__(self, binary: str, folder: Path, tree: str, hidden: tuple[str, ...] = ()) -> None:
        self._binary = binary
        self._folder = folder
        self._tree = tree
        self._hidden = hidden
        self._child: subprocess.Popen[str] | None = None
        self._reader: threading.Thread | None = None
        self._complaint = ""

    @property
    def pid(self) -> int | None:
        """The master's process number, while it runs."""
        return self._child.pid if self._child and self._child.poll() is None else None

    @property
    def ending(self) -> str | None:
        """How it ended, in words; None while it runs or before it was started."""
        code = self._child.poll() if self._child else None
        if code is None:
            return None
        killer = next((known.name for known in signal.Signals if known == -code), f"signal {-code}")
        how = f"was killed by {killer}" if code < 0 else f"ended with exit code {code}"
        return f"{how}: {self._complaint}" if self._complaint else how

    def load(self) -> set[int]:
        """Have nginx read its tree, by a signal where it runs, else by starting it: give its old workers."""
        self._complaint = ""
        if master := self.pid:
            workers = find_workers(master)
            os.kill(master, signal.SIGHUP)
            return workers
        self.start()
        return set()

    def start(self) -> None:
        """Start nginx. What a killed one left running here goes first: it holds the ports. NginxError if it cannot."""
        self._end_strays()
        (self._folder / SOCKET).unlink(missing_ok=True)  # a killed nginx leaves it behind and could not bind it again
        arguments = ("-e", "stderr", "-p", f"{self._folder}/", "-c", f"{self._tree}/nginx.conf", "-g", "daemon off;")
        command = make_command(self._binary, self._hidden, *arguments)
        try:
            self._child = subprocess.Popen(  # noqa: S603  the binary is a setting
                command, cwd=self._folder, env=_MEMORY | keep_environment(),
                stderr=subprocess.PIPE, text=True, errors="replace",
                start_new_session=True,  # a terminal's Ctrl-C is for us; nginx is to finish what it serves
            )  # fmt: skip
        except OSError as error:
            raise NginxError(f"{self._binary} cannot be run: {error.strerror}") from None
        self._reader = threading.Thread(target=self._pass_on, args=(self._child.stderr,), daemon=True)
        self._reader.start()

    def prove(self, name: str, old: set[int], timeout: float) -> None:
        """Wait until nginx answers the release's name, and none of its `old` workers takes connections any more.

        A reload that is refused shows in nothing else. NginxError after `timeout` seconds.
        """
        until = time.monotonic() + timeout
        while time.monotonic() < until:
            master = self.pid
            if self._ask() == name and master and not old & find_workers(master):
                return
            if not master:
                raise NginxError(f"nginx {self.ending}")
            time.sleep(_POLL)
        raise NginxError(f"nginx did not serve release {name} within {timeout:.0f} s: {self._complaint or 'no word'}")

    def end_oldest(self) -> bool:
        """End the oldest of the workers that only finish what they serve; False where there is none."""
        master = self.pid
        leaving = sorted(_find_leaving(master), key=_read_start) if master else []
        if leaving:
            _kill(leaving[0], signal.SIGTERM)
        return bool(leaving)

    def stop(self, patience: float) -> None:
        """End nginx: let it finish what it serves for so many seconds, and have it drop that after them."""
        for way, seconds in ((signal.SIGQUIT, patience), (signal.SIGTERM, 2.0)):
            if self._child and self._child.poll() is None:
                self._child.send_signal(way)
                with suppress(subprocess.TimeoutExpired):
                    self._child.wait(seconds)
        self.kill()

    def kill(self) -> None:
        """End nginx at once, if it runs."""
        if self._child and self._child.poll() is None:
            workers = find_children(self._child.pid)
            self._child.kill()
            self._child.wait()
            for worker in workers:
                _kill(worker, signal.SIGKILL)
        if self._reader:
            self._reader.join()

    def _pass_on(self, stream: IO[str]) -> None:
        """Write what nginx says to standard error, and remember what first kept it from running."""
        with stream:
            for line in stream:
                self._complaint = self._complaint or read_complaint(line, self._folder / self._tree) or ""
                with suppress(OSError):  # a full disk, for one: nginx is listened to all the same
                    sys.stderr.write(f"{show(clean(line.rstrip()))}\n")

    def _ask(self) -> str | None:
        """Ask nginx for the name of the release that it serves."""
        # A unix socket's address holds 108 bytes; through an open folder any path is short enough.
        path = self._folder / SOCKET
        try:
            folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
        except OSError:
            return None
        try:
            with socket.socket(socket.AF_UNIX) as connection:
                connection.settimeout(1.0)
                connection.connect(f"/proc/self/fd/{folder}/{path.name}")
                connection.sendall(b"GET / HTTP/1.0\r\n\r\n")
                with connection.makefile("rb") as answer:
                    return answer.read().rpartition(b"\r\n")[2].decode("ascii", "replace")
        except OSError:
            return None
        finally:
            os.close(folder)

    def _end_strays(self) -> None:
        """Have nginx processes that serve this folder and are not ours let go of the ports, and finish what they serve.

        A killed dispatcher leaves its whole nginx behind, a killed master its workers, all of them serving. NginxError
        where they cannot be ended.
        """
        until = time.monotonic() + _STRAYS_TIMEOUT
        told: set[int] = set()
        while serving := {pid for pid, title in self._find_strays() if _LEAVING not in title}:
            hard = time.monotonic() > until
            for pid in serving if hard else serving - told:
                _kill(pid, signal.SIGKILL if hard else signal.SIGQUIT)
            told |= serving
            if time.monotonic() > until + _STRAYS_TIMEOUT:
                raise NginxError(f"nginx processes that serve here cannot be ended: {sorted(serving)}")
            time.sleep(_POLL / 10)  # nobody listens from when the last of them has let go until nginx has started

    def _find_strays(self) -> Iterator[tuple[int, bytes]]:
        """Find nginx processes that were started in this folder for our tree, with their titles."""
        # By whatever path the folder was called then. Another's nginx may run here too; its workers are its own.
        here, ours = self._folder.stat(), f" -c {self._tree}/nginx.conf".encode()
        for entry in Path("/proc").iterdir():
            with suppress(OSError):
                if not entry.name.isdecimal() or not os.path.samestat((entry / "cwd").stat(), here):
                    continue
                pid, title = int(entry.name), _read_title(entry.name)
                # A master that ends has no title for that; it removes its socket when it closes its ports.
                if _is_master(title) and ours in title and ((self._folder / SOCKET).exists() or find_workers(pid)):
                    yield pid, title
                if title.startswith(b"nginx: worker process"):
                    parent = _read_stat(pid)[1]  # 0 where it lies outside of our container
                    master = b"" if parent == "0" else _read_title(parent)
                    if not _is_master(master) or ours in master:
                        yield pid, title


def find_workers(master: int) -> set[int]:
    """Find the workers that take new connections, by what nginx writes into their titles."""
    return {worker for worker, title in _read_titles(master).items() if _LEAVING not in title}


def _find_leaving(master: int) -> set[int]:
    return {worker for worker, title in _read_titles(master).items() if _LEAVING in title}


def read_state(pid: int) -> str:
    """Read the letter that a process's state has in /proc: `Z` is one that waits to be reaped."""
    return _read_stat(pid)[0]


def find_children(parent: int) -> set[int]:
    """Find the children of a process's first thread; a system without CONFIG_PROC_CHILDREN does not tell."""
    with suppress(FileNotFoundError, ProcessLookupError):
        return {int(pid) for pid in Path(f"/proc/{parent}/task/{parent}/children").read_text().split()}
    return set()


def _read_stat(pid: int) -> list[str]:
    """Read of /proc/<pid>/stat what stands behind the name: the state, the parent, and more."""
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()


def _read_start(pid: int) -> int:
    """Read when a process started, in ticks; one that is gone counts as the youngest."""
    with suppress(OSError):
        return int(_read_stat(pid)[19])
    return sys.maxsize


def _read_titles(master: int) -> dict[int, bytes]:
    titles = {}
    for worker in find_children(master):
        with suppress(FileNotFoundError, ProcessLookupError):
            titles[worker] = _read_title(str(worker))
    return titles


def _read_title(pid: str) -> bytes:
    return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ")


def _is_master(title: bytes) -> bool:
    return title.startswith(b"nginx: master process")


def _kill(pid: int, number: signal.Signals) -> None:
    with suppress(ProcessLookupError, PermissionError):
        os.kill(pid, number)
