"""Budgets: a Namespace that changes all the time has to wait, and no other Namespace has to."""

import math
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.objects import Object, listing, namespace
from support.stages import normalise

from reconciler.loop.budget import Budget
from reconciler.loop.cycle import Cycle
from reconciler.loop.isolation import Held
from reconciler.loop.reconcile import reconcile
from reconciler.loop.stages import Stages
from reconciler.objects.snapshot import Snapshot
from reconciler.settings import read_settings
from reconciler.values.files import Files

SETTINGS = read_settings({"MAX_CHANGES_PER_NAMESPACE": "6"})


class Kept:
    """A sink that keeps the trees that it gets."""

    def __init__(self) -> None:
        self.trees: list[Files] = []

    def apply(self, files: Files, _: Snapshot) -> str:
        self.trees.append(files)
        return str(len(self.trees))

    def check(self, files: Files) -> None:
        """Accept every tree."""


@pytest.fixture
def serve() -> Callable[..., Cycle]:
    """Run cycles over objects; times are in seconds."""
    sink, stages, last = Kept(), Stages(SETTINGS), None

    def run(now: float, *wanted: Object) -> Cycle:
        nonlocal last
        last = reconcile(normalise(listing(list(wanted)), SETTINGS), stages, sink, last, now)
        return last

    return run


def hosts(cycle: Cycle) -> list[str]:
    return [host.name for host in cycle.table.routes.hosts]


def test_who_flaps_waits_alone(serve: Callable[..., Cycle]) -> None:
    """A Namespace that changes in each cycle goes live six times, then every ten seconds; others go live at once."""
    quiet = namespace("quiet", {"quiet.dev": {}})
    serve(0.0, quiet)
    applied = [serve(float(now), namespace("flaps", {f"h{now}.dev": {}}), quiet).applied for now in range(1, 43)]
    assert applied[:6] == [True] * 6
    assert sum(applied[6:]) in (3, 4)
    cycle = serve(43.0, namespace("flaps", {"late.dev": {}}), namespace("quiet", {"changed.dev": {}}))
    assert cycle.applied
    assert "changed.dev" in hosts(cycle)
    assert "late.dev" not in hosts(cycle)
    (problem,) = cycle.table.problems
    assert str(problem).startswith(
        "Namespace flaps: its change is held back, its last good state is served: it may change 6"
    )


def test_the_newest_state_wins(serve: Callable[..., Cycle]) -> None:
    """When the budget allows it again, the newest state goes live, even if nothing changes any more."""
    serve(0.0)
    for now in range(1, 9):
        cycle = serve(float(now), namespace("flaps", {f"h{now}.dev": {}}))
    assert hosts(cycle) == ["h6.dev"]
    later = serve(cycle.table.good_until, namespace("flaps", {"h8.dev": {}}))
    assert (hosts(later), later.table.problems) == (["h8.dev"], ())


def test_no_limit() -> None:
    """Without a limit, no Namespace is charged."""
    changed = (Held("a", None, None, "", math.inf),)
    assert Budget(0).charge(changed, 0.0) == Budget(0)
    assert Budget(0).find_overdrawn(changed, 0.0) == ()


@given(st.lists(st.floats(0, 1000), max_size=60))
def test_never_more_than_the_budget(times: list[float]) -> None:
    """At most twice the budget of changes goes live in any minute, and at most the budget in the long run."""
    changed, budget, live = (Held("a", None, None, "", math.inf),), Budget(6), []
    for now in sorted(times):
        if not budget.find_overdrawn(changed, now):
            budget = budget.charge(changed, now)
            live.append(now)
    assert all(sum(begin <= now < begin + 60 for now in live) <= 12 for begin in live)


def test_who_rests_is_forgotten() -> None:
    """A Namespace that has its whole budget back is forgotten."""
    changed = (Held("a", None, None, "", math.inf),)
    budget = Budget(6).charge(changed, 0.0)
    assert budget.balances
    assert not budget.charge((), 61.0).balances
