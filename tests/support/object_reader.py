"""How a test API server answers a request for one object, from its cache or past it."""

import asyncio
import time

import msgspec
from support.answers import Answer, Refused, bad_request, not_found, write_json, write_too_large
from support.objects import Object
from support.store import Collection, Kind, Store, Stored

_METADATA_ONLY = "as=PartialObjectMetadata;"


def read_body(body: bytes) -> Object:
    """Read the body of a request, or refuse it."""
    try:
        return msgspec.json.decode(body, type=dict)
    except msgspec.MsgspecError as error:
        raise bad_request(f"couldn't read the body: {error}") from None


def check_version(version: str) -> None:
    """Refuse a resourceVersion that is not a number."""
    if version and not version.isdecimal():
        raise bad_request(f'Invalid value: "{version}": strconv.ParseUint: parsing "{version}": invalid syntax')


async def wait_for_cache(store: Store, kind: Kind, version: str, patience: float) -> Collection:
    """Give the cache's objects of a kind; wait at most `patience` seconds until the cache has reached the version."""
    end = time.monotonic() + patience
    while int(version) > (current := store.cache.collections[kind.name].version):
        if time.monotonic() > end:
            raise Refused(write_too_large(int(version), current))
        await asyncio.sleep(0.01)
    return store.cache.collections[kind.name]


async def find_object(store: Store, kind: Kind, key: str, version: str, patience: float) -> Stored | None:
    """Find an object in its present state, or if a version is given, in the cache."""
    check_version(version)
    collection = await wait_for_cache(store, kind, version, patience) if version else None
    return (collection or store.present.collections[kind.name]).objects.get(key)


def answer_object(kind: Kind, name: str, stored: Stored | None, accept: str) -> Answer:
    """Answer with an object, or with its metadata if the client accepts only these."""
    if not stored:
        raise not_found(kind.full_resource, name)
    if _METADATA_ONLY in f"{accept};":
        return Answer(200, (write_metadata(stored), b"\n"))
    return write_object(kind, stored)


def write_object(kind: Kind, stored: Stored, status: int = 200) -> Answer:
    """Write the answer that holds one object."""
    head = write_json({"kind": kind.name, "apiVersion": kind.version}).removesuffix(b"}")
    return Answer(status, (head + b",", stored.item.removeprefix(b"{"), b"\n"))


def write_metadata(stored: Stored) -> bytes:
    """Write the metadata of one object, as an object or as an item of a list."""
    metadata = msgspec.json.decode(stored.item)["metadata"]
    return write_json({"kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1", "metadata": metadata})
