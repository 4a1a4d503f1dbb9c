"""What a test API server stores: objects as the bytes that it sends, their versions, and the state of its cache."""

import random
import time
import uuid
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace

from support.answers import write_json
from support.objects import Object

KEPT = 64  # the number of states that are kept; continue tokens of older ones have expired

_METADATA = (
    "name", "generateName", "namespace", "uid", "resourceVersion", "creationTimestamp", "deletionTimestamp",
    "deletionGracePeriodSeconds", "labels", "annotations", "ownerReferences", "finalizers", "managedFields",
)  # fmt: skip
_OBJECT = ("metadata", "immutable", "data", "spec", "status")


@dataclass(frozen=True)
class Kind:
    """A kind, the name of its resource, and the fields that a selector may name."""

    name: str
    resource: str
    fields: tuple[str, ...] = ("metadata.name", "metadata.namespace")
    version: str = "v1"

    @property
    def namespaced(self) -> bool:
        return self.name != "Namespace"

    @property
    def group(self) -> str:
        """The group of the API; empty for the core."""
        return self.version.rpartition("/")[0]

    @property
    def full_resource(self) -> str:
        """The resource with its group, as messages name it."""
        return f"{self.resource}.{self.group}".rstrip(".")

    @property
    def full_name(self) -> str:
        """The kind with its group, as messages name it."""
        return f"{self.name}.{self.group}".rstrip(".")

    def key(self, namespace: str, name: str) -> str:
        return f"{namespace}/{name}" if self.namespaced else name


# The fields by which kubectl finds an object's Events.
_INVOLVED = tuple(f"involvedObject.{name}" for name in ("kind", "namespace", "name", "uid", "apiVersion"))
KINDS = {
    kind.resource: kind
    for kind in (
        Kind("Namespace", "namespaces", ("metadata.name", "status.phase")),
        Kind("Pod", "pods", ("metadata.name", "metadata.namespace", "status.phase")),
        Kind("Secret", "secrets", ("metadata.name", "metadata.namespace", "type")),
        Kind("Event", "events", ("metadata.name", "metadata.namespace", *_INVOLVED)),
        Kind("Deployment", "deployments", version="apps/v1"),
        Kind("StatefulSet", "statefulsets", version="apps/v1"),
        Kind("DaemonSet", "daemonsets", version="apps/v1"),
        Kind("CronJob", "cronjobs", version="batch/v1"),
        Kind("Lease", "leases", version="coordination.k8s.io/v1"),
    )
}
_BY_NAME = {kind.name: kind for kind in KINDS.values()}


@dataclass(frozen=True)
class Stored:
    """An object: the values that selectors compare, and its bytes as an item of a list."""

    key: str
    labels: dict[str, str]
    fields: dict[str, str]
    version: int
    born: dict[str, str]
    item: bytes


@dataclass(frozen=True)
class Collection:
    """All objects of a kind, and the version of their last change. `found` keeps the results of searches."""

    version: int
    objects: dict[str, Stored] = field(default_factory=dict)
    found: dict[object, tuple[Stored, ...]] = field(default_factory=dict, compare=False)
    joined: dict[object, bytes] = field(default_factory=dict, compare=False)
    written: dict[object, tuple[bytes, bytes, bytes]] = field(default_factory=dict, compare=False)

    def find(self, what: object, prefix: str, accepts: Callable[[Stored], bool]) -> tuple[Stored, ...]:
        """Find objects whose key begins with `prefix`, in the order of their keys; `what` identifies the search."""
        found = self.found.get((prefix, what))
        if found is None:
            keys = sorted(key for key in self.objects if key.startswith(prefix))
            found = self.found[prefix, what] = tuple(each for key in keys if accepts(each := self.objects[key]))
        return found

    def join(self, what: object, objects: tuple[Stored, ...], shuffled: bool) -> bytes:
        """Join the bytes of objects, once for each search; if `shuffled`, in random order, as a cache has them."""
        joined = self.joined.get((what, shuffled))
        if joined is None:
            if shuffled:
                objects = tuple(random.Random(self.version).sample(objects, len(objects)))
            joined = self.joined[what, shuffled] = b",".join(each.item for each in objects)
        return joined

    def forget(self) -> None:
        """Forget the results of searches, because this state will rarely be read."""
        self.found.clear()
        self.joined.clear()
        self.written.clear()


