"""A Pod that records what reaches it, byte by byte, and answers each request once it is complete."""

import re
import socket
from contextlib import suppress

from support.wire import Wire

_ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"


class CapturingPod(Wire):
    """`requests` holds each request's line, its headers (lower-case names, in order) and its body, decoded.

    `reply` is the answer to each of them; if it is empty, the connection is closed.
    """

    def __init__(self) -> None:
        super().__init__(self._record)
        self.reply = _ANSWER
        self.requests: list[tuple[str, list[tuple[str, str]], bytes]] = []

    def get(self, name: str) -> list[str]:
        """Give all values of a header in the only request that arrived."""
        ((_, headers, _),) = self.requests
        return [value for known, value in headers if known == name]

    def _record(self, _: Wire, connection: socket.socket) -> None:
        line, *fields = self.heads[-1].rstrip("\r\n").split("\r\n")
        headers = [(name.lower(), value) for name, _, value in (field.partition(": ") for field in fields)]
        self.requests.append((line, headers, self._read_body(dict(headers), connection)))
        if not self.reply:
            raise ConnectionError
        connection.sendall(self.reply)

    def _read_body(self, headers: dict[str, str], connection: socket.socket) -> bytes:
        if "transfer-encoding" not in headers:
            return self._read_more(connection, int(headers.get("content-length", 0)))
        body = b""
        while size := int(self._read_line(connection), 16):
            body += self._read_more(connection, size + 2)[:-2]
        assert self._read_line(connection) == b""
        return body

    def _read_line(self, connection: socket.socket) -> bytes:
        line = b""
        while not line.endswith(b"\r\n"):
            line += self._read_more(connection, 1)
        return line[:-2]

    def _read_more(self, connection: socket.socket, size: int) -> bytes:
        data = b""
        while len(data) < size and not self.ended.is_set():
            with suppress(TimeoutError):
                if not (more := connection.recv(size - len(data))):
                    raise ConnectionError
                data += more
        return data


def read_statuses(received: bytes) -> list[int]:
    """Give the statuses of all answers on one connection."""
    return [int(status) for status in re.findall(rb"^HTTP/1\.[01] ([0-9]{3}) ", received, re.MULTILINE)]
