"""Families of metrics that are read when somebody asks: each with its values, under the program's prefix."""

from collections.abc import Mapping

from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, Metric


def make_gauge(name: str, text: str, value: float) -> Metric:
    """Make a gauge without labels."""
    return GaugeMetricFamily(f"dispatcher_{name}", text, value)


def make_gauges(name: str, text: str, label: str, values: Mapping[str, float]) -> Metric:
    """Make a gauge with one label, and the value of each of its texts."""
    return _fill(GaugeMetricFamily(f"dispatcher_{name}", text, labels=(label,)), values)


def make_counters(name: str, text: str, label: str, values: Mapping[str, float]) -> Metric:
    """Make a counter with one label that another process counts, and the value of each of its texts."""
    return _fill(CounterMetricFamily(f"dispatcher_{name}", text, labels=(label,)), values)


def _fill(family: GaugeMetricFamily | CounterMetricFamily, values: Mapping[str, float]) -> Metric:
    for key, value in values.items():
        family.add_metric((key,), value)
    return family
