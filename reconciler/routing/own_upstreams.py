"""Own upstreams: which paths need an upstream of nginx's own, so that their Pods come and go with a reload, and why."""

from collections.abc import Collection, Iterator

from reconciler.routing.keys.catalogue import list_upstream_keys
from reconciler.routing.keys.external_auth import NAME, list_asked
from reconciler.routing.model import Routes, Upstream


def find_own_upstreams(routes: Routes) -> dict[str, str]:
    """Name the upstreams that only nginx itself can be, each with what needs it, as the end of a sentence.

    An authoriser is asked in a subrequest, which shares variables with the request. So it keeps an upstream of its own.
    """
    located = (location for host in routes.hosts for location in host.locations if location.options)
    asked = {one.upstream for location in located for one in list_asked(location.options)}
    return {one.name: ", ".join(reasons) for one in routes.upstreams if (reasons := list(_list_reasons(one, asked)))}


def _list_reasons(upstream: Upstream, asked: Collection[str]) -> Iterator[str]:
    yield from list_upstream_keys(upstream.options)
    if upstream.check:
        yield "NGINX_ENABLE_HEALTH_CHECKS"
    if upstream.name in asked:
        yield f"another path's {NAME} asks it"
