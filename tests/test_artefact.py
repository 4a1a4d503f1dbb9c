"""The artefact is replaced as a whole or not at all, whatever ends the process."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from reconciler.disk.artefact import Artefact, ArtefactError, Nowhere, read_artefact
from reconciler.disk.trees import read_files, try_lock
from reconciler.values.files import SECRET, File, name_release

OLD = {"routes.jsonl": File(b"old"), "nginx.conf": File(b"old"), "hosts/old/key": File(b"old")}
NEW = {"routes.jsonl": File(b"new"), "nginx.conf": File(b"new"), "hosts/new/key": File(b"new")}

# Applies NEW over OLD in one process after another. The first process kills itself at its first step on the disk, the
# second one at its second step and so on, until a process ends before it kills itself. After each process, a line of
# JSON says what it left.
KILLED_AT_EACH_STEP = """
import itertools, json, os, pathlib, shutil, signal, sys
from reconciler.disk.artefact import Artefact
from reconciler.disk.trees import read_files
from reconciler.values.files import File

parent = pathlib.Path(sys.argv[1])
trees = [{path: File(text.encode()) for path, text in tree.items()} for tree in json.loads(sys.argv[2])]
folder = parent / "tree"
STEPS = ("open", "os.", "shutil.", "tempfile.", "ctypes.")

def kill_at(step):
    left = itertools.count(step, -1)
    def hook(event, _):
        if event.startswith(STEPS) and next(left) == 0:
            os.kill(os.getpid(), signal.SIGKILL)
    sys.addaudithook(hook)

for step in itertools.count():
    Artefact(folder, lambda _: None).apply(trees[0])
    child = os.fork()
    if not child:
        kill_at(step)
        Artefact(folder, lambda _: None).apply(trees[1])
        os._exit(0)
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    found = read_files(folder)
    left = len([name for name in os.listdir(parent) if name != "tree"])
    print(json.dumps([status, {path: file.content.decode() for path, file in found.items()}, left]), flush=True)
    if status == 0:
        break
"""

# Applies two trees in turn, forever. Prints one line in the middle of each apply and one line after it.
APPLIER = """
import itertools, json, pathlib, sys
from reconciler.disk.artefact import Artefact
from reconciler.values.files import File
trees = [{path: File(text.encode()) for path, text in tree.items()} for tree in json.loads(sys.argv[2])]
artefact = Artefact(pathlib.Path(sys.argv[1], "tree"), lambda _: print("tested", flush=True))
for tree in itertools.cycle(trees):
    artefact.apply(tree)
    print("applied", flush=True)
"""

STATE = json.dumps([{path: file.content.decode() for path, file in tree.items()} for tree in (OLD, NEW)])


class Refused(Exception):
    """The test callback refused the tree."""


def pass_test(_):
    pass


def refuse(_):
    raise Refused


def apply(folder, files, test=pass_test):
    return Artefact(folder, test).apply(files)


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_apply_makes_the_folder(tmp_path):
    """An artefact's folder and its missing parents are created."""
    apply(tmp_path / "a/b/tree", NEW)
    assert read_files(tmp_path / "a/b/tree") == NEW


def test_apply_replaces_the_whole_tree(tmp_path):
    """A new tree replaces the old one, and no file of the old one stays."""
    apply(tmp_path / "tree", OLD)
    apply(tmp_path / "tree", NEW)
    assert read_files(tmp_path / "tree") == NEW
    assert names(tmp_path) == ["tree"]


def test_apply_takes_an_empty_folder(tmp_path):
    """An empty folder is replaced by the artefact."""
    tmp_path.joinpath("tree").mkdir()
    apply(tmp_path / "tree", NEW)
    assert read_files(tmp_path / "tree") == NEW


def test_apply_keeps_modes(tmp_path):
    """Everyone can read the folder; only the owner can read a secret in it."""
    apply(tmp_path / "tree", {**NEW, "api-keys.conf": File(b"", SECRET)})
    modes = [(tmp_path / "tree" / path).stat().st_mode & 0o777 for path in ("", "nginx.conf", "api-keys.conf")]
    assert modes == [0o755, 0o644, 0o600]


