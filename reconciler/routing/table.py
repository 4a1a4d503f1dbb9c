"""From a Snapshot to the routing table: what each Namespace serves, in serving order, and conflicts as problems."""

import math
from collections.abc import Iterator
from functools import partial

from reconciler.objects.snapshot import Snapshot
from reconciler.routing.model import Answer, Host, Location, Match, Path, Routes, RoutingTable, Tenant, TenantHost
from reconciler.routing.problems import Problem, cut_problems, problem_of
from reconciler.routing.server_names import Named, find_crowded, find_slots, hash_size
from reconciler.routing.tenant import read_tenant
from reconciler.settings import Settings
from reconciler.values.certificates import PemCache
from reconciler.values.memo import Memo
from reconciler.values.messages import excerpt
from reconciler.values.value import Value

# The Tenants that name a host, oldest first, each with what it asks for.
_Claimants = tuple[tuple[Tenant, TenantHost], ...]
# A location's modifier and path. Together they identify a location of a server.
_LocationName = tuple[str, str]


class _BuiltHost(Value, frozen=True):
    """A host, which is None if it cannot be served, and the problems about it."""

    host: Host | None
    problems: tuple[Problem, ...]


class _Taken(Value, frozen=True):
    """The Tenant and path that have a location name. If not `served`, the name is only reserved for that path."""

    tenant: Tenant
    path: Path
    target: str | None
    served: bool


class TableBuilder:
    """Builds routing tables for one loop. A Namespace or host that did not change is not built again."""

    def __init__(self, settings: Settings) -> None:
        self._tenants = Memo(partial(read_tenant, settings=settings, pems=PemCache()))
        self._hosts = Memo(_build_host)

    def build(self, snapshot: Snapshot, now: float) -> RoutingTable:
        """Build the routing table of a Snapshot.

        `now`, in seconds since the epoch, is the time for which the validity of certificates is checked.
        """
        tenants = self._tenants.round({namespace.name: namespace for namespace in snapshot.namespaces}).values()
        claimants = _find_claimants(sorted(tenants, key=_age))
        built = self._hosts.round(claimants)
        size, hosts, crowded = _drop_crowded([one.host for one in built.values() if one.host], claimants)
        problems = [problem for tenant in tenants for problem in tenant.problems]
        problems += (problem for one in built.values() for problem in one.problems)
        problems += map(_tell_stray, snapshot.strays)
        problems += map(_tell_crowded, crowded)
        problems += (problem for host in hosts for problem in _tell_expiry(host, now))
        used = {location.upstream for host in hosts for location in host.locations}
        routes = Routes(
            hosts,
            tuple(path.upstream for tenant in tenants for path in tenant.paths if path.upstream.name in used),
            tuple((tenant.name, tenant.api_key) for tenant in tenants if tenant.api_key),
            size,
        )
        good_until = min(_find_moments(hosts, now), default=math.inf)
        return RoutingTable(routes, tuple(cut_problems(problems)), good_until)


def _age(tenant: Tenant) -> tuple[float, str]:
    """Sort Tenants oldest first."""
    return tenant.created, tenant.name


def _find_claimants(tenants: list[Tenant]) -> dict[str, _Claimants]:
    """Group the claims of Tenants by host, sorted by the hosts' names; `tenants` are sorted oldest first."""
    claims: dict[str, list[tuple[Tenant, TenantHost]]] = {}
    for tenant in tenants:
        for wish in tenant.hosts:
            claims.setdefault(wish.name, []).append((tenant, wish))
    return {name: tuple(claims[name]) for name in sorted(claims)}


def _drop_crowded(
    hosts: list[Host], claimants: dict[str, _Claimants]
) -> tuple[int, tuple[Host, ...], tuple[Host, ...]]:
    """Give the size of nginx's hash of server names, the hosts that fit into it, and those that do not."""
    size = hash_size(len(hosts))
    # The youngest Namespaces' hosts come last.
    in_order = sorted(hosts, key=lambda host: _age(claimants[host.name][0][0]))
    crowded = {*find_crowded([Named(host.name, host.namespace, host.slots) for host in in_order], size)}
    if not crowded:
        return size, tuple(hosts), ()
    fitting = tuple(host for host in hosts if host.name not in crowded)
    return size, fitting, tuple(host for host in hosts if host.name in crowded)


def _build_host(claimants: _Claimants) -> _BuiltHost:
    (owner, wish), *others = claimants
    name = wish.name
    if not wish.served:
        why = f"is left out: Namespace {owner.name}, which is older, has options that cannot be served"
        expected = "a host of this Namespace alone, or that Namespace corrected"
        conflicts = [problem_of(other.name, f"host {name}", why, expected) for other, _ in others]
        return _BuiltHost(None, tuple(conflicts + ([wish.problem] if wish.problem else [])))
    problems: list[Problem] = []
    for other, ignored in others:
        if ignored.tls or not ignored.served:
            why = f"has its options from Namespace {owner.name}, which is older"
            problems.append(problem_of(other.name, f"host {name} ssl", why, "no ssl here"))
    locations = tuple(_build_locations(name, [tenant for tenant, _ in claimants], problems))
    return _BuiltHost(Host(name, find_slots(name), owner.name, wish.tls, locations), tuple(problems))


