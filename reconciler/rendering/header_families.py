"""Header families: the headers that nginx adds, sends on and hides on all paths.

nginx inherits a family of directives whole or not at all, so that a location with one more header needs all others too:
https://nginx.org/en/docs/http/ngx_http_headers_module.html#add_header
"""

from reconciler.rendering import quoting
from reconciler.rendering.access_log import view_logging
from reconciler.rendering.headers import find_hidden
from reconciler.rendering.option_parts import name_scheme
from reconciler.rendering.quoting import Token, quote
from reconciler.settings import Settings, believes_proxies
from reconciler.values.value import Value

FAMILIES = ("hide_header", "add_header", "set_header")


class _Connection(Value, frozen=True):
    """What a Pod gets to know about the connection to it."""

    upgrade: Token
    connection: Token


def write_family(
    family: str, settings: Settings, *, module: str = "proxy", blanks: int = 12, upgrades: bool = True
) -> Token:
    """Write the directives of one family for the nginx module that passes requests on, with `blanks` in front.

    With `upgrades`, a client's connection can become a WebSocket.
    """
    logging = view_logging(settings)
    blank = quote("")
    connection = (
        _Connection(quoting.variable("sent_upgrade"), quoting.variable("sent_connection"))
        if upgrades
        else _Connection(blank, blank)
    )
    written = quoting.render_block(
        "headers.j2",
        family,
        module=quote(module),
        # HTTP/2 has no upgrades, and no headers about a connection.
        connections=(connection,) if module == "proxy" else (),
        forwarded_proto=name_scheme(settings),
        forwarded_host=quoting.variable("forwarded_host" if believes_proxies(settings) else "sent_host"),
        identities=(quoting.variable("client_verify"),) if settings.ssl_cert else (),
        hidden_headers=[quote(header) for header in find_hidden(settings)],
        hidden_answers=logging.hidden,
        answers=logging.answers,
    )
    return quoting.indent(written, blanks)
