"""nginx's hashes of server names: how large they must be, and which names would not fit into one."""

from collections import defaultdict
from collections.abc import Iterable, Iterator

# A bucket of one of nginx's hashes, and the part of a name that goes there.
Place = tuple[str, int, str]

# nginx refuses a bucket of 65,536 bytes less a cache line (ngx_hash_init); we stop before.
_FULL = 60_000
_WORD = 8


def find_places(name: str) -> tuple[Place, ...]:
    """Find where a server name goes: the hash, the name's key in it, and what is stored.

    Exact names share one hash. Of a wildcard each label goes into a hash of its own level, from the right.
    """
    if not name.startswith("*."):
        return (("", _hash(name), name),)
    labels = name.removeprefix("*.").split(".")
    return tuple(
        (".".join(["*", *labels[place + 1 :]]), _hash(labels[place]), labels[place]) for place in range(len(labels))
    )


def hash_size(names: int) -> int:
    """Give `server_names_hash_max_size` for so many names."""
    return power_of_two(2 * names, 512)


def bucket_size(longest: int) -> int:
    """Give `server_names_hash_bucket_size` for names of at most `longest` bytes: beside one stands the bucket's end."""
    return power_of_two(longest + 4 * _WORD, 64)


def power_of_two(wanted: int, smallest: int) -> int:
    """Round up to a power of two."""
    return max(smallest, 1 << (wanted - 1).bit_length() if wanted > 0 else 0)


def find_crowded(names: Iterable[tuple[str, tuple[Place, ...]]], size: int) -> Iterator[str]:
    """Find the names that make a bucket too full for nginx; who comes first is in first."""
    filled: dict[tuple[str, int], int] = defaultdict(int)
    known: set[Place] = set()
    for name, places in names:
        new = [place for place in places if place not in known]
        cost = {(level, key % size): _WORD + -(-(len(text) + 2) // _WORD) * _WORD for level, key, text in new}
        if any(filled[bucket] + more > _FULL for bucket, more in cost.items()):
            yield name
            continue
        known.update(new)
        for bucket, more in cost.items():
            filled[bucket] += more


def _hash(text: str) -> int:
    key = 0
    for byte in text.encode():
        key = (key * 31 + byte) % 2**64
    return key
