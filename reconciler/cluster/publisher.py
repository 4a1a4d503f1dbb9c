"""The sink that publishes: it stores Snapshots in the cluster, for routers that do not read the cluster themselves."""

import time
from collections.abc import Callable
from contextlib import suppress

from reconciler.cluster.published_objects import Held, PublishedObjects, tell_reading
from reconciler.cluster.stored import StoreError
from reconciler.loop.events import Published
from reconciler.loop.ports import SinkError, Tell
from reconciler.objects.published import Pointer, PublishedError, read_pointer, write_pointer
from reconciler.objects.snapshot import NOTHING, Snapshot
from reconciler.objects.snapshot_packer import Publication, SnapshotPacker
from reconciler.objects.snapshot_reader import SnapshotReader
from reconciler.settings import Settings
from reconciler.values.files import Files

# Seconds between two looks at what is stored, and for which a shard stays that no pointer names any more: readers that
# have read an older pointer still fetch it.
_INSPECTION, _GRACE = 30.0, 600.0


class ConflictError(SinkError):
    """Somebody else has written the pointer."""


class Publisher:
    """Stores the shards that are missing, then the pointer. `clock` is monotonic, in seconds.

    The pointer is only written in place of the one that this publisher read or wrote last. So a publisher that was
    late, because it hung or believed that it was alone, changes nothing.
    """

    def __init__(
        self, objects: PublishedObjects, settings: Settings, tell: Tell, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._objects = objects
        self._settings = tell_reading(settings)
        self._tell = tell
        self._clock = clock
        self._packer = SnapshotPacker()
        self._version: str | None = None  # of the pointer; None if it is not known
        self._pointer = Pointer(b"", ())
        self._tried = b""
        self._last = NOTHING
        self._stored: set[str] = set()
        self._unneeded: dict[str, float] = {}
        self._inspect_at = 0.0

    @property
    def is_lost(self) -> bool:
        """Whether it is not known what is published, as after a conflict."""
        return self._version is None

    def holds(self, snapshot: Snapshot) -> bool:
        """Tell whether this is the Snapshot that was published last."""
        return (snapshot.namespaces, snapshot.strays) == (self._last.namespaces, self._last.strays)

    def resume(self) -> Snapshot | None:
        """Read what is published, to go on from there; None if nothing can be used. StoreError if it is not read."""
        reader = SnapshotReader()
        with suppress(PublishedError):
            held = self._find_pointer()
            if held is None:
                return None
            pointer = read_pointer(held.content)
            for name in reader.find_missing(pointer):
                if packed := self._objects.get_shard(name, cached=False):
                    reader.add(name, packed)
            return reader.assemble(pointer)
        return None

    def apply(self, _: Files, snapshot: Snapshot = NOTHING) -> str:
        """Publish a Snapshot, and give the first digits of its digest. SinkError if it is not published."""
        try:
            publication = self._packer.pack(snapshot)
            if self._version is None:
                self._find_pointer()
            written = [name for name in publication.shards if name not in self._stored]
            for name in written:
                self._store(name, publication.shards[name])
            self._point(publication)
        except PublishedError as error:
            raise SinkError(f"not published: {error}") from None
        except StoreError as error:
            raise SinkError(str(error), busy=error.busy, retry_after=error.retry_after) from None
        self._last = snapshot
        digest, sizes = self._pointer.digest.hex(), {name: len(packed) for name, packed in publication.shards.items()}
        size, total = sum(sizes[name] for name in written), sum(sizes.values())
        self._tell(Published(digest, len(sizes), len(written), size, total))
        return digest[:12]

    def check(self, _: Files) -> None:
        """Do nothing: only a router's nginx can refuse a tree."""

    def inspect(self) -> bool:
        """From time to time, look at what is stored; tell whether it has to be published again. StoreError if unknown.

        Shards that no pointer has named for a while are deleted.
        """
        now = self._clock()
        if now < self._inspect_at:
            return False
        self._inspect_at = now + _INSPECTION
        held = self._objects.get_pointer(cached=False)
        if held is None or held.version != self._version:
            self.forget()
            return True
        stored = self._objects.list_shards()
        needed = frozenset(self._pointer.shards)
        self._unneeded = {name: self._unneeded.get(name, now) for name in stored if name not in needed}
        for name, since in self._unneeded.items():
            if now - since >= _GRACE:
                self._objects.delete_shard(name, stored[name])
        # The cache may not have heard of the newest ones.
        missing = [name for name in needed - stored.keys() if self._objects.get_shard(name, cached=False) is None]
        self._stored = set(needed.difference(missing))
        return bool(missing)

    def forget(self) -> None:
        """Look at what is stored before anything is written again."""
        self._version = None
        self._stored.clear()

    def _find_pointer(self) -> Held | None:
        """Read the pointer, to write in its place. What it says counts only if it can be read."""
        held = self._objects.get_pointer(cached=False)
        self._version = held.version if held else ""
        with suppress(PublishedError):
            if held:
                sequence = max(self._pointer.sequence, read_pointer(held.content).sequence)
                self._pointer = Pointer(b"", (), sequence)
        return held

    def _store(self, name: str, packed: bytes) -> None:
        """Store a shard. If one of this name is there, it is used if it has this content, and replaced if not."""
        if not self._objects.create_shard(name, packed) and not self._use_again(name, packed):
            raise StoreError(f"shard {name[:12]} went while it was to be used again")
        self._stored.add(name)

    def _use_again(self, name: str, packed: bytes) -> bool:
        if not self._objects.use_shard_again(name, self._pointer.sequence):
            return False
        if self._objects.get_shard(name, cached=False) == packed:
            return True
        # Its content does not fit its name, so it was not written by a publisher.
        self._objects.delete_shard(name, "")
        return self._objects.create_shard(name, packed)

    def _point(self, publication: Publication) -> None:
        """Write the pointer. ConflictError if somebody else has."""
        # By the clock, so that it rises too if nobody knows the last one. If clocks differ, it rises by one.
        sequence = max(self._pointer.sequence + 1, int(time.time() * 1000))
        pointer = Pointer(publication.pointer.digest, publication.pointer.shards, sequence, self._settings)
        content = write_pointer(pointer)
        before, self._tried = self._tried, content
        version = self._objects.write_pointer(content, self._version or "")
        if version is None:
            held = self._objects.get_pointer(cached=False)
            if held and held.content == before:  # it was written, and only the answer was lost
                version = self._objects.write_pointer(content, held.version)
        if version is None:
            self.forget()
            raise ConflictError("another publisher has published since; what it published is looked at")
        self._version, self._pointer = version, pointer
        self._stored = set(pointer.shards)
