"""RoutingTable + templates -> Files: the tree that `nginx -p DIR -c nginx.conf` runs as it lies."""

from collections.abc import Iterator
from itertools import groupby
from operator import attrgetter

from reconciler.rendering import quoting
from reconciler.rendering.headers import find_hidden
from reconciler.rendering.quoting import Token, quote, words
from reconciler.rendering.routes_file import API_KEYS_FILE, DEFAULT_SERVER, ROUTES_FILE, write_routes
from reconciler.routing.annotations import Match
from reconciler.routing.server_names import bucket_size, power_of_two
from reconciler.routing.table import Host, Location, Routes
from reconciler.routing.tenant import Upstream
from reconciler.settings import Settings
from reconciler.values.files import SECRET, File, Files
from reconciler.values.memo import Memo
from reconciler.values.value import Value

_HTTP2_DIRECTIVE = (1, 25, 1)  # https://nginx.org/en/docs/http/ngx_http_v2_module.html#http2
# At a reload an old worker closes no client's connection that has been idle for less than this: a client that uses its
# connection that often loses no request, and is told with its next answer to leave. Most clients drop what is idle
# for longer than 5 s themselves; and for so long, too, an old worker and its memory stay after each reload.
# https://nginx.org/en/docs/http/ngx_http_core_module.html#keepalive_min_timeout
_KEEPALIVE_MIN_TIMEOUT = "10s"
_KEEPALIVE_MIN_DIRECTIVE = (1, 27, 4)
# PCRE gives up after so many steps, and the request gets 500: https://www.pcre.org/current/doc/html/pcre2pattern.html
_MATCH_LIMIT = "(*LIMIT_MATCH=2000)"


class _Pair(Value, frozen=True):
    certificate: Token
    key: Token


class _TlsDefaults(Value, frozen=True):
    protocols: Token
    ciphers: Token
    session_cache: Token
    http2: tuple[Token, ...]


class _Server(Value, frozen=True):
    listens: tuple[Token, ...]
    tls: tuple[_Pair, ...]


class _Location(Value, frozen=True):
    match: Token
    keyed: tuple[Token, ...] = ()
    passes: tuple[Token, ...] = ()
    returns: tuple[int, ...] = ()


class _RealIp(Value, frozen=True):
    header: Token
    proxies: tuple[Token, ...]


class _Trust(Value, frozen=True):
    proxies: tuple[Token, ...]


class _KeyCheck(Value, frozen=True):
    header: Token
    others: tuple[int, ...]


class _Check(Value, frozen=True):
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


class _ApiKey(Value, frozen=True):
    namespace: Token
    value: Token

    def __repr__(self) -> str:
        return f"_ApiKey({self.namespace})"


def render(routes: Routes, settings: Settings) -> Files:
    """Render the tree of a routing table's routes. The same routes give the same bytes."""
    files = {
        "nginx.conf": File(_encode(_render_main(routes, settings))),
        ROUTES_FILE: File(write_routes(routes)),
        API_KEYS_FILE: File(_encode(quoting.render("api-keys.conf.j2", keys=list(_api_keys(routes)))), SECRET),
    }
    if settings.ssl_cert:
        pair = _certificate_paths("ssl", DEFAULT_SERVER)
        files |= {pair[0]: File(settings.ssl_cert), pair[1]: File(settings.ssl_key, SECRET)}
    for host in routes.hosts:
        if host.tls:
            certificate, key, client = _certificate_paths(_directory(settings), host.name)
            files |= {certificate: File(host.tls.chain.pem), key: File(host.tls.key, SECRET)}
            files |= {client: File(host.tls.client.pem)} if host.tls.client else {}
    return dict(sorted(files.items()))


def render_release(name: str, socket: str) -> File:
    """Render the server by which a running nginx answers a release's name on a unix socket."""
    return File(_encode(quoting.render("release.conf.j2", name=quote(name), socket=quote(socket))))


