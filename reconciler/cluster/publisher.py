"""The sink that publishes: it stores Snapshots in the cluster, for routers that do not read the cluster themselves."""

import time
from collections.abc import Callable
from contextlib import suppress
from functools import partial

from msgspec.structs import replace

from reconciler.cluster.published_objects import INSPECTION, Held, PublishedObjects, tell_reading
from reconciler.cluster.stored import StoreError
from reconciler.loop.events import LeftOut, Published
from reconciler.loop.ports import SinkError, Tell
from reconciler.objects.published import MAX_SEQUENCE, Pointer, PublishedError, read_pointer, write_pointer
from reconciler.objects.snapshot import NOTHING, Snapshot
from reconciler.objects.snapshot_packer import Publication, SnapshotPacker
from reconciler.objects.snapshot_reader import SnapshotReader
from reconciler.routing.references import keep_referenced
from reconciler.settings import Settings
from reconciler.values.files import Files
from reconciler.values.memo import Memo
from reconciler.values.messages import excerpt

# Seconds for which a shard stays that no pointer names any more: readers of an older pointer still fetch it.
_GRACE = 600.0
# How often what is published is tried to be read before a publisher goes on without knowing it.
_TRIES = 30
_NOT_KNOWN = "another publisher has published since, or somebody has changed what is published; it is read again"


class Publisher:
    """Stores the shards that are missing, then the pointer. `clock` is monotonic, in seconds.

    Before the cluster is read, `resume` reads the pointer, and it is only written in place of that one, or of the one
    that this publisher wrote last. So a publisher that was late, because it hung or believed that it was alone, changes
    nothing. `pulse` is called before each shard that is read, written or deleted.
    """

    def __init__(
        self,
        objects: PublishedObjects,
        settings: Settings,
        tell: Tell,
        pulse: Callable[[], None] = lambda: None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._objects = objects
        self._settings = tell_reading(settings)
        self._tell = tell
        self._pulse = pulse
        self._clock = clock
        self._packer = SnapshotPacker()
        self._referenced = Memo(partial(keep_referenced, key_field=settings.api_key_secret_field))
        self._tries = 0
        self._bare: tuple[str, ...] = ()
        self._version: str | None = None  # of the pointer; None if it is not known
        self._pointer = Pointer(b"", ())
        self._tried = b""
        self._last = NOTHING
        self._stored: set[str] = set()
        self._unneeded: dict[tuple[str, str], float] = {}
        self._inspect_at = 0.0

    @property
    def is_lost(self) -> bool:
        """Whether it is not known what is published, as after a conflict."""
        return self._version is None

    def holds(self, snapshot: Snapshot) -> bool:
        """Tell whether this is the Snapshot that was published last."""
        stripped = self._strip(snapshot)
        return (stripped.namespaces, stripped.strays) == (self._last.namespaces, self._last.strays)

    def resume(self) -> Snapshot | None:
        """Read what is published, to go on from there; None if nothing can be used. StoreError if it is not read.

        A shard that cannot be read for long is no reason to publish nothing.
        """
        with suppress(PublishedError):
            held = self._find_pointer()
            pointer = read_pointer(held.content) if held else None
            try:
                return self._assemble(pointer) if pointer else None
            except StoreError:
                self._tries += 1
                if self._tries < _TRIES:
                    raise
        return None

    def _assemble(self, pointer: Pointer) -> Snapshot:
        reader = SnapshotReader()
        for name in reader.find_missing(pointer):
            self._pulse()
            if packed := self._objects.get_shard(name, cached=False):
                reader.add(name, packed)
        snapshot = reader.assemble(pointer)
        self._tries = 0
        return snapshot

    def apply(self, _: Files, snapshot: Snapshot = NOTHING) -> str:
        """Publish a Snapshot, and give the first digits of its digest. SinkError if it is not published."""
        if self._version is None:
            raise SinkError(_NOT_KNOWN)
        try:
            stripped = self._strip(snapshot)
            publication = self._packer.pack(stripped)
            written = [name for name in publication.shards if name not in self._stored]
            for name in written:
                self._store(name, publication.shards[name])
            self._point(publication)
        except PublishedError as error:
            raise SinkError(f"not published: {error}") from None
        except StoreError as error:
            raise SinkError(str(error), busy=error.busy, retry_after=error.retry_after) from None
        self._last = stripped
        self._tell_bare(publication.bare)
        digest, sizes = self._pointer.digest.hex(), {name: len(packed) for name, packed in publication.shards.items()}
        size, total = sum(sizes[name] for name in written), sum(sizes.values())
        self._tell(Published(digest, len(sizes), len(written), size, total))
        return digest[:12]

    def check(self, _: Files) -> None:
        """Do nothing: only a router's nginx can refuse a tree."""

    def inspect(self) -> bool | None:
        """If it is time to, look at what is stored; tell whether it has to be published again. StoreError if unknown.

        Shards that no pointer has named for a while are deleted. If the pointer is not this publisher's, it is lost.
        """
        now = self._clock()
        if now < self._inspect_at:
            return None
        self._inspect_at = now + INSPECTION
        stored = self._objects.list_shards()
        # After the List: a shard that another publisher has marked by then has a new version, and stays for as long.
        held = self._objects.get_pointer(cached=False)
        if held is None or held.version != self._version:
            self.forget()
            return False
        needed = frozenset(self._pointer.shards)
        self._unneeded = {one: self._unneeded.get(one, now) for one in stored.items() if one[0] not in needed}
        for (name, version), since in self._unneeded.items():
            if now - since >= _GRACE:
                self._pulse()
                self._objects.delete_shard(name, version)
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
            sequence = read_pointer(held.content).sequence if held else 0
            # One of the far future is not a publisher's, and nothing could follow it.
            if self._pointer.sequence < sequence < MAX_SEQUENCE // 2:
                self._pointer = Pointer(b"", (), sequence)
        return held

    def _strip(self, snapshot: Snapshot) -> Snapshot:
        """Leave out the fields of Secrets that nobody can need."""
        given = {namespace.name: namespace for namespace in snapshot.namespaces}
        return replace(snapshot, namespaces=tuple(self._referenced.round(given).values()))

    def _tell_bare(self, bare: tuple[str, ...]) -> None:
        """Tell which Namespaces are published without their Pods, if these are others than before."""
        if bare and bare != self._bare:
            text = f"Namespace {excerpt(bare[0])[1:-1]}" + (f" and {len(bare) - 1} more" if bare[1:] else "")
            self._tell(LeftOut((f"{text}: too large to be published, so its Pods are left out (docs/published.md)",)))
        self._bare = bare

    def _store(self, name: str, packed: bytes) -> None:
        """Store a shard. If one of this name is there, it is used if it has this content, and replaced if not."""
        self._pulse()
        if not self._objects.create_shard(name, packed) and not self._use_again(name, packed):
            raise StoreError(f"the shard {name[:12]} was there, and was deleted before it could be used again")
        self._stored.add(name)

    def _use_again(self, name: str, packed: bytes) -> bool:
        if not self._objects.use_shard_again(name):
            return False
        if self._objects.get_shard(name, cached=False) == packed:
            return True
        # Its content does not fit its name, so it was not written by a publisher.
        self._objects.delete_shard(name, "")
        return self._objects.create_shard(name, packed)

    def _point(self, publication: Publication) -> None:
        """Write the pointer. SinkError if somebody else has."""
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
            raise SinkError(_NOT_KNOWN)
        self._version, self._pointer = version, pointer
        self._stored = set(pointer.shards)
