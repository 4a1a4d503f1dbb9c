"""Files: a rendered tree as a value."""

from collections.abc import Mapping
from hashlib import blake2b

from reconciler.values.value import Value

SECRET = 0o600
# The folder of files that nginx's workers read whenever a request needs them. nginx's master alone reads all others.
PASSWORDS = "passwords"


class File(Value, frozen=True):
    """The content of a file of the tree, and its mode: SECRET if only nginx's master may read it."""

    content: bytes
    mode: int = 0o644

    def __repr__(self) -> str:
        return f"File({len(self.content)} bytes, {self.mode:o})"


# The files of a tree by path. A path is relative to the tree, or absolute below an explicit SSL_CERT_DIR.
Files = Mapping[str, File]


def name_release(files: Files, salt: bytes) -> str:
    """Name a tree after its files, as 32 hexadecimal digits.

    Names appear in logs. So a secret file changes the name only through a digest keyed with `salt`, 16 to 64 secret
    bytes: without the salt, nobody can try keys against a name. A tree without secrets has the same name everywhere.
    """
    whole = blake2b(digest_size=16)
    for path, file in sorted(files.items()):
        part = blake2b(file.content, key=salt if file.mode == SECRET and file.content else b"", digest_size=32)
        whole.update(f"{len(path)} {path} {file.mode:o} {part.hexdigest()}\n".encode())
    return whole.hexdigest()
