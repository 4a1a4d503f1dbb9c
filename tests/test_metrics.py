"""Metrics: what is exported is what docs/metrics.md lists, and it is true of a running router."""

import os
import signal
from collections.abc import Callable

import httpx
import msgspec
import pytest
from prometheus_client.metrics_core import Metric
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_open
from prometheus_client.parser import text_string_to_metric_families as parse
from support import faults
from support.apiserver import ApiServer
from support.authority import Authority
from support.lua_nginx import explain_missing
from support.metrics_table import read_table
from support.objects import namespace, secret, tls, web
from support.router import Router
from support.running_daemon import RunningDaemon

from reconciler.loop import events
from reconciler.loop.cycle import Cycle
from reconciler.loop.events import Event
from reconciler.objects.snapshot import NOTHING
from reconciler.rendering.endpoints import STATE_FILE
from reconciler.routing.model import NO_ROUTES, RoutingTable, Size
from reconciler.status.figures import Connections, Figures, Standing
from reconciler.status.metrics import Gauges, Metrics
from reconciler.status.state import State
from reconciler.values.files import File

Start = Callable[..., RunningDaemon]
Samples = dict[tuple[str, frozenset[tuple[str, str]]], float]


def read_samples(text: str) -> Samples:
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in parse(text)
        for sample in family.samples
    }


def scrape(daemon: RunningDaemon) -> Samples:
    """Read the metrics; none while the admin port does not answer yet."""
    try:
        return read_samples(httpx.get(f"http://127.0.0.1:{daemon.admin_port}/metrics").text)
    except httpx.ConnectError:
        return {}


def one(samples: Samples, name: str, **labels: str) -> float:
    """Give a sample's value; 0 if there is none."""
    return samples.get((f"dispatcher_{name}", frozenset(labels.items())), 0.0)


def describe(families: list[Metric]) -> dict[str, tuple[str, frozenset[str]]]:
    """Give the type and the labels of each metric."""
    exported: dict[str, tuple[str, frozenset[str]]] = {}
    for family in families:
        if not family.name.startswith("dispatcher_") or family.name.endswith("_created"):
            continue
        name = f"{family.name}_total" if family.type == "counter" else family.name
        labels = {label for sample in family.samples for label in sample.labels} - {"le"}
        exported[name] = (family.type, frozenset(labels) | exported.get(name, ("", frozenset()))[1])
    return exported


def test_table(server: ApiServer, launch: Start, authority: Authority, port: int) -> None:
    """The table lists every metric of a running router with its type and labels, and no other."""
    certificate, key = authority.issue("a.dev")
    server.load([namespace("a", {"a.dev": tls()}), web("a", port), secret("a", ssl_crt=certificate, ssl_key=key)])
    server.put(web("a", port, 3, path="no slash"))
    daemon = launch(**default_pair(authority), EVENTS="on", REQUEST_METRICS="on")
    daemon.wait_for_line("applied")
    daemon.wait_for(lambda: one(scrape(daemon), "ticks_total", outcome="idle"))
    daemon.ask("a.dev")
    daemon.wait_for(lambda: one(scrape(daemon), "events_total", outcome="created"))
    daemon.wait_for(lambda: any(name == "dispatcher_requests_total" for name, _ in scrape(daemon)))
    answer = httpx.get(f"http://127.0.0.1:{daemon.admin_port}/metrics")
    seen = events.PublisherSeen(5.0, 5.0, old=False)
    publishing = write(seen, events.Elected(), events.Published("ab", 3, 1, 10, 30))
    changed = events.EndpointsChanged("a", 1, (("post", 0.1),))  # the daemon's nginx may have no Lua
    moving = write(RUNS, events.EndpointsChosen("lua"), changed, look=lambda: FIGURES)
    families = [family for text in (publishing, moving, answer.text) for family in parse(text)]
    exported = describe(families)
    assert exported == read_table()
    assert all(family.documentation.endswith(".") for family in families if family.name in exported)


def default_pair(authority: Authority) -> dict[str, str]:
    certificate, key = authority.default
    return {"SSL_CERT": str(certificate), "SSL_KEY": str(key)}


