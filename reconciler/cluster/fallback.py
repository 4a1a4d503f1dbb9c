"""The source of a router that reads the cluster itself while no publisher confirms what is published."""

import random
import time
from collections.abc import Callable

from reconciler.cluster.published_source import PublishedSource
from reconciler.loop.ports import Source, SourceError
from reconciler.objects.snapshot import Snapshot

# Seconds between two Lists of one router while it reads for itself. The first one comes at a random moment within this
# time, so that a thousand routers list seventeen times a second, and not all at once.
_PACE = 60.0


class PublishedOnly:
    """What is published, and nothing else. Each reading tells how old it is."""

    def __init__(self, published: PublishedSource) -> None:
        self._published = published

    @property
    def complaints(self) -> tuple[str, ...]:
        """What keeps this router from knowing whether what it serves is up to date."""
        return self._published.complaints

    def read(self, *, consistently: bool = False) -> Snapshot:
        """Read what is published."""
        try:
            return self._published.read(consistently=consistently)
        finally:
            self._published.tell_age()


class WithFallback:
    """What is published while a publisher confirms it, else what the cluster lists. `clock` is monotonic, in seconds.

    The last List counts until the next one is due, or the publisher is back.
    """

    def __init__(
        self, published: PublishedSource, cluster: Source, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._published = published
        self._cluster = cluster
        self._clock = clock
        self._due: float | None = None  # None while what is published counts
        self._listed: Snapshot | None = None
        self._listed_at: float | None = None
        self._failure = ""

    @property
    def complaints(self) -> tuple[str, ...]:
        """What the last reading left out, and why the cluster could not be read."""
        alone = self._cluster.complaints if self._listed else ()
        return (*self._published.complaints, *alone, *([self._failure] if self._failure else []))

    def read(self, *, consistently: bool = False) -> Snapshot:
        """Read what is published; if it is old, and the time has come, the cluster."""
        snapshot = self._read_published(consistently=consistently and not self._listed)
        if not self._published.is_old:
            if self._listed:  # what a cache still shows may be older than what was listed
                snapshot = self._read_published(consistently=True)
            self._due = self._listed = self._listed_at = None
            self._failure = ""
        elif self._due is None:
            self._due = self._clock() + random.uniform(0, _PACE)  # noqa: S311
        if self._due is not None and (self._clock() >= self._due or (consistently and self._listed)):
            self._list(consistently)
        self._published.tell_age(self._listed_at)
        if self._listed:
            return self._listed
        if isinstance(snapshot, SourceError):
            raise snapshot
        return snapshot

    def _read_published(self, *, consistently: bool) -> Snapshot | SourceError:
        try:
            return self._published.read(consistently=consistently)
        except SourceError as error:
            return error

    def _list(self, consistently: bool) -> None:
        """List the cluster. If that fails, what was read last counts, and it is told why.

        SourceError if it fails and must be read `consistently`: what was read last is what is doubted then.
        """
        self._due = self._clock() + _PACE
        try:
            self._listed = self._cluster.read(consistently=consistently)
            self._listed_at, self._failure = self._clock(), ""
        except SourceError as error:
            if consistently:
                raise
            self._failure = str(error)
