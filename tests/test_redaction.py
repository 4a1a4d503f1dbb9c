"""Stand-ins: served, refused, equal and different as the values that they replace, without showing the values."""

import base64
import warnings
from datetime import datetime

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)
from cryptography.x509.oid import NameOID
from hypothesis import given
from hypothesis import strategies as st
from support.stages import normalise

from reconciler.disk.redaction import StandIns
from reconciler.objects.listing import Listing, Metadata, Namespace, Secret
from reconciler.routing.api_keys import LONGEST_KEY
from reconciler.routing.tenant import read_tenant
from reconciler.settings import read_settings
from reconciler.values.certificates import (
    LONGEST_CHAIN,
    LONGEST_PEM,
    CertificateError,
    PemCache,
    parse_chain,
    parse_key,
)
from reconciler.values.htpasswd import HtpasswdError, parse_htpasswd

SALT = bytes(range(32))
SETTINGS = read_settings({})
START, END = datetime(2024, 1, 2, 3, 4, 5), datetime(2034, 1, 2, 3, 4, 5)
TEXTS = ("", "api-key", "!", "not base64", "a", "x" * LONGEST_KEY, "x" * (LONGEST_KEY + 1), "-----BEGIN", "é\0")
values = st.sampled_from(TEXTS).map(str.encode) | st.binary(max_size=50)


@pytest.fixture
def stand_ins():
    return StandIns(SALT, "api-key")


@pytest.fixture(scope="session")
def keys():
    return {
        "RSA": rsa.generate_private_key(65537, 2048),
        "P-256": ec.generate_private_key(ec.SECP256R1()),
        "P-384": ec.generate_private_key(ec.SECP384R1()),
        "Ed25519": ed25519.Ed25519PrivateKey.generate(),
        "weak": rsa.generate_private_key(65537, 1024),
    }


def encode(value):
    return base64.b64encode(value).decode()


def replace(stand_ins, value, field="ssl.crt"):
    """Give the stand-in of one value."""
    made = stand_ins.replace(Secret(Metadata("routing", "a"), {field: encode(value)}))
    return base64.b64decode(made.data[field], validate=True)


def read_api_key(secret):
    """Read the API key of a Namespace with this Secret, and the problems with it."""
    snapshot = normalise(Listing((Namespace(Metadata("a")),), (), (secret,)), SETTINGS)
    tenant = read_tenant(snapshot.namespaces[0], SETTINGS, PemCache())
    return tenant.api_key, tenant.problems


def name(text):
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)] if text else [])


def sign(key, subject="leaf.example", issuer=None, signer=None, extensions=(), start=START, end=END):
    issuer = name(subject if issuer is None else issuer)
    builder = x509.CertificateBuilder(issuer, name(subject), key.public_key(), 7, start, end)
    for extension in extensions:
        builder = builder.add_extension(extension, critical=False)
    signer = signer or key
    return builder.sign(signer, None if isinstance(signer, ed25519.Ed25519PrivateKey) else hashes.SHA256())


def write(*certificates):
    return b"".join(certificate.public_bytes(Encoding.PEM) for certificate in certificates)


def write_key(key, form=PrivateFormat.PKCS8, encryption=None):
    return key.private_bytes(Encoding.PEM, form, encryption or NoEncryption())


def load(pem):
    return x509.load_pem_x509_certificates(pem)


def public(key):
    return key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


@given(values)
def test_api_key(value):
    """An API key's stand-in is accepted if the key is accepted, and refused in the same words if the key is refused."""
    secret = Secret(Metadata("routing", "a"), {"api-key": encode(value)})
    (key, problems), (other, told) = map(read_api_key, (secret, StandIns(SALT, "api-key").replace(secret)))
    assert (len(key.values), problems) == (len(other.values), told)
    assert not other.values or other.values != key.values


