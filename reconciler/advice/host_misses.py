"""Near misses of a host: why nothing answers for it, and what nearly does."""

import json
from collections.abc import Iterable, Iterator
from difflib import get_close_matches
from itertools import islice

from reconciler.advice.evidence import Evidence
from reconciler.advice.matching import find_host
from reconciler.advice.near_miss import Miss, NearMiss, cut_misses
from reconciler.advice.question import Question, QuestionError, parse_question
from reconciler.advice.wanted import names_any
from reconciler.advice.workload_misses import find_workloads_with_host
from reconciler.objects.listing import Metadata
from reconciler.objects.snapshot import Resource
from reconciler.routing.host_options import parse_hosts
from reconciler.routing.problems import Reason
from reconciler.routing.sharing import list_wildcards
from reconciler.settings import Settings
from reconciler.values.addresses import parse_address
from reconciler.values.messages import excerpt
from reconciler.values.patterns import HOST_NAME

_LIKENESS = 0.75
_MOST_SIMILAR, _MOST_HELD, _MOST_READ = 3, 5, 100
_LONGEST_READ = 1 << 18  # Kubernetes allows as much for all annotations of an object


def find_host_misses(question: Question, evidence: Evidence, settings: Settings) -> tuple[NearMiss, ...]:
    """Find what nearly serves a host that is not served, the most likely cause first."""
    host = question.host
    return cut_misses(
        [
            *_find_other_port(question, evidence, settings),
            *_find_left_out(host, evidence),
            *_find_namespaces(host, evidence, settings),
            *find_workloads_with_host(host, evidence, settings),
            *_find_pods(host, evidence, settings),
            *_find_held(evidence),
            *_find_bare_wildcard(host, evidence),
            *_find_similar(host, evidence, settings),
        ]
    )


def _find_other_port(question: Question, evidence: Evidence, settings: Settings) -> Iterator[NearMiss]:
    if question.tls is None:
        return
    found = find_host(evidence.table.routes, question.host, tls=not question.tls)
    if found:
        resource = Resource("Namespace", "", found.namespace)
        why = "has no TLS for this host" if question.tls else "serves this host with TLS alone"
        scheme, port = ("http", settings.port) if question.tls else ("https", settings.ssl_port)
        yield NearMiss(Miss.OTHER_PORT, resource, why, f"{scheme}://{question.host}{question.uri}, port {port}")


def _find_left_out(host: str, evidence: Evidence) -> Iterator[NearMiss]:
    """Find what is told of a host that is named, or of a wildcard that would take it, and that is not served."""
    wanted = (host, *list_wildcards(host))
    for problem in evidence.table.problems:
        if problem.host in wanted and not evidence.find_named(problem.host):
            kind = Miss.NOT_SHARED if problem.reason is Reason.HOST else Miss.LEFT_OUT
            yield NearMiss(kind, problem.resource, f"{problem.what} {problem.why}", problem.expected)


def _find_namespaces(host: str, evidence: Evidence, settings: Settings) -> Iterator[NearMiss]:
    """Find Namespaces that name a host in a way that does not count."""
    for namespace in evidence.listing.namespaces:
        metadata = namespace.metadata
        resource = Resource("Namespace", "", metadata.name)
        text = (metadata.annotations or {}).get(settings.hosts_annotation)
        selected = settings.selector.accepts(metadata.labels or {})
        watched = not settings.watch_namespaces or metadata.name in settings.watch_namespaces
        if text and names_any(text, [host]):
            if not selected:
                why = f"names this host, and its labels do not match ROUTABLE_LABEL_SELECTOR ({settings.selector})"
                yield NearMiss(Miss.NOT_SELECTED, resource, why, f"the labels {settings.selector} on the Namespace")
            elif not watched:
                why = "names this host, and WATCH_NAMESPACES does not name it"
                yield NearMiss(Miss.NOT_WATCHED, resource, why, "a router that watches this Namespace")
        elif text:
            yield from _find_misspelt(host, text, resource, settings)
        yield from _find_misplaced(host, metadata, resource, settings)


