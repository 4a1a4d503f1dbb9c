"""The parts of nginx's configuration that options need, from the blocks of the templates in their folders."""

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


def write_options(place: str, options: Iterable[Option], upstream: str) -> tuple[Token, ...]:
    """Write the parts of options that stand in one place, most of which have only one.

    The places are `http`, `upstream`, `location`, and the families of headers in a location.
    """
    at = View(_At(upstream, "proxy"))
    parts = (quoting.render_block(f"options/{one.name}.j2", place, option=View(one.value), at=at) for one in options)
    return tuple(part for part in parts if part)


def write_host_options(place: str, options: Iterable[Option], settings: Settings, blanks: int = 0) -> tuple[Token, ...]:
    """Write the parts of a host's options that stand in one place, with `blanks` in front of each line.

    The places are `http`, `begin` and `server` before and after the check of paths, `location` for each location,
    `default` for the one that takes all other requests, and the families of headers.
    """
    at = View(_At("", "proxy"))
    believed = settings.trusted_proxies and not settings.proxy_protocol
    proto = quoting.variable("forwarded_proto" if believed else "scheme")
    parts = (
        quoting.render_block(f"host_options/{one.name}.j2", place, option=View(one.value), at=at, proto=proto)
        for one in options
    )
    return tuple(quoting.indent(part, blanks) for part in parts if part)
