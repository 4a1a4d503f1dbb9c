"""The servers of one host, as host.conf.j2 writes them."""

from collections.abc import Iterator

from msgspec.structs import replace

from reconciler.rendering import quoting
from reconciler.rendering.access_log import view_labels, view_request_id
from reconciler.rendering.certificate_files import Pair, write_client_path, write_pair
from reconciler.rendering.header_families import FAMILIES, write_family
from reconciler.rendering.listens import Move, view_move, write_listens
from reconciler.rendering.option_parts import write_host_options, write_options
from reconciler.rendering.path_rules import PathRules
from reconciler.rendering.quoting import Token, join, quote
from reconciler.routing.keys import maintenance
from reconciler.routing.model import Answer, Host, Location, Match, Plain
from reconciler.routing.options import find_option
from reconciler.settings import Settings
from reconciler.values.value import Value

# PCRE gives up after this number of steps, and the request gets 500. Compiled expressions count in another way, so that
# those of tenants are not compiled.
# https://www.pcre.org/current/doc/html/pcre2pattern.html
_MATCH_LIMIT = "(*NO_JIT)(*LIMIT_MATCH=2000)"


class _Location(Value, frozen=True):
    """A location: what checks its key, and one of what passes it on, returns a status, fails, and moves to https.

    `headers` are those of a failure.
    """

    match: Token
    keyed: tuple[Token, ...] = ()
    passes: tuple[Token, ...] = ()
    returns: tuple[int, ...] = ()
    fails: tuple[int, ...] = ()
    headers: tuple[Token, ...] = ()
    moves: tuple[Move, ...] = ()
    labels: tuple[Token, ...] = ()
    options: tuple[Token, ...] = ()
    header_families: tuple[Token, ...] = ()


class _KeyCheck(Value, frozen=True):
    """The check of API keys: the variable with the request's key, and a number for each key besides the first one."""

    header: Token
    others: tuple[int, ...]


class _Server(Value, frozen=True):
    """A server of a host. `more` are the headers that options add."""

    listens: tuple[Token, ...]
    name: Token
    locations: tuple[_Location, ...]
    tls: tuple[Pair, ...] = ()
    clients: tuple[Token, ...] = ()
    too_long: tuple[int, ...] = ()
    begins: tuple[Token, ...] = ()
    options: tuple[Token, ...] = ()
    header_families: tuple[Token, ...] = ()
    key_checks: tuple[_KeyCheck, ...] = ()
    more: tuple[Token, ...] = ()


def render_host(host: Host, settings: Settings) -> Token:
    """Render the server of a host, and one for the plain port if that has to answer something else."""
    servers = [_view_server(host, settings)]
    if host.tls and host.plain is not Plain.SERVES and host.challenges:
        servers.append(_view_plain(host, settings))
    return quoting.render("host.conf.j2", servers=servers, answers=view_request_id(settings))


def _view_server(host: Host, settings: Settings) -> _Server:
    """Give the server with a host's locations."""
    plain = write_listens(settings, tls=False) if not host.tls or host.plain is Plain.SERVES else ()
    return _Server(
        listens=plain + (write_listens(settings, tls=True) if host.tls else ()),
        name=quote(host.name),
        locations=(*_view_locations(host, settings), *_view_rest(host, settings)),
        tls=(write_pair(host.name, settings),) if host.tls else (),
        clients=(write_client_path(host.name, settings),) if host.tls and host.tls.client else (),
        too_long=(414,) if any(location.match.is_regex for location in host.locations) else (),
        begins=write_host_options("begin", host.options, settings, 8),
        options=write_host_options("server", host.options, settings, 8),
        header_families=tuple(_write_server_families(host, settings)),
        key_checks=_view_key_check(host, settings),
        more=write_host_options("add_header", host.options, settings, 12),
    )


def _view_plain(host: Host, settings: Settings) -> _Server:
    """Give the server for the challenges of a host with TLS, on the plain port."""
    bare = replace(host, options=(), locations=host.challenges)
    move = view_move(settings) if host.plain is Plain.REDIRECTS else Move(closes=(444,))
    rest = _Location(quote("/"), moves=(move,), labels=view_labels(host.namespace, "", settings))
    return _Server(write_listens(settings, tls=False), quote(host.name), (*_view_locations(bare, settings), rest))


def _view_locations(host: Host, settings: Settings) -> Iterator[_Location]:
    rules = PathRules(host.locations)
    in_each = write_host_options("location", host.options, settings, 12)
    for one in host.locations:
        view = _view_location(one, host, settings)
        options = view.options if one.is_challenge else (*in_each, *view.options)
        yield replace(view, options=options, labels=view_labels(one.namespace, rules.show(one), settings))


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


def _view_key_check(host: Host, settings: Settings) -> tuple[_KeyCheck, ...]:
    """Give the host's check of API keys, if it needs one.

    It compares as many keys as the Namespace with the most keys has.
    """
    more = [
        location.more_keys for location in host.locations if location.api_key and location.answer is not Answer.CLOSED
    ]
    header = quoting.variable("http_" + settings.api_key_header.lower().replace("-", "_"))
    return (_KeyCheck(header, tuple(range(max(more)))),) if more else ()


def _view_default(match: Token, path: str, settings: Settings) -> _Location:
    """Give a location that answers like a path that no Namespace has."""
    answer = settings.default_location_return
    if isinstance(answer, int):
        return _Location(match, returns=(answer,))
    # nginx appends the request's path to the URI's path, as it does with a targetPath.
    joined = answer if answer.count("/") == 2 else answer.rstrip("/") + path
    return _Location(match, passes=(quote(joined),))


def _view_location(location: Location, host: Host, settings: Settings) -> _Location:
    limit = _MATCH_LIMIT if location.match.is_regex else ""
    path = quote(f"{limit}{location.path}", expands_variables=False)
    match = quoting.join(quote(location.match.value), path) if location.match.value else path
    if location.answer is Answer.RESERVED:
        return _view_default(match, location.path, settings)
    if location.answer is Answer.CLOSED:
        return _Location(match, returns=(403,))
    keyed = (quote(location.namespace),) if location.api_key else ()
    options = write_options("location", location.options, location.upstream)
    if location.answer is Answer.UNAVAILABLE:
        # Maintenance has a header of its own for this.
        rests = find_option(host.options, maintenance.KEY.name)
        headers = () if rests else (join(quote("Retry-After"), quoting.variable("retry_after")),)
        return _Location(match, keyed=keyed, fails=(503,), headers=headers, options=options)
    passes = (quote(f"http://{location.upstream}{location.target or ''}"),)
    families = tuple(_write_families(location, host, settings))
    return _Location(match, keyed=keyed, passes=passes, options=options, header_families=families)


def _write_families(location: Location, host: Host, settings: Settings) -> Iterator[Token]:
    """Write the families of headers to which an option of a location adds something, each whole."""
    for family in FAMILIES:
        if parts := write_options(family, location.options, location.upstream):
            yield write_family(family, settings)
            yield from write_host_options(family, host.options, settings, 12)
            yield from parts


def _write_server_families(host: Host, settings: Settings) -> Iterator[Token]:
    """Write the families of headers to which an option of a host adds something, each whole."""
    for family in FAMILIES:
        if parts := write_host_options(family, host.options, settings, 8):
            yield write_family(family, settings, blanks=8)
            yield from parts
