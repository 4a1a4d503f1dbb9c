"""gRPC's clients: on which hosts none can reach a path for gRPC, because they need HTTP/2."""

from collections.abc import Iterable, Iterator

from reconciler.routing.keys.protocol import speaks_grpc
from reconciler.routing.model import Location
from reconciler.routing.problems import Problem, Reason, problem_of
from reconciler.settings import Settings
from reconciler.values.messages import excerpt

# Before it, nginx has either HTTP/1 or HTTP/2 on a port without TLS.
# https://nginx.org/en/docs/http/ngx_http_v2_module.html#http2
_HTTP2_WITHOUT_TLS = (1, 25, 1)


def tell_unreachable(host: str, locations: Iterable[Location], settings: Settings, *, tls: bool) -> Iterator[Problem]:
    """Tell which paths for gRPC no client can call, because their host has no HTTP/2."""
    version = settings.nginx_version or _HTTP2_WITHOUT_TLS  # it is known where nginx runs
    if settings.http2 and (tls or version >= _HTTP2_WITHOUT_TLS):
        return
    why = "is grpc, and no client can call it: "
    if not settings.http2:
        why, expected = f"{why}NGINX_HTTP2 is false", "a router with HTTP/2"
    else:
        why, expected = f"{why}without ssl this nginx has no HTTP/2", "ssl for the host, or nginx 1.25.1 or later"
    paths = {(one.namespace, one.match.value + one.path.rstrip("/")) for one in locations if speaks_grpc(one.options)}
    for namespace, path in sorted(paths):
        what = f"host {host} path {excerpt(path.removeprefix('='))} protocol"
        yield problem_of(namespace, what, why, expected, Reason.OPTION)
