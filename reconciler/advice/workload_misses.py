"""Near misses of workloads: what stands on one and not on its Pod template, and templates without Pods."""

from collections.abc import Iterator

from reconciler.advice.evidence import Evidence
from reconciler.advice.likeness import is_near
from reconciler.advice.near_miss import Miss, NearMiss, tell_unreadable
from reconciler.advice.wanted import Wanted, names_any, show_entry
from reconciler.objects.workloads import Level, Workload
from reconciler.routing.path_entries import PathEntry, parse_paths
from reconciler.settings import Settings
from reconciler.values.messages import excerpt


def find_workload_misses(wanted: Wanted, evidence: Evidence, settings: Settings) -> Iterator[NearMiss]:
    """Find workloads that name a path, and say why no Pod of theirs serves it."""
    for workload in evidence.workloads:
        if workload.resource.namespace not in wanted.namespaces:
            continue
        entry = _choose(workload.pod, settings.paths_annotation, wanted, settings)
        if entry:
            yield from _judge_template(workload, entry, wanted, settings)
            continue
        text = workload.pod.annotations.get(settings.paths_annotation)
        if not text:
            yield from _find_above(workload, wanted, settings)
            yield from _find_misspelt(workload, wanted, settings)
        elif (segment := wanted.first_segment) and segment in text:
            for fault in parse_paths(text, settings, allow_regex=True)[1]:
                yield tell_unreadable(fault, workload.resource, settings)


def find_workloads_with_host(host: str, evidence: Evidence, settings: Settings) -> Iterator[NearMiss]:
    """Find workloads that carry the annotation of hosts, which belongs to their Namespace."""
    for workload in evidence.workloads:
        for level in (*workload.above, workload.pod):
            text = level.annotations.get(settings.hosts_annotation)
            if text and names_any(text, [host]):
                why = f"names this host in {settings.hosts_annotation}, which is read on Namespaces alone"
                expected = f"the annotation on Namespace {workload.resource.namespace}"
                yield NearMiss(Miss.WRONG_LEVEL, workload.resource, why, expected)


def _choose(level: Level, annotation: str, wanted: Wanted, settings: Settings) -> PathEntry | None:
    text = level.annotations.get(annotation)
    return wanted.choose(parse_paths(text, settings, allow_regex=True)[0]) if text else None


def _judge_template(workload: Workload, entry: PathEntry, wanted: Wanted, settings: Settings) -> Iterator[NearMiss]:
    """Say why the Pods of a template that names the path do not serve it."""
    named = f"names {show_entry(entry)}"
    if refused := wanted.namespaces[workload.resource.namespace]:
        yield NearMiss(refused.kind, workload.resource, f"{named}, and its Namespace {refused.why}", refused.expected)
    elif not settings.selector.accepts(workload.pod.labels):
        above = any(settings.selector.accepts(level.labels) for level in workload.above)
        kind = Miss.WRONG_LEVEL if above else Miss.NOT_SELECTED
        why = f"its labels do not match ROUTABLE_LABEL_SELECTOR ({settings.selector})"
        why = f"has {settings.selector} on itself and not on its Pod template" if above else f"{named}, and {why}"
        yield NearMiss(kind, workload.resource, why, f"these labels in {'.'.join(workload.pod.path)}.labels")
    elif (entry.match, entry.path) != wanted.taken:
        why = f"{named} in its Pod template, and no Pod of it that names this path is there"
        yield NearMiss(Miss.NO_PODS, workload.resource, why, "Pods that run, with the newest template")


def _find_above(workload: Workload, wanted: Wanted, settings: Settings) -> Iterator[NearMiss]:
    """Find the path in an annotation that stands above the Pod template, where nobody reads it."""
    for level in workload.above:
        if _choose(level, settings.paths_annotation, wanted, settings):
            why = f"has {settings.paths_annotation} in {'.'.join(level.path)}.annotations and not on its Pod template"
            expected = f"the annotation in {'.'.join(workload.pod.path)}.annotations"
            yield NearMiss(Miss.WRONG_LEVEL, workload.resource, why, expected)


def _find_misspelt(workload: Workload, wanted: Wanted, settings: Settings) -> Iterator[NearMiss]:
    """Find the path in an annotation of the template whose name is nearly the right one."""
    for name in workload.pod.annotations:
        if is_near(name, settings.paths_annotation) and _choose(workload.pod, name, wanted, settings):
            why = f"names this path in the annotation {excerpt(name)}, which this router does not read"
            yield NearMiss(Miss.WRONG_NAME, workload.resource, why, f"the annotation {settings.paths_annotation}")
