"""The sink that serves: it makes one release after the other live, and keeps nginx running."""

import errno
import os
import threading
import time
from contextlib import suppress
from pathlib import Path

from reconciler.disk.releases import CURRENT, Release
from reconciler.disk.trees import keep_outside, remove_file, restore_files, write_files
from reconciler.loop.events import (
    EndpointsAhead,
    EndpointsChanged,
    FormerUnserved,
    NginxEnded,
    NginxFailed,
    NginxStarted,
    Reloaded,
    RolledBack,
)
from reconciler.loop.ports import EndpointsError, RefusedError, SinkError, Tell
from reconciler.nginx.figures import read_figures
from reconciler.nginx.logs import NginxLogs
from reconciler.nginx.memory import CGROUP, MemoryGuard
from reconciler.nginx.opening import explaining, open_releases
from reconciler.nginx.pods import Pods
from reconciler.nginx.process import Process
from reconciler.nginx.program import NginxError, check_modules, has_module
from reconciler.nginx.proof import SOCKET
from reconciler.nginx.tester import Tester
from reconciler.nginx.workers import find_patience, reap_orphans
from reconciler.objects.snapshot import NOTHING, Snapshot
from reconciler.rendering.endpoints import STATE_FILE
from reconciler.rendering.tree import render_release
from reconciler.settings import Settings
from reconciler.status.figures import Figures
from reconciler.values.files import File, Files

# Seconds before nginx is started again, by the number of times in a row that it ended within _STABLE seconds.
_BACK_OFF = (0.0, 1.0, 2.0, 4.0, 8.0, 16.0, 30.0)
_STABLE = 60.0
_POLL = 0.2