def _find_misspelt(host: str, text: str, resource: Resource, settings: Settings) -> Iterator[NearMiss]:
    """Find a host in an annotation that is no JSON, or in a form that is not allowed there."""
    try:
        keys = list(named) if isinstance(named := json.loads(text[:_LONGEST_READ]), dict) else None
    except (ValueError, RecursionError):
        keys = None
    if keys is None:
        if host in text.lower():
            why = f"names this host in {settings.hosts_annotation}, which is no JSON object"
            yield NearMiss(Miss.UNREADABLE, resource, why, f'such as {{"{host}": {{}}}}')
        return
    illegal = (key for key in keys if not parse_address(key) and not HOST_NAME.accepts(key))
    for key in islice(illegal, _MOST_READ):
        if _read_host(key) == host or get_close_matches(host, [key.lower()], cutoff=_LIKENESS):
            why = f"has {excerpt(key)} in {settings.hosts_annotation}, which is not a host"
            yield NearMiss(Miss.WRONG_NAME, resource, why, "the name alone: without scheme, port, path or blanks")


def _read_host(key: str) -> str:
    try:
        return parse_question(key).host
    except QuestionError:
        return ""


def _find_misplaced(host: str, metadata: Metadata, resource: Resource, settings: Settings) -> Iterator[NearMiss]:
    """Find a host in an annotation whose name is not the right one, though nearly."""
    for name, text in (metadata.annotations or {}).items():
        likely = get_close_matches(name, [settings.hosts_annotation], cutoff=0.85) or name == settings.paths_annotation
        if name != settings.hosts_annotation and likely and text and names_any(text, [host]):
            why = f"names this host in the annotation {excerpt(name)}, which this router does not read"
            yield NearMiss(Miss.WRONG_NAME, resource, why, f"the annotation {settings.hosts_annotation}")


def _find_pods(host: str, evidence: Evidence, settings: Settings) -> Iterator[NearMiss]:
    """Find Pods that carry the annotation of hosts, which belongs to their Namespace."""
    for pod in evidence.listing.pods:
        text = (pod.metadata.annotations or {}).get(settings.hosts_annotation)
        if text and names_any(text, [host]):
            resource = Resource("Pod", pod.metadata.namespace or "", pod.metadata.name)
            why = f"names this host in {settings.hosts_annotation}, which is read on Namespaces alone"
            expected = f"the annotation on Namespace {pod.metadata.namespace}"
            yield NearMiss(Miss.WRONG_LEVEL, resource, why, expected)


def _find_held(evidence: Evidence) -> Iterator[NearMiss]:
    for held in evidence.held[:_MOST_HELD]:
        why = f"is held at its last good state: {held.why}. What it has named since then is not served"
        resource = Resource("Namespace", "", held.namespace)
        yield NearMiss(Miss.HELD, resource, why, "the change that is refused, corrected or taken back")


def _find_bare_wildcard(host: str, evidence: Evidence) -> Iterator[NearMiss]:
    found = evidence.find_named(f"*.{host}")
    if found:
        resource = Resource("Namespace", "", found.namespace)
        why = f"has *.{host}, which covers the names below {host} and not the name itself"
        yield NearMiss(Miss.SIMILAR, resource, why, f"{host} in the hosts too")


def _find_similar(host: str, evidence: Evidence, settings: Settings) -> Iterator[NearMiss]:
    """Find hosts with a similar name."""
    owners = {one.name: one.namespace for one in evidence.table.routes.hosts}
    for name in get_close_matches(host, owners.keys() - {host, f"*.{host}"}, n=_MOST_SIMILAR, cutoff=_LIKENESS):
        yield NearMiss(Miss.SIMILAR, Resource("Namespace", "", owners[name]), f"serves {name}", f"{name} may be meant")
    hidden = dict(_list_unselected(evidence, settings))
    for name in get_close_matches(host, hidden.keys() - {host}, n=1, cutoff=_LIKENESS):
        why = f"names {name}, and its labels do not match ROUTABLE_LABEL_SELECTOR ({settings.selector})"
        yield NearMiss(Miss.SIMILAR, Resource("Namespace", "", hidden[name]), why, f"{name} may be meant")


def _list_unselected(evidence: Evidence, settings: Settings) -> Iterable[tuple[str, str]]:
    """List the hosts of Namespaces that are not selected, with the Namespaces."""
    for namespace in evidence.listing.namespaces:
        metadata = namespace.metadata
        text = (metadata.annotations or {}).get(settings.hosts_annotation)
        if text and not settings.selector.accepts(metadata.labels or {}):
            yield from ((one.name, metadata.name) for one in parse_hosts(text)[0])
