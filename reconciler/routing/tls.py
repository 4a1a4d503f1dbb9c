"""TLS of a host: the fields of its Namespace's routing Secret -> certificates and key that nginx can serve."""

from collections.abc import Iterator

from reconciler.routing.annotations import Refused
from reconciler.routing.host_options import TlsFields
from reconciler.routing.keys.secret_references import read_field
from reconciler.routing.model import Tls
from reconciler.routing.secret_fields import SecretFields
from reconciler.settings import Settings
from reconciler.values.addresses import parse_address
from reconciler.values.certificate_flaws import is_named, show_names
from reconciler.values.certificates import CertificateError, Chain, PemCache

# What is expected where a server's certificate has flaws.
SERVER_CERTIFICATE = "the certificate of a server, and behind it those that signed it"


class TlsRefused(Exception):
    """A host's TLS cannot be served: why, and what is expected. It is raised and caught while one Tenant is read.

    It is `missing` if something is not there, and not merely unusable.
    """

    def __init__(self, why: str, expected: str, *, missing: bool = False) -> None:
        super().__init__(why)
        self.why = why
        self.expected = expected
        self.missing = missing


def read_pair(names: TlsFields, fields: SecretFields | None, settings: Settings, pems: PemCache) -> tuple[Chain, bytes]:
    """Read the certificates and the key that a host's options refer to; `fields` is None if there is no Secret.

    TlsRefused if one of them is missing or cannot be served.
    """
    if not settings.ssl_cert:
        raise TlsRefused("needs TLS, which is off", "no ssl, or a router with SSL_CERT and SSL_KEY set", missing=True)
    certificate, key = _read_field(fields, names.certificate), _read_field(fields, names.key)
    chain = _read_chain(certificate, names.certificate, pems, "a PEM of the host's certificates, its own first")
    try:
        return chain, pems.parse_key(key, chain)
    except CertificateError as error:
        raise TlsRefused(f"has a key that {error}", "the PEM of the certificate's private key") from None


def read_clients(names: TlsFields, fields: SecretFields | None, pems: PemCache) -> Chain | None:
    """Read the certificates that verify a host's clients, None if it does not verify them.

    TlsRefused if they are missing or cannot be served.
    """
    if not names.client:
        return None
    expected = "a PEM of the certificates that verify clients"
    return _read_chain(_read_field(fields, names.client), names.client, pems, expected)


def find_flaws(host: str, tls: Tls) -> Iterator[tuple[str, str, str]]:
    """Find what is served and can never work: give the part of a host's options, why, and what is expected."""
    part = "ssl.certificate"
    if parse_address(host):
        why = "is never shown: a client that requests an address names no host in TLS, and gets the default certificate"
        yield part, why, "no ssl for an address"
    elif not is_named(host, tls.chain.names):
        why = f"does not name the host: it names {show_names(tls.chain.names)}"
        yield part, why, f"a certificate with {host} in its subjectAltName"
    for flaw in tls.chain.server_flaws:
        yield part, flaw, SERVER_CERTIFICATE
    for flaw in tls.client.client_flaws if tls.client else ():
        yield "ssl.clientCertificate", flaw, "the root certificate of those who issue the clients' certificates"


def _read_field(fields: SecretFields | None, field: str) -> bytes:
    try:
        return read_field(fields, field, "")
    except Refused as refused:
        missing = fields is None or field not in fields
        raise TlsRefused(refused.fault.why, refused.fault.expected, missing=missing) from None


def _read_chain(pem: bytes, field: str, pems: PemCache, expected: str) -> Chain:
    try:
        return pems.parse_chain(pem)
    except CertificateError as error:
        raise TlsRefused(f"refers to the field {field}, which {error}", expected) from None
