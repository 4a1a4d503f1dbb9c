"""How one node grows from 100 to 100,000 Pods; docs/scale.md has the figures and the chart of one machine.

`make bench ARGS="-k growth --rewrite"` draws the chart anew.
"""

import sys
from pathlib import Path

import pytest
from growth import Growth, measure
from growth_chart import Panel, draw
from pytest_benchmark.fixture import BenchmarkFixture
from support.pages import DOCS

SIZES = (100, 1_000, 10_000, 50_000, 100_000)
CHART = DOCS / "assets/one-node.svg"
_COLUMNS = {
    "Pods": lambda one: f"{one.pods:,}",
    "paths": lambda one: f"{one.paths:,}",
    "tick": lambda one: f"{1000 * one.tick:.1f} ms",
    "render": lambda one: f"{1000 * one.render:.1f} ms",
    "from nothing": lambda one: f"{one.first:.2f} s",
    "test": lambda one: f"{one.test:.2f} s",
    "reload": lambda one: f"{one.reload:.2f} s",
    "dispatcher": lambda one: f"{one.dispatcher:.0f} MB",
    "nginx": lambda one: f"{one.nginx:.0f} MB",
    "during a reload": lambda one: f"{one.nginx_at_most:.0f} MB",
}


def write_table(grown: list[Growth]) -> str:
    """Write the figures as a table of Markdown."""
    rows = [list(_COLUMNS), ["---"] * len(_COLUMNS), *([write(one) for write in _COLUMNS.values()] for one in grown)]
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def draw_chart(grown: list[Growth]) -> str:
    """Draw seconds and memory against Pods."""
    times = {name: [(one.pods, getattr(one, name)) for one in grown] for name in ("reload", "test", "tick", "render")}
    memory = {
        "nginx, during a reload": [(one.pods, one.nginx_at_most) for one in grown],
        "nginx": [(one.pods, one.nginx) for one in grown],
        "dispatcher": [(one.pods, one.dispatcher) for one in grown],
    }
    panels = [Panel("Time", (-4, 2), "s", times), Panel("Memory", (1, 4), "MB", memory)]
    return draw(panels, "Time and memory of one node against its Pods", "Pods")


def test_growth(
    benchmark: BenchmarkFixture, tmp_path: Path, capsys: pytest.CaptureFixture[str], request: pytest.FixtureRequest
) -> None:
    """Measure all sizes."""

    def measure_all() -> list[Growth]:
        folders = [tmp_path / str(pods) for pods in SIZES]
        for folder in folders:
            folder.mkdir()
        return [measure(pods, folder) for pods, folder in zip(SIZES, folders, strict=True)]

    grown = benchmark.pedantic(measure_all, rounds=1)
    with capsys.disabled():
        sys.stdout.write(f"\n\n{write_table(grown)}\n\n")
    if request.config.getoption("--rewrite"):
        CHART.write_text(draw_chart(grown))
