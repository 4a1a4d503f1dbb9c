"""IP addresses and ranges of them."""

import ipaddress
import re
from dataclasses import dataclass

from reconciler.values.patterns import Pattern

_OCTET = "(?:25[0-5]|2[0-4][0-9]|1[0-9][0-9]|[1-9]?[0-9])"
_IPV4_ADDRESS = Pattern(rf"{_OCTET}(?:\.{_OCTET}){{3}}", "four numbers of 0-255 with dots between", longest=15)
_CIDR = re.compile(r"[0-9A-Fa-f:.]+(?:/[0-9]{1,3})?")
# The numbers of IPv6 addresses begin after those of all IPv4 addresses.
_FIRST_IPV6 = 2**32


@dataclass(frozen=True, slots=True)
class Cidr:
    """A range of IP addresses: how it is written, and the numbers of its first and last address."""

    text: str
    first: int
    last: int


def parse_address(text: str) -> str | None:
    """Give an IP address in its shortest form, an IPv6 address in brackets as in a URL; None for anything else.

    An IPv6 address with a zone is not accepted, nor is IPv4 mapped into IPv6, which has no single shortest form.
    """
    if _IPV4_ADDRESS.accepts(text):
        return text
    try:
        address = ipaddress.IPv6Address(text)
    except ValueError:
        return None
    return None if address.scope_id or address.ipv4_mapped else f"[{address}]"


def parse_cidrs(text: str) -> tuple[Cidr, ...]:
    """Parse ranges of addresses separated by commas; a single address is a range too. ValueError for anything else."""
    found = []
    for part in map(str.strip, text.split(",") if text else ()):
        if not _CIDR.fullmatch(part):
            raise ValueError
        try:
            network = ipaddress.ip_network(part)
        except ValueError as error:
            raise ValueError("has bits set behind its prefix" if "host bits" in str(error) else "") from None
        base = 0 if network.version == 4 else _FIRST_IPV6
        found.append(Cidr(str(network), base + int(network[0]), base + int(network[-1])))
    return tuple(dict.fromkeys(found))


def find_cidr(address: str, cidrs: tuple[Cidr, ...]) -> Cidr | None:
    """Find the first range that contains an address in the form that `parse_address` gives."""
    number = _number(address)
    for cidr in cidrs:
        if cidr.first <= number <= cidr.last:
            return cidr
    return None


def _number(address: str) -> int:
    """Give an address as a number. Python's ipaddress would take longer than everything else that is done for a Pod."""
    if address.startswith("["):
        return int(ipaddress.IPv6Address(address[1:-1])) + _FIRST_IPV6
    first, second, third, fourth = address.split(".")
    return int(first) << 24 | int(second) << 16 | int(third) << 8 | int(fourth)