@given(st.text(st.characters(exclude_categories=["Cs"]), max_size=20))
def test_text_that_may_be_no_base64(text):
    """A stand-in is base64 exactly if the value is base64, and both have the same problems."""
    secret = Secret(Metadata("routing", "a"), {"api-key": text})
    (key, problems), (other, told) = map(read_api_key, (secret, StandIns(SALT, "api-key").replace(secret)))
    assert (len(key.values), problems) == (len(other.values), told)


@given(values, values)
def test_equal_by_equal(one, other):
    """Two values have the same stand-in exactly if they are equal, whatever their fields."""
    stand_ins = StandIns(SALT, "api-key")
    for field in ("api-key", "ssl.crt"):
        assert (replace(stand_ins, one, field) == replace(stand_ins, other)) is (one == other)


@given(values)
def test_nothing_but_a_class_shows(value):
    """A stand-in shows only whether the value is empty, too long for an API key, a PEM, or has blanks around it."""
    made = replace(StandIns(SALT, "api-key"), value)
    pem = len(replace(StandIns(SALT, "api-key"), b"-----BEGIN"))
    size = pem if b"-----BEGIN" in value else 2049 if len(value) > 2048 else 32 if value else 0
    assert len(made) == size + (value != value.strip())
    assert len(value) < 8 or value not in made or value in b"-----BEGIN"


def test_another_salt(keys):
    """With another salt every stand-in is different, so that values cannot be tried without the salt."""
    first, second = StandIns(SALT, "api-key"), StandIns(bytes(32), "api-key")
    for value in (b"key", write(sign(keys["P-256"])), write_key(keys["P-256"]), b"-----BEGIN"):
        assert replace(first, value) != replace(second, value)
    chains = [load(replace(each, write(sign(keys["P-256"])))) for each in (first, second)]
    assert public(chains[0][0].public_key()) != public(chains[1][0].public_key())


def test_plain_text(stand_ins):
    """A value in stringData has the stand-in that it would have in data; an absent or null value stays so."""
    made = stand_ins.replace(Secret(Metadata("routing", "a"), {"x": encode(b"key"), "n": None}, {"y": "key", "z": ""}))
    assert made.data == {"x": encode(made.string_data["y"].encode()), "n": None}
    assert made.string_data["z"] == ""
    assert made.string_data["y"] != "key"
    assert stand_ins.replace(Secret(Metadata("routing", "a"))) == Secret(Metadata("routing", "a"))


def test_metadata_stays(stand_ins):
    """Only the values of a Secret are replaced."""
    secret = Secret(Metadata("routing", "a", labels={"app": "shop"}), {"x": "YQ=="})
    assert stand_ins.replace(secret).metadata == secret.metadata


@pytest.mark.parametrize("kind", ["RSA", "P-256", "P-384", "Ed25519"])
@pytest.mark.parametrize("form", [PrivateFormat.PKCS8, PrivateFormat.TraditionalOpenSSL])
def test_certificate_and_key(stand_ins, keys, kind, form):
    """If a key belongs to a certificate, their stand-ins belong together too, whatever the key's kind and form."""
    if kind == "Ed25519":
        form = PrivateFormat.PKCS8
    pem, key = replace(stand_ins, write(sign(keys[kind]))), replace(stand_ins, write_key(keys[kind], form), "ssl.key")
    (made,) = load(pem)
    assert parse_key(key, parse_chain(pem)).startswith(b"-----BEGIN PRIVATE KEY-----")
    assert public(made.public_key()) != public(keys[kind].public_key())
    assert write_key(keys[kind]).splitlines()[1] not in key


def test_another_key(stand_ins, keys):
    """If a key does not belong to a certificate, their stand-ins do not belong together either."""
    pem = replace(stand_ins, write(sign(keys["P-256"])))
    for other in (keys["RSA"], ec.generate_private_key(ec.SECP256R1())):
        with pytest.raises(CertificateError, match="does not belong to the certificate"):
            parse_key(replace(stand_ins, write_key(other)), parse_chain(pem))


