"""Digests: the bytes of a Namespace and the digest of a Snapshot, the same for whoever reads or publishes it."""

from collections.abc import Iterable
from hashlib import blake2b

import msgspec

from reconciler.objects.snapshot import Namespace, Pod

_SIZE = 32


def write_object(value: Namespace | Pod) -> bytes:
    """Write a Namespace or a Pod as MessagePack. Equal ones give equal bytes."""
    return msgspec.msgpack.encode(value)


def digest_namespace(content: bytes) -> bytes:
    """Digest the bytes of one Namespace, written with all its Pods; 32 bytes."""
    return blake2b(content, digest_size=_SIZE).digest()


def digest_snapshot(namespaces: Iterable[bytes], strays: tuple[str, ...]) -> bytes:
    """Digest a Snapshot: the digests of its Namespaces, sorted by name, and the names of its strays; 32 bytes."""
    digest = blake2b(b"".join(namespaces), digest_size=_SIZE)
    digest.update(msgspec.msgpack.encode(strays))
    return digest.digest()
