"""The servers of one host, as host.conf.j2 writes them."""

from collections.abc import Iterable, Iterator

from msgspec.structs import replace

from reconciler.rendering import quoting
from reconciler.rendering.access_log import view_labels, view_request_id
from reconciler.rendering.certificate_files import Pair, write_client_path, write_pair
from reconciler.rendering.endpoints import name_pool
from reconciler.rendering.external_checks import (
    ExternalCheck,
    find_external_auth,
    view_asks,
    view_external_checks,
    view_sign_ins,
)
from reconciler.rendering.header_families import FAMILIES, write_family
from reconciler.rendering.key_checks import KeyCheck, write_key_header
from reconciler.rendering.listens import Move, view_move, write_listens
from reconciler.rendering.option_parts import find_module, write_host_options, write_options
from reconciler.rendering.path_rules import PathRules
from reconciler.rendering.quoting import Token, View, join, quote
from reconciler.routing.keys import hsts, maintenance
from reconciler.routing.keys.pod_tls import find_pod_tls
from reconciler.routing.keys.response_headers import ResponseHeaders
from reconciler.routing.model import Answer, Host, Location, Match, Plain
from reconciler.routing.options import Option, find_option
from reconciler.settings import Settings
from reconciler.values.value import Value

# PCRE gives up after this number of steps, and the request gets 500. Compiled expressions count in another way, so that
# those of tenants are not compiled.
# https://www.pcre.org/current/doc/html/pcre2pattern.html
_MATCH_LIMIT = "(*NO_JIT)(*LIMIT_MATCH=2000)"


class _Pass(Value, frozen=True):
    """Where requests are passed on to, and by which module of nginx."""

    module: Token
    url: Token


class _Location(Value, frozen=True):
    """A location: what checks its key, and one of what passes it on, returns a status, fails, and moves to https.

    `headers` are those of a failure, and `more` those that the host's options add to it.
    """

    match: Token
    keyed: tuple[Token, ...] = ()
    asks: tuple[Token, ...] = ()
    passes: tuple[_Pass, ...] = ()
    pods: tuple[Token, ...] = ()
    returns: tuple[int, ...] = ()
    fails: tuple[int, ...] = ()
    headers: tuple[Token, ...] = ()
    more: tuple[Token, ...] = ()
    moves: tuple[Move, ...] = ()
    labels: tuple[Token, ...] = ()
    options: tuple[Token, ...] = ()
    header_families: tuple[Token, ...] = ()


class _Server(Value, frozen=True):
    """A server of a host."""

    listens: tuple[Token, ...]
    name: Token
    locations: tuple[_Location, ...]
    tls: tuple[Pair, ...] = ()
    clients: tuple[Token, ...] = ()
    too_long: tuple[int, ...] = ()
    begins: tuple[Token, ...] = ()
    options: tuple[Token, ...] = ()
    header_families: tuple[Token, ...] = ()
    key_checks: tuple[KeyCheck, ...] = ()
    external_checks: tuple[ExternalCheck, ...] = ()
    sign_ins: tuple[View, ...] = ()


class Hosted(Value, frozen=True):
    """A host, and those upstreams of its locations whose Pods Lua chooses, each with the name of its set of Pods."""

    host: Host
    sets: tuple[tuple[str, str], ...] = ()


def render_host(hosted: Hosted, settings: Settings) -> Token:
    """Render the server of a host, and one for the plain port if that has to answer something else."""
    host = hosted.host
    servers = [_view_server(hosted, settings)]
    if host.tls and host.plain is not Plain.SERVES and host.challenges:
        servers.append(_view_plain(hosted, settings))
    return quoting.render("host.conf.j2", servers=servers)


def _view_server(hosted: Hosted, settings: Settings) -> _Server:
    """Give the server with a host's locations."""
    host = hosted.host
    plain = write_listens(settings, tls=False) if not host.tls or host.plain is Plain.SERVES else ()
    return _Server(
        listens=plain + (write_listens(settings, tls=True) if host.tls else ()),
        name=quote(host.name),
        locations=(*_view_locations(hosted, settings), *_view_rest(host, settings)),
        tls=(write_pair(host.name, settings),) if host.tls else (),
        clients=(write_client_path(host.name, settings),) if host.tls and host.tls.client else (),
        too_long=(414,) if any(location.match.is_regex for location in host.locations) else (),
        begins=write_host_options("begin", host.options, settings, 8),
        options=write_host_options("server", host.options, settings, 8),
        header_families=tuple(_write_server_families(host, settings)),
        key_checks=_view_key_check(host, settings),
        external_checks=tuple(view_external_checks(host.locations, settings)),
        sign_ins=tuple(view_sign_ins(host.locations)),
    )


def _view_plain(hosted: Hosted, settings: Settings) -> _Server:
    """Give the server for the challenges of a host with TLS, on the plain port."""
    host = hosted.host
    bare = replace(host, options=(), locations=host.challenges)
    rest = _Location(quote("/"), labels=view_labels(host.namespace, "", settings))
    moves = host.plain is Plain.REDIRECTS
    rest = replace(rest, moves=(view_move(settings),)) if moves else replace(rest, returns=(444,))
    return _Server(
        listens=write_listens(settings, tls=False),
        name=quote(host.name),
        locations=(*_view_locations(replace(hosted, host=bare), settings), rest),
        external_checks=tuple(view_external_checks(bare.locations, settings)),
        sign_ins=tuple(view_sign_ins(bare.locations)),
    )


def _view_locations(hosted: Hosted, settings: Settings) -> Iterator[_Location]:
    host = hosted.host
    rules, sets = PathRules(host.locations), dict(hosted.sets)
    for one in host.locations:
        labels = view_labels(one.namespace, rules.show(one), settings)
        view = replace(_view_location(one, host, settings), labels=labels)
        if one.upstream in sets and one.answer is Answer.PODS:
            view = replace(
                view,
                pods=(quote(sets[one.upstream]),),
                passes=(_view_pass(replace(one, upstream=name_pool(one.namespace))),),
            )
        yield view


