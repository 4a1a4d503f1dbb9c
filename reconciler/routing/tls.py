"""TLS of a host: the fields of its Namespace's routing Secret -> certificates and key that nginx can serve."""

from reconciler.routing.host_options import TlsFields
from reconciler.routing.model import Tls
from reconciler.settings import Settings
from reconciler.values.certificates import CertificateError, Chain, PemCache


class SecretFields(dict[str, bytes | None]):
    """The fields of a routing Secret by name. A value that is not base64 is None."""

    def __repr__(self) -> str:
        return f"SecretFields({', '.join(self)})"


class TlsRefused(Exception):
    """A host's TLS cannot be served: why, and what is expected. It is raised and caught while one Tenant is read."""

    def __init__(self, why: str, expected: str) -> None:
        super().__init__(why)
        self.why = why
        self.expected = expected


def read_tls(names: TlsFields, fields: SecretFields | None, settings: Settings, pems: PemCache) -> Tls:
    """Read the PEM texts that a host's options refer to; `fields` is None if there is no Secret.

    TlsRefused if any of them is missing or cannot be served.
    """
    if not settings.ssl_cert:
        raise TlsRefused("needs TLS, which is off", "no ssl, or a router with SSL_CERT and SSL_KEY set")
    chain = _read_chain(fields, names.certificate, pems, "a PEM of the host's certificates, its own first")
    try:
        key = pems.parse_key(_read_field(fields, names.key), chain)
    except CertificateError as error:
        raise TlsRefused(f"has a key that {error}", "the PEM of the certificate's private key") from None
    clients = "a PEM of the certificates that verify clients"
    return Tls(chain, key, _read_chain(fields, names.client, pems, clients) if names.client else None)


def _read_field(fields: SecretFields | None, field: str) -> bytes:
    if fields is None:
        raise TlsRefused("refers to a Secret that does not exist", "a routing Secret in the Namespace")
    value = fields.get(field)
    if not value:
        raise TlsRefused(f"refers to the field {field}, which is missing or empty", "a field of the routing Secret")
    return value


def _read_chain(fields: SecretFields | None, field: str, pems: PemCache, expected: str) -> Chain:
    try:
        return pems.parse_chain(_read_field(fields, field))
    except CertificateError as error:
        raise TlsRefused(f"refers to the field {field}, which {error}", expected) from None
