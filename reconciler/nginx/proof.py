"""Asks a running nginx which release it serves, on a unix socket. Each release has a server that listens on it."""

import os
import socket
from pathlib import Path

# Relative to nginx's folder.
SOCKET = "run/release.sock"


def ask_release(folder: Path) -> str | None:
    """Ask the nginx that runs in a folder for the name of its release; None if it does not answer."""
    path = folder / SOCKET
    try:
        # The address of a unix socket has at most 108 bytes. Through an open folder's handle, any path is short enough.
        handle = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    except OSError:
        return None
    try:
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(1.0)
            connection.connect(f"/proc/self/fd/{handle}/{path.name}")
            connection.sendall(b"GET / HTTP/1.0\r\n\r\n")
            with connection.makefile("rb") as answer:
                return answer.read().rpartition(b"\r\n")[2].decode("ascii", "replace")
    except OSError:
        return None
    finally:
        os.close(handle)
