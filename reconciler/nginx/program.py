"""nginx as a program: where it is, its version and modules, and its test of a tree."""

import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from reconciler.nginx import sandbox
from reconciler.settings import Settings
from reconciler.values.patterns import show

_TEST_TIMEOUT = 60.0
_COMPLAINT = re.compile(r"(?:nginx: |\d{4}/\d\d/\d\d \d\d:\d\d:\d\d )?\[emerg\] (?:\d+#\d+: )?(.*)", re.DOTALL)
_KEYS_LINE = re.compile(r" in .*api-keys\.conf:\d+\s*$")
_VARIABLES = re.compile("PATH|HOME|TMPDIR|TZ|LANG|(?:LC|LD|MALLOC|OPENSSL)_.+")


class NginxError(Exception):
    """nginx is not there, refuses a tree or does not serve it; the text is one line without secrets."""


class _LateError(NginxError):
    """nginx has not ended in time."""


class RefusedError(NginxError):
    """nginx is there, and will not have this one tree; `tested`: its test says so, and nothing was touched."""

    def __init__(self, text: str, *, tested: bool) -> None:
        super().__init__(text)
        self.tested = tested


def find_version(binary: str, hidden: tuple[str, ...] = ()) -> tuple[int, ...]:
    """Ask nginx for its version, such as (1, 26, 3). NginxError where there is no nginx."""
    printed = _run(binary, hidden, "-v")
    found = re.search(r"nginx version: \S+?/(\d+)\.(\d+)\.(\d+)", printed.stderr)
    if not found:
        raise NginxError(f"{binary} -v names no nginx version")
    return tuple(map(int, found.groups()))


def find_binary(name: str) -> str | None:
    """Find nginx by its file or its name, also where a plain user's PATH does not look; None where there is none."""
    found = shutil.which(name) or shutil.which(name, path="/usr/sbin:/usr/local/sbin:/usr/local/nginx/sbin")
    return os.path.abspath(found) if found else None


def check_modules(binary: str, settings: Settings, hidden: tuple[str, ...] = ()) -> None:
    """Make sure that nginx was built with what the settings ask of it. NginxError names the module that is missing."""
    built = _run(binary, hidden, "-V").stderr
    wanted = {
        "http_auth_request": True,
        "http_realip": bool(settings.trusted_proxies) or settings.proxy_protocol,
        "http_ssl": bool(settings.ssl_cert),
        "http_v2": settings.http2 and bool(settings.ssl_cert),
    }
    for module in [name for name, needed in wanted.items() if needed and f"{name}_module" not in built]:
        raise NginxError(f"{binary} is built without ngx_{module}_module, which is needed")
    if settings.health_checks and "upstream_check" not in built:
        raise NginxError(f"health checks need an nginx built with nginx_upstream_check_module, and {binary} is not")


def check_tree(binary: str, tree: Path, hidden: tuple[str, ...] = ()) -> None:
    """Test a tree with `nginx -t`. RefusedError says what is wrong; a port that cannot be had is no fault of a tree."""
    with _scratch() as scratch:
        refusals = [line for line in run_test(binary, scratch, tree, hidden) if "bind() to " not in line]
    if refusals:
        raise RefusedError(f"nginx refuses the configuration: {refusals[0]}", tested=True)


@contextmanager
def _scratch() -> Iterator[Path]:
    """Give a folder for what nginx makes at a test. Its folders are empty and may be another user's: no look inside."""
    folder = Path(tempfile.mkdtemp(prefix="dispatcher-test-"))
    try:
        yield folder
    finally:
        for made in folder.iterdir():
            made.rmdir() if made.is_dir() else made.unlink()
        folder.rmdir()


def run_test(binary: str, prefix: Path, tree: Path, hidden: tuple[str, ...] = ()) -> list[str]:
    """Run `nginx -t` on a tree: what it finds wrong, a line each; empty where it is content. `prefix` is its folder."""
    arguments = ("-t", "-q", "-e", "stderr", "-p", f"{prefix}/", "-c", f"{tree}/nginx.conf")
    try:
        tested = _run(binary, hidden, *arguments, folder=prefix)
    except _LateError:  # it may be the tree's fault
        return [f"its test took more than {_TEST_TIMEOUT:.0f} s"]
    lines = [found for line in tested.stderr.splitlines() if (found := read_complaint(line, tree))]
    return lines or ([f"exit status {tested.returncode}"] if tested.returncode else [])


def read_complaint(line: str, tree: Path) -> str | None:
    """Read what keeps nginx from running, without the tree's place and without a key. None: the line is another one.

    Most lines quote clients, who may write what they like; they never begin one.
    """
    found = _COMPLAINT.match(line)
    return show(clean(found[1].strip()).removeprefix("nginx: ").replace(f"{tree}/", "")) if found else None


def clean(line: str) -> str:
    """Leave out of a line of nginx's what it says of the file with API keys: it can hold one."""
    return "nginx: api-keys.conf is malformed" if _KEYS_LINE.search(line) else line


def make_command(binary: str, hidden: tuple[str, ...], *arguments: str) -> list[str]:
    """Make the command that runs nginx so that it cannot read what lies in the folders `hidden`.

    This holds for its tests too: what they read, files that a served nginx could have written, may load code.
    """
    if not hidden:
        return [binary, *arguments]
    if not os.access(binary, os.X_OK):
        raise NginxError(f"{binary} cannot be run: it is not there, or not executable")
    return [sys.executable, "-I", "-S", sandbox.__file__, *hidden, "--", binary, *arguments]


def keep_environment() -> dict[str, str]:
    """Give the variables that nginx has a use for; others may hold a secret of a plugin that prints credentials."""
    return {name: value for name, value in os.environ.items() if _VARIABLES.fullmatch(name)}


def _run(
    binary: str, hidden: tuple[str, ...], *arguments: str, folder: Path | None = None
) -> subprocess.CompletedProcess[str]:
    try:
        return subprocess.run(  # noqa: S603  the binary is a setting
            make_command(binary, hidden, *arguments), cwd=folder, env=keep_environment(), timeout=_TEST_TIMEOUT,
            check=False, capture_output=True, text=True, errors="replace",
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        raise _LateError(f"{binary} did not answer within {_TEST_TIMEOUT:.0f} s") from None
    except OSError as error:
        raise NginxError(f"{binary} cannot be run: {error.strerror}") from None
