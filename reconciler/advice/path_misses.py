"""Near misses of a path: Pods that name it and do not get it, and paths that are similar."""

from collections.abc import Iterator
from difflib import SequenceMatcher, get_close_matches

from reconciler.advice.evidence import Evidence
from reconciler.advice.matching import decode_uri, fits
from reconciler.advice.near_miss import Miss, NearMiss, cut_misses, tell_unreadable
from reconciler.advice.question import Question
from reconciler.advice.wanted import Wanted, find_wanting, show_entry
from reconciler.advice.workload_misses import find_workload_misses
from reconciler.objects.listing import Metadata, Pod
from reconciler.objects.readiness import is_over
from reconciler.objects.snapshot import Resource
from reconciler.routing.model import Answer, Host, Location, Match
from reconciler.routing.path_entries import PathEntry, parse_paths
from reconciler.settings import Settings
from reconciler.values.messages import excerpt

_LIKENESS = 0.75
_MOST_SIMILAR, _MOST_LISTED = 3, 8


def find_path_misses(
    question: Question, host: Host, location: Location | None, evidence: Evidence, settings: Settings
) -> tuple[NearMiss, ...]:
    """Find what nearly serves a path of a host that is served, the most likely cause first.

    If Pods or a redirect answer, only what names a longer path, or the path exactly, is a near miss.
    """
    path = decode_uri(question.uri)
    answered = location is not None and location.answer in (Answer.PODS, Answer.REDIRECT)
    upstream = evidence.find_upstream(location.upstream) if location else None
    taken = (upstream.match, upstream.path) if upstream else None
    wanted = Wanted(path, taken, answered, find_wanting({host.name, question.host}, evidence, settings))
    misses = [
        *find_workload_misses(wanted, evidence, settings),
        *(miss for pod in evidence.listing.pods for miss in _judge_pod(pod, wanted, evidence, settings)),
        *_find_on_namespaces(wanted, evidence, settings),
    ]
    if not location or location.answer is Answer.RESERVED:
        misses += _find_similar(path, host, evidence)
    return cut_misses(misses or ([] if location else _list_others(host, evidence)))


def _judge_pod(pod: Pod, wanted: Wanted, evidence: Evidence, settings: Settings) -> Iterator[NearMiss]:
    """Say why a Pod that names the path does not get it."""
    metadata = pod.metadata
    namespace = metadata.namespace or ""
    if namespace not in wanted.namespaces:
        return
    resource = Resource("Pod", namespace, metadata.name)
    text = (metadata.annotations or {}).get(settings.paths_annotation)
    entries, faults = parse_paths(text, settings, allow_regex=True) if text else ((), ())
    entry = wanted.choose(entries)
    if entry:
        if miss := _tell_why(pod, entry, wanted, evidence, settings):
            yield miss
    elif text and (segment := wanted.first_segment) and segment in text:
        for fault in faults:
            yield tell_unreadable(fault, resource, settings)
    if not text:
        yield from _find_misspelt(metadata, resource, wanted, settings)


def _tell_why(pod: Pod, entry: PathEntry, wanted: Wanted, evidence: Evidence, settings: Settings) -> NearMiss | None:
    resource = Resource("Pod", pod.metadata.namespace or "", pod.metadata.name)
    named = f"names {show_entry(entry)}"
    if refused := wanted.namespaces[resource.namespace]:
        return NearMiss(refused.kind, resource, f"{named}, and its Namespace {refused.why}", refused.expected)
    if not settings.selector.accepts(pod.metadata.labels or {}):
        why = f"{named}, and its labels do not match ROUTABLE_LABEL_SELECTOR ({settings.selector})"
        return NearMiss(Miss.NOT_SELECTED, resource, why, "these labels on the Pod, or on its Pod template")
    if is_over(pod):
        why = f"{named}, and is over: its phase is {pod.status.phase if pod.status else 'unknown'}"
        return NearMiss(Miss.OVER, resource, why, "a Pod that runs")
    shown = (excerpt(entry.path), excerpt(entry.match.value + entry.path))
    for problem in evidence.table.problems:
        about_pod = problem.resource == resource and any(one in problem.what for one in shown)
        about_path = problem.resource == problem.namespace and problem.namespace.name == resource.namespace
        if about_pod or (about_path and problem.host and problem.what.endswith(shown[1])):
            return NearMiss(Miss.LEFT_OUT, resource, f"{problem.what} {problem.why}", problem.expected)
    if entry.match.is_regex and not settings.allow_regex_paths:
        why = f"{named}, and regular expressions are turned off"
        return NearMiss(Miss.LEFT_OUT, resource, why, "a path, or a router with ALLOW_REGEX_PATHS")
    return None