@dataclass(frozen=True)
class State:
    """The whole cluster at one version."""

    version: int
    collections: dict[str, Collection]

    def change(self, kind: Kind, objects: dict[str, Stored]) -> "State":
        version = self.version + 1
        return State(version, {**self.collections, kind.name: Collection(version, objects)})


def _order(names: Iterable[str], given: Object) -> Object:
    return {name: given[name] for name in names if name in given} | given


def encode(kind: Kind, given: Object, version: int, born: dict[str, str]) -> Stored:
    """Encode an object with its fields in the order in which Kubernetes writes them."""
    metadata = {**born, **given["metadata"], "resourceVersion": str(version)}
    if kind.namespaced:
        metadata.setdefault("namespace", "default")
    item = {**given, "metadata": _order(_METADATA, metadata)}
    for name in ("kind", "apiVersion"):
        item.pop(name, None)
    fields = {
        "metadata.name": metadata["name"],
        "metadata.namespace": metadata.get("namespace", ""),
        "status.phase": (given.get("status") or {}).get("phase", ""),
        "type": given.get("type", ""),
        **{name: given.get("involvedObject", {}).get(name.partition(".")[2], "") for name in _INVOLVED},
    }
    key = kind.key(fields["metadata.namespace"], fields["metadata.name"])
    born = {name: metadata[name] for name in ("uid", "creationTimestamp")}
    return Stored(key, dict(metadata.get("labels") or {}), fields, version, born, write_json(_order(_OBJECT, item)))


def _bear() -> dict[str, str]:
    return {"uid": str(uuid.uuid4()), "creationTimestamp": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())}


class Store:
    """Objects that change. Each change makes a new version of the cluster; the last states can still be read."""

    def __init__(self) -> None:
        self.present = State(1, {name: Collection(1) for name in _BY_NAME})
        self._states = {1: self.present}
        self._held: State | None = None

    @property
    def cache(self) -> State:
        """The state that answers a list request with a resourceVersion."""
        return self._held or self.present

    def at(self, version: int) -> State | None:
        """Give a former state; None if it is forgotten."""
        return self._states.get(version)

    def load(self, given: Iterable[Object], version: int | None = None) -> None:
        """Hold these objects and no others, as after a restart; an object that has a resourceVersion keeps it."""
        version = self.present.version + 1 if version is None else version
        collections: dict[str, Collection] = {name: Collection(version) for name in _BY_NAME}
        for each in given:
            own = int(each["metadata"].get("resourceVersion", version))
            stored = encode(_BY_NAME[each["kind"]], each, min(own, version), _bear())
            collections[each["kind"]].objects[stored.key] = stored
        self._become(State(version, collections))

    def put(self, given: Object) -> Stored:
        """Add this object, or replace the object of the same name."""
        kind = _BY_NAME[given["kind"]]
        metadata = given["metadata"]
        objects = dict(self.present.collections[kind.name].objects)
        former = objects.get(kind.key(metadata.get("namespace", "default"), metadata["name"]))
        stored = encode(kind, given, self.present.version + 1, former.born if former else _bear())
        self._become(self.present.change(kind, objects | {stored.key: stored}))
        return stored

    def delete(self, kind: str, namespace: str, name: str) -> None:
        """Remove this object; KeyError if it does not exist."""
        objects = dict(self.present.collections[kind].objects)
        del objects[_BY_NAME[kind].key(namespace, name)]
        self._become(self.present.change(_BY_NAME[kind], objects))

    def compact(self) -> None:
        """Forget all former states."""
        self._states = {self.present.version: self.present}

    def hold(self, version: int | None = None, empty: bool = False) -> None:
        """Freeze the cache at a version, by default the present one; if `empty`, it has that version but no objects."""
        held = self.present if version is None else self._states[version]
        if empty:
            nothing = {
                name: replace(each, objects={}, found={}, joined={}, written={})
                for name, each in held.collections.items()
            }
            held = State(held.version, nothing)
        self._held = held

    def follow(self) -> None:
        """Keep the cache up to date again."""
        self._held = None

    def _become(self, state: State) -> None:
        for name, former in self.present.collections.items():
            if state.collections[name] is not former:
                former.forget()
        self.present = self._states[state.version] = state
        while len(self._states) > KEPT:
            del self._states[min(self._states)]