def test_a_running_router(server: ApiServer, launch: Start, port: int) -> None:
    """The metrics follow what happens: cycles, releases, problems, answers of the API server, nginx."""
    server.load([namespace("a", {"a.dev": {}}), web("a", port), secret("a", api_key="open sesame")])
    daemon = launch()
    daemon.wait_for(lambda: one(scrape(daemon), "ticks_total", outcome="idle"))
    samples = scrape(daemon)
    assert one(samples, "ticks_total", outcome="applied") == one(samples, "releases_total") == 1
    assert one(samples, "reloads_total") == 2, "the default servers, and the first release"
    assert [one(samples, "objects", kind=kind) for kind in ("Namespace", "Pod", "Secret")] == [1, 1, 1]
    assert (one(samples, "hosts"), one(samples, "pods"), one(samples, "upstreams")) == (1, 1, 1)
    for phase in ("read", "plan", "render", "apply"):
        assert one(samples, "tick_phase_duration_seconds_count", phase=phase) >= 1
        assert 0 < one(samples, "tick_phase_duration_seconds_sum", phase=phase) < 60
    for phase in ("write", "test", "load"):
        assert one(samples, "reload_phase_duration_seconds_count", phase=phase) == 2
    assert one(samples, "api_requests_total", resource="pods", code="200") >= 2
    assert one(samples, "api_received_bytes_total", resource="pods") > 1000
    assert one(samples, "nginx_starts_total") == 1
    assert one(samples, "nginx_workers", state="serving") >= 1
    assert one(samples, "nginx_memory_bytes") > 1_000_000
    assert one(samples, "nginx_connections", state="writing") == 1, "the request for these numbers"
    server.put(web("a", port, 3, path="no slash"))
    daemon.wait_for(lambda: one(scrape(daemon), "problems", reason="InvalidAnnotation") == 1)
    read = one(scrape(daemon), "last_read_timestamp_seconds")
    server.fail(faults.HTML)
    daemon.wait_for(lambda: one(scrape(daemon), "ticks_total", outcome="failed"))
    server.mend()
    daemon.wait_for(lambda: one(scrape(daemon), "last_read_timestamp_seconds") > read)
    assert daemon.end() == 0


def test_formats(server: ApiServer, launch: Start) -> None:
    """Prometheus gets OpenMetrics if it asks for it, with types that its parser accepts."""
    daemon = launch()
    daemon.wait_for_line("applied")
    url = f"http://127.0.0.1:{daemon.admin_port}/metrics"
    answer = httpx.get(url, headers={"Accept": "application/openmetrics-text; version=1.0.0"})
    assert answer.headers["Content-Type"].startswith("application/openmetrics-text")
    assert "dispatcher_ticks" in {family.name for family in parse_open(answer.text)}
    assert httpx.get(url).headers["Content-Type"].startswith("text/plain")


RUNS = events.NginxStarted("a", again=False)
FIGURES = Figures(2, 1, 5, Connections(6, 1, 2, 3), Standing(7, 8, unknown=3, empty=2, errors=1, free=4096))


@pytest.fixture
def _needs_lua(nginx_binary: str) -> None:
    if missing := explain_missing(nginx_binary):
        pytest.skip(missing)


@pytest.mark.usefixtures("_needs_lua")
def test_pods_without_a_reload(server: ApiServer, launch: Start, port: int) -> None:
    """A change of Pods without a reload is no release and no reload; nginx tells its version, room and failures."""
    server.load([namespace("a", {"a.dev": {}}), web("a", port)])
    server.put(web("a", port, 4, "/hash", loadBalancing="least_conn"))
    daemon = launch(ENDPOINTS="lua")
    daemon.wait_for(lambda: one(scrape(daemon), "pods") == 2)
    before = scrape(daemon)
    assert (one(before, "endpoints_without_reload"), one(before, "endpoints_changes_total")) == (1, 0)
    assert [one(before, "endpoints_paths", by=by) for by in ("lua", "reload")] == [1, 1]
    server.put(web("a", port, 3))
    daemon.wait_for(lambda: one(scrape(daemon), "pods") == 3)
    after = scrape(daemon)
    assert (one(after, "endpoints_changes_total"), one(after, "ticks_total", outcome="applied")) == (1, 2)
    for name in ("releases_total", "reloads_total"):
        assert one(after, name) == one(before, name), name
    for phase in ("post", "write"):
        assert one(after, "endpoints_change_phase_duration_seconds_count", phase=phase) == 1
    # What nginx says is up to a second old.
    daemon.wait_for(lambda: one(scrape(daemon), "endpoints_version") > one(before, "endpoints_version"))
    assert one(after, "endpoints_free_bytes") > 1_000_000
    failed = {labels: value for (name, labels), value in after.items() if "failed_requests_total" in name}
    assert (len(failed), sum(failed.values())) == (3, 0)
    assert daemon.end() == 0


@pytest.mark.usefixtures("_needs_lua")
def test_an_nginx_that_hangs(router: Callable[..., Router], port: int) -> None:
    """An nginx that does not answer tells neither its connections nor its Pods; who asks gets the other figures."""
    serving = router(ENDPOINTS="lua")
    serving.serve(namespace("a", {"a.dev": {}}), web("a", port))
    assert serving.nginx.read_figures().standing
    workers = serving.workers()
    for worker in workers:
        os.kill(worker, signal.SIGSTOP)
    try:
        figures = serving.nginx.read_figures()
    finally:
        for worker in workers:
            os.kill(worker, signal.SIGCONT)
    assert (figures.serving, figures.connections, figures.standing) == (len(workers), None, None)


def test_pods_with_a_reload(router: Callable[..., Router], port: int) -> None:
    """Where each change of Pods reloads nginx, it tells nothing of Pods, and all paths are with a reload."""
    serving = router(ENDPOINTS="reload")
    cycle = serving.serve(namespace("a", {"a.dev": {}}), web("a", port))
    figures = serving.nginx.read_figures()
    assert figures.standing is None
    told = (events.EndpointsChosen("reload", "no module"), RUNS, events.Applied(cycle, None))
    samples = read_samples(write(*told, look=lambda: figures))
    assert ("dispatcher_endpoints_version", frozenset()) not in samples
    assert one(samples, "endpoints_without_reload") == 0
    assert [one(samples, "endpoints_paths", by=by) for by in ("lua", "reload")] == [0, 1]


