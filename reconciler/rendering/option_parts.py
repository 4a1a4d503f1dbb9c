"""The parts of nginx's configuration that options need, from the blocks of the templates in their folders."""

from reconciler.rendering import quoting
from reconciler.rendering.quoting import Token, View
from reconciler.routing.keys.protocol import speaks_grpc
from reconciler.routing.keys.timeouts import Timeouts
from reconciler.routing.options import Options, find_option
from reconciler.settings import Settings, believes_proxies
from reconciler.values.value import Value

# nginx's own, in milliseconds.
_READ_TIMEOUT = 60_000


class _At(Value, frozen=True):
    """Where an option stands: the name of the upstream, the nginx module that passes requests on to it, and `read`.

    That is how many milliseconds may be between two pieces of an answer.
    """

    upstream: str
    module: str
    read: int

    @property
    def proxies(self) -> tuple[str, ...]:
        """The module again, for directives that only ngx_http_proxy_module has."""
        return (self.module,) if self.module == "proxy" else ()


def find_module(options: Options) -> str:
    """Give the nginx module that passes the requests for a path with these options on, as its directives begin."""
    return "grpc" if speaks_grpc(options) else "proxy"


def name_scheme(settings: Settings) -> Token:
    """Name the variable with the scheme that a client uses."""
    return quoting.variable("forwarded_proto" if believes_proxies(settings) else "scheme")


def write_options(place: str, options: Options, upstream: str, settings: Settings) -> tuple[Token, ...]:
    """Write the parts of options that stand in one place, most of which have only one.

    The places are `shared`, which is the same for all values of a key, `http`, `upstream`, `first` (what must
    come before the checks of a location), `location`, and the families of headers in a location.
    """
    if not options:
        return ()
    timeouts = find_option(options, "timeouts")
    read = (isinstance(timeouts, Timeouts) and timeouts.read) or _READ_TIMEOUT
    at = View(_At(upstream, find_module(options), read))
    scheme = name_scheme(settings)
    parts = (
        quoting.render_block(f"options/{one.name}.j2", place, option=View(one.value), at=at, scheme=scheme)
        for one in options
    )
    return tuple(part for part in parts if part)


def write_host_options(
    place: str, options: Options, settings: Settings, blanks: int = 0, module: str = "proxy"
) -> tuple[Token, ...]:
    """Write the parts of a host's options that stand in one place, with `blanks` in front of each line.

    The places are `http`, `begin` and `server` before and after the check of paths, `location` for each location,
    `default` for the one that takes all other requests, and the families of headers.
    """
    if not options:
        return ()
    at = View(_At("", module, _READ_TIMEOUT))
    scheme = name_scheme(settings)
    parts = (
        quoting.render_block(f"host_options/{one.name}.j2", place, option=View(one.value), at=at, scheme=scheme)
        for one in options
    )
    return tuple(quoting.indent(part, blanks) for part in parts if part)
