"""The `listen` directives of a server."""

from reconciler.rendering.quoting import Token, words
from reconciler.settings import Settings

HTTP2_DIRECTIVE = (1, 25, 1)  # https://nginx.org/en/docs/http/ngx_http_v2_module.html#http2


def write_listens(settings: Settings, *, tls: bool, options: tuple[str, ...] = ()) -> tuple[Token, ...]:
    """Write the parameters of a server's `listen` directives, one for each address of LISTEN_ADDRESSES."""
    port = settings.ssl_port if tls else settings.port
    http2 = settings.http2 and settings.nginx_version < HTTP2_DIRECTIVE
    tls_options = ("ssl", "http2") if http2 else ("ssl",)
    options += (tls_options if tls else ()) + (("proxy_protocol",) if settings.proxy_protocol else ())
    return tuple(words(f"{address}:{port}", *options) for address in settings.listen_addresses)
