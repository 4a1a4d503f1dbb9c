"""Manifests: what people write before it is deployed, with the place of each object in its file."""

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import msgspec

from reconciler.disk.places import Places
from reconciler.disk.recordings import Item, Merged, is_routed, naming, put_in_namespace, read_data, read_items
from reconciler.objects.listing import KINDS, Listing
from reconciler.objects.snapshot import Resource
from reconciler.objects.workloads import (
    OtherObject,
    Workload,
    WorkloadObject,
    is_workload,
    list_kinds,
    read_other,
    read_workload,
)


@dataclass(frozen=True, slots=True)
class Manifests:
    """The objects of manifests: those that routing reads, the workloads that make Pods, and others.

    `read` and `unread` count objects by kind; the others are those that were not read.
    """

    listing: Listing = Listing()
    workloads: tuple[Workload, ...] = ()
    others: tuple[OtherObject, ...] = ()
    read: Mapping[str, int] = field(default_factory=dict)
    unread: Mapping[str, int] = field(default_factory=dict)
    places: Places = field(default_factory=Places)

    def tell_unread(self) -> str:
        """Say how many objects were not read, such as `3 Services, 1 Ingress not read`; empty if all were."""
        return f"{list_kinds(self.unread)} not read" if self.unread else ""

    def tell_size(self) -> str:
        """Say how many objects were read and how many were not."""
        read = f"{list_kinds(self.read) or 'nothing'} read"
        return f"{read}; {self.tell_unread()}" if self.unread else read


def read_manifests(paths: list[str], done: Callable[[], None] = lambda: None) -> Manifests:
    """Read files (`-`: standard input) and merge them. RecordingError names file, place and fault.

    `done` is called after each file.
    """
    reader = _Reader()
    for path in paths:
        reader.read(path)
        done()
    return reader.manifests()


class _Reader:
    def __init__(self) -> None:
        self._merged = Merged()
        self._workloads: dict[Resource, Workload] = {}
        self._others: list[OtherObject] = []
        self._read, self._unread = Counter[str](), Counter[str]()
        self._places = Places()
        self._named = 0

    def read(self, path: str) -> None:
        data = read_data(path)
        self._places.add_file(path, data)
        with naming(path):
            for item in map(self._give_name, read_items(data)):
                self._places.add(self._take(item), path, item)

    def manifests(self) -> Manifests:
        return Manifests(
            self._merged.listing(),
            tuple(self._workloads.values()),
            tuple(self._others),
            self._read,
            self._unread,
            self._places,
        )

    def _give_name(self, item: Item) -> Item:
        """Give an object that has only a generateName a name, as the API server does."""
        metadata = item.metadata if isinstance(item.metadata, dict) else {}
        prefix = metadata.get("generateName")
        if metadata.get("name") or not isinstance(prefix, str):
            return item
        self._named += 1
        metadata = {**metadata, "name": f"{prefix}{self._named:05}"}
        whole = {**msgspec.json.decode(item.raw), "metadata": metadata}
        return msgspec.structs.replace(item, metadata=metadata, raw=msgspec.Raw(msgspec.json.encode(whole)))

    def _take(self, item: Item) -> Resource:
        """Keep one object, and give its name."""
        if is_routed(item):
            found = put_in_namespace(item.decode(KINDS[item.kind]))
            self._read[item.kind] += self._merged.take(item, found)
            namespace = "" if item.kind == "Namespace" else found.metadata.namespace or ""
            return Resource(item.kind, namespace, found.metadata.name)
        if is_workload(item.kind, item.version):
            workload = read_workload(item.kind, item.decode(WorkloadObject))
            self._read[item.kind] += workload.resource not in self._workloads
            if self._workloads.setdefault(workload.resource, workload) != workload:
                raise item.refuse_second()
            return workload.resource
        other = read_other(item.kind, item.metadata)
        self._others.append(other)
        self._unread[item.kind] += 1
        return other.resource
