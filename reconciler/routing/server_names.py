"""nginx's hashes of server names: how large they must be, and which names do not fit into a bucket."""

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence

from reconciler.values.value import Value

# Where a part of a server name is stored: which of nginx's hashes, the part's key in it, and the part itself.
Slot = tuple[str, int, str]
_Bucket = tuple[str, int]

# nginx refuses a bucket of 65,536 bytes minus one cache line (ngx_hash_init in ngx_hash.c); we stop before that.
_FULL = 60_000
_WORD = 8


def find_slots(name: str) -> tuple[Slot, ...]:
    """Find where nginx stores a server name.

    All exact names are in one hash. Each label of a wildcard name is in a hash of its own, from the right.
    """
    if not name.startswith("*."):
        return (("", _hash(name), name),)
    labels = name.removeprefix("*.").split(".")
    return tuple((".".join(["*", *labels[number + 1 :]]), _hash(label), label) for number, label in enumerate(labels))


def hash_size(names: int) -> int:
    """Give `server_names_hash_max_size` for a number of names."""
    return power_of_two(2 * names, 512)


def bucket_size(longest: int) -> int:
    """Give `server_names_hash_bucket_size` for names of at most `longest` bytes; a bucket also stores its own end."""
    return power_of_two(longest + 4 * _WORD, 64)


def power_of_two(wanted: int, smallest: int) -> int:
    """Round up to a power of two."""
    return max(smallest, 1 << (wanted - 1).bit_length() if wanted > 0 else 0)


class Named(Value, frozen=True):
    """A server name, the Namespace that owns it, and where nginx stores it."""

    name: str
    owner: str
    slots: tuple[Slot, ...]


def find_crowded(names: Sequence[Named], size: int) -> Iterator[str]:
    """Find the names to drop so that no bucket of a hash of `size` buckets is too full for nginx.

    Names are dropped from a bucket that is too full: first those of the owner with most bytes in it, then those that
    come last in `names`. nginx's hash function is public, so anybody can find names that share a bucket with names
    of another owner. The other owner must not lose its names because of that.
    """
    filled: dict[_Bucket, int] = defaultdict(int)
    stored: set[Slot] = set()
    for one in sorted(names, key=_rank(names, size)):
        new = [slot for slot in one.slots if slot not in stored]
        costs = _cost(new, size)
        if any(filled[bucket] + more > _FULL for bucket, more in costs.items()):
            yield one.name
            continue
        stored.update(new)
        for bucket, more in costs.items():
            filled[bucket] += more


def _rank(names: Sequence[Named], size: int) -> Callable[[Named], int]:
    """Rank a name by the bytes that its owner has in a bucket that is too full; 0 if it is in no such bucket."""
    filled: dict[_Bucket, int] = defaultdict(int)
    owned: dict[tuple[_Bucket, str], int] = defaultdict(int)
    for one in names:
        for bucket, more in _cost(one.slots, size).items():
            filled[bucket] += more
            owned[bucket, one.owner] += more
    full = {bucket for bucket, bytes_ in filled.items() if bytes_ > _FULL}

    def rank(one: Named) -> int:
        return max((owned[bucket, one.owner] for bucket in _cost(one.slots, size) if bucket in full), default=0)

    return rank if full else lambda _: 0


def _cost(slots: Iterable[Slot], size: int) -> dict[_Bucket, int]:
    """Give the bytes that slots take in each bucket."""
    return {(level, key % size): _WORD + -(-(len(text) + 2) // _WORD) * _WORD for level, key, text in slots}


def _hash(text: str) -> int:
    """Compute nginx's ngx_hash_key."""
    key = 0
    for byte in text.encode():
        key = (key * 31 + byte) % 2**64
    return key
