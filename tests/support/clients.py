"""Clients of several kinds, each in its own thread; each one counts what it sends and records what fails."""

import http.client
import json
import socket
import ssl
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress

from hpack import Decoder, Encoder
from hyperframe.frame import Frame, GoAwayFrame, HeadersFrame, SettingsFrame, WindowUpdateFrame
from support.backends import Backends
from websockets.exceptions import WebSocketException
from websockets.sync.client import ClientConnection, connect

_TIMEOUT = 20
_ERRORS = (OSError, http.client.HTTPException, WebSocketException, AssertionError)


class Client(threading.Thread):
    """Takes turns, with `pause` seconds between, until it is stopped; `failures` describes each turn that failed.

    Those that send a request a turn send the one that the class describes.
    """

    method, uri, body = "GET", "/", b""
    headers: Mapping[str, str] = {}
    accepted: tuple[int, ...] = (200,)

    def __init__(self, port: int, host: str, pause: float = 0.005) -> None:
        super().__init__()
        self.sent = 0
        self.failures: list[str] = []
        self.over = threading.Event()
        self._port, self._host, self._pause = port, host, pause

    def run(self) -> None:
        while not self.over.wait(self._pause):
            self._try(self.turn)
            self.sent += 1
        self._try(self.close)

    def turn(self) -> None:
        """Send one request or one piece, and read what comes back."""
        raise NotImplementedError

    def close(self) -> None:
        """Finish what is under way."""

    def check(self, answer: bytes) -> None:
        """Check the body of an answer with status 200."""

    def drop(self) -> None:
        """Give up what is under way; the next turn begins anew."""

    def _try(self, work: Callable[[], None]) -> None:
        try:
            work()
        except _ERRORS as error:
            self.failures.append(f"{type(error).__name__}: {error}")
            self.drop()

    def _open(self) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self._port), timeout=_TIMEOUT)

    def _exchange(self, connection: http.client.HTTPConnection, more: Mapping[str, str]) -> http.client.HTTPResponse:
        """Send the request, and read and check its answer."""
        connection.request(self.method, self.uri, self.body or None, {**more, **self.headers})
        response = connection.getresponse()
        answer = response.read()
        assert response.status in self.accepted, f"status {response.status}"
        if response.status == http.HTTPStatus.OK:
            self.check(answer)
        return response

    def _connect(self) -> http.client.HTTPConnection:
        connection = http.client.HTTPConnection(self._host, self._port, timeout=_TIMEOUT)
        connection.sock = self._open()
        return connection


class NewConnections(Client):
    """Opens a connection for each request."""

    def turn(self) -> None:
        connection = self._connect()
        try:
            self._exchange(connection, {"Connection": "close"})
        finally:
            connection.close()


class KeptConnection(Client):
    """Sends all requests over one connection while it is open, and does not check before whether it still is."""

    connection: http.client.HTTPConnection | None = None

    def turn(self) -> None:
        self.connection = self.connection or self._connect()
        if self._exchange(self.connection, {}).will_close:
            self.drop()

    def drop(self) -> None:
        if self.connection:
            self.connection.close()
        self.connection = None

    close = drop


class RetryingConnection(KeptConnection):
    """Sends a request again if its idle connection was closed before any answer, as browsers do."""

    def turn(self) -> None:
        idle = self.connection is not None
        try:
            super().turn()
        except (http.client.RemoteDisconnected, BrokenPipeError, ConnectionResetError):
            if not idle:
                raise
            self.drop()
            super().turn()


