"""Budgets: how often one Namespace's changes may go live, so that nobody makes everyone's nginx reload all the time."""

import msgspec

from reconciler.loop.isolation import Held
from reconciler.values.value import Value

_MINUTE = 60.0


class Budget(Value, frozen=True):
    """What each Namespace has left of `most` changes; what it has spent comes back evenly, all of it in a minute.

    `spent` holds, by name, how many changes were left at which time, in seconds since the epoch. No `most`: no limit.
    """

    most: int
    spent: dict[str, tuple[float, float]] = {}

    def charge(self, changed: tuple[Held, ...], now: float) -> "Budget":
        """Charge the Namespaces whose changes go live; who has everything left is forgotten."""
        if not self.most:
            return self
        names = {one.name for one in changed}
        left = {name: self._count(name, now) - (name in names) for name in {*self.spent, *names}}
        return msgspec.structs.replace(
            self, spent={name: (count, now) for name, count in sorted(left.items()) if count < self.most}
        )

    def find_overdrawn(self, changed: tuple[Held, ...], now: float) -> tuple[Held, ...]:
        """Find those whose changes have to wait, each until it may go live."""
        return tuple(
            msgspec.structs.replace(
                one,
                why=f"it may change {self.most} times a minute, and has changed more often",
                until=now + (1 - left) * _MINUTE / self.most,
            )
            for one in changed
            if self.most and (left := self._count(one.name, now)) < 1
        )

    def _count(self, name: str, now: float) -> float:
        left, then = self.spent.get(name, (float(self.most), now))
        return min(float(self.most), left + max(0.0, now - then) * self.most / _MINUTE)
