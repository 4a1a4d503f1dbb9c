"""explain of a running router: its admin port's /status.json, served by a real HTTP server."""

import json
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any

import pytest
from support.apiserver import ApiServer
from support.command import run
from support.objects import namespace, web
from support.ports import free_port
from support.reports import share_pods
from support.running_daemon import RunningDaemon

POD = {"name": "web-0", "address": "10.0.0.1:3000", "weight": 2}


def path(text: str, answer: str = "Pods", **more: object) -> dict[str, Any]:
    """Make a path of a status."""
    pods = [POD] if answer == "Pods" else []
    told = {"path": text, "namespace": "shop", "access": "open", "target": None, "answer": answer, "pods": pods}
    return told | more


STATUS: dict[str, Any] = {
    "version": 1,
    "program": {"name": "dispatcher", "version": "0.1.0"},
    "time": "2026-11-26T08:00:00Z",
    "started": "2026-11-26T07:00:00Z",
    "serving": {
        "state": "stale", "text": "serves what it read 90 seconds ago", "release": "abc",
        "since": "2026-11-26T07:00:01Z", "origin": "live", "read": "2026-11-26T07:58:30Z", "behind": 90.0,
        "error": None,
    },
    "size": {"hosts": 2, "locations": 4, "upstreams": 3, "pods": 1, "namespaces": 1},
    "source": {"text": "https://10.0.0.1:443", "answers": []},
    "nginx": {
        "version": "1.26.3", "running": True, "workers": {"serving": 1, "leaving": 0}, "connections": None,
        "memory": None,
    },
    "problems": [
        {"kind": "Namespace", "namespace": "", "name": "late", "what": "host shop.example.com",
         "why": "belongs to Namespace shop, which is older and does not share it", "expected": "another host",
         "reason": "HostConflict", "since": "2026-11-26T07:00:01Z"},
        {"kind": "Pod", "namespace": "shop", "name": "web-1", "what": "host", "why": "is new here", "expected": "else",
         "reason": "AReasonOfTheFuture", "since": "2026-11-26T07:00:01Z"},
    ],
    "held": [{"namespace": "stuck", "why": "nginx refused it", "until": None}],
    "hosts": [
        {"host": "shop.example.com", "namespace": "shop", "tls": None, "paths": [
            path("/api", access="with API key", target="/v1/"), path("=/api", target="/exact"), path("/down", "503"),
            path("/shut", "403", access="closed"), path("~^/r[0-9]+$", reload="tls"), path("/caf%C3%A9")]},
        {"host": "*.secure.dev", "namespace": "shop", "tls": {"not_after": "2027-01-01T00:00:00Z", "client": True},
         "paths": [path("/")]},
    ],
    "changes": [], "reloads": [], "certificates": [],
    "settings": [
        {"name": "PORT", "value": "8080", "default": "80", "allowed": "1-65535", "set": True},
        {"name": "API_KEY_HEADER", "value": "X-Key", "default": "X-ROUTING-API-KEY", "allowed": "", "set": True},
        {"name": "SSL_CERT", "value": "/etc/tls/tls.crt", "default": "", "allowed": "", "set": True},
    ],
}  # fmt: skip


@contextmanager
def admin(body: bytes, status: int = 200, location: str = "") -> Iterator[str]:
    """Run a real HTTP server that answers /status.json, and give its URL."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            found = self.path == "/status.json"
            self.send_response(status if found else 404)
            if location:
                self.send_header("Location", location)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


@pytest.fixture(scope="module")
def ask() -> Iterator[Callable[[str], dict[str, Any]]]:
    """Explain by the status above."""
    with admin(json.dumps(share_pods(STATUS)).encode()) as url:

        def explain(what: str) -> dict[str, Any]:
            told = run("explain", what, "--admin", url, "--json", http_proxy="http://127.0.0.1:1")
            assert told.stderr == ""
            record: dict[str, Any] = json.loads(told.stdout)
            assert told.returncode == (0 if record["answered"] else 1)
            return record

        yield explain


@pytest.mark.parametrize(
    ("what", "outcome", "match", "sent"),
    [
        ("shop.example.com/api/x?y=1", "Pods", "prefix", "/v1/x?y=1"),
        ("shop.example.com/api", "Pods", "exact", "/exact"),
        ("shop.example.com/down/x", "503", "prefix", "/down/x"),
        ("shop.example.com/shut", "403", "prefix", "/shut"),
        ("shop.example.com/r17", "Pods", "regex", "/r17"),
        ("shop.example.com/caf\u00e9/x", "Pods", "prefix", "/caf%C3%A9/x"),
        ("https://a.secure.dev", "Pods", "prefix", "/"),
    ],
)
def test_routes(ask: Callable[[str], dict[str, Any]], what: str, outcome: str, match: str, sent: str) -> None:
    """A running router's status explains paths as it serves them."""
    record = ask(what)
    assert (record["outcome"], record["path"]["match"], record["path"]["sent"]) == (outcome, match, sent)


