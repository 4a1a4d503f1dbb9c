"""PEM texts: which ones are served, which ones are refused and why. No error shows any part of them."""

import base64
from datetime import datetime

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import dsa, ec, ed448, ed25519, rsa, x25519
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
)
from cryptography.x509.oid import NameOID

from reconciler.values.certificates import LONGEST_CHAIN, CertificateError, parse_chain, parse_key

START, END = datetime(2024, 1, 2, 3, 4, 5), datetime(2034, 1, 2, 3, 4, 5)
SHA256_WITH_RSA, SHA1_WITH_RSA = bytes.fromhex("2a864886f70d01010b"), bytes.fromhex("2a864886f70d010105")


def name(text):
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


def make_certificate(key, subject="leaf.example", start=START, end=END):
    builder = x509.CertificateBuilder(name("issuer.example"), name(subject), key.public_key(), 7, start, end)
    return builder.sign(
        key, None if isinstance(key, ed25519.Ed25519PrivateKey | ed448.Ed448PrivateKey) else hashes.SHA256()
    )


def write(certificate):
    return certificate.public_bytes(Encoding.PEM)


def write_key(key, form=PrivateFormat.PKCS8, encryption=None):
    return key.private_bytes(Encoding.PEM, form, encryption or NoEncryption())


@pytest.fixture(scope="session")
def rsa_key():
    return rsa.generate_private_key(65537, 2048)


@pytest.fixture(scope="session")
def ec_key():
    return ec.generate_private_key(ec.SECP256R1())


@pytest.fixture(scope="session")
def keys(rsa_key, ec_key):
    return {
        "RSA 2048": rsa_key,
        "P-256": ec_key,
        "P-384": ec.generate_private_key(ec.SECP384R1()),
        "P-521": ec.generate_private_key(ec.SECP521R1()),
        "Ed25519": ed25519.Ed25519PrivateKey.generate(),
        "RSA 1024": rsa.generate_private_key(65537, 1024),
        "P-224": ec.generate_private_key(ec.SECP224R1()),
        "secp256k1": ec.generate_private_key(ec.SECP256K1()),
        "Ed448": ed448.Ed448PrivateKey.generate(),
        "DSA": dsa.generate_private_key(2048),
    }


@pytest.mark.parametrize("kind", ["RSA 2048", "P-256", "P-384", "P-521", "Ed25519"])
def test_key_served(keys, kind):
    """A certificate and its key come back unchanged, for each kind of key that is served."""
    pem, key = write(make_certificate(keys[kind])), write_key(keys[kind])
    chain = parse_chain(pem)
    assert chain.pem == pem
    assert parse_key(key, chain) == key


@pytest.mark.parametrize(
    ("kind", "why"),
    [
        ("RSA 1024", "has an RSA key of 1024 bits; 2048 to 8192 are served"),
        ("P-224", "has a key on another curve than P-256, P-384 and P-521"),
        ("secp256k1", "has a key on another curve than P-256, P-384 and P-521"),
        ("Ed448", "is not signed with RSA, ECDSA or Ed25519 and SHA-256, SHA-384 or SHA-512"),
        ("DSA", "is not signed with RSA, ECDSA or Ed25519 and SHA-256, SHA-384 or SHA-512"),
    ],
)
def test_key_refused(keys, kind, why):
    """A certificate with a weak or unusual key is refused, and the error says why."""
    with pytest.raises(CertificateError) as caught:
        parse_chain(write(make_certificate(keys[kind])))
    assert str(caught.value) == why


def test_what_is_accepted_is_accepted_again():
    """The text that is written anew is never longer than what is accepted: it is read again later."""
    key = ec.generate_private_key(ec.SECP256R1())
    sizes = (46_000, 48_000, 48_300, 48_500, 48_700, 49_000)
    for size in sizes:
        extension = x509.UnrecognizedExtension(x509.ObjectIdentifier("1.3.6.1.4.1.99999.1"), b"a" * size)
        builder = x509.CertificateBuilder(name("a"), name("b"), key.public_key(), 7, START, END)
        made = builder.add_extension(extension, critical=False).sign(key, hashes.SHA256())
        line = base64.b64encode(made.public_bytes(Encoding.DER))
        text = b"-----BEGIN CERTIFICATE-----\n" + line + b"\n-----END CERTIFICATE-----\n"
        try:
            chain = parse_chain(text)
        except CertificateError as error:
            assert "is longer than" in str(error)
            assert size > sizes[1]
        else:
            assert parse_chain(chain.pem) == chain
            assert size < sizes[-1]


