"""Events: what happens in the loop and at its edges, as values. Each is told once, and observers read them.

Kubernetes has Events too; where both are meant, those are called Kubernetes Events.
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


class Resumed(Value, frozen=True):
    """The last good release of a former process is served until the source is read; `size` is how much it routes."""

    release: str
    size: Size


class Turned(Value, frozen=True):
    """The loop is alive: it begins to wait, or one more trial of a long search."""


class Applied(Value, frozen=True):
    """A cycle changed routes, and the new release serves; `last` is the cycle before it."""

    cycle: Cycle
    last: Cycle | None


class Idle(Value, frozen=True):
    """A cycle changed no route; problems may have changed all the same. `last` is the cycle before it."""

    cycle: Cycle
    last: Cycle | None


class Refused(Value, frozen=True):
    """nginx refused a tree, and these Namespaces are held back for it."""

    why: str
    held: tuple[str, ...]


class Failed(Value, frozen=True):
    """A cycle failed, and what was served is served on. It is tried again, and told each time that it fails.

    `port` is where: "source" or "sink". A `busy` source asks for a pause, of `retry_after` seconds if it says so.
    """

    port: str
    why: str
    busy: bool = False
    retry_after: float = 0.0


class Recovered(Value, frozen=True):
    """A cycle is well after one or more that failed."""


class LeftOut(Value, frozen=True):
    """The source left out objects that cannot be read: a line for each, as far as it was not told the last time."""

    complaints: tuple[str, ...]


class Reloaded(Value, frozen=True):
    """nginx serves another release: how long each phase took, in seconds, in order."""

    release: str
    phases: tuple[tuple[str, float], ...]


class NginxStarted(Value, frozen=True):
    """nginx runs; `again`: after it had ended by itself."""

    release: str
    again: bool


class NginxEnded(Value, frozen=True):
    """nginx ended without being asked to; it is started again. `how` is in words."""

    how: str


class NginxFailed(Value, frozen=True):
    """nginx cannot be started again. It is tried again, and told each time that it fails."""

    why: str


class FormerUnserved(Value, frozen=True):
    """A former release that was to be served cannot be."""

    release: str
    why: str


class MemoryShort(Value, frozen=True):
    """The container's memory is short: workers of former releases are ended. It is told once for each shortage."""


class Recorded(Value, frozen=True):
    """A recording was written to this file."""

    path: str


class ShuttingDown(Value, frozen=True):
    """A signal stops the daemon: nginx finishes what it serves, for at most this number of seconds."""

    patience: float


Event = (
    Started | Resumed | Turned | Applied | Idle | Refused | Failed | Recovered | LeftOut | Reloaded | NginxStarted
    | NginxEnded | NginxFailed | FormerUnserved | MemoryShort | Recorded | ShuttingDown
)  # fmt: skip