def test_certificate_and_key_in_one_value(stand_ins, keys):
    """A value that holds certificates and their key has a stand-in that holds both."""
    value = write_key(keys["RSA"]) + write(sign(keys["RSA"]))
    made = replace(stand_ins, value)
    assert parse_key(made, parse_chain(made))
    assert len(load(made)) == 1


def test_facts_of_a_certificate(stand_ins, keys):
    """A certificate's stand-in has the same hosts, uses and validity; other names in it are dropped."""
    hosts = [x509.DNSName("leaf.example"), x509.DNSName("*.leaf.example")]
    basic, uses = (
        x509.BasicConstraints(ca=True, path_length=3),
        x509.ExtendedKeyUsage([x509.OID_SERVER_AUTH]),
    )
    names = x509.SubjectAlternativeName([*hosts, x509.RFC822Name("person@leaf.example")])
    (made,) = load(replace(stand_ins, write(sign(keys["RSA"], extensions=[basic, uses, names]))))
    assert (made.subject, made.issuer) == (name("leaf.example"), name("leaf.example"))
    assert (made.not_valid_before_utc.timestamp(), made.not_valid_after_utc.timestamp()) == (1704164645, 2019783845)
    assert made.extensions.get_extension_for_class(x509.SubjectAlternativeName).value == x509.SubjectAlternativeName(
        hosts
    )
    assert made.extensions.get_extension_for_class(x509.BasicConstraints).value == basic
    assert made.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value == uses


def test_a_chain_stays_a_chain(stand_ins, keys):
    """The certificates of a chain have stand-ins in the same order, each signed by its issuer's stand-in."""
    root, middle = sign(keys["RSA"], "root"), sign(keys["P-384"], "middle", "root", keys["RSA"])
    leaf = sign(keys["P-256"], "leaf.example", "middle", keys["P-384"])
    made = load(replace(stand_ins, write(leaf, middle, root)))
    assert [each.subject for each in made] == [name("leaf.example"), name("middle"), name("root")]
    for signed, issuer in zip(made, [*made[1:], made[-1]], strict=True):
        signed.verify_directly_issued_by(issuer)


def test_an_issuer_outside(stand_ins, keys):
    """If a certificate's issuer is absent, another issuer of that name signs the stand-in, the same each time."""
    pems = [write(sign(keys[kind], "leaf.example", "root", keys["RSA"])) for kind in ("P-256", "P-384")]
    first, second = (load(replace(stand_ins, pem))[0] for pem in pems)
    identities = {
        each.extensions.get_extension_for_class(x509.AuthorityKeyIdentifier).value.key_identifier
        for each in (first, second)
    }
    assert len(identities) == 1
    assert first.issuer == name("root")
    assert public(first.public_key()) != public(second.public_key())


def test_renewed(stand_ins, keys):
    """A certificate renewed with the same key, or the same PEM with another comment, has another stand-in."""
    old, new = (write(sign(keys["P-256"], end=end)) for end in (END, datetime(2035, 1, 1)))
    made = [replace(stand_ins, value) for value in (old, new, b"# comment\n" + old)]
    assert len(set(made)) == 3
    assert len({public(load(pem)[0].public_key()) for pem in made}) == 1
    assert parse_key(replace(stand_ins, write_key(keys["P-256"])), parse_chain(made[1]))


def test_a_value_comes_back(stand_ins, keys):
    """A value that returns after another one gets its former stand-in, byte for byte, though signatures are random."""
    old, new = (write(sign(keys[kind])) for kind in ("P-256", "RSA"))
    first = replace(stand_ins, old)
    assert replace(stand_ins, new) != first
    assert replace(stand_ins, old) == first


