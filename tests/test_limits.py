"""Limits of what one tenant's certificate may cost."""

import datetime
from collections.abc import Callable

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import NameOID
from objects import namespace, secret, tls
from router import Router

Start = Callable[..., Router]


def certify(bits: int) -> bytes:
    """Make a certificate of a huge key, which nobody has the other half of, signed by a small one."""
    public = rsa.RSAPublicNumbers(65537, 2**bits - 1).public_key()
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "huge.dev")])
    start = datetime.datetime(2024, 1, 1)
    builder = x509.CertificateBuilder(name, name, public, 7, start, start + datetime.timedelta(days=9999))
    signed = builder.sign(ec.generate_private_key(ec.SECP256R1()), hashes.SHA256())
    return signed.public_bytes(serialization.Encoding.PEM)


@pytest.mark.parametrize("bits", [8193, 16384])
def test_certificate_of_many_bits(router: Start, bits: int) -> None:
    """A certificate whose key would keep nginx busy at each handshake leaves its host out, and that is told."""
    here = router()
    fields = {"ssl_crt": certify(bits), "ssl_key": b"x"}
    cycle = here.serve(namespace("huge", {"huge.dev": tls()}), secret("huge", **fields))
    assert cycle.table.routes.hosts == ()
    assert f"{bits} bits; 2048 to 8192 are served" in str(cycle.table.problems[0])
