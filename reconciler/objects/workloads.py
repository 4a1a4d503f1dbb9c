"""Workloads: the objects that make Pods, as people write them, with the template that their Pods are made from."""

from collections.abc import Iterable, Mapping
from typing import Any

from reconciler.objects.listing import Kubernetes, Metadata, PodSpec, Texts
from reconciler.objects.snapshot import Resource
from reconciler.values.messages import escape
from reconciler.values.value import Value

_TEMPLATE = ("spec", "template")
# Each kind's API group, and where in it the Pod template stands:
# https://kubernetes.io/docs/reference/kubernetes-api/workload-resources/
WORKLOADS: Mapping[str, tuple[str, tuple[str, ...]]] = {
    "Deployment": ("apps", _TEMPLATE),
    "StatefulSet": ("apps", _TEMPLATE),
    "DaemonSet": ("apps", _TEMPLATE),
    "ReplicaSet": ("apps", _TEMPLATE),
    "ReplicationController": ("", _TEMPLATE),
    "Job": ("batch", _TEMPLATE),
    "CronJob": ("batch", ("spec", "jobTemplate", *_TEMPLATE)),
}
# Text of kinds that are not read may be anything.
_MOST_KINDS, _LONGEST = 20, 253


class PartMetadata(Kubernetes, frozen=True):
    """The metadata of a part of an object, which has no name of its own."""

    labels: Texts | None = None
    annotations: Texts | None = None

    def __repr__(self) -> str:
        return "PartMetadata()"


class PodTemplate(Kubernetes, frozen=True):
    """What the Pods of a workload are made from."""

    metadata: PartMetadata | None = None
    spec: PodSpec | None = None


class _TemplateSpec(Kubernetes, frozen=True):
    template: PodTemplate | None = None


class _JobTemplate(Kubernetes, frozen=True):
    metadata: PartMetadata | None = None
    spec: _TemplateSpec | None = None


class _Spec(_TemplateSpec, frozen=True):
    job_template: _JobTemplate | None = None


class _WorkloadMetadata(Metadata, frozen=True):
    owner_references: list[Any] | None = None


class WorkloadObject(Kubernetes, frozen=True):
    """An object of one of the WORKLOADS, as Kubernetes has it."""

    metadata: _WorkloadMetadata
    spec: _Spec | None = None


class Level(Value, frozen=True):
    """One place in an object that has labels and annotations of its own: `path` leads to its metadata."""

    path: tuple[str, ...]
    labels: Texts
    annotations: Texts

    def __repr__(self) -> str:
        return f"Level({'.'.join(self.path)})"


class Workload(Value, frozen=True):
    """A workload. `above` are the levels above its Pods: its own, and that of a CronJob's Jobs.

    `pod` is the level of its Pod template, and `spec` what their Pods are. If it is `owned`, another workload made it.
    """

    resource: Resource
    owned: bool
    above: tuple[Level, ...]
    pod: Level
    spec: PodSpec


class OtherObject(Value, frozen=True):
    """An object of a kind that is not read: only its labels and annotations are known."""

    resource: Resource
    level: Level


def read_workload(kind: str, item: WorkloadObject) -> Workload:
    """Give a workload's parts by their meaning. A part that is absent is empty."""
    spec = item.spec or _Spec()
    above = [_read_level((), item.metadata)]
    template = spec.template
    if kind == "CronJob":
        job = spec.job_template or _JobTemplate()
        above.append(_read_level(("spec", "jobTemplate"), job.metadata))
        template = (job.spec or _TemplateSpec()).template
    template = template or PodTemplate()
    return Workload(
        Resource(kind, item.metadata.namespace or "default", item.metadata.name),
        bool(item.metadata.owner_references),
        tuple(above),
        _read_level(WORKLOADS[kind][1], template.metadata),
        template.spec or PodSpec(),
    )


def read_other(kind: str, metadata: Any) -> OtherObject:
    """Read what can be read of any metadata; what is malformed in it is passed over."""
    known = metadata if isinstance(metadata, dict) else {}
    namespace, name = (text if isinstance(text := known.get(key), str) else "" for key in ("namespace", "name"))
    return OtherObject(
        Resource(*(escape(text[:_LONGEST]) for text in (kind, namespace, name))),
        Level(("metadata",), _read_texts(known.get("labels")), _read_texts(known.get("annotations"))),
    )


def is_workload(kind: str, version: str) -> bool:
    """Tell whether a kind of this API version, such as apps/v1, is a workload."""
    group = version.rpartition("/")[0]
    return kind in WORKLOADS and group in (WORKLOADS[kind][0], "extensions")


def list_kinds(counts: Mapping[str, int]) -> str:
    """List numbers of objects by kind, such as `3 Deployments, 1 Ingress`."""
    known = [f"{number} {_name_kind(kind, number)}" for kind, number in sorted(counts.items())[:_MOST_KINDS]]
    more = len(counts) - len(known)
    return ", ".join([*known, *([f"and {more} more kinds"] if more > 0 else [])])


def _name_kind(kind: str, number: int) -> str:
    name = escape(kind[:_LONGEST])
    if number == 1 or name == "Endpoints":
        return name
    if name.endswith(("s", "x", "ch")):
        return f"{name}es"
    return f"{name[:-1]}ies" if name.endswith(("cy", "ty")) else f"{name}s"


def _read_level(path: Iterable[str], metadata: Metadata | PartMetadata | None) -> Level:
    known = metadata or PartMetadata()
    return Level((*path, "metadata"), known.labels or {}, known.annotations or {})


def _read_texts(value: Any) -> Texts:
    return {key: text for key, text in value.items() if isinstance(text, str)} if isinstance(value, dict) else {}
