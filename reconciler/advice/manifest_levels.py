"""Levels: the mistakes that show in a manifest before it is deployed, and in a cluster only as something missing.

A label or an annotation stands on an object that is not read for it, or its name is nearly right.
"""

from collections.abc import Iterator

from reconciler.advice.likeness import is_near
from reconciler.objects.listing import Namespace, Pod
from reconciler.objects.snapshot import Resource
from reconciler.objects.workloads import Level, OtherObject, Workload
from reconciler.routing.problems import Problem, Reason
from reconciler.settings import Settings
from reconciler.values.messages import excerpt
from reconciler.values.value import Value

_OFF = "false"


class Finding(Value, frozen=True, order=True):
    """A problem in manifests. `path` leads to where in the object of this name it stands."""

    problem: Problem
    resource: Resource
    path: tuple[str, ...]


class LevelJudge:
    """Finds what stands on the wrong level, and what is misspelt."""

    def __init__(self, settings: Settings) -> None:
        self._selector = settings.selector
        self._hosts, self._paths = settings.hosts_annotation, settings.paths_annotation
        self._labels = tuple(one.key for one in settings.selector.requirements if not one.negated)

    def judge_namespace(self, namespace: Namespace, *, has_paths: bool) -> Iterator[Finding]:
        """Judge a Namespace, of which it is known whether its Pods have paths."""
        metadata = namespace.metadata
        resource = Resource("Namespace", "", metadata.name)
        level = Level(("metadata",), metadata.labels or {}, metadata.annotations or {})
        wanted = self._hosts in level.annotations or has_paths
        if wanted and self._lacks_labels(level):
            what = "its hosts" if self._hosts in level.annotations else "the paths of its Pods"
            why = f"do not match ROUTABLE_LABEL_SELECTOR, so {what} are not served"
            yield self._tell_labels(resource, level, "labels", why, "on the Namespace")
        yield from self._judge_paths(resource, level, "on a Namespace")
        yield from self._find_misspelt(resource, level)

    def judge_pod(self, pod: Pod) -> Iterator[Finding]:
        """Judge a Pod."""
        metadata = pod.metadata
        resource = Resource("Pod", metadata.namespace or "", metadata.name)
        level = Level(("metadata",), metadata.labels or {}, metadata.annotations or {})
        if self._paths in level.annotations and self._lacks_labels(level):
            why = "do not match ROUTABLE_LABEL_SELECTOR, so its paths are not served"
            yield self._tell_labels(resource, level, "labels", why, "on the Pod")
        yield from self._judge_hosts(resource, level, "on a Pod")
        yield from self._find_misspelt(resource, level)

    def judge_workload(self, workload: Workload) -> Iterator[Finding]:
        """Judge a workload and its Pod template."""
        resource, pod = workload.resource, workload.pod
        if self._lacks_labels(pod):
            yield from self._judge_template(workload)
        for number, level in enumerate(workload.above):
            where = f"on the {'Job template' if number else resource.kind}"
            if self._paths in level.annotations and self._paths not in pod.annotations:
                expected = f"the annotation in {'.'.join(pod.path)}.annotations"
                why = f"stands {where}, where it is not read: its Pods do not have it"
                yield self._tell_misplaced(resource, level, self._paths, why, expected)
            yield from self._judge_hosts(resource, level, where)
            yield from self._find_misspelt(resource, level)
        yield from self._judge_hosts(resource, pod, "on the Pod template")
        yield from self._find_misspelt(resource, pod)

    def judge_other(self, other: OtherObject) -> Iterator[Finding]:
        """Judge an object of a kind that routing does not read."""
        kind = other.resource.kind
        where = f"on {'an' if kind[:1] in 'AEIOU' else 'a'} {kind}"
        yield from self._judge_hosts(other.resource, other.level, where)
        yield from self._judge_paths(other.resource, other.level, where)
        yield from self._find_misspelt(other.resource, other.level)

    def _judge_template(self, workload: Workload) -> Iterator[Finding]:
        """Judge a Pod template that is not routable: paths on it are a fault, and so is the label above it."""
        resource, pod = workload.resource, workload.pod
        labelled = [
            level
            for level in workload.above
            if self._selector.accepts(level.labels) and any(key in level.labels for key in self._labels)
        ]
        if labelled:
            why = f"do not match ROUTABLE_LABEL_SELECTOR, as those of the {resource.kind} do: its Pods are not routed"
        elif self._paths in pod.annotations:
            why = "do not match ROUTABLE_LABEL_SELECTOR, so its paths are not served"
        else:
            return
        yield self._tell_labels(resource, pod, "labels of its Pod template", why, f"in {'.'.join(pod.path)}.labels")

    def _lacks_labels(self, level: Level) -> bool:
        """Tell whether labels do not match the selector. With `false` a person turns routing off, and means it."""
        return not self._selector.accepts(level.labels) and not any(
            level.labels.get(name) == _OFF for name in self._labels
        )

    def _judge_hosts(self, resource: Resource, level: Level, where: str) -> Iterator[Finding]:
        if self._hosts in level.annotations:
            why = f"stands {where}, where it is not read"
            yield self._tell_misplaced(resource, level, self._hosts, why, "the annotation on the Namespace")

    def _judge_paths(self, resource: Resource, level: Level, where: str) -> Iterator[Finding]:
        if self._paths in level.annotations:
            why = f"stands {where}, where it is not read"
            expected = "the annotation on Pods, or on the Pod template of a workload"
            yield self._tell_misplaced(resource, level, self._paths, why, expected)

    def _find_misspelt(self, resource: Resource, level: Level) -> Iterator[Finding]:
        """Find annotations and, if they do not match the selector, labels whose names are nearly right."""
        for key in level.annotations:
            if key in self._labels and not self._selector.accepts(level.labels):
                why = "is an annotation here, and is read as a label"
                problem = Problem(resource, key, why, "a label of this name", Reason.MISPLACED)
                yield Finding(problem, resource, (*level.path, "annotations", key))
            yield from self._find_near(resource, level, "annotations", key, (self._hosts, self._paths))
        if not self._selector.accepts(level.labels):
            for key in level.labels:
                yield from self._find_near(resource, level, "labels", key, self._labels)

    def _find_near(
        self, resource: Resource, level: Level, part: str, key: str, names: tuple[str, ...]
    ) -> Iterator[Finding]:
        near = next((name for name in names if key not in names and is_near(key, name)), None)
        if near:
            what, why = excerpt(key)[1:-1], f"is among the {part} and is not read"
            problem = Problem(resource, what, why, near, Reason.MISSPELT)
            yield Finding(problem, resource, (*level.path, part, key))

    def _tell_labels(self, resource: Resource, level: Level, what: str, why: str, where: str) -> Finding:
        problem = Problem(resource, what, why, f"{self._selector.text} {where}", Reason.NOT_SELECTED)
        return Finding(problem, resource, (*level.path, "labels"))

    @staticmethod
    def _tell_misplaced(resource: Resource, level: Level, name: str, why: str, expected: str) -> Finding:
        problem = Problem(resource, name, why, expected, Reason.MISPLACED)
        return Finding(problem, resource, (*level.path, "annotations", name))
