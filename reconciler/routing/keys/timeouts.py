"""timeouts: how long nginx waits for a Pod."""

from typing import Any

from reconciler.routing.keys.key import Key, Kind
from reconciler.routing.keys.shapes import duration, parse_object, show_duration
from reconciler.settings import Settings
from reconciler.values.value import Value

_SECOND = 1000
# Seconds after which nginx tries no other Pod: twice the time that a connection may take.
RETRY_TIMEOUT = 4


class Timeouts(Value, frozen=True):
    """Time-outs in milliseconds; 0 stands for what all paths have. `retried` if another key says what is retried."""

    connect: int = 0
    read: int = 0
    send: int = 0
    retried: bool = False

    def __str__(self) -> str:
        given = {"connect": self.connect, "read": self.read, "send": self.send}
        return ", ".join(f"{name} {show_duration(time)}" for name, time in given.items() if time)

    @property
    def connects(self) -> tuple[int, ...]:
        """The time-out for a connection to a Pod, if it is given."""
        return (self.connect,) if self.connect else ()

    @property
    def reads(self) -> tuple[int, ...]:
        """The time-out between two pieces of an answer, if it is given."""
        return (self.read,) if self.read else ()

    @property
    def is_short(self) -> bool:
        """Whether nginx would try another Pod after the time-out of answers, as it does within the first seconds.

        One slow request would then keep two Pods busy, and wait twice as long.
        """
        return 0 < self.read < RETRY_TIMEOUT * _SECOND

    @property
    def outlasted(self) -> tuple[int, ...]:
        """The time-out of answers if it must be said that no other Pod is tried after it."""
        return (self.read,) if self.is_short and not self.retried else ()

    @property
    def sends(self) -> tuple[int, ...]:
        """The time-out between two pieces of a request, if it is given."""
        return (self.send,) if self.send else ()


def _parse(value: Any, what: str, settings: Settings) -> Timeouts:
    long = duration(_SECOND, settings.max_timeout * _SECOND)
    return Timeouts(**parse_object(value, what, {"connect": duration(10, 75 * _SECOND), "read": long, "send": long}))


KEY = Key(
    name="timeouts",
    kind=Kind.FUNCTION,
    passing=True,
    parse=_parse,
    shape='{"connect": duration, "read": duration, "send": duration}; connect 10ms-75s, others 1s-MAX_TIMEOUT',
    default="connect 2s, read 60s, send 60s",
    does="How long a connection to a Pod may take, and the pauses between two pieces of its answer or of the request. "
    "nginx has no limit for a whole request.",
)
