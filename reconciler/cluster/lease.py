"""The Lease: which publisher publishes. Being wrong about it is safe: the pointer's resourceVersion decides.

Nobody's wall clock counts. A publisher that sees the Lease unchanged for its duration, by its own monotonic clock, may
take it, as in Kubernetes' own elections: https://kubernetes.io/docs/concepts/architecture/leases/
"""

import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import msgspec
from msgspec.structs import replace

from reconciler.cluster.stored import Kind, Metadata, Store
from reconciler.values.value import Value

LEASES = Kind("Lease", "leases", "coordination.k8s.io/v1")
LEASE = "dispatcher-publisher"
# Seconds for which a publisher has the Lease after it renewed it, and after which it renews it again.
_DURATION, _PACE = 15, 5.0
# What others wrote counts up to this.
_LONGEST = 60
# Seconds between two looks of a router: a thousand routers ask a hundred times a second.
_LOOK = 10.0


class Spec(Value, frozen=True, rename="camel"):
    """Who has a Lease, for how many seconds, and when what is published was last confirmed."""

    holder_identity: str | None = None
    lease_duration_seconds: int | None = None
    acquire_time: str | None = None
    renew_time: str | None = None
    lease_transitions: int | None = None


class Lease(Value, frozen=True):
    """A Lease as it is read."""

    metadata: Metadata
    spec: Spec = Spec()


class Election:
    """One publisher's part in who publishes. `identity` is another one for each process. `clock` is monotonic."""

    def __init__(self, store: Store, identity: str, clock: Callable[[], float] = time.monotonic) -> None:
        self.holder = ""
        self._store = store
        self._identity = identity
        self._clock = clock
        self._version = ""  # of the Lease that this publisher holds; empty if it holds none
        self._held_until = 0.0
        self._renew_at = 0.0
        self._seen = ""
        self._seen_at = 0.0
        self._spec = Spec()

    def stand(self) -> bool:
        """Tell whether this publisher may publish now; if the Lease is free, take it. StoreError if it is not known."""
        now = self._clock()
        if self._version and now < self._held_until:
            return True
        self._version = ""
        lease = self._store.get(LEASES, LEASE, Lease)
        if lease is None:
            return self._take(Spec(), None)
        self.holder = lease.spec.holder_identity or ""
        if self.holder == self._identity:
            self._hold(lease.metadata.resource_version, lease.spec)
            return True
        if lease.metadata.resource_version != self._seen:
            self._seen, self._seen_at = lease.metadata.resource_version, now
        duration = min(max(1, lease.spec.lease_duration_seconds or _DURATION), _LONGEST)
        return (not self.holder or now - self._seen_at >= duration) and self._take(lease.spec, self._seen)

    def renew(self) -> None:
        """Confirm that what is published is what the cluster holds now. StoreError if that cannot be written."""
        if self._version and self._clock() >= self._renew_at:
            self._write(self._spec, renew_time=_tell_now())

    def doubt(self) -> None:
        """Read the Lease before the next turn: somebody else has published."""
        self._held_until = 0.0

    def release(self) -> None:
        """Let the next publisher take the Lease at once. StoreError if that cannot be written."""
        if self._version:
            self._write(self._spec, holder_identity="")
            self._version = ""

    def _take(self, spec: Spec, version: str | None) -> bool:
        """Take the Lease. Taking confirms nothing, so the time of the last confirmation stays."""
        changes = {
            "holder_identity": self._identity,
            "lease_duration_seconds": _DURATION,
            "acquire_time": _tell_now(),
            "lease_transitions": 0 if version is None else (spec.lease_transitions or 0) + 1,
        }
        self._version, self._renew_at = version or "", 0.0
        return self._write(spec, **changes)

    def _write(self, spec: Spec, **changes: Any) -> bool:
        """Write the Lease, unless somebody else has; tell whether this publisher holds it then."""
        spec = replace(spec, **changes)
        content = {"spec": {name: value for name, value in msgspec.to_builtins(spec).items() if value is not None}}
        if self._version:
            written = self._store.replace(LEASES, LEASE, self._version, content)
        else:
            written = self._store.create(LEASES, LEASE, content)
        if written is None:
            self._version = ""
            return False
        self._hold(written.metadata.resource_version, spec)
        if "renew_time" in changes:
            self._renew_at = self._clock() + _PACE
        return True

    def _hold(self, version: str, spec: Spec) -> None:
        self.holder, self._version, self._spec = self._identity, version, spec
        self._held_until = self._clock() + _DURATION


class Confirmation:
    """When the publisher was last seen to confirm what is published: `last`, by a monotonic clock; for routers."""

    def __init__(self, store: Store, clock: Callable[[], float] = time.monotonic) -> None:
        self.last: float | None = None
        self._store = store
        self._clock = clock
        self._renewed = ""
        self._next = 0.0

    def look(self) -> None:
        """Look at the Lease if it is time to. StoreError if it cannot be read."""
        now = self._clock()
        if now < self._next:
            return
        self._next = now + _LOOK
        lease = self._store.get(LEASES, LEASE, Lease, cached=True)
        renewed = (lease.spec.renew_time if lease else None) or ""
        if not renewed:
            self._next = now  # the first publisher begins
        if renewed in ("", self._renewed):
            return
        # What is seen first may be long ago. After that the publisher's clock does not count: a change is just now.
        self.last = now if self._renewed else now - _tell_age(renewed)
        self._renewed = renewed


def _tell_now() -> str:
    """Write the time as the API server wants it: RFC 3339 with microseconds."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def _tell_age(moment: str) -> float:
    """Give the seconds since a moment; 0 if it lies ahead, or is none."""
    try:
        return max(0.0, time.time() - datetime.fromisoformat(moment).timestamp())
    except ValueError:
        return 0.0