def test_a_relative_folder_stays_where_it_was(tmp_path, monkeypatch):
    """A relative folder is resolved when the sink is made."""
    tmp_path.joinpath("elsewhere").mkdir()
    monkeypatch.chdir(tmp_path)
    artefact = Artefact(Path("tree"), pass_test)
    monkeypatch.chdir(tmp_path / "elsewhere")
    artefact.apply(NEW)
    assert read_files(tmp_path / "tree") == NEW


def test_apply_gives_the_name(tmp_path):
    """`apply` returns the release's name: the same name for the same files, another name for other files."""
    artefact = Artefact(tmp_path / "tree", pass_test)
    first, again, other = artefact.apply(OLD), artefact.apply(OLD), artefact.apply(NEW)
    assert first == again == name_release(OLD, bytes(16))
    assert first != other


def test_the_test_sees_the_new_tree_beside_the_old_one(tmp_path):
    """The test is called with the whole new tree while the old one is still in its place."""
    seen = []
    apply(tmp_path / "tree", OLD)
    apply(tmp_path / "tree", NEW, lambda staged: seen.extend([read_files(staged), read_files(tmp_path / "tree")]))
    assert seen == [NEW, OLD]


def test_a_refused_tree_leaves_the_old_one(tmp_path):
    """If the test refuses a tree, the old one stays whole, and nothing is left beside it."""
    apply(tmp_path / "tree", OLD)
    with pytest.raises(Refused):
        apply(tmp_path / "tree", NEW, refuse)
    assert read_files(tmp_path / "tree") == OLD
    assert names(tmp_path) == ["tree"]


def test_a_refused_first_tree_leaves_nothing(tmp_path):
    """If the test refuses the first tree, no folder is left."""
    with pytest.raises(Refused):
        apply(tmp_path / "tree", NEW, refuse)
    assert names(tmp_path) == []


@pytest.mark.parametrize("end", [Refused, KeyboardInterrupt, OSError])
def test_files_outside_are_put_back(tmp_path, end):
    """If a tree is refused or cannot be written, or a signal comes, the files outside it are restored."""
    live, fresh = str(tmp_path / "certificates/live/key"), str(tmp_path / "certificates/fresh/key")
    apply(tmp_path / "tree", {**OLD, live: File(b"old", SECRET)})

    def fail(_):
        assert Path(live).read_bytes() == b"new"
        raise end

    with pytest.raises(ArtefactError if end is OSError else end):
        apply(tmp_path / "tree", {**NEW, live: File(b"new", SECRET), fresh: File(b"new", SECRET)}, fail)
    assert read_files(tmp_path / "tree") == OLD
    assert read_files(tmp_path / "certificates") == {"live/key": File(b"old")}
    assert Path(live).stat().st_mode & 0o777 == 0o600
    assert names(tmp_path / "certificates") == ["live"]


@pytest.mark.parametrize("name", ["precious", "nginx.conf", ".hidden", "sub/routes.jsonl"])
def test_a_folder_that_is_no_artefact_is_refused(tmp_path, name):
    """A folder that holds files, but no routes.jsonl, is not replaced."""
    precious = tmp_path / "tree" / name
    precious.parent.mkdir(parents=True)
    precious.write_text("precious")
    with pytest.raises(ArtefactError) as caught:
        apply(tmp_path / "tree", NEW)
    assert str(caught.value) == f"{tmp_path}/tree: is neither empty nor an artefact; an artefact holds routes.jsonl"
    assert precious.read_text() == "precious"


def test_a_file_in_the_way(tmp_path):
    """A file in the folder's place is kept, and the error names it in one line."""
    tmp_path.joinpath("tree").write_text("precious")
    with pytest.raises(ArtefactError, match=re.escape(f"{tmp_path}/tree: cannot be written: Not a directory")):
        apply(tmp_path / "tree", NEW)
    assert tmp_path.joinpath("tree").read_text() == "precious"
    assert names(tmp_path) == ["tree"]


def test_a_folder_that_cannot_be_made(tmp_path):
    """A folder below a file cannot be written, and the error says why."""
    tmp_path.joinpath("file").write_text("")
    with pytest.raises(ArtefactError, match="cannot be written: File exists"):
        apply(tmp_path / "file/tree", NEW)


