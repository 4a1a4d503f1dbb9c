"""The internal locations that ask authorisers, and the named ones that send clients to sign in."""

from collections.abc import Iterator

from reconciler.rendering.header_families import write_family
from reconciler.rendering.key_checks import KeyCheck, write_key_header
from reconciler.rendering.option_parts import write_options
from reconciler.rendering.quoting import Token, View, quote
from reconciler.routing.keys.external_auth import NAME, Authoriser, ExternalAuth, list_asked
from reconciler.routing.keys.pod_tls import find_pod_tls
from reconciler.routing.model import Location
from reconciler.routing.options import find_option
from reconciler.settings import Settings
from reconciler.values.header_names import spell
from reconciler.values.value import Value

_DEAD = 503


class ExternalCheck(Value, frozen=True):
    """What asks an authoriser: the check of the API key before that, and how requests are passed on, if they are."""

    name: Token
    key_checks: tuple[KeyCheck, ...]
    spellings: tuple[Token, ...]
    header_families: tuple[Token, ...] = ()
    options: tuple[Token, ...] = ()
    passes: tuple[Token, ...] = ()
    returns: tuple[int, ...] = ()


def find_external_auth(location: Location) -> ExternalAuth | None:
    """Give what a location says about its authoriser."""
    found = find_option(location.options, NAME)
    return found if isinstance(found, ExternalAuth) else None


def view_asks(location: Location) -> tuple[Token, ...]:
    """Name what decides about a request to a location. An authoriser's location checks the key too."""
    auth = find_external_auth(location)
    if auth:
        return tuple(_name_check(location, one) for one in auth.authorisers)
    return (quote("api-key"),) if location.api_key else ()


def view_external_checks(locations: tuple[Location, ...], settings: Settings) -> list[ExternalCheck]:
    """Give the host's locations that ask authorisers.

    Those who ask the same one may differ in whether they need a key: challenges need none.
    """
    checks = {_name_check(*asked): _view_check(*asked, settings) for asked in _list_authorisers(locations)}
    return list(checks.values())


def view_sign_ins(locations: tuple[Location, ...]) -> list[View]:
    """Give the pages to which a host sends clients to sign in."""
    pages = (page for location in locations if (auth := find_external_auth(location)) for page in auth.pages)
    return [View(page) for page in dict.fromkeys(pages)]


def _list_authorisers(locations: tuple[Location, ...]) -> Iterator[tuple[Location, Authoriser]]:
    for location in locations:
        yield from ((location, one) for one in list_asked(location.options))


def _name_check(location: Location, authoriser: Authoriser) -> Token:
    return quote(f"{'external-key' if location.api_key else 'external'}-{authoriser.upstream}")


def _view_check(location: Location, authoriser: Authoriser, settings: Settings) -> ExternalCheck:
    keys = (KeyCheck(write_key_header(settings), tuple(range(location.more_keys))),) if location.api_key else ()
    names = ("X-Original-Method", "Content-Length") if "_" in settings.api_key_header else ()
    spellings = tuple(quote(one) for name in names for one in spell(name) if one != name)
    check = (_name_check(location, authoriser), keys, spellings)
    if not authoriser.ready:
        return ExternalCheck(*check, returns=(_DEAD,))
    scheme = "https" if find_pod_tls(authoriser.options) else "http"
    passes = (quote(f"{scheme}://{authoriser.upstream}{authoriser.uri}"),)
    options = write_options("location", authoriser.options, authoriser.upstream, settings)
    families = (write_family("set_header", settings, upgrades=False),)
    return ExternalCheck(*check, header_families=families, options=options, passes=passes)
