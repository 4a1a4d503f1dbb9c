"""nginx: its version and its test, the releases it serves, and the process that serves them."""

import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

from reconciler.disk import read_file, replace_file, restore_files, try_lock, write_files
from reconciler.files import SECRET, File, Files, name_release
from reconciler.render import render_release
from reconciler.routes import ROUTES_FILE
from reconciler.settings import Settings

_SOCKET = "run/release.sock"
_CURRENT = "current"
_KEPT = 3
_TEST_TIMEOUT = 60.0
_STOP_TIMEOUT = 10.0
_POLL = 0.01


class NginxError(Exception):
    """nginx is not there, refuses a tree or does not serve it; the text is one line without secrets."""


def find_version(binary: str) -> tuple[int, ...]:
    """Ask nginx for its version, such as (1, 26, 3). NginxError where there is no nginx."""
    printed = _run([binary, "-v"])
    found = re.search(r"nginx version: \S+?/(\d+)\.(\d+)\.(\d+)", printed.stderr)
    if not found:
        raise NginxError(f"{binary} -v names no nginx version")
    return tuple(map(int, found.groups()))


def find_binary(name: str) -> str | None:
    """Find nginx by its file or its name, also where a plain user's PATH does not look; None where there is none."""
    found = shutil.which(name) or shutil.which(name, path="/usr/sbin:/usr/local/sbin:/usr/local/nginx/sbin")
    return os.path.abspath(found) if found else None


def check_modules(binary: str, settings: Settings) -> None:
    """Make sure that nginx was built with what the settings ask of it. NginxError names the module that is missing."""
    built = _run([binary, "-V"]).stderr
    wanted = {
        "http_auth_request": True,
        "http_ssl": bool(settings.ssl_cert),
        "http_v2": settings.http2 and bool(settings.ssl_cert),
    }
    for module in [name for name, needed in wanted.items() if needed and f"{name}_module" not in built]:
        raise NginxError(f"{binary} is built without ngx_{module}_module, which is needed")
    if settings.health_checks and "upstream_check" not in built:
        raise NginxError(f"health checks need an nginx built with nginx_upstream_check_module, and {binary} is not")


def check_tree(binary: str, tree: Path) -> None:
    """Test a tree with `nginx -t`. NginxError says what is refused; a port that cannot be had is no fault of a tree."""
    with _scratch() as scratch:
        refusals = [line for line in _test(binary, scratch, tree) if "bind() to " not in line]
    if refusals:
        raise NginxError(f"nginx refuses the configuration: {refusals[0]}")


@contextmanager
def _scratch() -> Iterator[Path]:
    """Give a folder for what nginx makes at a test. Its folders are empty and may be another user's: no look inside."""
    folder = Path(tempfile.mkdtemp(prefix="dispatcher-test-"))
    try:
        yield folder
    finally:
        for made in folder.iterdir():
            made.rmdir() if made.is_dir() else made.unlink()
        folder.rmdir()


def _test(binary: str, prefix: Path, tree: Path) -> list[str]:
    """Run `nginx -t` on a tree: what it finds wrong, a line each; empty where it is content."""
    tested = _run([binary, "-t", "-q", "-e", "stderr", "-p", f"{prefix}/", "-c", f"{tree}/nginx.conf"], folder=prefix)
    lines = [_clean(line, tree) for line in tested.stderr.splitlines() if "[emerg]" in line]
    return lines or ([f"exit status {tested.returncode}"] if tested.returncode else [])


def _clean(line: str, tree: Path) -> str:
    text = line.partition("[emerg]")[2].strip().replace(f"{tree}/", "")
    return "api-keys.conf is malformed" if "api-keys.conf" in text else re.sub(r"^\d+#\d+: ", "", text)


def _run(command: list[str], folder: Path | None = None) -> subprocess.CompletedProcess[str]:
    try:
        return subprocess.run(  # noqa: S603  the binary is a setting
            command, cwd=folder, capture_output=True, text=True, errors="replace", timeout=_TEST_TIMEOUT, check=False
        )
    except subprocess.TimeoutExpired:
        raise NginxError(f"{command[0]} did not answer within {_TEST_TIMEOUT:.0f} s") from None
    except OSError as error:
        raise NginxError(f"{command[0]} cannot be run: {error.strerror}") from None