def _build_locations(host: str, tenants: list[Tenant], problems: list[Problem]) -> Iterator[Location]:
    """Give each location of a host to the oldest Tenant that claims it.

    Within one Tenant `=/a` comes before the exact location that `/a` implies.
    """
    taken: dict[_LocationName, _Taken] = {}
    for tenant in tenants:
        for path in sorted(tenant.paths, key=lambda path: path.match is not Match.EXACT):
            what = f"host {host} path {excerpt(path.match.value + path.path)}"
            if path.match.is_regex and tenant is not tenants[0]:
                # nginx tries regular expressions before prefixes: one of a younger Namespace could take all paths.
                why = f"is a regular expression, and Namespace {tenants[0].name}, which is older, has the host"
                expected = "an absolute path, or a host of this Namespace alone"
                problems.append(problem_of(tenant.name, what, why, expected))
                continue
            claims = _list_claims(tenant, path)
            holders = [taken.setdefault(name, claim).tenant for name, claim in claims]
            others = [holder.name for holder in holders if holder is not tenant]
            if others:
                part = "" if len(others) == len(holders) else "in part "
                why = f"is {part}taken by Namespace {others[0]}, which is older"
                problems.append(problem_of(tenant.name, what, why, "another path"))
    for name, claim in sorted(taken.items(), key=_serving_order):
        if claim.served:
            yield _make_location(name, claim)


def _list_claims(tenant: Tenant, path: Path) -> Iterator[tuple[_LocationName, _Taken]]:
    """List the locations that a path needs.

    A prefix takes its own path and all paths below it. `=/a/` lies below `/a`: it needs no location of its own, but it
    is reserved, because otherwise another Namespace could claim it.
    """
    if path.match is not Match.PREFIX:
        yield (path.match.value, path.path), _Taken(tenant, path, path.target, served=True)
        return
    below = path.path.rstrip("/") + "/"
    yield ("=", path.path), _Taken(tenant, path, path.target, served=True)
    if below != path.path:
        yield ("=", below), _Taken(tenant, path, None, served=False)
    target = path.target if path.target is None else path.target.rstrip("/") + "/"
    yield ("", below), _Taken(tenant, path, target, served=True)


def _serving_order(item: tuple[_LocationName, _Taken]) -> tuple[bool, str, str]:
    """Sort by path; regular expressions, which nginx tries in order, come last."""
    (modifier, path), _ = item
    return modifier in ("~", "~*"), path, modifier


def _make_location(name: _LocationName, claim: _Taken) -> Location:
    modifier, path = name
    key = claim.tenant.api_key
    return Location(
        match=Match(modifier),
        path=path,
        namespace=claim.tenant.name,
        upstream=claim.path.upstream.name,
        target=claim.target,
        answer=_choose_answer(claim),
        api_key=key is not None,
        more_keys=len(key.values[1:]) if key else 0,
    )


def _choose_answer(claim: _Taken) -> Answer:
    key = claim.tenant.api_key
    if key is not None and not key.values:
        return Answer.CLOSED
    return Answer.PODS if claim.path.upstream.servers else Answer.UNAVAILABLE


def _tell_stray(namespace: str) -> Problem:
    why = "do not match the selector, so its routable Pods are not exposed"
    return problem_of(namespace, "labels", why, "the routable label on the Namespace too")


def _tell_crowded(host: Host) -> Problem:
    why = "is left out: nginx has too many names in one hash bucket"
    return problem_of(host.namespace, f"host {host.name}", why, "fewer hosts, or other names")


def _tell_expiry(host: Host, now: float) -> Iterator[Problem]:
    if not host.tls:
        return
    for part, chain in (("certificate", host.tls.chain), ("clientCertificate", host.tls.client)):
        if chain and not chain.not_before <= now < chain.not_after:
            why = "has expired; it is still served" if now >= chain.not_after else "is not valid yet; it is served"
            yield problem_of(host.namespace, f"host {host.name} ssl.{part}", why, "a certificate that is valid today")


def _find_moments(hosts: tuple[Host, ...], now: float) -> Iterator[float]:
    """List the moments after `now` at which a certificate becomes or ceases to be valid."""
    for host in hosts:
        for chain in (host.tls.chain, host.tls.client) if host.tls else ():
            if chain:
                yield from (moment for moment in (chain.not_before, chain.not_after) if moment > now)
