"""A day of a churning cluster in small: what the model does, and that each number of the benchmark is really counted.

tests/bench/test_churn_day.py has the day at 2,000 and at 10,000 Pods.
"""

import time
from collections import Counter, defaultdict
from collections.abc import Iterator
from itertools import chain, pairwise

import httpx
import pytest
from day import NIGHT, Day, DayPlan, count_busy_intervals
from day_clients import count_lost
from day_outcome import Outcome
from day_trial import MODES, DayTrial, Pace
from deployments import ChangeKind as Kind
from deployments import DayChange, PodTimes
from stand_ins import StandIns
from support.lua_nginx import explain_missing
from support.ports import free_port, loopback
from support.running_daemon import wait_until

LARGE = DayPlan(2_000)
# Pods that are told to end stay for long, so that none goes before a router on a slow machine has noticed.
SMALL = DayPlan(200, steps=20, updates=8, scaled=3, crashing=2, times=PodTimes(grace=13))
ASKED = 6
# What may come after what; a Pod of the morning begins as if it had been ready before.
ORDER = {
    (Kind.CREATED, Kind.READY), (Kind.CREATED, Kind.ENDING), (Kind.READY, Kind.CRASHED), (Kind.READY, Kind.ENDING),
    (Kind.CRASHED, Kind.READY), (Kind.ENDING, Kind.GONE),
}  # fmt: skip

Played = tuple[DayTrial, Outcome]


@pytest.fixture(scope="module")
def changes() -> list[DayChange]:
    """List all changes of a day."""
    return [*chain.from_iterable(Day(LARGE))]


@pytest.fixture(scope="module", params=MODES)
def played(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Played]:
    """Let a router follow a small day."""
    if request.param == "lua" and (missing := explain_missing("nginx")):
        pytest.skip(missing)
    folder = tmp_path_factory.mktemp("day")
    settings = MODES[request.param] | {"NGINX_WORKER_PROCESSES": "2"}
    with DayTrial(folder, SMALL, ASKED, Pace(0.35, 1, 0.5), **settings) as trial:
        yield trial, trial.spend_day()


def test_a_day_comes_again(changes: list[DayChange]) -> None:
    """The same plan gives the same day, another seed another one."""
    assert [*chain.from_iterable(Day(LARGE))] == changes
    assert [*chain.from_iterable(Day(DayPlan(2_000, seed=2)))] != changes


def test_lives_of_pods(changes: list[DayChange]) -> None:
    """A Pod is created, ready, told to end and gone, in this order, and between it may crash and become ready again."""
    lives: dict[tuple[int, int], list[Kind]] = defaultdict(list)
    for change in changes:
        lives[change.app, change.serial].append(change.kind)
    followed = {step for life in lives.values() for step in pairwise(one for one in life if one is not Kind.HOST)}
    assert followed == ORDER


def test_rolling_updates() -> None:
    """While a Deployment of four Pods is updated, three are ready and five are not told to end; then all are new."""
    day = Day(DayPlan(2_000, scaled=0, crashing=0, hosts=0))
    ready = {one.app: {*range(NIGHT)} for one in day.deployments}
    alive = {app: {*pods} for app, pods in ready.items()}
    for change in chain.from_iterable(day):
        if change.kind is Kind.CREATED:
            alive[change.app].add(change.serial)
        elif change.kind is Kind.READY:
            ready[change.app].add(change.serial)
        elif change.kind is Kind.ENDING:
            alive[change.app].remove(change.serial)
            ready[change.app].discard(change.serial)
        assert len(ready[change.app]) >= NIGHT - 1
        assert len(alive[change.app]) <= NIGHT + 1
    assert [sorted(pods) for pods in ready.values()] == [[4, 5, 6, 7]] * LARGE.updates
    assert [sorted(one.ready) for one in day.deployments] == [[4, 5, 6, 7]] * LARGE.updates


def test_scaling() -> None:
    """Deployments grow to the peak by noon, and are small again in the evening."""
    day = Day(DayPlan(2_000, updates=60, crashing=0))
    sizes = [[len(one.ready) for one in day.deployments] for _ in day]
    assert max(map(max, sizes)) == LARGE.peak
    assert [max(column) for column in zip(*sizes, strict=True)] == [LARGE.peak] * LARGE.scaled
    assert sizes[-1] == [NIGHT] * LARGE.scaled


