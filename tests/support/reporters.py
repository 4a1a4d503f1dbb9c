"""Reporters of Kubernetes Events under test: real requests to a test API server, at times that the test decides."""

from collections import Counter
from collections.abc import Callable, Iterable
from pathlib import Path
from random import Random

import msgspec
import yaml
from support.apiserver import TOKEN, ApiServer
from support.authority import Authority
from support.objects import Object, listing
from support.stages import build_table, normalise

from reconciler.cluster.connection import Connection
from reconciler.cluster.credentials import find_credentials
from reconciler.cluster.event_writer import EventWriter
from reconciler.cluster.events import EventReporter
from reconciler.loop.cycle import Cycle
from reconciler.loop.events import Applied, Event, Idle, Reported
from reconciler.objects.snapshot import NOTHING
from reconciler.routing.model import NO_ROUTES, RoutingTable, Size
from reconciler.routing.problems import Problem
from reconciler.settings import Settings, read_settings

WALL = 1_797_600_000.0  # the time at which a test begins, in seconds since the epoch
SETTINGS = read_settings({})


def make_connection(folder: Path, server: ApiServer, authority: Authority) -> Connection:
    """Connect to the server with its good token."""
    folder.mkdir(exist_ok=True)
    (folder / "ca.crt").write_bytes(authority.pem)
    config = {
        "clusters": [{"name": "c", "cluster": {"server": server.url, "certificate-authority": "ca.crt"}}],
        "users": [{"name": "u", "user": {"token": TOKEN}}],
        "contexts": [{"name": "x", "context": {"cluster": "c", "user": "u"}}],
        "current-context": "x",
    }
    (folder / "config").write_text(yaml.safe_dump(config))
    credentials = find_credentials({"KUBECONFIG": str(folder / "config")})
    assert credentials
    return Connection(credentials)


def make_cycle(problems: tuple[Problem, ...]) -> Cycle:
    """Make a cycle that found these problems, and nothing else."""
    return Cycle(NOTHING, (), RoutingTable(NO_ROUTES, problems, 0.0), {}, "r", applied=False, size=Size(0, 0))


class TimedReporter:
    """A reporter whose thread is the test: `now` is its monotonic time, `told` what it reported."""

    def __init__(
        self, connection: Connection, seed: int = 1, settings: Settings = SETTINGS, timeout: float = 5
    ) -> None:
        self.reporter = EventReporter(EventWriter(connection, timeout, f"node-{seed}"), Random(seed))
        self.reporter._tell = self._note
        self.connection = connection
        self.settings = settings
        self.now = 1000.0
        self.told: list[Reported] = []

    @property
    def outcomes(self) -> Counter[str]:
        return Counter(one.outcome for one in self.told)

    def read(self, objects: Iterable[Object]) -> None:
        """Let a cycle see these objects."""
        seen = listing(list(objects))
        self.reporter.see(seen)
        snapshot = normalise(seen, self.settings)
        self.reporter.observe(Applied(make_cycle(build_table(snapshot, self.settings, WALL).problems), None))

    def find(self, *problems: Problem) -> None:
        """Let a cycle find these problems, on objects that were read before."""
        self.reporter.observe(Idle(make_cycle(problems), None))

    def turn(self) -> float:
        """Turn once, and give the seconds to wait."""
        return self.reporter.turn(self.now, WALL + self.now - 1000)

    def turn_for(self, seconds: float, until: Callable[[], object] = lambda: False) -> None:
        """Turn until so many seconds have passed, or a condition is true."""
        end = self.now + seconds
        while self.now < end and not until():
            self.now = min(end, self.now + max(0.01, self.turn()))

    def _note(self, event: Event) -> None:
        assert isinstance(event, Reported)
        self.told.append(event)


def read_events(server: ApiServer) -> list[Object]:
    """Read the Events that the server holds, in the order of their names."""
    stored = server.store.present.collections["Event"].objects
    return [msgspec.json.decode(one.item) for _, one in sorted(stored.items())]


def count_writes(server: ApiServer) -> Counter[tuple[str, int | None]]:
    """Count the requests about Events, by method and status."""
    return Counter((one.method, one.status) for one in server.requests if "/events" in one.path)
