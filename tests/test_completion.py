"""Completion by shells: what a real bash, zsh and fish offer after `dispatcher completion SHELL`."""

import shutil
import subprocess
from pathlib import Path

import pytest
from support.command import COMMAND, environment, run

# Does what bash does at a Tab: sets the words, the place of the cursor, and calls the function of the command.
_BASH = """
source /dev/stdin <<<"$SCRIPT"
[[ $(complete -p dispatcher) =~ -F\\ ([^ ]+) ]] || exit 9
COMP_WORDS=("$@") COMP_CWORD=$(($# - 1)) COMP_LINE="$*" COMP_POINT=${#COMP_LINE}
"${BASH_REMATCH[1]}" dispatcher "${COMP_WORDS[COMP_CWORD]}" "${COMP_WORDS[COMP_CWORD - 1]}"
printf '%s\\n' "${COMPREPLY[@]}"
"""


def write_script(shell: str) -> str:
    written = run("completion", shell)
    assert (written.returncode, written.stderr) == (0, "")
    return written.stdout


def press_tab(folder: Path, *words: str) -> set[str]:
    """Give what bash offers for the last word of a command line."""
    shown = subprocess.run(
        ["bash", "--norc", "-c", _BASH, "bash", "dispatcher", *words],
        env=environment(SCRIPT=write_script("bash")), cwd=folder, capture_output=True, text=True, timeout=30,
        check=True,
    )  # fmt: skip
    assert shown.stderr == ""
    return {line.strip() for line in shown.stdout.splitlines()} - {""}


def test_bash_completes_commands_and_options(tmp_path: Path) -> None:
    """The bash shell completes commands, options, and the values of an option that has a choice."""
    assert press_tab(tmp_path, "re") == {"record", "replay"}
    assert press_tab(tmp_path, "--sna") == {"--snapshot"}
    assert press_tab(tmp_path, "record", "--e") == {"--every"}
    assert press_tab(tmp_path, "--log-format", "") == {"text", "json"}
    assert press_tab(tmp_path, "completion", "") >= {"bash", "zsh", "fish"}


def test_bash_completes_paths(tmp_path: Path) -> None:
    """The bash shell completes files where a recording is wanted, and only folders where a folder is wanted."""
    (tmp_path / "recording.json").touch()
    (tmp_path / "recordings").mkdir()
    assert press_tab(tmp_path, "--once", "--snapshot", "reco") == {"recording.json", "recordings"}
    assert press_tab(tmp_path, "replay", "reco") == {"recording.json", "recordings"}
    assert press_tab(tmp_path, "record", "reco") == {"recordings"}


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_scripts_are_valid(shell: str, tmp_path: Path) -> None:
    """The script for each shell names each command, and the shell itself can read it where it is installed."""
    script = write_script(shell)
    assert all(name in script for name in ("replay", "record", "completion", "snapshot"))
    binary = shutil.which(shell)
    if binary:
        (tmp_path / "script").write_text(script)
        read = subprocess.run([binary, "-n", tmp_path / "script"], capture_output=True, timeout=30, check=False)
        assert (read.returncode, read.stderr) == (0, b"")


def test_fish_completes_commands(tmp_path: Path) -> None:
    """The fish shell completes commands."""
    fish = shutil.which("fish")
    if not fish:
        pytest.skip("fish is not installed")
    (tmp_path / "dispatcher.fish").write_text(write_script("fish"))
    shown = subprocess.run(
        [fish, "--no-config", "-c", f"source {tmp_path}/dispatcher.fish; complete -C 'dispatcher re'"],
        env=environment(HOME=str(tmp_path)), capture_output=True, text=True, timeout=30, check=True,
    )  # fmt: skip
    assert {line.split("\t")[0] for line in shown.stdout.splitlines()} >= {"record", "replay"}


def test_shell_that_is_unknown() -> None:
    """Another shell is refused with one line that names those that can be chosen."""
    refused = run("completion", "ksh")
    assert refused.returncode == 2
    assert refused.stderr.count("\n") == 1
    assert "bash" in refused.stderr
    assert COMMAND.name in refused.stderr
