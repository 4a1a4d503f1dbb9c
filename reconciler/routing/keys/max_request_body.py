"""maxRequestBody: the largest body of a request."""

from typing import Any

from reconciler.routing.keys.key import Key, Kind
from reconciler.routing.keys.shapes import show_size, size
from reconciler.settings import Settings
from reconciler.values.parsers import count_bytes
from reconciler.values.value import Value

_MOST = 2**40


class MaxRequestBody(Value, frozen=True):
    """A size in bytes."""

    bytes: int

    def __str__(self) -> str:
        return show_size(self.bytes)


def _parse(value: Any, what: str, settings: Settings) -> MaxRequestBody:
    # The operator's 0 is no limit.
    most = count_bytes(settings.max_client_body_size) or _MOST
    return MaxRequestBody(size(1, most)(value, what))


KEY = Key(
    name="maxRequestBody",
    kind=Kind.FUNCTION,
    parse=_parse,
    shape='size such as "10Mi", at most NGINX_MAX_CLIENT_BODY_SIZE',
    default="NGINX_MAX_CLIENT_BODY_SIZE",
    does="The largest body of a request. A larger one gets 413.",
)
