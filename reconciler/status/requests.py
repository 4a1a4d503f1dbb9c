"""Requests, as metrics: how many nginx answered for each Namespace, by class of status, and how long they took."""

import threading
from collections.abc import Iterable, Iterator
from itertools import accumulate

from prometheus_client.core import CounterMetricFamily, HistogramMetricFamily, Metric

from reconciler.loop import events
from reconciler.loop.events import Event, Tally

# Upper bounds of the buckets, in seconds: those of nginx/drain.py, which counts.
BOUNDS = ("0.005", "0.01", "0.025", "0.05", "0.1", "0.25", "0.5", "1.0", "2.5", "5.0", "10.0", "60.0", "+Inf")
_CLASSES = ("1xx", "2xx", "3xx", "4xx", "5xx")


class Requests:
    """An observer that adds up requests, and a collector of prometheus-client.

    A Namespace that is no longer routed is forgotten: else clusters with short-lived Namespaces would fill the memory.
    Requests that no path took have the Namespace "".
    """

    def __init__(self) -> None:
        self._tallies: dict[str, Tally] = {}
        self._turn = threading.Lock()

    def observe(self, event: Event) -> None:
        """Add what an event counts."""
        match event:
            case events.RequestsCounted():
                with self._turn:
                    for namespace, tally in event.tallies.items():
                        before = self._tallies.get(namespace)
                        self._tallies[namespace] = _add(before, tally) if before else tally
            case events.Applied():
                routed = {location.namespace for host in event.cycle.table.routes.hosts for location in host.locations}
                routed |= {host.namespace for host in event.cycle.table.routes.hosts}
                with self._turn:
                    for namespace in self._tallies.keys() - routed - {""}:
                        del self._tallies[namespace]

    def collect(self) -> Iterator[Metric]:
        """Give the metrics as prometheus-client asks for them at each scrape."""
        with self._turn:
            tallies = sorted(self._tallies.items())
        total = CounterMetricFamily(
            "dispatcher_requests", "Requests that nginx answered, by class of status.", labels=("namespace", "status")
        )
        duration = HistogramMetricFamily(
            "dispatcher_request_duration_seconds",
            "Seconds from a request's first byte until its answer was sent, without WebSockets.",
            labels=("namespace",),
        )
        for namespace, tally in tallies:
            for status, number in zip(_CLASSES, tally.classes, strict=True):
                total.add_metric((namespace, status), number)
            buckets = list(zip(BOUNDS, accumulate(tally.buckets), strict=True))
            duration.add_metric((namespace,), buckets, tally.seconds)
        yield total
        yield duration


def _add(one: Tally, other: Tally) -> Tally:
    return Tally(_sum(one.classes, other.classes), _sum(one.buckets, other.buckets), one.seconds + other.seconds)


def _sum(one: Iterable[int], other: Iterable[int]) -> tuple[int, ...]:
    return tuple(map(sum, zip(one, other, strict=True)))