def test_what_a_killed_run_left_is_removed(tmp_path):
    """The next run removes the staged tree of a killed run, and nothing else."""
    for left in (".tree.abc.staged", ".tree.staged.kept", ".other.abc.staged"):
        tmp_path.joinpath(left, "sub").mkdir(parents=True)
    apply(tmp_path / "tree", NEW)
    assert names(tmp_path) == [".other.abc.staged", ".tree.staged.kept", "tree"]


def test_what_a_running_process_stages_is_left(tmp_path):
    """A staged tree with a held lock belongs to a running process and is not removed."""
    staged = tmp_path / ".tree.abc.staged"
    staged.mkdir()
    handle = os.open(staged, os.O_RDONLY)
    assert try_lock(handle)
    apply(tmp_path / "tree", NEW)
    os.close(handle)
    assert names(tmp_path) == [".tree.abc.staged", "tree"]


def test_a_tree_is_locked_while_it_is_staged(tmp_path):
    """A run does not remove the staged tree of another run of the same artefact."""

    def apply_another(staged):
        apply(tmp_path / "tree", OLD)
        assert read_files(staged) == NEW

    apply(tmp_path / "tree", NEW, apply_another)
    assert read_files(tmp_path / "tree") == NEW
    assert names(tmp_path) == ["tree"]


def test_killed_at_each_step(tmp_path):
    """A process killed at any step of an apply leaves the whole old or new tree, and the next apply cleans up."""
    command = [sys.executable, "-c", KILLED_AT_EACH_STEP, tmp_path, STATE]
    output = subprocess.run(command, stdout=subprocess.PIPE, check=True).stdout
    runs = [json.loads(line) for line in output.splitlines()]
    trees = json.loads(STATE)
    assert [status for status, _, _ in runs] == [-9] * (len(runs) - 1) + [0]
    assert all(tree in trees for _, tree, _ in runs)
    assert runs[0][1:] == [trees[0], 0]
    assert runs[-1][1:] == [trees[1], 0]
    assert max(left for _, _, left in runs) == 1
    assert {tree["nginx.conf"] for status, tree, _ in runs if status} == {"old", "new"}


@pytest.mark.parametrize("lines", [1, 2, 3, 4, 7, 20, 101, 200])
def test_killed_among_many_applies(tmp_path, lines):
    """A process killed somewhere in many applies leaves one whole tree, and the next apply replaces it."""
    apply(tmp_path / "tree", OLD)
    with subprocess.Popen([sys.executable, "-c", APPLIER, tmp_path, STATE], stdout=subprocess.PIPE) as applier:
        for _ in range(lines):
            applier.stdout.readline()
        applier.kill()
    assert read_files(tmp_path / "tree") in (OLD, NEW)
    apply(tmp_path / "tree", NEW)
    assert read_files(tmp_path / "tree") == NEW
    assert names(tmp_path) == ["tree"]


def test_read_artefact(tmp_path):
    """An artefact is read back together with the requested files outside it."""
    outside = str(tmp_path / "outside.crt")
    files = {**NEW, outside: File(b"certificate")}
    apply(tmp_path / "tree", files)
    assert read_artefact(tmp_path / "tree", [outside]) == files
    assert read_artefact(tmp_path / "tree", []) == NEW


def test_read_artefact_refuses(tmp_path):
    """A folder that has no routes.jsonl or does not exist is not an artefact."""
    for folder in (tmp_path, tmp_path / "absent"):
        with pytest.raises(ArtefactError) as caught:
            read_artefact(folder, [])
        assert str(caught.value) == f"{folder}: is not an artefact; an artefact holds routes.jsonl"


def test_nowhere_keeps_nothing(tmp_path):
    """`Nowhere` gives the tree to the test, without the files outside it, and keeps nothing."""
    seen = []
    outside = str(tmp_path / "outside.crt")
    Nowhere(lambda staged: seen.extend([staged, read_files(staged)])).apply({**NEW, outside: File(b"")})
    assert seen[1] == NEW
    assert not seen[0].exists()
    assert names(tmp_path) == []


def test_nowhere_passes_the_refusal_on():
    """`Nowhere` raises the refusal of the test."""
    with pytest.raises(Refused):
        Nowhere(refuse).apply(NEW)


def test_nowhere_gives_the_name():
    """`Nowhere` returns the release's name, also without a test."""
    assert Nowhere().apply(NEW) == name_release(NEW, bytes(16))
