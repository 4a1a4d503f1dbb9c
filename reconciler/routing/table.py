"""From a Snapshot to the routing table: what each Namespace serves, in serving order, and conflicts as problems."""

import math
from collections.abc import Iterable, Iterator, Mapping
from functools import partial
from operator import attrgetter

from reconciler.objects.snapshot import Namespace, PemPair, Snapshot
from reconciler.routing.allowances import Allowance, find_cut, read_allowance, read_room
from reconciler.routing.hosts import build_host
from reconciler.routing.keys.external_auth import list_asked
from reconciler.routing.keys.pod_tls import find_pod_tls
from reconciler.routing.model import Host, Path, Routes, RoutingTable, Tenant, Tls, Upstream
from reconciler.routing.names_below import mark_below
from reconciler.routing.operator_problems import tell_default, tell_denied, tell_unlisted
from reconciler.routing.problems import Problem, Reason, cut_problems, problem_of
from reconciler.routing.server_names import Named, Slot, find_crowded, find_slots, hash_size
from reconciler.routing.shadows import find_shadows
from reconciler.routing.sharing import Contest, settle
from reconciler.routing.tenant import read_tenant
from reconciler.routing.validity import list_moments, tell_expiry, tell_pods_expiry
from reconciler.settings import Settings
from reconciler.values.certificates import Chain, PemCache
from reconciler.values.memo import Memo


class TableBuilder:
    """Builds routing tables for one loop. A Namespace or host that did not change is not built again."""

    def __init__(self, settings: Settings, pems: PemCache) -> None:
        self._tenants = Memo(partial(read_tenant, settings=settings, pems=pems))
        self._cut = Memo(partial(_read_cut, settings=settings, pems=pems))
        self._hosts = Memo(partial(build_host, settings=settings))
        self._pems = pems
        self._settings = settings

    def build(self, snapshot: Snapshot, now: float) -> RoutingTable:
        """Build the routing table of a Snapshot.

        `now`, in seconds since the epoch, is the time for which the validity of certificates is checked.
        """
        asking = self._read_tenants(snapshot)
        tenants = self._fit(snapshot, asking)
        contests = dict(mark_below(self._settle(tenants.values())))
        built = self._hosts.round(contests)
        served = {name: one.host for name, one in built.items() if one.host}
        claimed = [name for name, contest in contests.items() if contest.claims]
        shadows = tuple(find_shadows(claimed, served, tls=bool(self._settings.ssl_cert)))
        slots = {shadow.name: find_slots(shadow.name) for shadow in shadows}
        slots |= {name: host.slots for name, host in served.items()}
        size, crowded = _find_crowded(slots, contests)
        hosts = tuple(host for name, host in served.items() if name not in crowded)
        problems = [problem for tenant in tenants.values() for problem in tenant.problems]
        problems += (problem for one in built.values() for problem in one.problems)
        problems += map(_tell_stray, snapshot.strays)
        unlisted = set(self._settings.watch_namespaces) - tenants.keys()
        problems += map(tell_unlisted, sorted(unlisted))
        problems += tell_denied(self._settings.denied_options)
        problems += (_tell_crowded(served[name]) for name in crowded if name in served)
        default = self._read_default(snapshot)
        problems += tell_default(default, now)
        used = set(_list_used(hosts))
        upstreams = tuple(path.upstream for path in _list_paths(tenants.values()) if path.upstream.name in used)
        with_options = [upstream for upstream in upstreams if upstream.options]
        problems += _tell_dates(hosts, with_options, now)
        routes = Routes(
            hosts,
            upstreams,
            tuple((tenant.name, tenant.api_key) for tenant in tenants.values() if tenant.api_key),
            size,
            default if snapshot.default_pair else None,
            tuple(shadow for shadow in shadows if shadow.name not in crowded),
        )
        chains = _list_chains([*(host.tls for host in hosts), default], with_options)
        return RoutingTable(routes, tuple(cut_problems(problems)), _find_next(chains, now), tuple(asking.values()))

    def settle(self, snapshot: Snapshot) -> dict[str, Contest]:
        """Settle who serves each host that a Snapshot's Namespaces name, sorted by host."""
        return self._settle(self._fit(snapshot, self._read_tenants(snapshot)).values())

    def _read_tenants(self, snapshot: Snapshot) -> dict[str, Tenant]:
        """Read all Namespaces."""
        return self._tenants.round({namespace.name: namespace for namespace in snapshot.namespaces})

    def _fit(self, snapshot: Snapshot, tenants: dict[str, Tenant]) -> dict[str, Tenant]:
        """Read those Namespaces anew that ask for more than there is room for beside others."""
        namespaces = {namespace.name: namespace for namespace in snapshot.namespaces}
        used = {tenant.name: tenant.used for tenant in sorted(tenants.values(), key=attrgetter("age"))}
        allowances = find_cut(used, read_room(self._settings), read_allowance(self._settings))
        return tenants | self._cut.round({name: (namespaces[name], one) for name, one in allowances.items()})

    def _settle(self, tenants: Iterable[Tenant]) -> dict[str, Contest]:
        return settle(sorted(tenants, key=attrgetter("age")), shared_by_all=self._settings.host_sharing == "any")

    def _read_default(self, snapshot: Snapshot) -> Tls | None:
        """Read the default server's pair; None without TLS. Whoever gave it has checked it."""
        settings = self._settings
        pair = snapshot.default_pair or PemPair(settings.ssl_cert, settings.ssl_key)
        return Tls(self._pems.parse_chain(pair.certificate), pair.key, None) if pair.certificate else None


