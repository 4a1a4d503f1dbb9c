"""What nginx cannot read, although it runs as the same user."""

import ctypes
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from support import command
from support.apiserver import TOKEN, ApiServer
from support.authority import Authority
from support.objects import namespace
from support.running_daemon import RunningDaemon

from reconciler.nginx import sandbox

Start = Callable[..., RunningDaemon]

_CREATE_RULESET, _ASK_VERSION = 444, 1
without_landlock = ctypes.CDLL(None).syscall(_CREATE_RULESET, None, 0, _ASK_VERSION) < 1
needs_landlock = pytest.mark.skipif(without_landlock, reason="this kernel has no Landlock")


def confined(hidden: Path, *command: object) -> subprocess.CompletedProcess[str]:
    arguments = [sys.executable, "-I", "-S", sandbox.__file__, str(hidden), "--", *map(str, command)]
    return subprocess.run(arguments, capture_output=True, text=True, timeout=60, check=False)


@needs_landlock
def test_hidden_folder(tmp_path: Path) -> None:
    """Nothing below a hidden folder can be read or listed, by any path, and everything else can."""
    hidden, beside = tmp_path / "a" / "hidden", tmp_path / "a" / "beside"
    for folder in (hidden, beside):
        folder.mkdir(parents=True)
        (folder / "file").write_text("content")
    (beside / "link").symlink_to(hidden / "file")
    assert confined(hidden, "/bin/cat", beside / "file").stdout == "content"
    for path in (hidden / "file", beside / "link", beside / ".." / "hidden" / "file", f"/proc/self/root{hidden}/file"):
        refused = confined(hidden, "/bin/cat", path)
        assert (refused.returncode, refused.stdout) == (1, ""), path
        assert "Permission denied" in refused.stderr
    assert confined(hidden, "/bin/ls", hidden).returncode != 0


@needs_landlock
def test_hidden_by_a_link(tmp_path: Path) -> None:
    """If a folder is named by a link, the folder behind the link is hidden."""
    (tmp_path / "real").mkdir()
    (tmp_path / "real" / "file").write_text("content")
    (tmp_path / "link").symlink_to("real")
    assert confined(tmp_path / "link", "/bin/cat", tmp_path / "real" / "file").returncode == 1


def test_no_core_dumps(tmp_path: Path) -> None:
    """A crash leaves no core dump, which would hold keys."""
    limits = confined(tmp_path, "/bin/sh", "-c", "ulimit -c; ulimit -Hc")
    assert limits.stdout.split() == ["0", "0"]


def can_open(path: str) -> bool:
    """Tell whether another process of this user can open a file and read from it."""
    code = "import sys; file = open(sys.argv[1], 'rb', 0); sys.argv[1].endswith('mem') or file.read(1)"
    return subprocess.run([sys.executable, "-I", "-S", "-c", code, path], capture_output=True).returncode == 0


@pytest.mark.skipif(os.geteuid() == 0, reason="root may look into every process")
@pytest.mark.parametrize("shielded", [False, True])
def test_nobody_looks_into_a_shielded_process(shielded: bool) -> None:
    """Another process of the same user can read neither the memory nor the environment of a shielded process."""
    code = f"import runpy, sys; shield = runpy.run_path({sandbox.__file__!r})['shield']; "
    code += "shield(); " if shielded else ""
    code += "print('ready', flush=True); sys.stdin.read()"
    command = [sys.executable, "-I", "-S", "-c", code]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        assert process.stdout.readline() == "ready\n"
        looked = [can_open(f"/proc/{process.pid}/{file}") for file in ("environ", "mem", "maps")]
        process.communicate("")
    assert looked == [not shielded] * 3


def test_program_that_is_not_there(tmp_path: Path) -> None:
    """A program that cannot be run is reported in one line."""
    failed = confined(tmp_path, tmp_path / "nothing")
    assert failed.returncode == 1
    assert failed.stderr.splitlines()[-1] == f"[emerg] {tmp_path}/nothing cannot be run: No such file or directory"


class Spy:
    """A program in place of nginx in a Pod; it reads the service account's token if its arguments contain `run`."""

    def __init__(self, folder: Path, server: ApiServer, authority: Authority, run: str) -> None:
        account, program, self._opened = folder / "account", folder / "nginx", folder / "opened"
        account.mkdir()
        (account / "token").write_text(TOKEN)
        (account / "ca.crt").write_bytes(authority.pem)
        look = f'case "$*" in *"{run}"*) cat {account}/token >{self._opened} 2>&1 ;; esac'
        program.write_text(f'#!/bin/sh\n{look}\nexec nginx "$@"\n')
        program.chmod(0o755)
        self._opened.touch()
        self.settings = {
            "KUBECONFIG": "", "KUBERNETES_SERVICE_HOST": "127.0.0.1", "KUBERNETES_SERVICE_PORT": str(server.port),
            "DISPATCHER_SERVICE_ACCOUNT_DIR": str(account), "NGINX_BINARY": str(program),
        }  # fmt: skip

    def check(self) -> None:
        """Check that the program was run, and could not read the token."""
        told = self._opened.read_text()
        assert "Permission denied" in told
        assert TOKEN not in told


@needs_landlock
@pytest.mark.parametrize("run", ["daemon off", "-t -q", "-V", "-v"])
def test_nginx_cannot_read_the_token(
    server: ApiServer, launch: Start, authority: Authority, tmp_path: Path, run: str
) -> None:
    """In a Pod no nginx that serves or tests, and no program in its place, can open the service account's token.

    The daemon can. The nginx that tests is confined too: the nginx that serves could have written what it reads.
    """
    spy = Spy(tmp_path, server, authority, run)
    server.load([namespace("a", {"a.dev": {}})])
    daemon = launch("--output", tmp_path / "daemon" / "router", **spy.settings)
    daemon.wait_for(lambda: daemon.ask("a.dev") == 404)
    spy.check()


@needs_landlock
@pytest.mark.parametrize("run", ["-t -q", "-V", "-v"])
def test_nginx_of_once_cannot_read_the_token(server: ApiServer, authority: Authority, tmp_path: Path, run: str) -> None:
    """The nginx that tests the result of --once in a Pod cannot open the token either."""
    spy = Spy(tmp_path, server, authority, run)
    server.load([namespace("a", {"a.dev": {}})])
    once = command.run("--once", **spy.settings)
    assert (once.returncode, once.stderr) == (0, "")
    assert "server_name a.dev;" in once.stdout
    spy.check()
