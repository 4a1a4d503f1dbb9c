"""Slips: unknown keys of an entry, a host or its ssl that were probably meant to protect it."""

import re
from collections.abc import Iterable

from reconciler.routing.keys.catalogue import PATH_KEYS

# What other routers call what protects a path, without the prefix of an annotation, and our key for it. Some of them:
# https://kubernetes.github.io/ingress-nginx/user-guide/nginx-configuration/annotations/
_OF_OTHERS = {
    "whitelistsourcerange": "access.allow", "allowlistsourcerange": "access.allow", "allowlist": "access.allow",
    "whitelist": "access.allow", "ipallowlist": "access.allow", "ipwhitelist": "access.allow",
    "sourcerange": "access.allow", "allow": "access.allow", "allowed": "access.allow",
    "denylistsourcerange": "access.deny", "denylist": "access.deny", "blacklist": "access.deny",
    "blocklist": "access.deny", "deny": "access.deny",
    "limitrps": "access.rateLimit", "limitrpm": "access.rateLimit", "ratelimit": "access.rateLimit",
    "ratelimits": "access.rateLimit", "limitconnections": "access.rateLimit", "throttle": "access.rateLimit",
    "authurl": "access.externalAuth", "authsignin": "access.externalAuth", "externalauth": "access.externalAuth",
    "forwardauth": "access.externalAuth", "extauth": "access.externalAuth",
    "authtype": "access.basicAuth", "authsecret": "access.basicAuth", "authrealm": "access.basicAuth",
    "basicauth": "access.basicAuth", "htpasswd": "access.basicAuth", "auth": "access",
    "authtlssecret": "ssl.clientCertificate", "authtlsverifyclient": "ssl.clientCertificate",
    "backendprotocol": "protocol", "appprotocol": "protocol", "grpc": "protocol", "grpcbackend": "protocol",
    "proxysslsecret": "tls", "proxysslverify": "tls", "proxysslname": "tls", "proxysslservername": "tls",
    "securebackends": "tls", "ssl": "tls", "https": "tls", "cacertificate": "tls", "insecureskipverify": "tls",
}  # fmt: skip
_CLIENT_CERTIFICATE = "ssl.clientCertificate"
# The same for what protects a host, and for what stands in its `ssl`.
_OF_HOSTS = {
    "tls": "ssl", "https": "ssl", "certificate": "ssl", "certificatekey": "ssl", "tlssecret": "ssl",
    "clientcertificate": _CLIENT_CERTIFICATE, "clientcert": _CLIENT_CERTIFICATE, "clientca": _CLIENT_CERTIFICATE,
    "verifyclient": _CLIENT_CERTIFICATE, "mtls": _CLIENT_CERTIFICATE, "apikey": "requireApiKey",
    "apikeys": "requireApiKey", "apikeyrequired": "requireApiKey",
}  # fmt: skip
_OF_SSL = frozenset({
    "ca", "cacertificate", "client", "clientca", "clientcacertificate", "clientcert", "clientcertificates", "mtls",
    "verify", "verifyclient",
})  # fmt: skip


def find_meant(name: str) -> str | None:
    """Give the protecting key that a key was probably meant for; None for any other key."""
    bare = _strip(name)
    if bare in _OF_OTHERS:
        return _OF_OTHERS[bare]
    protecting = dict.fromkeys(key.outer for key in PATH_KEYS.values() if key.kind.closes)
    return _find_near(bare, protecting)


def find_meant_of_host(name: str) -> str | None:
    """Give the same for an unknown key of a host; a path's option was meant to protect all its paths."""
    bare = _strip(name)
    return _OF_HOSTS.get(bare) or _find_near(bare, ("ssl", "requireApiKey")) or find_meant(name)


def find_meant_of_ssl(name: str) -> str | None:
    """Give the same for an unknown key of a host's `ssl`, without which it would be served to everyone."""
    bare = _strip(name)
    return _CLIENT_CERTIFICATE if bare in _OF_SSL or _find_near(bare, ("clientCertificate",)) else None


def _strip(name: str) -> str:
    """Leave out what names of the same words differ in: a prefix, case, and what stands between the words."""
    return re.sub(r"[-_. ]", "", name.rpartition("/")[2]).casefold()


def _find_near(bare: str, known: Iterable[str]) -> str | None:
    return next((one for one in known if is_one_edit(bare, one.casefold())), None)


def is_one_edit(one: str, other: str) -> bool:
    """Tell whether a character less, more, changed, or swapped with the next one makes two texts equal."""
    if one == other:
        return True
    if abs(len(one) - len(other)) > 1 or min(len(one), len(other)) < 3:
        return False
    same = next(
        (number for number, pair in enumerate(zip(one, other, strict=False)) if len(set(pair)) > 1),
        min(len(one), len(other)),
    )
    rest, others = one[same:], other[same:]
    swapped = rest[:2] == others[:2][::-1] and rest[2:] == others[2:]
    return rest[1:] == others or rest == others[1:] or rest[1:] == others[1:] or swapped
