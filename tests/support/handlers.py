"""Pods with a behaviour of their own: HTTP/1.1 servers, each a class of Python's http.server, on loopback addresses."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from support.ports import free_port, loopback


class QuietHandler(BaseHTTPRequestHandler):
    """Keeps connections open and logs nothing. A Pod answers GET by `get`, and PUT by `put`."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        """Answer a GET."""
        self.get()

    def do_PUT(self) -> None:
        """Answer a PUT."""
        self.put()

    def get(self) -> None:
        """Refuse a GET."""
        self.answer(501)

    def put(self) -> None:
        """Refuse a PUT."""
        self.answer(501)

    def answer(self, status: int, body: bytes = b"") -> None:
        """Send a whole answer."""
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Log nothing."""


@contextmanager
def run_pod(number: int, handler: type[BaseHTTPRequestHandler]) -> Iterator[tuple[str, int]]:
    """Run a Pod, of whose addresses `number` is a part: give its address and port."""
    with ThreadingHTTPServer((loopback(f"10.244.9.{number}"), free_port()), handler) as server:
        server.daemon_threads = True
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        try:
            yield str(server.server_address[0]), server.server_address[1]
        finally:
            server.shutdown()
            thread.join()
