"""Metrics for Prometheus: counters and durations that events feed, and gauges that are read when somebody asks."""

import collections
import platform
from collections.abc import Callable, Iterator

from prometheus_client import CollectorRegistry, Counter, Histogram, ProcessCollector
from prometheus_client.exposition import choose_encoder
from prometheus_client.metrics_core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from reconciler.loop import events
from reconciler.loop.events import Event
from reconciler.routing.model import NO_ROUTES, Host
from reconciler.routing.problems import Reason
from reconciler.status.endpoint_gauges import measure_endpoints
from reconciler.status.families import make_gauge, make_gauges
from reconciler.status.figures import Figures
from reconciler.status.state import Seen, State

_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)
_OUTCOMES = ("applied", "idle", "failed")


class Metrics:
    """An observer that counts, and writes all metrics."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        ProcessCollector(registry=self._registry)
        self._ticks = self._count("ticks", "Cycles of the loop", "outcome")
        for outcome in _OUTCOMES:
            self._ticks.labels(outcome)
        self._phases = self._time("tick_phase", "What a cycle spent in each phase")
        self._releases = self._count("releases", "Releases that went live")
        self._reloads = self._count("reloads", "Times that nginx began to serve another release")
        self._reload_phases = self._time("reload_phase", "What each phase of a new release took")
        self._changes = self._count("endpoints_changes", "Changes of Pods that nginx took without a reload")
        self._change_phases = self._time("endpoints_change_phase", "What each phase of a change without a reload took")
        self._refusals = self._count("endpoints_refused", "Times that nginx did not take Pods without a reload")
        self._rollbacks = self._count("rollbacks", "Releases that did not go live, so that the one before is served")
        self._requests = self._count("api_requests", "Requests to the API server", "resource", "code")
        self._received = self._count("api_received_bytes", "Bytes of the API server's answers", "resource")
        self._starts = self._count("nginx_starts", "Starts of nginx")
        self._events = self._count("events", "Writes of Kubernetes Events", "outcome")
        self._publications = self._count("publications", "Snapshots that this publisher published")
        self._written = self._count("published_written_bytes", "Bytes of the shards that this publisher wrote")

    def add(self, collector: Collector) -> None:
        """Show what another collector gives too."""
        self._registry.register(collector)

    def observe(self, event: Event) -> None:
        """Count an event."""
        match event:
            case events.Applied():
                self._ticks.labels("applied").inc()
                if event.is_release:
                    self._releases.inc()
            case events.Idle():
                self._ticks.labels("idle").inc()
            case events.Failed():
                self._ticks.labels("failed").inc()
            case events.Timed():
                _observe_phases(self._phases, event.phases)
            case events.Answered():
                self._requests.labels(event.resource, event.code or "none").inc()
                self._received.labels(event.resource).inc(event.received)
            case events.Reported():
                self._events.labels(event.outcome).inc()
            case events.Published():
                self._publications.inc()
                self._written.inc(event.size)
            case _:
                self._count_nginx(event)

    def _count_nginx(self, event: Event) -> None:
        """Count an event of nginx."""
        match event:
            case events.Reloaded():
                self._reloads.inc()
                _observe_phases(self._reload_phases, event.phases)
            case events.EndpointsChanged():
                self._changes.inc()
                _observe_phases(self._change_phases, event.phases)
            case events.EndpointsRefused():
                self._refusals.inc()
            case events.RolledBack():
                self._rollbacks.inc()
            case events.NginxStarted():
                self._starts.inc()

    def write(self, accept: str) -> tuple[bytes, str]:
        """Write all metrics in the format that the text of an Accept header prefers; give them and their type."""
        try:
            encode, kind = choose_encoder(accept)
        except ValueError:  # a parameter of the header that it does not know
            encode, kind = choose_encoder("")
        return encode(self._registry), kind

    def _count(self, name: str, text: str, *labels: str) -> Counter:
        return Counter(f"dispatcher_{name}", f"{text}.", labels, registry=self._registry)

    def _time(self, name: str, text: str) -> Histogram:
        name = f"dispatcher_{name}_duration_seconds"
        return Histogram(name, f"{text}.", ("phase",), registry=self._registry, buckets=_SECONDS)


def _observe_phases(histogram: Histogram, phases: tuple[tuple[str, float], ...]) -> None:
    for phase, seconds in phases:
        histogram.labels(phase).observe(seconds)


class Gauges(Collector):
    """How things stand when somebody asks. The loop has no part in it. `look` is None where no nginx belongs."""

    def __init__(self, state: State, look: Callable[[], Figures] | None, nginx_version: str) -> None:
        self._state = state
        self._look = look
        self._build = {"python": platform.python_version(), "nginx": nginx_version}

    def collect(self) -> Iterator[Metric]:
        """Give all gauges."""
        seen = self._state.seen
        build = GaugeMetricFamily(
            "dispatcher_build_info", "The versions that run; always 1.", labels=("version", "python", "nginx")
        )
        build.add_metric((seen.version, self._build["python"], self._build["nginx"]), 1)
        yield build
        yield from _measure_publishing(seen)
        if seen.publishing is not False:  # who stands by reads nothing
            yield from _measure_reading(seen)
        if self._look:
            figures = self._look() if seen.running else Figures()
            yield from _measure_nginx(figures)
            yield from measure_endpoints(seen, figures.standing)


def _measure_publishing(seen: Seen) -> Iterator[Metric]:
    """Give the gauges of a publisher, or of a router that reads what is published."""
    if seen.publisher:
        text = "When a publisher last confirmed what is published, in seconds since the epoch; 0 if never."
        yield make_gauge("published_confirmed_timestamp_seconds", text, seen.publisher.confirmed or 0.0)
        yield make_gauge("published_fallback", "Whether this router lists the cluster itself.", seen.publisher.alone)
    if seen.publishing is not None:
        yield make_gauge("publisher_leads", "Whether this publisher publishes; others stand by.", seen.publishing)
    if seen.publishing and seen.published:
        yield make_gauge("published_shards", "Shards of the Snapshot that is published.", seen.published.shards)
        yield make_gauge("published_bytes", "Bytes of these shards.", seen.published.total)


def _measure_reading(seen: Seen) -> Iterator[Metric]:
    """Give the gauges of what was read last, and what routing makes of it."""
    if seen.read is not None:
        text = "When the source was read last, in seconds since the epoch."
        yield make_gauge("last_read_timestamp_seconds", text, seen.read)
    yield from _measure_routes(seen)
    yield from _measure_problems(seen)
    yield _list_expiry(seen)


def _measure_routes(seen: Seen) -> Iterator[Metric]:
    namespaces = seen.cycle.snapshot.namespaces if seen.cycle else ()
    routes = seen.cycle.table.routes if seen.cycle else NO_ROUTES
    objects = {
        "Namespace": len(namespaces),
        "Pod": sum(len(namespace.pods) for namespace in namespaces),
        "Secret": sum(namespace.secret is not None for namespace in namespaces),
    }
    yield make_gauges("objects", "Objects of the cluster that routing reads.", "kind", objects)
    yield make_gauge("hosts", "Hosts that are served.", seen.size.hosts)
    yield make_gauge("pods", "Pods that requests can reach.", seen.size.pods)
    yield make_gauge("locations", "Locations of nginx.", sum(len(host.locations) for host in routes.hosts))
    yield make_gauge("upstreams", "Upstreams: the paths of each Namespace.", len(routes.upstreams))


def _measure_problems(seen: Seen) -> Iterator[Metric]:
    numbers = collections.Counter(problem.reason for problem in seen.standing)
    reasons = {reason.value: numbers[reason] for reason in Reason}
    yield make_gauges("problems", "What is left out or cannot work as it is.", "reason", reasons)
    held = len(seen.cycle.held) if seen.cycle else 0
    yield make_gauge("namespaces_held", "Namespaces whose change waits; their last good state is served.", held)


def _list_expiry(seen: Seen) -> Metric:
    hosts = seen.cycle.table.routes.hosts if seen.cycle else ()
    ends = {host.name: end for host in hosts if (end := _find_end(host)) is not None}
    text = "When the first of a host's certificates expires, in seconds since the epoch."
    return make_gauges("certificate_expiry_timestamp_seconds", text, "host", ends)


def _find_end(host: Host) -> float | None:
    chains = [chain for chain in (host.tls.chain, host.tls.client) if chain] if host.tls else []
    return min((chain.not_after for chain in chains), default=None)


def _measure_nginx(figures: Figures) -> Iterator[Metric]:
    workers = {"serving": figures.serving, "leaving": figures.leaving}
    yield make_gauges(
        "nginx_workers", "Workers of nginx; those that are leaving finish their requests.", "state", workers
    )
    if figures.memory is not None:
        yield make_gauge(
            "nginx_memory_bytes", "Memory of nginx; what its processes share is counted once.", figures.memory
        )
    if found := figures.connections:
        states = {"reading": found.reading, "writing": found.writing, "waiting": found.waiting}
        yield make_gauges("nginx_connections", "Connections of clients to nginx.", "state", states)
