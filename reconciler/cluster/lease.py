"""The Lease: which publisher publishes. Being wrong about it is safe: the pointer's resourceVersion decides.

Nobody's wall clock counts. A publisher that sees the Lease unchanged for its duration, by its own monotonic clock, may
take it, as in Kubernetes' own elections: https://kubernetes.io/docs/concepts/architecture/leases/
"""

import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any

import msgspec
from msgspec.structs import replace

from reconciler.cluster.stored import Kind, Metadata, Store, StoreError
from reconciler.values.messages import excerpt
from reconciler.values.value import Value

LEASES = Kind("Lease", "leases", "coordination.k8s.io/v1")
LEASE = "dispatcher-publisher"
# Seconds for which a publisher has the Lease after it wrote it, beyond those that one request may take; and after which
# it confirms again.
_SPARE, _PACE = 10, 5.0
# What others wrote counts up to this. API_TIMEOUT is 600 at most.
_LONGEST = 600 + _SPARE
_MOST_TRANSITIONS = 2**31 - 1  # an int32
_KEPT = "dispatcher/kept"
# What a router says about its publisher's age is at most ten years.
_OLDEST = 10 * 365 * 86400.0
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
    """One publisher's part in who publishes. `identity` is another one for each process. `clock` is monotonic.

    A request may take `timeout` seconds, and between two of them the Lease can be kept.
    """

    def __init__(
        self, store: Store, identity: str, timeout: float, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.holder = ""
        self._duration = int(timeout) + _SPARE
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
        holder = lease.spec.holder_identity or ""
        self.holder = excerpt(holder)[1:-1]
        if holder == self._identity:
            self._hold(lease.metadata.resource_version, lease.spec)
            return True
        if lease.metadata.resource_version != self._seen:
            self._seen, self._seen_at = lease.metadata.resource_version, now
        duration = min(max(1, lease.spec.lease_duration_seconds or self._duration), _LONGEST)
        return (not holder or now - self._seen_at >= duration) and self._take(lease.spec, self._seen)

    def renew(self) -> None:
        """Confirm that what is published is what the cluster holds now. StoreError if that cannot be written."""
        if self._version and self._clock() >= self._renew_at:
            self._write(self._spec, renew_time=_tell_now())

    def keep(self) -> None:
        """Keep the Lease within a long turn, which confirms nothing. If that cannot be written, it may end."""
        if self._version and self._clock() >= self._held_until - self._duration + _PACE:
            with suppress(StoreError):
                self._write(self._spec, kept=_tell_now())

    def doubt(self) -> None:
        """Read the Lease before the next turn: somebody else has published."""
        self._held_until = 0.0

    def release(self) -> None:
        """Let the next publisher take the Lease at once. StoreError if that cannot be written soon."""
        if self._version:
            self._store.hurry()
            self._write(self._spec, holder_identity="")
            self._version = ""

    def _take(self, spec: Spec, version: str | None) -> bool:
        """Take the Lease. Taking confirms nothing, so the time of the last confirmation stays."""
        changes: dict[str, Any] = {
            "holder_identity": self._identity,
            "lease_duration_seconds": self._duration,
            "acquire_time": _tell_now(),
            "lease_transitions": 0 if version is None else ((spec.lease_transitions or 0) + 1) % _MOST_TRANSITIONS,
        }
        self._version, self._renew_at = version or "", 0.0
        return self._write(spec, **changes)

    def _write(self, spec: Spec, kept: str = "", **changes: Any) -> bool:
        """Write the Lease, unless somebody else has; tell whether this publisher holds it then.

        `kept` is a time for an annotation: others have to see that the Lease has changed.
        """
        spec = replace(spec, **changes)
        content = {
            "metadata": {"annotations": {_KEPT: kept}} if kept else {},
            "spec": {name: value for name, value in msgspec.to_builtins(spec).items() if value is not None},
        }
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
        self._held_until = self._clock() + self._duration


class Confirmation:
    """When the publisher was last seen to confirm what is published: `last`, by a monotonic clock; for routers."""

    def __init__(self, store: Store, clock: Callable[[], float] = time.monotonic) -> None:
        self.last: float | None = None
        self._store = store
        self._clock = clock
        # The last times that were seen: caches that differ show some of them again.
        self._renewed = deque[str](maxlen=16)
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
        if not renewed or renewed in self._renewed:
            return
        # What is seen first may be long ago. After that the publisher's clock does not count: a change is just now.
        self.last = now if self._renewed else now - _tell_age(renewed)
        self._renewed.append(renewed)


def _tell_now() -> str:
    """Write the time as the API server wants it: RFC 3339 with microseconds."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def _tell_age(moment: str) -> float:
    """Give the seconds since a moment; 0 if it lies ahead, or is none."""
    try:
        return min(max(0.0, time.time() - datetime.fromisoformat(moment).timestamp()), _OLDEST)
    except (ValueError, OverflowError):
        return 0.0