def test_crash_loops() -> None:
    """The wait after a crash grows, as the kubelet's back-off does, and ends at five minutes."""
    day = Day(DayPlan(2_000, steps=3_000, updates=0, scaled=0, crashing=1, hosts=0))
    moments = [(step, change.kind) for step, changes in enumerate(day) for change in changes]
    waits = [late - early for (early, kind), (late, _) in pairwise(moments) if kind is Kind.CRASHED]
    for place, wait in enumerate(waits):
        assert 2 <= wait - min(5 * 2**place, 150) <= 5
    assert len(waits) > 6


def test_configuration(changes: list[DayChange]) -> None:
    """In a day one Namespace gets a further host, and one Deployment's new Pods have a further path."""
    assert Counter(change.kind for change in changes)[Kind.HOST] == LARGE.hosts
    assert {change.app for change in changes if change.path} == {Day(LARGE).deployments[0].app}


def test_uncompressed_day() -> None:
    """A day that is not compressed has as many updates, but they share an interval with others more rarely."""
    quiet = DayPlan(2_000, scaled=0, crashing=0)
    assert count_busy_intervals(quiet, 120) <= 120
    assert 600 < count_busy_intervals(quiet, 10_000) <= 2 * NIGHT * LARGE.updates + LARGE.hosts


def test_stand_ins() -> None:
    """A stand-in for a Pod notes its first request, ends its long answers when it is told to end, and may crash."""
    ip, port = loopback("10.244.7.1"), free_port()
    url, begun = f"http://{ip}:{port}/", time.monotonic()
    with StandIns(port) as pods:
        pods.start(ip)
        assert ip not in pods.first
        with httpx.stream("POST", f"{url}?seconds=0.2", content=b"body") as long:
            pods.end(ip)
            assert (long.headers["X-Pod"], long.read()) == (ip, b"another\n" * 19)
        assert begun < pods.first[ip] < time.monotonic()
        pods.start(ip)
        assert ip not in pods.first
        with httpx.stream("GET", f"{url}?seconds=60") as cut:
            pods.crash(ip)
            with pytest.raises(httpx.TransportError):
                cut.read()
        with pytest.raises(httpx.ConnectError):
            httpx.get(url)


def test_changes_are_counted(played: Played) -> None:
    """The outcome counts each change of the day, and the daemon serves the state after the last one."""
    trial, outcome = played
    assert outcome.changes == Counter((one.cause, one.kind) for one in chain.from_iterable(Day(SMALL)))
    assert trial.read_metric("pods") == trial.player.count_ready()
    assert trial.read_metric("hosts") == trial.player.count_hosts() == 11


def test_reloads_are_counted(played: Played) -> None:
    """The start and each reload made two workers of nginx, and there were no others."""
    _, outcome = played
    assert outcome.workers == 2 * (outcome.reloads + 1) > 2


def test_waits_are_counted(played: Played) -> None:
    """Each Pod that becomes ready and is asked is counted: with its wait, or as one that no request reached."""
    trial, outcome = played
    ready = [one for one in chain.from_iterable(Day(SMALL)) if one.kind is Kind.READY]
    assert len(outcome.waits) + outcome.unseen == sum(one.app in trial.player.targets.apps for one in ready)
    assert 0 < max(outcome.waits) < outcome.day.moment


def test_costs_are_counted(played: Played) -> None:
    """Processor time, requests and memory are counted; trees are tested only after changes."""
    _, outcome = played
    for one in (outcome.rest, outcome.day):
        assert min(one.daemon, one.nginx, one.requests) > 0
    assert outcome.rest.tested == 0 < outcome.day.tested
    assert min(outcome.nginx, outcome.memory) > 1
    assert len([*outcome.describe()]) == 7


def test_no_new_connection_loses_requests(played: Played) -> None:
    """Only kept connections lose requests in a day, but for what a crashing Pod takes with it."""
    _, outcome = played
    assert not [kind for kind in outcome.lost if kind.startswith(("new connection:", "long answer:"))]


def test_lost_requests_are_counted(played: Played) -> None:
    """If all Pods of a path end without a word, requests are lost; a Pod of another application is no answer."""
    trial, _ = played
    first, second, *_ = trial.player.targets.calm
    addresses = trial.player.targets.addresses
    with trial.asked() as clients:
        for ip in trial.stand_ins.running:
            if addresses[ip] == first:
                trial.stand_ins.crash(ip)
            elif addresses[ip] == second:
                addresses[ip] = first
        for failure in ("status 502", "a Pod of another application answers"):
            wait_until(lambda failure=failure: count_lost(clients)[f"new connection: {failure}"])
