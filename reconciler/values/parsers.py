"""Parsers of settings: the text of an environment variable -> a value. ValueError for a text that is not allowed.

The message of a ValueError says what is wrong; it is empty if the parser does not know more.
"""

import re
import ssl
from collections.abc import Callable
from urllib.parse import urlsplit

from reconciler.values.addresses import Cidr, parse_address, parse_cidrs
from reconciler.values.patterns import (
    DNS_LABEL,
    DNS_SUBDOMAIN,
    HTTP_URI,
    NGINX_SIZE,
    NGINX_VERSION,
    URL_PATH,
    Pattern,
    decode_path,
)

_BOOLEANS = {"true": True, "1": True, "yes": True, "on": True, "false": False, "0": False, "no": False, "off": False}
_SIZE_LIMIT = 2**40
_SMALLEST_BUFFER, _LARGEST_BUFFER = 2**10, 2**20


def match_pattern(pattern: Pattern) -> Callable[[str], str]:
    """Make the parser of a text that a pattern accepts."""

    def parse(text: str) -> str:
        if not pattern.accepts(text):
            raise ValueError
        return text

    return parse


def parse_boolean(text: str) -> bool:
    """Parse true, 1, yes, on, or their opposites, in any case of letters."""
    try:
        return _BOOLEANS[text.lower()]
    except KeyError:
        raise ValueError from None


def parse_choice(*choices: str) -> Callable[[str], str]:
    """Make the parser of one of several words."""

    def parse(text: str) -> str:
        if text not in choices:
            raise ValueError
        return text

    return parse


def parse_number(smallest: int, largest: int) -> Callable[[str], int]:
    """Make the parser of a whole number within bounds."""

    def parse(text: str) -> int:
        if not re.fullmatch(r"[0-9]{1,9}", text) or not smallest <= int(text) <= largest:
            raise ValueError
        return int(text)

    return parse


def parse_size(text: str) -> str:
    """Parse a size as nginx writes it, at most 1024g."""
    if count_bytes(text) > _SIZE_LIMIT:
        raise ValueError("is more than 1024g")
    return text


def parse_buffer(text: str) -> str:
    """Parse the size of a buffer as nginx writes it; empty for none."""
    size = count_bytes(text)
    if size and not _SMALLEST_BUFFER <= size <= _LARGEST_BUFFER:
        raise ValueError
    return text if size else ""


def count_seconds(time: str) -> float:
    """Count the seconds of a time as nginx writes it."""
    number, unit = time.rstrip("mshd"), time.lstrip("0123456789")
    return int(number) * {"ms": 0.001, "m": 60, "h": 3600, "d": 86400}.get(unit, 1)


def count_bytes(size: str) -> int:
    """Count the bytes of a size as nginx writes it. ValueError for any other text."""
    if not NGINX_SIZE.accepts(size):
        raise ValueError
    return int(size.rstrip("kKmMgG")) * {"k": 2**10, "m": 2**20, "g": 2**30}.get(size[-1].lower(), 1)


def parse_workers(text: str) -> int:
    """Parse a number of processes; `auto` is 0."""
    return 0 if text == "auto" else parse_number(1, 512)(text)


def parse_return(text: str) -> int | str:
    """Parse a status from 100 to 999, or an absolute http or https URI."""
    if re.fullmatch(r"[1-9][0-9]{2}", text):
        return int(text)
    if not HTTP_URI.accepts(text):
        raise ValueError
    parts = urlsplit(text)  # ValueError for a port above 65535 too
    if parts.port == 0 or ("[" in parts.netloc and not parse_address(parts.hostname or "")):
        raise ValueError
    return text


def parse_protocols(text: str) -> tuple[str, ...]:
    """Parse versions of TLS, 1.2 and 1.3, with blanks between."""
    protocols = tuple(text.split())
    if not protocols or len(set(protocols)) != len(protocols) or not {"TLSv1.2", "TLSv1.3"}.issuperset(protocols):
        raise ValueError
    return protocols


def parse_ciphers(text: str) -> str:
    """Parse a cipher list of OpenSSL that selects something."""
    if not re.fullmatch(r"[A-Za-z0-9:!+@=_-]{1,2000}", text):
        raise ValueError
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).set_ciphers(text)
    except ssl.SSLError:
        raise ValueError("selects no cipher") from None
    return text


def parse_addresses(text: str) -> tuple[str, ...]:
    """Parse IP addresses with commas between, each once."""
    addresses = tuple(address for part in text.split(",") if (address := parse_address(part.strip())))
    if len(addresses) < len(text.split(",")) or len(set(addresses)) < len(addresses):
        raise ValueError
    return addresses


def parse_one_address(text: str) -> str:
    """Parse one IP address."""
    if address := parse_address(text):
        return address
    raise ValueError


def parse_hosts(text: str) -> tuple[str, ...]:
    """Parse DNS names with commas between, each once, in lower case. Without any, give none."""
    hosts = tuple(part.strip().lower() for part in text.split(",")) if text else ()
    if not all(map(DNS_SUBDOMAIN.accepts, hosts)) or len(set(hosts)) < len(hosts):
        raise ValueError
    return hosts


def parse_denied(text: str) -> tuple[Cidr, ...]:
    """Parse ranges of IP addresses with commas between, or `none`."""
    return () if text == "none" else parse_cidrs(text)


def parse_namespaces(text: str) -> tuple[str, ...]:
    """Parse names of Namespaces with commas between, each once."""
    names = tuple(part.strip() for part in text.split(",")) if text else ()
    if len(set(names)) < len(names) or not all(map(DNS_LABEL.accepts, names)):
        raise ValueError
    return tuple(sorted(names))


def parse_version(text: str) -> tuple[int, ...]:
    """Parse a version of nginx; empty for an empty text."""
    if not text:
        return ()
    if not NGINX_VERSION.accepts(text):
        raise ValueError
    return tuple(int(part) for part in text.split("."))


def parse_duration(most: int) -> Callable[[str], int]:
    """Make the parser of a number of seconds, minutes or hours, at least a second, which gives seconds."""

    def parse(text: str) -> int:
        if not re.fullmatch(r"[0-9]{1,7}[smh]?", text):
            raise ValueError
        seconds = int(text.rstrip("smh")) * {"m": 60, "h": 3600}.get(text[-1], 1)
        if not 1 <= seconds <= most:
            raise ValueError
        return seconds

    return parse


def parse_option_names(text: str) -> tuple[str, ...]:
    """Parse names of options with commas between, each once."""
    names = tuple(part.strip() for part in text.split(",")) if text else ()
    if len(set(names)) < len(names) or not all(
        re.fullmatch(r"[A-Za-z]{1,40}(?:\.[A-Za-z]{1,40})?", name) for name in names
    ):
        raise ValueError
    return names


def parse_location(text: str) -> str:
    """Parse an absolute path, and decode it as nginx does."""
    if not URL_PATH.accepts(text):
        raise ValueError
    return decode_path(text)
