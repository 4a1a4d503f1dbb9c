"""Files on disk: their modes, and that each file is complete at every moment."""

import os
import resource
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import pytest

from reconciler.disk.trees import read_files, replace_file, try_lock, write_files
from reconciler.values.files import SECRET, File

# Writes a file again and again until its output is no longer read, or until it is killed.
WRITER = """
import itertools, pathlib, sys
from reconciler.disk.trees import write_files
from reconciler.values.files import SECRET, File
for turn in itertools.count():
    write_files({"file": File(b"%d" % (turn % 10) * 300_000, SECRET)}, pathlib.Path(sys.argv[1]))
    print(turn, flush=True)
"""

LOCKER = """
import os, sys
from reconciler.disk.trees import try_lock
handle = os.open(sys.argv[1], os.O_RDONLY)
print(try_lock(handle), flush=True)
sys.stdin.read()
"""


@pytest.fixture(params=[0o000, 0o022, 0o077])
def umask(request):
    """Set the process's umask for one test."""
    before = os.umask(request.param)
    yield request.param
    os.umask(before)


@contextmanager
def small_files():
    """Let no file grow over 1,000 bytes while the block runs, as a full disk would."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def mode(path):
    return path.stat().st_mode & 0o7777


def names(folder):
    return sorted(path.name for path in folder.iterdir())


@pytest.mark.usefixtures("umask")
def test_modes(tmp_path):
    """A secret has mode 0600 and any other file 0644, whatever the umask."""
    write_files({"a/key": File(b"", SECRET), "a/crt": File(b"")}, tmp_path)
    assert (mode(tmp_path / "a/key"), mode(tmp_path / "a/crt")) == (0o600, 0o644)


@pytest.mark.parametrize(("before", "after"), [(0o644, 0o600), (0o600, 0o644)])
def test_a_new_mode_replaces_the_old_one(tmp_path, before, after):
    """A file that is written again has the new mode, not that of the file before it."""
    for each in (before, after):
        write_files({"file": File(b"", each)}, tmp_path)
    assert mode(tmp_path / "file") == after


def test_write_and_read_back(tmp_path):
    """Files that are written below a folder are read back by the same paths, whatever bytes they hold."""
    files = {"a": File(b"\0\xff\r\n"), "b/c/d.conf": File(b""), "b/e": File(b"x" * 100_000)}
    write_files(files, tmp_path / "new/folder")
    assert read_files(tmp_path / "new/folder") == files


def test_absolute_paths_go_where_they_say(tmp_path):
    """A file with an absolute path is written there, and is read back only if it is named."""
    outside = str(tmp_path / "outside/key")
    files = {"inside": File(b"1"), outside: File(b"2")}
    write_files(files, tmp_path / "tree")
    assert (tmp_path / "outside/key").read_bytes() == b"2"
    assert read_files(tmp_path / "tree", [outside]) == files
    assert read_files(tmp_path / "tree") == {"inside": File(b"1")}


def test_absent_files_outside_are_passed_over(tmp_path):
    """A file outside the tree that does not exist is not read back."""
    assert read_files(tmp_path, [str(tmp_path / "absent")]) == {}


def test_nothing_is_left_beside(tmp_path):
    """Writing leaves no other files in the folder."""
    write_files({"a": File(b"1"), "b": File(b"2")}, tmp_path)
    write_files({"a": File(b"3")}, tmp_path)
    assert names(tmp_path) == ["a", "b"]


def test_a_link_is_replaced_and_not_followed(tmp_path):
    """A link in place of a file is replaced; the target of the link stays."""
    tmp_path.joinpath("target").write_bytes(b"old")
    tmp_path.joinpath("link").symlink_to("target")
    replace_file(tmp_path / "link", File(b"new"))
    assert (tmp_path / "target").read_bytes() == b"old"
    assert not (tmp_path / "link").is_symlink()


def test_a_folder_in_the_way(tmp_path):
    """A file that cannot be moved to its place leaves nothing behind."""
    tmp_path.joinpath("file").mkdir()
    with pytest.raises(IsADirectoryError):
        replace_file(tmp_path / "file", File(b"new"))
    assert names(tmp_path) == ["file"]


def test_no_folder(tmp_path):
    """A file whose folder does not exist is not written."""
    with pytest.raises(FileNotFoundError):
        replace_file(tmp_path / "absent/file", File(b""))


def test_a_full_disk_leaves_the_old_file(tmp_path):
    """A file that does not fit on the disk leaves the old one whole, and nothing beside it."""
    replace_file(tmp_path / "file", File(b"old"))
    with small_files(), pytest.raises(OSError, match="File too large"):
        replace_file(tmp_path / "file", File(b"n" * 1_000_000))
    assert read_files(tmp_path) == {"file": File(b"old")}


def test_a_reader_sees_whole_files(tmp_path):
    """While a file is written again and again, every read gets one complete content or another."""
    contents = [b"a" * 300_000, b"b" * 300_000]
    target = tmp_path / "file"
    replace_file(target, File(contents[0]))

    def write():
        for turn in range(50):
            replace_file(target, File(contents[turn % 2]))

    with ThreadPoolExecutor(1) as pool:
        writing = pool.submit(write)
        seen = {target.read_bytes()}
        while not writing.done():
            seen.add(target.read_bytes())
        writing.result()
    assert seen <= set(contents)


@pytest.mark.parametrize("turns", [1, 2, 3, 5, 8])
def test_a_killed_writer_leaves_a_whole_file(tmp_path, turns):
    """A process killed while it writes leaves one complete file, and no half-written file that others can read."""
    with subprocess.Popen([sys.executable, "-c", WRITER, tmp_path], stdout=subprocess.PIPE) as writer:
        for _ in range(turns):
            writer.stdout.readline()
        writer.kill()
    content = (tmp_path / "file").read_bytes()
    assert content == content[:1] * 300_000
    assert all(mode(path) == 0o600 for path in tmp_path.iterdir())


def test_a_lock_is_held_once(tmp_path):
    """A folder's lock is taken by one handle and refused to the next, until the first one is closed."""
    first, second = (os.open(tmp_path, os.O_RDONLY) for _ in range(2))
    try:
        assert try_lock(first)
        assert not try_lock(second)
        os.close(first)
        assert try_lock(second)
    finally:
        os.close(second)


def test_a_lock_ends_with_its_process(tmp_path):
    """A lock that another process holds is refused, and is free once that process is killed."""
    handle = os.open(tmp_path, os.O_RDONLY)
    command = [sys.executable, "-c", LOCKER, tmp_path]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as holder:
        assert holder.stdout.readline() == b"True\n"
        assert not try_lock(handle)
        holder.kill()
    assert try_lock(handle)
    os.close(handle)
