"""The files of a release that change while it serves: those about Pods that come and go without a reload.

All other files of a release are as they were written. So the digests of these are noted apart, and before each change:
a process that is killed at any moment leaves files of which each is known.
"""

from collections.abc import Iterator, Mapping
from contextlib import suppress
from hashlib import blake2b
from pathlib import Path

import msgspec

from reconciler.disk.trees import read_file, replace_file
from reconciler.rendering.endpoints import STATE_FILE
from reconciler.rendering.routes_file import ROUTES_FILE
from reconciler.values.files import File, Files

NOTED = "release/endpoints"
_Digests = Mapping[str, list[str]]


def find_moving(files: Files) -> Files:
    """Give the files of a tree that change while it serves; none if each change of Pods needs a reload."""
    return {path: files[path] for path in (STATE_FILE, ROUTES_FILE)} if STATE_FILE in files else {}


def find_lasting(files: Files) -> Files:
    """Give the files of a tree that stay as they are while it serves."""
    moving = find_moving(files)
    return {path: file for path, file in files.items() if path not in moving}


def note(files: Files, before: Mapping[str, str] | None = None) -> File:
    """Note the digests of the files that change, and those of the files that they replace, if there are any."""
    known = before or {}
    digests = {path: [_digest(file)] for path, file in find_moving(files).items()}
    return File(msgspec.json.encode({path: [*own, known.get(path, *own)] for path, own in digests.items()}))


def rewrite(release: Path, files: Files) -> None:
    """Replace those files of a release that change while it serves. OSError if the disk fails."""
    replace_file(release / NOTED, note(files, dict(_find_known(release, files))))
    for path, file in find_moving(files).items():
        replace_file(release / path, file)


def are_whole(release: Path, files: Files) -> bool:
    """Tell whether those of a release's files that change were read as they were written."""
    noted = _read_noted(release)
    return all(_digest(file) in noted.get(path, ()) for path, file in find_moving(files).items())


def _find_known(release: Path, files: Files) -> Iterator[tuple[str, str]]:
    """Give the digests of the files that are there, and whole.

    Those noted last do not tell: the last change may have failed before it replaced a file.
    """
    noted = _read_noted(release)
    for path in find_moving(files):
        found = read_file(release / path)
        if found and _digest(found) in noted.get(path, ()):
            yield path, _digest(found)


def _read_noted(release: Path) -> _Digests:
    with suppress(msgspec.MsgspecError):
        if kept := read_file(release / NOTED):
            return msgspec.json.decode(kept.content, type=dict[str, list[str]])
    return {}


def _digest(file: File) -> str:
    return blake2b(file.content, digest_size=16).hexdigest()
