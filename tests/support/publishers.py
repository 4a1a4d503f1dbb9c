"""Publishers and readers in a test's process: their requests are real, and their clocks are the test's."""

import base64
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec
import yaml
from msgspec.structs import replace
from support.apiserver import USER, ApiServer
from support.authority import Authority
from support.objects import Object, namespace, pod, secret
from support.pods import DECLARED, entry

from reconciler.cluster.connection import Connection
from reconciler.cluster.credentials import find_credentials
from reconciler.cluster.fallback import PublishedOnly, WithFallback
from reconciler.cluster.lease import LEASE, Confirmation, Election
from reconciler.cluster.published_objects import POINTER, PublishedObjects
from reconciler.cluster.published_source import PublishedSource
from reconciler.cluster.publisher import Publisher
from reconciler.cluster.source import ClusterSource
from reconciler.cluster.stored import Store
from reconciler.loop.events import Event
from reconciler.loop.loop import Loop
from reconciler.loop.ports import Source
from reconciler.loop.stages import Stages
from reconciler.modes.publishing import Publishing, recall_published
from reconciler.modes.sinks import assume_tls, assume_version
from reconciler.objects.published import Pointer, read_pointer
from reconciler.objects.snapshot import NOTHING, Snapshot
from reconciler.settings import read_settings

PLACE = "dispatcher-published"
SECRETS, LEASES = f"/api/v1/namespaces/{PLACE}/secrets", f"/apis/coordination.k8s.io/v1/namespaces/{PLACE}/leases"
PUBLISHER, ROUTER = (f"system:serviceaccount:dispatcher:dispatcher-{name}" for name in ("publisher", "router"))
PUBLISHER_TOKEN, ROUTER_TOKEN, PERSON_TOKEN = "a.publishers.token", "a.routers.token", "a.persons.token"
PERSON = "somebody"
TOKENS = {PUBLISHER_TOKEN: PUBLISHER, ROUTER_TOKEN: ROUTER, PERSON_TOKEN: PERSON}
# The Namespace for what is published; it is not routed.
HOME: Object = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": PLACE}, "status": {"phase": "Active"}}


class Clock:
    """A monotonic clock that goes on only if it is told to."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


class OnePublisher:
    """A publisher with a clock of its own; `events` are what it told."""

    def __init__(self, connection: Connection, name: str, **settings: str) -> None:
        self.clock = Clock()
        self.events: list[Event] = []
        tell = self.events.append
        made = read_settings({"MAX_CHANGES_PER_NAMESPACE": "0", "API_TIMEOUT": "2", **settings})
        store = Store(connection, PLACE, made.api_timeout, tell)
        stages = Stages(assume_tls(assume_version(made)))
        self.source: Source = ClusterSource(connection, made, tell=tell)
        self.election = Election(store, name, made.api_timeout, self.clock)
        self.publisher = Publisher(PublishedObjects(store), made, tell, self.election.keep, self.clock)

        def make_loop(published: Snapshot | None, now: float) -> Loop:
            return Loop(self.source, self.publisher, stages, tell, recall_published(published, stages, now))

        self._publishing = Publishing(self.election, self.publisher, tell, make_loop, self.clock)

    def turn(self, seconds: float = 2.0) -> Event:
        """Turn once, after these seconds."""
        self.clock.now += seconds
        return self._publishing.turn(time.time())

    def told(self, kind: type) -> list[Any]:
        """Give the events of a kind."""
        return [event for event in self.events if isinstance(event, kind)]


class OneReader:
    """A router's source with a clock of its own; `events` are what it told."""

    def __init__(self, connection: Connection, cluster: Connection | None, **settings: str) -> None:
        self.clock = Clock()
        self.events: list[Event] = []
        made = read_settings({"API_TIMEOUT": "2", **settings})
        store = Store(connection, PLACE, made.api_timeout, self.events.append)
        self.confirmation = Confirmation(store, self.clock)
        published = PublishedSource(PublishedObjects(store), self.confirmation, made, self.events.append, self.clock)
        self._read = self._plain = NOTHING
        self.source: Source = PublishedOnly(published)
        if cluster:
            self.source = WithFallback(published, ClusterSource(cluster, made), self.clock)

    def read(self, seconds: float = 2.0, *, consistently: bool = False) -> Snapshot:
        """Read what is published, after these seconds; the same value as long as it is the same.

        That it is settled is left out, so that it can be compared with what was listed.
        """
        self.clock.now += seconds
        snapshot = self.source.read(consistently=consistently)
        if snapshot is not self._read:
            self._read, self._plain = snapshot, replace(snapshot, settled=False)
        return self._plain

    def told(self, kind: type) -> list[Any]:
        """Give the events of a kind."""
        return [event for event in self.events if isinstance(event, kind)]


