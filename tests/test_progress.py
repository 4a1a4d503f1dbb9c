"""Progress: a bar where a person waits at a terminal, and nowhere else; it never breaks a line of the output."""

import json
import os
import pty
import re
import subprocess
import termios
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest
from support import command
from support.objects import WALKTHROUGH

from reconciler.status import progress

# What takes the cursor to the beginning of the line, or to another line.
_MOVES = re.compile(r"\r|\x1b\[A")


def read_terminal(ours: int) -> str:
    """Read what was written to a terminal until nobody has it open."""
    parts = []
    with suppress(OSError):  # Linux says EIO at the end
        while part := os.read(ours, 65536):
            parts.append(part)
    return b"".join(parts).decode()


def run_at_terminal(*arguments: object, delay: bool = False, output: bool = True, **settings: str) -> str:
    """Run the command at a terminal, and give what the terminal got. Without `delay` a bar is shown at once."""
    ours, theirs = pty.openpty()
    termios.tcsetwinsize(theirs, (24, 100))
    set_delay = "" if delay else "import reconciler.status.progress as p; p._DELAY = 0.0; "
    code = f"import sys; {set_delay}from reconciler.cli import main; sys.exit(main())"
    with subprocess.Popen(
        [command.COMMAND.parent / "python", "-P", "-c", code, *map(str, arguments)],
        env=command.environment(**{"TERM": "xterm", "NO_COLOR": "1", **settings}),
        stdin=theirs, stdout=theirs if output else subprocess.DEVNULL, stderr=theirs,
    ) as process:  # fmt: skip
        os.close(theirs)
        shown = read_terminal(ours)
        os.close(ours)
        assert process.wait(30) in (0, 1)
    return shown


def read_screen(shown: str) -> list[str]:
    """Give the lines that stay on a terminal: what is written after a carriage return replaces what was there."""
    lines = []
    for line in shown.replace("\r\n", "\n").split("\n"):
        screen = ""
        for part in _MOVES.split(line):
            screen = part + screen[len(part) :]
        lines.append(screen.rstrip())
    return [line for line in lines if line]


def hide_release(line: str) -> str:
    """Hide the name of a release: it depends on a salt."""
    return re.sub(r"applied [0-9a-f]{32}", "applied", line)


def test_bar_and_lines_of_a_replay() -> None:
    """A replay at a terminal shows a bar, and all lines stay as they are in a pipe."""
    shown = run_at_terminal("replay", "--no-validate", WALKTHROUGH)
    assert f"/{len(list(WALKTHROUGH.glob('*.json')))} [" in shown
    piped = command.run("replay", "--no-validate", WALKTHROUGH)
    assert piped.stderr == ""
    assert [hide_release(line) for line in read_screen(shown)] == [*map(hide_release, piped.stdout.splitlines())]


def test_bar_of_many_manifests(tmp_path: Path) -> None:
    """Lint and --once show a bar while they read; it is gone when the lines come, also if an error ends them."""
    for number in range(40):
        manifest = {"kind": "Pod", "apiVersion": "v1", "metadata": {"name": f"p{number}", "namespace": "a"}}
        (tmp_path / f"{number}.json").write_text(json.dumps(manifest))
    once = ("--once", "--no-validate", "--snapshot", tmp_path)
    for arguments in (("lint", tmp_path), once):
        shown = run_at_terminal(*arguments, output=arguments != once)
        assert "/40 [" in shown
        assert read_screen(shown) == command.run(*arguments).stderr.splitlines()


def test_what_is_quick_has_no_bar() -> None:
    """What takes less than a second shows no bar."""
    shown = run_at_terminal("lint", WALKTHROUGH / "005-pod-ready.json", delay=True)
    assert shown == "1 Namespace, 1 Pod read\r\n"


def test_no_bar_beside_json() -> None:
    """With --log-format json, and at a terminal that can do nothing, there is no bar."""
    for line in run_at_terminal("replay", "--no-validate", "--log-format", "json", WALKTHROUGH).splitlines():
        json.loads(line)
    assert "/1 [" not in run_at_terminal("lint", WALKTHROUGH / "005-pod-ready.json", TERM="dumb")


def test_no_bar_in_a_pipe(capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """In a pipe there is no bar, however long something takes, and lines are written as they are."""
    monkeypatch.setattr(progress, "_DELAY", 0.0)
    count: Callable[[], None]
    with progress.Progress(3, "files", "text") as bar:
        count = bar.step
        for _ in range(3):
            count()
        with bar.aside():
            os.write(2, b"a line\n")
    assert capfd.readouterr().err == "a line\n"
