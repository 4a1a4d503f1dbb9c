"""http: what the plain port answers for a host."""

from typing import Any

from reconciler.routing.keys.key import Key, Kind
from reconciler.routing.keys.shapes import choice
from reconciler.settings import Settings
from reconciler.values.value import Value

REDIRECT, SERVE, CLOSE = "redirect", "serve", "close"


class Http(Value, frozen=True):
    """One of REDIRECT, SERVE and CLOSE; or nothing, in place of a value that is bad."""

    mode: str

    def __str__(self) -> str:
        return self.mode or f"{CLOSE}, or as {SERVE} without ssl"


def _parse(value: Any, what: str, _: Settings) -> Http:
    return Http(choice(REDIRECT, SERVE, CLOSE)(value, what))


KEY = Key(
    name="http",
    kind=Kind.FUNCTION,
    parse=_parse,
    shape=f'"{REDIRECT}", "{SERVE}" or "{CLOSE}"',
    default=f"{REDIRECT} with ssl, else {SERVE}",
    instead=Http(""),
    does="What PORT answers for the host: 308 to https, its paths, or nothing. The owner's paths below "
    "/.well-known/acme-challenge are served there in any case, without an API key. Without ssl, redirect needs "
    "TRUSTED_PROXIES.",
)
