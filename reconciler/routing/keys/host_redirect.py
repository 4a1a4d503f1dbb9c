"""redirect of a host: all its requests are sent to another place."""

from typing import Any

from reconciler.routing.annotations import Refused, parse_text
from reconciler.routing.keys.key import Key, Kind
from reconciler.routing.keys.shapes import choice, integer, parse_object
from reconciler.settings import Settings
from reconciler.values.patterns import EXACT_HOST, URL_PATH
from reconciler.values.value import Value

_FOUND = 302
_STATUSES = (301, 302, 303, 307, 308)
_DEFAULT_PORTS = {"http": 80, "https": 443}


class HostRedirect(Value, frozen=True):
    """Where to; what is empty or 0 stays as the request has it, except for the port, which is then the scheme's own."""

    hostname: str = ""
    scheme: str = ""
    port: int = 0
    path: str = ""
    status: int = _FOUND

    def __str__(self) -> str:
        port = "".join(f":{port}" for port in self.ports)
        return (
            f"{self.status} {self.scheme or '$scheme'}://{self.hostname or '$host'}{port}{self.path or '$request_uri'}"
        )

    @property
    def schemes(self) -> tuple[str, ...]:
        """The scheme, if it is given."""
        return (self.scheme,) if self.scheme else ()

    @property
    def hostnames(self) -> tuple[str, ...]:
        """The name, if it is given."""
        return (self.hostname,) if self.hostname else ()

    @property
    def ports(self) -> tuple[int, ...]:
        """The port, if it has to be written."""
        return (self.port,) if self.port and self.port != _DEFAULT_PORTS.get(self.scheme) else ()

    @property
    def paths(self) -> tuple[str, ...]:
        """The path, if it is given."""
        return (self.path,) if self.path else ()


def _parse_hostname(value: Any, what: str) -> str:
    return parse_text(value, what, EXACT_HOST).lower()


def _parse_path(value: Any, what: str) -> str:
    path = parse_text(value, what, URL_PATH)
    if "$" in path:  # nginx would expand a variable there
        raise Refused(what, "has a '$'", "%24 in its place")
    return path


def _parse_status(value: Any, what: str) -> int:
    if type(value) is not int or value not in _STATUSES:
        raise Refused(what, "is no status of a redirect", f"one of {', '.join(map(str, _STATUSES))}")
    return value


def _parse(value: Any, what: str, _: Settings) -> HostRedirect:
    readers = {
        "hostname": _parse_hostname,
        "scheme": choice("http", "https"),
        "port": integer(1, 65535),
        "path": _parse_path,
        "statusCode": _parse_status,
    }
    given = parse_object(value, what, readers)
    if given.keys() == {"statusCode"}:
        raise Refused(what, "says only how", "hostname, scheme, port or path beside statusCode")
    status = given.pop("statusCode", _FOUND)
    return HostRedirect(**given, status=status)


KEY = Key(
    name="redirect",
    kind=Kind.FUNCTION,
    parse=_parse,
    shape='{"hostname": name, "scheme": "http" or "https", "port": 1-65535, "path": path, "statusCode": 301, 302, 303, '
    "307 or 308}",
    default="none; statusCode 302",
    does="All requests are sent to another place, and no paths are served. The target must not be the host itself. "
    "What is not given stays as the request has it.",
)