def test_encrypted_key(stand_ins, keys):
    """An encrypted key's stand-in is refused as encrypted; two different PEMs have different stand-ins."""
    pems = [
        write_key(keys["P-256"], form, BestAvailableEncryption(b"passphrase"))
        for form in (PrivateFormat.PKCS8, PrivateFormat.TraditionalOpenSSL)
    ]
    chain = parse_chain(write(sign(keys["P-256"])))
    made = [replace(stand_ins, pem) for pem in pems]
    assert made[0] != made[1]
    for pem in made:
        with pytest.raises(CertificateError, match="is encrypted"):
            parse_key(pem, chain)


def broken(keys):
    """Give PEMs that hold neither certificates that would be served nor a private key that would be read."""
    good = write(sign(keys["P-256"]))
    yield from (b"-----BEGIN CERTIFICATE-----\n", good[:-40], write(sign(keys["weak"])))
    yield from (good + write(sign(keys["weak"])), good * (LONGEST_CHAIN + 1), good + b"#" * LONGEST_PEM)
    yield write_key(keys["P-256"]) + b"#" * LONGEST_PEM
    yield keys["P-256"].public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)


def test_what_is_not_served(stand_ins, keys):
    """A PEM that is refused has a stand-in that is refused too, as certificates and as a key; all stand-ins differ."""
    chain = parse_chain(write(sign(keys["P-256"])))
    pems = list(broken(keys))
    made = {replace(stand_ins, pem) for pem in pems}
    assert len(made) == len(pems)
    for pem in made:
        with pytest.raises(CertificateError, match="is not a PEM of certificates"):
            parse_chain(pem)
        with pytest.raises(CertificateError, match="is not a PEM of a private key"):
            parse_key(pem, chain)


GOOD = [f"user-{number}:$apr1$saltsalt${'x' * 22}" for number in range(120)]
HTPASSWDS = {
    "good": [*GOOD[:3], f"bob:{{SSHA}}{'A' * 32}"],
    "as many as there may be": GOOD[:100],
    "too many": GOOD,
    "a bad line": [*GOOD[:3], "carol:$2y$05$secret", GOOD[5]],
    "a long line": [GOOD[0], "x" * 70_000],
}


@pytest.mark.parametrize("name", HTPASSWDS)
@pytest.mark.parametrize("end", ["", "\n"])
def test_passwords(name, end):
    """A file of passwords has a stand-in with as many users, which is refused in the same words if it is refused."""
    value = ("\n".join(HTPASSWDS[name]) + end).encode()
    stand_in = replace(StandIns(SALT, "api-key"), value, "htpasswd")
    told = []
    for one in (value, stand_in):
        try:
            told.append(str(len(parse_htpasswd(one).splitlines())))
        except HtpasswdError as refused:
            told.append(str(refused))
    assert told[0] == told[1]
    assert not set(value.split()) & set(stand_in.split())
    assert b"user-" not in stand_in
    assert stand_in == replace(StandIns(SALT, "api-key"), value, "htpasswd")
    assert stand_in != replace(StandIns(SALT, "api-key"), value.replace(b"salt", b"tlas"), "htpasswd")


def test_a_pem_as_api_key(keys):
    """A PEM in the API key's field has a stand-in that is too long for an API key exactly if the PEM is."""
    for pem in (write(sign(keys["P-256"])), write(*[sign(keys["P-256"])] * 4), write(sign(keys["RSA"])) * 3):
        secret = Secret(Metadata("routing", "a"), {"api-key": encode(pem)})
        (key, problems), (other, told) = map(read_api_key, (secret, StandIns(SALT, "api-key").replace(secret)))
        assert (len(key.values), problems) == (len(other.values), told)


def test_several_api_keys(keys):
    """During a rotation the stand-in of every API key is accepted or refused as the key is, even if it is a PEM."""
    fields = {"api-key": "!", "api-key.next": encode(b"next"), "api-key.pem": encode(write(sign(keys["RSA"])) * 3)}
    secret = Secret(Metadata("routing", "a"), fields)
    (key, problems), (other, told) = map(read_api_key, (secret, StandIns(SALT, "api-key").replace(secret)))
    assert (len(key.values), problems) == (len(other.values), told)


