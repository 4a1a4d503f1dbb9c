"""The installed command, run as a user runs it: as a process with its own environment."""

import os
import subprocess
import sysconfig
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

COMMAND = Path(sysconfig.get_path("scripts")) / "dispatcher"


def environment(**settings: str) -> dict[str, str]:
    """Make an environment that takes only the PATH from this machine."""
    return {
        "PATH": f"{os.environ['PATH']}:/usr/sbin",
        "HOME": "/nonexistent",
        "LISTEN_ADDRESSES": "127.0.0.1",
        **settings,
    }


def run(*arguments: object, stdin: bytes = b"", **settings: str) -> subprocess.CompletedProcess[str]:
    """Run the command until it ends."""
    finished = subprocess.run(
        [COMMAND, *map(str, arguments)],
        env=environment(**settings),
        input=stdin,
        capture_output=True,
        timeout=60,
        check=False,
    )
    out, err = (stream.decode("utf-8", "surrogateescape") for stream in (finished.stdout, finished.stderr))
    return subprocess.CompletedProcess(finished.args, finished.returncode, out, err)


@contextmanager
def start(*arguments: object, **settings: str) -> Iterator[subprocess.Popen[str]]:
    """Start the command; its output can be read while it runs. It ends with the block, also after an error."""
    process = subprocess.Popen(
        [COMMAND, *map(str, arguments)],
        env=environment(**settings), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    try:
        yield process
    finally:
        if process.poll() is None:
            process.terminate()
        process.communicate(timeout=30)
