"""Headers: which headers of a request nginx passes on to a Pod."""

import re
from collections.abc import Iterator
from itertools import product

from reconciler.settings import Settings

_IDENTITY = ("X-SSL-Client-Verify", "X-SSL-Client-Subject-DN", "X-SSL-Client-Fingerprint", "X-SSL-Client-Serial")
# Headers that a Pod may trust because many routers write them, although this router does not; and headers that are only
# for one connection.
_NEVER = (
    "Forwarded", "X-Forwarded-Port", "X-Forwarded-Prefix", "X-Forwarded-Protocol", "X-Forwarded-Scheme",
    "X-Forwarded-Server", "X-Forwarded-Ssl", "X-Original-URL", "X-Rewrite-URL", "Proxy", "Proxy-Authorization",
    "Proxy-Connection", "Trailer", "HTTP2-Settings", "X-Scheme", "X-Original-URI", "Front-End-Https", "Client-Cert",
    "Client-Cert-Chain", "X-Forwarded-Client-Cert", "X-SSL-Client-Cert", "X-SSL-Client-DN", "X-SSL-Client-S-DN",
)  # fmt: skip
# Headers that nginx writes for a Pod. A client's header in another spelling must not reach the Pod.
_WRITTEN = (
    "X-Real-IP", "X-Forwarded-For", "X-Forwarded-Proto", "X-Forwarded-Host", "X-Request-ID", *_IDENTITY,
    "Content-Length", "Content-Type", "Transfer-Encoding",
)  # fmt: skip


def find_hidden(settings: Settings) -> Iterator[str]:
    """List the headers that nginx does not pass on to a Pod, in each spelling that nginx accepts."""
    key = settings.api_key_header
    hidden = (*_NEVER, *(() if settings.ssl_cert else _IDENTITY), *(() if settings.api_key_forward else (key,)))
    if "_" in key:
        spelled = {spelling: None for header in (*hidden, *_WRITTEN) for spelling in _spellings(header)}
        hidden = tuple(spelling for spelling in spelled if spelling in hidden or spelling not in _WRITTEN)
    yield from (header for header in hidden if not settings.api_key_forward or header.lower() != key.lower())


def _spellings(header: str) -> Iterator[str]:
    """Give all spellings of a header that are the same header to nginx's variables, and to many Pods."""
    first, *others = re.split("[-_]", header)
    for separators in product("-_", repeat=len(others)):
        yield first + "".join(map("".join, zip(separators, others, strict=True)))