def test_key_of_a_wrong_length(stand_ins, keys):
    """An Ed448 key that is as short as an Ed25519 key does not count as a key, and raises no error."""
    der = keys["Ed25519"].private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())
    encoded = base64.encodebytes(der.replace(b"\x2b\x65\x70", b"\x2b\x65\x71"))
    made = replace(stand_ins, b"-----BEGIN PRIVATE KEY-----\n" + encoded + b"-----END PRIVATE KEY-----\n")
    assert b"PRIVATE KEY" not in made


def spoil(certificate, old, new):
    """Replace bytes of a certificate; the code that reads it does not check its signature."""
    der = certificate.public_bytes(Encoding.DER)
    assert old in der
    encoded = base64.encodebytes(der.replace(old, new))
    return b"-----BEGIN CERTIFICATE-----\n" + encoded + b"-----END CERTIFICATE-----\n"


ODD = {
    "older than what can be written": (b"20500102", b"19400102"),
    "of the year 1": (b"20500102", b"00010102"),
    "a name of another type": (b"\x0c\x0cleaf.example", b"\x14\x0cleaf\xe9example"),
    "a host that is no ASCII": (b"\x82\x0cleaf.example", b"\x82\x0cleaf\xe9example"),
    "an extension twice": (b"\x55\x1d\x13", b"\x55\x1d\x11"),
    "an extension that is garbage": (b"\x30\x03\x01\x01\xff", b"\x30\x03\x01\x01\xfe"),
}


@pytest.mark.parametrize(("old", "new"), ODD.values(), ids=ODD)
def test_odd_certificates(stand_ins, keys, old, new):
    """If not all of a certificate can be read, its stand-in is served exactly if the certificate is."""
    names = x509.SubjectAlternativeName([x509.DNSName("leaf.example")])
    extensions = [names, x509.BasicConstraints(ca=True, path_length=None)]
    start, end = datetime(2050, 1, 2), datetime(2060, 1, 2)
    pem = spoil(sign(keys["P-256"], extensions=extensions, start=start, end=end), old, new)
    made = replace(stand_ins, pem)
    try:
        parse_chain(pem)
    except CertificateError:
        with pytest.raises(CertificateError):
            parse_chain(made)
        return
    assert parse_key(replace(stand_ins, write_key(keys["P-256"])), parse_chain(made))


@pytest.mark.parametrize(("start", "end"), [(END, START), (START, START), (datetime(1950, 1, 1), datetime(9999, 1, 1))])
def test_odd_times(stand_ins, keys, start, end):
    """A certificate may end before it begins; its stand-in does too."""
    pem = write(sign(keys["P-256"], start=start, end=end))
    made, original = parse_chain(replace(stand_ins, pem)), parse_chain(pem)
    assert (made.not_before, made.not_after) == (original.not_before, original.not_after)


@pytest.mark.parametrize("text", ["", "x" * 64, "\u00e9" * 40, "x" * 65])
def test_odd_names(stand_ins, keys, text):
    """A name that is absent or too long is replaced by a digest, without a warning."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        odd = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text, _validate=False)] if text else [])
    key = keys["P-256"]
    pem = write(x509.CertificateBuilder(odd, odd, key.public_key(), 7, START, END).sign(key, hashes.SHA256()))
    (made,) = load(replace(stand_ins, pem))
    assert (made.subject == name("x" * 64)) is (text == "x" * 64)
    made.verify_directly_issued_by(made)


def test_no_representation_tells_the_salt(stand_ins):
    """The representation of the stand-ins, which a log could show, does not hold the salt."""
    assert SALT.hex() not in repr(stand_ins)
    assert repr(SALT) not in repr(stand_ins)
