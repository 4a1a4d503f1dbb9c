"""From what is published to a Snapshot: all of it, or a PublishedError, but never a part of it."""

from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby, pairwise
from operator import attrgetter

import msgspec

from reconciler.objects.digests import digest_namespace, digest_snapshot, write_object
from reconciler.objects.published import Part, Pointer, PublishedError, read_object, unpack_shard
from reconciler.objects.snapshot import Namespace, Pod, Snapshot
from reconciler.values.value import Value

_NO_DIGEST = b""


class _Item(Value, frozen=True):
    """A part that was read: its key, and the object if it is one part. Then the part has no content any more.

    `digest` is that of a Namespace that is one part.
    """

    key: bytes
    part: Part
    value: Namespace | Pod | None = None
    digest: bytes = _NO_DIGEST


class _Whole(Value, frozen=True):
    """A Namespace with all its Pods, and its digest; None stands for a stray."""

    name: str
    namespace: Namespace | None
    digest: bytes


class SnapshotReader:
    """Reads the Snapshots that one publisher publishes. Each shard is fetched and decoded once.

    For each pointer: `find_missing`, then `add` for each shard that is missing, then `assemble`.
    """

    def __init__(self) -> None:
        self._shards: dict[str, tuple[_Item, ...]] = {}
        self._served: frozenset[str] = frozenset()

    def find_missing(self, pointer: Pointer) -> tuple[str, ...]:
        """Name the shards that are not known yet. Those that neither this pointer nor the last good one names go."""
        wanted = self._served | set(pointer.shards)
        self._shards = {name: items for name, items in self._shards.items() if name in wanted}
        return tuple(name for name in pointer.shards if name not in self._shards)

    def add(self, name: str, packed: bytes) -> None:
        """Verify, unpack and remember a shard. PublishedError if it is not what it should be; then nothing changes."""
        self._shards[name] = tuple(map(_read, unpack_shard(name, packed)))

    def assemble(self, pointer: Pointer) -> Snapshot:
        """Give the Snapshot of a pointer. PublishedError if a shard is missing, or the whole has another digest.

        What is remembered stays as it was if it fails, so that the next pointer needs only what changed.
        """
        missing = [name for name in pointer.shards if name not in self._shards]
        if missing:
            raise PublishedError(f"{len(missing)} of {len(pointer.shards)} shards are missing: {missing[0][:12]}")
        items = [item for name in pointer.shards for item in self._shards[name]]
        _check_order(items)
        wholes = sorted(map(_join, _group(items)), key=attrgetter("name"))
        strays = tuple(whole.name for whole in wholes if whole.namespace is None)
        namespaces = tuple(whole.namespace for whole in wholes if whole.namespace is not None)
        if digest_snapshot((whole.digest for whole in wholes if whole.namespace is not None), strays) != pointer.digest:
            raise PublishedError(
                "the shards together are not the Snapshot that was published: its digest is another one"
            )
        self._served = frozenset(pointer.shards)
        return Snapshot(namespaces, strays, pointer.digest)


def _read(part: Part) -> _Item:
    if not 0 <= part.number < part.count or part.number >> 32:
        raise PublishedError(f"{part.title} has piece {part.number} of {part.count}")
    if part.count > 1 or not (part.content or part.pod):
        return _Item(part.key, part)
    value = _read_object(part, part.content)
    digest = digest_namespace(part.content) if isinstance(value, Namespace) else _NO_DIGEST
    return _Item(part.key, msgspec.structs.replace(part, content=b""), value, digest)


def _read_object(part: Part, content: bytes) -> Namespace | Pod:
    """Read the record that a part is of, and check that it is the object that the part names."""
    if part.pod:
        pod = read_object(content, Pod, part.title)
        if (pod.namespace, pod.name) != (part.namespace, part.pod):
            raise PublishedError(f"{part.title} holds an object of another name")
        return pod
    namespace = read_object(content, Namespace, part.title)
    inside = {pod.namespace for pod in namespace.pods} | ({namespace.secret.namespace} if namespace.secret else set())
    if {namespace.name} | inside != {part.namespace}:
        raise PublishedError(f"{part.title} holds an object of another name or Namespace")
    return namespace


def _check_order(items: Iterable[_Item]) -> None:
    """Check that keys rise: then nothing is there twice, and all parts of one Namespace lie together."""
    for before, after in pairwise(items):
        if before.key >= after.key:
            why = "is there twice" if before.key == after.key else "is not at its place"
            raise PublishedError(f"{after.part.title} {why}")


def _group(items: Iterable[_Item]) -> Iterator[list[_Item]]:
    for _, group in groupby(items, key=lambda item: item.part.namespace):
        yield list(group)


def _join(items: Sequence[_Item]) -> _Whole:
    """Make a Namespace of all its items."""
    first = items[0]
    if len(items) == 1 and isinstance(first.value, Namespace):
        return _Whole(first.value.name, first.value, first.digest)
    if len(items) == 1 and first.value is None and first.part.count == 1:
        return _Whole(first.part.namespace, None, _NO_DIGEST)
    head, *pods = (_complete(list(group)) for _, group in groupby(items, key=lambda item: item.part.pod))
    if not isinstance(head, Namespace):
        raise PublishedError(f"{first.part.title} is there without its Namespace")
    together = (*head.pods, *(pod for pod in pods if isinstance(pod, Pod)))
    namespace = msgspec.structs.replace(head, pods=tuple(sorted(together, key=attrgetter("name"))))
    return _Whole(namespace.name, namespace, digest_namespace(write_object(namespace)))


def _complete(items: Sequence[_Item]) -> Namespace | Pod:
    """Give the object of one record: it is one item, or it is in pieces."""
    part = items[0].part
    if items[0].value is not None and len(items) == 1:
        return items[0].value
    if [(item.part.number, item.part.count) for item in items] != [
        (number, part.count) for number in range(part.count)
    ]:
        raise PublishedError(f"{part.title} is not complete")
    return _read_object(part, b"".join(item.part.content for item in items))
