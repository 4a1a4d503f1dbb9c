"""Events: what happens in the loop and at its edges, as values. Each event is passed once to all observers.

Kubernetes has Events too: this project calls them Kubernetes Events.
"""

from collections.abc import Mapping

from reconciler.loop.cycle import Cycle
from reconciler.routing.model import Size
from reconciler.values.value import Value


class Started(Value, frozen=True):
    """The daemon starts: its version, its settings as they were written, and the source that it reads."""

    version: str
    settings: Mapping[str, str]
    source: str


class NginxSized(Value, frozen=True):
    """What nginx may use: `workers` processes with `connections` each, of which at most `kept` are idle ones to Pods.

    The settings asked for `wanted` connections; a worker may open `descriptors`.
    """

    workers: int
    connections: int
    wanted: int
    kept: int
    descriptors: int


class Resumed(Value, frozen=True):
    """The last good release of a former process is served until the source is read; `size` is how much it routes."""

    release: str
    size: Size


class Turned(Value, frozen=True):
    """The loop is alive: it begins to wait, or it gives a tree to the sink, as in each trial of a long search."""


class Applied(Value, frozen=True):
    """A cycle changed routes, and they are served; `last` is the cycle before it."""

    cycle: Cycle
    last: Cycle | None

    @property
    def is_release(self) -> bool:
        """Whether this made a new release, so that nginx was reloaded; else only Pods changed."""
        return not self.cycle.is_without_reload(self.last)


class Idle(Value, frozen=True):
    """A cycle changed no route, but problems may have changed. `last` is the cycle before it."""

    cycle: Cycle
    last: Cycle | None


class Refused(Value, frozen=True):
    """nginx refused a tree because of `why`. The Namespaces in `held` are held back now."""

    why: str
    held: tuple[str, ...]


class Failed(Value, frozen=True):
    """A cycle failed, and the last release is still served. It is tried again; each failure is an event.

    `port` is what failed: "source" or "sink". A `busy` one needs a pause; `retry_after` is the number of seconds that
    it requested, 0 if it requested none.
    """

    port: str
    why: str
    busy: bool = False
    retry_after: float = 0.0


class Recovered(Value, frozen=True):
    """A cycle succeeded after one or more cycles that failed."""


class StoodBy(Value, frozen=True):
    """A publisher publishes nothing in a turn, because `holder` has the Lease; empty if it is not known who."""

    holder: str


class Elected(Value, frozen=True):
    """A publisher has the Lease now, and publishes."""


class Published(Value, frozen=True):
    """A Snapshot was published: the hexadecimal `digest` of it, its `shards`, and the `written` ones of `size` bytes.

    `total` is the number of bytes of all shards.
    """

    digest: str
    shards: int
    written: int
    size: int
    total: int


class PublisherSeen(Value, frozen=True):
    """A router has looked at what is published.

    `confirmed` is when the publisher was last seen to confirm it, in seconds since the epoch; None if never. What is
    published is `old` if that, or the router's start, is longer ago than PUBLISHED_MAX_AGE. `alone` tells that the
    router reads the cluster itself. `since` is the time that its knowledge has: of the last confirmation, of its start,
    or of its own last List.
    """

    confirmed: float | None
    since: float
    old: bool
    alone: bool = False


class Answered(Value, frozen=True):
    """The API server answered a request for a `resource`, such as pods, with a status `code` and `received` bytes.

    `code` is 0 if no answer came. An answer with a good code may have ended before it was complete.
    """

    resource: str
    code: int
    received: int


class LeftOut(Value, frozen=True):
    """The source left out what cannot be read. `complaints` are the lines that are new since last time."""

    complaints: tuple[str, ...]


class Reloaded(Value, frozen=True):
    """nginx serves another release. `phases` gives, in order, the name of each phase and its seconds."""

    release: str
    phases: tuple[tuple[str, float], ...]


class EndpointsChosen(Value, frozen=True):
    """How Pods come and go in nginx: by "lua" or by "reload"; `why` says why not by Lua, unless a person chose that."""

    by: str
    why: str = ""


