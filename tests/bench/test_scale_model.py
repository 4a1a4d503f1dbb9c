"""What fleets of routers cost, by what one router's looks take; docs/scale.md has the figures of one machine.

With --rewrite the chart of docs/assets is drawn anew.
"""

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from statistics import median

import pytest
from costs import Load, OneRouter, add_direct, add_published
from growth_chart import Panel, draw
from looks import Look, Router
from pytest_benchmark.fixture import BenchmarkFixture
from readers import Plan
from support.pages import DOCS
from support.publishers import OnePublisher
from trial import Site

from reconciler.cluster.connection import Connection
from reconciler.cluster.credentials import find_credentials

SIZES, FLEETS = (1_000, 10_000, 50_000), (10, 100, 1_000)
CHURN = {"nothing": 0, "one Pod": 1, "100 Namespaces": 100}  # how many Namespaces change in each interval
CHART = DOCS / "assets/fleet.svg"
_ROUNDS = 9
_DRAWN = (10, 30, 100, 300, 1_000)

Tell = Callable[[str], None]
Costs = dict[tuple[str, str], OneRouter]


class Scene:
    """One router of each kind, and a publisher that publishes when it is told to."""

    def __init__(self, site: Site, stack: ExitStack) -> None:
        self._site = site
        credentials = find_credentials({"KUBECONFIG": str(site.prepare("publisher").config)})
        assert credentials
        connection = Connection(credentials)
        stack.callback(connection.close)
        self._publisher = OnePublisher(connection, "bench", API_TIMEOUT="60")
        self._publisher.turn()
        self.routers = {
            reads: stack.enter_context(Router(Plan(str(site.prepare(role).config), reads)))
            for reads, role in (("cluster", "reader"), ("published", "router"))
        }

    def measure(self, namespaces: int) -> dict[str, Look]:
        """Change one Pod in each of this number of Namespaces, publish that, and let each router look."""
        for number in range(min(namespaces, self._site.churn.namespaces)):
            self._site.churn.change(number)
        direct = self.routers["cluster"].look()
        self._publisher.turn()
        looks = {"cluster": direct, "published": self.routers["published"].look()}
        # What a publisher writes is Secrets, too: without one, a router would not have to list these again.
        self.routers["cluster"].look()
        assert {one.digest for one in looks.values()} == {self._site.churn.digest}
        return looks


def measure_routers(folder: Path, pods: int) -> Costs:
    """Measure what looks of one router take, for each churn and each source, in clusters of this number of Pods."""
    costs: Costs = {}
    with Site(folder, pods) as site, ExitStack() as stack:
        scene = Scene(site, stack)
        scene.measure(0)
        for churn, namespaces in CHURN.items():
            rounds = [scene.measure(namespaces) for _ in range(_ROUNDS)]
            for reads in scene.routers:
                costs[reads, churn] = join([looks[reads] for looks in rounds])
    return costs


def join(looks: Sequence[Look]) -> OneRouter:
    """Give the medians of looks, and the peak of their memory. Few of them have a look at the Lease."""
    names = ("requests", "wire", "processor")
    return OneRouter(*(median(getattr(look, name) for look in looks) for name in names), max(one.peak for one in looks))


def add(reads: str, costs: Costs, churn: str, routers: int, pods: int) -> Load:
    """Give the load of a fleet."""
    direct, changed = costs["cluster", churn], churn != "nothing"
    if reads == "cluster":
        return add_direct(direct, routers, pods, changed)
    return add_published(costs["published", churn], direct, routers, pods, changed)


def write_router(pods: int, churn: str, costs: Costs) -> str:
    """Write what one router's look takes, as a row of a table; its processor time is that of a second."""
    cells = [f"{pods:,}", churn]
    for one in (costs["cluster", churn], costs["published", churn]):
        cells += [f"{one.requests:.0f}", write_bytes(one.wire), f"{500 * one.processor:.1f} ms", f"{one.peak:.0f} MB"]
    return f"| {' | '.join(cells)} |"


def write_fleet(routers: int, pods: int, churn: str, costs: Costs) -> str:
    """Write what a fleet asks of the API server, as a row of a table."""
    cells = [f"{routers:,}", f"{pods:,}", churn]
    for load in (add(reads, costs, churn, routers, pods) for reads in ("cluster", "published")):
        cells += [f"{load.requests:,.0f}", write_bytes(load.wire), write_cores(load.cores)]
    return f"| {' | '.join(cells)} |"


def write_bytes(count: float) -> str:
    """Write a number of bytes for people."""
    for unit, size in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if count >= size:
            return f"{count / size:.{1 if count < 10 * size else 0}f} {unit}"
    return f"{count:.0f} B"


def write_cores(cores: float) -> str:
    """Write a number of cores for people."""
    return f"{cores:,.0f}" if cores >= 10 else f"{cores:.1f}" if cores >= 1 else f"{cores:.2f}"


def draw_fleets(measured: dict[int, Costs]) -> str:
    """Draw the API server's cores against the number of routers, and against Pods."""
    lines = {
        "direct, one Pod changes": ("cluster", "one Pod"),
        "published, 100 Namespaces change": ("published", "100 Namespaces"),
        "published, one Pod changes": ("published", "one Pod"),
        "published, nothing changes": ("published", "nothing"),
    }
    return draw(
        [
            Panel(f"Cores of an API server with {pods:,} Pods", (-3, 5), "", {
                name: [(routers, add(reads, costs, churn, routers, pods).cores) for routers in _DRAWN]
                for name, (reads, churn) in lines.items()
            })
            for pods, costs in measured.items()
            if pods > min(measured)
        ],
        "Processor time that a fleet asks of the API server, against its routers", "routers",
    )  # fmt: skip


def test_model(benchmark: BenchmarkFixture, tmp_path: Path, tell: Tell, request: pytest.FixtureRequest) -> None:
    """Measure one router's looks, and tell what fleets of them ask of an API server."""
    measured: dict[int, Costs] = {}

    def measure() -> None:
        for pods in SIZES:
            folder = tmp_path / str(pods)
            folder.mkdir()
            measured[pods] = measure_routers(folder, pods)

    benchmark.pedantic(measure, rounds=1)
    rows = [write_router(pods, churn, costs) for pods, costs in measured.items() for churn in CHURN]
    for routers in FLEETS:
        rows += [write_fleet(routers, pods, churn, costs) for pods, costs in measured.items() for churn in CHURN]
    for row in rows:
        tell(row)
    if request.config.getoption("--rewrite"):
        CHART.write_text(draw_fleets(measured))
