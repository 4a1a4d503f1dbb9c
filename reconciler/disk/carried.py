"""Carried files: what workers of a former release still read, through the link to the live one.

nginx reads a file of passwords anew for each request, and finds it by the path of its configuration, in which the live
release's link is. So a release also holds the files of the releases before it for as long as their workers may run.
"""

import os
import time
from contextlib import suppress
from pathlib import Path

import msgspec

from reconciler.disk.trees import read_file, replace_file
from reconciler.values.files import PASSWORDS, File

CARRIED = "release/carried"


def read_carried(release: Path) -> dict[str, float]:
    """Read which files of a release are not its own: until when each of them is kept, in seconds since the epoch."""
    with suppress(OSError, msgspec.MsgspecError):
        if kept := read_file(release / CARRIED):
            return msgspec.json.decode(kept.content, type=dict[str, float])
    return {}


def carry(former: Path, release: Path, seconds: float) -> None:
    """Give a release the files of a former one that it does not have itself, for `seconds`.

    What the former one has carried itself is kept for as long as was said then.
    """
    now = time.time()
    here, there = read_carried(release), read_carried(former)
    own = _list_passwords(release) - here.keys()
    kept = here | there | dict.fromkeys(_list_passwords(former) - there.keys(), now + seconds)
    kept = {path: until for path, until in sorted(kept.items()) if until > now and path not in own}
    # A file that is there and not in the list would look like the release's own.
    for path in here.keys() - kept.keys() - own:
        (release / path).unlink(missing_ok=True)
    if kept or here:
        replace_file(release / CARRIED, File(msgspec.json.encode(kept)))
    for path in kept:
        (release / path).parent.mkdir(exist_ok=True)
        with suppress(FileExistsError, FileNotFoundError):
            os.link(former / path, release / path)


def _list_passwords(release: Path) -> set[str]:
    folder = release / PASSWORDS
    return {f"{PASSWORDS}/{path.name}" for path in folder.iterdir()} if folder.is_dir() else set()
