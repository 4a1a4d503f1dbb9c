"""Canaries: secret values made for this run, and a search for them and for all that is made from them alone."""

import base64
import hashlib
import itertools
import secrets
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_private_key

_SHORTEST = 8  # bytes of what is looked for
_PREFIX = 16  # hexadecimal digits of a digest: digests in names are often cut
_DIGESTS: tuple[Callable[[bytes], bytes], ...] = (
    *(lambda data, name=name: hashlib.new(name, data).digest() for name in ("md5", "sha1", "sha256", "sha512")),
    *(lambda data, size=size: hashlib.blake2b(data, digest_size=size).digest() for size in (16, 20, 32, 64)),
    lambda data: hashlib.blake2s(data).digest(),
)


class Canaries:
    """Makes secrets and finds them again: plain, encoded, in part, or as a digest that allows guessing offline."""

    def __init__(self) -> None:
        self._needles: dict[bytes, str] = {}

    def mint(self, what: str) -> str:
        """Make a secret text."""
        value = f"canary-{secrets.token_hex(12)}"
        self.watch(what, value.encode())
        return value

    def watch(self, what: str, value: bytes) -> bytes:
        """Look for this value from now on."""
        self._needles |= {needle: what for needle in _encode(value) if len(needle) >= _SHORTEST}
        return value

    def watch_key(self, what: str, pem: bytes) -> bytes:
        """Look for a private key as the tests' authority makes them: for the whole PEM, its lines and its number."""
        key = load_pem_private_key(pem, None)
        assert isinstance(key, ec.EllipticCurvePrivateKey)
        self.watch(what, pem)
        self.watch(what, key.private_numbers().private_value.to_bytes(32))
        public = key.public_key().public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)
        lines = pem.strip().splitlines()[1:-1]
        self._needles |= {line: what for line in lines if base64.b64decode(line) not in public}
        return pem

    def find(self, data: bytes) -> set[str]:
        """Name the secrets that these bytes contain."""
        begins = {data[at : at + _SHORTEST] for at in range(len(data))}  # thousands of searches would take far longer
        return {what for needle, what in self._needles.items() if needle[:_SHORTEST] in begins and needle in data}


def _encode(value: bytes) -> Iterator[bytes]:
    """Write a value in all forms in which it may appear, at any place in a longer text."""
    encoded = base64.b64encode(value)
    yield from (value, value.hex().encode(), value.hex().upper().encode())
    for shift in range(3):
        inside = base64.b64encode(b"\0" * shift + value)[(0, 2, 3)[shift] :].rstrip(b"=")
        yield from _both_alphabets(inside[: len(inside) - bool((shift + len(value)) % 3)])
    for text, digest in itertools.product({value, value + b"\n", encoded, encoded.rstrip(b"=")}, _DIGESTS):
        made = digest(text)
        yield from (made[: _PREFIX // 2], made.hex()[:_PREFIX].encode(), made.hex()[:_PREFIX].upper().encode())
        yield from _both_alphabets(base64.b64encode(made)[:_PREFIX])


def _both_alphabets(encoded: bytes) -> tuple[bytes, bytes]:
    return encoded, encoded.translate(bytes.maketrans(b"+/", b"-_"))


def find_leaks(canaries: Canaries, folder: Path, kept: tuple[Path, ...] = ()) -> Iterator[str]:
    """Name the faults below a folder: secrets in names, secrets in files, and unexpected modes.

    Only files of mode 0600 below the folders `kept` may hold secrets.
    """
    for path in sorted(folder.rglob("*")):
        for what in canaries.find(bytes(path)):
            yield f"{what} in the name {path}"
        if path.is_symlink() or not (path.is_file() or path.is_dir()):
            continue
        mode = path.stat().st_mode & 0o7777
        if mode not in ((0o700, 0o755) if path.is_dir() else (0o600, 0o644)):
            yield f"{path} has the mode {mode:o}"
        mine = mode == 0o600 and any(each in path.parents for each in kept)
        if path.is_file() and not mine:
            yield from (f"{what} in {path}" for what in canaries.find(path.read_bytes()))


def find_in_processes(canaries: Canaries, pids: list[int]) -> Iterator[str]:
    """Name the secrets in the titles and environments of processes."""
    for pid, name in itertools.product(pids, ("cmdline", "environ")):
        try:
            found = canaries.find(Path(f"/proc/{pid}/{name}").read_bytes())
        except (FileNotFoundError, PermissionError, ProcessLookupError):
            continue  # the process has ended, or may not be looked into
        yield from map(partial("{1} of {0} holds {2}".format, pid, name), found)
