"""Counts of requests: by Namespace, status and duration, from a real nginx to what prometheus-client shows."""

from collections.abc import Callable

import pytest
from prometheus_client import CollectorRegistry
from prometheus_client.exposition import generate_latest
from support.authority import Authority
from support.objects import namespace, pod
from support.pods import DECLARED, HOST, entry
from support.router import Router
from support.running_daemon import wait_until
from test_access_log import HOSTILE, send, send_all, serve

from reconciler.loop.cycle import Cycle
from reconciler.loop.events import Applied, RequestsCounted, Tally
from reconciler.nginx import drain
from reconciler.status.requests import BOUNDS, Requests

Start = Callable[..., Router]


def show(requests: Requests) -> dict[str, float]:
    """Give what a scrape shows: each sample's number, by name and labels."""
    registry = CollectorRegistry()
    registry.register(requests)
    lines = generate_latest(registry).decode().splitlines()
    pairs = (line.rpartition(" ") for line in lines if not line.startswith("#"))
    return {name: float(number) for name, _, number in pairs}


def collect(here: Router, number: int) -> dict[str, float]:
    """Wait until this number of requests is counted, and give what a scrape shows."""

    def add_up() -> Requests:
        requests = Requests()
        for event in list(here.events):
            requests.observe(event)
        return requests

    def total() -> float:
        return sum(count for name, count in show(add_up()).items() if name.startswith("dispatcher_requests_total"))

    wait_until(lambda: total() >= number, lambda: show(add_up()))
    return show(add_up())


def test_requests_are_counted(router: Start, authority: Authority, ips: list[str]) -> None:
    """Each request counts once, for the Namespace whose path took it; a WebSocket has no duration."""
    here = router(REQUEST_METRICS="on", ADMIN_PORT="1")
    serve(here, authority, ips[0])
    send_all(here, authority)
    shown = collect(here, 11)
    counted = {name: count for name, count in shown.items() if name.startswith("dispatcher_requests_total") and count}
    assert counted == {
        'dispatcher_requests_total{namespace="",status="4xx"}': 2,
        'dispatcher_requests_total{namespace="keyed",status="2xx"}': 1,
        'dispatcher_requests_total{namespace="keyed",status="4xx"}': 1,
        'dispatcher_requests_total{namespace="lame",status="5xx"}': 1,
        'dispatcher_requests_total{namespace="team",status="1xx"}': 1,
        'dispatcher_requests_total{namespace="team",status="2xx"}': 4,
        'dispatcher_requests_total{namespace="team",status="4xx"}': 1,
    }
    assert shown['dispatcher_request_duration_seconds_count{namespace="team"}'] == 5
    assert shown['dispatcher_request_duration_seconds_bucket{le="60.0",namespace="team"}'] == 5


def test_no_request_is_missed(router: Start, ips: list[str]) -> None:
    """After many requests and reloads, exactly as many are counted as were sent."""
    here = router(REQUEST_METRICS="on", ADMIN_PORT="1", ACCESS_LOG="off")
    for turn in range(4):
        paths = [entry("/api"), entry(f"/{turn}")]
        here.serve(namespace("a", {HOST: {}}), pod("a", "web-0", ips[0], paths, DECLARED))
        for _ in range(150):
            here.ask(HOST, "/api")
    assert collect(here, 600)['dispatcher_requests_total{namespace="a",status="2xx"}'] == 600
    assert not (here.folder / "access.log").exists()


def test_clients_make_no_labels(router: Start, ips: list[str]) -> None:
    """Whatever clients send, the labels are Namespaces that are routed, and five classes."""
    here = router(REQUEST_METRICS="on", ADMIN_PORT="1")
    here.serve(namespace("a", {HOST: {}}), pod("a", "web-0", ips[0], [entry("/api")], DECLARED))
    assert here.is_closed_on("namespace-b")
    for lines in HOSTILE:
        send(here.port, *lines)
    names = {
        name.partition("{")[2]
        for name in collect(here, 1 + len(HOSTILE))
        if name.startswith("dispatcher_requests_total")
    }
    assert {name.split('"')[1] for name in names} <= {"a", ""}


def cycle_of(router: Router) -> Cycle:
    assert router.last
    return router.last


def test_namespaces_that_are_gone_are_forgotten(router: Start, ips: list[str]) -> None:
    """A Namespace that is no longer routed loses its series; the others keep theirs, and none belongs to nobody."""
    here, requests = router(), Requests()
    here.serve(namespace("a", {HOST: {}}), pod("a", "web-0", ips[0], [entry("/api")], DECLARED))
    tally = Tally((0, 1, 0, 0, 0), (1, *(0,) * 12), 0.001)
    requests.observe(RequestsCounted({"a": tally, "b": tally, "": tally}))
    requests.observe(RequestsCounted({"a": tally}))
    requests.observe(Applied(cycle_of(here), None))
    shown = show(requests)
    assert shown['dispatcher_requests_total{namespace="a",status="2xx"}'] == 2
    assert shown['dispatcher_request_duration_seconds_sum{namespace="a"}'] == pytest.approx(0.002)
    assert 'dispatcher_requests_total{namespace="",status="2xx"}' in shown
    assert not [name for name in shown if 'namespace="b"' in name]


def test_buckets_are_those_of_the_reader() -> None:
    """The metrics have the buckets in which nginx's reader counts."""
    assert tuple(map(float, BOUNDS[:-1])) == drain.BOUNDS


def test_counting() -> None:
    """Lines that are no request are ignored, and the bounds of buckets belong to the bucket below."""
    counts = drain.Counts()
    counts.add(b"a 200 0.005\na 200 0.006\na 200 61.000\n 000 0.000\na 101 900.000\nbroken\na x 1\na 999 0.000\n")
    counts.add(b"a 200 0.005\n")
    taken = counts.take()
    assert taken["a"][0] == [1, 4, 0, 0, 1]
    assert taken["a"][1] == [3, 1, *[0] * 10, 1]
    assert taken["a"][2] == pytest.approx(61.016)
    assert taken[""][0] == [1, 0, 0, 0, 0]
    assert counts.take() == {}
    counts.give_back(taken)
    assert counts.take() == taken
