"""Source, sink and observer, with their errors: the only things in which modes differ."""

from collections.abc import Callable
from typing import Protocol

from reconciler.loop.events import Event
from reconciler.objects.snapshot import Snapshot
from reconciler.values.files import Files

# Tells an event to whoever observes.
Tell = Callable[[Event], None]


class SourceError(Exception):
    """A source could not be read: one line, without secrets.

    `busy`: it asks not to be read again soon; `retry_after` is for how many seconds, 0 if it did not say.
    """

    def __init__(self, text: str, *, busy: bool = False, retry_after: float = 0.0) -> None:
        super().__init__(text)
        self.busy = busy
        self.retry_after = retry_after


class SinkError(Exception):
    """A sink did not take a tree, and the last one stays in place: one line, without secrets."""


class RefusedError(SinkError):
    """The sink works, but refuses this one tree; `tested`: its test says so, and nothing was touched."""

    def __init__(self, text: str, *, tested: bool) -> None:
        super().__init__(text)
        self.tested = tested


class Source(Protocol):
    """Where Snapshots come from."""

    @property
    def complaints(self) -> tuple[str, ...]:
        """What the last reading left out because it cannot be read, a line each."""

    def read(self, *, consistently: bool = False) -> Snapshot:
        """Read a Snapshot. SourceError if it cannot be had whole: an error never looks like an empty cluster.

        `consistently`: what is true now, and not what a cache remembers.
        """


class Sink(Protocol):
    """Where trees go."""

    def apply(self, files: Files, snapshot: Snapshot) -> str:
        """Take a tree and the Snapshot that it was made of, and give its release's name.

        SinkError leaves the last tree in place.
        """

    def check(self, files: Files) -> None:
        """Test a tree, and leave everything as it is. RefusedError if it is refused."""


class Observer(Protocol):
    """Who is told events, one at a time, from any thread. An observer neither slows the loop nor fails."""

    def observe(self, event: Event) -> None:
        """Take note of an event."""
