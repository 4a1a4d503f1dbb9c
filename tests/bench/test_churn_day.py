"""A day of a cluster that is never quiet, played to a real daemon with a real nginx, which clients ask all the time.

`day.py` says what the compressed day stands for; docs/benchmarks.md has the figures of one machine.
"""

from collections.abc import Callable
from pathlib import Path

import pytest
from day import DayPlan, count_busy_intervals
from day_trial import MODES, DayTrial, Pace
from pytest_benchmark.fixture import BenchmarkFixture

SIZES = (2_000, 10_000)
ASKED = 40
INTERVAL = 2
PACE = Pace(INTERVAL, 8, 10)
# RunningDaemon sets these to other values; empty ones mean the defaults.
_DEFAULTS = dict.fromkeys(("RECONCILE_INTERVAL", "MIN_RELOAD_INTERVAL", "MAX_CHANGES_PER_NAMESPACE", "API_TIMEOUT",
                           "NGINX_WORKER_CONNECTIONS"), "")  # fmt: skip


@pytest.mark.parametrize("pods", SIZES)
@pytest.mark.parametrize("mode", MODES)
def test_churn_day(
    benchmark: BenchmarkFixture, tmp_path: Path, tell: Callable[[str], None], mode: str, pods: int
) -> None:
    """Measure reloads, the time to traffic, lost requests, processor time and memory of a day."""
    plan = DayPlan(pods)
    with DayTrial(tmp_path, plan, ASKED, PACE, **_DEFAULTS | MODES[mode]) as trial:
        outcome = benchmark.pedantic(trial.spend_day)
    for line in outcome.describe():
        tell(f"{pods:,} Pods, {mode}: {line}")
    busy = count_busy_intervals(plan, 86_400 // INTERVAL)
    tell(f"{pods:,} Pods: without compression {busy:,} intervals of the day change what requests can reach")
