"""hsts: how long browsers ask for a host by https alone."""

from typing import Any

from reconciler.routing.annotations import Refused, parse_boolean
from reconciler.routing.keys.key import Key, Kind
from reconciler.routing.keys.shapes import duration, parse_object, show_duration
from reconciler.settings import Settings
from reconciler.values.value import Value

HEADER = "Strict-Transport-Security"
_SECOND, _HOUR = 1000, 3_600_000
# What browsers ask of a host in their own lists: https://hstspreload.org/#submission-requirements
_YEAR = 8760 * _HOUR
_LONGEST = 2 * _YEAR


class Hsts(Value, frozen=True):
    """A policy; `max_age` is in seconds."""

    max_age: int
    sub_domains: bool = False
    preload: bool = False

    def __str__(self) -> str:
        more = [", includeSubDomains"] if self.sub_domains else []
        more += [", preload"] if self.preload else []
        return "".join([show_duration(self.max_age * _SECOND), *more])

    @property
    def header(self) -> str:
        """The header's value: https://www.rfc-editor.org/rfc/rfc6797#section-6.1."""
        more = ["; includeSubDomains"] if self.sub_domains else []
        more += ["; preload"] if self.preload else []
        return "".join([f"max-age={self.max_age}", *more])


def _parse(value: Any, what: str, _: Settings) -> Hsts:
    readers = {"maxAge": duration(0, _LONGEST), "includeSubDomains": parse_boolean, "preload": parse_boolean}
    given = parse_object(value, what, readers)
    if "maxAge" not in given:
        raise Refused(f"{what}.maxAge", "is missing", "a duration")
    max_age, sub_domains = given["maxAge"], given.get("includeSubDomains", False)
    preload = given.get("preload", False)
    if preload and (not sub_domains or max_age < _YEAR):
        expected = f"includeSubDomains and a maxAge of at least {show_duration(_YEAR)} beside it"
        raise Refused(f"{what}.preload", "needs more", expected)
    # Rounded up: 0 would make browsers forget the host.
    return Hsts(-(-max_age // _SECOND), sub_domains, preload)


KEY = Key(
    name="hsts",
    kind=Kind.FUNCTION,
    parse=_parse,
    shape='{"maxAge": duration, "includeSubDomains": boolean, "preload": boolean}; maxAge 0s-17520h',
    default="off",
    does="Answers over https tell browsers to ask for the host by https alone. includeSubDomains falls away where "
    "another Namespace has a host below; preload needs it and a maxAge of 8760h.",
)
