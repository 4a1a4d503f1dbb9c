"""The main file, as nginx.conf.j2 writes it around all upstreams and hosts."""

from collections.abc import Collection, Iterable, Iterator

from reconciler.rendering import quoting
from reconciler.rendering.access_log import view_logging
from reconciler.rendering.certificate_files import Pair, write_default_pair
from reconciler.rendering.header_families import FAMILIES, write_family
from reconciler.rendering.listens import HTTP2_DIRECTIVE, Move, view_move, write_listens
from reconciler.rendering.quoting import Token, quote, words
from reconciler.routing.keys.protocol import speaks_grpc
from reconciler.routing.keys.timeouts import RETRY_TIMEOUT
from reconciler.routing.model import Plain, Routes
from reconciler.routing.server_names import bucket_size, power_of_two
from reconciler.settings import Settings, believes_proxies
from reconciler.values.value import Value

# At a reload, an old worker keeps a client's connection that has been idle for less than this time. So a client that
# uses its connection at least this often loses no request; its next answer asks it to close the connection. Most
# clients themselves close a connection that is idle for more than 5 s. An old worker and its memory stay for this time
# after each reload.
# https://nginx.org/en/docs/http/ngx_http_core_module.html#keepalive_min_timeout
_KEEPALIVE_MIN_TIMEOUT = "10s"
_KEEPALIVE_MIN_DIRECTIVE = (1, 27, 4)
# Seconds that a connection to a Pod may take. It is time for one lost packet to be sent again; a Pod on a node that has
# died costs this much, until it is not ready any more. docs/decisions/011-failing-pods.md has the measurements.
_TRIES = 2
_CONNECT_TIMEOUT = RETRY_TIMEOUT // _TRIES
RETRY_AFTER = 5  # seconds after which a client may ask again for a path without a ready Pod


class _TlsDefaults(Value, frozen=True):
    protocols: Token
    ciphers: Token
    session_cache: Token
    http2: tuple[Token, ...]


class _Server(Value, frozen=True):
    listens: tuple[Token, ...]
    tls: tuple[Pair, ...]


class _Shadows(Value, frozen=True):
    names: tuple[Token, ...]
    listens: tuple[Token, ...]
    tls: tuple[Pair, ...]


class _Moved(Value, frozen=True):
    names: tuple[Token, ...]
    listens: tuple[Token, ...]
    moves: tuple[Move]


class _RealIp(Value, frozen=True):
    header: Token
    proxies: tuple[Token, ...]


class _GrpcDefaults(Value, frozen=True):
    header_families: tuple[Token, ...]
    http2: tuple[Token, ...]


class _Trust(Value, frozen=True):
    proxies: tuple[Token, ...]


def render_main(
    routes: Routes, settings: Settings, shared: Collection[Token], upstreams: Iterable[Token], hosts: Iterable[Token]
) -> Token:
    """Render nginx.conf around what is rendered already: what options share, upstreams, and hosts."""
    return quoting.render(
        "nginx.conf.j2",
        modules=[quote(path) for path in settings.lua.loads] if settings.lua else [],
        worker_processes=settings.worker_processes or quote("auto"),
        worker_shutdown_timeout=quote(settings.worker_shutdown_timeout),
        worker_connections=settings.worker_connections,
        underscores_in_headers=quote("on" if "_" in settings.api_key_header else "off"),
        header_families=[write_family(family, settings, blanks=4) for family in FAMILIES],
        grpc_defaults=list(_view_grpc_defaults(routes, settings)),
        connect_timeout=_CONNECT_TIMEOUT,
        tries=_TRIES,
        retry_after=RETRY_AFTER,
        retry_timeout=RETRY_TIMEOUT,
        **_view_bodies(settings),
        keepalive_min_timeouts=_view_keepalive(settings),
        client_header_timeout=settings.client_header_timeout,
        client_body_timeout=settings.client_body_timeout,
        server_names_hash_max_size=routes.names_hash_size,
        server_names_hash_bucket_size=bucket_size(max(map(len, routes.names), default=0)),
        map_hash_max_size=power_of_two(2 * sum(len(key.values) for _, key in routes.api_keys), 2048),
        variables_hash_max_sizes=(power_of_two(8 * len(shared), 1024),) if shared else (),
        real_ips=list(_view_real_ip(settings)),
        too_long=(414,) if settings.allow_regex_paths else (),
        trusts=[_Trust(_write_proxies(settings))] if believes_proxies(settings) else [],
        tls_defaults=list(_view_tls_defaults(settings)),
        logging=view_logging(settings),
        default_servers=list(_view_default_servers(settings)),
        status_path=quote(settings.status_path, expands_variables=False),
        upstreams=upstreams,
        hosts=hosts,
        shared=shared,
        moved=list(_view_moved(routes, settings)),
        shadows=list(_view_shadows(routes, settings)),
    )


