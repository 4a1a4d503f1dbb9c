"""Changes between two Snapshots: which objects came, went or differ. `==` finds them, DeepDiff only explains."""

from collections.abc import Iterator

import msgspec

from reconciler.objects.snapshot import Namespace, Pod, Resource, Secret, Snapshot
from reconciler.values.value import Value

Object = Namespace | Pod | Secret


class Change(Value, frozen=True):
    """One object that came (`old` is None), went (`new` is None) or differs. A Namespace is only itself here."""

    resource: Resource
    old: Object | None
    new: Object | None


def diff(old: Snapshot | None, new: Snapshot) -> tuple[Change, ...]:
    """List the objects that came, went or differ since `old`, sorted by name. If `old` is None, all objects came."""
    before = {namespace.name: namespace for namespace in old.namespaces} if old else {}
    after = {namespace.name: namespace for namespace in new.namespaces}
    return tuple(
        Change(resource, ours.get(resource), theirs.get(resource))
        for name in sorted(before.keys() | after.keys())
        if before.get(name) != after.get(name)
        for ours, theirs in [(_objects(before.get(name)), _objects(after.get(name)))]
        for resource in sorted(ours.keys() | theirs.keys())
        if ours.get(resource) != theirs.get(resource)
    )


def explain(change: Change) -> str:
    """Say in a few words what happened to an object. Of a Secret, show only the names of its fields."""
    if change.old is None or change.new is None:
        return f"{change.resource} {'went' if change.old else 'came'}"
    from deepdiff import DeepDiff  # a tenth of the start of a command, and few commands need it

    difference = DeepDiff(_public(change.old), _public(change.new), view="tree")
    parts = sorted({str(item.path(output_format="list")[0]) for items in difference.values() for item in items})
    return f"{change.resource}: {', '.join(parts)} changed"


def _objects(namespace: Namespace | None) -> dict[Resource, Object]:
    return {item.resource: item for item in _parts(namespace)} if namespace else {}


def _parts(namespace: Namespace) -> Iterator[Object]:
    yield msgspec.structs.replace(namespace, pods=(), secret=None, key_lost=False, kept=())
    yield from namespace.pods
    if namespace.secret:
        yield namespace.secret


def _public(item: Object) -> dict[str, object]:
    """Give an object in the form that DeepDiff compares. Its values are never shown."""
    return dict(item.data) if isinstance(item, Secret) else msgspec.structs.asdict(item)