def patch(pem, old, new):
    """Replace bytes in a certificate."""
    der = x509.load_pem_x509_certificate(pem).public_bytes(Encoding.DER)
    assert old in der
    body = base64.encodebytes(der.replace(old, new))
    return b"-----BEGIN CERTIFICATE-----\n" + body + b"-----END CERTIFICATE-----\n"


OWN, OTHER = x509.SubjectKeyIdentifier(b"own"), x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "other")])
IN_DOUBT = {
    "another signer's key": [OWN, x509.AuthorityKeyIdentifier(b"another", None, None)],
    "another signer's serial": [OWN, x509.AuthorityKeyIdentifier(b"own", [x509.DirectoryName(OTHER)], 8)],
    "its own serial": [OWN, x509.AuthorityKeyIdentifier(None, [x509.DirectoryName(name("issuer.example"))], 7)],
}


@pytest.mark.parametrize("extensions", IN_DOUBT.values(), ids=IN_DOUBT)
def test_own_issuers_in_doubt_are_judged(rsa_key, extensions):
    """A weak signature is accepted only where it is certain that OpenSSL does not look at it."""
    builder = x509.CertificateBuilder(
        name("issuer.example"), name("issuer.example"), rsa_key.public_key(), 7, START, END
    )
    assert parse_chain(patch(write(builder.sign(rsa_key, hashes.SHA256())), SHA256_WITH_RSA, SHA1_WITH_RSA))
    for extension in extensions:
        builder = builder.add_extension(extension, critical=False)
    with pytest.raises(CertificateError, match="is not signed with RSA, ECDSA or Ed25519"):
        parse_chain(patch(write(builder.sign(rsa_key, hashes.SHA256())), SHA256_WITH_RSA, SHA1_WITH_RSA))


def test_own_issuer_with_another_kind_of_key(ec_key):
    """A certificate with an EC key that says it is signed with RSA is judged."""
    builder = x509.CertificateBuilder(
        name("issuer.example"), name("issuer.example"), ec_key.public_key(), 7, START, END
    )
    ecdsa, other = bytes.fromhex("06082a8648ce3d040302"), bytes.fromhex("060a2a864886f70d01010583")
    made = write(builder.sign(ec_key, hashes.SHA256()))
    with pytest.raises(CertificateError):
        parse_chain(patch(made, ecdsa, other[: len(ecdsa)]))


def test_algorithm_that_is_stated_differently(rsa_key):
    """A certificate states its algorithm twice, the second time outside of what is signed: both must be equal."""
    made = write(make_certificate(rsa_key))
    der = x509.load_pem_x509_certificate(made).public_bytes(Encoding.DER)
    place = der.rindex(SHA256_WITH_RSA)
    sha512 = bytes.fromhex("2a864886f70d01010d")
    changed = der[:place] + sha512 + der[place + len(sha512) :]
    text = b"-----BEGIN CERTIFICATE-----\n" + base64.encodebytes(changed) + b"-----END CERTIFICATE-----\n"
    with pytest.raises(CertificateError):
        parse_chain(text)


# OpenSSL signed it with RSA-PSS and SHA-1.
PSS_WITH_SHA1 = b"""-----BEGIN CERTIFICATE-----
MIIB7zCB0gIUTeQinRV4UC4tUMKuNlBpM3oNQ2swEwYJKoZIhvcNAQEKMAaiBAIC
AOowDzENMAsGA1UEAwwEUm9vdDAgFw0yNjExMjYwNTAyNDNaGA8yMTI2MTEwMjA1
MDI0M1owFzEVMBMGA1UEAwwMbGVhZi5leGFtcGxlMFkwEwYHKoZIzj0CAQYIKoZI
zj0DAQcDQgAETd1LLLpejiE1/pSEjvQcZf4BnKCVbfFyo2SiP32hkplW7G4SBtxy
K6iWafX0ZmpSha2/26EDFUmlFMFqg5q2OzATBgkqhkiG9w0BAQowBqIEAgIA6gOC
AQEAufp6iAzaBfw2ttz6cpeqspPjd+ZORCXQuOfvyKsyQ1Mfxbx6KGtrJCD0PtBF
Mkpyw0YqQDsASHuC1EoJmaE0pt776ijc2dicLZ4RrfmUv2muz1wsyYPDYCLOCS/n
4nrQcmrMS9QsBRCrpiLvMZg8MURVXa77eAv7mFv1m/InJuXlwS6mikHARh3kxhoj
qMXkq5Eu7JTgAYFSEpYYwJ7jrRcQqF7ADFPxdg8wNtIko/30e4AEfm+2+qjal7Ew
jS+54L9waOVXY++lrAHBYj4dCaR6BUmDwhFxqxnnhBQ3i9xzEpxm0T7GpXc6lk8+
9Z8k/0ptgpzwaFtBwHp7Ul+/aQ==
-----END CERTIFICATE-----
"""


