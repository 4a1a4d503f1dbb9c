"""A certificate authority for tests: certificates and keys as PEM, for hosts and for clients."""

import datetime
import ipaddress
import ssl
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

DAY = datetime.timedelta(days=1)


def write_key(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


class Authority:
    """Signs certificates. Those of clients and of the default server are files in `folder`, with their keys.

    Each authority needs a folder of its own: it writes the default server's files when it is made.
    """

    def __init__(self, folder: Path, name: str = "Tests", days: range = range(-1, 30)) -> None:
        self.folder = folder
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        self._certificate = self._sign(self._name, self._key, [], days)
        self.default = self.write("default", *self.issue("default.invalid"))

    @property
    def pem(self) -> bytes:
        """The authority's own certificate."""
        return self._certificate.public_bytes(serialization.Encoding.PEM)

    def issue(self, name: str, days: range = range(-1, 30)) -> tuple[bytes, bytes]:
        """Issue a certificate and a key for a host, valid on `days`, counted from today."""
        key = ec.generate_private_key(ec.SECP256R1())
        try:
            other: x509.GeneralName = x509.IPAddress(ipaddress.ip_address(name))
        except ValueError:
            other = x509.DNSName(name)
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name[:64])])
        certificate = self._sign(subject, key, [other], days)
        return certificate.public_bytes(serialization.Encoding.PEM), write_key(key)

    def trust(self, client: str | None = None) -> ssl.SSLContext:
        """Make a client's TLS context that trusts this authority, with a client certificate if `client` names one."""
        context = ssl.create_default_context(cadata=self.pem.decode())
        if client:
            certificate, key = self.write(client, *self.issue(client))
            context.load_cert_chain(certificate, key)
        return context

    def _sign(
        self, subject: x509.Name, key: ec.EllipticCurvePrivateKey, names: list[x509.GeneralName], days: range
    ) -> x509.Certificate:
        now = datetime.datetime.now(datetime.UTC)
        builder = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self._name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now + days.start * DAY)
            .not_valid_after(now + days.stop * DAY)
            .add_extension(x509.BasicConstraints(ca=not names, path_length=None), critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key()), critical=False)
        )
        if names:
            builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
        else:
            usage = dict.fromkeys(
                ("content_commitment", "key_encipherment", "data_encipherment", "key_agreement", "encipher_only",
                 "decipher_only"), False,
            )  # fmt: skip
            signs = x509.KeyUsage(digital_signature=True, key_cert_sign=True, crl_sign=True, **usage)
            builder = builder.add_extension(signs, critical=True)
        return builder.sign(self._key, hashes.SHA256())

    def write(self, name: str, certificate: bytes, key: bytes) -> tuple[Path, Path]:
        """Write a certificate and its key to files."""
        paths = self.folder / f"{name}.crt", self.folder / f"{name}.key"
        for path, pem in zip(paths, (certificate, key), strict=True):
            path.write_bytes(pem)
        return paths
