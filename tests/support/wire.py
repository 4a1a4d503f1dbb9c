"""A real server on its own socket that sends the bytes that a test chooses, with or without TLS."""

import socket
import ssl
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Self

from support.authority import Authority

OK = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}"


def serve_tls(authority: Authority, folder: Path, name: str = "127.0.0.1", clients: Authority | None = None):
    """Make a server's TLS context with a certificate for `name`; with `clients`, clients need one that it signed."""
    certificate, key = authority.issue(name)
    file = folder / f"{name}.pem"
    file.write_bytes(certificate + key)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(file)
    if clients:
        context.verify_mode = ssl.CERT_REQUIRED
        context.load_verify_locations(cadata=clients.pem.decode())
    return context


class Wire:
    """Adds each request's head to `heads`, then answers with `answer(self, connection)`; ends with the block."""

    def __init__(self, answer: "Callable[[Wire, socket.socket], None] | bytes" = OK, tls=None, handshake=True) -> None:
        self.answer = answer
        self.heads: list[str] = []
        self.connections = 0
        self.ended = threading.Event()
        self._tls = tls
        self._handshake = handshake
        self._threads: list[threading.Thread] = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]

    @property
    def url(self) -> str:
        return f"{'https' if self._tls else 'http'}://127.0.0.1:{self.port}"

    def __enter__(self) -> Self:
        self._start(self._accept)
        return self

    def __exit__(self, *_: object) -> None:
        self.ended.set()
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for thread in self._threads:
            thread.join()

    def _start(self, target, *arguments) -> None:
        thread = threading.Thread(target=target, args=arguments, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                connection, _ = self._listener.accept()
                self.connections += 1
                self._start(self._serve, connection)

    def _serve(self, connection: socket.socket) -> None:
        with suppress(OSError, ConnectionError):
            if not self._handshake:
                self.ended.wait()
            connection.settimeout(0.05)
            if self._tls:
                connection.settimeout(5)
                connection = self._tls.wrap_socket(connection, server_side=True)
                connection.settimeout(0.05)
            while not self.ended.is_set() and (head := self._read(connection)):
                self.heads.append(head)
                if isinstance(self.answer, bytes):
                    connection.sendall(self.answer)
                else:
                    self.answer(self, connection)
        connection.close()

    def _read(self, connection: socket.socket) -> str:
        head = b""
        while not head.endswith(b"\r\n\r\n") and not self.ended.is_set():
            with suppress(TimeoutError):
                if not (more := connection.recv(1)):
                    return ""
                head += more
        return head.decode("latin-1")


def tunnel(target: int) -> "Callable[[Wire, socket.socket], None]":
    """Answer a CONNECT by passing bytes to the port `target` and back."""

    def answer(wire: Wire, connection: socket.socket) -> None:
        with socket.create_connection(("127.0.0.1", target)) as far:
            connection.sendall(b"HTTP/1.1 200 Connection established\r\n\r\n")
            far.settimeout(0.01)
            connection.settimeout(0.01)
            while not wire.ended.is_set():
                for source, sink in ((connection, far), (far, connection)):
                    try:
                        if not (data := source.recv(65536)):
                            return
                        sink.sendall(data)
                    except TimeoutError:
                        continue

    return answer
