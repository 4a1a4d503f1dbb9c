"""Redaction: stand-ins for the values of Secrets. Routing treats them like the originals, but they reveal nothing."""

import base64
import warnings
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime
from functools import cached_property
from hashlib import blake2b

from cryptography import x509
from cryptography.exceptions import InternalError, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.types import PublicKeyTypes
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID
from msgspec.structs import replace

from reconciler.objects.listing import Secret
from reconciler.routing.api_keys import LONGEST_KEY, is_key_field
from reconciler.values.certificates import LONGEST_PEM, CertificateError, parse_chain
from reconciler.values.decoding import decode_base64
from reconciler.values.htpasswd import LONGEST_HTPASSWD, MOST_USERS, is_htpasswd, is_user, split_lines
from reconciler.values.value import Value

_BROKEN = b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"
_LONGEST_NAME = 64
_EARLIEST = datetime(1950, 1, 1, tzinfo=UTC)  # earlier dates can be parsed, but not written
_KEPT = (x509.BasicConstraints, x509.KeyUsage, x509.ExtendedKeyUsage)
# Certificates that Python and OpenSSL load may still hold names and extensions that Python cannot read.
_UNREADABLE = (ValueError, TypeError, x509.DuplicateExtension, x509.UnsupportedGeneralNameType)
_Extension = tuple[x509.ExtensionType, bool]  # the extension, and whether it is critical


class _Facts(Value, frozen=True):
    """The facts of a certificate that its stand-in needs. `public` is its public key; times are in UTC."""

    der: bytes
    public: bytes
    subject: x509.Name
    issuer: x509.Name
    not_before: datetime
    not_after: datetime
    extensions: tuple[_Extension, ...]


