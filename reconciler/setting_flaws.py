"""Settings that do not go together, each of which is legal alone."""

import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from reconciler.values.certificates import CertificateError, parse_chain, parse_key

_TAKEN_HEADERS = frozenset((
    "host", "referer", "connection", "upgrade", "keep-alive", "te", "trailer", "transfer-encoding", "content-length",
    "content-type", "expect", "x-real-ip", "x-forwarded-for", "x-forwarded-proto", "x-forwarded-host", "x-request-id",
    "x-ssl-client-verify", "x-ssl-client-subject-dn", "x-ssl-client-fingerprint", "x-ssl-client-serial",
))  # fmt: skip
# The variable, its text, why it is not allowed, and what is; empty stands for what the variable itself allows.
Flaw = tuple[str, str, str, str]


def find_flaws(values: dict[str, Any], environment: Mapping[str, str]) -> Iterator[Flaw]:
    """Find the settings that do not go together; `values` are the parsed ones, without those that could not be.

    A certificate and its key are replaced in `values` by texts that are written anew.
    """
    yield from _check_ports(values)
    yield from _check_headers(values)
    if values.get("request_metrics") and not values.get("admin_port"):
        yield "REQUEST_METRICS", "on", "needs ADMIN_PORT, where the counts are read", "off, or on with ADMIN_PORT"
    if values.get("snapshot_fallback") == "cluster" and values.get("snapshot_from") == "cluster":
        yield "SNAPSHOT_FALLBACK", "cluster", "needs SNAPSHOT_FROM=published", "none"
    yield from _check_certificate(values, environment)


def _check_ports(values: Mapping[str, Any]) -> Iterator[Flaw]:
    taken: dict[Any, str] = {}
    for name in ("port", "ssl_port", "health_port", "admin_port"):
        number = values.get(name)
        if number and number in taken:
            yield name.upper(), str(number), f"is {taken[number].upper()} too", ""
        taken[number] = name


def _check_headers(values: Mapping[str, Any]) -> Iterator[Flaw]:
    """Check that the API key's header is not one that nginx uses itself.

    If nginx accepts a header with '_', it also accepts X_Forwarded_Host, and takes it for a proxy's X-Forwarded-Host.
    """
    header = values.get("api_key_header", "")
    if header.lower().replace("_", "-") in _TAKEN_HEADERS:
        yield "API_KEY_HEADER", header, "is a header that nginx reads or writes", "another one"
    elif "_" in header and values.get("trusted_proxies") and not values.get("proxy_protocol"):
        expected = "a header without '_' if TRUSTED_PROXIES is set"
        yield "API_KEY_HEADER", header, "has a '_', and TRUSTED_PROXIES is set", expected


def _check_certificate(values: dict[str, Any], environment: Mapping[str, str]) -> Iterator[Flaw]:
    """Check that SSL_CERT and SSL_KEY belong together, and replace them in `values` by texts that are written anew."""
    given = [name for name in ("SSL_CERT", "SSL_KEY") if environment.get(name)]
    if "ssl_cert" not in values or "ssl_key" not in values or not given:
        return
    name = "ssl_cert"
    try:
        if "SSL_CERT" not in given:
            raise CertificateError("is missing beside SSL_KEY")
        chain = parse_chain(values["ssl_cert"])
        name = "ssl_key"
        if "SSL_KEY" not in given:
            raise CertificateError("is missing beside SSL_CERT")
        values.update(ssl_key=parse_key(values["ssl_key"], chain), ssl_cert=chain.pem)
        for name in ("ssl_cert", "ssl_key"):
            if values.get("ssl_cert_dir") and _is_below(environment[name.upper()], values["ssl_cert_dir"]):
                raise CertificateError("lies below SSL_CERT_DIR, where tenants' files are written")
    except CertificateError as error:
        yield name.upper(), environment.get(name.upper(), ""), str(error), ""


def _is_below(path: str, folder: str) -> bool:
    return Path(os.path.realpath(folder)) in Path(os.path.realpath(path)).parents
