"""Likely mistakes of tenants, on a running nginx: what cannot work is a problem; and what works is none."""

import base64
import datetime
import hashlib
import socket
import ssl
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
from support.objects import namespace, pod, secret, tls
from support.pods import DECLARED, entry
from support.router import Router

Start = Callable[..., Router]
HOST = "secure.dev"
KEYS = [rsa.generate_private_key(65537, 2048) for _ in range(3)]
ROOT_KEY, MIDDLE_KEY, LEAF_KEY = KEYS
CLIENT = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH])
_DAY = datetime.timedelta(days=1)
_RSA_WITH_SHA256, _RSA_WITH_SHA1 = bytes.fromhex("2a864886f70d01010b"), bytes.fromhex("2a864886f70d010105")
_SHA1_INFO = bytes.fromhex("3021300906052b0e03021a05000414")  # RFC 8017, 9.2


def usage(**given: bool) -> x509.KeyUsage:
    """Make a key usage of these bits alone."""
    names = ("digital_signature", "content_commitment", "key_encipherment", "data_encipherment", "key_agreement")
    others = ("key_cert_sign", "crl_sign", "encipher_only", "decipher_only")
    return x509.KeyUsage(**dict.fromkeys((*names, *others), False) | given)


def sign(
    subject: str, issuer: str, key: rsa.RSAPrivateKey, signer: rsa.RSAPrivateKey, *extensions: x509.ExtensionType,
    algorithm: Any = None, is_ca: bool = False, names: tuple[str, ...] = (), start: int = -100, end: int = 300,
    serial: int = 0, **how: Any,
) -> bytes:  # fmt: skip
    """Sign a certificate; it is an authority's if `is_ca`, and else a host's with these names."""
    now = datetime.datetime.now(datetime.UTC)
    builder = x509.CertificateBuilder(
        x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, issuer)]),
        x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, subject)]),
        key.public_key(), serial or x509.random_serial_number(), now + start * _DAY, now + end * _DAY,
    ).add_extension(x509.BasicConstraints(is_ca, None), critical=True)  # fmt: skip
    if names:
        builder = builder.add_extension(x509.SubjectAlternativeName([*map(x509.DNSName, names)]), critical=False)
    for extension in extensions:
        is_critical = isinstance(extension, x509.KeyUsage | x509.ExtendedKeyUsage)
        builder = builder.add_extension(extension, critical=is_critical)
    made = builder.sign(signer, algorithm or hashes.SHA256(), **how)
    return made.public_bytes(serialization.Encoding.PEM)


def write_key(key: rsa.RSAPrivateKey) -> bytes:
    """Write a key as PEM."""
    form = serialization.PrivateFormat.PKCS8
    return key.private_bytes(serialization.Encoding.PEM, form, serialization.NoEncryption())


def sign_anew(pem: bytes, signer: rsa.RSAPrivateKey) -> bytes:
    """Sign a certificate with RSA and SHA-1 in place of SHA-256, which cryptography signs with no more."""
    given = x509.load_pem_x509_certificate(pem)
    der = given.public_bytes(serialization.Encoding.DER)
    changed = x509.load_der_x509_certificate(der.replace(_RSA_WITH_SHA256, _RSA_WITH_SHA1))
    digest = _SHA1_INFO + hashlib.sha1(changed.tbs_certificate_bytes, usedforsecurity=False).digest()
    size = len(given.signature)
    padded = b"\x00\x01" + b"\xff" * (size - len(digest) - 3) + b"\x00" + digest
    numbers = signer.private_numbers()
    signature = pow(int.from_bytes(padded, "big"), numbers.d, numbers.public_numbers.n).to_bytes(size, "big")
    made = changed.public_bytes(serialization.Encoding.DER).replace(given.signature, signature)
    return x509.load_der_x509_certificate(made).public_bytes(serialization.Encoding.PEM)


