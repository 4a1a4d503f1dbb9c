"""Whatever a Secret holds, reading it as PEM soon gives certificates, a key or a CertificateError.

An input is a chain and a key, separated by a line `---`.
"""

import base64
import random
import re
import ssl
from pathlib import Path

from reconciler.values.certificates import CertificateError, Chain, parse_chain, parse_key

SEPARATOR = b"\n---\n"
_DEFAULT = Path(__file__).parents[2] / "fixtures" / "walkthrough" / "default.crt"
_GOOD = parse_chain(_DEFAULT.read_bytes())
_BLOCK = re.compile(rb"(-----BEGIN [A-Z0-9 ]+-----\s)([A-Za-z0-9+/=\s]*)(-----END)")


def check(data: bytes) -> None:
    """Read an input; an accepted chain must read back as the same chain, and OpenSSL must load it."""
    chain, _, key = data.partition(SEPARATOR)
    read = _GOOD
    try:
        read = parse_chain(chain)
        assert parse_chain(read.pem).pem == read.pem
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_verify_locations(cadata=read.pem.decode())
    except CertificateError as error:
        check_message(error)
    for one in (read, _GOOD):
        check_key(key, one)


def check_key(key: bytes, chain: Chain) -> None:
    """Read a key with a chain; an accepted key must read back as the same key."""
    try:
        written = parse_key(key, chain)
        assert parse_key(written, chain) == written
    except CertificateError as error:
        check_message(error)


def check_message(error: CertificateError) -> None:
    """Check that a message is one short line."""
    text = str(error)
    assert len(text) < 200, text
    assert text.isprintable(), text


def mutate(data: bytes, longest: int, seed: int) -> bytes:
    """Change an input's bytes, or the decoded content of one of its PEM blocks."""
    import atheris

    pick = random.Random(seed)
    blocks = list(_BLOCK.finditer(data))
    if not blocks or pick.random() < 0.2:
        return bytes(atheris.Mutate(data, longest))
    block = pick.choice(blocks)
    text = re.sub(rb"[^A-Za-z0-9+/]", b"", block[2])
    der = base64.b64decode(text[: len(text) // 4 * 4])
    written = base64.encodebytes(atheris.Mutate(der, 8192))
    return (data[: block.start()] + block[1] + written + block[3] + data[block.end() :])[:longest]
