"""Header names: which headers of a request and of an answer belong to the router, and how names are compared."""

import re
from collections.abc import Iterator
from itertools import product

IDENTITY = ("X-SSL-Client-Verify", "X-SSL-Client-Subject-DN", "X-SSL-Client-Fingerprint", "X-SSL-Client-Serial")
# Headers that a Pod may trust because many routers write them, although this router does not; and headers that are only
# for one connection.
NEVER_SENT = (
    "Forwarded", "X-Forwarded-Port", "X-Forwarded-Prefix", "X-Forwarded-Protocol", "X-Forwarded-Scheme",
    "X-Forwarded-Server", "X-Forwarded-Ssl", "X-Original-URL", "X-Rewrite-URL", "Proxy", "Proxy-Authorization",
    "Proxy-Connection", "Trailer", "HTTP2-Settings", "X-Scheme", "X-Original-URI", "Front-End-Https", "Client-Cert",
    "Client-Cert-Chain", "X-Forwarded-Client-Cert", "X-SSL-Client-Cert", "X-SSL-Client-DN", "X-SSL-Client-S-DN",
)  # fmt: skip
# Headers that nginx writes for a Pod. A client's header in another spelling must not reach the Pod.
WRITTEN = (
    "X-Real-IP", "X-Forwarded-For", "X-Forwarded-Proto", "X-Forwarded-Host", "X-Request-ID", *IDENTITY,
    "Content-Length", "Content-Type", "Transfer-Encoding",
)  # fmt: skip
# What is about one connection, or says where a message ends: https://www.rfc-editor.org/rfc/rfc9110#section-7.6.1
_CONNECTION = (
    "connection", "upgrade", "te", "trailer", "transfer-encoding", "content-length", "keep-alive", "proxy", "expect",
)  # fmt: skip
_OF_REQUESTS = frozenset(
    {"host", *_CONNECTION, *(name.lower() for name in (*NEVER_SENT, *WRITTEN))} - {"content-type"}
)  # fmt: skip
# An answer would have two of these, or say of nginx's own text what is true of the Pod's.
_OF_ANSWERS = frozenset(
    {
        *_CONNECTION, "date", "server", "content-type", "content-encoding", "content-range", "retry-after",
        "x-request-id",
    }
)  # fmt: skip


def spell(header: str) -> Iterator[str]:
    """Give all spellings of a header that are the same header to nginx's variables, and to many Pods."""
    first, *others = re.split("[-_]", header)
    for separators in product("-_", repeat=len(others)):
        yield first + "".join(map("".join, zip(separators, others, strict=True)))


def simplify(header: str) -> str:
    """Write a header's name so that all spellings of it are equal."""
    return header.lower().replace("_", "-")


def is_of_requests(header: str) -> bool:
    """Tell whether the router alone decides about a header of requests to a Pod."""
    name = simplify(header)
    return name in _OF_REQUESTS or name.startswith(("proxy-", "x-ssl-client-"))


def is_of_answers(header: str) -> bool:
    """Tell whether the router alone decides about a header of answers to a client."""
    name = simplify(header)
    return name in _OF_ANSWERS or name.startswith(("proxy-", "x-accel-"))
