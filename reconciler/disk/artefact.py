"""The artefact for CI: a rendered tree in a folder, replaced as a whole, and read back for comparison."""

import ctypes
import errno
import glob
import os
import shutil
import tempfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from reconciler.disk.trees import SERVING, keep_outside, read_files, restore_files, try_lock, write_files
from reconciler.loop.ports import SinkError
from reconciler.objects.snapshot import NOTHING, Snapshot
from reconciler.rendering.routes_file import ROUTES_FILE
from reconciler.values.files import Files, name_release

_AT_FDCWD = -100
_RENAME_EXCHANGE = 2  # https://man7.org/linux/man-pages/man2/rename.2.html


class ArtefactError(SinkError):
    """A folder that cannot be written or read as an artefact; the message names it."""


class NotAnArtefactError(ArtefactError):
    """A folder that holds something else: a person's mistake, not a failure."""


# Tests a tree on disk. RefusedError says why the tree is refused.
Test = Callable[[Path], None]


class Artefact:
    """A sink that keeps one tree in a folder; `test` is called with each tree before it replaces the old one."""

    def __init__(self, folder: Path, test: Test | None) -> None:
        self._folder = Path(os.path.realpath(folder))
        self._test = test
        self._salt = os.urandom(16)

    def apply(self, files: Files, _: Snapshot = NOTHING) -> str:
        """Write the tree beside the folder, test it and move it into place. A failure leaves the old tree unchanged."""
        try:
            self._check_replaceable()
            self._folder.parent.mkdir(parents=True, exist_ok=True)
            with _staging(self._folder) as staged, _restoring(files):
                write_files(files, staged)
                if self._test:
                    self._test(staged)
                _exchange(staged, self._folder)
        except OSError as error:
            why = (
                "a mount point cannot be replaced, a folder below it can"
                if error.errno == errno.EBUSY
                else error.strerror
            )
            raise ArtefactError(f"{self._folder}: cannot be written: {why}") from None
        return name_release(files, self._salt)

    def check(self, files: Files) -> None:
        """Test a tree without keeping it. RefusedError if the test refuses it."""
        Nowhere(self._test).apply(files)

    def _check_replaceable(self) -> None:
        """Refuse to replace a folder that is neither empty nor an artefact: its files would be lost."""
        found = {path.name for path in self._folder.iterdir()} if self._folder.is_dir() else set()
        if found and (ROUTES_FILE not in found or found & SERVING):
            raise NotAnArtefactError(
                f"{self._folder}: is neither empty nor an artefact; an artefact holds {ROUTES_FILE}"
            )


class Nowhere:
    """A sink that keeps nothing. `test` is called with each tree, which is on disk only during the test."""

    def __init__(self, test: Test | None = None) -> None:
        self._test = test
        self._salt = os.urandom(16)

    def apply(self, files: Files, _: Snapshot = NOTHING) -> str:
        """Test the tree. ArtefactError if it cannot be written for the test."""
        if self._test:
            try:
                with tempfile.TemporaryDirectory(prefix="dispatcher-") as folder:
                    write_files({path: file for path, file in files.items() if not path.startswith("/")}, Path(folder))
                    self._test(Path(folder))
            except OSError as error:
                raise ArtefactError(f"the tree cannot be written to be tested: {error.strerror}") from None
        return name_release(files, self._salt)

    def check(self, files: Files) -> None:
        """Test a tree. RefusedError if the test refuses it."""
        self.apply(files)


def read_artefact(folder: Path, outside: Iterable[str]) -> Files:
    """Read an artefact back, and its files `outside` of the folder. ArtefactError if the folder is not an artefact."""
    try:
        if not (folder / ROUTES_FILE).is_file():
            raise NotAnArtefactError(f"{folder}: is not an artefact; an artefact holds {ROUTES_FILE}")
        return read_files(folder, outside)
    except OSError as error:
        raise ArtefactError(f"{folder}: cannot be read: {error.filename}: {error.strerror}") from None


@contextmanager
def _staging(folder: Path) -> Iterator[Path]:
    """Give a new folder beside `folder`, and remove it afterwards. Remove what killed runs left there too."""
    for left in folder.parent.glob(f".{glob.escape(folder.name)}.*.staged"):
        with suppress(OSError), _locked(left) as mine:  # another run may be removing it too
            if mine:
                shutil.rmtree(left, ignore_errors=True)
    staged = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", suffix=".staged", dir=folder.parent))
    try:
        with _locked(staged):
            yield staged
    finally:
        shutil.rmtree(staged, ignore_errors=True)


@contextmanager
def _restoring(files: Files) -> Iterator[None]:
    """Restore what the Files replaced outside of their tree, if the block fails or a signal ends it."""
    with ExitStack() as undoing:
        undoing.callback(restore_files, keep_outside(files))
        yield
        undoing.pop_all()


@contextmanager
def _locked(folder: Path) -> Iterator[bool]:
    """Hold a folder's lock during the block. Give False if another process holds it."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        yield try_lock(handle)
    finally:
        os.close(handle)


def _exchange(new: Path, folder: Path) -> None:
    """Exchange `new` and `folder` in one step, or in several if the file system cannot do it in one."""
    new.chmod(0o755)
    if not folder.exists() or not any(folder.iterdir()):
        os.rename(new, folder)
        return
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.renameat2(_AT_FDCWD, os.fsencode(new), _AT_FDCWD, os.fsencode(folder), _RENAME_EXCHANGE) == 0:
        return
    if ctypes.get_errno() not in (errno.EINVAL, errno.ENOSYS):
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    old = new.with_suffix(".old")
    os.rename(folder, old)
    os.rename(new, folder)
    os.rename(old, new)
