"""The HTTP server of the health port and the admin port: waitress, with its threads and connections bounded."""

import logging
import os
import socket
import threading
from typing import TYPE_CHECKING

from waitress.adjustments import Adjustments
from waitress.server import TcpWSGIServer

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIApplication

_MOST_CONNECTIONS = 64
# Seconds after which an idle client is closed. One that sends a head byte by byte is closed when others need room.
_PATIENCE = 10
_LONGEST_HEAD = 8192


class PortError(Exception):
    """A port for probes or people cannot be used. The message is one line."""


class _Waitress(TcpWSGIServer):  # type: ignore[misc]
    """Waitress, but one connection too many closes the oldest. Waitress itself would stop to accept any."""

    def handle_accept(self) -> None:
        """Accept a connection, and close the oldest if too many are open: a request ends long before that."""
        super().handle_accept()
        if len(self.active_channels) > _MOST_CONNECTIONS:
            next(iter(self.active_channels.values())).handle_close()


class HttpServer:
    """Answers requests in threads of its own until it is closed. `port` is its number, also if it was chosen freely.

    An idle client is closed after `patience` seconds.
    """

    def __init__(
        self, app: "WSGIApplication", address: str, port: int, threads: int, patience: int = _PATIENCE
    ) -> None:
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        listener = socket.create_server((address.strip("[]"), port), family=family)
        self.port: int = listener.getsockname()[1]
        adjustments = Adjustments(
            sockets=[listener],
            threads=threads,
            connection_limit=2 * _MOST_CONNECTIONS,
            channel_timeout=patience,
            cleanup_interval=1,
            max_request_header_size=_LONGEST_HEAD,
            max_request_body_size=_LONGEST_HEAD,
            ident=None,
            asyncore_use_poll=True,  # select() fails for descriptors above 1024
            log_socket_errors=False,
        )
        place = (listener.family, listener.type, listener.proto, listener.getsockname())
        self._open: dict[int, object] = {}
        self._waitress = _Waitress(app, self._open, _sock=listener, adj=adjustments, sockinfo=place, bind_socket=False)
        self._thread = threading.Thread(target=self._waitress.run, daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Close all connections, and end the threads."""
        trigger = self._waitress.trigger
        with trigger.lock:
            # Waitress's own thread has to do it. Without the lock it could already have closed the pipe that wakes it.
            trigger.thunks.append(self._close_all)
            trigger.pull_trigger()
        self._thread.join()
        self._waitress.task_dispatcher.shutdown()

    def _close_all(self) -> None:
        self._waitress.asyncore.close_all(self._open)


def serve(app: "WSGIApplication", setting: str, address: str, port: int, threads: int = 1) -> HttpServer:
    """Answer requests with `app` at the address and port that a setting names. PortError if it cannot be used."""
    # Waitress logs what clients do wrong. Clients must not write into the log that all tenants share.
    logger = logging.getLogger("waitress")
    logger.propagate = False
    logger.handlers = [logging.NullHandler()]
    try:
        return HttpServer(app, address, port, threads)
    except OSError as error:
        raise PortError(f"{setting}: {address}:{port} cannot be used: {os.strerror(error.errno or 0)}") from None
