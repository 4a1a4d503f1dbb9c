"""Explanation: what answers a request and why, as a value; `explain` finds it."""

from collections.abc import Iterator
from enum import Enum

from reconciler.advice.evidence import Evidence
from reconciler.advice.host_answers import HostAnswer, find_host_answer, limit_to_port
from reconciler.advice.host_misses import find_host_misses
from reconciler.advice.matching import (
    decode_uri,
    find_host,
    find_location,
    is_malformed,
    is_misleading,
    is_too_long,
    write_sent,
)
from reconciler.advice.near_miss import NearMiss
from reconciler.advice.path_misses import find_path_misses
from reconciler.advice.question import Question
from reconciler.advice.rules import Loser, find_losers, tell_host_rule, tell_path_rule
from reconciler.objects.listing import Pod
from reconciler.objects.readiness import find_unreadiness
from reconciler.objects.snapshot import Resource
from reconciler.routing.keys import backup, redirect, share
from reconciler.routing.model import Answer, Host, Location, Match, Tls, Upstream
from reconciler.routing.options import Options, find_option
from reconciler.routing.path_entries import PathEntry, parse_paths
from reconciler.routing.problems import Problem, Reason
from reconciler.settings import Settings
from reconciler.values.value import Value


class Outcome(Enum):
    """What a request gets, once it has brought the API key and the client certificate that it needs."""

    PODS = "Pods"
    UNAVAILABLE = "503"  # the path is known, and no Pod of it is ready
    REDIRECT = "redirect"  # to another path of the host
    CLOSED = "403"  # no API key opens the path, or an option that protects it cannot be used
    DEFAULT = "DEFAULT_LOCATION_RETURN"  # no Namespace has the path
    REFUSED = "400"  # a Pod could read the path differently from nginx
    TOO_LONG = "414"
    MOVED = "308"  # to https, by the plain port
    HOST_REDIRECT = "host redirect"  # by the host's options
    MAINTENANCE = "maintenance"  # 503 by the host's options
    WAITING = "no certificate"  # 503: the host's certificate cannot be served
    UNKNOWN = "closed"  # the connection is closed: the host is unknown on this port


_OUTCOMES = {
    Answer.PODS: Outcome.PODS,
    Answer.UNAVAILABLE: Outcome.UNAVAILABLE,
    Answer.REDIRECT: Outcome.REDIRECT,
    Answer.CLOSED: Outcome.CLOSED,
    Answer.RESERVED: Outcome.DEFAULT,
}
_OF_HOSTS = {
    HostAnswer.MOVED: Outcome.MOVED,
    HostAnswer.REDIRECTED: Outcome.HOST_REDIRECT,
    HostAnswer.MAINTENANCE: Outcome.MAINTENANCE,
    HostAnswer.WAITING: Outcome.WAITING,
    HostAnswer.CLOSED: Outcome.UNKNOWN,
}


class Backend(Value, frozen=True):
    """A Pod that names the path. It gets traffic at `address` if it is ready; else `why` says why not."""

    namespace: str
    name: str
    address: str | None
    weight: int
    why: str


class FoundHost(Value, frozen=True):
    """The host that takes the request, the Namespace that owns it, the rule that chose it, and its options."""

    name: str
    namespace: str
    rule: str
    tls: Tls | None
    options: Options


class FoundPath(Value, frozen=True):
    """The path that takes the request, its Namespace, and the rule that chose it.

    `sent` is the URI that a Pod gets; it is empty if none gets it. `upstream` is empty if the path is kept for the
    host's owner. `api_key` is None if it is not known whether one is needed; `keys` counts the valid ones. `redirect`
    is a status and a path. `reload` says what of the path makes each change of its Pods need a reload of nginx.
    """

    match: Match
    path: str
    namespace: str
    rule: str
    upstream: str
    target: str | None
    sent: str
    api_key: bool | None
    keys: int
    options: Options = ()
    redirect: str | None = None
    reload: str = ""


class Explanation(Value, frozen=True):
    """What a request gets, and why. `tls` says on which of the two ports; None if neither has the host."""

    question: Question
    outcome: Outcome
    tls: bool | None
    host: FoundHost | None
    path: FoundPath | None
    backends: tuple[Backend, ...]
    losers: tuple[Loser, ...]
    problems: tuple[Problem, ...]
    near_misses: tuple[NearMiss, ...]
    gaps: tuple[str, ...]

    @property
    def is_answered(self) -> bool:
        """Whether Pods answer."""
        return self.outcome is Outcome.PODS


def explain(question: Question, evidence: Evidence, settings: Settings) -> Explanation:
    """Explain what answers a request. Without a scheme, it is meant for the port that has the host."""
    ports = (True, False) if question.tls is None else (question.tls,)
    found = ((tls, find_host(evidence.table.routes, question.host, tls=tls)) for tls in ports)
    tls, host = next(((tls, host) for tls, host in found if host), (question.tls, None))
    host = limit_to_port(host, tls=bool(tls)) if host else None
    refused = _refuse(question, host, bool(tls))
    location = find_location(host, decode_uri(question.uri)) if host and not refused else None
    upstream = evidence.find_upstream(location.upstream) if location else None
    asks = location is not None and location.answer is not Answer.REDIRECT
    backends = tuple(_find_backends(upstream, evidence, settings)) if upstream and asks else ()
    losers = tuple(find_losers(host.name if host else question.host, evidence))
    misses = find_path_misses(question, host, location, evidence, settings) if host and not refused else ()
    misses = misses if host or refused else find_host_misses(question, evidence, settings)
    return Explanation(
        question=question,
        outcome=refused or _choose_outcome(host, location),
        tls=tls,
        host=_view_host(host, question, evidence, settings) if host else None,
        path=_view_path(location, host, question, evidence) if location and host else None,
        backends=backends,
        losers=losers,
        problems=tuple(_find_problems(question, host, location, backends, evidence)),
        near_misses=tuple(misses),
        gaps=evidence.gaps,
    )


