"""A small HTTP server that serves the page and a report, with the headers of the admin port."""

import hashlib
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib import resources
from typing import Any

from support.reports import share_pods

from reconciler.status.page import write_policy


def read_page() -> str:
    """Read the page as it is shipped."""
    return (resources.files("reconciler.status") / "page.html").read_text()


class PageServer:
    """A running server; what it answers can be changed. `asked` has the path and If-None-Match of each request."""

    def __init__(self, report: Any) -> None:
        self.report = report
        self.status = 200
        self.asked: list[tuple[str, str | None]] = []
        self._page = read_page()
        self._server: ThreadingHTTPServer | None = None
        self.port = 0
        self.start()

    @property
    def url(self) -> str:
        """The address of the page."""
        return f"http://127.0.0.1:{self.port}/"

    def start(self) -> None:
        """Answer in threads; after stop() on the same port again."""
        self._server = ThreadingHTTPServer(("127.0.0.1", self.port), self._make_handler())
        self.port = self._server.server_address[1]
        threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True).start()

    def stop(self) -> None:
        """Close the port."""
        if self._server:
            self._server.shutdown()
            self._server.server_close()
            self._server = None

    def find(self, path: str, tag: str | None) -> tuple[int, bytes, dict[str, str]]:
        """Find the answer to a request: status, body and headers."""
        self.asked.append((path, tag))
        if path == "/":
            headers = {"Content-Type": "text/html; charset=utf-8", "Content-Security-Policy": write_policy(self._page)}
            return 200, self._page.encode(), headers
        if path != "/status.json":
            return 404, b"", {}
        body = (
            self.report
            if isinstance(self.report, bytes)
            else json.dumps(share_pods(self.report) if "hosts" in self.report else self.report).encode()
        )
        fresh = f'"{hashlib.sha256(body).hexdigest()}"'
        if self.status == 200 and tag == fresh:
            return 304, b"", {"ETag": fresh}
        return self.status, body, {"Content-Type": "application/json", "ETag": fresh}

    def _make_handler(self) -> type[BaseHTTPRequestHandler]:
        find = self.find

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                status, body, headers = find(self.path, self.headers["If-None-Match"])
                self.send_response(status)
                for name, value in headers.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: object) -> None:
                """Write nothing."""

        return Handler
