"""Structure: what of the routes stays while only the Pods behind known paths change."""

from collections.abc import Collection

from msgspec.structs import replace

from reconciler.routing.keys.catalogue import filter_podless
from reconciler.routing.model import Answer, Host, Location, Routes, RoutingTable, Tenant, Upstream
from reconciler.routing.own_upstreams import find_own_upstreams


def find_dynamic(routes: Routes) -> frozenset[str]:
    """Name the upstreams whose Pods Lua can choose: plain HTTP, and nothing that only nginx's own upstream can do."""
    own = find_own_upstreams(routes)
    return frozenset(one.name for one in routes.upstreams if one.name not in own)


def fix_host(host: Host, dynamic: Collection[str]) -> Host:
    """Give a host as nginx has it, where the Pods of `dynamic` upstreams come and go.

    A location whose Pods Lua chooses is the same with a ready Pod and without. Another one without a ready Pod has only
    those options that count there.
    """
    if all(one.answer is not Answer.UNAVAILABLE for one in host.locations):
        return host
    return replace(host, locations=tuple(_fix_location(one, dynamic) for one in host.locations))


def _fix_location(location: Location, dynamic: Collection[str]) -> Location:
    if location.answer is not Answer.UNAVAILABLE:
        return location
    if location.upstream in dynamic:
        return replace(location, answer=Answer.PODS)
    return replace(location, options=filter_podless(location.options))


def has_same_structure(old: Routes, new: Routes) -> bool:
    """Tell whether the Pods of dynamic upstreams are all that differs. A path may be without a ready one."""
    if replace(old, hosts=(), upstreams=()) != replace(new, hosts=(), upstreams=()):
        return False
    if (len(old.hosts), len(old.upstreams)) != (len(new.hosts), len(new.upstreams)):
        return False
    hosts = [(one, other) for one, other in zip(old.hosts, new.hosts, strict=True) if one != other]
    upstreams = [(one, other) for one, other in zip(old.upstreams, new.upstreams, strict=True) if one != other]
    # Hosts that are equal but for their answers ask the same authorisers.
    dynamic = find_dynamic(new) if hosts or upstreams else frozenset[str]()
    return all(fix_host(one, dynamic) == fix_host(other, dynamic) for one, other in hosts) and all(
        one.name in dynamic and replace(one, servers=other.servers) == other for one, other in upstreams
    )


def find_touched(old: RoutingTable, new: RoutingTable) -> frozenset[str]:
    """Name the Namespaces that ask for another structure.

    Whose paths come or go because another Namespace shares a host, or takes it back, asks for nothing else.
    """
    own = find_own_upstreams(old.routes).keys() | find_own_upstreams(new.routes).keys()
    before, after = ({one.name: one for one in table.tenants} for table in (old, new))
    pairs = ((name, before.get(name), after.get(name)) for name in before.keys() | after.keys())
    return frozenset(
        name for name, one, other in pairs if one != other and _list_asked(one, own) != _list_asked(other, own)
    )


def _list_asked(tenant: Tenant | None, own: Collection[str]) -> tuple[object, ...]:
    """List what a Namespace asks for, but for Pods that come and go without a reload and what is told about it."""
    if not tenant:
        return ()
    # A path that is kept is the same one when Pods name it.
    paths = {path.upstream.name: (path.target, _strip(path.upstream, own)) for path in (*tenant.kept, *tenant.paths)}
    named = frozenset(path.upstream.name for path in tenant.paths)
    hosts = tuple(
        (replace(host, problems=(), kept=()), named.union(path.upstream.name for path in host.kept))
        for host in tenant.hosts
    )
    return tenant.created, hosts, paths, tenant.api_key


def _strip(upstream: Upstream, own: Collection[str]) -> Upstream:
    return upstream if upstream.name in own else replace(upstream, servers=())