def _find_misspelt(metadata: Metadata, resource: Resource, wanted: Wanted, settings: Settings) -> Iterator[NearMiss]:
    """Find the path in an annotation whose name is not the right one, though nearly."""
    for name, text in (metadata.annotations or {}).items():
        likely = get_close_matches(name, [settings.paths_annotation], cutoff=0.85) or name == settings.hosts_annotation
        if text and likely and wanted.choose(parse_paths(text, settings, allow_regex=True)[0]):
            why = f"names this path in the annotation {excerpt(name)}, which this router does not read"
            yield NearMiss(Miss.WRONG_NAME, resource, why, f"the annotation {settings.paths_annotation}")


def _find_on_namespaces(wanted: Wanted, evidence: Evidence, settings: Settings) -> Iterator[NearMiss]:
    """Find Namespaces that carry the annotation of paths, which belongs to their Pods."""
    for namespace in evidence.listing.namespaces:
        metadata = namespace.metadata
        text = (metadata.annotations or {}).get(settings.paths_annotation)
        if (
            text
            and metadata.name in wanted.namespaces
            and wanted.choose(parse_paths(text, settings, allow_regex=True)[0])
        ):
            why = f"names this path in {settings.paths_annotation}, which is read on Pods alone"
            resource = Resource("Namespace", "", metadata.name)
            yield NearMiss(Miss.WRONG_LEVEL, resource, why, "the annotation on the Pod template of a workload")


def _find_similar(path: bytes, host: Host, evidence: Evidence) -> Iterator[NearMiss]:
    """Find the host's paths that look like the one that was asked for."""
    asked = path.decode("utf-8", "surrogateescape")
    ranked = []
    for upstream in evidence.list_upstreams(host):
        likeness = 0.0 if upstream.match.is_regex else _compare(asked, upstream.path)
        if likeness >= _LIKENESS:
            ranked.append((-likeness, upstream.path, upstream))
    for _, text, upstream in sorted(ranked, key=lambda one: one[:2])[:_MOST_SIMILAR]:
        below = fits(Match.PREFIX, text.rstrip("/") + "/", path)
        shown = excerpt(upstream.match.value + text)
        if upstream.match is Match.EXACT and below:
            why = f"serves {shown}, which is this path alone and nothing below it"
        elif asked.lower() == text.lower():
            why = f"serves {shown}: paths differ in upper and lower case"
        else:
            why = f"serves {shown}, and this path is neither that nor below it"
        expected = f"{shown} may be meant"
        yield NearMiss(Miss.SIMILAR, Resource("Namespace", "", upstream.namespace), why, expected)


def _list_others(host: Host, evidence: Evidence) -> Iterator[NearMiss]:
    """Tell which paths the host has, or that it has none."""
    paths = sorted(excerpt(f"{one.match.value}{one.path}") for one in evidence.list_upstreams(host))
    more = f" and {len(paths) - _MOST_LISTED} more" if len(paths) > _MOST_LISTED else ""
    why = f"has these paths there: {', '.join(paths[:_MOST_LISTED])}{more}" if paths else "has no path on this host"
    expected = "one of them, or a Pod that names this one" if paths else "a routable Pod that names this path"
    yield NearMiss(Miss.OTHER_PATHS, Resource("Namespace", "", host.namespace), why, expected)


def _compare(asked: str, text: str) -> float:
    """Tell how alike paths are, 0 if they are not. Of the asked one as many segments count as the other one has."""
    begin = "/".join(asked.split("/")[: text.rstrip("/").count("/") + 1])
    matchers = (SequenceMatcher(None, one.lower(), text.lower()) for one in {asked, begin} if one or text)
    # The exact ratio takes long; the quick ones are never below it.
    likely = (one for one in matchers if min(one.real_quick_ratio(), one.quick_ratio()) >= _LIKENESS)
    return max((one.ratio() for one in likely), default=0.0)
