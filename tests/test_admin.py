"""The admin port of a running router: who may ask, what is told, and that no client can stop the router."""

import base64
import gzip
import hashlib
import http.client
import json
import re
import socket
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest
from jsonschema import Draft202012Validator
from support import command
from support.apiserver import ApiServer
from support.objects import WALKTHROUGH, namespace, secret, web
from support.ports import free_port
from support.running_daemon import RunningDaemon

from reconciler.status.page import read_page, write_policy

Start = Callable[..., RunningDaemon]
VALIDATOR = Draft202012Validator(json.loads((Path(__file__).parents[1] / "docs" / "status.schema.json").read_text()))


@dataclass(frozen=True)
class Got:
    """An answer: its status, headers and body."""

    status: int
    headers: http.client.HTTPMessage
    body: bytes


def get(port: int, path: str, host: str | None = "127.0.0.1", **headers: str) -> Got:
    """Request a path by this name; in the names of headers `_` stands for `-`."""
    with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=20)) as connection:
        connection.putrequest("GET", path, skip_host=True, skip_accept_encoding=True)
        for name, value in {**({} if host is None else {"Host": host}), **headers}.items():
            connection.putheader(name.replace("_", "-"), value)
        connection.endheaders()
        answer = connection.getresponse()
        return Got(answer.status, answer.headers, answer.read())


@pytest.fixture
def daemon(server: ApiServer, launch: Start, port: int) -> RunningDaemon:
    """Run a router of one host, with a name that the admin port may be asked by."""
    server.load([namespace("a", {"a.dev": {}}), web("a", port), secret("a", api_key="open sesame")])
    one = launch(ADMIN_HOSTS="router.internal,other.internal")
    one.wait_for_line("applied")
    return one


def test_hosts(daemon: RunningDaemon) -> None:
    """Addresses, localhost and ADMIN_HOSTS are answered. A name that an attacker lets point here is not."""
    for host in ("127.0.0.1", "10.1.2.3:9900", "[::1]:9900", "localhost", "LOCALHOST:1", "router.internal:9900"):
        assert get(daemon.admin_port, "/healthz", host).status == 200, host
    for host in ("evil.dev", "a.dev", "127.0.0.1.evil.dev", "localhost.evil.dev", "", "127.0.0.1:x", "[::1", None):
        for path in ("/healthz", "/status.json", "/", "/x"):
            answer = get(daemon.admin_port, path, host)
            assert answer.status in (400, 421), host
            assert b"a.dev" not in answer.body
    assert daemon.probe("/healthz") == (200, "ok"), "probes may come by any name"


def test_paths(daemon: RunningDaemon) -> None:
    """Health is told as on the health port; other paths are 404, and name those that there are."""
    for path in ("/healthz", "/readyz"):
        answer = get(daemon.admin_port, path)
        assert (answer.status, answer.body.decode().strip()) == daemon.probe(path)
    answer = get(daemon.admin_port, "/../etc/passwd")
    assert answer.status == 404
    assert b"/status.json" in answer.body
    assert get(daemon.admin_port, "/").status == (200 if read_page() else 404)


def test_status(daemon: RunningDaemon, server: ApiServer, port: int) -> None:
    """The document says what is served, follows the cluster, and holds no key."""
    daemon.wait_for(lambda: daemon.read_status()["serving"]["state"] == "serving")
    status = daemon.read_status()
    VALIDATOR.validate(status)
    assert status["serving"]["origin"] == "live"
    assert status["size"] == {"hosts": 1, "locations": 2, "upstreams": 1, "pods": 1, "namespaces": 1}
    (host,) = status["hosts"]
    (name,) = status["upstreams"]
    pods = [{"name": "web-2", "address": f"127.0.0.2:{port}", "weight": 1}]
    assert host["paths"] == [
        {
            "path": "/", "namespace": "a", "access": "with API key", "target": None, "answer": "Pods",
            "upstream": name, "options": {}, "reload": "",
        }
    ]  # fmt: skip
    assert status["upstreams"] == {name: pods}
    assert {one["resource"] for one in status["source"]["answers"]} == {"namespaces", "pods", "secrets"}
    assert all(one["code"] == 200 and one["number"] and one["bytes"] for one in status["source"]["answers"])
    assert status["nginx"]["running"]
    assert status["nginx"]["workers"]["serving"] >= 1
    assert status["nginx"]["memory"] > 1_000_000
    assert "sesame" not in json.dumps(status)
    told = {one["name"]: one for one in status["settings"]}
    assert (told["ADMIN_HOSTS"]["value"], told["ADMIN_HOSTS"]["set"]) == ("router.internal,other.internal", True)
    assert (told["SHUTDOWN_TIMEOUT"]["value"], told["SHUTDOWN_TIMEOUT"]["set"]) == ("25", False)
    server.put(web("a", port, 3))
    daemon.wait_for(lambda: daemon.read_status()["size"]["pods"] == 2)
    newest = daemon.read_status()["changes"][0]
    assert newest["changes"] == [{"sign": "+", "text": f"pod a/web-3 for / (address 127.0.0.3:{port}, weight 1)"}]
    without = daemon.read_status()["nginx"]["endpoints"]["without_reload"]  # if this nginx has Lua
    assert newest["without_reload"] is without
    assert len(daemon.read_status()["reloads"]) == (2 if without else 3)


