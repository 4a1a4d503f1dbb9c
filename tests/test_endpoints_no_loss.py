"""No request is lost while Pods come and go without a reload: a real router, under live traffic of all kinds."""

import http.client
import json
import random
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field

import psutil
import pytest
from support.authority import Authority
from support.backends import Backends
from support.checking_clients import Escaped, Keyed, Posts
from support.clients import (
    Client,
    Download,
    Http2,
    KeptConnection,
    NewConnections,
    RetryingConnection,
    Upload,
    WebSocket,
    busy,
)
from support.mirrors import Mirrors
from support.objects import Object, namespace, pod, secret, tls
from support.pods import LATER
from support.ports import free_port, loopback, silent_address
from support.router import Answer, Router
from support.running_daemon import wait_until

from reconciler.loop.events import EndpointsChanged, Reloaded

Start = Callable[..., Router]
Place = tuple[str, int]
CHANGES = 2000
KEEPS_IDLE_CONNECTIONS = (1, 27, 4)
LUA = {"ENDPOINTS": "lua", "MAX_ENDPOINT_CHANGES_PER_NAMESPACE": "0"}
# "/" and below is served by Pods with long requests: they may leave the paths, but do not end.
SHORT = ("/caf%C3%A9", "/posts", "/short", "/keyed")

pytestmark = pytest.mark.usefixtures("has_lua")


@pytest.fixture
def mirrors() -> Iterator[Mirrors]:
    """Run Pods that can end."""
    with Mirrors() as running:
        yield running


@dataclass
class Crowd:
    """Pods that come and go: some that stay up, and mirrors that end two changes after they left all paths."""

    long: list[Place]
    short: list[Place]
    mirrors: Mirrors
    dice: random.Random = field(default_factory=lambda: random.Random(14))
    up: set[Place] = field(default_factory=set)
    former: set[Place] = field(default_factory=set)

    def move(self, serve: Callable[..., object], *others: Object) -> None:
        """Draw other Pods for each path, start those that are new, serve all, and end those that left before."""
        drawn = {path: self._draw(self.short) for path in SHORT} | {"/": self._draw(self.long)}
        wanted = {place for path in SHORT for place in drawn[path]}
        for place in sorted(wanted - self.up):
            self.mirrors.listen(*place)
        self.up |= wanted
        serve(*others, *self._make_pods(drawn))
        for place in self.up - wanted - self.former:
            self.mirrors.leave(*place)
        self.up &= wanted | self.former
        self.former = wanted

    def _draw(self, places: list[Place]) -> dict[Place, int]:
        """Give some Pods and their weights; a large one makes equal draws unlikely."""
        return {
            place: self.dice.randint(1, 1000) for place in self.dice.sample(places, self.dice.randint(1, len(places)))
        }

    def _make_pods(self, drawn: dict[str, dict[Place, int]]) -> Iterator[Object]:
        for number, (ip, port) in enumerate((*self.long, *self.short)):
            for of, paths in (("a", ("/", *SHORT[:3])), ("keyed", SHORT[3:])):
                entries = [
                    {"basePath": path, "containerPort": port, "weight": drawn[path][ip, port]}
                    for path in paths
                    if (ip, port) in drawn[path]
                ]
                if entries:
                    yield pod(of, f"web-{number}", ip, entries, [{"containerPort": port}])


@pytest.fixture
def crowd(backends: Backends, mirrors: Mirrors) -> Crowd:
    """Give Pods of which none is up yet but those with long requests."""
    port, other = free_port(), free_port()
    long = [(loopback(f"10.244.{place}.50"), port) for place in range(4)]
    for place in long:
        backends.listen(*place)
    return Crowd(long, [(loopback(f"10.244.{place}.51"), other) for place in range(5)], mirrors)


@dataclass
class Scene:
    """A router with the owners of its hosts, and clients of all kinds."""

    here: Router
    owners: list[Object]
    clients: list[Client]

    def serve(self, *objects: Object) -> None:
        """Serve Pods beside the owners."""
        assert self.here.serve(*self.owners, *objects).applied

    def count(self, kind: type[EndpointsChanged | Reloaded]) -> int:
        """Count events of a kind: reloads, or sets of Pods that changed."""
        found = [event for event in self.here.events if isinstance(event, kind)]
        return sum(event.paths if isinstance(event, EndpointsChanged) else 1 for event in found)


@pytest.fixture
def scene(router: Start, authority: Authority) -> Scene:
    """Start a router, and make clients for it."""
    here = router(**LUA)
    certificate, key = authority.issue("secure.dev")
    owners = [
        namespace("a", {"plain.dev": {"sharedWith": ["keyed"]}, "secure.dev": tls()}),
        secret("a", ssl_crt=certificate, ssl_key=key),
        namespace("keyed", {"plain.dev": {}}, created=LATER),
        secret("keyed", api_key="sesame"),
    ]
    plain = (NewConnections, KeptConnection, RetryingConnection, WebSocket, Download, Upload, Posts, Escaped, Keyed)
    secure = [Http2(here.ssl_port, "secure.dev", authority.trust()) for _ in "12"]
    return Scene(here, owners, [*(kind(here.port, "plain.dev") for kind in plain), *secure])


