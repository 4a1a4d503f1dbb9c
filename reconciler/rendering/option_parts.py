"""The parts of nginx's configuration that options need, from the blocks of the templates in templates/options."""

from collections.abc import Iterable

from reconciler.rendering import quoting
from reconciler.rendering.quoting import Token, View
from reconciler.routing.options import Option
from reconciler.values.value import Value


class _At(Value, frozen=True):
    """Where an option stands: the name of the upstream, and the nginx module that passes requests on to it."""

    upstream: str
    module: str

    @property
    def proxies(self) -> tuple[str, ...]:
        """The module again, for directives that only ngx_http_proxy_module has."""
        return (self.module,) if self.module == "proxy" else ()


def write_options(place: str, options: Iterable[Option], upstream: str) -> tuple[Token, ...]:
    """Write the parts of options that stand in one place, most of which have only one.

    The places are `http`, `upstream`, `location`, and the families of headers in a location.
    """
    at = View(_At(upstream, "proxy"))
    parts = (quoting.render_block(f"options/{one.name}.j2", place, option=View(one.value), at=at) for one in options)
    return tuple(part for part in parts if part)
