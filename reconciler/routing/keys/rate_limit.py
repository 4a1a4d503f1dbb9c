"""access.rateLimit: how many requests a path takes from one client."""

from typing import Any

from reconciler.routing.annotations import Refused
from reconciler.routing.keys.key import Key, Kind
from reconciler.routing.keys.shapes import choice, integer, parse_object
from reconciler.settings import Settings
from reconciler.values.value import Value

_SECONDS = {"second": 1, "minute": 60}
_MOST_REQUESTS = 10_000
_MOST_BURST = 20_000


class RateLimit(Value, frozen=True):
    """A number of requests in a second or a minute, and how many more may come at once."""

    requests: int
    unit: str
    burst: int

    def __str__(self) -> str:
        return f"{self.requests} a {self.unit}, burst {self.burst}"

    @property
    def letter(self) -> str:
        """The unit as nginx writes it."""
        return self.unit[0]

    @property
    def bursts(self) -> tuple[int, ...]:
        """The burst; nginx takes no 0."""
        return (self.burst,) if self.burst else ()

    @property
    def wait(self) -> int:
        """Seconds after which nginx takes one more request. It counts in thousandths of a request a second."""
        rate = self.requests * 1000 // _SECONDS[self.unit]
        return -(-1000 // rate)


def _parse(value: Any, what: str, _: Settings) -> RateLimit:
    shapes = {
        "requests": integer(1, _MOST_REQUESTS), "unit": choice(*_SECONDS), "burst": integer(0, _MOST_BURST)
    }  # fmt: skip
    given = parse_object(value, what, shapes)
    for name in ("requests", "unit"):
        if name not in given:
            raise Refused(f"{what}.{name}", "is missing", '{"requests": number, "unit": "second" or "minute"}')
    return RateLimit(**{"burst": given["requests"], **given})


KEY = Key(
    name="access.rateLimit",
    kind=Kind.PROTECTION,
    parse=_parse,
    shape=f'{{"requests": 1-{_MOST_REQUESTS}, "unit": "second" or "minute", "burst": 0-{_MOST_BURST}}}',
    default="no limit; without burst, it equals requests",
    zones=1,
    needs_pods=False,
    does="How many requests a client may send, and how many more at once. Others get 429 and Retry-After. A client is "
    "an IPv4 address, or 64 bits of an IPv6 address. Each router counts alone, and all of its hosts together. "
    "Behind a load balancer TRUSTED_PROXIES must name it, or all clients are one.",
)
