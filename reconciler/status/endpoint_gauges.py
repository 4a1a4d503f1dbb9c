"""Metrics of how Pods come and go in nginx: with or without a reload, and what nginx says of those that it has."""

from collections.abc import Iterator

from prometheus_client.metrics_core import Metric

from reconciler.routing.model import NO_ROUTES
from reconciler.routing.own_upstreams import find_own_upstreams
from reconciler.status.families import make_counters, make_gauge, make_gauges
from reconciler.status.figures import Standing
from reconciler.status.state import Seen


def measure_endpoints(seen: Seen, standing: Standing | None) -> Iterator[Metric]:
    """Give the metrics of a router; none where no nginx belongs. `standing` is None if nginx tells nothing of Pods."""
    if seen.without_reload is None:
        return
    text = "Whether Pods come and go in nginx without a reload."
    yield make_gauge("endpoints_without_reload", text, seen.without_reload)
    yield _count_paths(seen)
    if standing:
        yield from _measure_standing(standing)


def _count_paths(seen: Seen) -> Metric:
    """Count the paths of all Namespaces by how their Pods come and go."""
    routes = seen.cycle.table.routes if seen.cycle else NO_ROUTES
    paths = len(routes.upstreams)
    reloading = len(find_own_upstreams(routes)) if seen.without_reload else paths
    text = "Paths of Namespaces by how their Pods come and go."
    return make_gauges("endpoints_paths", text, "by", {"lua": paths - reloading, "reload": reloading})


def _measure_standing(standing: Standing) -> Iterator[Metric]:
    failed = {"unknown": standing.unknown, "empty": standing.empty, "error": standing.errors}
    text = "Requests for which nginx found no Pod: 500 if the path's Pods are unknown or after an error, 503 if empty."
    yield make_counters("endpoints_failed_requests", text, "why", failed)
    yield make_gauge("endpoints_version", "The version of the Pods that nginx serves.", standing.version)
    yield make_gauge("endpoints_free_bytes", "Free memory for Pods in nginx, in whole pages.", standing.free)