def test_what_is_told(ask: Callable[[str], dict[str, Any]]) -> None:
    """Pods, keys, TLS, the others that want the host, and what a router does not tell."""
    record = ask("shop.example.com/api/x")
    assert record["pods"] == [{**POD, "namespace": "shop", "ready": True, "why": ""}]
    assert record["path"]["api_key"]
    assert [one["namespace"] for one in record["others"]] == ["late"]
    assert any("nothing of" in one for one in record["unknown"])
    assert "the router says: serves what it read 90 seconds ago" in record["unknown"]
    assert [ask(f"shop.example.com/{uri}")["path"]["reload"] for uri in ("api", "r17")] == ["", "tls"]
    tls = ask("a.secure.dev")["host"]["tls"]
    assert (tls["not_after"], tls["client"]) == ("2027-01-01T00:00:00Z", True)


def test_near_misses(ask: Callable[[str], dict[str, Any]]) -> None:
    """Near misses of a running router: similar names and paths, the other port, and Namespaces that are held."""
    reasons = {one["reason"] for one in ask("shop.exmaple.com")["near_misses"]}
    assert reasons == {"Similar", "ChangeHeldBack"}
    (other,) = [one for one in ask("https://shop.example.com/x")["near_misses"] if one["reason"] == "OtherPort"]
    assert other["expected"] == "http://shop.example.com/x, port 8080"
    assert [one["reason"] for one in ask("shop.example.com/apis")["near_misses"]] == ["Similar", "Similar"]


def test_settings_of_the_router(ask: Callable[[str], dict[str, Any]]) -> None:
    """As text, the port and the header are those of the router's settings."""
    with admin(json.dumps(share_pods(STATUS)).encode()) as url:
        shown = run("explain", "shop.example.com/api/x", "--admin", f"{url}/status.json").stdout
    assert "port       8080, http" in shown
    assert "in the header X-Key" in shown


@pytest.mark.parametrize(
    ("body", "status", "told"),
    [
        (b"", 503, "the answer is 503"),
        (b"{}", 302, "the answer is 302"),
        (b"<html>", 200, "the answer is not a router's /status.json"),
        (b'{"version": 1}', 200, "the answer is not a router's /status.json"),
        (b'{"version": 2}', 200, "is a status of version 2, and this program reads version 1"),
        (b"[" * 100_000, 200, "the answer is not a router's /status.json"),
        (b"\xff", 200, "the answer is not a router's /status.json"),
    ],
)
def test_no_status(body: bytes, status: int, told: str) -> None:
    """What is not a status is one line and exit code 3; a redirect is not followed."""
    with admin(body, status, "http://127.0.0.1:1/") as url:
        failed = run("explain", "shop.example.com", "--admin", url)
    assert (failed.returncode, failed.stdout) == (3, "")
    (line,) = failed.stderr.splitlines()
    assert told in line


def test_nobody_there() -> None:
    """If nobody listens on the port, one line says so; exit code 3."""
    failed = run("explain", "shop.example.com", "--admin", f"http://127.0.0.1:{free_port()}")
    assert failed.returncode == 3
    assert "cannot be read: Connection refused" in failed.stderr


def test_a_real_router(server: ApiServer, launch: Callable[..., RunningDaemon], port: int) -> None:
    """A running router explains what it serves, and what it left out and why."""
    server.load([namespace("a", {"a.dev": {}, "bad host": {}}), web("a", port), web("a", port, 3, "no slash")])
    daemon = launch()
    daemon.wait_until_serves("a.dev")
    admin = ["--admin", f"http://127.0.0.1:{daemon.admin_port}"]
    found = run("explain", "a.dev/x", *admin)
    assert found.returncode == 0
    assert re.search(rf"^Pods +web-2 +127\.0\.0\.2:{port} ", found.stdout, re.MULTILINE)
    unknown = run("explain", "b.dev", *admin)
    assert unknown.returncode == 1
    assert "the host is not served" in unknown.stdout
    problems = json.loads(run("explain", "a.dev", "--json", *admin).stdout)["problems"]
    assert {one["name"] for one in problems} == {"a"}
