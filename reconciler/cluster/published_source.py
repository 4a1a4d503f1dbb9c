"""The source of a router that does not read the cluster: it reads what a publisher has published there."""

import time
from collections.abc import Callable

from msgspec.structs import replace

from reconciler.cluster.lease import Confirmation
from reconciler.cluster.published_objects import INSPECTION, PublishedObjects, check_reading
from reconciler.cluster.stored import StoreError
from reconciler.loop.events import PublisherSeen
from reconciler.loop.ports import SourceError, Tell
from reconciler.objects.published import Pointer, PublishedError, read_pointer
from reconciler.objects.snapshot import NOTHING, Snapshot
from reconciler.objects.snapshot_reader import SnapshotReader
from reconciler.settings import Settings

# If the present pointer is older than the last one, etcd may have been restored. A publisher that lives sees that when
# it inspects what is stored, and writes a newer one. If it confirms the older one for longer, it counts.
_PATIENCE = 2 * INSPECTION
# Seconds between two looks past the cache of an API server that shows an older pointer.
_LOOK = 10.0


class PublishedSource:
    """Reads the pointer each time, and the shards that it has not yet. `clock` is monotonic, in seconds."""

    def __init__(
        self,
        objects: PublishedObjects,
        confirmation: Confirmation,
        settings: Settings,
        tell: Tell,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._objects = objects
        self._confirmation = confirmation
        self._settings = settings
        self._tell = tell
        self._clock = clock
        self._started = clock()
        self._reader = SnapshotReader()
        self._pointer: Pointer | None = None
        self._snapshot = NOTHING
        self._older_since: float | None = None
        self._look_at = 0.0
        self._complaints: dict[str, str] = {}

    @property
    def complaints(self) -> tuple[str, ...]:
        """What keeps this router from knowing whether what it serves is up to date."""
        return tuple(self._complaints.values())

    @property
    def _since(self) -> float:
        """When the publisher last confirmed what is published; if it never did, when this router began to look."""
        return self._started if self._confirmation.last is None else self._confirmation.last

    @property
    def is_old(self) -> bool:
        """Whether the publisher has confirmed nothing for longer than PUBLISHED_MAX_AGE."""
        return self._clock() - self._since > self._settings.published_max_age

    def read(self, *, consistently: bool = False) -> Snapshot:
        """Read what is published. SourceError if it cannot be read completely, or nothing is published."""
        try:
            self._confirm()
            return self._read(cached=not consistently)
        except StoreError as error:
            raise SourceError(str(error), busy=error.busy, retry_after=error.retry_after) from None
        except PublishedError as error:
            where = f"what is published in Namespace {self._objects.store.namespace}"
            raise SourceError(f"{where} cannot be used: {error}") from None

    def tell_age(self, listed: float | None = None) -> None:
        """Tell when the publisher was last seen to confirm what is published.

        `listed` is when this router has listed the cluster itself, by the monotonic clock, if it does.
        """
        moment = time.time() - self._clock()
        confirmed = None if self._confirmation.last is None else moment + self._since
        since = self._since if listed is None else listed
        self._tell(PublisherSeen(confirmed, moment + since, self.is_old, listed is not None))

    def _confirm(self) -> None:
        """Look whether the publisher confirms what is published. If that is not known, what is published counts."""
        try:
            self._confirmation.look()
            self._complaints.pop("lease", None)
        except StoreError as error:
            self._complaints["lease"] = f"it is not known whether the publisher lives: {error}"

    def _read(self, *, cached: bool) -> Snapshot:
        pointer = self._get_pointer(cached=cached)
        if self._pointer and pointer.sequence < self._pointer.sequence:
            pointer = self._judge_older(self._pointer)
        else:
            self._older_since = None
            self._complaints.pop("older", None)
        if pointer != self._pointer:
            self._pointer, self._snapshot = self._assemble(pointer)
        return self._snapshot

    def _get_pointer(self, *, cached: bool) -> Pointer:
        held = self._objects.get_pointer(cached=cached)
        if held is None:
            raise PublishedError("nothing is there; does `dispatcher publish` run?")
        return read_pointer(held.content)

    def _judge_older(self, ours: Pointer) -> Pointer:
        """Choose the pointer that counts if the cache shows one that is older than ours."""
        now = self._clock()
        if now < self._look_at:
            return ours
        self._look_at = now + _LOOK
        pointer = self._get_pointer(cached=False)
        if pointer.sequence >= ours.sequence:
            self._older_since = None
            return pointer
        self._older_since = now if self._older_since is None else self._older_since
        if (self._confirmation.last or 0.0) - self._older_since > _PATIENCE:
            self._complaints.pop("older", None)
            return pointer
        self._complaints["older"] = "what is published is older than what was read last, which is served until it rises"
        return ours

    def _assemble(self, pointer: Pointer) -> tuple[Pointer, Snapshot]:
        """Fetch the shards that are missing. If one is gone, another pointer may have taken the place of this one."""
        check_reading(pointer.settings, self._settings)
        if not self._fetch(pointer, cached=True):
            newest = self._get_pointer(cached=False)
            if newest.sequence > pointer.sequence:
                check_reading(newest.settings, self._settings)
                pointer = newest
            self._fetch(pointer, cached=False)
        snapshot = replace(self._reader.assemble(pointer), settled=True)
        # A Snapshot that was published again is the same one, so that nothing is planned again.
        return pointer, self._snapshot if snapshot.digest == self._snapshot.digest else snapshot

    def _fetch(self, pointer: Pointer, *, cached: bool) -> bool:
        """Fetch the shards that are missing; tell whether all were there."""
        for name in self._reader.find_missing(pointer):
            packed = self._objects.get_shard(name, cached=cached)
            if packed is None:
                return False  # one is enough to know
            self._reader.add(name, packed)
        return True