def find_failures(clients: list[Client]) -> dict[str, list[str]]:
    """Give the failures of each kind of client that has any."""
    assert all(one.sent > 10 for one in clients), {type(one).__name__: one.sent for one in clients}
    return {type(one).__name__: one.failures[:5] for one in clients if one.failures}


def test_changes_of_pods(scene: Scene, crowd: Crowd, backends: Backends) -> None:
    """Pods of five paths change 2,000 times and more, and really end: nothing is lost, and nginx is not reloaded."""
    crowd.move(scene.serve)
    workers, reloads = scene.here.workers(), scene.count(Reloaded)
    with busy(scene.clients, backends):
        while scene.count(EndpointsChanged) < CHANGES:
            crowd.move(scene.serve)
    assert find_failures(scene.clients) == {}
    assert (scene.here.workers(), scene.count(Reloaded)) == (workers, reloads)


def test_reloads_amid_changes(scene: Scene, crowd: Crowd, backends: Backends) -> None:
    """Hosts and paths that come and go amid changes of Pods lose nothing, but what any reload of this nginx loses."""
    crowd.move(scene.serve)
    ip, port = crowd.long[0]
    guest = pod("b", "web-0", ip, [{"basePath": "/", "containerPort": port}], [{"containerPort": port}])
    owners = scene.owners
    with busy(scene.clients, backends):
        for turn in range(8):
            for _ in range(12):
                crowd.move(scene.serve)
            scene.owners = [*owners, *([] if turn % 3 == 2 else [namespace("b", {f"b{turn}.dev": {}}), guest])]
            crowd.move(scene.serve)
    failures = find_failures(scene.clients)
    assert (scene.count(Reloaded), scene.count(EndpointsChanged) > 8 * 12 * 4) == (9, True)
    spared = scene.here.settings.nginx_version >= KEEPS_IDLE_CONNECTIONS
    assert {kind: told for kind, told in failures.items() if spared or kind != "KeptConnection"} == {}


@pytest.mark.parametrize("others", [("a",), ("b", "c")], ids=["removed", "replaced"])
def test_pod_on_a_dead_node_goes(router: Start, mirrors: Mirrors, others: tuple[str, ...]) -> None:
    """Of 40 requests that wait for a Pod that does not answer, none is lost when it is removed, or all are replaced."""
    here, number = router(**LUA), free_port()
    places = {name: (loopback(f"10.244.{place}.53"), number) for place, name in enumerate("abc")}
    for place in places.values():
        mirrors.listen(*place)
    with silent_address("10.244.9.53") as silent, ExitStack() as stack:
        wanted = [namespace("a", {"plain.dev": {}}), *(stand(name, places[name]) for name in others)]
        here.serve(wanted[0], stand("a", places["a"]))
        workers = here.workers()
        for _ in range(5):  # nginx waits for two seconds, which a slow machine may need for the change
            here.serve(wanted[0], stand("a", places["a"]), stand("lost", silent, 1_000_000))
            asked = [http.client.HTTPConnection("127.0.0.1", here.port) for _ in range(40)]
            for one in asked:
                stack.callback(one.close)
                one.request("POST", "/", b"x", {"Host": "plain.dev"})
            wait_until(lambda asked=asked: count_connecting(here) == len(asked))
            here.serve(*wanted)
            assert here.ask("plain.dev", "/").status == 200
            in_time = count_connecting(here) == len(asked)
            told = {json.loads(one.getresponse().read())["pod"] for one in asked}
            assert told <= {f"{places[name][0]}:{number}" for name in {"a", *others}}
            if in_time:
                break
    assert in_time
    assert told <= {f"{places[name][0]}:{number}" for name in others}
    assert here.workers() == workers


def stand(name: str, place: Place, weight: int = 1) -> Object:
    """Make a Pod that serves "/"."""
    ip, port = place
    return pod("a", name, ip, [{"basePath": "/", "containerPort": port, "weight": weight}], [{"containerPort": port}])


def count_connecting(here: Router) -> int:
    """Count the connections that nginx has begun and that nobody has taken."""
    found = [one.status for worker in here.workers() for one in psutil.Process(worker).net_connections()]
    return found.count(psutil.CONN_SYN_SENT)


def test_cold_start(router: Start, mirrors: Mirrors) -> None:
    """After nginx was killed with all its workers, it starts with the Pods of before, and answers no request by 502."""
    here, number = router(**LUA), free_port()
    places = [(loopback(f"10.244.{place}.54"), number) for place in range(3)]
    for place in places:
        mirrors.listen(*place)
    for place in (*places, *places):
        here.serve(namespace("a", {"plain.dev": {}}), stand("web", place))
    for one in places[:2]:
        mirrors.leave(*one)
    for _ in range(2):
        master = int((here.folder / "nginx.pid").read_text())
        for victim in (psutil.Process(master), *map(psutil.Process, here.workers())):
            victim.kill()
        found = find_first_answers(here)
        assert {(one.status, one.told["pod"]) for one in found} == {(200, f"{places[2][0]}:{number}")}
    here.restart()
    assert here.ask("plain.dev", "/").told["pod"] == f"{places[2][0]}:{number}"


def find_first_answers(here: Router) -> list[Answer]:
    """Ask until nginx has answered a number of requests."""
    found: list[Answer] = []
    while len(found) < 10:
        with suppress(ConnectionError, http.client.HTTPException):
            found.append(here.ask("plain.dev", "/"))
    return found