def _refuse(question: Question, host: Host | None, tls: bool) -> Outcome | None:
    """Give what a request gets for its path or its host; None if nginx goes on to look for a location of a path."""
    if is_malformed(question.uri) or (host and is_misleading(question.uri)):
        return Outcome.REFUSED
    if host and (answer := find_host_answer(host, question.uri, tls=tls)):
        return _OF_HOSTS[answer]
    return Outcome.TOO_LONG if host and is_too_long(host, question.uri) else None


def _choose_outcome(host: Host | None, location: Location | None) -> Outcome:
    if not host:
        return Outcome.UNKNOWN
    return _OUTCOMES[location.answer] if location else Outcome.DEFAULT


def _view_host(host: Host, question: Question, evidence: Evidence, settings: Settings) -> FoundHost:
    rule = tell_host_rule(host, question.host, evidence, settings)
    return FoundHost(host.name, host.namespace, rule, host.tls, host.options)


def _view_path(location: Location, host: Host, question: Question, evidence: Evidence) -> FoundPath:
    upstream = evidence.find_upstream(location.upstream)
    match, path = (upstream.match, upstream.path) if upstream else (location.match, location.path)
    redirects = location.answer is Answer.REDIRECT
    return FoundPath(
        match=match,
        path=path,
        namespace=location.namespace if upstream else host.namespace,
        rule=tell_path_rule(location, host, upstream, evidence),
        upstream=location.upstream,
        target=_show_target(location),
        sent=write_sent(location, question.uri, decode_uri(question.uri)) if upstream and not redirects else "",
        api_key=location.api_key if evidence.has_secrets else None,
        keys=location.more_keys + 1 if location.api_key else 0,
        options=location.options,
        redirect=_show_redirect(location) if redirects else None,
        reload="" if redirects else evidence.own_upstreams.get(location.upstream, ""),
    )


def _show_redirect(location: Location) -> str:
    """Give the status and the path of a redirect; a router's status has neither."""
    return str(find_option(location.options, redirect.KEY.name) or "to another path")


def _show_target(location: Location) -> str | None:
    """Give targetPath without the slash that joins it to what follows."""
    if location.target is None or location.match is Match.EXACT:
        return location.target
    return location.target.rstrip("/") or "/"


def _find_backends(upstream: Upstream, evidence: Evidence, settings: Settings) -> Iterator[Backend]:
    """Find the Pods that name a path: first those that get traffic, then the others with the reason."""
    for server in upstream.servers:
        yield Backend(upstream.namespace, server.pod, server.address, server.weight, "")
    serving = {server.pod for server in upstream.servers}
    for pod in evidence.listing.pods:
        metadata = pod.metadata
        others = metadata.namespace != upstream.namespace or metadata.name in serving
        if others or not settings.selector.accepts(metadata.labels or {}):
            continue
        text = (metadata.annotations or {}).get(settings.paths_annotation) or ""
        entries, _ = parse_paths(text, settings) if text else ((), ())
        for entry in entries:
            if (entry.match, entry.path) == (upstream.match, upstream.path):
                why = _tell_why(pod, evidence, settings) or _tell_idle(entry, upstream)
                yield Backend(upstream.namespace, metadata.name, None, entry.weight, why)


def _tell_why(pod: Pod, evidence: Evidence, settings: Settings) -> str:
    """Say why a Pod that names a path gets no traffic; nothing if nothing is wrong."""
    if why := find_unreadiness(pod, ignore_condition=settings.ignore_pod_readiness):
        return why
    resource = Resource("Pod", pod.metadata.namespace or "", pod.metadata.name)
    told = (f"{one.what} {one.why}" for one in evidence.table.problems if one.resource == resource)
    return next(told, "")


def _tell_idle(entry: PathEntry, upstream: Upstream) -> str:
    """Say why a path asks other Pods than one that is ready."""
    if find_option(entry.options, backup.KEY.name):
        return "it is a backup, and others are ready"
    shared = find_option(entry.options, share.KEY.name) or find_option(upstream.options, share.KEY.name)
    return "no share of the requests is left for it" if shared else "it is left out"


def _find_problems(
    question: Question, host: Host | None, location: Location | None, backends: tuple[Backend, ...], evidence: Evidence
) -> Iterator[Problem]:
    """Find the problems that concern a request: of its host, and of the Namespaces and Pods that might answer.

    If Pods answer, the problems of other Pods do not concern it.
    """
    names = {question.host, host.name if host else question.host}
    contest = (evidence.contests or {}).get(host.name if host else question.host)
    namespaces = {claim.tenant.name for claim in contest.claims} if contest else set()
    namespaces |= ({host.namespace} if host else set()) | ({location.namespace} if location else set())
    pods = {Resource("Pod", one.namespace, one.name) for one in backends}
    answered = location is not None and location.answer is Answer.PODS
    for problem in evidence.table.problems:
        if problem.host:
            concerns = problem.host in names
        elif problem.resource.kind == "Pod" and answered:
            concerns = problem.resource in pods
        else:
            concerns = problem.namespace.name in namespaces or problem.reason is Reason.SETTING
        if concerns:
            yield problem
