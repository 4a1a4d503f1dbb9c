"""Snapshot -> RoutingTable: who serves what, in serving order; conflicts, and what was left out and why."""

import math
from collections.abc import Iterator

from reconciler.objects.snapshot import Resource, Snapshot
from reconciler.routing.annotations import Match
from reconciler.routing.server_names import Named, Place, find_crowded, find_places, hash_size
from reconciler.routing.tenant import ApiKey, Path, Problem, Tenant, TenantHost, Upstream, cut_problems, read_tenant
from reconciler.routing.tls import Tls
from reconciler.settings import Settings
from reconciler.values.memo import Memo
from reconciler.values.patterns import excerpt
from reconciler.values.value import Value

# A location's modifier and name.
_Place = tuple[str, str]


class Location(Value, frozen=True):
    """One nginx location of a host. `target` is the URI put in its place, None for the request's own.

    `more_keys` is how many API keys open it besides the first one.
    """

    match: Match
    path: str
    namespace: str
    upstream: str
    target: str | None
    api_key: bool
    closed: bool
    more_keys: int


class Host(Value, frozen=True):
    """A host and its locations, in serving order; `namespace` owns its options, `places` are nginx's hashes' for it."""

    name: str
    places: tuple[Place, ...]
    namespace: str
    tls: Tls | None
    locations: tuple[Location, ...]


class Routes(Value, frozen=True):
    """What nginx shall serve: hosts by name, upstreams by Namespace, the API key of each Namespace that has one.

    `names_hash_size` is the size of nginx's hash of server names in which all hosts are known to fit.
    """

    hosts: tuple[Host, ...]
    upstreams: tuple[Upstream, ...]
    api_keys: tuple[tuple[str, ApiKey], ...]
    names_hash_size: int


class RoutingTable(Value, frozen=True):
    """The routes, the problems, sorted, and until when (seconds since the epoch) there can be no others."""

    routes: Routes
    problems: tuple[Problem, ...]
    good_until: float


# The Tenants that name a host, oldest first, each with what it asks for.
_Claimants = tuple[tuple[Tenant, TenantHost], ...]


class _Taken(Value, frozen=True):
    """Who has a place; not `served`: it is kept for the path that lies around it."""

    tenant: Tenant
    path: Path
    target: str | None
    served: bool


_tenants = Memo(read_tenant)


def build_table(snapshot: Snapshot, settings: Settings, now: float) -> RoutingTable:
    """Build the routing table of a Snapshot; `now`, in seconds since the epoch, judges certificates."""
    tenants = _tenants.round({namespace.name: namespace for namespace in snapshot.namespaces}, settings).values()
    claims: dict[str, list[tuple[Tenant, TenantHost]]] = {}
    for tenant in sorted(tenants, key=_age):
        for wish in tenant.hosts:
            claims.setdefault(wish.name, []).append((tenant, wish))
    built = _hosts.round({name: tuple(claims[name]) for name in sorted(claims)}, None)
    hosts = tuple(host for host, _ in built.values() if host)
    # The youngest Namespaces' last.
    size = hash_size(len(hosts))
    in_order = sorted(hosts, key=lambda host: _age(claims[host.name][0][0]))
    crowded = {*find_crowded([Named(host.name, host.namespace, host.places) for host in in_order], size)}
    left_out = [host for host in hosts if host.name in crowded]
    hosts = tuple(host for host in hosts if host.name not in crowded) if crowded else hosts
    problems = [problem for tenant in tenants for problem in tenant.problems]
    problems += (problem for _, conflicts in built.values() for problem in conflicts)
    problems += map(_stray, snapshot.strays)
    problems += map(_crowded, left_out)
    problems += (problem for host in hosts for problem in _expiries(host, now))
    used = {location.upstream for host in hosts for location in host.locations}
    routes = Routes(
        hosts,
        tuple(path.upstream for tenant in tenants for path in tenant.paths if path.upstream.name in used),
        tuple((tenant.name, tenant.api_key) for tenant in tenants if tenant.api_key),
        size,
    )
    return RoutingTable(routes, tuple(cut_problems(problems)), min(_moments(hosts, now), default=math.inf))


def _age(tenant: Tenant) -> tuple[float, str]:
    """Sort Tenants oldest first."""
    return tenant.created, tenant.name


