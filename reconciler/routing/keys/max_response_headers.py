"""maxResponseHeaders: the longest head of a Pod's answer."""

from typing import Any

from reconciler.routing.keys.key import Key, Kind
from reconciler.routing.keys.shapes import show_size, size
from reconciler.settings import Settings
from reconciler.values.value import Value

_KIB = 1024
_PAGE = 4 * _KIB
_USUAL = 16 * _KIB


class MaxResponseHeaders(Value, frozen=True):
    """A size in bytes."""

    bytes: int

    def __str__(self) -> str:
        return show_size(self.bytes)

    @property
    def piece(self) -> int:
        """The size of each of eight buffers for an answer.

        nginx refuses to load less than the head's size in all but one of them. Less than a page makes answers slow.
        https://nginx.org/en/docs/http/ngx_http_proxy_module.html#proxy_busy_buffers_size
        """
        return max(_PAGE, -(-self.bytes // 4))


def _parse(value: Any, what: str, _: Settings) -> MaxResponseHeaders | None:
    bytes_ = size(4 * _KIB, 64 * _KIB)(value, what)
    return None if bytes_ == _USUAL else MaxResponseHeaders(bytes_)


KEY = Key(
    name="maxResponseHeaders",
    kind=Kind.FUNCTION,
    passing=True,
    parse=_parse,
    shape='size such as "32Ki", 4Ki-64Ki',
    default="16Ki",
    does="The longest head of an answer, with all its headers. A Pod's answer with a longer one becomes 502.",
)
