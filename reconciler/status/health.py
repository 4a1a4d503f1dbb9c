"""Health: tells Kubernetes' probes over HTTP whether the loop turns, and whether what is served is good."""

import socket
import threading
import time
from contextlib import suppress
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from reconciler.loop import events
from reconciler.loop.events import Event

_MOST = 64


class HealthError(Exception):
    """The port for probes cannot be used. The message is one line."""


class Health:
    """An observer that answers Kubernetes' probes. `longest` is how long a turn may take, in seconds."""

    def __init__(self, longest: float) -> None:
        self._longest = longest
        self._turned = time.monotonic()
        self._runs = False
        self._release = ""
        self._error = ""

    def observe(self, event: Event) -> None:
        """Note what an event says about the loop, nginx and the release that is served."""
        match event:
            case events.Turned():
                self._turned = time.monotonic()
            case events.Applied() | events.Idle():
                self._release, self._error = event.cycle.release, ""
            case events.Resumed() if event.size.hosts:
                self._release = event.release
            case events.Failed():
                self._error = event.why
            case events.NginxStarted():
                self._runs = True
            case events.NginxEnded():
                self._runs = False

    def answer(self, path: str) -> tuple[HTTPStatus, str]:
        """Answer a probe."""
        if path == "/healthz":
            stuck = time.monotonic() - self._turned
            alive = stuck < self._longest
            return (HTTPStatus.OK, "ok") if alive else (HTTPStatus.SERVICE_UNAVAILABLE, f"stuck for {stuck:.0f} s")
        if path == "/readyz":
            return self._answer_ready()
        return HTTPStatus.NOT_FOUND, "paths: /healthz and /readyz"

    def _answer_ready(self) -> tuple[HTTPStatus, str]:
        error = f"; {self._error}" if self._error else ""
        if not self._runs:
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
        """Answer in a thread. If too many connections are open, close the oldest: a probe ends long before that."""
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
        """Write nothing: clients break connections off."""


def serve_health(health: Health, address: str, port: int) -> ThreadingHTTPServer:
    """Answer probes in threads of their own until the server is shut down. HealthError if the port cannot be used."""

    class Handler(BaseHTTPRequestHandler):
        timeout = 5  # a client that sends nothing occupies a thread
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
            """Write nothing: probes come every few seconds."""

    try:
        server = _Server(address.strip("[]"), port, Handler)
    except OSError as error:
        raise HealthError(f"HEALTH_PORT: {address}:{port} cannot be used: {error.strerror}") from None
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server
