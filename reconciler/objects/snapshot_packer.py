"""From a Snapshot to what is published: a pointer and shards. What did not change is not packed again.

How parts fall into shards depends on the Snapshot alone, not on what was published before: two publishers that take
over from each other write the same shards. All parts in the order of their keys are one shard if they fit. If they do
not, they are divided at the first bit in which their keys differ, and each half is treated in the same way. So a change
of size divides or joins shards at one place, and all others stay.
"""

from bisect import bisect_left
from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from operator import attrgetter

import msgspec
from msgspec.structs import replace

from reconciler.objects.digests import digest_namespace, digest_snapshot, write_object
from reconciler.objects.published import (
    NAMESPACE_SIZE,
    NAMESPACE_WEIGHT,
    PIECE_SIZE,
    TOTAL_SIZE,
    TOTAL_WEIGHT,
    Part,
    Pointer,
    PublishedError,
    fits_a_part,
    fits_a_shard,
    name_shard,
    pack_shard,
    weigh,
)
from reconciler.objects.snapshot import Namespace, Snapshot
from reconciler.values.memo import Memo
from reconciler.values.messages import excerpt
from reconciler.values.value import Value

_BY_KEY = attrgetter("key")


class Publication(Value, frozen=True):
    """What is to be published: the pointer, and the packed shards by name. Shards are stored before the pointer.

    Namespaces that take too much are `bare`: they are published without their Pods.
    """

    pointer: Pointer
    shards: dict[str, bytes]
    bare: tuple[str, ...] = ()


class _Unit(Value, frozen=True):
    """A part as it is written, its key, and the bytes that it takes if it is packed on its own."""

    key: bytes
    written: bytes
    weight: int


class _Cut(Value, frozen=True):
    """A Namespace as units, and its digest."""

    units: tuple[_Unit, ...]
    digest: bytes
    size: int
    weight: int


class _Shard(Value, frozen=True):
    name: str
    packed: bytes


class SnapshotPacker:
    """Packs the Snapshots of one publisher. It holds what it packed last: about twice the bytes of the Snapshot."""

    def __init__(self) -> None:
        self._cuts = Memo(_cut_if_small)
        self._bare = Memo(_cut)
        self._strays = Memo(_write_stray)
        self._shards = Memo(_pack)

    def pack(self, snapshot: Snapshot) -> Publication:
        """Pack a Snapshot. Equal Snapshots give equal bytes, whatever was packed before.

        The digest is that of the content, which a Namespace that is kept or held changes too. PublishedError if
        something is in it twice or not in order, if it takes too many shards, or if it has the default server's pair:
        that belongs to the router that serves it, not to all who may read what is published.
        """
        _check(snapshot)
        cuts = self._cuts.round({namespace.name: namespace for namespace in snapshot.namespaces})
        bare = _find_too_large(cuts)
        stripped = {one.name: replace(one, pods=(), kept=()) for one in snapshot.namespaces if one.name in bare}
        cuts |= self._bare.round(stripped)
        units = [unit for cut in cuts.values() for unit in cut.units]
        units += self._strays.round({name: name for name in snapshot.strays}).values()
        units.sort(key=_BY_KEY)
        packed = self._shards.round({shard[0].key.hex(): shard for shard in _divide(units)}).values()
        digest = digest_snapshot((cut.digest for cut in cuts.values()), snapshot.strays)
        pointer = Pointer(digest, tuple(shard.name for shard in packed))
        return Publication(pointer, {shard.name: shard.packed for shard in packed}, bare)


def _check(snapshot: Snapshot) -> None:
    """Check that readers can read what this Snapshot becomes."""
    if snapshot.default_pair:
        raise PublishedError("the default server's certificate and key are not published")
    names = [namespace.name for namespace in snapshot.namespaces]
    if not _rise(names) or not _rise(snapshot.strays) or not set(names).isdisjoint(snapshot.strays):
        raise PublishedError("a Namespace is in the Snapshot twice, or not in order")


def _rise(names: Sequence[str]) -> bool:
    return all(before < after for before, after in pairwise(names))


def _cut_if_small(namespace: Namespace) -> _Cut:
    """Cut a Namespace, unless it is too large in any case: to weigh a hundred megabytes takes seconds."""
    size = sum(len(pod.paths) for pod in namespace.pods)
    return _Cut((), b"", size, 0) if size > NAMESPACE_SIZE else _cut(namespace)


def _cut(namespace: Namespace) -> _Cut:
    if not _rise([pod.name for pod in namespace.pods]):
        raise PublishedError(f"Namespace {excerpt(namespace.name)} has a Pod twice, or not in order")
    content = write_object(namespace)
    if fits_a_part(content):
        units = [_write(Part(namespace.name, "", 0, 1, content))]
    else:
        head = write_object(replace(namespace, pods=()))
        units = [*_cut_record(namespace.name, "", head)]
        for pod in namespace.pods:
            units += _cut_record(namespace.name, pod.name, write_object(pod))
    size, weight = sum(len(unit.written) for unit in units), sum(unit.weight for unit in units)
    return _Cut(tuple(units), digest_namespace(content), size, weight)


def _find_too_large(cuts: Mapping[str, _Cut]) -> tuple[str, ...]:
    """Name the Namespaces that take more than one may, and the heaviest ones, until the others fit together."""
    found = [name for name, cut in cuts.items() if cut.size > NAMESPACE_SIZE or cut.weight > NAMESPACE_WEIGHT]
    size, weight = (sum(getattr(cut, name) for cut in cuts.values()) for name in ("size", "weight"))
    if size > TOTAL_SIZE or weight > TOTAL_WEIGHT:
        for name in sorted(cuts, key=lambda name: -(cuts[name].size / TOTAL_SIZE + cuts[name].weight / TOTAL_WEIGHT)):
            if size <= TOTAL_SIZE and weight <= TOTAL_WEIGHT:
                break
            size, weight = size - cuts[name].size, weight - cuts[name].weight
            found.append(name)
    return tuple(sorted(set(found)))


def _cut_record(namespace: str, pod: str, content: bytes) -> Iterator[_Unit]:
    size = len(content) if fits_a_part(content) else PIECE_SIZE
    places = range(0, len(content), size)
    for number, place in enumerate(places):
        yield _write(Part(namespace, pod, number, len(places), content[place : place + size]))


def _write_stray(name: str) -> _Unit:
    return _write(Part(name, "", 0, 1, b""))


def _write(part: Part) -> _Unit:
    written = msgspec.msgpack.encode(part)
    return _Unit(part.key, written, weigh(written))


def _divide(units: Sequence[_Unit]) -> Iterator[tuple[_Unit, ...]]:
    """Divide units, in the order of their keys, until each shard fits; there is no shard without units."""
    size, weight = sum(len(unit.written) for unit in units), sum(unit.weight for unit in units)
    if len(units) > 1 and not fits_a_shard(size, weight):
        middle = bisect_left(units, _find_border(units[0].key, units[-1].key), key=_BY_KEY)
        yield from _divide(units[:middle])
        yield from _divide(units[middle:])
    elif units:
        yield tuple(units)


def _find_border(first: bytes, last: bytes) -> bytes:
    """Give the least key that has the bits of `last` up to the first one in which two keys differ."""
    high = int.from_bytes(last)
    bit = (int.from_bytes(first) ^ high).bit_length() - 1
    return (high >> bit << bit).to_bytes(len(last))


def _pack(units: tuple[_Unit, ...]) -> _Shard:
    packed = pack_shard([unit.written for unit in units])
    return _Shard(name_shard(packed), packed)