def _build_host(claimants: _Claimants, _: None) -> tuple[Host | None, tuple[Problem, ...]]:
    (owner, wish), *others = claimants
    name = wish.name
    if not wish.served:
        why = f"is left out: Namespace {owner.name}, which is older, asks for what cannot be had"
        right = "a host of this Namespace alone, or that Namespace mended"
        conflicts = [_conflict(other, f"host {name}", why, right) for other, _ in others]
        return None, tuple(conflicts + ([wish.problem] if wish.problem else []))
    problems: list[Problem] = []
    for other, unheard in others:
        if unheard.tls or not unheard.served:
            why = f"has its options from Namespace {owner.name}, which is older"
            problems.append(_conflict(other, f"host {name} ssl", why, "no ssl here"))
    locations = tuple(_build_locations(name, [tenant for tenant, _ in claimants], problems))
    return Host(name, find_places(name), owner.name, wish.tls, locations), tuple(problems)


_hosts = Memo(_build_host)


def _build_locations(host: str, tenants: list[Tenant], problems: list[Problem]) -> Iterator[Location]:
    """Give each place of a host to the oldest Tenant that claims it; within one, `=/a` outranks what `/a` implies."""
    taken: dict[_Place, _Taken] = {}
    for tenant in tenants:
        for path in sorted(tenant.paths, key=lambda path: path.match is not Match.EXACT):
            what = f"host {host} path {excerpt(path.match.value + path.path)}"
            if path.match.is_regex and tenant is not tenants[0]:
                # nginx asks regular expressions first: a younger Namespace's could take the paths of all others.
                why = f"is a regular expression, and Namespace {tenants[0].name}, which is older, has the host"
                problems.append(_conflict(tenant, what, why, "an absolute path, or a host of this Namespace alone"))
                continue
            places = _places(path)
            holders = [taken.setdefault(at, _Taken(tenant, path, to, served)).tenant for at, to, served in places]
            others = [holder.name for holder in holders if holder is not tenant]
            if others:
                part = "" if len(others) == len(holders) else "in part "
                why = f"is {part}taken by Namespace {others[0]}, which is older"
                problems.append(_conflict(tenant, what, why, "another path"))
    for (modifier, at), claim in sorted(taken.items(), key=_serving_order):
        if claim.served:
            yield Location(
                match=Match(modifier),
                path=at,
                namespace=claim.tenant.name,
                upstream=claim.path.upstream.name,
                target=claim.target,
                api_key=claim.tenant.api_key is not None,
                closed=claim.tenant.api_key is not None and not claim.tenant.api_key.values,
                more_keys=len(claim.tenant.api_key.values[1:]) if claim.tenant.api_key else 0,
            )


def _places(path: Path) -> Iterator[tuple[_Place, str | None, bool]]:
    """List the places that a path takes, the target of each, and whether it needs a location of its own.

    A prefix takes itself and what lies below it; `/a/` exactly is below it, and still somebody could claim `=/a/`.
    """
    if path.match is not Match.PREFIX:
        yield (path.match.value, path.path), path.target, True
        return
    below = path.path.rstrip("/") + "/"
    yield ("=", path.path), path.target, True
    if below != path.path:
        yield ("=", below), None, False
    yield ("", below), path.target if path.target is None else path.target.rstrip("/") + "/", True


def _serving_order(item: tuple[_Place, _Taken]) -> tuple[bool, str, str]:
    """Sort by path, and regular expressions, which nginx tries in order, last."""
    (match, path), _ = item
    return match in ("~", "~*"), path, match


def _conflict(tenant: Tenant, what: str, why: str, right: str) -> Problem:
    return Problem(Resource("Namespace", "", tenant.name), what, why, right)


def _stray(namespace: str) -> Problem:
    why = "do not match the selector, so its routable Pods are exposed nowhere"
    return Problem(Resource("Namespace", "", namespace), "labels", why, "the routable label on the Namespace too")


def _crowded(host: Host) -> Problem:
    why = "is left out: nginx cannot hold so many names that it hashes alike"
    return Problem(Resource("Namespace", "", host.namespace), f"host {host.name}", why, "fewer hosts, or other names")


def _expiries(host: Host, now: float) -> Iterator[Problem]:
    if not host.tls:
        return
    resource = Resource("Namespace", "", host.namespace)
    for part, chain in (("certificate", host.tls.chain), ("clientCertificate", host.tls.client)):
        if chain and not chain.not_before <= now < chain.not_after:
            why = "has expired; it is still served" if now >= chain.not_after else "is not valid yet; it is served"
            yield Problem(resource, f"host {host.name} ssl.{part}", why, "a certificate that is valid today")


def _moments(hosts: tuple[Host, ...], now: float) -> Iterator[float]:
    """List the moments at which a certificate starts or ceases to be valid."""
    for host in hosts:
        for chain in (host.tls.chain, host.tls.client) if host.tls else ():
            if chain:
                yield from (moment for moment in (chain.not_before, chain.not_after) if moment > now)
