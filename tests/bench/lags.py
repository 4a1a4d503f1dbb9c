"""How long changes took until routers had read them."""

from collections.abc import Sequence
from math import ceil, inf

from readers import Seen

Changes = Sequence[tuple[float, str]]


def find_arrivals(changes: Changes, seen: Seen) -> list[float]:
    """Find the moment at which a router had each change: it read the digest after it, or after a later one.

    Infinity stands for a change that it never read.
    """
    places = {digest: place for place, (_, digest) in enumerate(changes)}
    arrivals = [inf] * len(changes)
    for moment, digest in seen.digests:
        for place in range(places.get(digest, -1) + 1):
            arrivals[place] = min(arrivals[place], moment)
    return arrivals


def find_strange(changes: Changes, first: str, seen: Seen) -> set[str]:
    """Find the digests that a router read and the cluster never had; `first` is that of the cluster before changes."""
    return {digest for _, digest in seen.digests} - {first} - {digest for _, digest in changes}


def describe(seconds: Sequence[float]) -> str:
    """Describe a distribution: median, 99 % and the most."""
    ordered = sorted(seconds)
    middle, tail = ordered[len(ordered) // 2], ordered[ceil(0.99 * len(ordered)) - 1]
    return f"median {middle:.2f} s, 99 % {tail:.2f} s, most {ordered[-1]:.2f} s"
