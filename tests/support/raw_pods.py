"""Stand-ins for Pods that misbehave: what they do with each connection is a function."""

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

Act = Callable[[socket.socket], None]


class RawPod:
    """A Pod that counts its connections in `taken`."""

    def __init__(self, ip: str, act: Act) -> None:
        self._listener = socket.create_server((ip, 0))
        self.address = "{}:{}".format(*self._listener.getsockname())
        self.taken = 0
        self._act = act
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Take no more connections."""
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join()

    def _serve(self) -> None:
        with suppress(OSError):
            while True:
                connection, _ = self._listener.accept()
                self.taken += 1
                threading.Thread(target=self._answer, args=(connection,), daemon=True).start()

    def _answer(self, connection: socket.socket) -> None:
        with connection, suppress(OSError):
            self._act(connection)


@contextmanager
def raw_pod(ip: str, act: Act) -> Iterator[RawPod]:
    """Run a Pod while the block runs."""
    pod = RawPod(ip, act)
    try:
        yield pod
    finally:
        pod.close()


def read_head(connection: socket.socket) -> bytes:
    """Read until the end of a request's head, and perhaps beyond; empty if the connection is closed."""
    read = b""
    while b"\r\n\r\n" not in read:
        piece = connection.recv(65536)
        if not piece:
            return b""
        read += piece
    return read


def hang_up(connection: socket.socket) -> None:
    """Read a request, and close the connection without an answer."""
    read_head(connection)
