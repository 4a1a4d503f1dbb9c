"""The Pods that a running nginx has, where Lua chooses them: what it was given, and what it is to get."""

from pathlib import Path

from reconciler.loop.ports import EndpointsError
from reconciler.nginx.endpoints import post_change, read_standing
from reconciler.nginx.process import Process
from reconciler.nginx.workers import find_leaving
from reconciler.rendering.endpoints import Change, Sets, UnreadableError, find_change, read_state, write_state
from reconciler.values.files import File

_FIRST = 1  # the version of a state that no nginx has yet


class Pods:
    """Knows which Pods the nginx process that runs in `folder` has, and gives it others."""

    def __init__(self, folder: Path, process: Process) -> None:
        self._folder = folder
        self._process = process
        self._version = 0
        self._sets: Sets | None = None  # None: the running nginx knows nothing of this
        self._former: Sets | None = None

    def change(self, state: File) -> tuple[File, int]:
        """Give nginx the Pods of a state, and give that with its version, and the number of sets that changed.

        Sets of former releases go when none of their workers is left. After EndpointsError nginx has the Pods that it
        had.
        """
        wanted = _read(state)[1]
        stale = (self._sets or {}).keys() - wanted.keys()
        gone = tuple(sorted(stale)) if stale and not self._has_old_workers() else ()
        number = self._bring(wanted, gone)
        return self._write(wanted), number

    def prepare(self, state: File) -> File:
        """Give a running nginx the Pods that a new release has, before it loads it. Give the state with its version.

        Sets that only the live release has stay, for it and its workers. After EndpointsError nothing has changed.
        """
        self._former = None
        wanted = _read(state)[1]
        if self._sets is None or not self._process.pid:
            return state
        former = self._sets
        self._bring(wanted, ())
        self._former = former
        return self._write(wanted)

    def undo(self) -> None:
        """Give nginx the Pods back that it had before `prepare`, because the new release did not go live."""
        former, self._former = self._former, None
        if former is not None and self._sets is not None:
            self._bring(former, ())

    def note(self, state: File | None, *, fresh: bool) -> None:
        """Note that nginx has loaded a release with this state; None if it has none. A `fresh` nginx was started."""
        self._former = None
        if state is None:
            self._sets = None
        elif fresh or self._sets is None:
            self._version, self._sets = _read(state)

    def _has_old_workers(self) -> bool:
        master = self._process.pid
        return bool(master and find_leaving(master))

    def _write(self, wanted: Sets) -> File:
        return File(write_state(self._version, wanted).encode())

    def _bring(self, wanted: Sets, gone: tuple[str, ...]) -> int:
        """Post what differs, and give the number of sets. If that fails, post everything: an answer may be lost."""
        change = Change(find_change(self._sets or {}, wanted).sets, gone)
        if change.is_empty:
            return 0
        try:
            version = post_change(self._folder, change, self._version)
        except EndpointsError:
            # Names that nginx has besides cost memory alone.
            change, gone = find_change({}, wanted), ()
            version = post_change(self._folder, change, read_standing(self._folder).version)
        self._version = version
        self._sets = {name: pods for name, pods in {**(self._sets or {}), **wanted}.items() if name not in gone}
        return len(change.sets) + len(gone)


def _read(state: File) -> tuple[int, Sets]:
    try:
        return read_state(state.content.decode("ascii", "replace"))
    except UnreadableError:
        raise EndpointsError("the state of a release is not whole") from None
