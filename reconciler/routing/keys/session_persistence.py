"""sessionPersistence: requests of one client go to one Pod, as long as it is ready."""

import re
from collections.abc import Iterator
from hashlib import blake2b
from typing import Any

from reconciler.routing.annotations import Refused, parse_text
from reconciler.routing.keys.key import Key, Kind
from reconciler.routing.keys.shapes import choice, duration, parse_object, show_duration
from reconciler.settings import Settings
from reconciler.values.patterns import Pattern
from reconciler.values.value import Literal, Value

_SECOND = 1000
_LONGEST = 8760 * 3600 * _SECOND
_NAME = "dispatcher-session"
# Browsers keep a cookie whose name begins with "__Host-" or "__Secure-" only for TLS, so that a letter comes first:
# https://developer.mozilla.org/en-US/docs/Web/HTTP/Reference/Headers/Set-Cookie#cookie_prefixes
_COOKIE_NAME = Pattern(
    r"[A-Za-z][A-Za-z0-9._-]*", "a letter and at most 63 letters, digits, '.', '_' or '-'", longest=64
)
# What each client sends as it is. Another character of a path may come in several spellings, which no cookie has.
_PLAIN = re.compile(r"[A-Za-z0-9._~@:+=-]*")


class SessionPersistence(Value, frozen=True):
    """A cookie's name, how many seconds it lasts (0: until the browser ends), and its path; no name: by address.

    The cookie holds a random token, which says nothing about Pods.
    """

    cookie: str = ""
    lasts: int = 0
    path: str = "/"

    def __str__(self) -> str:
        lasts = f" for {show_duration(self.lasts * _SECOND)}" if self.lasts else ""
        return f"cookie {self.cookie}{lasts}" if self.cookie else "client's address"

    @property
    def digest(self) -> str:
        """A name that only equal values have, for variables of nginx."""
        return blake2b(f"{self.cookie} {self.lasts} {self.path}".encode(), digest_size=8).hexdigest()

    @property
    def cookies(self) -> tuple["SessionPersistence", ...]:
        """The value itself if it needs a cookie."""
        return (self,) if self.cookie else ()

    @property
    def addresses(self) -> tuple["SessionPersistence", ...]:
        """The value itself if it needs none."""
        return () if self.cookie else (self,)

    @property
    def holding(self) -> Literal:
        """A regular expression that takes the token out of a request's cookies."""
        return Literal(rf"~(?:^|; ?){re.escape(self.cookie)}=(?<session_token>[0-9a-f]{{32}})(?:;|$)")

    @property
    def known(self) -> Literal:
        """A regular expression for cookies with a token."""
        return Literal(rf"~(?:^|; ?){re.escape(self.cookie)}=[0-9a-f]{{32}}(?:;|$)")

    @property
    def begun(self) -> Literal:
        """The cookie with a new token, which is the number of the request. `$` begins only that variable in it."""
        lasts = f"; Max-Age={self.lasts}" if self.lasts else ""
        return Literal(f"{self.cookie}=$request_id; Path={self.path}{lasts}; HttpOnly; SameSite=Lax")

    @property
    def begun_by_tls(self) -> Literal:
        """The same for a client that uses TLS."""
        return Literal(f"{self.begun}; Secure")


def find_cookie_path(path: str) -> str:
    """Find the path of a cookie that each request for a path, or for one below it, brings."""
    first, *segments = path.split("/")
    odd = next((number for number, one in enumerate(segments) if not _PLAIN.fullmatch(one)), len(segments))
    return "/".join([first, *segments[:odd]]) or "/"


def _parse(value: Any, what: str, _: Settings) -> SessionPersistence:
    readers = {
        "type": choice("Cookie", "ClientIP"),
        "sessionName": lambda name, where: parse_text(name, where, _COOKIE_NAME),
        "absoluteTimeout": duration(_SECOND, _LONGEST),
    }
    given = parse_object(value, what, readers)
    if "type" not in given:
        raise Refused(f"{what}.type", "is missing", "Cookie or ClientIP")
    if given["type"] == "Cookie":
        return SessionPersistence(given.get("sessionName", _NAME), given.get("absoluteTimeout", 0) // _SECOND)
    if len(given) > 1:
        raise Refused(what, "has what only a cookie can have", 'the type alone, or the type "Cookie"')
    return SessionPersistence()


def _list_variables(value: SessionPersistence) -> Iterator[str]:
    """Name the three variables of a cookie: the token, the cookie as it begins, and the one that is set."""
    yield from (f"{one.digest} {word}" for one in value.cookies for word in ("token", "begun", "new"))


KEY = Key(
    name="sessionPersistence",
    kind=Kind.FUNCTION,
    needs_upstream=lambda _: True,
    list_variables=_list_variables,
    parse=_parse,
    shape='{"type": "Cookie", "sessionName": name, "absoluteTimeout": duration of 1s-8760h} or {"type": "ClientIP"}',
    default=f"none; the cookie's name is {_NAME}, and it lasts until the browser ends",
    weight=1,
    hashes=True,
    does="All requests with one cookie, or from one address, go to one Pod while it is ready. If another Pod comes or "
    "goes, few clients move. Weights count as at most 100. Behind a load balancer TRUSTED_PROXIES must name it.",
)
