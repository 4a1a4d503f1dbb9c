"""Tenant: what one Namespace and its objects ask for, read on its own. Nothing here sees another Namespace."""

from msgspec.structs import replace

from reconciler.objects.snapshot import Namespace, Resource
from reconciler.routing.api_keys import read_api_key
from reconciler.routing.host_options import HostOptions, parse_hosts
from reconciler.routing.limits import limit_certificates, limit_locations, limit_regexes
from reconciler.routing.model import Tenant, TenantHost
from reconciler.routing.paths import read_paths
from reconciler.routing.problems import Problem, cut_problems
from reconciler.routing.tls import SecretFields, TlsRefused, read_tls
from reconciler.settings import Settings
from reconciler.values.certificates import PemCache


def read_tenant(namespace: Namespace, settings: Settings, pems: PemCache) -> Tenant:
    """Read all that one Namespace asks for. Only what is not legal is left out, and is a problem."""
    problems: list[Problem] = []
    names, faults = parse_hosts(namespace.hosts) if namespace.hosts is not None else ((), ())
    problems += (fault.as_problem(namespace.resource, settings.hosts_annotation) for fault in faults)
    paths = limit_regexes(tuple(read_paths(namespace.pods, settings, problems)), namespace.name, problems)
    fields = SecretFields(namespace.secret.data) if namespace.secret else None
    hosts = tuple(_read_host(host, namespace.resource, fields, settings, pems) for host in names)
    hosts = tuple(limit_certificates(hosts, namespace.name, settings))
    hosts, paths = limit_locations(hosts, paths, namespace.name, settings, problems)
    return Tenant(
        name=namespace.name,
        created=namespace.created,
        hosts=hosts,
        paths=paths,
        api_key=read_api_key(namespace.secret, settings.api_key_secret_field, problems),
        problems=tuple(cut_problems(problems)),
    )


def _read_host(
    host: HostOptions, owner: Resource, fields: SecretFields | None, settings: Settings, pems: PemCache
) -> TenantHost:
    """Read what a host's options refer to. A host whose TLS cannot be served is not served at all."""
    needs_key = host.require_api_key or settings.require_api_key
    wish = TenantHost(host.name, not host.broken, shared_with=host.shared_with, require_api_key=needs_key)
    if not host.tls or host.broken:
        return wish
    try:
        return replace(wish, tls=read_tls(host.tls, fields, settings, pems))
    except TlsRefused as refused:
        problem = Problem(owner, f"host {host.name}", f"is left out: it {refused.why}", refused.expected)
        return replace(wish, served=False, problem=problem)
