"""Deadlines: sockets for urllib3 that end every wait, from the first to the last, when the time of a block is over."""

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

# The time of this thread's current deadline, by the monotonic clock.
_ends: ContextVar[float | None] = ContextVar("ends", default=None)


def _left() -> float | None:
    """Give the seconds that are left, or None without a deadline. TimeoutError if the deadline has passed."""
    ends = _ends.get()
    if ends is None:
        return None
    if (left := ends - time.monotonic()) <= 0:
        raise TimeoutError("the deadline has passed")
    return left


def _limit(sock: socket.socket) -> None:
    """Limit a socket's wait to the time that is left: its own timeout starts again with every byte."""
    if (left := _left()) is not None:
        sock.settimeout(left)


class _Socket(socket.socket):
    """A socket that never waits longer than until the deadline."""

    def recv_into(self, buffer: Any, nbytes: int = 0, flags: int = 0) -> int:
        _limit(self)
        return super().recv_into(buffer, nbytes, flags)

    def sendall(self, data: Any, flags: int = 0) -> None:
        _limit(self)
        super().sendall(data, flags)


class TlsSocket(ssl.SSLSocket):
    """The same with TLS. Every read or write calls one of these methods."""

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
    """Connect to the first address that answers.

    Each address gets its share of the time that is left, because an address may never answer.
    """
    # The name is used as it was given: a dot at its end keeps the resolver from adding domains.
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
    """Connect, and raise the errors that urllib3 expects here."""
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
    """Make a manager use these sockets for its connections. For TLS, its context needs `TlsSocket` too."""
    manager.pool_classes_by_scheme = {"http": _HttpPool, "https": _HttpsPool}


@contextmanager
def deadline(seconds: float) -> Iterator[None]:
    """Raise TimeoutError if all waits of this thread in the block together take more than `seconds`."""
    ends = time.monotonic() + seconds
    before = _ends.get()
    mine = _ends.set(ends if before is None else min(before, ends))
    try:
        yield
    except (OSError, urllib3.exceptions.HTTPError):
        if time.monotonic() < ends:
            raise
        raise TimeoutError(f"no complete answer in {seconds:g} seconds") from None
    finally:
        _ends.reset(mine)
