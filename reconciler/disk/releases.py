"""Releases: a folder of trees that are named by what of them stays while they serve. One of them is live.

Every method raises OSError if a disk operation fails.
"""

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import msgspec

from reconciler.disk.carried import carry, read_carried
from reconciler.disk.endpoint_files import NOTED, are_whole, find_lasting, note, rewrite
from reconciler.disk.trees import read_file, replace_file, try_lock, write_files
from reconciler.objects.snapshot import NOTHING, Snapshot
from reconciler.values.files import PASSWORDS, SECRET, File, Files, name_release
from reconciler.values.value import Value

CURRENT = "current"
_KEPT = 3
# Besides the tree, a release holds the nginx server that answers the release's name, the digest of its files, and the
# Snapshot from which it was made.
_OWN = "release/"
_DIGEST = f"{_OWN}digest"
_SNAPSHOT = f"{_OWN}snapshot"
_OUTSIDE = "run/outside"


class Release(Value, frozen=True):
    """A release that was read back. Its Snapshot is NOTHING if this version of the program cannot read it."""

    name: str
    files: Files
    snapshot: Snapshot


class Releases:
    """`folder` holds `releases/<name>/`, the symbolic link `current` to the live one, and `run/` with lock and salt.

    `reader` is the user of nginx's workers, if they have another one than this process.
    """

    def __init__(self, folder: Path, reader: int | None = None) -> None:
        self._folder = folder
        self._reader = reader
        (folder / "run").mkdir(parents=True, exist_ok=True)
        # nginx lets everyone connect to its unix sockets, and who can connect to the one in here has all traffic.
        (folder / "run").chmod(0o700)
        self._lock = os.open(folder / "run", os.O_RDONLY | os.O_DIRECTORY)
        self.mine = try_lock(self._lock)
        self._salt = self._read_salt()

    def close(self) -> None:
        """Release the folder's lock."""
        if self.mine:
            os.close(self._lock)
        self.mine = False

    def name(self, files: Files) -> str:
        """Name a tree by its content, but for what can change while it serves."""
        return name_release(find_lasting(files), self._salt)

    def path(self, name: str) -> Path:
        """Give the folder of a release."""
        return self._folder / "releases" / name

    def stage(self, name: str, files: Files, snapshot: Snapshot) -> None:
        """Write a release: its folder is complete when it appears. One that is there is changed, as `change` does."""
        release = self.path(name)
        if self._is_whole(release):
            self.change(name, files, snapshot)
            os.utime(release)  # it is the newest again: releases are pruned by age
            return
        shutil.rmtree(release, ignore_errors=True)
        release.parent.mkdir(exist_ok=True)
        staged = Path(tempfile.mkdtemp(prefix=".", dir=release.parent))
        try:
            inside = {path: file for path, file in files.items() if not path.startswith("/")}
            tree = {path: file for path, file in inside.items() if not path.startswith(_OWN)}
            own = {_DIGEST: File(self.name(tree).encode()), _SNAPSHOT: _pack(snapshot), NOTED: note(tree)}
            write_files(inside | own, staged)
            if self._reader is not None:
                for path in (staged / PASSWORDS).glob("*"):
                    os.chown(path, self._reader, -1)
            staged.chmod(0o755)
            os.rename(staged, release)
        finally:
            shutil.rmtree(staged, ignore_errors=True)  # does nothing after the move

    def change(self, name: str, files: Files, snapshot: Snapshot) -> None:
        """Change a release to what another tree of the same name has, and the Snapshot from which that was made.

        Different Snapshots can give the same tree.
        """
        rewrite(self.path(name), files)
        replace_file(self.path(name) / _SNAPSHOT, _pack(snapshot))

    def read(self, name: str, path: str) -> File | None:
        """Read a file of a release; None if it has no such file."""
        return read_file(self.path(name) / path)

    def carry(self, name: str, seconds: float) -> None:
        """Give a release what workers of the live one may still read within `seconds` after it."""
        live = self.live
        if live and live != name:
            carry(self.path(live), self.path(name), seconds)

    def swap(self, name: str | None) -> None:
        """Make a release the live one, in one step; with None no release is live."""
        if name is None:
            (self._folder / CURRENT).unlink(missing_ok=True)
            return
        link = self._folder / f".{CURRENT}"
        link.unlink(missing_ok=True)
        link.symlink_to(f"releases/{name}")
        os.replace(link, self._folder / CURRENT)

    @property
    def live(self) -> str | None:
        """The name of the live release; None if there is none."""
        try:
            return os.path.basename(os.readlink(self._folder / CURRENT))
        except FileNotFoundError:
            return None

    def remove(self, name: str) -> None:
        """Remove a release that failed, so that it is written again the next time."""
        shutil.rmtree(self.path(name), ignore_errors=True)

    def prune(self, name: str | None, others: int = _KEPT - 1) -> None:
        """Keep this release and the youngest `others` as fallbacks. Remove the rest and what is half-written."""
        kept = {name, *[path.name for path in self._by_age() if path.name != name][:others]}
        for path in (self._folder / "releases").iterdir():
            if path.name not in kept:
                shutil.rmtree(path, ignore_errors=True)

    def find_whole(self) -> Iterator[Release]:
        """Read the releases whose files are all as they were written: the live one first, then by age, youngest first.

        After a power failure a release's folder may exist without the content of its files.
        """
        for name in dict.fromkeys([*([self.live] if self.live else []), *(path.name for path in self._by_age())]):
            if self._is_whole(self.path(name)):
                yield Release(name, self._read(self.path(name)), self._read_snapshot(self.path(name)))

    def read_outside(self) -> set[str]:
        """Read which files outside of the folder belong to it, including those that a former process wrote."""
        with suppress(msgspec.MsgspecError):
            if kept := read_file(self._folder / _OUTSIDE):
                return msgspec.json.decode(kept.content, type=set[str])
        return set()

    def write_outside(self, paths: set[str]) -> None:
        """Note which files outside of the folder belong to it, for a later process."""
        if paths != self.read_outside():
            replace_file(self._folder / _OUTSIDE, File(msgspec.json.encode(paths, order="deterministic")))

    def _by_age(self) -> list[Path]:
        releases = (self._folder / "releases").iterdir() if (self._folder / "releases").is_dir() else ()
        whole = [path for path in releases if not path.name.startswith(".")]
        return sorted(whole, key=lambda path: path.stat().st_mtime, reverse=True)

    def _is_whole(self, release: Path) -> bool:
        with suppress(OSError):  # a release that cannot be read is skipped
            digest, files = read_file(release / _DIGEST), self._read(release)
            return digest is not None and self.name(files).encode() == digest.content and are_whole(release, files)
        return False

    def _read(self, release: Path) -> Files:
        carried = read_carried(release)
        # A process that was killed while it replaced a file leaves the new one under a name that begins with a dot.
        paths = (path for path in release.rglob("*") if path.is_file() and not path.name.startswith("."))
        found = {str(path.relative_to(release)): read_file(path) for path in paths}
        return {
            path: file for path, file in found.items() if file and not path.startswith(_OWN) and path not in carried
        }

    def _read_snapshot(self, release: Path) -> Snapshot:
        with suppress(OSError, msgspec.MsgspecError):
            if kept := read_file(release / _SNAPSHOT):
                return msgspec.msgpack.decode(kept.content, type=Snapshot)
        return NOTHING

    def _read_salt(self) -> bytes:
        """Read the salt, a secret key for release names. It is made when the folder is first used."""
        salt = self._folder / "run" / "salt"
        if not salt.is_file() or salt.stat().st_size == 0:
            replace_file(salt, File(os.urandom(16), SECRET))
        return salt.read_bytes()


def _pack(snapshot: Snapshot) -> File:
    return File(msgspec.msgpack.encode(snapshot), SECRET)
