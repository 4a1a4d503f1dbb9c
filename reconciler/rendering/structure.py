"""Structure: what of the routes stays while only the Pods behind known paths change."""

from collections.abc import Collection

from msgspec.structs import replace

from reconciler.routing.model import Routes, Upstream
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


def find_touched(old: Routes, new: Routes) -> frozenset[str]:
    """Name the Namespaces whose own part of the structure differs."""
    dynamic = find_dynamic(old) & find_dynamic(new)
    before, after = _list_parts(old, dynamic), _list_parts(new, dynamic)
    return frozenset(name for name in before.keys() | after.keys() if before.get(name) != after.get(name))


def _list_parts(routes: Routes, dynamic: Collection[str]) -> dict[str, list[object]]:
    parts: dict[str, list[object]] = {}
    for host in routes.hosts:
        parts.setdefault(host.namespace, []).append(replace(host, locations=()))
        for location in host.locations:
            parts.setdefault(location.namespace, []).append((host.name, location))
    for one in routes.upstreams:
        parts.setdefault(one.namespace, []).append(replace(one, servers=()) if one.name in dynamic else one)
    for namespace, key in routes.api_keys:
        parts.setdefault(namespace, []).append(key)
    return parts
