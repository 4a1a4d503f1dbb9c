"""Published Snapshots: the bytes of the pointer and of the shards, and how they are checked before they are read."""

import zlib
from collections.abc import Sequence
from hashlib import blake2b
from typing import Annotated, TypeVar

import msgspec

from reconciler.values.messages import excerpt
from reconciler.values.value import Value

# It is raised whenever the layout below changes, or a field of snapshot.py that is written.
VERSION = 1
# Bytes that a shard unpacks to at most, and bytes that its parts take together if each is packed on its own. Pods
# shrink to a twentieth, and the first limit counts; keys and certificates hardly shrink, and the second counts. Larger
# shards would be more bytes for each reader after a change; smaller ones more requests, and a longer pointer.
SHARD_SIZE = 1 << 19
SHARD_WEIGHT = 1 << 16
# Bytes that a packed shard has at most. It has fewer than its parts have on their own, but zlib does not promise that.
# It is a quarter of what a Secret may hold: an API server answers 422 above 1 MiB of data, and 413 above 3 MiB of
# request.
PACKED_SIZE = 1 << 18
# A record is one part up to these limits: two of them fit into a shard, so that most shards are half full or more.
PART_SIZE = SHARD_SIZE // 2 - (1 << 10)
PART_WEIGHT = SHARD_WEIGHT // 2
# Bytes of a piece of a larger record: zlib adds at most 5 bytes to each 16 KiB that do not shrink, and a frame:
# https://www.zlib.net/zlib_tech.html
PIECE_SIZE = PART_WEIGHT - (1 << 10)
# This bounds what a reader holds to 2 GiB, fifty times what 100,000 Pods take, and the pointer to 148 KiB.
MAX_SHARDS = 1 << 12

# Bytes that one Namespace takes at most with its Pods, unpacked and packed on its own; its Secret has at most 1 MiB.
NAMESPACE_SIZE, NAMESPACE_WEIGHT = 1 << 24, 1 << 22
# All Namespaces together: shards are half full or more, but for the last ones of a branch of keys.
TOTAL_SIZE, TOTAL_WEIGHT = MAX_SHARDS * SHARD_SIZE // 4, MAX_SHARDS * SHARD_WEIGHT // 4
# Milliseconds since the epoch up to the year 280,000.
MAX_SEQUENCE = 1 << 53

_DIGEST_SIZE = 32
# Bytes of the settings' names and texts together.
_SETTINGS_SIZE = 1 << 14
_POINTER_SIZE = _DIGEST_SIZE * (MAX_SHARDS + 2) + _SETTINGS_SIZE + 64
_HALF_KEY = 16
_ARRAY_HEADER = 5
# zlib's own default. Level 9 saves a tenth more of the bytes and takes five times as long.
_LEVEL = 6

Written = TypeVar("Written")


class PublishedError(Exception):
    """What was published cannot be used, or a Snapshot cannot be published; the text is one line."""


class Part(Value, frozen=True, array_like=True):
    """A record of a Snapshot or a piece of one, as it is written: an array of these fields.

    A record is a Namespace with its Pods. If it is too large for a part, it is the Namespace without Pods, and each Pod
    is a record of its own. A record that is still too large is cut into `count` pieces. `pod` is empty if it is the
    Namespace's own record. The name of a stray has no content.
    """

    namespace: str
    pod: str
    number: int
    count: int
    content: bytes

    @property
    def key(self) -> bytes:
        """Where the part belongs: parts of one Namespace lie together, and Namespaces lie as their names' digests."""
        return b"".join((_scatter(self.namespace), _scatter(self.pod), self.number.to_bytes(4)))

    @property
    def title(self) -> str:
        """The name of the object, for messages."""
        of = excerpt(self.namespace)
        return f"Pod {excerpt(self.pod)} of Namespace {of}" if self.pod else f"Namespace {of}"


class Pointer(Value, frozen=True):
    """What is published now: the digest of the whole Snapshot, and the names of its shards in the order of keys.

    A pointer that was written later has a greater `sequence`, from 0 to MAX_SEQUENCE, although an API server's cache
    may still show an older one. `settings` gives the names and texts of settings that decide what a Snapshot holds.
    """

    digest: bytes
    shards: tuple[str, ...]
    sequence: int = 0
    settings: tuple[tuple[str, str], ...] = ()


class _Version(Value, frozen=True, array_like=True):
    version: int


class _Body(Value, frozen=True, array_like=True):
    """A pointer as it is written; `shards` holds the digests one behind the other."""

    version: int
    digest: bytes
    shards: bytes
    sequence: Annotated[int, msgspec.Meta(ge=0, le=MAX_SEQUENCE)]
    settings: tuple[tuple[str, str], ...]


def _scatter(name: str) -> bytes:
    """Give a digest of a name, so that names fall evenly into shards; zeros for no name, so that it comes first."""
    return blake2b(name.encode(), digest_size=_HALF_KEY).digest() if name else bytes(_HALF_KEY)


