"""Asks a running nginx what it serves, on a unix socket. Each release has a server that listens on it."""

import os
import re
import socket
from pathlib import Path

from reconciler.status.figures import Connections

# Relative to nginx's folder.
SOCKET = "run/release.sock"
# https://nginx.org/en/docs/http/ngx_http_stub_status_module.html
_COUNTS = re.compile(
    r"Active connections: ([0-9]+)\s+server accepts handled requests\s+[0-9 ]+"
    r"\s+Reading: ([0-9]+) Writing: ([0-9]+) Waiting: ([0-9]+)"
)


def ask_release(folder: Path) -> str | None:
    """Ask the nginx that runs in a folder for the name of its release; None if it does not answer."""
    return _ask(folder, "/")


def ask_connections(folder: Path) -> Connections | None:
    """Ask the nginx that runs in a folder for its connections; None if it does not answer or does not count them."""
    found = _COUNTS.match(_ask(folder, "/connections") or "")
    return Connections(*map(int, found.groups())) if found else None


def exchange(folder: Path, request: bytes, timeout: float = 1.0) -> bytes:
    """Send a request to the nginx that runs in a folder, and give all that it answers. OSError if there is no answer.

    `timeout` is in seconds, for each step.
    """
    path = folder / SOCKET
    # The address of a unix socket has at most 108 bytes. Through an open folder's handle, any path is short enough.
    handle = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(timeout)
            connection.connect(f"/proc/self/fd/{handle}/{path.name}")
            connection.sendall(request)
            with connection.makefile("rb") as answer:
                return answer.read()
    finally:
        os.close(handle)


def _ask(folder: Path, uri: str) -> str | None:
    """Request a URI, and give the body of the answer; None if there is no answer."""
    try:
        answer = exchange(folder, f"GET {uri} HTTP/1.0\r\n\r\n".encode())
    except OSError:
        return None
    return answer.partition(b"\r\n\r\n")[2].decode("ascii", "replace")
