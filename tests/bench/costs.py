"""What fleets cost, computed from what one router's looks took and what a real API server took for such requests."""

from reconciler.values.value import Value

INTERVAL = 2.0
# Seconds of processor time of a Kubernetes 1.36 API server, measured with Pods of 7.6 kB: a GET of one object from its
# cache, the look whether a collection has changed (0.6 to 1 ms), and a List of 10,000 Pods as gzipped protobuf.
GET, PROBE, LIST = 0.57e-3, 0.8e-3, 0.439
LISTED = 10_000
# The same for a List of the Secrets of one name in all Namespaces, with 500 of them; a publisher needs one after each
# change, because what it writes itself are Secrets.
LIST_SECRETS, LISTED_SECRETS = 1.9e-3, 500
# An estimate: writing a small object was not measured.
WRITE = 2e-3
# Seconds between two looks of a router at the Lease, and between two renewals; about the bytes of one of them.
LEASE_LOOK, LEASE_RENEWAL, LEASE_WIRE = 10.0, 5.0, 1_200
_PODS_A_NAMESPACE = 20
_PROBES = 3  # of Namespaces, Pods and Secrets


class OneRouter(Value, frozen=True):
    """What one look of a router took, in the median; a look without a change, unless it is the churn's own.

    `wire` is bytes, `processor` seconds of the router; `peak` is its peak memory in MB.
    """

    requests: float
    wire: float
    processor: float
    peak: float


class Load(Value, frozen=True):
    """What a fleet asks of the API server in each second: requests, bytes and seconds of processor time (cores)."""

    requests: float
    wire: float
    cores: float


def add_direct(one: OneRouter, routers: int, pods: int, changed: bool) -> Load:
    """Give the load of routers that read the cluster. The cost of a List is an estimate: in proportion to Pods."""
    looks = routers / INTERVAL
    cores = looks * (_PROBES * PROBE + (LIST * pods / LISTED if changed else 0.0))
    return Load(looks * one.requests, looks * one.wire, cores)


def add_published(one: OneRouter, publisher: OneRouter, routers: int, pods: int, changed: bool) -> Load:
    """Give the load of routers that read what is published, with that of two publishers, of which one stands by.

    `publisher` is what the look of a router that reads the cluster took.
    """
    reader, per_second = add_direct(publisher, 1, pods, changed), 1 / INTERVAL if changed else 0.0
    looks, leases = routers / INTERVAL, routers / LEASE_LOOK + 1 / INTERVAL
    gets = looks * one.requests + leases
    # A changed Snapshot is the new shards and the pointer; a router's look is the pointer and the new shards.
    writes = one.requests * per_second + 1 / LEASE_RENEWAL
    secrets = per_second * LIST_SECRETS * pods / _PODS_A_NAMESPACE / LISTED_SECRETS
    wire = looks * one.wire + leases * LEASE_WIRE + writes / one.requests * one.wire + reader.wire
    requests = gets + writes + reader.requests + per_second
    return Load(requests, wire, gets * GET + writes * WRITE + secrets + reader.cores)
