"""The Pods that a running nginx has, where Lua chooses them: what it was given, and what it is to get."""

from collections.abc import Collection
from pathlib import Path

import psutil

from reconciler.loop.ports import EndpointsError
from reconciler.nginx.endpoints import post_change, read_standing
from reconciler.nginx.process import Process
from reconciler.nginx.workers import find_children
from reconciler.rendering.endpoints import Change, Sets, UnreadableError, find_change, read_state, write_state
from reconciler.values.files import File
from reconciler.values.value import Value

# A set takes some room while it is being removed. So not all are removed at once, and not when no room is left.
_AT_ONCE = 100
_RESERVE = 48 * 1024
_SET_BYTES = 1024  # a set takes at most so much besides its Pods, whose text takes at most twice its length


class _Leaving(Value, frozen=True):
    """Workers that are to exit, and the sets that they may use until then."""

    workers: frozenset[psutil.Process]
    sets: frozenset[str]


class Pods:
    """Knows which Pods the nginx process that runs in `folder` has, and gives it others.

    It also knows which sets the workers of former releases may still use.
    """

    def __init__(self, folder: Path, process: Process) -> None:
        self._folder = folder
        self._process = process
        self._version = 0
        self._sets: Sets | None = None  # None: the running nginx knows nothing of this
        self._sure = True  # False: nginx may have taken the last post or not
        self._former: Sets | None = None
        self._live = frozenset[str]()  # the sets of the live release, and of one that is about to be live
        self._leaving: tuple[_Leaving, ...] = ()

    def change(self, state: File) -> tuple[File, int]:
        """Give nginx the Pods of a state, and give that with its version, and the number of sets that changed.

        Sets that no worker needs any more go. After EndpointsError nginx has the Pods that it had, or these.
        """
        wanted = _read(state)[1]
        self._former = self._find_live()
        number = self._bring(wanted, self._find_stale(wanted, self._list_needed()))
        return self._write(wanted), number

    def prepare(self, state: File) -> File:
        """Give a running nginx the Pods that a new release has, before it loads it. Give the state with its version.

        Sets that only the live release has stay, for it and its workers. EndpointsError as for `change`.
        """
        self._former = None
        wanted = _read(state)[1]
        if self._sets is None or not self._process.pid:
            return state
        self._former = self._find_live()
        try:
            self._bring(wanted, self._find_stale(wanted, self._list_needed()))
        except EndpointsError:
            if self._process.pid:
                raise
            return state  # nginx has ended, and what is started reads the file
        self._live = self._live.union(wanted)
        return self._write(wanted)

    def undo(self) -> None:
        """Give nginx the Pods back that it had before, because a release or its files did not come about."""
        former, self._former = self._former, None
        if former is not None and self._sets is not None:
            self._bring(former, ())

    def settle(self) -> None:
        """Note that the Pods that nginx was given last stay: whatever fails later does not bring back others."""
        self._former = None

    def leave(self, workers: Collection[psutil.Process]) -> None:
        """Note that these workers are to exit. Until they have, they may use the sets of the live release."""
        self._leaving += (_Leaving(frozenset(workers), self._live),)

    def note(self, state: File | None, *, fresh: bool) -> None:
        """Note that nginx has loaded a release with this state; None if it has none. A `fresh` nginx was started."""
        self._former = None
        version, loaded = _read(state) if state else (0, None)
        self._live = frozenset(loaded or ())
        if loaded is None or fresh or self._sets is None:
            self._version, self._sets, self._sure, self._leaving = version, loaded, True, ()

    def _find_live(self) -> Sets:
        return {name: pods for name, pods in (self._sets or {}).items() if name in self._live}

    def _list_needed(self) -> frozenset[str]:
        """Name the sets that workers of former releases may still use."""
        master = self._process.pid
        running = set(find_children(master)) if master and self._leaving else set()
        self._leaving = tuple(one for one in self._leaving if one.workers & running)
        return frozenset[str]().union(*(one.sets for one in self._leaving))

    def _find_stale(self, wanted: Sets, needed: Collection[str] = ()) -> tuple[str, ...]:
        known = (self._sets or {}).keys()
        return tuple(sorted(known - wanted.keys() - self._live - set(needed)))

    def _write(self, wanted: Sets) -> File:
        return File(write_state(self._version, wanted).encode())

    def _bring(self, wanted: Sets, gone: tuple[str, ...]) -> int:
        """Post what differs, and give the number of sets. If nginx does not say that it took it, post everything."""
        change = Change(find_change(self._sets or {}, wanted).sets, gone)
        sure, self._sure = self._sure, False
        done = sure and (change.is_empty or self._tries(change, wanted))
        if not done:  # names that nginx has besides cost memory alone
            self._version = read_standing(self._folder).version
            self._post(find_change({}, wanted), wanted)
        self._sure = True
        return len(change.sets)

    def _tries(self, change: Change, wanted: Sets) -> bool:
        """Post what differs from what nginx is known to have. False if it has something else, or did not take it."""
        try:
            self._post(change, wanted)
        except EndpointsError:
            return False
        return True

    def _post(self, change: Change, wanted: Sets) -> None:
        """Post a change, and make room for it if that is needed."""
        if read_standing(self._folder).free < _measure(change):
            self._make_room(wanted)
            change = Change(change.sets)  # what was to go is gone
        self._post_alone(change)

    def _make_room(self, wanted: Sets) -> None:
        """Remove the sets that only workers of former releases can use.

        They fail requests that ask for one later: those for paths whose rules have just changed, and no others.
        """
        stale = self._find_stale(wanted)
        for place in range(0, len(stale), _AT_ONCE):
            self._post_alone(Change((), stale[place : place + _AT_ONCE]))

    def _post_alone(self, change: Change) -> None:
        self._version = post_change(self._folder, change, self._version)
        sets, gone = {**(self._sets or {}), **dict(change.sets)}, frozenset(change.gone)
        self._sets = {name: pods for name, pods in sets.items() if name not in gone}


def _measure(change: Change) -> int:
    """Count the bytes that nginx may need for a change, with what the removal of sets needs after it."""
    return _RESERVE + _SET_BYTES * len(change.gone) + sum(_SET_BYTES + 2 * len(pods) for _, pods in change.sets)


def _read(state: File) -> tuple[int, Sets]:
    try:
        return read_state(state.content.decode("ascii", "replace"))
    except UnreadableError:
        raise EndpointsError("the state of a release is not whole") from None
