"""Matching: which host and which location of a routing table take a request, as nginx chooses them.

nginx itself serves requests. This is for people who ask why; `tests/test_matching.py` holds it against a real nginx.
"""

import re
from urllib.parse import unquote_to_bytes

from reconciler.routing.model import Host, Location, Match, Routes
from reconciler.routing.sharing import list_wildcards

# The same expressions as in nginx.conf.j2, which says what they are for.
MISLEADING = (
    r"^(?:/(?:/|\x5c|%2f|%5c)|(?:/(?![.\x5c%])[^/\x5c%#?]*+)*+[^?]*"
    r"(?:(?:/|\x5c|%2f|%5c)(?:[.]|%2e){1,2}(?:[/;?#\x5c]|%2f|%5c|%3b|%3f|%23|$)|#))"
)
_MISLEADING = re.compile(MISLEADING, re.IGNORECASE)
_MALFORMED = re.compile(r"%(?![0-9A-Fa-f]{2})|%00")
_LONGEST_WITH_REGEX = 1024
# What nginx encodes when it writes a path that it had decoded: https://nginx.org/en/CHANGES, 1.21.1
_ENCODED = frozenset(b' "#%<>?\\^`{|}')


def find_host(routes: Routes, name: str, *, tls: bool) -> Host | None:
    """Find the host that takes a name on a port: the exact name, or the nearest wildcard; None if it is unknown there.

    nginx looks for a name on each port by itself.
    """
    served = {host.name: host for host in routes.hosts if (host.tls is not None if tls else host.is_plain)}
    hidden = {shadow.name for shadow in routes.shadows if (shadow.tls if tls else shadow.plain)}
    found = next((one for one in (name, *list_wildcards(name)) if one in served or one in hidden), "")
    return served.get(found)


def is_malformed(uri: str) -> bool:
    """Tell whether nginx refuses a path with 400 before it looks for a host: a wrong `%`, or too many `..`."""
    raw = re.split("[?#]", uri, maxsplit=1)[0]
    if _MALFORMED.search(raw):
        return True
    depth = 0
    for segment in unquote_to_bytes(raw).split(b"/"):
        depth += {b"": 0, b".": 0, b"..": -1}.get(segment, 1)
        if depth < 0:
            return True
    return False


def is_misleading(uri: str) -> bool:
    """Tell whether a path gets 400 from each host: a Pod could read it differently from nginx."""
    return _MISLEADING.search(uri) is not None


def is_too_long(host: Host, uri: str) -> bool:
    """Tell whether a request gets 414, as on hosts with regular expressions."""
    has_regex = any(location.match.is_regex for location in host.locations)
    return has_regex and len(uri.partition("?")[0]) > _LONGEST_WITH_REGEX


def decode_uri(uri: str) -> bytes:
    """Decode the path of a request that is not refused, as nginx does before it looks for a location."""
    return re.sub(rb"/+", b"/", unquote_to_bytes(uri.partition("?")[0]))


def find_location(host: Host, path: bytes) -> Location | None:
    """Find the location that takes a decoded path; None if no Namespace has it.

    An exact one comes first, then the first regular expression, then the longest prefix.
    https://nginx.org/en/docs/http/ngx_http_core_module.html#location
    """
    fitting = [location for location in host.locations if fits(location.match, location.path, path)]
    return next((one for one in fitting if one.match is Match.EXACT), None) or next(
        (one for one in fitting if one.match.is_regex),
        max(fitting, key=lambda one: len(encode_path(one.path)), default=None),
    )


def fits(match: Match, text: str, path: bytes) -> bool:
    """Tell whether a location matches a decoded path."""
    if match.is_regex:
        # nginx compares bytes. The expressions that are accepted mean the same to Python and to PCRE.
        flags = re.IGNORECASE if match is Match.IREGEX else 0
        return re.search(encode_path(text), path, flags) is not None
    return path == encode_path(text) if match is Match.EXACT else path.startswith(encode_path(text))


def encode_path(text: str) -> bytes:
    """Give a path of a routing table as the bytes that nginx compares."""
    return text.encode("utf-8", "surrogateescape")


def write_sent(location: Location, uri: str, path: bytes) -> str:
    """Write the URI that a Pod gets: as it was sent, or with the target in place of the location's path."""
    if location.target is None:
        return uri
    raw, _, query = uri.partition("?")
    rest = path[len(encode_path(location.path)) :] if location.match is Match.PREFIX else b""
    decoded = "%" in raw  # else nginx has nothing to encode again
    written = "".join(_encode(byte) if decoded else chr(byte) for byte in rest)
    return f"{location.target}{written}{'?' if query else ''}{query}"


def _encode(byte: int) -> str:
    return chr(byte) if 0x20 < byte < 0x7F and byte not in _ENCODED else f"%{byte:02X}"