class StandIns:
    """Replaces the values of Secrets. One object gives equal values equal stand-ins, different values different ones.

    `salt` is 32 random bytes. It must not be stored: with it, anybody can try values against their stand-ins.
    `key_field` is the field with the API key; the fields of a rotation's other keys are recognised by it.
    """

    def __init__(self, salt: bytes, key_field: str) -> None:
        self._salt = salt
        self._key_field = key_field
        # Signatures are random, so each stand-in is kept. This map grows no faster than the recordings on disk.
        self._pems: dict[bytes, bytes] = {}

    def replace(self, secret: Secret) -> Secret:
        """Give a Secret with the same fields and a stand-in for each value."""
        data, written = secret.data or {}, secret.string_data or {}
        return replace(
            secret,
            data={field: self._replace_encoded(field, value) for field, value in data.items()} or None,
            string_data={
                field: value and self._replace_value(field, value.encode()).decode() for field, value in written.items()
            }
            or None,
        )

    def _replace_encoded(self, field: str, value: str | None) -> str | None:
        if not value:
            return value
        decoded = decode_base64(value)
        if decoded is None:
            return f"!{self._digest(value.encode(), b'text').hex()}"
        return base64.b64encode(self._replace_value(field, decoded)).decode()

    def _replace_value(self, field: str, value: bytes) -> bytes:
        if not value:
            return value
        # Routing reports these two facts about an API key.
        too_long, end = len(value) > LONGEST_KEY, b"\n" if value != value.strip() else b""
        if b"-----BEGIN" in value:
            pem = self._replace_pem(value) + end
            if not is_key_field(field, self._key_field) or (len(pem) > LONGEST_KEY) is too_long:
                return pem
        if is_htpasswd(value) and not is_key_field(field, self._key_field):
            return self._replace_htpasswd(value)
        text = self._digest(value, b"text").hex().encode()
        return (text.ljust(LONGEST_KEY + 1, b".") if too_long else text) + end

    def _replace_htpasswd(self, value: bytes) -> bytes:
        """Write a file of passwords with as many users. A line that is no user has a stand-in that is none either."""
        made = b"\n".join(map(self._replace_user, split_lines(value)[: MOST_USERS + 1])) + b"\n"
        return made.ljust(LONGEST_HTPASSWD + 1, b".") if len(value) > LONGEST_HTPASSWD else made

    def _replace_user(self, line: bytes) -> bytes:
        digest = self._digest(line, b"text").hex().encode()
        return b"%s:$apr1$%s$%s" % (digest[:8], digest[8:16], digest[10:]) if is_user(line) else digest

    def _replace_pem(self, value: bytes) -> bytes:
        digest = self._digest(value, b"pem")
        if digest not in self._pems:
            # Readers drop the text before a PEM. It makes stand-ins differ, even those of PEMs with the same key.
            pem = self._replace_chain(value) + self._replace_key(value)
            self._pems[digest] = b"stand-in %s\n%s" % (digest.hex().encode(), (pem or _BROKEN).strip())
        return self._pems[digest]

    def _replace_chain(self, value: bytes) -> bytes:
        """Write certificates that are served like those of a PEM; nothing if those cannot be served."""
        try:
            certificates = x509.load_pem_x509_certificates(parse_chain(value).pem)
        except CertificateError:
            return b""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about names that are too long: they are replaced
            facts = [_read_facts(certificate) for certificate in certificates]
            signers = {fact.subject: self._derive_key(fact.public) for fact in reversed(facts)}
            made = [self._make_certificate(fact, signers.get(fact.issuer)) for fact in facts]
        return b"".join(certificate.public_bytes(Encoding.PEM) for certificate in made)

    def _make_certificate(self, facts: _Facts, signer: ec.EllipticCurvePrivateKey | None) -> x509.Certificate:
        """Make a certificate for a new key, and sign it with `signer`, the new key of its issuer.

        If the issuer is not in the chain, another new key signs it.
        """
        public = self._derive_key(facts.public).public_key()
        signer = signer or self._derive_key(facts.issuer.public_bytes())
        # The constructor gets the dates: methods would check their order, but an original may end before it begins.
        builder = x509.CertificateBuilder(
            self._replace_name(facts.issuer),
            self._replace_name(facts.subject),
            public,
            int.from_bytes(self._digest(facts.der, b"serial")) + 1,
            facts.not_before,
            facts.not_after,
        )
        own = x509.SubjectKeyIdentifier.from_public_key(public)
        issuers = x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.public_key())
        for extension, critical in (*facts.extensions, (own, False), (issuers, False)):
            builder = builder.add_extension(extension, critical)
        return builder.sign(signer, hashes.SHA256())

    def _replace_name(self, name: x509.Name) -> x509.Name:
        texts = [attribute.value for attribute in name.get_attributes_for_oid(NameOID.COMMON_NAME)]
        legal = [text for text in texts if isinstance(text, str) and 1 <= len(text.encode()) <= _LONGEST_NAME]
        legal = legal or [self._digest(name.public_bytes(), b"name").hex()]
        return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text) for text in legal])

    def _replace_key(self, value: bytes) -> bytes:
        """Write the key that belongs to the stand-in of the key's certificate; nothing if no key can be read."""
        if len(value) > LONGEST_PEM:
            return b""
        try:
            key = serialization.load_pem_private_key(value, password=None, unsafe_skip_rsa_key_validation=True)
        except TypeError:
            return self._encrypted
        except (ValueError, UnsupportedAlgorithm, InternalError):  # InternalError: Ed448 keys of a wrong length
            return b""
        return _write_key(self._derive_key(_write_public(key.public_key())), serialization.NoEncryption())

    @cached_property
    def _encrypted(self) -> bytes:
        """An encrypted key. One is enough for all, because making it is slow and nobody can read it."""
        passphrase = self._digest(b"", b"passphrase").hex().encode()
        return _write_key(self._derive_key(b""), serialization.BestAvailableEncryption(passphrase))

    def _derive_key(self, public: bytes) -> ec.EllipticCurvePrivateKey:
        """Derive a new key from a public key: a certificate and its private key then get the same new key."""
        number = int.from_bytes(blake2b(public, key=self._salt, person=b"key", digest_size=31).digest())
        return ec.derive_private_key(number + 1, ec.SECP256R1())

    def _digest(self, value: bytes, purpose: bytes) -> bytes:
        return blake2b(value, key=self._salt, person=purpose, digest_size=16).digest()


def _read_facts(certificate: x509.Certificate) -> _Facts:
    names, extensions = (x509.Name([]), x509.Name([])), tuple[_Extension, ...]()
    with suppress(*_UNREADABLE):
        names, extensions = (certificate.subject, certificate.issuer), tuple(_keep(certificate.extensions))
    return _Facts(
        certificate.public_bytes(Encoding.DER),
        _write_public(certificate.public_key()),
        *names,
        max(certificate.not_valid_before_utc, _EARLIEST).replace(tzinfo=None),
        max(certificate.not_valid_after_utc, _EARLIEST).replace(tzinfo=None),
        extensions,
    )


def _keep(extensions: x509.Extensions) -> Iterator[_Extension]:
    """Keep the extensions that say what a certificate is for, and its names of hosts, which are public."""
    for extension in extensions:
        value = extension.value
        if isinstance(value, _KEPT):
            yield value, extension.critical
        elif isinstance(value, x509.SubjectAlternativeName):
            hosts = [name for name in value if isinstance(name, x509.DNSName | x509.IPAddress)]
            if hosts:
                yield x509.SubjectAlternativeName(hosts), extension.critical


def _write_key(key: ec.EllipticCurvePrivateKey, encryption: serialization.KeySerializationEncryption) -> bytes:
    return key.private_bytes(Encoding.PEM, serialization.PrivateFormat.PKCS8, encryption)


def _write_public(key: PublicKeyTypes) -> bytes:
    return key.public_bytes(Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
