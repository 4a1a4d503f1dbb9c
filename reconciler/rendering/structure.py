"""Structure: what of the routes stays while only the Pods behind known paths change."""

from collections.abc import Collection

from msgspec.structs import replace

from reconciler.routing.model import Routes, RoutingTable, Tenant, Upstream
from reconciler.routing.own_upstreams import find_own_upstreams


def find_dynamic(routes: Routes) -> frozenset[str]:
    """Name the upstreams whose Pods Lua can choose: plain HTTP, and nothing that only nginx's own upstream can do."""
    own = find_own_upstreams(routes)
    return frozenset(one.name for one in routes.upstreams if one.name not in own)


def has_same_structure(old: Routes, new: Routes) -> bool:
    """Tell whether the Pods of dynamic upstreams are all that differs.

    A path's first and last Pod change the structure: they change its locations.
    """
    if replace(old, upstreams=()) != replace(new, upstreams=()) or len(old.upstreams) != len(new.upstreams):
        return False
    changed = [(one, other) for one, other in zip(old.upstreams, new.upstreams, strict=True) if one != other]
    # Equal hosts ask the same authorisers.
    return not changed or _differ_in_pods(changed, find_dynamic(new))


def _differ_in_pods(changed: Collection[tuple[Upstream, Upstream]], dynamic: Collection[str]) -> bool:
    return all(
        one.name in dynamic and one.servers and other.servers and replace(one, servers=other.servers) == other
        for one, other in changed
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
    hosts = tuple(replace(host, problems=()) for host in tenant.hosts)
    paths = tuple((path.target, bool(path.upstream.servers), _strip(path.upstream, own)) for path in tenant.paths)
    return tenant.created, hosts, paths, tenant.api_key


def _strip(upstream: Upstream, own: Collection[str]) -> Upstream:
    return upstream if upstream.name in own else replace(upstream, servers=())
