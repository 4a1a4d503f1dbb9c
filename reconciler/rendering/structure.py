"""Structure: what of the routes stays while only the Pods behind known paths change, and those Pods."""

from msgspec.structs import replace

from reconciler.rendering.endpoints import Sets
from reconciler.routing.keys.catalogue import needs_upstream
from reconciler.routing.keys.external_auth import list_asked
from reconciler.routing.model import Routes


def find_dynamic(routes: Routes) -> frozenset[str]:
    """Name the upstreams whose Pods Lua can choose: plain HTTP, and nothing that only nginx's own upstream can do.

    An authoriser is asked in a subrequest, which shares variables with the request. So it keeps an upstream of its own.
    """
    located = (location for host in routes.hosts for location in host.locations if location.options)
    asked = {one.upstream for location in located for one in list_asked(location.options)}
    return frozenset(
        one.name
        for one in routes.upstreams
        if one.check is None and one.name not in asked and not needs_upstream(one.options)
    )


def split(routes: Routes) -> tuple[Routes, Sets]:
    """Give the routes without the Pods of dynamic upstreams, and those Pods by upstream.

    Where the first are equal, the Pods are all that differs. A path's first and last Pod change the first: they change
    its locations.
    """
    dynamic = find_dynamic(routes)
    upstreams = tuple(replace(one, servers=()) if one.name in dynamic else one for one in routes.upstreams)
    sets = {one.name: one.servers for one in routes.upstreams if one.servers and one.name in dynamic}
    return replace(routes, upstreams=upstreams), sets