def _read_cut(wish: tuple[Namespace, Allowance], settings: Settings, pems: PemCache) -> Tenant:
    """Read a Namespace that may use less than its full share."""
    return read_tenant(wish[0], settings, pems, wish[1])


def _list_used(hosts: Iterable[Host]) -> Iterator[str]:
    """Name the upstreams that hosts need."""
    for host in hosts:
        yield from (location.upstream for location in host.locations)
        if not host.open:
            # A host that answers only challenges has no path of what decides about them.
            yield from (one.upstream for location in host.locations for one in list_asked(location.options))


def _list_paths(tenants: Iterable[Tenant]) -> Iterator[Path]:
    for tenant in tenants:
        # A kept path has the same place when Pods name it.
        kept = tenant.kept
        yield from sorted((*tenant.paths, *kept), key=_path_order) if kept else tenant.paths


def _path_order(path: Path) -> tuple[str, str]:
    return path.match.value, path.path


def _find_next(chains: Iterable[Chain], now: float) -> float:
    """Give the next moment at which something else is to be told of certificates; infinite if there is none."""
    return min((one for chain in chains for one in list_moments(chain) if one > now), default=math.inf)


def _find_crowded(names: Mapping[str, tuple[Slot, ...]], contests: dict[str, Contest]) -> tuple[int, frozenset[str]]:
    """Give the size of nginx's hash of server names, and the names that do not fit into it."""
    size = hash_size(len(names))
    owners = {name: contests[name].claims[0].tenant for name in sorted(names)}
    # The youngest Namespaces' hosts come last.
    in_order = sorted(owners, key=lambda name: owners[name].age)
    return size, frozenset(find_crowded([Named(name, owners[name].name, names[name]) for name in in_order], size))


def _tell_stray(namespace: str) -> Problem:
    why = "do not match ROUTABLE_LABEL_SELECTOR, so its routable Pods are not exposed"
    expected = "the routable label on the Namespace too"
    return problem_of(namespace, "labels", why, expected, Reason.NOT_SELECTED)


def _tell_crowded(host: Host) -> Problem:
    why = "is left out: nginx has too many names in one hash bucket"
    return problem_of(host.namespace, f"host {host.name}", why, "fewer hosts, or other names", Reason.LIMIT)


def _tell_dates(hosts: Iterable[Host], upstreams: Iterable[Upstream], now: float) -> Iterator[Problem]:
    for host in hosts:
        yield from tell_expiry(host, now)
    for upstream in upstreams:
        yield from tell_pods_expiry(upstream, now)


def _list_chains(served: Iterable[Tls | None], upstreams: Iterable[Upstream]) -> Iterator[Chain]:
    """List all certificates of which something may have to be told as time passes."""
    for tls in served:
        yield from (chain for chain in ((tls.chain, tls.client) if tls else ()) if chain)
    for upstream in upstreams:
        pods = find_pod_tls(upstream.options)
        if pods and pods.chain:
            yield pods.chain
