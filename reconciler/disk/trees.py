"""Trees on disk: Files are written and read back. Nobody else can read a secret at any moment.

Every function raises OSError if a disk operation fails.
"""

import errno
import fcntl
import os
import tempfile
from collections.abc import Iterable, Mapping
from contextlib import ExitStack, suppress
from pathlib import Path

from reconciler.values.files import File, Files

# Subfolders of a folder from which nginx serves releases; an artefact never has them.
SERVING = frozenset(("releases", "run"))


def write_files(files: Files, folder: Path) -> None:
    """Write Files below `folder`, or to their absolute paths. Each file appears complete or not at all."""
    for path, file in files.items():
        target = folder / path
        target.parent.mkdir(parents=True, exist_ok=True)
        replace_file(target, file)


def replace_file(target: Path, file: File) -> None:
    """Write one file beside its target, then move it to the target."""
    handle, name = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}.")
    with ExitStack() as undo:
        undo.callback(os.unlink, name)
        with os.fdopen(handle, "wb") as stream:
            stream.write(file.content)
            os.fchmod(handle, file.mode)
        os.replace(name, target)
        undo.pop_all()


def read_files(folder: Path, outside: Iterable[str] = ()) -> Files:
    """Read a tree back, and the files `outside` it that exist. A link is an error, because it could lead anywhere."""
    inside = {str(path.relative_to(folder)): path for path in sorted(folder.rglob("*")) if not path.is_dir()}
    return {name: File(_read_plain(path)) for name, path in inside.items()} | {
        path: File(Path(path).read_bytes()) for path in outside if Path(path).is_file()
    }


def _read_plain(path: Path) -> bytes:
    if path.is_symlink() or not path.is_file():
        raise OSError(errno.ELOOP, "is not a plain file", str(path))
    with os.fdopen(os.open(path, os.O_RDONLY | os.O_NOFOLLOW), "rb") as stream:
        return stream.read()


def read_file(path: Path) -> File | None:
    """Read one file with its mode; None if it does not exist."""
    try:
        return File(path.read_bytes(), path.stat().st_mode & 0o777)
    except FileNotFoundError:
        return None


def keep_outside(files: Files) -> dict[str, File | None]:
    """Read the files that Files with absolute paths would replace, so that `restore_files` can put them back."""
    return {path: read_file(Path(path)) for path in files if path.startswith("/")}


def restore_files(kept: Mapping[str, File | None]) -> None:
    """Put files back as `read_file` found them; a file that did not exist is removed."""
    for path, file in kept.items():
        if file:
            replace_file(Path(path), file)
        else:
            remove_file(Path(path))


def remove_file(path: Path) -> None:
    """Remove a file, if it exists, and then its folder if that is empty."""
    path.unlink(missing_ok=True)
    with suppress(OSError):
        path.parent.rmdir()


def try_lock(handle: int) -> bool:
    """Try to lock an open file or folder: False if another process holds the lock. Closing the handle releases it."""
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
