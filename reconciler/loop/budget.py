"""Budgets: how often one Namespace's changes may go live, so that it cannot make nginx reload all the time."""

import msgspec

from reconciler.loop.isolation import Held
from reconciler.settings import Settings
from reconciler.values.value import Value

_MINUTE = 60.0


class Balance(Value, frozen=True):
    """The number of changes `left` that a Namespace had at the time `at`, in seconds since the epoch."""

    left: float
    at: float


class Budget(Value, frozen=True):
    """How many changes each Namespace has left, of at most `most`. Used changes come back evenly, `most` a minute.

    `setting` is where `most` comes from; if it is 0, there is no limit. `balances` holds, by name, only the Namespaces
    that do not have all changes left.
    """

    most: int
    balances: dict[str, Balance] = {}
    setting: str = "MAX_CHANGES_PER_NAMESPACE"

    def charge(self, changed: tuple[Held, ...], now: float) -> "Budget":
        """Charge the Namespaces whose changes go live. Forget each Namespace that has all its changes left."""
        if not self.most:
            return self
        names = {one.name for one in changed}
        left = {name: self._count(name, now) - (name in names) for name in {*self.balances, *names}}
        used = {name: Balance(count, now) for name, count in sorted(left.items()) if count < self.most}
        return msgspec.structs.replace(self, balances=used)

    def find_overdrawn(self, changed: tuple[Held, ...], now: float) -> tuple[Held, ...]:
        """Find the Namespaces whose changes have to wait, each held until its change may go live."""
        return tuple(
            msgspec.structs.replace(
                one,
                why=f"it may change {self.most} times a minute, and has changed more often",
                expected=f"fewer changes ({self.setting})",
                until=now + (1 - left) * _MINUTE / self.most,
            )
            for one in changed
            if self.most and (left := self._count(one.name, now)) < 1
        )

    def _count(self, name: str, now: float) -> float:
        """Count the changes that a Namespace has left now."""
        most = float(self.most)
        balance = self.balances.get(name, Balance(most, now))
        return min(most, balance.left + max(0.0, now - balance.at) * most / _MINUTE)


class Budgets(Value, frozen=True):
    """The budgets of changes that need a reload, and of those of Pods that come and go without one."""

    reloads: Budget = Budget(0)
    endpoints: Budget = Budget(0)

    def charge(self, reloading: tuple[Held, ...], moving: tuple[Held, ...], now: float) -> "Budgets":
        """Charge the Namespaces whose changes go live: those because of which nginx reloads, and the others."""
        return Budgets(self.reloads.charge(reloading, now), self.endpoints.charge(moving, now))

    def find_overdrawn(self, reloading: tuple[Held, ...], moving: tuple[Held, ...], now: float) -> tuple[Held, ...]:
        """Find the Namespaces whose changes have to wait, each held until its change may go live."""
        return self.reloads.find_overdrawn(reloading, now) + self.endpoints.find_overdrawn(moving, now)


def make_budgets(settings: Settings) -> Budgets:
    """Make the budgets that settings give to each Namespace."""
    return Budgets(
        Budget(settings.max_changes),
        Budget(settings.max_endpoint_changes, setting="MAX_ENDPOINT_CHANGES_PER_NAMESPACE"),
    )
