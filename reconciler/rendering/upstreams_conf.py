"""The upstreams of one Namespace, as upstreams.conf.j2 writes them."""

from collections.abc import Iterator

from reconciler.rendering import quoting
from reconciler.rendering.quoting import Token, quote, words
from reconciler.routing.model import Upstream
from reconciler.values.value import Value

# nginx would take a Pod out of service for everyone after one request that it does not answer in time. Whether a Pod
# can serve is what its readiness says.
_NEVER_FAILED = "max_fails=0"


class _Check(Value, frozen=True):
    """An active health check; times are in milliseconds."""

    interval: int
    rise: int
    fall: int
    timeout: int
    port: int
    type: Token
    requests: tuple[Token, ...]


class _Upstream(Value, frozen=True):
    name: Token
    servers: tuple[Token, ...]
    checks: tuple[_Check, ...]


def render_upstreams(upstreams: tuple[Upstream, ...]) -> Token:
    """Render upstreams; nginx has none without servers."""
    views = [_view_upstream(upstream) for upstream in upstreams if upstream.servers]
    return quoting.render("upstreams.conf.j2", upstreams=views)


def _view_upstream(upstream: Upstream) -> _Upstream:
    servers = tuple(
        words(server.address, *([f"weight={server.weight}"] if server.weight > 1 else []), _NEVER_FAILED)
        for server in upstream.servers
    )
    return _Upstream(quote(upstream.name), servers, tuple(_view_check(upstream)))


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