ROOT = sign("Root", "Root", ROOT_KEY, ROOT_KEY, is_ca=True)
OLD_ROOT = sign_anew(ROOT, ROOT_KEY)
MIDDLE = sign("Middle", "Root", MIDDLE_KEY, ROOT_KEY, is_ca=True)
LEAF = sign(HOST, "Root", LEAF_KEY, ROOT_KEY, names=(HOST,))
BELOW = sign(HOST, "Middle", LEAF_KEY, MIDDLE_KEY, names=(HOST,))
# Some tools write into a root the issuer and the serial number of its issuer, which is itself.
_NAME = x509.DirectoryName(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Root")]))
EASY_ROOT = sign(
    "Root", "Root", ROOT_KEY, ROOT_KEY, x509.AuthorityKeyIdentifier(None, [_NAME], 7), is_ca=True, serial=7
)
SELF = sign("me", "me", LEAF_KEY, LEAF_KEY)
UNRELATED = sign("Other", "Other", KEYS[1], KEYS[1], is_ca=True)


def serve(
    router: Start, ip: str, certificate: bytes, host: str = HOST, client: bytes = b"", key: bytes = b""
) -> tuple[Router, list[str]]:
    """Serve a host with this certificate and, if `client` is not empty, with client certificates: give its problems."""
    here = router()
    fields = {"ssl_crt": certificate, "ssl_key": key or write_key(LEAF_KEY)} | ({"ca_crt": client} if client else {})
    options = tls(client="ca.crt" if client else None)
    wanted = pod("a", "web", ip, [entry("/")], DECLARED)
    told = here.serve(namespace("a", {host: options}), secret("a", **fields), wanted).table.problems
    return here, [str(problem).removeprefix(f"Namespace a: host {host} ") for problem in told]


def trust(folder: Path, root: bytes = ROOT, client: bytes = b"") -> ssl.SSLContext:
    """Make a client's TLS context that trusts a root; the client has a certificate with LEAF_KEY, if one is given."""
    context = ssl.create_default_context(cadata=root.decode())
    context.hostname_checks_common_name = False  # as browsers, curl and Go do
    context.verify_flags &= ~ssl.VERIFY_X509_STRICT  # the default from Python 3.13 on; it demands key identifiers
    if client:
        file = folder / "client.pem"
        file.write_bytes(client + write_key(LEAF_KEY))
        context.load_cert_chain(file)
    return context


# Certificates of servers


@pytest.mark.parametrize("root", [ROOT, OLD_ROOT, b""], ids=["root", "root with SHA-1", "no root"])
def test_trust_anchors_are_not_judged(router: Start, ips: list[str], tmp_path: Path, root: bytes) -> None:
    """A root behind a chain may be signed with SHA-1: its signature proves nothing, and OpenSSL does not look at it."""
    here, told = serve(router, ips[0], BELOW + MIDDLE + root)
    assert told == []
    assert here.ask_tls(HOST, "/", context=trust(tmp_path, root or ROOT)).status == 200


@pytest.mark.parametrize("algorithm", [hashes.SHA256(), hashes.SHA512()])
def test_signatures_by_pss_are_served(
    router: Start, ips: list[str], tmp_path: Path, algorithm: hashes.SHA256 | hashes.SHA512
) -> None:
    """A certificate may be signed with RSA-PSS."""
    how = padding.PSS(padding.MGF1(algorithm), padding.PSS.DIGEST_LENGTH)
    leaf = sign(HOST, "Root", LEAF_KEY, ROOT_KEY, names=(HOST,), algorithm=algorithm, rsa_padding=how)
    here, told = serve(router, ips[0], leaf)
    assert told == []
    assert here.ask_tls(HOST, "/", context=trust(tmp_path)).status == 200


def test_weak_signatures_are_refused(router: Start, ips: list[str]) -> None:
    """A certificate that another one signed with SHA-1, or that only looks like its own issuer, is not served."""
    weak = sign_anew(sign(HOST, "Root", LEAF_KEY, ROOT_KEY, names=(HOST,)), ROOT_KEY)
    other, own = x509.AuthorityKeyIdentifier(b"another", None, None), x509.SubjectKeyIdentifier(b"own")
    pretended = sign_anew(sign(HOST, HOST, LEAF_KEY, ROOT_KEY, other, own, names=(HOST,)), ROOT_KEY)
    for certificate in (weak, pretended):
        here, told = serve(router, ips[0], certificate)
        assert "is left out: it refers to the field ssl.crt, which is not signed with RSA" in told[0]
        here.stop()


@pytest.mark.parametrize(
    ("certificate", "why"),
    [
        (sign(HOST, "Root", LEAF_KEY, ROOT_KEY, names=("other.dev", "*.secure.dev")),
         "ssl.certificate does not name the host: it names *.secure.dev, other.dev; "
         "expected: a certificate with secure.dev in its subjectAltName"),
        (sign(HOST, "Root", LEAF_KEY, ROOT_KEY),
         "ssl.certificate does not name the host: it names none; "
         "expected: a certificate with secure.dev in its subjectAltName"),
        (sign(HOST, "Root", LEAF_KEY, ROOT_KEY, CLIENT, names=(HOST,)),
         "ssl.certificate is not for servers: its extended key usage lacks serverAuth; "
         "expected: the certificate of a server, and behind it those that signed it"),
        (sign(HOST, "Root", LEAF_KEY, ROOT_KEY, usage(key_cert_sign=True), names=(HOST,)),
         "ssl.certificate is not for servers: its key usage allows neither signatures nor key exchange; "
         "expected: the certificate of a server, and behind it those that signed it"),
        (BELOW + UNRELATED,
         "ssl.certificate is out of order: certificate 2 did not sign the one before it; "
         "expected: the certificate of a server, and behind it those that signed it"),
    ],
    ids=["other names", "no names", "for clients", "key usage", "unrelated"],
)  # fmt: skip
def test_certificates_that_clients_refuse(
    router: Start, ips: list[str], tmp_path: Path, certificate: bytes, why: str
) -> None:
    """If clients refuse a host's certificate, this is a problem; the host is served."""
    here, told = serve(router, ips[0], certificate)
    assert told == [why]
    with pytest.raises(ssl.SSLCertVerificationError):
        here.ask_tls(HOST, "/", context=trust(tmp_path))
    assert here.ask_tls(HOST, "/", context=here.trusting_all()).status == 200


def test_key_of_another_certificate(router: Start, ips: list[str]) -> None:
    """If the certificates are in the wrong order, the message says so."""
    _, told = serve(router, ips[0], MIDDLE + BELOW)
    assert "it has a key that belongs to a certificate that is not the first" in told[0]


@pytest.mark.parametrize(
    ("host", "names", "good"),
    [
        ("a.secure.dev", ("*.secure.dev",), True),
        ("*.secure.dev", ("*.secure.dev",), True),
        ("secure.dev", ("SECURE.dev", "a.dev"), True),
        ("*.secure.dev", ("secure.dev", "a.secure.dev"), False),
        ("a.b.secure.dev", ("*.secure.dev",), False),
        ("*.b.secure.dev", ("*.secure.dev",), False),
        ("secure.dev", ("*.secure.dev", "*.dev"), True),
    ],
)
def test_names_of_certificates(router: Start, ips: list[str], host: str, names: tuple[str, ...], good: bool) -> None:
    """A wildcard in a certificate stands for one label, and a host that is a wildcard needs that wildcard."""
    _, told = serve(router, ips[0], sign("x", "Root", LEAF_KEY, ROOT_KEY, names=names), host)
    assert ["does not name the host" in line for line in told] == [True] * (not good)


@pytest.mark.parametrize(("end", "told"), [(13, True), (15, False)])
def test_certificate_that_ends_soon(router: Start, ips: list[str], end: int, told: bool) -> None:
    """A certificate is a problem for its last 14 days."""
    _, lines = serve(router, ips[0], sign(HOST, "Root", LEAF_KEY, ROOT_KEY, names=(HOST,), end=end))
    assert ["ssl.certificate ends at 20" in line for line in lines] == [True] * told


def test_the_problem_comes_in_time(router: Start, ips: list[str]) -> None:
    """The problem is reported when the time comes, although nothing in the cluster changes."""
    here, told = serve(router, ips[0], sign(HOST, "Root", LEAF_KEY, ROOT_KEY, names=(HOST,), end=16))
    assert told == []
    assert here.last
    assert 1.9 * 86400 < here.last.table.good_until - datetime.datetime.now().timestamp() < 2 * 86400


def test_short_lives(router: Start, ips: list[str]) -> None:
    """A certificate that lives for less than six weeks is a problem in the last third of its life."""
    for start, end, late in ((-1, 5, False), (-5, 1, True), (-18, 12, False), (-21, 9, True)):
        here, told = serve(router, ips[0], sign(HOST, "Root", LEAF_KEY, ROOT_KEY, names=(HOST,), start=start, end=end))
        assert ["ssl.certificate ends at" in line for line in told] == [True] * late
        here.stop()


def test_certificate_behind_the_first_has_expired(router: Start, ips: list[str], tmp_path: Path) -> None:
    """A chain is valid as long as each of its certificates, the root aside."""
    middle = sign("Middle", "Root", MIDDLE_KEY, ROOT_KEY, is_ca=True, end=-1)
    here, told = serve(router, ips[0], BELOW + middle)
    assert told == [
        "ssl.certificate has expired; it is still served; expected: a certificate that is valid today",
    ]
    with pytest.raises(ssl.SSLCertVerificationError):
        here.ask_tls(HOST, "/", context=trust(tmp_path))


def test_address_with_tls(router: Start, ips: list[str]) -> None:
    """A client that requests an address names no host in TLS: it gets the default certificate, which is a problem."""
    host = "127.0.0.1"
    here, told = serve(router, ips[0], LEAF, host)
    assert told == [
        "ssl.certificate is never shown: a client that requests an address names no host in TLS, and gets the default "
        "certificate; expected: no ssl for an address"
    ]
    context = here.trusting_all()
    with socket.create_connection((host, here.ssl_port)) as raw, context.wrap_socket(raw) as connection:
        shown = ssl.DER_cert_to_PEM_cert(connection.getpeercert(binary_form=True) or b"")
    assert shown.encode() != LEAF


# Certificates that verify clients


@pytest.mark.parametrize(
    ("trusted", "client"),
    [
        (ROOT, LEAF), (OLD_ROOT, LEAF), (MIDDLE + OLD_ROOT, BELOW), (UNRELATED + ROOT, LEAF),
        (SELF, SELF), (EASY_ROOT, LEAF),
    ],
    ids=["root", "root with SHA-1", "middle and root", "two roots", "a client's own", "issuer and serial"],
)  # fmt: skip
def test_clients_that_are_verified(
    router: Start, ips: list[str], tmp_path: Path, trusted: bytes, client: bytes
) -> None:
    """What OpenSSL verifies clients by is no problem."""
    here, told = serve(router, ips[0], LEAF, client=trusted)
    assert told == []
    assert here.ask_tls(HOST, "/", context=trust(tmp_path, client=client)).status == 200


@pytest.mark.parametrize(
    ("trusted", "client", "why"),
    [
        (MIDDLE, BELOW, "verifies no client: none of its certificates is a root, which is its own issuer"),
        (LEAF, LEAF, "verifies no client: none of its certificates is a root, which is its own issuer"),
        (sign("Root", "Root", ROOT_KEY, ROOT_KEY, usage(digital_signature=True), is_ca=True), LEAF,
         "verifies no client: the key usage of its root does not allow to sign certificates"),
    ],
    ids=["no root", "the client's own", "key usage"],
)  # fmt: skip
def test_clients_that_are_never_verified(
    router: Start, ips: list[str], tmp_path: Path, trusted: bytes, client: bytes, why: str
) -> None:
    """If no client can be verified, this is a problem; the host stays closed."""
    here, told = serve(router, ips[0], LEAF, client=trusted)
    expected = "the root certificate of those who issue the clients' certificates"
    assert told == [f"ssl.clientCertificate {why}; expected: {expected}"]
    assert here.ask_tls(HOST, "/", context=trust(tmp_path, client=client)).status == 400


# API keys, paths, hosts


@pytest.mark.parametrize("key", ["secret\n", "secret\r\n", " secret", "secret "])
def test_key_with_a_line_break(router: Start, ips: list[str], key: str) -> None:
    """A key that `echo` made ends in a line break, which is a part of it: this is a problem."""
    here = router()
    wanted = pod("a", "web", ips[0], [entry("/")], DECLARED)
    told = here.serve(namespace("a", {HOST: {}}), secret("a", api_key=key), wanted).table.problems
    assert [str(problem) for problem in told] == [
        "Secret a/routing: field api-key begins or ends with a blank or a line break, which is a part of the key; "
        "expected: a key without it, as printf %s makes it"
    ]
    for sent, status in ((key.strip(), 403), (key, 200)):
        header = base64.b64encode(sent.encode()).decode()
        assert here.ask(HOST, "/", X_ROUTING_API_KEY=header).status == status


@pytest.mark.parametrize(
    ("path", "shown"),
    [("/api/*", "'*'"), ("/*", "'*'"), ("/a*b/c", "'a*b'"), ("/users/:id", "':id'"), ("/u/%7Bid%7D/x", "'{id}'"),
     ("/u/%3Cid%3E", "'<id>'"), ("=/a/*", "'*'")],
)  # fmt: skip
def test_paths_with_placeholders(router: Start, ips: list[str], path: str, shown: str) -> None:
    """What other routers take for a placeholder stands for itself here, and is a problem."""
    here = router()
    wanted = pod("a", "web", ips[0], [entry(path)], DECLARED)
    told = here.serve(namespace("a", {HOST: {}}), wanted).table.problems
    assert [f"has {shown}, which stands only for itself; expected: a path: it" in str(problem) for problem in told] == [
        True
    ]
    bare = path.removeprefix("=")
    assert here.ask(HOST, bare).status == 200
    assert here.ask(HOST, bare.replace("*", "xyz").replace(":id", "7").replace("%7Bid%7D", "7")).status in (404, 200)
    assert here.ask(HOST, "/users/7" if "users" in path else "/api/x").status == 404


@pytest.mark.parametrize("path", ["/wiki/Special:Search", "/a/b:c", "/v1/items:batch", "/~user", "/(a)", "/a,b;c=d"])
def test_paths_without_placeholders(router: Start, ips: list[str], path: str) -> None:
    """Other paths with such characters are no problem."""
    here = router()
    told = here.serve(namespace("a", {HOST: {}}), pod("a", "web", ips[0], [entry(path)], DECLARED)).table.problems
    assert told == ()
    assert here.ask(HOST, path).status == 200


@pytest.mark.parametrize(("target", "told"), [("/$1", True), ("/x/$2/y", True), ("/a$b", False), ("/cash$", False)])
def test_targets_with_groups(router: Start, ips: list[str], target: str, told: bool) -> None:
    """What other routers take for a group is sent as it is, and is a problem."""
    here = router()
    wanted = pod("a", "web", ips[0], [entry("/a", targetPath=target)], DECLARED)
    problems = here.serve(namespace("a", {HOST: {}}), wanted).table.problems
    assert ["has a '$', which stands for nothing and is sent as %24" in str(problem) for problem in problems] == [
        True
    ] * told


@pytest.mark.parametrize(
    "path",
    ["/%5Ca", "/a%5Cb", "/a/..;b", "/a..;/b", "/.;", "/a%5c..", "/a%5c..%5cb", "/..%3Fa", "/a%3F", "/%23", "/a/.%23",
     "/a/...", "/%2e%2e%2e", "/;a", "/a%2f%5cb", "/%25%2e", "/a;/b"],
)  # fmt: skip
def test_paths_are_served_or_refused(router: Start, ips: list[str], path: str) -> None:
    """A path that every request gets 400 for is refused; each path that is accepted is served."""
    here = router()
    told = here.serve(namespace("a", {HOST: {}}), pod("a", "web", ips[0], [entry(path)], DECLARED)).table.problems
    status = here.ask(HOST, path).status
    assert status == (400 if told else 200)


@pytest.mark.parametrize(("host", "told"), [("10.1.2.300", True), ("a.1", True), ("10.1.2.3", False), ("1.dev", False)])
def test_hosts_that_look_like_addresses(router: Start, ips: list[str], host: str, told: bool) -> None:
    """A name that ends in a number is no name to most clients."""
    here = router()
    problems = here.serve(namespace("a", {host: {}}), pod("a", "web", ips[0], [entry("/")], DECLARED)).table.problems
    assert ["ends in a number and is no IP address" in str(problem) for problem in problems] == [True] * told
    assert here.ask(host, "/").status == 200


def test_namespace_without_hosts(router: Start, ips: list[str]) -> None:
    """If Pods have paths and their Namespace names no host, this is a problem."""
    wanted = pod("a", "web", ips[0], [entry("/")], DECLARED)
    bare = namespace("a", {})
    nothing = namespace("a", {})
    del nothing["metadata"]["annotations"]
    for one in (bare, nothing):
        here = router()
        (problem,) = here.serve(one, wanted).table.problems
        assert str(problem) == (
            "Namespace a: github.com/30x.dispatcher.hosts names no host, so the paths of its Pods are not served; "
            "expected: an object of hosts"
        )
        assert here.serve(one).table.problems == ()
        here.stop()
