"""The server of one host, as host.conf.j2 writes it."""

from collections.abc import Iterator

from msgspec.structs import replace

from reconciler.rendering import quoting
from reconciler.rendering.access_log import view_labels, view_request_id
from reconciler.rendering.certificate_files import write_client_path, write_pair
from reconciler.rendering.header_families import FAMILIES, write_family
from reconciler.rendering.listens import write_listens
from reconciler.rendering.option_parts import write_options
from reconciler.rendering.path_rules import PathRules
from reconciler.rendering.quoting import Token, quote
from reconciler.routing.model import Answer, Host, Location, Match
from reconciler.settings import Settings
from reconciler.values.value import Value

# PCRE gives up after this number of steps, and the request gets 500. Compiled expressions count in another way, so that
# those of tenants are not compiled.
# https://www.pcre.org/current/doc/html/pcre2pattern.html
_MATCH_LIMIT = "(*NO_JIT)(*LIMIT_MATCH=2000)"


class _Location(Value, frozen=True):
    """A location: what checks its key, and one of what passes it on, what returns a status, and a 503."""

    match: Token
    keyed: tuple[Token, ...] = ()
    passes: tuple[Token, ...] = ()
    returns: tuple[int, ...] = ()
    retry_after: tuple[Token, ...] = ()
    labels: tuple[Token, ...] = ()
    options: tuple[Token, ...] = ()
    header_families: tuple[Token, ...] = ()


class _KeyCheck(Value, frozen=True):
    """The check of API keys: the variable with the request's key, and a number for each key besides the first one."""

    header: Token
    others: tuple[int, ...]


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
        locations=locations,
        answers=view_request_id(settings),
    )


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


def _view_location(location: Location, settings: Settings) -> _Location:
    limit = _MATCH_LIMIT if location.match.is_regex else ""
    path = quote(f"{limit}{location.path}", expands_variables=False)
    match = quoting.join(quote(location.match.value), path) if location.match.value else path
    if location.answer is Answer.RESERVED:
        return _view_default(match, location.path, settings)
    if location.answer is Answer.CLOSED:
        return _Location(match, returns=(403,))
    keyed = (quote(location.namespace),) if location.api_key else ()
    options = write_options("location", location.options, location.upstream, settings)
    if location.answer is Answer.UNAVAILABLE:
        return _Location(match, keyed=keyed, retry_after=(quoting.variable("retry_after"),), options=options)
    families = tuple(_write_families(location, settings))
    if location.answer is Answer.REDIRECT:
        return _Location(match, keyed=keyed, options=options, header_families=families)
    passes = (quote(f"http://{location.upstream}{location.target or ''}"),)
    return _Location(match, keyed=keyed, passes=passes, options=options, header_families=families)


def _write_families(location: Location, settings: Settings) -> Iterator[Token]:
    """Write the families of headers to which an option of a location adds something, each whole."""
    for family in FAMILIES:
        if parts := write_options(family, location.options, location.upstream, settings):
            yield write_family(family, settings)
            yield from parts
