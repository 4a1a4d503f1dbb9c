"""The upstreams of one Namespace, as upstreams.conf.j2 writes them."""

from collections.abc import Iterator

from reconciler.rendering import quoting
from reconciler.rendering.endpoints import name_pool
from reconciler.rendering.option_parts import write_options
from reconciler.rendering.quoting import Token, join, quote, words
from reconciler.routing.model import Server, Upstream
from reconciler.settings import Settings
from reconciler.values.value import Value

# nginx would take a Pod out of service for everyone after one request that it does not answer in time. Whether a Pod
# can serve is what its readiness says.
_NEVER_FAILED = "max_fails=0"
# From this version on, nginx keeps connections by default, and 0 turns that off; older ones refuse 0.
# https://nginx.org/en/docs/http/ngx_http_upstream_module.html#keepalive
_KEPT_BY_DEFAULT = (1, 29, 7)
# Below the 5 seconds after which servers of Node.js, Python and Apache close a connection that is idle: a POST that is
# sent at that moment gets 502.
_IDLE = quote("4s")


class _Check(Value, frozen=True):
    """An active health check; times are in milliseconds."""

    interval: int
    rise: int
    fall: int
    timeout: int
    port: int
    type: Token
    requests: tuple[Token, ...]


class _Kept(Value, frozen=True):
    """How many idle connections an upstream keeps, and for how long, if there are any."""

    connections: int
    timeouts: tuple[Token, ...]


class Group(Value, frozen=True):
    """The upstreams of one Namespace, and how many idle connections they keep together in each worker.

    Besides `upstreams`, Lua chooses the Pods of `chosen` ones.
    """

    namespace: str
    upstreams: tuple[Upstream, ...]
    kept: int
    chosen: int = 0


class _Pool(Value, frozen=True):
    name: Token
    lines: tuple[Token, ...]


class _Upstream(Value, frozen=True):
    name: Token
    servers: tuple[Token, ...]
    checks: tuple[_Check, ...]
    options: tuple[Token, ...] = ()


def render_upstreams(group: Group, settings: Settings) -> Token:
    """Render the upstreams of a Namespace."""
    each = group.kept // (len(group.upstreams) + group.chosen)
    says = each or settings.nginx_version >= _KEPT_BY_DEFAULT
    kept = (_Kept(each, (_IDLE,) if each else ()),) if says else ()
    upstreams = [_view_upstream(upstream, settings) for upstream in group.upstreams]
    pools = [_view_pool(group, group.kept - each * len(group.upstreams), settings)] if group.chosen else []
    return quoting.render("upstreams.conf.j2", upstreams=upstreams, kept=kept, pools=pools)


def _view_pool(group: Group, kept: int, settings: Settings) -> _Pool:
    """Give the upstream whose Pods Lua chooses. nginx's own pool of connections is off if the module has one."""
    off = [words("keepalive", "0")] if settings.nginx_version >= _KEPT_BY_DEFAULT else []
    if not kept:
        lines = off
    elif settings.lua and settings.lua.keeps:
        lines = [words("balancer_keepalive", str(kept)), *off]
    else:
        lines = [words("keepalive", str(kept)), join(quote("keepalive_timeout"), _IDLE)]
    return _Pool(quote(name_pool(group.namespace)), tuple(lines))


def _view_upstream(upstream: Upstream, settings: Settings) -> _Upstream:
    servers = tuple(map(_view_server, upstream.servers))
    options = write_options("upstream", upstream.options, upstream.name, settings)
    return _Upstream(quote(upstream.name), servers, tuple(_view_check(upstream)), options)


def _view_server(server: Server) -> Token:
    weight = [f"weight={server.weight}"] if server.weight > 1 else []
    return words(server.address, *weight, _NEVER_FAILED, *(["backup"] if server.backup else []))


def _view_check(upstream: Upstream) -> Iterator[_Check]:
    probe = upstream.check
    if probe:
        request = () if probe.path is None else (f"GET {probe.path} HTTP/1.0\r\n\r\n",)
        yield _Check(
            interval=probe.period * 1000,
            rise=probe.rise,
            fall=probe.fall,
            timeout=probe.timeout * 1000,
            port=probe.port,
            type=quote("tcp" if probe.path is None else "http"),
            requests=tuple(quote(text, expands_variables=False) for text in request),
        )
