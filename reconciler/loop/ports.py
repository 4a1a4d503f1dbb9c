"""Source, sink and observer, with their errors: the only things in which modes differ."""

from collections.abc import Callable
from typing import Protocol

from reconciler.loop.events import Event
from reconciler.objects.snapshot import Snapshot
from reconciler.values.files import Files

# Passes an event to all observers.
Tell = Callable[[Event], None]


class SourceError(Exception):
    """A source could not be read. The message is one line, without secrets.

    A `busy` source must not be read again soon. `retry_after` is the number of seconds to wait, 0 if it gave none.
    """

    def __init__(self, text: str, *, busy: bool = False, retry_after: float = 0.0) -> None:
        super().__init__(text)
        self.busy = busy
        self.retry_after = retry_after


class SinkError(Exception):
    """A sink did not take a tree, and the last one stays in place. The message is one line, without secrets.

    A `busy` sink must not be tried again soon. `retry_after` is the number of seconds to wait, 0 if it gave none.
    """

    def __init__(self, text: str, *, busy: bool = False, retry_after: float = 0.0) -> None:
        super().__init__(text)
        self.busy = busy
        self.retry_after = retry_after


class RefusedError(SinkError):
    """The sink works, but refuses this tree. If `tested`, its test refused the tree, and nothing was changed."""

    def __init__(self, text: str, *, tested: bool) -> None:
        super().__init__(text)
        self.tested = tested


class EndpointsError(SinkError):
    """The sink cannot change the Pods of a running nginx, and serves what it served. The message is one line.

    A tree that has nginx's own upstreams does not need that.
    """


class Source(Protocol):
    """Where Snapshots come from."""

    @property
    def complaints(self) -> tuple[str, ...]:
        """What the last reading left out because it cannot be read, a line each."""

    def read(self, *, consistently: bool = False) -> Snapshot:
        """Read a Snapshot. SourceError if it cannot be read completely: an error never looks like an empty cluster.

        If `consistently`, read the current state, and not the state that a cache holds.
        """


class Sink(Protocol):
    """Where trees go."""

    def apply(self, files: Files, snapshot: Snapshot, /) -> str:
        """Take a tree and the Snapshot from which it was made, and give its release's name.

        Trees that differ only in their Pods have one name, if Pods come and go without a reload. The sink finds out
        which Pods differ from those that it serves, because only it knows those. If there is a SinkError, the last tree
        stays in place; after EndpointsError a tree that needs a reload for its Pods may work.
        """

    def check(self, files: Files, /) -> None:
        """Test a tree, and leave everything as it is. RefusedError if it is refused."""


class Observer(Protocol):
    """Receives events, one at a time, from any thread. An observer neither slows the loop nor fails."""

    def observe(self, event: Event) -> None:
        """Take note of an event."""
