"""The sink that serves: one release after the other goes live, and nginx is kept running whatever comes."""

import errno
import os
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from reconciler.disk.releases import CURRENT, Release, Releases
from reconciler.disk.trees import keep_outside, remove_file, restore_files, write_files
from reconciler.nginx.memory import CGROUP, is_short
from reconciler.nginx.process import SOCKET, Process
from reconciler.nginx.program import NginxError, RefusedError, check_modules, run_test
from reconciler.objects.snapshot import NOTHING, Snapshot
from reconciler.rendering.routes_file import ROUTES_FILE
from reconciler.rendering.tree import render_release
from reconciler.settings import Settings
from reconciler.values.files import File, Files

# Seconds before nginx is started again, for each time that it ended within _STABLE seconds.
_BACK_OFF = (0.0, 1.0, 2.0, 4.0, 8.0, 16.0, 30.0)
_STABLE = 60.0
_POLL = 0.2
_SHORT = "memory is short: workers of former releases are ended, with what they still serve"


class Nginx:
    """A sink that serves: each tree becomes a release below `folder`, which one nginx process runs.

    A tree is tested where it will lie, goes live by moving one link, and stays once the new workers answer its name.
    `tell` hears, a line each, how nginx ended and that it runs again; it is called from another thread. nginx cannot
    read what lies in the folders `hidden`. `cgroup` is where the container's memory is told.
    """

    def __init__(
        self,
        folder: Path,
        settings: Settings,
        tell: Callable[[str], None] | None = None,
        hidden: tuple[str, ...] = (),
        cgroup: Path = CGROUP,
    ) -> None:
        check_modules(settings.nginx_binary, settings, hidden)
        self._folder = Path(os.path.abspath(folder))
        self._settings = settings
        self._tell = tell
        self._hidden = hidden
        self._cgroup = cgroup
        self._process = Process(settings.nginx_binary, self._folder, CURRENT, hidden)
        self._turn = threading.RLock()
        self._over = threading.Event()
        self._said = ""
        self._took: dict[str, float] = {}  # seconds that the test of a release took
        try:
            if (self._folder / ROUTES_FILE).exists():
                raise NginxError(f"{self._folder}: holds an artefact; releases need a folder of their own")
            self._releases = Releases(self._folder)
        except OSError as error:
            raise NginxError(f"{self._folder}: cannot be used: {error.strerror}") from None
        if not self._releases.mine:
            raise NginxError(f"{self._folder}: another dispatcher serves this folder")
        self._watch = threading.Thread(target=self._keep_running, daemon=True)
        self._watch.start()

    @property
    def pid(self) -> int | None:
        """The process number of nginx's master, while it runs."""
        return self._process.pid

    def apply(self, files: Files, snapshot: Snapshot = NOTHING) -> str:
        """Serve a tree and give the release's name. NginxError leaves the last release serving."""
        name = self._releases.name(files)
        with self._turn:
            try:
                try:
                    self._serve(name, files, snapshot)
                except OSError as error:
                    if error.errno != errno.ENOSPC:
                        raise
                    self._releases.prune(self._releases.live, 0)  # others' changes are worth more than falling back
                    self._serve(name, files, snapshot)
            except OSError as error:
                raise NginxError(f"{self._folder}: release {name} cannot be written: {error.strerror}") from None
        return name

    def check(self, files: Files) -> None:
        """Test a tree without serving it. RefusedError where nginx refuses it."""
        name = self._releases.name(files)
        with self._turn:
            try:
                replaced = self._stage(name, files, NOTHING)
                try:
                    self._test(name)
                finally:
                    restore_files(replaced)
                    if name != self._releases.live:
                        self._releases.remove(name)
                        self._took.pop(name, None)
            except OSError as error:
                raise NginxError(f"{self._folder}: release {name} cannot be written: {error.strerror}") from None

    def resume(self) -> Release | None:
        """Serve the last good release that a former process left, and give it. None where there is none.

        NginxError where there is one and it cannot be served; the last one is then tried again for as long as nothing
        else is to be served.
        """
        with self._turn:
            try:
                last = self._releases.live
                tried = None
                for tried in self._releases.find_whole():
                    if self._resume(tried.name):
                        return tried
                if tried is None:
                    return None
                self._releases.swap(last)
            except OSError as error:
                raise NginxError(f"{self._folder}: no former release can be read: {error.strerror}") from None
        raise NginxError("no former release can be served")

    def stop(self, patience: float | None = None) -> None:
        """End nginx: let it finish what it serves, SHUTDOWN_TIMEOUT seconds at most unless told otherwise."""
        self._over.set()
        try:
            with self._turn:
                self._process.stop(self._settings.shutdown_timeout if patience is None else patience)
        finally:
            self._process.kill()  # unless it has ended: a second signal ends the wait
            self._watch.join()
            self._releases.close()

    def _serve(self, name: str, files: Files, snapshot: Snapshot) -> None:
        if self._process.pid and self._releases.live == name:
            return
        before = self._releases.live
        replaced = self._stage(name, files, snapshot)
        try:
            self._test(name)
            self._releases.swap(name)
            self._load(name)
        except (NginxError, OSError):
            try:
                restore_files(replaced)
            finally:
                self._roll_back(before, name)
            raise
        outside = {path for path in files if path.startswith("/")}
        for path in self._releases.read_outside() - outside:
            remove_file(Path(path))
        self._releases.write_outside(outside)
        self._releases.prune(name)
        self._took = {name: self._took[name]}

    def _stage(self, name: str, files: Files, snapshot: Snapshot) -> dict[str, File | None]:
        """Write a release, and what of it lies outside: give what was there before."""
        self._releases.stage(name, {**files, "release/name.conf": render_release(name, SOCKET)}, snapshot)
        outside = {path: file for path, file in files.items() if path.startswith("/")}
        replaced = keep_outside(files)
        self._releases.write_outside(self._releases.read_outside() | outside.keys())
        try:
            write_files(outside, self._folder)
        except OSError:
            restore_files(replaced)
            raise
        return replaced

    def _test(self, name: str) -> None:
        started = time.monotonic()
        refusals = run_test(self._settings.nginx_binary, self._folder, self._releases.path(name), self._hidden)
        self._took[name] = time.monotonic() - started
        if refusals:
            raise RefusedError(f"nginx refuses release {name}: {refusals[0]}", tested=True)

    def _load(self, name: str) -> None:
        """Have nginx serve a release. What takes long to test takes as long to load, and that is no fault of it."""
        timeout = self._settings.reload_timeout + 2 * self._took.get(name, 0.0)
        old = self._process.load()
        try:
            self._process.prove(name, old, timeout)
        except NginxError as error:
            raise RefusedError(str(error), tested=False) from None

    def _roll_back(self, before: str | None, failed: str) -> None:
        """Serve what was served before, be it by a former process. The failed release goes, to be written anew."""
        swapped = before != self._releases.live
        if swapped:
            self._releases.swap(before)
        if before and (swapped or not self._process.pid):
            try:
                self._load(before)
            except NginxError as error:
                self._say(f"the former release {before} cannot be served: {error}")
        if before != failed:
            self._releases.remove(failed)

    def _resume(self, name: str) -> bool:
        try:
            self._test(name)
            self._releases.swap(name)
            self._load(name)
        except NginxError as error:
            self._say(f"the former release {name} cannot be served: {error}")
            return False
        return True

    def _keep_running(self) -> None:
        """Start nginx again whenever it has ended without being asked to; each time later, unless it ran for long."""
        failures, started = 0, time.monotonic()
        while not self._over.wait(_POLL):
            self._make_room()
            if self._process.ending is None:  # room is to be made while a release goes live, too
                continue
            with self._turn:
                if self._process.ending is None or not self._find_live():
                    continue
                self._say(f"nginx {self._process.ending}; it is started again")
            failures = 0 if time.monotonic() - started > _STABLE else failures + 1
            self._over.wait(_BACK_OFF[min(failures, len(_BACK_OFF) - 1)])
            started = time.monotonic()
            self._start_again()

    def _make_room(self) -> None:
        """Where memory is short end a worker that is leaving, before the kernel ends nginx for everyone."""
        if not is_short(self._cgroup):
            self._said = "" if self._said == _SHORT else self._said  # the next shortage is told again
        elif self._process.end_oldest():
            self._say(_SHORT)

    def _start_again(self) -> None:
        with self._turn:
            live = self._find_live()
            if self._over.is_set() or self._process.ending is None or not live:
                return
            try:
                self._load(live)
                self._say(f"nginx runs again, with release {live}")
            except (NginxError, OSError) as error:
                self._say(f"nginx cannot be started again: {error}")

    def _find_live(self) -> str | None:
        """Find the live release; a link that cannot be read is none, and no end of the watch."""
        with suppress(OSError):
            return self._releases.live
        return None

    def _say(self, text: str) -> None:
        """Tell what is not what was told last."""
        if self._tell and text != self._said:
            self._tell(text)
        self._said = text