def test_signature_by_pss_is_judged_by_its_hash():
    """A signature with RSA-PSS is refused if its hash is weak."""
    with pytest.raises(CertificateError, match="is not signed with RSA, ECDSA or Ed25519 and SHA-256"):
        parse_chain(PSS_WITH_SHA1)


def test_key_of_a_wrong_length(keys):
    """An Ed448 key that is as short as an Ed25519 key is refused."""
    chain = parse_chain(write(make_certificate(keys["Ed25519"])))
    der = keys["Ed25519"].private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())
    encoded = base64.encodebytes(der.replace(b"\x2b\x65\x70", b"\x2b\x65\x71"))
    with pytest.raises(CertificateError, match="is not a PEM of a private key"):
        parse_key(b"-----BEGIN PRIVATE KEY-----\n" + encoded + b"-----END PRIVATE KEY-----\n", chain)


def write_rsa(*numbers):
    """Write the numbers of an RSA key as PKCS #1, without a check."""

    def encode(tag, content):
        size = len(content)
        long = size.to_bytes((size.bit_length() + 7) // 8, "big")
        return bytes([tag]) + (bytes([size]) if size < 128 else bytes([128 + len(long)]) + long) + content

    integers = (encode(2, number.to_bytes(number.bit_length() // 8 + 1, "big")) for number in (0, *numbers))
    der = encode(0x30, b"".join(integers))
    return b"-----BEGIN RSA PRIVATE KEY-----\n" + base64.encodebytes(der) + b"-----END RSA PRIVATE KEY-----\n"


@pytest.mark.parametrize("which", range(2, 8))
@pytest.mark.parametrize("bits", [2049, 9000])
def test_numbers_without_bounds(rsa_key, which, bits):
    """An RSA key with a private number that is too long is refused: each handshake would take long."""
    numbers = rsa_key.private_numbers()
    public = numbers.public_numbers
    right = (public.n, public.e, numbers.d, numbers.p, numbers.q, numbers.dmp1, numbers.dmq1, numbers.iqmp)
    chain = parse_chain(write(make_certificate(rsa_key)))
    assert parse_key(write_rsa(*right), chain)
    wrong = [*right[:which], 2**bits + 1, *right[which + 1 :]]
    with pytest.raises(CertificateError, match="has numbers that do not belong together"):
        parse_key(write_rsa(*wrong), chain)


def test_long_key_is_not_loaded(rsa_key):
    """A key longer than any served key is refused before it is loaded: OpenSSL can take long to load it."""
    certificate = write(make_certificate(rsa_key))
    with pytest.raises(CertificateError, match="is longer than 8192 bytes"):
        parse_key(certificate + write_rsa(*[2**40_000 + 1] * 7), parse_chain(certificate))
    beside = write_key(rsa_key) + certificate * 9
    assert parse_key(beside, parse_chain(certificate)) == write_key(rsa_key)


def test_exponent_without_bounds(ec_key):
    """A certificate with an RSA public exponent above 64 bits is refused."""
    key = rsa.RSAPublicNumbers(2**64 + 1, 2**2048 - 1).public_key()
    builder = x509.CertificateBuilder(name("issuer.example"), name("leaf.example"), key, 7, START, END)
    with pytest.raises(CertificateError, match="has an RSA key with an exponent above 64 bits"):
        parse_chain(write(builder.sign(ec_key, hashes.SHA256())))


def test_weak_key_behind_the_leaf(keys):
    """Each certificate of a chain is checked, not only the first one."""
    pem = write(make_certificate(keys["P-256"])) + write(make_certificate(keys["RSA 1024"]))
    with pytest.raises(CertificateError, match="1024 bits"):
        parse_chain(pem)


def test_weak_hash(rsa_key):
    """A certificate signed with SHA-1 is refused."""
    der = make_certificate(rsa_key).public_bytes(Encoding.DER)
    assert der.count(SHA256_WITH_RSA) == 2
    weak = x509.load_der_x509_certificate(der.replace(SHA256_WITH_RSA, SHA1_WITH_RSA))
    with pytest.raises(CertificateError, match="is not signed with RSA, ECDSA or Ed25519 and SHA-256"):
        parse_chain(write(weak))


def test_validity(ec_key):
    """A chain has the validity of its first certificate, in seconds since the epoch."""
    issuer = make_certificate(ec_key, "issuer.example", datetime(2020, 1, 1), datetime(2040, 1, 1))
    chain = parse_chain(write(make_certificate(ec_key)) + write(issuer))
    assert (chain.not_before, chain.not_after) == (1704164645.0, 2019783845.0)


def test_order_is_kept(keys):
    """The certificates of a chain keep their order."""
    leaf, issuer = write(make_certificate(keys["P-256"])), write(make_certificate(keys["P-384"], "issuer.example"))
    assert parse_chain(leaf + issuer).pem == leaf + issuer
    assert parse_chain(issuer + leaf).pem == issuer + leaf


def test_the_key_is_the_first_certificates(keys):
    """A key belongs to a chain if it is the key of the first certificate, not of a later one."""
    leaf, issuer = write(make_certificate(keys["P-256"])), write(make_certificate(keys["P-384"], "issuer.example"))
    key = write_key(keys["P-256"])
    assert parse_key(key, parse_chain(leaf + issuer)) == key
    with pytest.raises(CertificateError, match="belongs to a certificate that is not the first"):
        parse_key(key, parse_chain(issuer + leaf))


@pytest.mark.parametrize(("leaf", "other"), [("P-256", "P-384"), ("P-256", "RSA 2048"), ("RSA 2048", "Ed25519")])
def test_another_key(keys, leaf, other):
    """A key that does not belong to the certificate is refused, whatever its kind is."""
    with pytest.raises(CertificateError, match="does not belong to the certificate"):
        parse_key(write_key(keys[other]), parse_chain(write(make_certificate(keys[leaf]))))


def test_another_key_of_the_same_kind(ec_key):
    """Another key is refused even if it has the same kind as the certificate's key."""
    with pytest.raises(CertificateError, match="does not belong to the certificate"):
        parse_key(write_key(ec.generate_private_key(ec.SECP256R1())), parse_chain(write(make_certificate(ec_key))))


def test_key_without_signatures(ec_key):
    """A key that cannot sign belongs to no certificate."""
    with pytest.raises(CertificateError, match="does not belong to the certificate"):
        parse_key(write_key(x25519.X25519PrivateKey.generate()), parse_chain(write(make_certificate(ec_key))))


@pytest.mark.parametrize("form", [PrivateFormat.PKCS8, PrivateFormat.TraditionalOpenSSL])
@pytest.mark.parametrize("kind", ["RSA 2048", "P-256"])
def test_encrypted_key(keys, kind, form):
    """An encrypted key is refused, in PKCS #8 and in OpenSSL's old form."""
    pem = write_key(keys[kind], form, BestAvailableEncryption(b"passphrase"))
    with pytest.raises(CertificateError, match="is encrypted; a key without a passphrase is needed"):
        parse_key(pem, parse_chain(write(make_certificate(keys[kind]))))


@pytest.mark.parametrize("kind", ["RSA 2048", "P-256"])
def test_key_is_written_as_pkcs8(keys, kind):
    """A key in OpenSSL's old form is rewritten as PKCS #8."""
    old = write_key(keys[kind], PrivateFormat.TraditionalOpenSSL)
    new = parse_key(old, parse_chain(write(make_certificate(keys[kind]))))
    assert old.startswith((b"-----BEGIN RSA PRIVATE KEY-----", b"-----BEGIN EC PRIVATE KEY-----"))
    assert new == write_key(keys[kind])


def test_text_around_is_dropped(rsa_key):
    """Text around and between the PEMs is not part of the rewritten PEM."""
    pem, key = write(make_certificate(rsa_key)), write_key(rsa_key)
    chain = parse_chain(
        b"subject=/CN=x\n" + pem + b"\r\n; include /etc/passwd;\n" + key + pem.replace(b"\n", b"\r\n") + b"x"
    )
    assert chain.pem == pem + pem
    assert parse_key(b"Bag Attributes\n" + key + b"trailing", chain) == key


@pytest.mark.parametrize(
    "pem",
    [
        b"",
        b"garbage",
        b"\0\xff",
        b"-----BEGIN CERTIFICATE-----\n-----END CERTIFICATE-----\n",
        b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
        b"-----BEGIN CERTIFICATE-----\n!\n-----END CERTIFICATE-----\n",
        b"-----BEGIN CERTIFICATE-----\nAAAA\n",
    ],
)
def test_garbage_is_no_certificate(pem):
    """Text that is not a PEM of certificates is refused."""
    with pytest.raises(CertificateError, match="is not a PEM of certificates"):
        parse_chain(pem)


def spoil(certificate, old, new):
    """Replace bytes in a certificate; the parsers do not check its signature."""
    der = certificate.public_bytes(Encoding.DER)
    assert old in der
    encoded = base64.encodebytes(der.replace(old, new, 1))
    return b"-----BEGIN CERTIFICATE-----\n" + encoded + b"-----END CERTIFICATE-----\n"


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b"\xa0\x03\x02\x01\x02", b"\xa0\x03\x02\x01\x01"),
        (b"\xa0\x03\x02\x01\x02", b"\xa0\x03\x02\x01\x05"),
        (b"\x02\x01\x07", b"\x02\x01\x00"),
        (b"leaf.example", b"leaf\xffexample"),
        (b"\x0c\x0cleaf.example", b"\x60\x0cleaf.example"),
        (b"20600102030405Z", b"00000102030405Z"),
    ],
    ids=["version 2", "version 6", "serial number 0", "no UTF-8", "no type of text", "year 0"],
)
def test_malformed_within(ec_key, old, new):
    """A certificate that Python's or nginx's parser cannot read is refused, even if its PEM is well formed."""
    certificate = make_certificate(ec_key, end=datetime(2060, 1, 2, 3, 4, 5))
    with pytest.raises(CertificateError, match="is not a PEM of certificates"):
        parse_chain(spoil(certificate, old, new))


def test_a_key_is_no_certificate(ec_key):
    """A private key instead of a certificate is refused."""
    with pytest.raises(CertificateError, match="is not a PEM of certificates"):
        parse_chain(write_key(ec_key))


def test_one_bad_certificate_spoils_the_chain(ec_key):
    """A chain with one certificate cut short is refused as a whole."""
    pem = write(make_certificate(ec_key))
    cut = b"\n".join([*pem.splitlines()[:-2], b"-----END CERTIFICATE-----", b""])
    with pytest.raises(CertificateError, match="is not a PEM of certificates"):
        parse_chain(pem + cut)


@pytest.mark.parametrize("pem", [b"", b"garbage", b"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n"])
def test_garbage_is_no_key(ec_key, pem):
    """Text that is not a PEM of a private key is refused."""
    with pytest.raises(CertificateError, match="is not a PEM of a private key"):
        parse_key(pem, parse_chain(write(make_certificate(ec_key))))


def test_public_parts_are_no_key(ec_key):
    """Neither a certificate nor a public key is accepted as a private key."""
    pem = write(make_certificate(ec_key))
    public = ec_key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    for wrong in (pem, public):
        with pytest.raises(CertificateError, match="is not a PEM of a private key"):
            parse_key(wrong, parse_chain(pem))


def test_longest_chain(ec_key):
    """A chain of more than LONGEST_CHAIN certificates is refused."""
    pem = write(make_certificate(ec_key))
    assert parse_chain(pem * LONGEST_CHAIN).pem == pem * LONGEST_CHAIN
    with pytest.raises(CertificateError, match=f"is longer than {LONGEST_CHAIN} certificates"):
        parse_chain(pem * (LONGEST_CHAIN + 1))


def test_a_chain_shows_no_pem(ec_key):
    """The repr of a chain shows its validity and nothing of its PEM."""
    shown = repr(parse_chain(write(make_certificate(ec_key))))
    assert "BEGIN" not in shown
    assert "not_after" in shown


def refusals(keys):
    """Give a call for each refusal, with the PEM that it is about."""
    chain = parse_chain(write(make_certificate(keys["P-256"])))
    secret = write_key(keys["RSA 2048"])
    broken = secret.replace(b"\n", b"!\n", 5)
    encrypted = write_key(keys["P-256"], encryption=BestAvailableEncryption(b"passphrase"))
    weak = write(make_certificate(keys["RSA 1024"]))
    for pem in (secret, broken, encrypted):
        yield pem, lambda pem=pem: parse_key(pem, chain)
    for pem in (weak, broken, secret):
        yield pem, lambda pem=pem: parse_chain(pem)


def test_no_error_holds_the_pem(keys):
    """No error holds a line of the refused PEM, neither in its text nor in its cause."""
    for pem, parse in refusals(keys):
        with pytest.raises(CertificateError) as caught:
            parse()
        assert caught.value.__cause__ is None
        assert not any(line.decode() in str(caught.value) for line in pem.splitlines())


def test_keys_stay_the_same(rsa_key):
    """The rewritten key is the same key."""
    new = parse_key(write_key(rsa_key), parse_chain(write(make_certificate(rsa_key))))
    assert load_pem_private_key(new, None).private_numbers() == rsa_key.private_numbers()
