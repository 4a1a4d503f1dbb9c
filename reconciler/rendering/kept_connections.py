"""Kept connections: how many idle connections to Pods a worker keeps, so that its clients always have room."""

from collections.abc import Mapping

# As many requests to one path at the same time find a connection in each worker. A new one for each request would take
# more than twice the processor time.
_MOST = 64


def count_room(worker_connections: int) -> int:
    """Give how many of a worker's connections may be idle ones to Pods. The others are always free for requests.

    nginx closes idle connections of clients when it runs out of connections, but never these.
    """
    return worker_connections * 3 // 4


def share_room(upstreams: Mapping[str, int], worker_connections: int) -> dict[str, int]:
    """Give how many idle connections all upstreams of a Namespace keep together, by the number of its upstreams.

    Namespaces have equal parts of the room. What some do not need is for the others. So paths of one Namespace take
    nothing away from another's part.
    """
    room, waiting, part = count_room(worker_connections), len(upstreams), 0
    for number in sorted(upstreams.values()):
        part = room // waiting
        if number * _MOST > part:
            break
        room -= number * _MOST
        waiting -= 1
    return {namespace: min(number * _MOST, part) for namespace, number in upstreams.items()}
