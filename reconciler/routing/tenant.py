"""Tenant: what one Namespace and its objects ask for, read on their own. Nothing here sees another Namespace."""

import base64
from collections.abc import Callable, Iterable, Iterator
from hashlib import blake2b
from itertools import groupby
from operator import attrgetter

from msgspec.structs import replace

from reconciler.objects.snapshot import Namespace, Pod, Port, Probe, Resource, Secret
from reconciler.routing.annotations import Fault, HostOptions, Match, PathEntry, parse_hosts, parse_paths
from reconciler.routing.tls import SecretFields, Tls, TlsRefused, read_tls
from reconciler.settings import Settings
from reconciler.values.patterns import PROBE_PATH, excerpt, find_cidr, parse_address
from reconciler.values.value import Value

LONGEST_KEY = 2048
MOST_KEYS = 8  # during a rotation
MOST_REGEXES = 20  # nginx asks one after the other, for each request
LONGEST_PROBE = 86400
_MOST_PROBLEMS, _MOST_PROBLEMS_OF_A_NAMESPACE = 20, 200
# Each is a server of an upstream; 20,000 of them cost a router 20 MiB, again in each generation of nginx's workers.
_SERVERS_A_LOCATION = 5


class Problem(Value, frozen=True, order=True):
    """One thing left out: of which object, what, why, and what would be right. No secret is ever in it."""

    resource: Resource
    what: str
    why: str
    right: str

    @property
    def namespace(self) -> Resource:
        """The Namespace whose problem it is."""
        return Resource("Namespace", "", self.resource.namespace or self.resource.name)

    def __str__(self) -> str:
        return f"{self.resource}: {self.what} {self.why}; right would be: {self.right}"


class Server(Value, frozen=True, order=True):
    """A Pod behind a path: `address` is ip:port, an IPv6 address in brackets."""

    address: str
    weight: int
    pod: str


class Upstream(Value, frozen=True):
    """The Pods of one Namespace that serve one basePath, sorted by address; `check` is an active health check."""

    name: str
    namespace: str
    match: Match
    path: str
    servers: tuple[Server, ...]
    check: Probe | None


class Path(Value, frozen=True):
    """One basePath of a Namespace, for all of its hosts; `target` replaces it on the way to the Pods."""

    target: str | None
    upstream: Upstream

    @property
    def match(self) -> Match:
        """How it matches."""
        return self.upstream.match

    @property
    def path(self) -> str:
        """What it matches, decoded."""
        return self.upstream.path


class TenantHost(Value, frozen=True):
    """A host that a Namespace names; not `served`: what it asks for cannot be had, a problem if it owns the host."""

    name: str
    served: bool
    tls: Tls | None = None
    problem: Problem | None = None


class ApiKey(Value, frozen=True):
    """What a request must bring: one of the header's values, of which there is none where nothing may pass."""

    values: tuple[str, ...]

    def __repr__(self) -> str:
        return f"ApiKey({len(self.values)} usable)"


class Tenant(Value, frozen=True):
    """One Namespace's wishes, sorted, and the problems in them. No `api_key`: requests need none."""

    name: str
    created: float
    hosts: tuple[TenantHost, ...]
    paths: tuple[Path, ...]
    api_key: ApiKey | None
    problems: tuple[Problem, ...]


def read_tenant(namespace: Namespace, settings: Settings) -> Tenant:
    """Read all that one Namespace asks for. What is not legal is left out alone, and is a problem."""
    problems: list[Problem] = []
    names, faults = parse_hosts(namespace.hosts) if namespace.hosts is not None else ((), ())
    annotation = settings.hosts_annotation
    problems += (_problem(namespace.resource, annotation, fault) for fault in faults)
    paths = _limit_regexes(namespace.resource, tuple(_read_paths(namespace.pods, settings, problems)), problems)
    fields = SecretFields(namespace.secret.data) if namespace.secret else None
    hosts = tuple(_read_host(host, namespace.resource, fields, settings) for host in names)
    hosts = tuple(_limit_certificates(hosts, namespace.resource, settings))
    hosts, paths = _limit(namespace.resource, hosts, paths, settings, problems)
    return Tenant(
        name=namespace.name,
        created=namespace.created,
        hosts=hosts,
        paths=paths,
        api_key=_read_api_key(namespace.secret, settings, problems),
        problems=tuple(cut_problems(problems)),
    )


def cut_problems(problems: Iterable[Problem]) -> list[Problem]:
    """Sort problems and keep the first of each object and Namespace: a tenant shall not fill everyone's log."""
    of_objects = _keep_first(set(problems), _MOST_PROBLEMS, attrgetter("resource"))
    return sorted(_keep_first(of_objects, _MOST_PROBLEMS_OF_A_NAMESPACE, attrgetter("namespace")))


def _keep_first(problems: Iterable[Problem], most: int, find: Callable[[Problem], Resource]) -> Iterator[Problem]:
    for resource, group in groupby(sorted(problems, key=lambda problem: (find(problem), problem)), key=find):
        found = tuple(group)
        yield from found[:most]
        if len(found) > most:
            yield Problem(resource, "there", f"are {len(found) - most} more problems", "as above")


