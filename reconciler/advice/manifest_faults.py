"""Manifest faults: what the router would tell of objects that are not deployed yet, and what it could never tell.

What is not known before then counts as good: whether a Pod is ready, its address, and a Namespace or a Secret that is
not among the manifests.
"""

import dataclasses
import math
from collections.abc import Iterable, Iterator, Mapping
from ipaddress import IPv6Address
from operator import attrgetter

from msgspec.structs import asdict, replace

from reconciler.advice.manifest_levels import Finding, LevelJudge
from reconciler.objects import listing as kubernetes
from reconciler.objects.listing import Listing
from reconciler.objects.normaliser import Normaliser, normalise_pod
from reconciler.objects.snapshot import Namespace, Pod, Resource
from reconciler.objects.workloads import WORKLOADS, OtherObject, Workload
from reconciler.routing.hosts import build_host
from reconciler.routing.model import ApiKey, Tenant
from reconciler.routing.problems import Problem, Reason
from reconciler.routing.secret_fields import NOT_THERE
from reconciler.routing.sharing import settle
from reconciler.routing.tenant import read_tenant
from reconciler.routing.validity import tell_expiry
from reconciler.settings import Settings
from reconciler.values.certificates import PemCache

# A range for documentation: https://www.rfc-editor.org/rfc/rfc3849
_INVENTED = int(IPv6Address("2001:db8::"))
_SHOWN = "[2001:db8:"
_METADATA = ("metadata", "annotations")
_UNKNOWN = ApiKey(("unknown",))


class _Template(Pod, frozen=True):
    """A Pod as a workload would make it; it is named after the workload."""

    kind: str

    @property
    def resource(self) -> Resource:
        return Resource(self.kind, self.namespace, self.name)


def judge_manifests(
    listing: Listing, workloads: tuple[Workload, ...], others: Iterable[OtherObject], settings: Settings, now: float
) -> tuple[Finding, ...]:
    """Judge all objects, of which each name appears once; give what is wrong, sorted.

    A workload that another one made, such as the ReplicaSet of a Deployment, is judged by what made it. `now` is in
    seconds since the epoch.
    """
    workloads = tuple(workload for workload in workloads if not workload.owned)
    pods = _group_pods(listing, workloads, settings)
    findings = set(_judge_routes(listing, pods, settings, now))
    judge = LevelJudge(settings)
    for namespace in listing.namespaces:
        findings.update(judge.judge_namespace(namespace, has_paths=namespace.metadata.name in pods))
    for pod in listing.pods:
        findings.update(judge.judge_pod(pod))
    for workload in workloads:
        findings.update(judge.judge_workload(workload))
    for other in others:
        findings.update(judge.judge_other(other))
    return tuple(sorted(findings))


def _group_pods(listing: Listing, workloads: Iterable[Workload], settings: Settings) -> dict[str, list[Pod]]:
    """Group the Pods that have paths by Namespace, and those that workloads would make. Each one has an address."""
    pods = [normalise_pod(pod, settings) for pod in listing.pods]
    pods += [_make_pod(workload, settings) for workload in workloads]
    groups: dict[str, list[Pod]] = {}
    for number, pod in enumerate(pods):
        if pod.paths:
            address = pod.ip or str(IPv6Address(_INVENTED + number))
            groups.setdefault(pod.namespace, []).append(replace(pod, ip=address))
    return groups


def _make_pod(workload: Workload, settings: Settings) -> Pod:
    resource, level = workload.resource, workload.pod
    metadata = kubernetes.Metadata(resource.name, resource.namespace, level.labels, level.annotations)
    pod = normalise_pod(kubernetes.Pod(metadata, workload.spec), settings)
    return _Template(**asdict(pod), kind=resource.kind)


def _judge_routes(listing: Listing, pods: Mapping[str, list[Pod]], settings: Settings, now: float) -> Iterator[Finding]:
    """Give the problems that the router would tell, if all objects had the labels that they need."""
    known = {namespace.metadata.name for namespace in listing.namespaces}
    for problem in _find_problems(listing, pods, settings, now):
        resource = problem.resource
        if problem.reason is Reason.ADDRESS and problem.why.startswith(_SHOWN):
            continue
        if resource.kind == "Namespace" and resource.name not in known:
            # The paths of its Pods together are at fault.
            yield Finding(problem, pods[resource.name][0].resource, ())
        elif resource.kind == "Namespace":
            at_hosts = problem.host or problem.what.startswith(settings.hosts_annotation)
            path = (*_METADATA, settings.hosts_annotation) if at_hosts else _METADATA
            yield Finding(problem, resource, path)
        elif problem.what.startswith(settings.paths_annotation):
            above = WORKLOADS[resource.kind][1] if resource.kind in WORKLOADS else ()
            yield Finding(problem, resource, (*above, "metadata", "annotations", settings.paths_annotation))
        else:
            yield Finding(problem, resource, ())


def _find_problems(
    listing: Listing, pods: Mapping[str, list[Pod]], settings: Settings, now: float
) -> Iterator[Problem]:
    pems = PemCache()
    # Whether the router has TLS is known where it runs.
    settings = dataclasses.replace(settings, ssl_cert=settings.ssl_cert or b"unknown")
    tenants = [
        _assume_secret(read_tenant(namespace, settings, pems), namespace)
        for namespace in _list_namespaces(listing, pods, settings)
    ]
    contests = settle(sorted(tenants, key=attrgetter("age")), shared_by_all=settings.host_sharing == "any")
    for tenant in tenants:
        yield from tenant.problems
    for contest in contests.values():
        built = build_host(contest, settings)
        yield from built.problems
        if built.host:
            yield from tell_expiry(built.host, now)


def _list_namespaces(listing: Listing, pods: Mapping[str, list[Pod]], settings: Settings) -> Iterator[Namespace]:
    """List the Namespaces with their Pods. One that is not among the manifests has a host that nobody else has."""
    secrets = tuple(one for one in listing.secrets if one.metadata.name == settings.api_key_secret_name)
    snapshot = Normaliser(settings).normalise(Listing(listing.namespaces, (), secrets))
    for namespace in snapshot.namespaces:
        yield replace(namespace, pods=tuple(pods.get(namespace.name, ())))
    for name in sorted(pods.keys() - {namespace.name for namespace in snapshot.namespaces}):
        yield Namespace(name, math.inf, f'{{"{name}.invalid": {{}}}}', "", "", None, tuple(pods[name]))


def _assume_secret(tenant: Tenant, namespace: Namespace) -> Tenant:
    """Assume that a Secret that is not among the manifests has all that is needed."""
    if namespace.secret:
        return tenant
    hosts = tuple(replace(host, served=True, problems=()) if host.problems else host for host in tenant.hosts)
    problems = tuple(problem for problem in tenant.problems if not problem.why.startswith(NOT_THERE))
    return replace(tenant, hosts=hosts, api_key=tenant.api_key or _UNKNOWN, problems=problems)
