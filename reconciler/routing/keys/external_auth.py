"""access.externalAuth: a Pod of the same Namespace decides about each request to a path."""

from collections.abc import Iterator
from functools import partial
from typing import Any

from reconciler.routing.annotations import Refused, parse_text
from reconciler.routing.keys.key import Key, Kind
from reconciler.routing.keys.shapes import parse_header_name, parse_list, parse_object
from reconciler.routing.options import Options
from reconciler.settings import Settings
from reconciler.values.header_names import is_of_requests, simplify, spell
from reconciler.values.messages import excerpt
from reconciler.values.patterns import URL_PATH, decode_path
from reconciler.values.value import Value

NAME = "access.externalAuth"
_MOST_HEADERS = 8
# Where nginx takes headers with underscores, a header with dashes has many spellings, and each of them is written.
_MOST_DASHES = 4


class Identity(Value, frozen=True):
    """A header of the authoriser's answer that the Pods get: its place, its name, and the other spellings of it."""

    number: int
    header: str
    spellings: tuple[str, ...] = ()

    @property
    def variable(self) -> str:
        """The end of the name of nginx's variable with the header of an answer."""
        return self.header.lower().replace("-", "_")


class Authoriser(Value, frozen=True):
    """Who decides on one host: the upstream and URI to ask, and `options` for how its Pods are asked.

    If it is not `ready`, it has no Pod to ask, and nobody may use the path.
    """

    upstream: str
    uri: str
    ready: bool
    options: Options = ()


class SignIn(Value, frozen=True):
    """A page to sign in: its upstream, and its URI for clients."""

    upstream: str
    uri: str


class ExternalAuth(Value, frozen=True):
    """The decoded paths of the authoriser and of its page to sign in, if any; on one host, also what they lead to."""

    path: str
    sign_in: str = ""
    identities: tuple[Identity, ...] = ()
    authorisers: tuple[Authoriser, ...] = ()
    pages: tuple[SignIn, ...] = ()

    def __str__(self) -> str:
        parts = [excerpt(self.path), f"sign in at {excerpt(self.sign_in)}" if self.sign_in else ""]
        return ", ".join(filter(None, [*parts, *(one.header for one in self.identities)]))


def list_asked(options: Options) -> Iterator[Authoriser]:
    """List who decides about requests to a path with these options on one host."""
    for option in options:
        if isinstance(option.value, ExternalAuth):
            yield from option.value.authorisers


def _parse(value: Any, what: str, settings: Settings) -> ExternalAuth:
    names = partial(_parse_headers, settings=settings)
    given = parse_object(value, what, {"path": _parse_path, "signInPath": _parse_path, "responseHeaders": names})
    if "path" not in given:
        raise Refused(f"{what}.path", "is missing", "a basePath of the Namespace, whose Pods decide")
    return ExternalAuth(given["path"], given.get("signInPath", ""), given.get("responseHeaders", ()))


def _parse_path(value: object, what: str) -> str:
    text = parse_text(value, what, URL_PATH)
    try:
        return decode_path(text).rstrip("/") or "/"
    except ValueError as error:
        raise Refused(what, f"{excerpt(text)} {error}", "a basePath of the Namespace") from None


def _parse_headers(value: object, what: str, settings: Settings) -> tuple[Identity, ...]:
    key = settings.api_key_header
    names = parse_list(value, what, parse_header_name, _MOST_HEADERS)
    for name in names:
        if is_of_requests(name) or simplify(name) == simplify(key):
            raise Refused(what, f"names {excerpt(name)}, which the router alone decides about", "other headers")
        if "_" in key and name.count("-") > _MOST_DASHES:
            raise Refused(
                what, f"names {excerpt(name)}, which has too many spellings", f"at most {_MOST_DASHES} dashes"
            )
    if len({simplify(name) for name in names}) < len(names):
        raise Refused(what, "names a header twice", "each header once")
    others = {name: tuple(one for one in spell(name) if "_" in key and one != name) for name in names}
    return tuple(Identity(number, name, others[name]) for number, name in enumerate(names, 1))


def _list_headers(value: ExternalAuth) -> Iterator[str]:
    yield from (one.variable for one in value.identities)


KEY = Key(
    name=NAME,
    kind=Kind.PROTECTION,
    needs_pods=False,
    parse=_parse,
    weight=3,  # the whole family of headers in a location takes three times what a bare one does
    list_headers=_list_headers,
    shape='{"path": basePath, "signInPath": basePath, "responseHeaders": array of at most 8 names}; '
    "both paths are of this Namespace and on the same host",
    default="nobody is asked",
    does="The Pods of path are asked about each request: only if they answer 2xx, it goes on, with these headers of "
    "their answer. With 401 a client is sent to signInPath, if that is given; 401 and 403 reach it else.",
)
