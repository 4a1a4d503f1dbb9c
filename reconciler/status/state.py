"""State: an observer that keeps what happened as one value, which other threads may read at any time."""

import time
from collections.abc import Mapping
from typing import Any

import msgspec

from reconciler.loop import events
from reconciler.loop.cycle import Cycle
from reconciler.loop.events import Event
from reconciler.rendering.comparison import RouteChange, compare_first
from reconciler.rendering.endpoints import STATE_FILE
from reconciler.routing.model import Size
from reconciler.routing.problems import Problem
from reconciler.values.value import Value

# The newest cycles and reloads that are kept, and the changes of a cycle that are kept; others are counted.
_MOST_CYCLES, _MOST_CHANGES = 50, 20


class AppliedChanges(Value, frozen=True):
    """What a cycle changed in routing: the first changes, and the number of `more` ones.

    If nginx took them `without_reload`, `release` was served before too.
    """

    at: float
    release: str
    without_reload: bool
    changes: tuple[RouteChange, ...]
    more: int


class Reload(Value, frozen=True):
    """When nginx began to serve another release, and the seconds that each phase took."""

    at: float
    release: str
    phases: tuple[tuple[str, float], ...]


class Answers(Value, frozen=True):
    """The answers of the API server with one code: their number, their bytes in total, and the time of the last one."""

    number: int = 0
    received: int = 0
    last: float = 0.0


class Seen(Value, frozen=True):
    """What happened so far. All times are in seconds since the epoch.

    `number` counts the events that changed this value. The last `cycle` is None until the source was read: until then
    `release` and `size` are those of a former process. `since` is when the served release went live, `read` when the
    source was read last, `good` when the last cycle succeeded, `error` why the one after it failed. `standing` tells
    since when each problem stands. `running` says whether nginx runs, and `ending` how it ended. `publisher` is what a
    router that reads what is published knows of the publisher; `publishing` says whether a publisher publishes, None if
    this is none, `holder` who does if it stands by, and `published` what it published last. `chosen` is how Pods are to
    come and go in nginx, and `refused` why it did not take them without a reload, until a release can do so again.
    """

    started: float
    number: int = 0
    version: str = ""
    settings: Mapping[str, str] = {}
    source: str = ""
    cycle: Cycle | None = None
    release: str = ""
    size: Size = Size(0, 0)
    since: float | None = None
    read: float | None = None
    good: float | None = None
    error: str = ""
    standing: Mapping[Problem, float] = {}
    changes: tuple[AppliedChanges, ...] = ()
    reloads: tuple[Reload, ...] = ()
    answers: Mapping[tuple[str, int], Answers] = {}
    running: bool = False
    ending: str = ""
    stopping: bool = False
    publisher: events.PublisherSeen | None = None
    publishing: bool | None = None
    holder: str = ""
    published: events.Published | None = None
    chosen: events.EndpointsChosen | None = None
    refused: str = ""

    @property
    def without_reload(self) -> bool | None:
        """Whether Pods come and go in nginx without a reload now; None where no nginx belongs."""
        if self.cycle and self.chosen:
            return STATE_FILE in self.cycle.files
        return self.chosen.by == "lua" if self.chosen else None


class State:
    """An observer that keeps what happened. Each event replaces `seen` as a whole, so that readers need no lock."""

    def __init__(self) -> None:
        self.seen = Seen(time.time())

    def observe(self, event: Event) -> None:
        """Take note of an event."""
        seen = self.seen
        if found := _read(event, seen, time.time()):
            self.seen = msgspec.structs.replace(seen, number=seen.number + 1, **found)


def _read(event: Event, seen: Seen, now: float) -> dict[str, Any]:
    """Give the fields that an event changes."""
    match event:
        case events.Started():
            return {"version": event.version, "settings": event.settings, "source": event.source}
        case events.Applied():
            return _read_cycle(event.cycle, seen, now) | _read_applied(event, seen, now)
        case events.Idle():
            return _read_cycle(event.cycle, seen, now)
        case events.Failed():
            return {"error": event.why} | ({"read": now} if event.port == "sink" else {})
        case events.Answered():
            key = (event.resource, event.code)
            known = seen.answers.get(key, Answers())
            answers = Answers(known.number + 1, known.received + event.received, now)
            return {"answers": {**seen.answers, key: answers}}
        case events.Elected() | events.StoodBy() | events.Published() | events.PublisherSeen():
            return _read_publishing(event)
        case _:
            return _read_nginx(event, seen, now)


def _read_cycle(cycle: Cycle, seen: Seen, now: float) -> dict[str, Any]:
    """Give what a cycle changes that succeeded, whether it applied anything or not."""
    problems, known = cycle.table.problems, seen.standing
    same = seen.cycle is not None and problems is seen.cycle.table.problems
    standing = known if same else {problem: known.get(problem, now) for problem in problems}
    since = seen.since if cycle.release == seen.release else now
    live = {"release": cycle.release, "size": cycle.size, "since": since}
    live |= {"refused": ""} if STATE_FILE in cycle.files else {}
    return {"cycle": cycle, "read": now, "good": now, "error": "", "standing": standing, **live}


def _read_applied(event: events.Applied, seen: Seen, now: float) -> dict[str, Any]:
    """Give the timeline with the changes of a cycle; a cycle that changed nothing that a person sees is not in it."""
    changes, more = compare_first(event.last.files if event.last else {}, event.cycle.files, _MOST_CHANGES)
    newest = AppliedChanges(now, event.cycle.release, not event.is_release, changes, more)
    return {"changes": (newest, *seen.changes)[:_MOST_CYCLES]} if changes else {}


def _read_publishing(
    event: events.Elected | events.StoodBy | events.Published | events.PublisherSeen,
) -> dict[str, Any]:
    match event:
        case events.Elected():
            return {"publishing": True, "holder": ""}
        case events.StoodBy():
            return {"publishing": False, "holder": event.holder, "error": ""}
        case events.Published():
            return {"published": event}
        case events.PublisherSeen():
            return {"publisher": event}


def _read_nginx(event: Event, seen: Seen, now: float) -> dict[str, Any]:
    match event:
        case events.Resumed():
            return {"release": event.release, "size": event.size, "since": now}
        case events.Reloaded():
            return {"reloads": (Reload(now, event.release, event.phases), *seen.reloads)[:_MOST_CYCLES]}
        case events.EndpointsChosen():
            return {"chosen": event}
        case events.EndpointsRefused():
            return {"refused": event.why}
        case events.NginxStarted():
            return {"running": True, "ending": ""}
        case events.NginxEnded():
            return {"running": False, "ending": event.how}
        case events.NginxFailed():
            return {"running": False, "ending": event.why}
        case events.ShuttingDown():
            return {"stopping": True}
        case events.ShutDown():
            return {"running": False, "stopping": True}
    return {}