def _view_bodies(settings: Settings) -> dict[str, object]:
    buffer = settings.client_body_buffer_size
    return {
        "max_client_body_size": quote(settings.max_client_body_size),
        "request_buffering": quote("on" if buffer else "off"),
        "body_buffers": [quote(buffer)] if buffer else [],
    }


def _view_keepalive(settings: Settings) -> list[Token]:
    return [quote(_KEEPALIVE_MIN_TIMEOUT)] if settings.nginx_version >= _KEEPALIVE_MIN_DIRECTIVE else []


def _write_proxies(settings: Settings) -> tuple[Token, ...]:
    return tuple(quote(cidr.text) for cidr in settings.trusted_proxies)


def _view_real_ip(settings: Settings) -> Iterator[_RealIp]:
    """Give where nginx reads the client's address, and the proxies that it trusts for that."""
    proxies = _write_proxies(settings)
    if settings.proxy_protocol:
        yield _RealIp(quote("proxy_protocol"), proxies or (quote("0.0.0.0/0"), quote("::/0")))
    elif proxies:
        yield _RealIp(quote("X-Forwarded-For"), proxies)


def _view_tls_defaults(settings: Settings) -> Iterator[_TlsDefaults]:
    if not settings.ssl_cert:
        return
    version = settings.nginx_version
    # In older versions a client could resume the authenticated session of one host on another (CVE-2025-23419).
    safe = version >= (1, 27, 4) or (1, 26, 3) <= version < (1, 27)
    yield _TlsDefaults(
        protocols=words(*settings.ssl_protocols),
        ciphers=quote(settings.ssl_ciphers),
        session_cache=quote("shared:tls:10m" if safe else "off"),
        http2=(quote("on"),) if settings.http2 and version >= HTTP2_DIRECTIVE else (),
    )


def _view_grpc_defaults(routes: Routes, settings: Settings) -> Iterator[_GrpcDefaults]:
    """Give what all locations for gRPC share, if there are any."""
    if any(speaks_grpc(upstream.options) for upstream in routes.upstreams if upstream.options and upstream.servers):
        on = settings.http2 and not settings.ssl_cert and settings.nginx_version >= HTTP2_DIRECTIVE
        # A header that is added does not depend on the module that passes requests on.
        families = (write_family(one, settings, module="grpc", blanks=4) for one in FAMILIES if one != "add_header")
        yield _GrpcDefaults(tuple(families), (quote("on"),) if on else ())


def _view_default_servers(settings: Settings) -> Iterator[_Server]:
    yield _Server(write_listens(settings, tls=False, options=("default_server",)), ())
    if settings.ssl_cert:
        listens = write_listens(settings, tls=True, options=("default_server",))
        yield _Server(listens, (write_default_pair(),))


def _view_moved(routes: Routes, settings: Settings) -> Iterator[_Moved]:
    """Give the hosts with TLS of which the plain port answers nothing but a redirect: one server has all of them."""
    hosts = (host for host in routes.hosts if host.tls and host.plain is Plain.REDIRECTS and not host.challenges)
    if names := tuple(quote(host.name) for host in hosts):
        yield _Moved(names, write_listens(settings, tls=False), (view_move(settings),))


def _view_shadows(routes: Routes, settings: Settings) -> Iterator[_Shadows]:
    """Give the shadows of each port that has some: nginx loads the default certificate once for all of them."""
    plain = tuple(quote(shadow.name) for shadow in routes.shadows if shadow.plain)
    tls = tuple(quote(shadow.name) for shadow in routes.shadows if shadow.tls)
    if plain:
        yield _Shadows(plain, write_listens(settings, tls=False), ())
    if tls:
        yield _Shadows(tls, write_listens(settings, tls=True), (write_default_pair(),))
