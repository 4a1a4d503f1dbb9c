"""The Pods that a running nginx has, where Lua chooses them: what it was given, and what it is to get."""

import time
from pathlib import Path

from reconciler.loop.ports import EndpointsError
from reconciler.nginx.endpoints import post_change, read_standing
from reconciler.nginx.process import Process
from reconciler.nginx.workers import find_leaving
from reconciler.rendering.endpoints import Change, Sets, UnreadableError, find_change, read_state, write_state
from reconciler.values.files import File

_FIRST = 1  # the version of a state that no nginx has yet


class Pods:
    """Knows which Pods the nginx process that runs in `folder` has, and gives it others.

    Old workers need the sets of former releases for `patience` seconds.
    """

    def __init__(self, folder: Path, process: Process, patience: float) -> None:
        self._folder = folder
        self._process = process
        self._patience = patience
        self._version = 0
        self._sets: Sets | None = None  # None: the running nginx knows nothing of this
        self._sure = True  # False: nginx may have taken the last post or not
        self._former: Sets | None = None
        self._stale: dict[str, float] = {}  # sets that no release has any more, and since when

    def change(self, state: File) -> tuple[File, int]:
        """Give nginx the Pods of a state, and give that with its version, and the number of sets that changed.

        After EndpointsError nginx has the Pods that it had, or these; it gets all anew with the next ones.
        """
        wanted = _read(state)[1]
        self._former = self._sets
        now = time.monotonic()
        names = (self._sets or {}).keys() - wanted.keys()
        self._stale = {name: self._stale.get(name, now) for name in names}
        number = self._bring(wanted, self._find_gone(now))
        return self._write(wanted), number

    def prepare(self, state: File) -> File:
        """Give a running nginx the Pods that a new release has, before it loads it. Give the state with its version.

        Sets that only the live release has stay, for it and its workers. EndpointsError as for `change`.
        """
        self._former = None
        wanted = _read(state)[1]
        if self._sets is None or not self._process.pid:
            return state
        self._former = self._sets
        self._stale = {name: since for name, since in self._stale.items() if name not in wanted}
        try:
            self._bring(wanted, self._find_gone(time.monotonic()))
        except EndpointsError:
            if self._process.pid:
                raise
            return state  # nginx has ended, and what is started reads the file
        return self._write(wanted)

    def undo(self) -> None:
        """Give nginx the Pods back that it had before, because a release or its files did not come about."""
        former, self._former = self._former, None
        if former is not None and self._sets is not None:
            self._bring(former, ())

    def note(self, state: File | None, *, fresh: bool) -> None:
        """Note that nginx has loaded a release with this state; None if it has none. A `fresh` nginx was started."""
        self._former = None
        if state is None:
            self._sets, self._stale = None, {}
        elif fresh or self._sets is None:
            self._version, self._sets = _read(state)
            self._sure, self._stale = True, {}

    def _find_gone(self, now: float) -> tuple[str, ...]:
        """Find stale sets that no worker needs: there is no old worker, or all have ended that could know them."""
        master = self._process.pid
        alone = bool(self._stale and master and not find_leaving(master))
        return tuple(sorted(name for name, since in self._stale.items() if alone or now - since > self._patience))

    def _write(self, wanted: Sets) -> File:
        return File(write_state(self._version, wanted).encode())

    def _bring(self, wanted: Sets, gone: tuple[str, ...]) -> int:
        """Post what differs, and give the number of sets that nginx gets. If that fails, post everything."""
        known = self._sets or {}
        change = Change(find_change(known, wanted).sets, gone)
        number = len(change.sets)
        if change.is_empty and self._sure:
            return 0
        sure, self._sure = self._sure, False
        try:
            if not sure:
                raise EndpointsError("nginx may have other Pods than is known")
            version = post_change(self._folder, change, self._version)
        except EndpointsError:
            version, gone = self._bring_all(wanted)
        self._version, self._sure = version, True
        self._sets = {name: pods for name, pods in {**known, **wanted}.items() if name not in gone}
        self._stale = {name: since for name, since in self._stale.items() if name not in gone}
        return number

    def _bring_all(self, wanted: Sets) -> tuple[int, tuple[str, ...]]:
        """Post all sets, whatever nginx has. Give the version, and the sets that were taken away to make room."""
        stale = tuple(sorted(self._stale.keys() - wanted.keys()))
        base = read_standing(self._folder).version
        if stale:
            base = post_change(self._folder, Change((), stale), base)
        return post_change(self._folder, find_change({}, wanted), base), stale


def _read(state: File) -> tuple[int, Sets]:
    try:
        return read_state(state.content.decode("ascii", "replace"))
    except UnreadableError:
        raise EndpointsError("the state of a release is not whole") from None
