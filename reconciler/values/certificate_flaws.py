"""Certificate flaws: what nginx loads and serves, and no client accepts."""

import warnings
from collections.abc import Collection, Container, Iterator, Sequence
from itertools import pairwise
from typing import TypeVar

from cryptography import x509
from cryptography.x509.oid import ExtendedKeyUsageOID

from reconciler.values.patterns import HOST_NAME

Extension = TypeVar("Extension", bound=x509.ExtensionType)
_MOST_NAMES = 3
_UNREADABLE = (x509.DuplicateExtension, x509.UnsupportedGeneralNameType, ValueError)


def is_root(certificate: x509.Certificate) -> bool:
    """Tell whether a certificate names itself as its issuer."""
    subject, issuer = _read_subject_and_issuer(certificate)
    return subject is not None and issuer is not None and subject.public_bytes() == issuer.public_bytes()


def is_self_signed(certificate: x509.Certificate) -> bool:
    """Tell whether a root says nothing else of the key that signed it. False if in doubt."""
    if not is_root(certificate):
        return False
    try:
        extensions = certificate.extensions
    except _UNREADABLE:
        return False
    own = next((one.value for one in extensions if isinstance(one.value, x509.SubjectKeyIdentifier)), None)
    signer = next((one.value for one in extensions if isinstance(one.value, x509.AuthorityKeyIdentifier)), None)
    if signer and (signer.authority_cert_issuer or signer.authority_cert_serial_number is not None):
        return False
    return not own or not signer or signer.key_identifier in (None, own.digest)


def read_names(certificate: x509.Certificate) -> frozenset[str]:
    """Read the hosts that a certificate is for: legal DNS names, in lower case, and addresses.

    Its subject does not count.
    """
    names = _find(certificate, x509.SubjectAlternativeName)
    if not names:
        return frozenset()
    dns = [name.lower() for name in names.get_values_for_type(x509.DNSName) if HOST_NAME.accepts(name)]
    return frozenset((*dns, *map(str, names.get_values_for_type(x509.IPAddress))))


def is_named(host: str, names: Container[str]) -> bool:
    """Tell whether a certificate with these names is for a host. `*.` stands for exactly one label."""
    _, _, above = host.partition(".")
    return host.strip("[]") in names or (not host.startswith("*.") and f"*.{above}" in names)


def show_names(names: Collection[str]) -> str:
    """List some names of a certificate for a message."""
    shown = ", ".join(sorted(names)[:_MOST_NAMES])
    return f"{shown} and {len(names) - _MOST_NAMES} more" if len(names) > _MOST_NAMES else shown or "none"


def find_server_flaws(certificates: Sequence[x509.Certificate]) -> Iterator[str]:
    """Say why clients refuse a server with these certificates, the server's own first."""
    leaf = certificates[0]
    purposes = _find(leaf, x509.ExtendedKeyUsage)
    oid = ExtendedKeyUsageOID
    if purposes and not {oid.SERVER_AUTH, oid.ANY_EXTENDED_KEY_USAGE} & set(purposes):
        yield "is not for servers: its extended key usage lacks serverAuth"
    usage = _find(leaf, x509.KeyUsage)
    if usage and not (usage.digital_signature or usage.key_encipherment or usage.key_agreement):
        yield "is not for servers: its key usage allows neither signatures nor key exchange"
    for number, (one, signer) in enumerate(pairwise(certificates), 2):
        _, issuer = _read_subject_and_issuer(one)
        subject, _ = _read_subject_and_issuer(signer)
        if issuer is not None and subject is not None and issuer != subject:
            yield f"is out of order: certificate {number} did not sign the one before it"
            break


def find_client_flaws(certificates: Sequence[x509.Certificate]) -> Iterator[str]:
    """Say why no client can be verified by these certificates."""
    roots = [certificate for certificate in certificates if is_root(certificate)]
    if not roots:
        yield "verifies no client: none of its certificates is a root, which is its own issuer"
    elif not any(map(_may_sign, roots)):
        yield "verifies no client: the key usage of its root does not allow to sign certificates"


def _may_sign(certificate: x509.Certificate) -> bool:
    usage = _find(certificate, x509.KeyUsage)
    return not usage or usage.key_cert_sign or not _is_authority(certificate)


def _is_authority(certificate: x509.Certificate) -> bool:
    """Tell whether a certificate says that it is an authority's. Another one can be trusted as a client's own."""
    constraints = _find(certificate, x509.BasicConstraints)
    return bool(constraints and constraints.ca)


def _read_subject_and_issuer(certificate: x509.Certificate) -> tuple[x509.Name | None, x509.Name | None]:
    """Read two names; None for both if this library cannot read them. OpenSSL serves more of them."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about names that are too long
            return certificate.subject, certificate.issuer
    except ValueError:
        return None, None


def _find(certificate: x509.Certificate, kind: type[Extension]) -> Extension | None:
    try:
        return certificate.extensions.get_extension_for_class(kind).value
    except (x509.ExtensionNotFound, *_UNREADABLE):
        return None