def _encode(text: Token) -> bytes:
    return text.encode("utf-8", "surrogateescape")


def _render_main(routes: Routes, settings: Settings) -> Token:
    by_namespace = groupby(routes.upstreams, key=attrgetter("namespace"))
    upstreams = _upstreams.round({namespace: tuple(group) for namespace, group in by_namespace}, None)
    hosts = _hosts.round({host.name: host for host in routes.hosts}, settings)
    longest = max((len(host.name) for host in routes.hosts), default=0)
    # Who speaks the PROXY protocol writes no headers: those that come behind it are the client's.
    believed = settings.trusted_proxies and not settings.proxy_protocol
    return quoting.render(
        "nginx.conf.j2",
        worker_shutdown_timeout=quote(settings.worker_shutdown_timeout),
        worker_connections=settings.worker_connections,
        underscores_in_headers=quote("on" if "_" in settings.api_key_header else "off"),
        hidden_headers=[quote(header) for header in find_hidden(settings)],
        max_client_body_size=quote(settings.max_client_body_size),
        keepalive_min_timeouts=_keepalive_min_timeouts(settings),
        client_header_timeout=settings.client_header_timeout,
        client_body_timeout=settings.client_body_timeout,
        server_names_hash_max_size=routes.names_hash_size,
        server_names_hash_bucket_size=bucket_size(longest),
        map_hash_max_size=power_of_two(2 * sum(len(key.values) for _, key in routes.api_keys), 2048),
        real_ips=list(_real_ips(settings)),
        too_long=_too_long(settings.allow_regex_paths),
        trusts=[_Trust(_proxies(settings))] if believed else [],
        forwarded_proto=quoting.variable("forwarded_proto" if believed else "scheme"),
        forwarded_host=quoting.variable("forwarded_host" if believed else "sent_host"),
        tls_defaults=list(_tls_defaults(settings)),
        default_servers=list(_default_servers(settings)),
        status_path=quote(settings.status_path, expands_variables=False),
        upstreams=upstreams.values(),
        hosts=hosts.values(),
    )


def _keepalive_min_timeouts(settings: Settings) -> list[Token]:
    return [quote(_KEEPALIVE_MIN_TIMEOUT)] if settings.nginx_version >= _KEEPALIVE_MIN_DIRECTIVE else []


def _proxies(settings: Settings) -> tuple[Token, ...]:
    return tuple(quote(cidr.text) for cidr in settings.trusted_proxies)


def _real_ips(settings: Settings) -> Iterator[_RealIp]:
    """Give where the client's address is read from, and whom it is believed."""
    proxies = _proxies(settings)
    if settings.proxy_protocol:
        yield _RealIp(quote("proxy_protocol"), proxies or (quote("0.0.0.0/0"), quote("::/0")))
    elif proxies:
        yield _RealIp(quote("X-Forwarded-For"), proxies)


def _tls_defaults(settings: Settings) -> Iterator[_TlsDefaults]:
    if not settings.ssl_cert:
        return
    version = settings.nginx_version
    # Before these an authenticated session of one host can be resumed on another (CVE-2025-23419): no resumption there.
    safe = version >= (1, 27, 4) or (1, 26, 3) <= version < (1, 27)
    yield _TlsDefaults(
        protocols=words(*settings.ssl_protocols),
        ciphers=quote(settings.ssl_ciphers),
        session_cache=quote("shared:tls:10m" if safe else "off"),
        http2=(quote("on"),) if settings.http2 and version >= _HTTP2_DIRECTIVE else (),
    )


def _default_servers(settings: Settings) -> Iterator[_Server]:
    yield _Server(_listens(settings, tls=False, options=("default_server",)), ())
    if settings.ssl_cert:
        certificate, key, _ = _certificate_paths("ssl", DEFAULT_SERVER)
        listens = _listens(settings, tls=True, options=("default_server",))
        yield _Server(listens, (_Pair(quote(certificate), quote(key)),))