class Http2(Client):
    """Sends requests over one TLS connection; if a GOAWAY says that a request was not taken, sends it over a new one.

    The library h2 accepts no frame after a GOAWAY, not even those of the streams that may still finish.
    """

    def __init__(self, port: int, host: str, trust: ssl.SSLContext) -> None:
        super().__init__(port, host)
        self._trust = trust
        self._trust.set_alpn_protocols(["h2"])
        self._socket: ssl.SSLSocket | None = None
        self._leaving = False

    def turn(self) -> None:
        while not self._was_taken():
            pass

    def drop(self) -> None:
        if self._socket:
            self._incoming.close()
            self._socket.close()
        self._socket = None

    close = drop

    def _was_taken(self) -> bool:
        """Send a request, and tell whether nginx took it; only a GOAWAY can say that it did not."""
        if self._leaving or not self._socket:
            self.drop()
            self._start()
        assert self._socket
        self._stream += 2
        head = {":method": "GET", ":scheme": "https", ":authority": self._host, ":path": "/"}
        request = HeadersFrame(self._stream, self._encoder.encode(head), flags=["END_STREAM", "END_HEADERS"])
        # If nginx has closed the connection, what it sent before must still be read.
        with suppress(BrokenPipeError, ConnectionResetError):
            self._socket.sendall(request.serialize())
        while True:
            frame = self._read_frame()
            if isinstance(frame, GoAwayFrame):
                self._leaving = True
                if frame.last_stream_id < self._stream:
                    return False
            if isinstance(frame, HeadersFrame):
                status = dict(self._decoder.decode(frame.data))[":status"]
                assert status == "200", f"status {status}"
            if frame.stream_id == self._stream and "END_STREAM" in frame.flags:
                return True

    def _start(self) -> None:
        self._socket = self._trust.wrap_socket(self._open(), server_hostname=self._host)
        self._incoming = self._socket.makefile("rb")
        self._encoder, self._decoder, self._stream, self._leaving = Encoder(), Decoder(), -1, False
        wide = WindowUpdateFrame(0, (1 << 31) - (1 << 16))
        self._socket.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + SettingsFrame(0).serialize() + wide.serialize())

    def _read_frame(self) -> Frame:
        if len(head := self._incoming.read(9)) < 9:
            raise ConnectionResetError("closed without an answer")
        frame, length = Frame.parse_frame_header(memoryview(head))
        frame.parse_body(memoryview(self._incoming.read(length)))
        return frame


class WebSocket(Client):
    """Keeps one WebSocket open, sends messages over it and reads their echoes."""

    _socket: ClientConnection | None = None

    def __init__(self, port: int, host: str) -> None:
        super().__init__(port, host)
        self._opened = ExitStack()

    def turn(self) -> None:
        self._socket = self._socket or self._opened.enter_context(connect(f"ws://{self._host}/", sock=self._open()))
        self._socket.send(str(self.sent))
        echo = self._socket.recv(timeout=_TIMEOUT)
        assert str(echo).endswith(f" {self.sent}"), echo

    def drop(self) -> None:
        self._opened.close()
        self._socket = None

    close = drop


class Download(Client):
    """Reads one long answer, piece by piece, until the backend ends it."""

    _response: http.client.HTTPResponse | None = None
    _expected = 0
    _line = b""

    def turn(self) -> None:
        """Read one piece, and check that its number follows the one before."""
        if not self._response:
            connection = self._connect()
            connection.request("GET", "/drip", headers={"Connection": "close"})
            self._response, self._expected = connection.getresponse(), 0
        self._line = self._response.readline()
        assert self._line == b"%d\n" % self._expected or self._has_ended(), self._line
        self._expected += 1

    def close(self) -> None:
        if self._response:
            self._line += self._response.read()
            assert self._has_ended(), "the end is missing"
            self._response.close()

    def drop(self) -> None:
        if self._response:
            self._response.close()
        self._response = None

    def _has_ended(self) -> bool:
        return self.over.is_set() and self._line.endswith(b"end\n")


class Upload(Client):
    """Sends one long body, piece by piece; at the end the backend must have received all of it."""

    _connection: http.client.HTTPConnection | None = None
    _size = 0

    def turn(self) -> None:
        if not self._connection:
            self._connection, self._size = self._connect(), 0
            self._connection.putrequest("POST", "/")
            self._connection.putheader("Transfer-Encoding", "chunked")
            self._connection.endheaders()
        self._connection.send(b"400\r\n" + bytes(0x400) + b"\r\n")
        self._size += 0x400

    def close(self) -> None:
        if self._connection:
            self._connection.send(b"0\r\n\r\n")
            told = json.loads(_check(self._connection.getresponse()))
            assert told["size"] == self._size, f"{told['size']} bytes of {self._size} came"
            self.drop()

    def drop(self) -> None:
        if self._connection:
            self._connection.close()
        self._connection = None


@contextmanager
def busy(clients: Sequence[Client], backends: Backends) -> Iterator[None]:
    """Let clients work while the block runs, then let them finish what is under way."""
    for client in clients:
        client.start()
    try:
        yield
    finally:
        for client in clients:
            client.over.set()
        backends.let_go()
        for client in clients:
            client.join()


def _check(response: http.client.HTTPResponse) -> bytes:
    body = response.read()
    assert response.status == 200, f"status {response.status}"
    return body
