"""PEM texts: parsed, checked for what OpenSSL refuses, and written anew so that nothing else in them reaches nginx."""

import re
import ssl
import warnings
from dataclasses import dataclass, field
from functools import lru_cache
from typing import TypeVar

from cryptography import x509
from cryptography.exceptions import InternalError, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding

from reconciler.values.certificate_flaws import (
    find_client_flaws,
    find_server_flaws,
    is_root,
    is_self_signed,
    read_names,
)

LONGEST_CHAIN = 16
LONGEST_PEM = 65536
# Twice the hosts of the largest Namespace: when one of its objects changes, not all of its PEM texts are parsed again.
_REMEMBERED = 2048
_TOO_LONG = f"is longer than {LONGEST_CHAIN} certificates or {LONGEST_PEM} bytes"
_BEGIN_KEY = re.compile(rb"-----BEGIN (?:[A-Z]+ )*PRIVATE KEY-----")
# An RSA key of 8192 bits takes 6.4 kB. Loading a DSA key of 50 kB took 8 s, only for it to be refused.
_LONGEST_KEY = 8192
_CURVES = (ec.SECP256R1, ec.SECP384R1, ec.SECP521R1)
_Oid = x509.SignatureAlgorithmOID
_SIGNATURES = (
    *(_Oid.RSA_WITH_SHA256, _Oid.RSA_WITH_SHA384, _Oid.RSA_WITH_SHA512, _Oid.RSASSA_PSS, _Oid.ED25519),
    *(_Oid.ECDSA_WITH_SHA256, _Oid.ECDSA_WITH_SHA384, _Oid.ECDSA_WITH_SHA512),
)
_WEAK_RSA = (_Oid.RSA_WITH_MD5, _Oid.RSA_WITH_SHA1, _Oid.RSA_WITH_SHA224)
_WEAK_EC = (_Oid.ECDSA_WITH_SHA1, _Oid.ECDSA_WITH_SHA224)
_HASHES = (hashes.SHA256, hashes.SHA384, hashes.SHA512)


class CertificateError(ValueError):
    """A PEM text that cannot be served. The message says what is wrong with it and never contains any of it."""


