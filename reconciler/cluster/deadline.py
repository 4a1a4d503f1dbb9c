"""Deadlines: sockets for urllib3 that end every wait, from the first to the last, when a block's time is over."""

import socket
import ssl
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from contextvars import ContextVar
from typing import Any

import urllib3
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.exceptions import ConnectTimeoutError, NameResolutionError, NewConnectionError

# When the innermost deadline of this thread is, by the monotonic clock.
_ends: ContextVar[float | None] = ContextVar("ends", default=None)


def _left() -> float | None:
    """Give the seconds that are left, None without a deadline. TimeoutError when there are none."""
    ends = _ends.get()
    if ends is None:
        return None
    if (left := ends - time.monotonic()) <= 0:
        raise TimeoutError("the deadline has passed")
    return left


def _limit(sock: socket.socket) -> None:
    """Let a socket wait no longer than what is left: a time-out of its own starts anew with every byte."""
    if (left := _left()) is not None:
        sock.settimeout(left)


class _Socket(socket.socket):
    """A socket each of whose waits ends at the deadline."""

    def recv_into(self, buffer: Any, nbytes: int = 0, flags: int = 0) -> int:
        _limit(self)
        return super().recv_into(buffer, nbytes, flags)

    def sendall(self, data: Any, flags: int = 0) -> None:
        _limit(self)
        super().sendall(data, flags)


class TlsSocket(ssl.SSLSocket):
    """The same with TLS; whatever reads or writes comes to these."""

    def do_handshake(self, block: bool = False) -> None:
        """Shake hands."""
        _limit(self)
        super().do_handshake(block)

    def read(self, len: int = 1024, buffer: Any = None) -> Any:  # noqa: A002
        """Receive."""
        _limit(self)
        return super().read(len, buffer)

    def send(self, data: Any, flags: int = 0) -> int:
        """Send."""
        _limit(self)
        return super().send(data, flags)


def _connect(connection: HTTPConnection) -> socket.socket:
    """Connect to the first address that answers; each gets its share of what is left, as one may be a black hole."""
    # The name as it was given: a dot at its end keeps the resolver from adding domains.
    host = connection._dns_host.strip("[]")
    addresses = socket.getaddrinfo(host, connection.port, type=socket.SOCK_STREAM)
    while addresses:
        family, kind, protocol, _, address = addresses.pop(0)
        with ExitStack() as closing:
            sock = closing.enter_context(_Socket(family, kind, protocol))
            try:
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                left = _left()
                sock.settimeout(connection.timeout if left is None else left / (len(addresses) + 1))
                sock.connect(address)
            except OSError:
                if not addresses:
                    raise
            else:
                closing.pop_all()
                return sock
    raise OSError("the name has no address")


def _open(connection: HTTPConnection) -> socket.socket:
    """Connect, and fail with the errors that urllib3 expects here."""
    try:
        return _connect(connection)
    except socket.gaierror as error:
        raise NameResolutionError(connection.host, connection, error) from None
    except TimeoutError:
        raise ConnectTimeoutError(connection, f"no connection to {connection.host}:{connection.port} in time") from None
    except (OSError, UnicodeError) as error:
        raise NewConnectionError(connection, f"no connection: {error}") from None


class _HttpConnection(HTTPConnection):
    def _new_conn(self) -> socket.socket:
        return _open(self)


class _HttpsConnection(HTTPSConnection):
    def _new_conn(self) -> socket.socket:
        return _open(self)


class _HttpPool(HTTPConnectionPool):
    ConnectionCls = _HttpConnection


class _HttpsPool(HTTPSConnectionPool):
    ConnectionCls = _HttpsConnection


def use_pools(manager: urllib3.PoolManager) -> None:
    """Let a manager make its connections from these sockets; TLS needs `TlsSocket` in its context besides."""
    manager.pool_classes_by_scheme = {"http": _HttpPool, "https": _HttpsPool}


@contextmanager
def deadline(seconds: float) -> Iterator[None]:
    """End all waits of this thread inside in `seconds`, all of them together, by TimeoutError."""
    ends = time.monotonic() + seconds
    before = _ends.get()
    mine = _ends.set(ends if before is None else min(before, ends))
    try:
        yield
    except (OSError, urllib3.exceptions.HTTPError):
        if time.monotonic() < ends:
            raise
        raise TimeoutError(f"no whole answer in {seconds:g} seconds") from None
    finally:
        _ends.reset(mine)
