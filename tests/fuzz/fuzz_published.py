"""Whatever was published, under digests that fit: if it is not a whole Snapshot, there is one PublishedError.

The first byte of an input says what the rest is: a pointer without its digest, what a shard unpacks to, a packed shard.
"""

import hashlib
import zlib

from support.publishing import pack, read

from reconciler.objects.published import Pointer, PublishedError, name_shard, read_pointer, write_pointer
from reconciler.objects.snapshot_reader import SnapshotReader

POINTER, CONTENT, PACKED = range(3)
_NOBODYS = bytes(32)


def check(data: bytes) -> None:
    """Read an input as what its first byte says."""
    kind, rest = data[:1], data[1:]
    if kind == bytes([POINTER]):
        _check_pointer(hashlib.blake2b(rest, digest_size=32, person=b"pointer").digest() + rest)
    elif kind == bytes([CONTENT]):
        _check_shard(zlib.compress(rest, 0))
    elif kind == bytes([PACKED]):
        _check_shard(rest)


def _check_pointer(pointer: bytes) -> None:
    try:
        snapshot = read(pointer, {})
    except PublishedError as error:
        _check_text(error)
    else:
        assert not snapshot.namespaces
        assert write_pointer(read_pointer(pointer)) == pointer
        assert pack(snapshot).pointer.digest == read_pointer(pointer).digest


def _check_shard(packed: bytes) -> None:
    """Read a shard alone. All checks come before the last one, the digest of the whole, which never fits here."""
    name = name_shard(packed)
    reader = SnapshotReader()
    try:
        reader.add(name, packed)
        reader.assemble(Pointer(_NOBODYS, (name,)))
    except PublishedError as error:
        _check_text(error)
    else:
        raise AssertionError("the digest of the whole was not compared")


def _check_text(error: PublishedError) -> None:
    text = str(error)
    assert text.isprintable(), text
    assert len(text) < 300, text