class EndpointsChanged(Value, frozen=True):
    """nginx has other Pods for `paths` paths, without a reload; `phases` are the name and seconds of each phase."""

    release: str
    paths: int
    phases: tuple[tuple[str, float], ...]


class EndpointsRefused(Value, frozen=True):
    """nginx did not take other Pods without a reload because of `why`, so that reloads are used for some time."""

    why: str


class EndpointsAhead(Value, frozen=True):
    """nginx has newer Pods than its release: it did not take the former ones back, because of `why`."""

    why: str


class RolledBack(Value, frozen=True):
    """A release did not go live, and nginx is to serve the release before it again, if there is one."""

    failed: str
    before: str | None


class Timed(Value, frozen=True):
    """A cycle has ended: what it spent in each phase that it had (read, plan, render, apply), in seconds."""

    phases: tuple[tuple[str, float], ...]


class NginxStarted(Value, frozen=True):
    """nginx was started; `again` is True if it had ended by itself before."""

    release: str
    again: bool


class NginxSaid(Value, frozen=True):
    """nginx wrote a message; `severity` is nginx's own, such as warn or error. Clients can cause such messages."""

    severity: str
    text: str


class NginxEnded(Value, frozen=True):
    """nginx ended by itself; it is started again. `how` says in words how it ended."""

    how: str


class NginxFailed(Value, frozen=True):
    """nginx ended by itself and cannot be started. The start is tried again; each failure is an event."""

    why: str


class FormerUnserved(Value, frozen=True):
    """A former release was to be served again, but it cannot be served."""

    release: str
    why: str


class MemoryShort(Value, frozen=True):
    """The container's memory is short: nginx's workers of former releases are ended. One event for each shortage."""


class Tally(Value, frozen=True, array_like=True):
    """Requests of one Namespace: their number by class of status, 1xx to 5xx, and by bucket of duration.

    Each bucket has the requests that are in no smaller one. `seconds` is the sum of all durations.
    """

    classes: tuple[int, ...]
    buckets: tuple[int, ...]
    seconds: float


class RequestsCounted(Value, frozen=True):
    """nginx answered requests since the last such event: a tally for each Namespace, "" for those of none."""

    tallies: Mapping[str, Tally]


class LinesLost(Value, frozen=True):
    """Lines of the access log were lost, because nobody reads standard output or it takes no more.

    Sent when this begins, and again when it is `over`: when no line was lost for a minute, or at the end. `lines` is
    their number until then.
    """

    lines: int
    over: bool


class LogReaderEnded(Value, frozen=True):
    """The process that reads what nginx logs has ended; it is started again. Lines may be lost."""


class Recorded(Value, frozen=True):
    """A recording was written to this file."""

    path: str


class Reported(Value, frozen=True):
    """A problem was told as a Kubernetes Event, or could not be told.

    `outcome` is created, exists (another router has told it), seen, renewed, stale (another router renewed it), gone,
    refused (this Event alone), denied (the right is missing), failed or dropped (too many problems stand). `why` is a
    line for the operator, and empty if there is nothing to do.
    """

    outcome: str
    why: str = ""


class ShuttingDown(Value, frozen=True):
    """A signal stops the daemon: nginx finishes what it serves, for at most `patience` seconds."""

    patience: float


class ShutDown(Value, frozen=True):
    """nginx has ended `seconds` after the signal, and the daemon ends now."""

    seconds: float


class HungUp(Value, frozen=True):
    """A SIGHUP came, and the loop has turned: a person wants to know how things stand."""


Event = (
    Started | NginxSized | EndpointsChosen | Resumed | Turned | Applied | Idle | Refused | Failed | Recovered | StoodBy
    | Elected | Published | PublisherSeen | Answered | LeftOut | Reloaded | EndpointsChanged | EndpointsRefused
    | EndpointsAhead | RolledBack | Timed | NginxStarted | NginxSaid | NginxEnded | NginxFailed | FormerUnserved
    | MemoryShort | Recorded | Reported | ShuttingDown | ShutDown | HungUp | RequestsCounted | LinesLost
    | LogReaderEnded
)  # fmt: skip
