"""The manifests below k8s/, built as kustomize builds them: the objects that are listed, with the patches applied."""

import copy
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml
from support.objects import Object

K8S = Path(__file__).parents[2] / "k8s"
KUSTOMIZATIONS = sorted(path.parent for path in K8S.glob("**/kustomization.yaml"))
# Kubernetes merges each of these lists by this key of its entries; it replaces other lists.
_MERGED_BY = {
    "containers": "name",
    "env": "name",
    "ports": "containerPort",
    "volumeMounts": "mountPath",
    "volumes": "name",
}


def read_documents(path: Path) -> list[Object]:
    """Read a file's objects."""
    return list(yaml.safe_load_all(path.read_text()))


def read_kustomization(folder: Path) -> Object:
    """Read a folder's kustomization, which lists its files."""
    (kustomization,) = read_documents(folder / "kustomization.yaml")
    return kustomization


def build(folder: Path) -> list[Object]:
    """Build a folder's objects, sorted. KeyError if a patch is for none of them."""
    kustomization = read_kustomization(folder)
    objects = {name_of(item): item for path in kustomization["resources"] for item in _read((folder / path).resolve())}
    for patch in kustomization.get("patches", ()):
        for change in read_documents(folder / patch["path"]):
            item = objects.pop(name_of(change))
            if not _deletes(change):
                objects[name_of(change)] = _merge(item, change)
    return sorted(objects.values(), key=name_of)


def _read(path: Path) -> list[Object]:
    return build(path) if path.is_dir() else read_documents(path)


def name_of(item: Object) -> tuple[str, str, str]:
    """Name an object: its kind, Namespace and name."""
    metadata = item["metadata"]
    return item["kind"], metadata.get("namespace", ""), metadata["name"]


def _merge(old: Any, new: Any, field: str = "") -> Any:
    if isinstance(old, dict) and isinstance(new, dict):
        return old | {name: _merge(old.get(name), value, name) for name, value in new.items()}
    if isinstance(old, list) and field in _MERGED_BY:
        entries = {entry[_MERGED_BY[field]]: entry for entry in old}
        changes = {entry[_MERGED_BY[field]]: _merge(entries.get(entry[_MERGED_BY[field]]), entry) for entry in new}
        return [entry for entry in (entries | changes).values() if not _deletes(entry)]
    return copy.deepcopy(new)


def _deletes(change: Object) -> bool:
    """Tell whether a patch deletes what it names: an object, or an entry of a list."""
    return change.get("$patch") == "delete"


def pod_templates(objects: list[Object]) -> Iterator[Object]:
    """Find the Pod templates in objects."""
    return (item["spec"]["template"] for item in objects if "template" in item.get("spec", {}))


def one(objects: list[Object], kind: str, name: str = "dispatcher", namespace: str = "") -> Object:
    """Find the one object of that kind and name, in any Namespace, or in the one that is given."""
    (found,) = (
        item
        for item in objects
        if (item["kind"], item["metadata"]["name"]) == (kind, name)
        and namespace in ("", item["metadata"].get("namespace"))
    )
    return found


def environment_of(container: Object) -> dict[str, str]:
    """Read the variables that a container sets."""
    return {entry["name"]: entry["value"] for entry in container["env"]}
