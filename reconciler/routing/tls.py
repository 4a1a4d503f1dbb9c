"""TLS of a host: the fields of its Namespace's Secret -> certificates and key that nginx can serve."""

from reconciler.routing.annotations import TlsFields
from reconciler.settings import Settings
from reconciler.values.certificates import CertificateError, Chain, parse_chain, parse_key
from reconciler.values.value import Value


class SecretFields(dict[str, bytes | None]):
    """A routing Secret's fields by name; None is a value that is not base64."""

    def __repr__(self) -> str:
        return f"SecretFields({', '.join(self)})"


class Tls(Value, frozen=True):
    """A host's certificates and key, as PEM; no `client`: clients are not verified."""

    chain: Chain
    key: bytes
    client: Chain | None

    def __repr__(self) -> str:
        return f"Tls(client={self.client is not None})"

    @property
    def weight(self) -> int:
        """The weight of its certificates."""
        return self.chain.weight + (self.client.weight if self.client else 0)


class TlsRefused(Exception):
    """A host's TLS cannot be had: why, and what would be right. It never leaves the reading of one Tenant."""

    def __init__(self, why: str, right: str) -> None:
        super().__init__(why)
        self.why = why
        self.right = right


def read_tls(names: TlsFields, fields: SecretFields | None, settings: Settings) -> Tls:
    """Read what a host's options refer to; no `fields`: there is no Secret.

    TlsRefused where any of it is missing or cannot be served.
    """
    if not settings.ssl_cert:
        raise TlsRefused("asks for TLS, which is off", "no ssl, or a router with SSL_CERT and SSL_KEY set")
    chain = _read_chain(fields, names.certificate, "a PEM of the host's certificates, its own first")
    try:
        key = parse_key(_read_field(fields, names.key), chain)
    except CertificateError as error:
        raise TlsRefused(f"has a key that {error}", "the PEM of the certificate's private key") from None
    clients = "a PEM of the certificates clients are verified by"
    return Tls(chain, key, _read_chain(fields, names.client, clients) if names.client else None)


def _read_field(fields: SecretFields | None, field: str) -> bytes:
    if fields is None:
        raise TlsRefused("refers to a Secret that is not there", "a routing Secret in the Namespace")
    value = fields.get(field)
    if not value:
        raise TlsRefused(f"refers to the field {field}, which is missing or empty", "a field of the routing Secret")
    return value


def _read_chain(fields: SecretFields | None, field: str, right: str) -> Chain:
    try:
        return parse_chain(_read_field(fields, field))
    except CertificateError as error:
        raise TlsRefused(f"refers to the field {field}, which {error}", right) from None