class Nginx:
    """A sink that serves: each tree becomes a release below `folder`, which one nginx process runs.

    `folder` holds `releases/<name>/`, the symbolic link `current`, `run/`, and what nginx itself writes. A tree is
    tested where it will lie, goes live by moving one link, and stays once the new workers answer its name.
    """

    def __init__(self, folder: Path, settings: Settings) -> None:
        check_modules(settings.nginx_binary, settings)
        self._folder = Path(os.path.abspath(folder))
        self._binary = settings.nginx_binary
        self._timeout = float(settings.reload_timeout)
        self._process: subprocess.Popen[str] | None = None
        self._reader: threading.Thread | None = None
        self._complaint = ""
        self._outside: Files = {}
        try:
            if (self._folder / ROUTES_FILE).exists():
                raise NginxError(f"{self._folder}: holds an artefact; releases need a folder of their own")
            (self._folder / "run").mkdir(parents=True, exist_ok=True)
            self._lock = os.open(self._folder / "run", os.O_RDONLY | os.O_DIRECTORY)
            if not try_lock(self._lock):
                raise NginxError(f"{self._folder}: another dispatcher serves this folder")
            self._salt = self._read_salt()
        except OSError as error:
            raise NginxError(f"{self._folder}: cannot be used: {error.strerror}") from None

    def apply(self, files: Files) -> str:
        """Serve a tree and give the release's name. NginxError leaves the last release serving."""
        name = name_release(files, self._salt)
        try:
            self._serve(name, files)
        except OSError as error:
            raise NginxError(f"{self._folder}: release {name} cannot be written: {error.strerror}") from None
        return name

    def stop(self) -> None:
        """End nginx: let it finish what it serves, and end it the hard way where that takes too long."""
        process, self._process = self._process, None
        try:
            for way, patience in ((signal.SIGQUIT, _STOP_TIMEOUT), (signal.SIGTERM, 2.0)):
                if process and process.poll() is None:
                    process.send_signal(way)
                    with suppress(subprocess.TimeoutExpired):
                        process.wait(patience)
        finally:
            if process and process.poll() is None:  # a second signal ends the wait
                process.kill()
                process.wait()
            if self._reader:
                self._reader.join()
            os.close(self._lock)

    def _serve(self, name: str, files: Files) -> None:
        if self._is_running() and self._live() == name:
            return
        release = self._stage(name, files)
        outside = {path: file for path, file in files.items() if path.startswith("/")}
        before, replaced = self._live(), {path: read_file(Path(path)) for path in outside}
        try:
            write_files(outside, release)
            if refusals := _test(self._binary, self._folder, release):
                raise NginxError(f"nginx refuses release {name}: {refusals[0]}")
            self._swap(name)
            self._prove(name, self._load())
        except (NginxError, OSError):
            restore_files(replaced)
            self._roll_back(before, name)
            raise
        for path in self._outside.keys() - outside.keys():
            Path(path).unlink(missing_ok=True)
        self._outside = outside
        self._prune(name)

    def _stage(self, name: str, files: Files) -> Path:
        """Write a release's folder beside its place and move it there; one that is there is whole."""
        release = self._folder / "releases" / name
        if release.is_dir():
            os.utime(release)  # it is the newest again: what is pruned goes by age
            return release
        release.parent.mkdir(exist_ok=True)
        staged = Path(tempfile.mkdtemp(prefix=".", dir=release.parent))
        try:
            write_files({path: file for path, file in files.items() if not path.startswith("/")}, staged)
            write_files({"release/name.conf": render_release(name, _SOCKET)}, staged)
            staged.chmod(0o755)
            os.rename(staged, release)
        finally:
            shutil.rmtree(staged, ignore_errors=True)  # unless it has been moved
        return release

    def _swap(self, name: str) -> None:
        link = self._folder / f".{_CURRENT}"
        link.unlink(missing_ok=True)
        link.symlink_to(f"releases/{name}")
        os.replace(link, self._folder / _CURRENT)

    def _live(self) -> str | None:
        try:
            return os.path.basename(os.readlink(self._folder / _CURRENT))
        except FileNotFoundError:
            return None

    def _roll_back(self, before: str | None, failed: str) -> None:
        """Serve what was served before, be it by a former process. The failed release goes, to be written anew."""
        swapped = before != self._live()
        if before is None:
            (self._folder / _CURRENT).unlink(missing_ok=True)
        elif swapped:
            self._swap(before)
        if before and (swapped or not self._is_running()):
            self._prove(before, self._load())
        if before != failed:
            shutil.rmtree(self._folder / "releases" / failed, ignore_errors=True)

    def _prune(self, name: str) -> None:
        """Remove old releases and what killed runs left; the last ones stay for people to look at."""
        releases = sorted((self._folder / "releases").iterdir(), key=lambda path: path.stat().st_mtime, reverse=True)
        kept = [path for path in releases if not path.name.startswith(".") and path.name != name][: _KEPT - 1]
        for path in releases:
            if path not in kept and path.name != name:
                shutil.rmtree(path, ignore_errors=True)

    def _is_running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def _load(self) -> set[int]:
        """Have nginx read the current release, by a signal where it runs, else by starting it: give its old workers."""
        self._complaint = ""
        if self._process and self._is_running():
            workers = self._find_workers(self._process.pid)
            self._process.send_signal(signal.SIGHUP)
            return workers
        (self._folder / _SOCKET).unlink(missing_ok=True)  # a killed nginx leaves it behind and could not bind it again
        command = [self._binary, "-e", "stderr", "-p", f"{self._folder}/", "-c", f"{_CURRENT}/nginx.conf"]
        try:
            self._process = subprocess.Popen(  # noqa: S603  the binary is a setting
                [*command, "-g", "daemon off;"], cwd=self._folder, stderr=subprocess.PIPE, text=True, errors="replace"
            )
        except OSError as error:
            raise NginxError(f"{self._binary} cannot be run: {error.strerror}") from None
        self._reader = threading.Thread(target=self._pass_on, args=(self._process.stderr,), daemon=True)
        self._reader.start()
        return set()

    def _find_workers(self, master: int) -> set[int]:
        """Find the workers that take new connections, by what nginx writes into their titles."""
        titles = {}
        with suppress(FileNotFoundError):  # a system without CONFIG_PROC_CHILDREN does not tell
            for worker in Path(f"/proc/{master}/task/{master}/children").read_text().split():
                with suppress(FileNotFoundError, ProcessLookupError):
                    titles[int(worker)] = Path(f"/proc/{worker}/cmdline").read_bytes()
        return {worker for worker, title in titles.items() if b"shutting down" not in title}

    def _pass_on(self, stream: IO[str]) -> None:
        """Write what nginx says to standard error, and remember what first kept it from running."""
        with stream:
            for line in stream:
                if "[emerg]" in line and not self._complaint:
                    self._complaint = _clean(line, self._folder / _CURRENT)
                sys.stderr.write(line)

    def _prove(self, name: str, old: set[int]) -> None:
        """Wait until nginx answers the release's name, and none of its `old` workers takes connections any more.

        A reload that is refused shows in nothing else.
        """
        until = time.monotonic() + self._timeout
        while time.monotonic() < until:
            if self._ask() == name and self._process and not old & self._find_workers(self._process.pid):
                return
            if not self._is_running():
                raise NginxError(f"nginx ended at once: {self._complaint or 'it did not say why'}")
            time.sleep(_POLL)
        raise NginxError(
            f"nginx did not serve release {name} within {self._timeout:.0f} s: {self._complaint or 'no word'}"
        )

    def _ask(self) -> str | None:
        """Ask nginx for the name of the release that it serves."""
        # A unix socket's address holds 108 bytes; through an open folder any path is short enough.
        folder = os.open(self._folder / "run", os.O_RDONLY | os.O_DIRECTORY)
        try:
            with socket.socket(socket.AF_UNIX) as connection:
                connection.settimeout(1.0)
                connection.connect(f"/proc/self/fd/{folder}/{os.path.basename(_SOCKET)}")
                connection.sendall(b"GET / HTTP/1.0\r\n\r\n")
                with connection.makefile("rb") as answer:
                    return answer.read().rpartition(b"\r\n")[2].decode("ascii", "replace")
        except OSError:
            return None
        finally:
            os.close(folder)

    def _read_salt(self) -> bytes:
        """Read the secret that keys release names, made at the folder's first use."""
        salt = self._folder / "run" / "salt"
        if not salt.is_file():
            replace_file(salt, File(os.urandom(16), SECRET))
        return salt.read_bytes()
