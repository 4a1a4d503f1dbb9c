"""The parts of nginx's configuration that options need, from the blocks of the templates in templates/options."""

from collections.abc import Iterable

from reconciler.rendering import quoting
from reconciler.rendering.quoting import Token, View
from reconciler.routing.options import Option
from reconciler.settings import Settings
from reconciler.values.value import Value


class _At(Value, frozen=True):
    """Where an option stands: the name of the upstream, and the nginx module that passes requests on to it."""

    upstream: str
    module: str


def name_scheme(settings: Settings) -> Token:
    """Name the variable with the scheme that a client uses."""
    # A proxy that uses the PROXY protocol writes no headers: all headers are the client's.
    believed = settings.trusted_proxies and not settings.proxy_protocol
    return quoting.variable("forwarded_proto" if believed else "scheme")


def write_options(place: str, options: Iterable[Option], upstream: str, settings: Settings) -> tuple[Token, ...]:
    """Write the parts of options that stand in one place, most of which have only one.

    The places are `http`, `upstream`, `location`, and the families of headers in a location.
    """
    at = View(_At(upstream, "proxy"))
    scheme = name_scheme(settings)
    parts = (
        quoting.render_block(f"options/{one.name}.j2", place, option=View(one.value), at=at, scheme=scheme)
        for one in options
    )
    return tuple(part for part in parts if part)
