"""The server of one host, as host.conf.j2 writes it."""

from collections.abc import Iterable, Iterator

from msgspec.structs import replace

from reconciler.rendering import quoting
from reconciler.rendering.access_log import view_labels, view_request_id
from reconciler.rendering.certificate_files import write_client_path, write_pair
from reconciler.rendering.external_checks import find_external_auth, view_asks, view_external_checks, view_sign_ins
from reconciler.rendering.header_families import FAMILIES, write_family
from reconciler.rendering.key_checks import KeyCheck, write_key_header
from reconciler.rendering.listens import write_listens
from reconciler.rendering.option_parts import find_module, write_options
from reconciler.rendering.path_rules import PathRules
from reconciler.rendering.quoting import Token, quote
from reconciler.routing.keys.pod_tls import find_pod_tls
from reconciler.routing.model import Answer, Host, Location, Match
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
    """A location: what checks its key, and one of what passes it on, what returns a status, and a 503."""

    match: Token
    keyed: tuple[Token, ...] = ()
    asks: tuple[Token, ...] = ()
    passes: tuple[_Pass, ...] = ()
    returns: tuple[int, ...] = ()
    retry_after: tuple[Token, ...] = ()
    answers: tuple[Token, ...] = ()
    labels: tuple[Token, ...] = ()
    options: tuple[Token, ...] = ()
    header_families: tuple[Token, ...] = ()


def render_host(host: Host, settings: Settings) -> Token:
    """Render the server of a host."""
    rules = PathRules(host.locations)
    locations = [
        replace(_view_location(one, settings), labels=view_labels(one.namespace, rules.show(one), settings))
        for one in host.locations
    ]
    if not any(location.match is Match.PREFIX and location.path == "/" for location in host.locations):
        default = _view_default(quote("/"), "/", settings)
        locations.append(replace(default, labels=view_labels(host.namespace, "", settings)))
    return quoting.render(
        "host.conf.j2",
        listens=write_listens(settings, tls=host.tls is not None),
        name=quote(host.name),
        tls=(write_pair(host.name, settings),) if host.tls else (),
        clients=(write_client_path(host.name, settings),) if host.tls and host.tls.client else (),
        too_long=(414,) if any(location.match.is_regex for location in host.locations) else (),
        key_checks=_view_key_check(host, settings),
        external_checks=view_external_checks(host.locations, settings),
        sign_ins=view_sign_ins(host.locations),
        locations=locations,
    )


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


def _view_location(location: Location, settings: Settings) -> _Location:
    limit = _MATCH_LIMIT if location.match.is_regex else ""
    path = quote(f"{limit}{location.path}", expands_variables=False)
    match = quoting.join(quote(location.match.value), path) if location.match.value else path
    if location.answer is Answer.RESERVED:
        return _view_default(match, location.path, settings)
    if location.answer is Answer.CLOSED:
        return _Location(match, returns=(403,))
    keyed = (quote(location.namespace),) if location.api_key else ()
    asks = view_asks(location)
    parts = (write_options(place, location.options, location.upstream, settings) for place in ("first", "location"))
    options = tuple(part for some in parts for part in some)
    if location.answer is Answer.UNAVAILABLE:
        families = tuple(_write_families(location, settings, ("add_header",)))
        return _Location(
            match,
            keyed=keyed,
            asks=asks,
            retry_after=(quoting.variable("retry_after"),),
            # A location with a header of its own does not inherit others.
            answers=() if families else view_request_id(settings),
            options=options,
            header_families=families,
        )
    passes = () if location.answer is Answer.REDIRECT else (_view_pass(location),)
    families = tuple(_write_families(location, settings, FAMILIES))
    return _Location(match, keyed=keyed, asks=asks, passes=passes, options=options, header_families=families)


def _view_pass(location: Location) -> _Pass:
    """Give where a location's requests go. An option that takes a target away has refused it before."""
    module = find_module(location.options)
    scheme = {"proxy": "http", "grpc": "grpc"}[module] + ("s" if find_pod_tls(location.options) else "")
    target = location.target if module == "proxy" and location.target else ""
    return _Pass(quote(module), quote(f"{scheme}://{location.upstream}{target}"))


def _write_families(location: Location, settings: Settings, families: Iterable[str]) -> Iterator[Token]:
    """Write those of the families of headers to which an option of a location adds something, each whole."""
    for family in families:
        if parts := write_options(family, location.options, location.upstream, settings):
            yield write_family(family, settings, module=find_module(location.options))
            yield from parts
