"""The check of API keys, as host.conf.j2 writes it."""

from reconciler.rendering import quoting
from reconciler.rendering.quoting import Token
from reconciler.settings import Settings
from reconciler.values.value import Value


class KeyCheck(Value, frozen=True):
    """The check of API keys: the variable with the request's key, and a number for each key besides the first one."""

    header: Token
    others: tuple[int, ...]


def write_key_header(settings: Settings) -> Token:
    """Write the variable with a request's key."""
    return quoting.variable("http_" + settings.api_key_header.lower().replace("-", "_"))
