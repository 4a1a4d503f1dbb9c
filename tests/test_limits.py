"""Limits on what the certificates of one tenant may cost."""

import datetime
from collections.abc import Callable

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import NameOID
from support.authority import Authority, write_key
from support.objects import namespace, secret, tls
from support.router import Router

Start = Callable[..., Router]


def certify(bits: int) -> bytes:
    """Make a certificate for a huge public key, which has no private key; a small key signs it."""
    public = rsa.RSAPublicNumbers(65537, 2**bits - 1).public_key()
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "huge.dev")])
    start = datetime.datetime(2024, 1, 1)
    builder = x509.CertificateBuilder(name, name, public, 7, start, start + datetime.timedelta(days=9999))
    signed = builder.sign(ec.generate_private_key(ec.SECP256R1()), hashes.SHA256())
    return signed.public_bytes(serialization.Encoding.PEM)


def test_certificates_of_a_namespace(router: Start, authority: Authority) -> None:
    """Hosts beyond a Namespace's limit of certificates are left out and a problem, but stay claimed."""
    here = router(MAX_CERTIFICATES_PER_NAMESPACE="10")
    certificate, key = authority.issue("*.many.dev")
    hosts = {f"h{number}.many.dev": tls(client="client.crt") for number in range(4)}
    chain = certificate + authority.pem  # two certificates; with the clients' authority each host has three
    fields = {"ssl_crt": chain, "ssl_key": key, "client_crt": authority.pem}
    younger = namespace("younger", {"h3.many.dev": {}}, "2027-01-01T00:00:00Z")
    cycle = here.serve(namespace("many", hosts), secret("many", **fields), younger)
    assert [host.name for host in cycle.table.routes.hosts] == ["h0.many.dev", "h1.many.dev", "h2.many.dev"]
    assert "host h3.many.dev is left out: with the hosts before it, it has too many certificates" in str(
        cycle.table.problems[0]
    )


def test_size_of_certificates_counts(router: Start, authority: Authority) -> None:
    """A certificate with many names counts once for each 4 KiB of its PEM."""
    here = router(MAX_CERTIFICATES_PER_NAMESPACE="4")
    names = [x509.DNSName(f"{number:060}.dev") for number in range(250)]
    certificate, key = sign_names("a.dev", names)
    cycle = here.serve(namespace("a", {"a.dev": tls()}), secret("a", ssl_crt=certificate, ssl_key=key))
    assert len(certificate) > 4 * 4096
    assert cycle.table.routes.hosts == ()


def sign_names(subject: str, names: list[x509.DNSName]) -> tuple[bytes, bytes]:
    key = ec.generate_private_key(ec.SECP256R1())
    name, start = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, subject)]), datetime.datetime(2024, 1, 1)
    builder = x509.CertificateBuilder(name, name, key.public_key(), 7, start, start + datetime.timedelta(days=9999))
    signed = builder.add_extension(x509.SubjectAlternativeName(names), critical=False).sign(key, hashes.SHA256())
    return signed.public_bytes(serialization.Encoding.PEM), write_key(key)


@pytest.mark.parametrize("bits", [8193, 16384])
def test_certificate_of_many_bits(router: Start, bits: int) -> None:
    """A host is left out and a problem if its certificate's key would keep nginx busy at each handshake."""
    here = router()
    fields = {"ssl_crt": certify(bits), "ssl_key": b"x"}
    cycle = here.serve(namespace("huge", {"huge.dev": tls()}), secret("huge", **fields))
    assert cycle.table.routes.hosts == ()
    assert f"{bits} bits; 2048 to 8192 are served" in str(cycle.table.problems[0])