class NginxSink:
    """A sink that serves: each tree becomes a release below `folder`, and one nginx process runs it.

    A tree is tested in its final place, goes live by moving one link, and stays live if new workers answer its name.
    A tree of the live one's name has other Pods at most: nginx gets those without a reload.
    Events are sent from several threads. nginx cannot read anything in the folders `hidden`. `cgroup` is the folder
    that shows the container's memory.
    """

    def __init__(
        self, folder: Path, settings: Settings, tell: Tell, hidden: tuple[str, ...] = (), cgroup: Path = CGROUP
    ) -> None:
        check_modules(settings.nginx_binary, settings, hidden)
        self._counts = has_module(settings.nginx_binary, "http_stub_status", hidden)
        self._folder = Path(os.path.abspath(folder))
        self._settings = settings
        self._tell = tell
        self._process = Process(settings.nginx_binary, self._folder, CURRENT, tell, hidden)
        self._guard = MemoryGuard(self._process, cgroup, tell)
        self._pods = Pods(self._folder, self._process)
        self._turn = threading.RLock()
        self._over = threading.Event()
        self._ended = False
        self._releases = open_releases(self._folder, settings, hidden)
        self._tester = Tester(settings, self._folder, hidden)
        self._logs = NginxLogs(self._folder, settings, tell, hidden)
        try:
            self._logs.start()
        except OSError as error:
            self._releases.close()
            raise NginxError(f"{self._folder}: nginx's logs cannot be read: {error.strerror}") from None
        self._watch = threading.Thread(target=self._keep_running, daemon=True)
        self._watch.start()

    @property
    def pid(self) -> int | None:
        """The process ID of nginx's master; None if it does not run."""
        return self._process.pid

    def read_figures(self) -> Figures:
        """Read what nginx shows of itself now. It needs no lock, so that a long reload does not delay it."""
        return read_figures(self._process.pid, self._folder)

    def apply(self, files: Files, snapshot: Snapshot = NOTHING) -> str:
        """Serve a tree, and give the release's name. After SinkError the last release is still live."""
        name = self._releases.name(files)
        with self._turn, explaining(self._folder, name, self._tell):
            try:
                self._serve(name, files, snapshot)
            except OSError as error:
                if error.errno != errno.ENOSPC:
                    raise
                self._releases.prune(self._releases.live, 0)  # a change is worth more than the fallbacks
                self._serve(name, files, snapshot)
        return name

    def check(self, files: Files) -> None:
        """Test a tree without serving it. RefusedError if nginx refuses it."""
        name = self._releases.name(files)
        with self._turn, explaining(self._folder, name, self._tell):
            if name == self._releases.live:  # nothing of it may change, and nginx does not test Pods
                self._tester.test(name, self._releases.path(name))
                return
            replaced = self._stage(name, files, NOTHING)
            try:
                self._tester.test(name, self._releases.path(name))
            finally:
                restore_files(replaced)
                self._releases.remove(name)
                self._tester.forget(name)

    def resume(self) -> Release | None:
        """Serve the last good release that a former process left, and give it; None if there is none.

        NginxError if releases exist, but none can be served. The live release is then tried again until something else
        is to be served.
        """
        with self._turn:
            try:
                live = self._releases.live
                found = None
                for found in self._releases.find_whole():
                    if self._resume(found.name):
                        return found
                if found is None:
                    return None
                self._releases.swap(live)
            except OSError as error:
                raise NginxError(f"{self._folder}: no former release can be read: {error.strerror}") from None
        raise NginxError("no former release can be served")

    def stop(self, patience: float | None = None) -> None:
        """End nginx: let it finish its requests for `patience` seconds, by default SHUTDOWN_TIMEOUT."""
        self._over.set()
        try:
            with self._turn:
                self._process.stop(self._settings.shutdown_timeout if patience is None else patience)
        finally:
            self._process.kill()  # it still runs if a second signal ended the wait
            self._watch.join()
            self._logs.stop()
            self._releases.close()

    def reap_orphans(self) -> None:
        """Reap orphans, if this is a container's first process. Call it only while no other child is waited for."""
        reap_orphans(self._process.pid)

    def _serve(self, name: str, files: Files, snapshot: Snapshot) -> None:
        if self._process.pid and self._releases.live == name:
            try:
                self._change_endpoints(name, files, snapshot)
                return
            except EndpointsError:
                if self._process.pid:
                    raise  # else nginx has ended, and is started below
        before, started = self._releases.live, time.monotonic()
        replaced = self._stage(name, files, snapshot)
        written = time.monotonic()
        try:
            self._tester.test(name, self._releases.path(name))
            self._releases.carry(name, find_patience(self._settings) + self._tester.find_timeout(name))
            if STATE_FILE in files:  # the Pods of new paths must be there before new workers are
                files = {**files, STATE_FILE: self._pods.prepare(files[STATE_FILE])}
                self._releases.change(name, files, snapshot)
            self._releases.swap(name)
            loading = time.monotonic()
            self._load(name)
        except (SinkError, OSError):
            try:
                restore_files(replaced)
            finally:
                self._roll_back(before, name)
            raise
        phases = (("write", written - started), ("test", loading - written), ("load", time.monotonic() - loading))
        self._tell(Reloaded(name, phases))
        self._clean_up(name, files)

    def _change_endpoints(self, name: str, files: Files, snapshot: Snapshot) -> None:
        """Give nginx the Pods of a tree that differs from the live one in nothing else."""
        if STATE_FILE not in files:
            return
        started = time.monotonic()
        state, number = self._pods.change(files[STATE_FILE])
        posted = time.monotonic()
        try:
            self._releases.change(name, {**files, STATE_FILE: state}, snapshot)
        except OSError:
            self._give_back()  # nginx would load the former ones if anybody started it again
            raise
        self._pods.settle()
        self._tell(EndpointsChanged(name, number, (("post", posted - started), ("write", time.monotonic() - posted))))

    def _clean_up(self, name: str, files: Files) -> None:
        """Remove what former releases left: files outside of the folder, and releases that are too old."""
        outside = {path for path in files if path.startswith("/")}
        for path in self._releases.read_outside() - outside:
            remove_file(Path(path))
        self._releases.write_outside(outside)
        self._releases.prune(name)
        self._tester.forget_all_but(name)

    def _stage(self, name: str, files: Files, snapshot: Snapshot) -> dict[str, File | None]:
        """Write a release and its files outside of the folder. Give the files that those replaced."""
        server = render_release(name, SOCKET, counts=self._counts, lua=STATE_FILE in files)
        self._releases.stage(name, {**files, "release/name.conf": server}, snapshot)
        outside = {path: file for path, file in files.items() if path.startswith("/")}
        replaced = keep_outside(files)
        self._releases.write_outside(self._releases.read_outside() | outside.keys())
        try:
            write_files(outside, self._folder)
        except OSError:
            restore_files(replaced)
            raise
        return replaced

    def _load(self, name: str) -> None:
        """Make nginx serve the live release."""
        running = self._process.pid
        old = self._process.load()
        self._pods.leave(old)
        try:
            self._process.prove(name, old, self._tester.find_timeout(name))
        except NginxError as error:
            raise RefusedError(str(error), tested=False) from None
        self._pods.note(self._releases.read(name, STATE_FILE), fresh=not running)
        if not running:
            self._tell(NginxStarted(name, again=self._ended))
            self._ended = False

    def _roll_back(self, before: str | None, failed: str) -> None:
        """Serve the release `before` again, perhaps one of a former process, and remove the failed one."""
        if swapped := before != self._releases.live:
            self._releases.swap(before)
            self._tell(RolledBack(failed, before))
        self._give_back()
        if before and (swapped or not self._process.pid):
            try:
                self._load(before)
            except SinkError as error:
                self._tell(FormerUnserved(before, str(error)))
        if before != failed:
            self._releases.remove(failed)

    def _give_back(self) -> None:
        """Give nginx the Pods back that it had before."""
        try:
            if self._process.pid:
                self._pods.undo()
        except EndpointsError as error:
            self._tell(EndpointsAhead(str(error)))

    def _resume(self, name: str) -> bool:
        try:
            self._tester.test(name, self._releases.path(name))
            self._releases.swap(name)
            self._load(name)
        except SinkError as error:
            self._tell(FormerUnserved(name, str(error)))
            return False
        return True

    def _keep_running(self) -> None:
        """Start nginx again whenever it has ended by itself. The delay grows each time, unless nginx ran for long."""
        failures, started = 0, time.monotonic()
        while not self._over.wait(_POLL):
            self._guard.make_room()
            if self._process.ending is None:  # no lock, so that memory is freed even while a release goes live
                continue
            with self._turn:
                how = self._process.ending
                if how is None or not self._find_live():
                    continue
                if not self._ended:
                    self._tell(NginxEnded(how))
                self._ended = True
            failures = 0 if time.monotonic() - started > _STABLE else failures + 1
            self._over.wait(_BACK_OFF[min(failures, len(_BACK_OFF) - 1)])
            started = time.monotonic()
            self._start_again()

    def _start_again(self) -> None:
        with self._turn:
            live = self._find_live()
            if self._over.is_set() or self._process.ending is None or not live:
                return
            try:
                self._load(live)
            except (SinkError, OSError) as error:
                self._tell(NginxFailed(str(error)))

    def _find_live(self) -> str | None:
        """Find the live release. A link that cannot be read counts as none: it must not end the watch thread."""
        with suppress(OSError):
            return self._releases.live
        return None