def write_pointer(pointer: Pointer) -> bytes:
    """Write a pointer: a digest of the rest, then an array that begins with the version. PublishedError if too long."""
    if len(pointer.shards) > MAX_SHARDS:
        raise PublishedError(f"the Snapshot takes {len(pointer.shards)} shards; expected: at most {MAX_SHARDS}")
    shards = b"".join(bytes.fromhex(name) for name in pointer.shards)
    body = msgspec.msgpack.encode(_Body(VERSION, pointer.digest, shards, pointer.sequence, pointer.settings))
    if len(body) - len(shards) > _SETTINGS_SIZE:
        raise PublishedError(f"the settings take more than {_SETTINGS_SIZE} bytes")
    return _digest(body, b"pointer") + body


def read_pointer(content: bytes) -> Pointer:
    """Read a pointer. PublishedError if it is damaged, of another version, or not as it would be written."""
    if len(content) > _POINTER_SIZE:
        raise PublishedError(f"the pointer has {len(content)} bytes; expected: at most {_POINTER_SIZE}")
    body = content[_DIGEST_SIZE:]
    if _digest(body, b"pointer") != content[:_DIGEST_SIZE]:
        raise PublishedError("the pointer is damaged: its digest is another one")
    version = _decode(body, _Version, "the pointer").version
    if version != VERSION:
        raise PublishedError(f"the pointer has version {version} of the format; expected: {VERSION}")
    read = _decode(body, _Body, "the pointer")
    digests = [read.shards[place : place + _DIGEST_SIZE] for place in range(0, len(read.shards), _DIGEST_SIZE)]
    pointer = Pointer(read.digest, tuple(digest.hex() for digest in digests), read.sequence, read.settings)
    if len(read.digest) != _DIGEST_SIZE or len(read.shards) % _DIGEST_SIZE or write_pointer(pointer) != content:
        raise PublishedError("the pointer is not as it is written")
    if len(set(digests)) < len(digests):
        raise PublishedError("the pointer names a shard twice")
    return pointer


def name_shard(packed: bytes) -> str:
    """Name a packed shard by its content: 64 hexadecimal digits. A shard of another version has another name."""
    return _digest(packed, b"shard %d" % VERSION).hex()


def pack_shard(parts: Sequence[bytes]) -> bytes:
    """Pack written parts. PublishedError if they are more than a shard holds."""
    content = msgspec.msgpack.encode([msgspec.Raw(part) for part in parts])
    packed = zlib.compress(content, _LEVEL)
    if len(content) > SHARD_SIZE or len(packed) > PACKED_SIZE:
        expected = f"expected: at most {SHARD_SIZE}, packed {PACKED_SIZE}"
        raise PublishedError(f"a shard has {len(content)} bytes, packed {len(packed)}; {expected}")
    return packed


def weigh(content: bytes) -> int:
    """Give the bytes that content takes if it is packed on its own."""
    return len(zlib.compress(content, 1))


def fits_a_part(content: bytes) -> bool:
    """Tell whether a record is one part."""
    return len(content) <= PIECE_SIZE or (len(content) <= PART_SIZE and weigh(content) <= PART_WEIGHT)


def fits_a_shard(size: int, weight: int) -> bool:
    """Tell whether written parts of together `size` bytes and of this weight fit into one shard."""
    return size + _ARRAY_HEADER <= SHARD_SIZE and weight <= SHARD_WEIGHT


def unpack_shard(name: str, packed: bytes) -> tuple[Part, ...]:
    """Verify and unpack a shard, with its parts in the order of their keys. PublishedError if anything is not right."""
    title = f"the shard {name[:12]}"
    if len(packed) > PACKED_SIZE:
        raise PublishedError(f"{title} has {len(packed)} bytes; expected: at most {PACKED_SIZE}")
    if name_shard(packed) != name:
        raise PublishedError(f"{title} is damaged: its digest is another one")
    content = _inflate(packed, title)
    parts = _decode(content, tuple[Part, ...], title)
    if not parts or msgspec.msgpack.encode(parts) != content:
        raise PublishedError(f"{title} is not as it is written")
    return parts


def _inflate(packed: bytes, title: str) -> bytes:
    """Unpack at most `SHARD_SIZE` bytes, whatever is in there."""
    unpacker = zlib.decompressobj()
    try:
        content = unpacker.decompress(packed, SHARD_SIZE + 1)
    except zlib.error:
        raise PublishedError(f"{title} is not packed by zlib") from None
    if len(content) > SHARD_SIZE:
        raise PublishedError(f"{title} unpacks to more than {SHARD_SIZE} bytes")
    if not unpacker.eof or unpacker.unused_data:
        raise PublishedError(f"{title} {'has more behind its end' if unpacker.eof else 'is cut off'}")
    return content


def read_object(content: bytes, kind: type[Written], title: str) -> Written:
    """Read an object that `write_object` wrote. PublishedError if it would write it in another way."""
    value = _decode(content, kind, title)
    if msgspec.msgpack.encode(value) != content:
        raise PublishedError(f"{title} is not as it is written")
    return value


def _decode(content: bytes, kind: type[Written], title: str) -> Written:
    try:
        return msgspec.msgpack.decode(content, type=kind)
    # msgspec raises ValueError for text that is no UTF-8, and RecursionError for what is nested without end.
    except (msgspec.MsgspecError, ValueError, RecursionError):
        raise PublishedError(f"{title} cannot be decoded") from None


def _digest(content: bytes, purpose: bytes) -> bytes:
    return blake2b(content, digest_size=_DIGEST_SIZE, person=purpose).digest()
