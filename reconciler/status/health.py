"""Health: what Kubernetes' probes ask over HTTP: whether the loop turns, and whether what is served is good."""

import socket
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

_MOST = 64


class HealthError(Exception):
    """The port for probes cannot be had; the text is one line."""


class Health:
    """What is known of the daemon's state; written by its loop, read by probes. `longest` is a turn's, in seconds."""

    def __init__(self, longest: float) -> None:
        self._longest = longest
        self._turned = time.monotonic()
        self._release = ""
        self._error = ""
        self.is_running: Callable[[], bool] = lambda: True

    def turned(self) -> None:
        """Note that the loop turns."""
        self._turned = time.monotonic()

    def serve(self, release: str) -> None:
        """Note the release that is served and known to be good."""
        self._release = release

    def fail(self, error: str) -> None:
        """Note what keeps the loop from its work; empty: nothing does."""
        self._error = error

    def answer(self, path: str) -> tuple[HTTPStatus, str]:
        """Answer a probe."""
        if path == "/healthz":
            stuck = time.monotonic() - self._turned
            alive = stuck < self._longest
            return (HTTPStatus.OK, "ok") if alive else (HTTPStatus.SERVICE_UNAVAILABLE, f"stuck for {stuck:.0f} s")
        if path == "/readyz":
            return self._answer_ready()
        return HTTPStatus.NOT_FOUND, "here are /healthz and /readyz"

    def _answer_ready(self) -> tuple[HTTPStatus, str]:
        error = f"; {self._error}" if self._error else ""
        if not self.is_running():
            return HTTPStatus.SERVICE_UNAVAILABLE, f"nginx does not run{error}"
        if not self._release:
            return HTTPStatus.SERVICE_UNAVAILABLE, f"no release is known to be good{error}"
        return HTTPStatus.OK, f"serving release {self._release}{error}"


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128

    def __init__(self, address: str, port: int, handler: type[BaseHTTPRequestHandler]) -> None:
        self.address_family = socket.AF_INET6 if ":" in address else socket.AF_INET
        self._turn = threading.Lock()
        self._open: dict[Any, None] = {}
        super().__init__((address, port), handler)

    def process_request(self, request: Any, client_address: Any) -> None:
        """Answer in a thread. Of too many the one that takes longest is cut off: a probe is done long before."""
        with self._turn:
            self._open[request] = None
            oldest = next(iter(self._open)) if len(self._open) > _MOST else None
            self._open.pop(oldest, None)
        if oldest:
            with suppress(OSError):  # it may have ended by now
                oldest.shutdown(socket.SHUT_RDWR)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        """Close a connection."""
        with self._turn:
            self._open.pop(request, None)
        super().shutdown_request(request)

    def handle_error(self, *_: object) -> None:
        """Say nothing: a client may break off."""


def serve_health(health: Health, address: str, port: int) -> ThreadingHTTPServer:
    """Answer probes from threads of their own, until the server is shut down. HealthError if the port cannot be had."""

    class Handler(BaseHTTPRequestHandler):
        timeout = 5  # a client that says nothing holds a thread
        server_version = "dispatcher"
        sys_version = ""

        def do_GET(self) -> None:
            status, text = health.answer(self.path)
            body = f"{text}\n".encode("utf-8", "backslashreplace")
            self.send_response(status)
            self.send_header("Content-Type", "text/plain; charset=utf-8")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Say nothing: probes come every few seconds."""

    try:
        server = _Server(address.strip("[]"), port, Handler)
    except OSError as error:
        raise HealthError(f"HEALTH_PORT: {address}:{port} cannot be used: {error.strerror}") from None
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server
