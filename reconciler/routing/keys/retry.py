"""retry: when nginx sends a request to another Pod."""

from typing import Any

from reconciler.routing.annotations import Refused, show_value
from reconciler.routing.keys.key import Key, Kind
from reconciler.routing.keys.shapes import integer, parse_list, parse_object
from reconciler.settings import Settings
from reconciler.values.value import Value

_MOST = 3
_CODES = (404, 429, 500, 502, 503, 504)


class Retry(Value, frozen=True):
    """How often another Pod is tried, and after which answers besides none at all.

    It is also tried after one that takes too long, unless `waits_once`.
    """

    attempts: int = 1
    codes: tuple[int, ...] = ()
    waits_once: bool = False

    def __str__(self) -> str:
        codes = f", also on {' '.join(map(str, self.codes))}" if self.attempts and self.codes else ""
        return f"attempts {self.attempts}{codes}"

    @property
    def conditions(self) -> tuple[str, ...]:
        """What nginx calls the reasons for which it tries another Pod; never non_idempotent, as no POST is sent twice.

        https://nginx.org/en/docs/http/ngx_http_proxy_module.html#proxy_next_upstream
        """
        if not self.attempts:
            return ("off",)
        return ("error", *(() if self.waits_once else ("timeout",)), *(f"http_{code}" for code in self.codes))

    @property
    def tries(self) -> tuple[int, ...]:
        """To how many Pods a request is sent at most, if it may be more than one."""
        return (self.attempts + 1,) if self.attempts else ()


def _parse_code(value: object, what: str) -> int:
    if type(value) is not int or value not in _CODES:
        raise Refused(what, f"is {show_value(value)}", f"one of {', '.join(map(str, _CODES))}")
    return value


def _parse_codes(value: object, what: str) -> tuple[int, ...]:
    return tuple(sorted(set(parse_list(value, what, _parse_code, len(_CODES)))))


def _parse(value: Any, what: str, _: Settings) -> Retry:
    return Retry(**parse_object(value, what, {"attempts": integer(0, _MOST), "codes": _parse_codes}))


KEY = Key(
    name="retry",
    kind=Kind.FUNCTION,
    parse=_parse,
    shape=f'{{"attempts": 0 to {_MOST}, "codes": array of {", ".join(map(str, _CODES))}}}',
    default="attempts 1, no codes",
    does="How many other Pods get a request that a Pod does not answer, or answers with one of the codes, within 4s. "
    "Never one that may change something twice (POST, PATCH), nor one whose body nginx does not hold whole.",
)
