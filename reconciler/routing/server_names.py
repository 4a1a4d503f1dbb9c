"""nginx's hashes of server names: how large they must be, and which names would not fit into one."""

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence

from reconciler.values.value import Value

# One of nginx's hashes, the key in it of a part of a name, and that part.
Place = tuple[str, int, str]
_Bucket = tuple[str, int]

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


class Named(Value, frozen=True):
    """A server name, whose it is, and where it goes."""

    name: str
    owner: str
    places: tuple[Place, ...]


def find_crowded(names: Sequence[Named], size: int) -> Iterator[str]:
    """Find the names that make a bucket too full for nginx: those of whoever has most in it, then those that come last.

    nginx's hash is no secret, so anyone can find names that meet a given one: they must not push it out.
    """
    filled: dict[_Bucket, int] = defaultdict(int)
    known: set[Place] = set()
    for one in sorted(names, key=_rank(names, size)):
        new = [place for place in one.places if place not in known]
        costs = _cost(new, size)
        if any(filled[bucket] + more > _FULL for bucket, more in costs.items()):
            yield one.name
            continue
        known.update(new)
        for bucket, more in costs.items():
            filled[bucket] += more


def _rank(names: Sequence[Named], size: int) -> Callable[[Named], int]:
    """Rank a name by how much of a bucket that is too full its owner has; those in no such bucket are all alike."""
    filled: dict[_Bucket, int] = defaultdict(int)
    owned: dict[tuple[_Bucket, str], int] = defaultdict(int)
    for one in names:
        for bucket, more in _cost(one.places, size).items():
            filled[bucket] += more
            owned[bucket, one.owner] += more
    full = {bucket for bucket, bytes_ in filled.items() if bytes_ > _FULL}

    def rank(one: Named) -> int:
        return max((owned[bucket, one.owner] for bucket in _cost(one.places, size) if bucket in full), default=0)

    return rank if full else lambda _: 0


def _cost(places: Iterable[Place], size: int) -> dict[_Bucket, int]:
    """Give how many bytes of which buckets these take."""
    return {(level, key % size): _WORD + -(-(len(text) + 2) // _WORD) * _WORD for level, key, text in places}


def _hash(text: str) -> int:
    key = 0
    for byte in text.encode():
        key = (key * 31 + byte) % 2**64
    return key
