"""The `listen` directives of a server, and how it sends clients from the plain port to https."""

from reconciler.rendering.quoting import Token, words
from reconciler.settings import Settings
from reconciler.values.value import Value

HTTP2_DIRECTIVE = (1, 25, 1)  # https://nginx.org/en/docs/http/ngx_http_v2_module.html#http2


class Move(Value, frozen=True):
    """What answers on the plain port: statuses for all requests, for those that came by https, and of a redirect."""

    closes: tuple[int, ...] = ()
    loops: tuple[int, ...] = ()
    statuses: tuple[int, ...] = ()


def view_move(settings: Settings) -> Move:
    """Give a redirect to https. A client that came to a trusted proxy by https would come back for ever."""
    believed = settings.trusted_proxies and not settings.proxy_protocol
    return Move(loops=(444,) if believed else (), statuses=(308,))


def write_listens(settings: Settings, *, tls: bool, options: tuple[str, ...] = ()) -> tuple[Token, ...]:
    """Write the parameters of a server's `listen` directives, one for each address of LISTEN_ADDRESSES."""
    port = settings.ssl_port if tls else settings.port
    http2 = settings.http2 and settings.nginx_version < HTTP2_DIRECTIVE
    tls_options = ("ssl", "http2") if http2 else ("ssl",)
    options += (tls_options if tls else ()) + (("proxy_protocol",) if settings.proxy_protocol else ())
    return tuple(words(f"{address}:{port}", *options) for address in settings.listen_addresses)