@dataclass(frozen=True, slots=True)
class Chain:
    """One or more certificates: their PEM, written anew, and the time during which they are valid.

    Times are in seconds since the epoch; the roots behind the first certificate do not count. `names` are those of the
    first certificate. `server_flaws` and `client_flaws` say why clients refuse a server with these certificates, and
    why no client can be verified by them.
    """

    pem: bytes = field(repr=False)
    not_before: float
    not_after: float
    names: frozenset[str]
    server_flaws: tuple[str, ...]
    client_flaws: tuple[str, ...]

    @property
    def weight(self) -> int:
        """How much nginx has to load: the number of certificates, or of pieces of 4 KiB if that is larger."""
        return max(self.pem.count(b"-----BEGIN"), -(-len(self.pem) // 4096))


def parse_chain(pem: bytes) -> Chain:
    """Parse certificates, the leaf first.

    CertificateError if OpenSSL at its usual security level would refuse one of them.
    """
    return _give(_parse_chain(pem))


def parse_key(pem: bytes, chain: Chain) -> bytes:
    """Parse the private key of a chain's first certificate, and write it anew as PKCS #8.

    CertificateError says why it cannot be used.
    """
    return _give(_parse_key(pem, chain))


class PemCache:
    """Parses like `parse_chain` and `parse_key`, and remembers both good and bad results.

    Many hosts may refer to the same PEM text, and each change of a Namespace reads all of its hosts again. The cache
    holds private keys.
    """

    def __init__(self) -> None:
        self._chains = lru_cache(maxsize=_REMEMBERED)(_parse_chain)
        self._keys = lru_cache(maxsize=_REMEMBERED)(_parse_key)

    def parse_chain(self, pem: bytes) -> Chain:
        """Parse certificates, the leaf first. CertificateError says why they cannot be served."""
        return _give(self._chains(pem))

    def parse_key(self, pem: bytes, chain: Chain) -> bytes:
        """Parse the private key of a chain's first certificate. CertificateError says why it cannot be used."""
        return _give(self._keys(pem, chain))


Parsed = TypeVar("Parsed", Chain, bytes)


def _give(result: Parsed | str) -> Parsed:
    """Give what was parsed. CertificateError if the result is a text: it says what is wrong."""
    if isinstance(result, str):
        raise CertificateError(result)
    return result


def _parse_chain(pem: bytes) -> Chain | str:
    """Parse certificates, or say what is wrong with them."""
    if len(pem) > LONGEST_PEM or pem.count(b"-----BEGIN") > LONGEST_CHAIN:
        return _TOO_LONG
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")  # what a later version of the library refuses is refused today
            certificates = x509.load_pem_x509_certificates(pem)
            faults = [fault for certificate in certificates if (fault := _judge(certificate))]
            flaws = tuple(find_server_flaws(certificates)), tuple(find_client_flaws(certificates))
            names = read_names(certificates[0])
            needed = [certificates[0], *(one for one in certificates[1:] if not is_root(one))]
            first = max(one.not_valid_before_utc.timestamp() for one in needed)
            last = min(one.not_valid_after_utc.timestamp() for one in needed)
        written = b"".join(certificate.public_bytes(Encoding.PEM) for certificate in certificates)
        if len(written) > LONGEST_PEM:  # lines are shorter when they are written anew, and this is read again
            return _TOO_LONG
        # nginx parses these bytes with OpenSSL. What OpenSSL cannot read would stop nginx for everyone.
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(cadata=written.decode())
    except (ValueError, TypeError, UnsupportedAlgorithm, InternalError, x509.InvalidVersion, Warning, ssl.SSLError):
        return "is not a PEM of certificates"
    return faults[0] if faults else Chain(written, first, last, names, *flaws)


def _parse_key(pem: bytes, chain: Chain) -> bytes | str:
    """Parse a key, or say what is wrong with it."""
    if len(pem) > LONGEST_PEM:
        return f"is longer than {LONGEST_PEM} bytes"
    begins = _BEGIN_KEY.search(pem)
    key_alone = pem[begins.start() :][:_LONGEST_KEY] if begins else b""
    if len(key_alone) == _LONGEST_KEY and b"-----END" not in key_alone:
        return f"is longer than {_LONGEST_KEY} bytes"
    try:
        # Checking that the tenant's primes are primes could take minutes, and a bad key harms only the tenant. The size
        # of the numbers is checked below, because large numbers would slow the worker down.
        key = serialization.load_pem_private_key(key_alone, password=None, unsafe_skip_rsa_key_validation=True)
    except TypeError:
        return "is encrypted; a key without a passphrase is needed"
    except (ValueError, UnsupportedAlgorithm, InternalError):  # InternalError: an Ed448 key of a wrong length
        return "is not a PEM of a private key"
    leaf = x509.load_pem_x509_certificate(chain.pem)
    spki = (Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    own = key.public_key().public_bytes(*spki)
    if own != leaf.public_key().public_bytes(*spki):
        others = x509.load_pem_x509_certificates(chain.pem)[1:]
        is_behind = any(own == other.public_key().public_bytes(*spki) for other in others)
        return "belongs to a certificate that is not the first" if is_behind else "does not belong to the certificate"
    if isinstance(key, rsa.RSAPrivateKey) and not _is_bounded(key.private_numbers()):
        return "has numbers that do not belong together"
    return key.private_bytes(Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())


def _is_bounded(key: rsa.RSAPrivateNumbers) -> bool:
    """Tell whether all numbers of an RSA key are in their range: OpenSSL computes with them in each handshake."""
    factors = key.p * key.q == key.public_numbers.n and key.p > 1 and key.q > 1
    exponents = 0 < key.d < key.public_numbers.n and 0 < key.dmp1 < key.p and 0 < key.dmq1 < key.q
    return factors and exponents and 0 < key.iqmp < key.p


def _is_signed_well(certificate: x509.Certificate) -> bool:
    """Tell whether a certificate is signed with a strong algorithm, which it states twice in the same way."""
    oid = certificate.signature_algorithm_oid
    if oid not in _SIGNATURES:
        return False
    signed = certificate.tbs_certificate_bytes
    stated = certificate.public_bytes(Encoding.DER).partition(signed)[2]
    is_same = stated[1] < 128 and stated[: 2 + stated[1]] in signed  # one DER element, of up to 127 bytes
    used = certificate.signature_hash_algorithm if oid == _Oid.RSASSA_PSS else hashes.SHA256()
    return is_same and isinstance(used, _HASHES)


def _is_own_anchor(certificate: x509.Certificate) -> bool:
    """Tell whether OpenSSL does not judge a certificate's signature, because it is its own issuer's (EXFLAG_SS).

    Its rules have corners; what is in doubt counts as judged.
    """
    key, oid = certificate.public_key(), certificate.signature_algorithm_oid
    known = isinstance(key, rsa.RSAPublicKey) and oid in _WEAK_RSA
    known = known or (isinstance(key, ec.EllipticCurvePublicKey) and oid in _WEAK_EC)
    return known and is_self_signed(certificate)


def _judge(certificate: x509.Certificate) -> str | None:
    """Say why OpenSSL would refuse a certificate at its usual security level, or be slow with it."""
    if not _is_signed_well(certificate) and not _is_own_anchor(certificate):
        return "is not signed with RSA, ECDSA or Ed25519 and SHA-256, SHA-384 or SHA-512"
    key = certificate.public_key()
    if certificate.public_key_algorithm_oid == x509.PublicKeyAlgorithmOID.RSASSA_PSS:
        return "has a key for RSA-PSS alone"
    if isinstance(key, rsa.RSAPublicKey):
        if not 2048 <= key.key_size <= 8192:
            return f"has an RSA key of {key.key_size} bits; 2048 to 8192 are served"
        return None if key.public_numbers().e.bit_length() <= 64 else "has an RSA key with an exponent above 64 bits"
    if isinstance(key, ec.EllipticCurvePublicKey):
        return None if isinstance(key.curve, _CURVES) else "has a key on another curve than P-256, P-384 and P-521"
    return None if isinstance(key, ed25519.Ed25519PublicKey) else "has a key that is neither RSA nor EC nor Ed25519"