class Site:
    """A test API server with the Namespace for what is published, and the rights that k8s/overlays/published gives."""

    def __init__(self, server: ApiServer, authority: Authority, folder: Path) -> None:
        self.server = server
        self._folder = folder
        self._opened: list[Connection] = []
        (folder / "ca.crt").write_bytes(authority.pem)
        server.tokens |= TOKENS
        for name, verbs in (("*", ["create", "get", "list", "patch", "delete"]), (POINTER, ["update"])):
            server.permit("secrets", name, user=PUBLISHER, verbs=verbs, namespace=PLACE)
        server.permit("secrets", "routing", user=PUBLISHER, verbs=["list"])
        server.permit("namespaces", "*", user=PUBLISHER, verbs=["list"])
        server.permit("pods", "*", user=PUBLISHER, verbs=["list"])
        server.permit("leases", "*", user=PUBLISHER, verbs=["create"], namespace=PLACE)
        server.permit("leases", LEASE, user=PUBLISHER, verbs=["get", "update"], namespace=PLACE)
        server.permit("secrets", "*", user=ROUTER, verbs=["get"], namespace=PLACE)
        server.permit("leases", LEASE, user=ROUTER, verbs=["get"], namespace=PLACE)
        for resource in ("namespaces", "pods", "secrets", "leases"):
            server.permit(resource, "*", user=PERSON)

    def publisher(self, name: str = "first", **settings: str) -> OnePublisher:
        """Make a publisher with this name."""
        return OnePublisher(self._connect(PUBLISHER), name, **settings)

    def reader(self, *, fallback: bool = False, **settings: str) -> OneReader:
        """Make what a router reads by; with `fallback` it has the rights to list the cluster too."""
        return OneReader(self._connect(ROUTER), self._connect(USER) if fallback else None, **settings)

    def close(self) -> None:
        """Close all connections."""
        for connection in self._opened:
            connection.close()

    def count(self, method: str, path: str = "*") -> int:
        """Count the requests that came."""
        return sum(one.method == method and (path == "*" or one.path == path) for one in self.server.requests)

    def writes(self) -> list[tuple[str, str]]:
        """List the requests that wrote Secrets, each with the kind of its name: pointer or shard."""
        return [
            (one.method, "pointer" if one.path.endswith(f"/{POINTER}") else "shard")
            for one in self.server.requests
            if one.method != "GET" and one.path.startswith(SECRETS)
        ]

    @contextmanager
    def watching(self) -> Iterator[list[tuple[str, str]]]:
        """Note the method and the last part of the path of the requests that come while the block runs."""
        before, seen = len(self.server.requests), list[tuple[str, str]]()
        yield seen
        seen += [(one.method, one.path.rpartition("/")[2]) for one in self.server.requests[before:]]

    def write_config(self, token: str) -> Path:
        """Write a kubeconfig with this token, and give its path."""
        config = {
            "clusters": [{"name": "c", "cluster": {"server": self.server.url, "certificate-authority": "ca.crt"}}],
            "users": [{"name": "u", "user": {"token": token}}],
            "contexts": [{"name": "x", "context": {"cluster": "c", "user": "u"}}],
            "current-context": "x",
        }
        path = self._folder / f"config-{len(list(self._folder.glob('config-*')))}"
        path.write_text(yaml.safe_dump(config))
        return path

    def _connect(self, user: str) -> Connection:
        token = next(token for token, one in self.server.tokens.items() if one == user)
        credentials = find_credentials({"KUBECONFIG": str(self.write_config(token))})
        assert credentials
        self._opened.append(Connection(credentials))
        return self._opened[-1]


def team(name: str, *ips: str, **fields: str) -> list[Object]:
    """Give a Namespace with a host, an API key and a Pod at each address."""
    pods = [pod(name, f"web-{number}", ip, [entry("/")], DECLARED) for number, ip in enumerate(ips)]
    return [namespace(name, {f"{name}.dev": {}}), secret(name, api_key=f"key-of-{name}", **fields), *pods]


TEAMS = [*team("a", "10.0.0.1"), *team("b", "10.0.0.2", "10.0.0.3")]


def addresses(snapshot: Snapshot) -> list[str]:
    return [pod.ip for one in snapshot.namespaces for pod in one.pods]


def shards(site: Site) -> list[str]:
    stored = site.server.store.present.collections["Secret"].objects
    return [key.partition("/")[2] for key in stored if re.fullmatch(rf"{PLACE}/snapshot-[0-9a-f]{{64}}", key)]


def add_pod(site: Site, ip: str, name: str = "web-1") -> None:
    site.server.put(pod("a", name, ip, [entry("/")], DECLARED))


def get_pointer(site: Site) -> tuple[dict[str, object], Pointer]:
    """Give the pointer's Secret as it is stored, and the pointer in it."""
    stored = site.server.store.present.collections["Secret"].objects[f"{PLACE}/{POINTER}"]
    secret = {"kind": "Secret", **msgspec.json.decode(stored.item)}
    return secret, read_pointer(base64.b64decode(secret["data"]["pointer"]))


def put_pointer(site: Site, content: bytes) -> None:
    """Write the pointer as somebody else, whatever was there."""
    secret, _ = get_pointer(site)
    del secret["metadata"]["resourceVersion"]  # type: ignore[attr-defined]
    site.server.put({**secret, "data": {"pointer": base64.b64encode(content).decode()}})


def restore(site: Site, version: int, goes_on_at: int | None = None) -> None:
    """Bring back an old state of the whole cluster, with its versions, as a backup of etcd does.

    Versions go on from there, or at a higher number, as with etcdutl's --bump-revision.
    """
    state = site.server.store.at(version)
    assert state
    objects = [
        {"kind": kind, **msgspec.json.decode(one.item)}
        for kind, collection in state.collections.items()
        for one in collection.objects.values()
    ]
    site.server.load(objects, goes_on_at or version)