def _listens(settings: Settings, *, tls: bool, options: tuple[str, ...] = ()) -> tuple[Token, ...]:
    port = settings.ssl_port if tls else settings.port
    http2 = settings.http2 and settings.nginx_version < _HTTP2_DIRECTIVE
    tls_options = ("ssl", "http2") if http2 else ("ssl",)
    options += (tls_options if tls else ()) + (("proxy_protocol",) if settings.proxy_protocol else ())
    return tuple(words(f"{address}:{port}", *options) for address in settings.listen_addresses)


def _directory(settings: Settings) -> str:
    return settings.ssl_cert_dir.rstrip("/") or "ssl"


def _certificate_paths(directory: str, host: str) -> tuple[str, str, str]:
    folder = f"{directory}/{host.strip('[]')}"
    return f"{folder}/certificate.crt", f"{folder}/certificate.key", f"{folder}/clientCertificate.crt"


def _render_upstreams(upstreams: tuple[Upstream, ...], _: None) -> Token:
    return quoting.render("upstreams.conf.j2", upstreams=[_view_upstream(upstream) for upstream in upstreams])


_upstreams = Memo(_render_upstreams)


def _view_upstream(upstream: Upstream) -> _Upstream:
    servers = [
        words(server.address, f"weight={server.weight}") if server.weight > 1 else quote(server.address)
        for server in upstream.servers
    ]
    return _Upstream(quote(upstream.name), tuple(servers), tuple(_checks(upstream)))


def _checks(upstream: Upstream) -> Iterator[_Check]:
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


def _render_host(host: Host, settings: Settings) -> Token:
    certificate, key, client = _certificate_paths(_directory(settings), host.name)
    locations = [_view_location(location) for location in host.locations]
    if not any(location.match is Match.PREFIX and location.path == "/" for location in host.locations):
        locations.append(_default_location(settings))
    return quoting.render(
        "host.conf.j2",
        listens=_listens(settings, tls=host.tls is not None),
        name=quote(host.name),
        tls=(_Pair(quote(certificate), quote(key)),) if host.tls else (),
        clients=(quote(client),) if host.tls and host.tls.client else (),
        too_long=_too_long(any(location.match.is_regex for location in host.locations)),
        key_checks=_key_checks(host, settings),
        locations=locations,
    )


_hosts = Memo(_render_host)


def _too_long(asks_regexes: bool) -> tuple[int, ...]:
    return (414,) if asks_regexes else ()


def _key_checks(host: Host, settings: Settings) -> tuple[_KeyCheck, ...]:
    """Give the host's check of API keys, if one is needed: it compares as many as its Namespaces have."""
    more = [location.more_keys for location in host.locations if location.api_key and not location.closed]
    header = quoting.variable("http_" + settings.api_key_header.lower().replace("-", "_"))
    return (_KeyCheck(header, tuple(range(max(more)))),) if more else ()


def _default_location(settings: Settings) -> _Location:
    answer = settings.default_location_return
    if isinstance(answer, int):
        return _Location(quote("/"), returns=(answer,))
    # Where the URI has a path, the request's is put behind it, as behind a targetPath.
    joined = answer if answer.count("/") == 2 else answer.rstrip("/") + "/"
    return _Location(quote("/"), passes=(quote(joined),))


def _view_location(location: Location) -> _Location:
    limit = _MATCH_LIMIT if location.match.is_regex else ""
    path = quote(f"{limit}{location.path}", expands_variables=False)
    match = quoting.join(quote(location.match.value), path) if location.match.value else path
    if location.closed:
        return _Location(match, returns=(403,))
    return _Location(
        match,
        keyed=(quote(location.namespace),) if location.api_key else (),
        passes=(quote(f"http://{location.upstream}{location.target or ''}"),),
    )


def _api_keys(routes: Routes) -> Iterator[_ApiKey]:
    for namespace, key in routes.api_keys:
        for place, value in enumerate(key.values):
            yield _ApiKey(quote(f"/{namespace}{'/' * place}"), quote(value))
