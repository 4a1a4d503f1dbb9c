"""PEM texts: parsed, judged by what OpenSSL in nginx takes, and written anew so that nothing else goes on."""

from dataclasses import dataclass, field
from datetime import datetime
from functools import lru_cache

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.asymmetric.types import CertificatePublicKeyTypes
from cryptography.hazmat.primitives.serialization import Encoding

LONGEST_CHAIN = 16
_CURVES = (ec.SECP256R1, ec.SECP384R1, ec.SECP521R1)
_WEAK_HASHES = (hashes.MD5, hashes.SHA1)


class CertificateError(ValueError):
    """A PEM that cannot be served; the text says what is wrong with it and never holds any of it."""


@dataclass(frozen=True, slots=True)
class Chain:
    """One or more certificates: their PEM, written anew, and when the first one stops and starts to be good."""

    pem: bytes = field(repr=False)
    not_before: float
    not_after: float


@lru_cache(maxsize=4096)
def parse_chain(pem: bytes) -> Chain:
    """Parse certificates, leaf first. CertificateError where OpenSSL at its usual security level would refuse one."""
    try:
        certificates = x509.load_pem_x509_certificates(pem)
        for certificate in certificates:
            _judge_key(certificate.public_key())
            if isinstance(certificate.signature_hash_algorithm, _WEAK_HASHES):
                raise CertificateError("is signed with MD5 or SHA-1")
    except CertificateError:
        raise
    except (ValueError, TypeError, UnsupportedAlgorithm):
        raise CertificateError("is not a PEM of certificates") from None
    if len(certificates) > LONGEST_CHAIN:
        raise CertificateError(f"holds more than {LONGEST_CHAIN} certificates")
    return Chain(
        b"".join(certificate.public_bytes(Encoding.PEM) for certificate in certificates),
        _seconds(certificates[0].not_valid_before_utc),
        _seconds(certificates[0].not_valid_after_utc),
    )


@lru_cache(maxsize=4096)
def parse_key(pem: bytes, chain: Chain) -> bytes:
    """Parse the private key of a chain's first certificate; write it anew as PKCS #8. CertificateError says why not."""
    try:
        key = serialization.load_pem_private_key(pem, password=None)
    except TypeError:
        raise CertificateError("is encrypted; a key without a passphrase is needed") from None
    except (ValueError, UnsupportedAlgorithm):
        raise CertificateError("is not a PEM of a private key") from None
    leaf = x509.load_pem_x509_certificate(chain.pem)
    spki = (Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    if key.public_key().public_bytes(*spki) != leaf.public_key().public_bytes(*spki):
        raise CertificateError("does not belong to the certificate")
    return key.private_bytes(Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())


def _judge_key(key: CertificatePublicKeyTypes) -> None:
    if isinstance(key, rsa.RSAPublicKey):
        if not 2048 <= key.key_size <= 8192:
            raise CertificateError(f"has an RSA key of {key.key_size} bits; 2048 to 8192 are served")
    elif isinstance(key, ec.EllipticCurvePublicKey):
        if not isinstance(key.curve, _CURVES):
            raise CertificateError("has a key on another curve than P-256, P-384 and P-521")
    elif not isinstance(key, ed25519.Ed25519PublicKey):
        raise CertificateError("has a key that is neither RSA nor EC nor Ed25519")


def _seconds(moment: datetime) -> float:
    return moment.timestamp()
