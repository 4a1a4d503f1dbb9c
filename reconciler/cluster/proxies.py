"""Proxies for requests to the API server that the environment names, as kubectl takes them."""

import re
from collections.abc import Mapping
from contextlib import suppress
from urllib.parse import urlsplit

from reconciler.cluster.kubeconfig import check_proxy
from reconciler.values.addresses import find_cidr, parse_address, parse_cidrs

_LOOPBACK = parse_cidrs("127.0.0.0/8,::1")


def find_variable(server: str, environment: Mapping[str, str]) -> str:
    """Give the variable that names a proxy for a server's URL; empty without one.

    HTTPS_PROXY, HTTP_PROXY and NO_PROXY count, also in lower case. A server on this machine has no proxy.
    """
    parts = urlsplit(server)
    wanted = f"{parts.scheme}_proxy"
    name = next((name for name in (wanted.upper(), wanted) if environment.get(name)), "")
    excepted = environment.get("NO_PROXY") or environment.get("no_proxy") or ""
    port = parts.port or {"http": 80}.get(parts.scheme, 443)
    return "" if name and _goes_directly(parts.hostname or "", port, excepted) else name


def find_proxy(server: str, environment: Mapping[str, str]) -> str:
    """Give the URL of the proxy that the environment names for a server's URL; empty without one.

    CredentialsError if the proxy's URL is not usable.
    """
    name = find_variable(server, environment)
    given = environment.get(name, "")
    return check_proxy(given if "://" in given else f"http://{given}", name) if name else ""


def hide_password(proxy: str) -> str:
    """Give a proxy's URL for a message: scheme, host and port alone."""
    parts = urlsplit(proxy)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}"


def _goes_directly(host: str, port: int, excepted: str) -> bool:
    """Tell whether a server needs no proxy: `excepted` lists what NO_PROXY may."""
    address = parse_address(host)
    if host == "localhost" or (address and find_cidr(address, _LOOPBACK)):
        return True
    entries = [entry.strip().lower() for entry in excepted.split(",")]
    return any(_is_excepted(host, address, port, entry) for entry in entries if entry)


def _is_excepted(host: str, address: str | None, port: int, entry: str) -> bool:
    """Tell whether an entry of NO_PROXY is for a server.

    It is `*`, an address, a range, or a name, which is for all names below it too, or with a dot in front only for
    those; each but ranges may have a port. https://pkg.go.dev/golang.org/x/net/http/httpproxy#Config
    """
    if address:
        with suppress(ValueError):
            return find_cidr(address, parse_cidrs(entry)) is not None
    name, _, wanted = entry.rpartition(":") if re.search(r":[0-9]+\Z", entry) else (entry, "", "")
    if wanted and int(wanted) != port:
        return False
    if address:
        return name == "*" or parse_address(name.strip("[]")) == address
    name = name.removeprefix("*") if name.startswith("*.") else name
    return name == "*" or host == name or host.endswith(name if name.startswith(".") else f".{name}")
