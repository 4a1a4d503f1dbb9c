"""A fleet of simulated routers that follow one publisher: how long changes take, and whether any router diverges.

docs/scale.md has the figures of one machine. SCALE_SECONDS, SCALE_ROUTERS, SCALE_PACE and SCALE_INTERVAL set the size.
"""

import os
import random
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest
from lags import describe, find_arrivals, find_strange
from meter import read_time
from pytest_benchmark.fixture import BenchmarkFixture
from readers import Report, Seen
from support.running_daemon import RunningDaemon
from trial import Fleet, Site

SECONDS = float(os.environ.get("SCALE_SECONDS", "300"))
ROUTERS = int(os.environ.get("SCALE_ROUTERS", "1000"))
PACE = float(os.environ.get("SCALE_PACE", "5"))
PODS = 2_000
INTERVAL = float(os.environ.get("SCALE_INTERVAL", "2"))
# A router that looks this often tells when something was published.
_WATCH = 0.02
# The test API server has one processor for all of its Lists.
_DIRECT = 8

Tell = Callable[[str], None]


class Publisher:
    """The processor time and the memory of a publisher's process, minute by minute."""

    def __init__(self, pid: int, minute: float) -> None:
        self.lines: list[str] = []
        self._process = psutil.Process(pid)
        self._minute = minute
        self._begun, self._spent = time.monotonic(), read_time(pid)

    def look(self) -> None:
        """Note what the process took, if a minute is over."""
        now = time.monotonic()
        if now - self._begun >= self._minute:
            spent = read_time(self._process.pid)
            memory = self._process.memory_info().rss / 1e6
            self.lines.append(f"{100 * (spent - self._spent) / (now - self._begun):.1f} % of a core, {memory:.1f} MB")
            self._begun, self._spent = now, spent


def change_for(site: Site, seconds: float, look: Callable[[], None]) -> None:
    """Change Pods, PACE seconds from each other, and a random part of that; `look` is called often."""
    until = time.monotonic() + seconds
    due = time.monotonic() + random.uniform(0, PACE)
    while (now := time.monotonic()) < until:
        if now >= due:
            site.churn.change()
            due += PACE * random.uniform(0.5, 1.5)
        look()
        time.sleep(0.01)


def tell_lags(tell: Tell, what: str, arrivals: list[list[float]], since: list[float]) -> list[float]:
    """Tell how long after the moments `since` each change arrived at each router; give all of that."""
    lags = [max(0.0, arrival - moment) for one in arrivals for arrival, moment in zip(one, since, strict=True)]
    tell(f"{what}: {describe(lags)}")
    return lags


def tell_machine(tell: Tell, reports: list[Report], seconds: float) -> None:
    """Tell whether the machine was fast enough for all routers."""
    used = sum(one.processor for one in reports) / seconds
    looks, late = sum(one.looks for one in reports), max(one.late for one in reports)
    tell(f"all routers together: {looks} looks, {used:.2f} cores; the latest look began {late:.2f} s too late")


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    with Site(tmp_path, PODS) as site:
        yield site


def test_fleet(benchmark: BenchmarkFixture, site: Site, tell: Tell) -> None:
    """Let routers follow a publisher while Pods change, and another publisher takes over halfway."""
    with (
        site.publishing() as publisher,
        Fleet(site, "published", 1, _WATCH) as watch,
        Fleet(site, "published", ROUTERS, INTERVAL, processes=2) as fleet,
    ):
        first, begun, asked = site.churn.digest, time.monotonic(), read_time(site.server.pid)
        churn_twice(site, publisher, tell)
        benchmark.pedantic(fleet.wait_for, (site.churn.digest,), rounds=1)
        watch.wait_for(site.churn.digest)
        seconds, asked = time.monotonic() - begun, read_time(site.server.pid) - asked
        reports, (watcher,) = fleet.end(), watch.end()
    routers = [one for report in reports for one in report.seen]
    tell(f"{len(routers)} routers, {PODS:,} Pods, {len(site.churn.changes)} changes in {seconds:.0f} s")
    tell_machine(tell, reports, seconds)
    tell(f"test API server: {asked / seconds:.2f} cores")
    tell_fleet(tell, site, first, routers, watcher.seen[0])


def churn_twice(site: Site, publisher: RunningDaemon, tell: Tell) -> None:
    """Change Pods, let another publisher take over, and change Pods again; tell what each publisher took."""
    for half in range(2):
        if half:
            publisher.end()
            publisher.start("publish")
        assert publisher.process
        meter = Publisher(publisher.process.pid, min(60.0, SECONDS / 5))
        change_for(site, SECONDS / 2, meter.look)
        for line in meter.lines:
            tell(f"publisher {half + 1}: {line}")


def tell_fleet(tell: Tell, site: Site, first: str, routers: list[Seen], watcher: Seen) -> None:
    """Tell what routers read and when; each must have read the newest Snapshot, and none that never was."""
    changes = site.churn.changes
    arrivals, published = [find_arrivals(changes, one) for one in routers], find_arrivals(changes, watcher)
    tell_lags(tell, "change to published", [published], [moment for moment, _ in changes])
    lags = tell_lags(tell, "published to read", arrivals, published)
    tell_lags(tell, "change to read", arrivals, [moment for moment, _ in changes])
    late = sum(lag > 2 * INTERVAL for lag in lags)
    tell(f"behind by more than two intervals: {late} of {len(lags)} readings; the aim is none")
    failed = [why for one in routers for why in one.failures]
    tell(f"looks that failed: {len(failed)}; {failed[:3]}")
    assert not [one for one in routers if one.digests[-1][1] != changes[-1][1]], "a router diverged"
    assert not [one for one in routers if find_strange(changes, first, one)], "a router read what never was"


def test_direct_fleet(benchmark: BenchmarkFixture, site: Site, tell: Tell) -> None:
    """Let a few routers read the cluster itself, for comparison; more would wait for the test API server."""
    with Fleet(site, "cluster", _DIRECT, INTERVAL) as fleet:
        begun = time.monotonic()
        change_for(site, SECONDS / 3, lambda: None)
        benchmark.pedantic(fleet.wait_for, (site.churn.digest,), rounds=1)
        reports = fleet.end()
    changes = site.churn.changes
    tell(f"{_DIRECT} routers that read the cluster, {PODS:,} Pods, {len(changes)} changes")
    tell_machine(tell, reports, time.monotonic() - begun)
    arrivals = [find_arrivals(changes, one) for report in reports for one in report.seen]
    tell_lags(tell, "change to read", arrivals, [moment for moment, _ in changes])
