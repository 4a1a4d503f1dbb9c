"""Publishing and reading in one process: Snapshots of clusters of a given size, and what a store would hold."""

from collections.abc import Mapping

import msgspec
from support.stages import normalise

from reconciler.objects.listing import Listing
from reconciler.objects.published import read_pointer, write_pointer
from reconciler.objects.snapshot import Namespace, Pod, Snapshot
from reconciler.objects.snapshot_packer import Publication, SnapshotPacker
from reconciler.objects.snapshot_reader import SnapshotReader
from reconciler.settings import read_settings

SETTINGS = read_settings({})


def make_snapshot(made: Listing) -> Snapshot:
    return normalise(made, SETTINGS)


def pack(snapshot: Snapshot) -> Publication:
    """Pack a Snapshot, as a publisher does that has just started."""
    return SnapshotPacker().pack(snapshot)


def read(pointer: bytes, shards: Mapping[str, bytes], reader: SnapshotReader | None = None) -> Snapshot:
    """Read what is published; a reader that has just started reads all shards."""
    reader = reader or SnapshotReader()
    wanted = read_pointer(pointer)
    for name in reader.find_missing(wanted):
        if name in shards:
            reader.add(name, shards[name])
    return reader.assemble(wanted)


def read_again(publication: Publication) -> Snapshot:
    return read(write_pointer(publication.pointer), publication.shards)


def change(snapshot: Snapshot, place: int, **fields: object) -> Snapshot:
    """Change one Namespace of a Snapshot."""
    namespaces = list(snapshot.namespaces)
    namespaces[place] = msgspec.structs.replace(namespaces[place], **fields)
    return msgspec.structs.replace(snapshot, namespaces=tuple(namespaces))


def make_pods(namespace: str, count: int, size: int = 0) -> tuple[Pod, ...]:
    """Make Pods, sorted by name, each with an annotation of `size` characters."""
    return tuple(
        Pod(namespace, f"web-{number:05}", 1.0, f"10.1.{number // 250}.{number % 250}", "x" * size, (), "web", "")
        for number in range(count)
    )


def make_namespace(name: str, **fields: object) -> Namespace:
    empty = Namespace(name, 1.0, "{}", "", "", None, ())
    return msgspec.structs.replace(empty, **fields)