def _view_rest(host: Host, settings: Settings) -> Iterator[_Location]:
    """Give the location that takes all other requests, if there is none."""
    in_each = write_host_options("location", host.options, settings, 12)
    labels = view_labels(host.namespace, "", settings)
    if host.open:
        if not any(one.match is Match.PREFIX and one.path == "/" for one in host.locations):
            yield replace(_view_default(quote("/"), "/", settings), options=in_each, labels=labels)
    elif host.tls or host.plain in (Plain.SERVES, Plain.REDIRECTS):
        parts = write_host_options("default", host.options, settings, 12)
        yield _Location(quote("/"), options=(*in_each, *parts), labels=labels)
    else:
        yield _Location(quote("/"), returns=(503 if host.plain is Plain.WAITS else 444,), labels=labels)


def _view_key_check(host: Host, settings: Settings) -> tuple[KeyCheck, ...]:
    """Give the host's check of API keys, if it needs one.

    It compares as many keys as the Namespace with the most keys has.
    """
    more = [
        location.more_keys
        for location in host.locations
        if location.api_key and location.answer is not Answer.CLOSED and not find_external_auth(location)
    ]
    return (KeyCheck(write_key_header(settings), tuple(range(max(more)))),) if more else ()


def _view_default(match: Token, path: str, settings: Settings) -> _Location:
    """Give a location that answers like a path that no Namespace has."""
    answer = settings.default_location_return
    if isinstance(answer, int):
        return _Location(match, returns=(answer,))
    # nginx appends the request's path to the URI's path, as it does with a targetPath.
    joined = answer if answer.count("/") == 2 else answer.rstrip("/") + path
    return _Location(match, passes=(_Pass(quote("proxy"), quote(joined)),))


def _view_location(location: Location, host: Host, settings: Settings) -> _Location:
    limit = _MATCH_LIMIT if location.match.is_regex else ""
    path = quote(f"{limit}{location.path}", expands_variables=False)
    match = quoting.join(quote(location.match.value), path) if location.match.value else path
    location = _leave_to_host(location, host)
    options = _write_checks(location, host, settings)
    if location.answer is Answer.RESERVED:
        return replace(_view_default(match, location.path, settings), options=options)
    if location.answer is Answer.CLOSED:
        return _Location(match, returns=(403,), options=options)
    view = _Location(
        match,
        keyed=(quote(location.namespace),) if location.api_key else (),
        asks=view_asks(location),
        options=options,
    )
    if location.answer is Answer.UNAVAILABLE:
        return _view_unavailable(view, location, host, settings)
    passes = () if location.answer is Answer.REDIRECT else (_view_pass(location),)
    return replace(view, passes=passes, header_families=tuple(_write_families(location, host, settings, FAMILIES)))


def _view_unavailable(view: _Location, location: Location, host: Host, settings: Settings) -> _Location:
    """Give the location of a path without a ready Pod."""
    families = tuple(_write_families(location, host, settings, ("add_header",)))
    # Maintenance has a header of its own for this.
    rests = find_option(host.options, maintenance.KEY.name)
    after = () if rests else (join(quote("Retry-After"), quoting.variable("retry_after")),)
    return replace(
        view,
        fails=(503,),
        # A location with a header of its own does not inherit others.
        headers=after if families else (*after, *view_request_id(settings)),
        more=() if families else write_host_options("add_header", host.options, settings, 12),
        header_families=families,
    )


def _leave_to_host(location: Location, host: Host) -> Location:
    """Leave the header that a host writes itself out of what a location says about headers: nobody gets two."""
    if not find_option(host.options, hsts.KEY.name):
        return location
    options = tuple(
        Option(one.name, one.value.leave_out(hsts.HEADER)) if isinstance(one.value, ResponseHeaders) else one
        for one in location.options
    )
    return replace(location, options=options)


def _write_checks(location: Location, host: Host, settings: Settings) -> tuple[Token, ...]:
    """Write what the options of a location and of its host say about requests. The host holds up no challenge."""
    first, own = (
        write_options(place, location.options, location.upstream, settings) for place in ("first", "location")
    )
    of_host = () if location.is_challenge else write_host_options("location", host.options, settings, 12)
    return (*first, *of_host, *own)


def _view_pass(location: Location) -> _Pass:
    """Give where a location's requests go. An option that takes a target away has refused it before."""
    module = find_module(location.options)
    scheme = {"proxy": "http", "grpc": "grpc"}[module] + ("s" if find_pod_tls(location.options) else "")
    target = location.target if module == "proxy" and location.target else ""
    return _Pass(quote(module), quote(f"{scheme}://{location.upstream}{target}"))


def _write_families(location: Location, host: Host, settings: Settings, families: Iterable[str]) -> Iterator[Token]:
    """Write those of the families of headers to which an option of a location adds something, each whole."""
    module = find_module(location.options)
    for family in families:
        parts = write_options(family, location.options, location.upstream, settings)
        of_host = write_host_options(family, host.options, settings, 12, module)
        # The server hides headers with the module proxy alone.
        if parts or (of_host and family == "hide_header" and module != "proxy"):
            yield write_family(family, settings, module=module)
            yield from of_host
            yield from parts


def _write_server_families(host: Host, settings: Settings) -> Iterator[Token]:
    """Write the families of headers to which an option of a host adds something, each whole."""
    for family in FAMILIES:
        if parts := write_host_options(family, host.options, settings, 8):
            yield write_family(family, settings, blanks=8)
            yield from parts
