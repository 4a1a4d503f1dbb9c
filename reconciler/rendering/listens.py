"""The `listen` directives of a server, and how it sends clients from the plain port to https."""

from reconciler.rendering.quoting import Token, words
from reconciler.settings import Settings, believes_proxies
from reconciler.values.value import Value

HTTP2_DIRECTIVE = (1, 25, 1)  # https://nginx.org/en/docs/http/ngx_http_v2_module.html#http2


class Move(Value, frozen=True):
    """A redirect from the plain port to https: its status, and the one for requests that came by https, if any."""

    loops: tuple[int, ...]
    status: int = 308


def view_move(settings: Settings) -> Move:
    """Give a redirect to https. A client that came to a trusted proxy by https would come back for ever."""
    return Move(loops=(444,) if believes_proxies(settings) else ())


def write_listens(settings: Settings, *, tls: bool, options: tuple[str, ...] = ()) -> tuple[Token, ...]:
    """Write the parameters of a server's `listen` directives, one for each address of LISTEN_ADDRESSES."""
    port = settings.ssl_port if tls else settings.port
    http2 = settings.http2 and settings.nginx_version < HTTP2_DIRECTIVE
    tls_options = ("ssl", "http2") if http2 else ("ssl",)
    options += (tls_options if tls else ()) + (("proxy_protocol",) if settings.proxy_protocol else ())
    return tuple(words(f"{address}:{port}", *options) for address in settings.listen_addresses)