def test_what_goes_wrong(daemon: RunningDaemon, server: ApiServer, port: int) -> None:
    """The document tells why the cluster cannot be read, since when a problem stands, and that it is mended."""
    server.put(web("a", port, 4, path="no slash"))
    daemon.wait_for(lambda: daemon.read_status()["problems"])
    (problem,) = daemon.read_status()["problems"]
    assert (problem["kind"], problem["namespace"], problem["name"]) == ("Pod", "a", "web-4")
    token = daemon.token.read_text()
    daemon.token.write_text("expired")
    daemon.wait_for(lambda: daemon.read_status()["serving"]["state"] == "stale")
    serving = daemon.read_status()["serving"]
    assert "401" in serving["error"]
    assert serving["error"] in serving["text"]
    assert {one["code"] for one in daemon.read_status()["source"]["answers"]} == {200, 401}
    assert daemon.read_status()["problems"] == [problem]
    daemon.token.write_text(token)
    daemon.wait_for(lambda: daemon.read_status()["serving"]["state"] == "serving")
    VALIDATOR.validate(daemon.read_status())


def test_a_former_release(daemon: RunningDaemon, server: ApiServer) -> None:
    """After a restart without an API server, the document says that a former process's release is served."""
    daemon.end()
    server.refuse()
    daemon.start()
    daemon.wait_for(lambda: daemon.read_status().get("serving", {}).get("error"))
    status = daemon.read_status()
    VALIDATOR.validate(status)
    assert (status["serving"]["state"], status["serving"]["origin"]) == ("stale", "disk")
    assert (status["size"]["hosts"], status["serving"]["read"], status["hosts"]) == (1, None, [])


def test_caching(daemon: RunningDaemon) -> None:
    """An answer has a tag; whoever knows it gets 304. gzip holds the same document."""
    for _ in range(100):
        first = get(daemon.admin_port, "/status.json")
        tag, document = first.headers["ETag"], first.body
        packed = get(daemon.admin_port, "/status.json", Accept_Encoding="gzip")
        again = get(daemon.admin_port, "/status.json", If_None_Match=f'"x", {tag}')
        if again.status == 304:
            break
    assert (again.status, again.body, again.headers["ETag"]) == (304, b"", tag)
    assert packed.headers["Content-Encoding"] == "gzip"
    assert gzip.decompress(packed.body) == document
    assert get(daemon.admin_port, "/status.json", If_None_Match='"x"').status == 200


def test_port_is_taken(server: ApiServer, launch: Start) -> None:
    """A taken port is one line and exit 3 at the start."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        number = taken.getsockname()[1]
        daemon = launch(ADMIN_PORT=str(number))
        assert daemon.process
        assert daemon.process.wait(60) == 3
        daemon.wait_for_line(f"ADMIN_PORT: 127.0.0.1:{number} cannot be used: Address already in use")
        assert daemon.count("Traceback") == 0


def test_two_routers(server: ApiServer, launch: Start, port: int) -> None:
    """Two routers of a Pod each have their own admin port, and neither knows of the other."""
    server.load([namespace("a", {"a.dev": {}}), web("a", port)])
    one, other = launch(folder="one"), launch(folder="other", HOSTS_ANNOTATION="other/hosts")
    one.wait_for(lambda: one.read_status().get("serving", {}).get("origin") == "live")
    other.wait_for(lambda: other.read_status().get("serving", {}).get("origin") == "live")
    assert one.read_status()["size"]["hosts"] == 1
    assert other.read_status()["size"]["hosts"] == 0


def test_off_by_default(server: ApiServer, launch: Start) -> None:
    """Without ADMIN_PORT nothing listens beside nginx and the health port."""
    daemon = launch(ADMIN_PORT="0")
    daemon.wait_for_line("applied")
    assert daemon.read_status() == {}


def test_replay() -> None:
    """A replay that serves has an admin port, which tells of the recordings, and every step fits the schema."""
    number = free_port()
    ports = {"PORT": str(free_port()), "SSL_PORT": str(free_port()), "ADMIN_PORT": str(number)}
    given = ("replay", WALKTHROUGH, "--serve", "--keep")
    certificate = {"SSL_CERT": str(WALKTHROUGH / "default.crt"), "SSL_KEY": str(WALKTHROUGH / "default.key")}
    with command.start(*given, **ports, **certificate, LISTEN_ADDRESSES="127.0.0.1") as process:
        assert process.stdout
        for line in process.stdout:
            if line.startswith("serving on"):
                break
        status = httpx.get(f"http://127.0.0.1:{number}/status.json").json()
        process.terminate()
    VALIDATOR.validate(status)
    assert status["serving"]["state"] == "serving"
    assert re.fullmatch(r"\d+ recordings, 001-empty\.json to 0.*\.json", status["source"]["text"])
    assert [one["part"] for one in status["certificates"]].count("default") == 1
    assert status["changes"]


def test_policy_of_the_page() -> None:
    """The page's policy names the hashes of its inline script and style, and allows no other."""
    policy = write_policy("<!doctype html><style>a{}</style><p>x<script>let a = '<b>'</script>")
    parts = dict(part.split(" ", 1) for part in policy.split("; "))
    assert parts["default-src"] == "'none'"
    assert parts["connect-src"] == "'self'"
    for tag, text in (("style", "a{}"), ("script", "let a = '<b>'")):
        digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
        assert parts[f"{tag}-src"] == f"'sha256-{digest}'"
    assert "unsafe" not in policy
