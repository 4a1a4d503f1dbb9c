"""The parts of nginx's configuration that options need, from the blocks of the templates in templates/options."""

from reconciler.rendering import quoting
from reconciler.rendering.quoting import Token, View
from reconciler.routing.options import Options
from reconciler.values.value import Value


class _At(Value, frozen=True):
    """Where an option stands: the name of the upstream, and the nginx module that passes requests on to it."""

    upstream: str
    module: str


def write_options(place: str, options: Options, upstream: str) -> tuple[Token, ...]:
    """Write the parts of options that stand in one place, most of which have only one.

    The places are `shared`, which is the same for all values of a key, `http`, `upstream`, `first` (what must
    come before the checks of a location), `location`, and the families of headers in a location.
    """
    if not options:
        return ()
    at = View(_At(upstream, "proxy"))
    parts = (quoting.render_block(f"options/{one.name}.j2", place, option=View(one.value), at=at) for one in options)
    return tuple(part for part in parts if part)