def _limit(
    resource: Resource,
    hosts: tuple[TenantHost, ...],
    paths: tuple[Path, ...],
    settings: Settings,
    problems: list[Problem],
) -> tuple[tuple[TenantHost, ...], tuple[Path, ...]]:
    """Leave out what one Namespace asks for beyond its share of nginx's memory: each path is two locations a host."""
    most_paths = settings.max_locations // 2
    most_hosts = min(settings.max_hosts, settings.max_locations // (2 * max(1, min(len(paths), most_paths))))
    for what, asked, most in (("paths", len(paths), most_paths), ("hosts", len(hosts), most_hosts)):
        if asked > most:
            limits = f"{settings.max_hosts} hosts, and {settings.max_locations} locations of two a path and host"
            problems.append(Problem(resource, what, f"are {asked}; the first {most} by name are served", limits))
    return hosts[:most_hosts], paths[:most_paths]


def _limit_certificates(hosts: tuple[TenantHost, ...], resource: Resource, settings: Settings) -> Iterator[TenantHost]:
    """Do without the hosts, last names first, whose certificates are beyond one Namespace's share of nginx's time."""
    left = settings.max_certificates
    for host in hosts:
        left -= host.tls.weight if host.tls else 0
        if host.tls and left < 0:
            why = "is left out: with the hosts before it it has too many certificates"
            right = f"MAX_CERTIFICATES_PER_NAMESPACE, {settings.max_certificates}, at most"
            problem = Problem(resource, f"host {host.name}", why, right)
            yield TenantHost(host.name, served=False, problem=problem)
        else:
            yield host


def _limit_regexes(resource: Resource, paths: tuple[Path, ...], problems: list[Problem]) -> tuple[Path, ...]:
    regexes = [path for path in paths if path.match.is_regex]
    if len(regexes) > MOST_REGEXES:
        why = f"are {len(regexes)}; the first {MOST_REGEXES} by name are served"
        problems.append(Problem(resource, "regular expressions", why, f"at most {MOST_REGEXES}"))
    late = regexes[MOST_REGEXES:]
    return tuple(path for path in paths if path not in late) if late else paths


def _problem(resource: Resource, annotation: str, fault: Fault) -> Problem:
    return Problem(resource, f"{annotation} {fault.what}".rstrip(), fault.why, fault.right)


def _read_api_key(secret: Secret | None, settings: Settings, problems: list[Problem]) -> ApiKey | None:
    """Read all valid keys of a Namespace: one, or during a rotation several, the field's own name first."""
    fields = (
        [(name, value) for name, value in secret.data if is_key_field(name, settings.api_key_secret_field)]
        if secret
        else []
    )
    if not secret or not fields:
        return None
    usable = [(name, value) for name, value in fields if value and len(value) <= LONGEST_KEY]
    effect = "it opens nothing" if usable else "all paths answer 403"
    for name, value in fields:
        if (name, value) not in usable:
            why = "is not base64" if value is None else "is too long" if value else "is empty"
            shown = name if name == settings.api_key_secret_field else excerpt(name)
            right = f"1 to {LONGEST_KEY} bytes in base64"
            problems.append(Problem(secret.resource, f"field {shown}", f"{why}: {effect}", right))
    if len(usable) > MOST_KEYS:
        why = f"are {len(usable)}; the first {MOST_KEYS} by name open"
        problems.append(Problem(secret.resource, "API keys", why, f"at most {MOST_KEYS}"))
    return ApiKey(tuple(dict.fromkeys(base64.b64encode(value).decode() for _, value in usable[:MOST_KEYS])))


def is_key_field(field: str, key_field: str) -> bool:
    """Tell whether a Secret's field holds a valid API key: `key_field` itself, or that with a dot and anything."""
    return field == key_field or field.startswith(f"{key_field}.")


def _read_host(host: HostOptions, resource: Resource, fields: SecretFields | None, settings: Settings) -> TenantHost:
    if not host.tls or host.broken:
        return TenantHost(host.name, not host.broken)
    try:
        return TenantHost(host.name, served=True, tls=read_tls(host.tls, fields, settings))
    except TlsRefused as refused:
        problem = Problem(resource, f"host {host.name}", f"is left out: it {refused.why}", refused.right)
        return TenantHost(host.name, served=False, problem=problem)


class _Claim(Value, frozen=True):
    """One good entry of one Pod."""

    pod: Pod
    entry: PathEntry
    server: Server
    check: Probe | None


def _read_paths(pods: tuple[Pod, ...], settings: Settings, problems: list[Problem]) -> Iterator[Path]:
    claims: dict[tuple[Match, str], list[_Claim]] = {}
    parsed: dict[str, tuple[tuple[PathEntry, ...], tuple[Fault, ...]]] = {}
    left = _SERVERS_A_LOCATION * settings.max_locations
    for pod in sorted(pods, key=lambda pod: (pod.created, pod.name)):
        if pod.paths not in parsed and left > 0:
            parsed[pod.paths] = parse_paths(pod.paths, settings.allow_regex_paths)
        entries, faults = parsed.get(pod.paths, ((), ()))
        left -= len(entries)
        if left < 0:
            why, right = "is left out: older Pods of the Namespace have too many entries", "fewer Pods, or fewer paths"
            problems.append(Problem(pod.resource, settings.paths_annotation, why, right))
            continue
        problems += (_problem(pod.resource, settings.paths_annotation, fault) for fault in faults)
        for claim in _claim(pod, entries, settings, problems):
            claims.setdefault((claim.entry.match, claim.entry.path), []).append(claim)
    for (match, path), agreed in sorted(claims.items(), key=lambda item: (item[0][0].value, item[0][1])):
        oldest = agreed[0]
        _tell_disagreements(agreed, settings, problems)
        namespace = oldest.pod.namespace
        servers = {claim.server.address: claim.server for claim in reversed(agreed)}
        name = _upstream_name(namespace, match, path)
        upstream = Upstream(name, namespace, match, path, tuple(sorted(servers.values())), oldest.check)
        yield Path(oldest.entry.target, upstream)


def _claim(pod: Pod, entries: tuple[PathEntry, ...], settings: Settings, problems: list[Problem]) -> Iterator[_Claim]:
    """Give a Pod's entries an address; what cannot have one is left out."""
    ip = parse_address(pod.ip)
    if ip is None:
        problems.append(
            Problem(pod.resource, "podIP", f"{excerpt(pod.ip)} is no IP address", "an IPv4 or IPv6 address")
        )
        return
    if denied := find_cidr(ip, settings.deny_pod_cidrs):
        why = f"{ip} lies in {denied.text}, which DENY_POD_CIDRS forbids"
        problems.append(Problem(pod.resource, "podIP", why, "an address of the Pods' network"))
        return
    declared: dict[int | str | None, Port] = {}
    for port in pod.ports:
        if 1 <= port.number <= 65535:
            declared.setdefault(port.number, port)
            declared.setdefault(port.name, port)
    undeclared = [entry for entry in entries if entry.port not in declared]
    numbers = ", ".join(map(str, sorted({port.number for port in pod.ports})[:8])) if undeclared else ""
    for entry in undeclared:
        what = f"{settings.paths_annotation} {excerpt(entry.path)} containerPort"
        why = f"{excerpt(str(entry.port))} is not a TCP port that a container declares"
        problems.append(Problem(pod.resource, what, why, f"one of those declared: {numbers or 'none'}"))
    for entry in entries:
        if entry.port in declared:
            port = declared[entry.port]
            server = Server(f"{ip}:{port.number}", entry.weight, pod.name)
            yield _Claim(pod, entry, server, _read_check(pod, port, problems))


def _read_check(pod: Pod, port: Port, problems: list[Problem]) -> Probe | None:
    probe = port.probe
    if not probe:
        return None
    if probe.path is not None and not PROBE_PATH.accepts(probe.path):
        problems.append(Problem(pod.resource, "probe path", f"{excerpt(probe.path)} is no path", PROBE_PATH.allowed))
        return None
    if not all(1 <= number <= LONGEST_PROBE for number in (probe.period, probe.timeout, probe.rise, probe.fall)):
        problems.append(Problem(pod.resource, "probe", "has a number out of range", f"1 to {LONGEST_PROBE}"))
        return None
    # A name that the container does not declare: the module knows no probe without a port.
    return replace(probe, port=probe.port if 1 <= probe.port <= 65535 else port.number)


def _tell_disagreements(claims: list[_Claim], settings: Settings, problems: list[Problem]) -> None:
    oldest = claims[0]
    seen: dict[str, str] = {}
    for claim in claims:
        what = f"{settings.paths_annotation} {excerpt(claim.entry.path)}"
        if claim.entry.target != oldest.entry.target:
            why = f"has another targetPath than Pod {oldest.pod.name}, which is older and counts"
            problems.append(Problem(claim.pod.resource, what, why, "the same targetPath in all Pods"))
        if claim.check != oldest.check:
            why = f"has another health check than Pod {oldest.pod.name}, which is older and counts"
            problems.append(Problem(claim.pod.resource, what, why, "the same probe in all Pods"))
        holder = seen.setdefault(claim.server.address, claim.pod.name)
        if holder != claim.pod.name:
            why = f"has the address {claim.server.address} of Pod {holder}, which is older and counts"
            problems.append(Problem(claim.pod.resource, what, why, "an address and port of its own"))


def _upstream_name(namespace: str, match: Match, path: str) -> str:
    """Name an upstream after its Namespace and path alone, so that it neither collides nor changes between renders.

    The digest stands first: nginx compares each name with all others from the front, and soon finds it another one.
    """
    digest = blake2b(f"{namespace} {match.value} {path}".encode("utf-8", "surrogateescape"), digest_size=16)
    return f"{digest.hexdigest()}.{namespace}"
