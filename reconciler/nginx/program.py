"""nginx as a program: its path, its version and modules, and its test of a tree."""

import errno
import os
import pwd
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from reconciler.loop.events import NginxSaid
from reconciler.loop.ports import RefusedError, SinkError
from reconciler.nginx import sandbox
from reconciler.settings import Settings
from reconciler.values.messages import escape

_TEST_TIMEOUT = 60.0
_COMPLAINT = re.compile(r"(?:nginx: |\d{4}/\d\d/\d\d \d\d:\d\d:\d\d )?\[emerg\] (?:\d+#\d+: )?(.*)", re.DOTALL)
_MESSAGE = re.compile(r"(?:\d{4}/\d\d/\d\d \d\d:\d\d:\d\d )?\[([a-z]+)\] (?:\d+#\d+: )?")
_KEYS_LINE = re.compile(r" in .*api-keys\.conf:\d+\s*$")
_BIND = re.compile(r"bind\(\) to (\S+) failed \(([0-9]+): (.*)\)")
_BIND_REASONS = {
    errno.EADDRINUSE: "is in use by another program",
    errno.EADDRNOTAVAIL: "is no address of this machine",
    errno.EACCES: "needs a privilege; ports from 1024 on do not (PORT, SSL_PORT)",
}
_VARIABLES = re.compile("PATH|HOME|TMPDIR|TZ|LANG|(?:LC|LD|MALLOC|OPENSSL)_.+")


class NginxError(SinkError):
    """nginx does not exist, cannot be run, or does not serve what it was given."""


class _LateError(NginxError):
    """nginx has not ended in time."""


def find_version(binary: str, hidden: tuple[str, ...] = ()) -> tuple[int, ...]:
    """Read nginx's version, such as (1, 26, 3). NginxError if `binary` cannot be run or is not nginx."""
    printed = _run(binary, hidden, "-v")
    found = re.search(r"nginx version: \S+?/(\d+)\.(\d+)\.(\d+)", printed.stderr)
    if not found:
        raise NginxError(f"{binary} -v names no nginx version")
    return tuple(map(int, found.groups()))


def find_binary(name: str) -> str | None:
    """Find nginx by its path or name, also in folders that a user's PATH may lack. None if it is not found."""
    found = shutil.which(name) or shutil.which(name, path="/usr/sbin:/usr/local/sbin:/usr/local/nginx/sbin")
    return os.path.abspath(found) if found else None


def check_modules(binary: str, settings: Settings, hidden: tuple[str, ...] = ()) -> None:
    """Make sure that nginx has the modules that the settings need. NginxError names a missing module."""
    built = read_build(binary, hidden)
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


def has_module(binary: str, module: str, hidden: tuple[str, ...] = ()) -> bool:
    """Tell whether nginx was built with a module, such as http_stub_status."""
    return f"--with-{module}_module" in read_build(binary, hidden)


def read_build(binary: str, hidden: tuple[str, ...] = ()) -> str:
    """Read how nginx was built: the arguments of its configure script."""
    return _run(binary, hidden, "-V").stderr


def find_reader(binary: str, hidden: tuple[str, ...] = ()) -> int | None:
    """Find the user of nginx's workers, if that is not this process's: only root's workers have one of their own.

    https://nginx.org/en/docs/ngx_core_module.html#user
    """
    if os.geteuid():
        return None
    built = re.search(r"--user=(\S+)", read_build(binary, hidden))
    with suppress(KeyError):
        return pwd.getpwnam(built[1] if built else "nobody").pw_uid
    return None


def check_tree(binary: str, tree: Path, hidden: tuple[str, ...] = ()) -> None:
    """Test a tree with `nginx -t`. RefusedError says what is wrong. A port that is in use is not the tree's fault."""
    with _scratch() as scratch:
        refusals = [line for line in run_test(binary, scratch, tree, hidden) if not is_about_binding(line)]
    if refusals:
        raise RefusedError(f"nginx refuses the configuration: {refusals[0]}", tested=True)


@contextmanager
def _scratch() -> Iterator[Path]:
    """Give a folder for what nginx creates in a test: empty folders, which may belong to another user."""
    folder = Path(tempfile.mkdtemp(prefix="dispatcher-test-"))
    try:
        yield folder
    finally:
        for made in folder.iterdir():
            made.rmdir() if made.is_dir() else made.unlink()
        folder.rmdir()


def run_test(binary: str, prefix: Path, tree: Path, hidden: tuple[str, ...] = ()) -> list[str]:
    """Run `nginx -t` on a tree, with `prefix` as nginx's prefix. Give the errors that it finds, one line each."""
    arguments = ("-t", "-q", "-e", "stderr", "-p", f"{prefix}/", "-c", f"{tree}/nginx.conf")
    try:
        tested = _run(binary, hidden, *arguments, folder=prefix)
    except _LateError:  # this may be the tree's fault
        return [f"its test took more than {_TEST_TIMEOUT:.0f} s"]
    lines = [found for line in tested.stderr.splitlines() if (found := read_complaint(line, tree))]
    return lines or ([f"exit status {tested.returncode}"] if tested.returncode else [])


def read_complaint(line: str, tree: Path) -> str | None:
    """Read from a line what keeps nginx from running, without the tree's path and without a key. None for other lines.

    Most lines quote clients, and clients may send anything. But their text is never at the beginning of a line.
    """
    found = _COMPLAINT.match(line)
    return escape(clean(found[1].strip()).removeprefix("nginx: ").replace(f"{tree}/", "")) if found else None


def read_message(line: str) -> NginxSaid:
    """Read a line that nginx wrote: its severity, and its text without time and process, without a key."""
    cleaned = clean(line.rstrip()).removeprefix("nginx: ")
    found = _MESSAGE.match(cleaned)
    return NginxSaid(found[1], escape(cleaned[found.end() :])) if found else NginxSaid("error", escape(cleaned))


def is_about_binding(complaint: str) -> bool:
    """Tell whether a complaint says that a port cannot be used."""
    return "bind() to " in complaint or complaint == "still could not bind()"


def explain_bind(complaint: str) -> str:
    """Say in plain words why a port cannot be used; other complaints stay as they are."""
    found = _BIND.fullmatch(complaint)
    if not found:
        return complaint
    why = _BIND_REASONS.get(int(found[2]), f"cannot be used: {found[3]}")
    return f"{found[1]} {why}"


def clean(line: str) -> str:
    """Replace a line of nginx about the file with API keys, because it can hold a key."""
    return "nginx: api-keys.conf is malformed" if _KEYS_LINE.search(line) else line


def make_command(binary: str, hidden: tuple[str, ...], *arguments: str) -> list[str]:
    """Make the command that runs nginx so that it cannot read anything in the folders `hidden`.

    `nginx -t` needs this too: it reads files that a running nginx could have written, and these may load code.
    """
    if not hidden:
        return [binary, *arguments]
    if not os.access(binary, os.X_OK):
        raise NginxError(f"{binary} cannot be run: it does not exist, or is not executable")
    return [sys.executable, "-I", "-S", sandbox.__file__, *hidden, "--", binary, *arguments]


def keep_environment() -> dict[str, str]:
    """Give the environment variables that nginx uses. Others may hold a secret, such as an exec plugin's."""
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