def test_how_pods_come_and_go() -> None:
    """It is told what is served: after nginx did not take Pods, a reload, until a release with Lua is served again."""
    lua = events.EndpointsChosen("lua")
    static = Cycle(NOTHING, (), RoutingTable(NO_ROUTES, (), 0.0), {}, "b", applied=True, size=Size(0, 0))
    moving = msgspec.structs.replace(static, files={STATE_FILE: File(b"")}, release="a")
    told = [lua, RUNS, events.Applied(moving, None)]
    samples = count(*told)
    assert one(samples, "endpoints_without_reload") == 1
    failed = [one(samples, "endpoints_failed_requests_total", why=why) for why in ("unknown", "empty", "error")]
    assert failed == [3, 2, 1]
    assert (one(samples, "endpoints_version"), one(samples, "endpoints_free_bytes")) == (7, 4096)
    told += [events.EndpointsRefused("it is full"), events.Applied(static, moving)]
    samples = count(*told)
    assert (one(samples, "endpoints_without_reload"), one(samples, "endpoints_refused_total")) == (0, 1)
    assert one(samples, "releases_total") == 2
    assert one(count(*told, events.Applied(moving, static)), "endpoints_without_reload") == 1
    assert not any("endpoints_without" in name for name, _ in read_samples(write()))


def write(*told: Event, look: Callable[[], Figures] | None = None) -> str:
    """Write the metrics after some events; without `look` no nginx belongs to them."""
    state = State()
    metrics = Metrics()
    metrics.add(Gauges(state, look, "1.26.3"))
    for event in told:
        state.observe(event)
        metrics.observe(event)
    return metrics.write("")[0].decode()


def count(*told: Event) -> Samples:
    return read_samples(write(*told, look=lambda: FIGURES))


def test_publishers() -> None:
    """A publisher that publishes tells what; one that stands by tells nothing of what it read or published before."""
    told = (events.Elected(), events.Published("ab", 3, 1, 10, 30), events.Published("cd", 4, 2, 15, 40))
    leads = read_samples(write(*told))
    assert one(leads, "publisher_leads") == 1
    assert (one(leads, "publications_total"), one(leads, "published_written_bytes_total")) == (2, 25)
    assert (one(leads, "published_shards"), one(leads, "published_bytes")) == (4, 40)
    assert ("dispatcher_hosts", frozenset()) in leads
    stands_by = read_samples(write(*told, events.StoodBy("other")))
    gauges = {name for name, _ in stands_by if not name.endswith(("_total", "_created", "_count", "_sum", "_bucket"))}
    assert {name for name in gauges if name.startswith("dispatcher_")} == {
        "dispatcher_build_info", "dispatcher_publisher_leads",
    }  # fmt: skip
    assert one(stands_by, "publisher_leads") == 0
    assert not any(name in ("dispatcher_nginx_workers", "dispatcher_nginx_connections") for name, _ in leads)


def test_routers_that_read_what_is_published() -> None:
    """Such a router tells when a publisher confirmed what it serves, and whether it reads the cluster itself."""
    never = count(events.PublisherSeen(None, 5.0, old=True, alone=True))
    assert (one(never, "published_confirmed_timestamp_seconds"), one(never, "published_fallback")) == (0, 1)
    seen = count(events.PublisherSeen(1234.0, 1234.0, old=False))
    assert (one(seen, "published_confirmed_timestamp_seconds"), one(seen, "published_fallback")) == (1234, 0)
    assert not any("publish" in name and "total" not in name and "created" not in name for name, _ in count())


def test_what_events_count() -> None:
    """Each event counts once; a request without an answer has the code none."""
    samples = count(
        events.RolledBack("b", "a"), events.Answered("pods", 0, 0), events.Answered("pods", 200, 7),
        events.Failed("source", "x"), events.NginxStarted("a", again=False), events.Started("0.1", {}, "x"),
    )  # fmt: skip
    assert one(samples, "rollbacks_total") == 1
    assert one(samples, "api_requests_total", resource="pods", code="none") == 1
    assert one(samples, "api_received_bytes_total", resource="pods") == 7
    assert [one(samples, "ticks_total", outcome=each) for each in ("applied", "idle", "failed")] == [0, 0, 1]
    assert one(samples, "nginx_connections", state="waiting") == 3
    assert one(samples, "nginx_workers", state="leaving") == 1
    (build,) = (dict(labels) for name, labels in samples if name == "dispatcher_build_info")
    assert (build["version"], build["nginx"]) == ("0.1", "1.26.3")


def test_nothing_is_global() -> None:
    """Two routers in one process do not count for each other."""
    assert one(count(events.RolledBack("b", "a")), "rollbacks_total") == 1
    assert one(count(), "rollbacks_total") == 0
