"""The access log: which line a running nginx writes for a request, in both formats, and what no line ever holds."""

import base64
import json
import re
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
from jsonschema import Draft202012Validator
from support.authority import Authority
from support.backends import Backends
from support.canaries import Canaries
from support.command import run
from support.objects import WALKTHROUGH, namespace, pod, secret, tls, unready
from support.pods import DECLARED, HOST, PORT, entry
from support.router import Router
from support.running_daemon import wait_until
from websockets.sync.client import connect

from reconciler.nginx.program import check_tree

Start = Callable[..., Router]
VALIDATOR = Draft202012Validator(json.loads((Path(__file__).parents[1] / "docs/access-log.schema.json").read_text()))
SECURE = "secure.dev"
COMBINED = re.compile(
    r'(?P<client>\S+) - - \[(?P<time>[^]]+)\] "(?P<request>[^"]*)" (?P<status>\d{3}) (?P<body>\d+) "-" '
    r'"(?P<agent>[^"]*)" (?P<request_id>[0-9a-f]{32}) "(?P<host>[^"]*)" "(?P<namespace>[^"]*)" "(?P<rule>[^"]*)" '
    r'"(?P<upstream>[^"]*)" "(?P<upstream_status>[^"]*)" "(?P<upstream_seconds>[^"]*)" (?P<seconds>[0-9.]+) '
    r'"(?P<tls>[^"]*)" (?P<received>\d+)'
)


class Reader:
    """Reads the access log of one test from the file that nginx's reader inherited as its standard output."""

    text = ""

    def wait_for(self, number: int) -> list[str]:
        """Wait until this number of lines has come since the start, and give all of them."""

        def came() -> bool:
            # Opened anew and only read: `capfd.readouterr` empties the file, and would lose what comes as it does so.
            self.text = Path("/proc/self/fd/1").read_text()
            return self.text.count("\n") >= number

        wait_until(came, lambda: self.text)
        return self.text.splitlines()

    def read(self, number: int) -> list[dict[str, Any]]:
        """Wait for this number of lines of JSON, check each with the schema, and give them by path."""
        lines = [json.loads(line) for line in self.wait_for(number)]
        for line in lines:
            VALIDATOR.validate(line)
        return lines

    def read_combined(self, number: int) -> list[dict[str, str]]:
        """Wait for this number of lines, and give the fields of each."""
        return [found.groupdict() for line in self.wait_for(number) if (found := COMBINED.fullmatch(line))]


@pytest.fixture
def reader(capfd: pytest.CaptureFixture[str]) -> Reader:
    """Read what comes to standard output, which `capfd` makes a file."""
    return Reader()


def serve(router: Router, authority: Authority, ip: str) -> None:
    """Serve a Namespace with an open host, one with TLS, and two with a key and with a Pod that is not ready."""
    certificate, key = authority.issue(SECURE)
    lame = unready(pod("lame", "web-0", ip, [entry("/lame")], DECLARED))
    router.serve(
        namespace("team", {HOST: {"sharedWith": ["keyed", "lame"]}, SECURE: tls()}),
        secret("team", ssl_crt=certificate, ssl_key=key),
        pod("team", "web-0", ip, [entry("/api"), entry("=/exact", targetPath="/x")], DECLARED),
        namespace("keyed", {HOST: {}}, created="2026-11-23T00:00:00Z"),
        secret("keyed", api_key="sesame"),
        pod("keyed", "web-0", ip, [entry("/keyed")], DECLARED),
        namespace("lame", {HOST: {}}, created="2026-11-23T00:00:00Z"),
        lame,
    )


def key(value: str = "sesame") -> str:
    return base64.b64encode(value.encode()).decode()


def pick(lines: list[dict[str, Any]], *names: str) -> list[tuple[Any, ...]]:
    return sorted(tuple(line[name] for name in names) for line in lines)


def send_all(here: Router, authority: Authority) -> None:
    """Send one request of each kind: eleven lines."""
    here.ask(HOST, "/api/a%20b?q=1")
    here.ask(HOST, "/exact")
    here.ask(HOST, "/keyed")
    here.ask(HOST, "/keyed/x", X_ROUTING_API_KEY=key())
    here.ask(HOST, "/lame")
    here.ask(HOST, "/nobody")
    here.ask(HOST, "/a/../b")
    assert here.is_closed_on("unknown.dev", "/u")
    here.ask_tls(SECURE, "/api")
    with httpx.Client(http2=True, verify=authority.trust()) as client:
        url = f"https://127.0.0.1:{here.ssl_port}/api/2"
        client.get(url, headers={"Host": SECURE}, extensions={"sni_hostname": SECURE})
    raw = socket.create_connection(("127.0.0.1", here.port), timeout=20)
    with connect(f"ws://{HOST}/api/ws", sock=raw) as websocket:
        websocket.send("hello")
        websocket.recv(timeout=20)


EXPECTED = [
    ("/a/../b", "", "", 400), ("/api", "team", "/api", 200), ("/api/2", "team", "/api", 200),
    ("/api/a%20b", "team", "/api", 200), ("/api/ws", "team", "/api", 101), ("/exact", "team", "=/exact", 200),
    ("/keyed", "keyed", "/keyed", 403), ("/keyed/x", "keyed", "/keyed", 200), ("/lame", "lame", "/lame", 503),
    ("/nobody", "team", "", 404), ("/u", "", "", 444),
]  # fmt: skip


@pytest.fixture(params=["reload", "lua"])
def endpoints(request: pytest.FixtureRequest) -> str:
    """Give each way in which Pods come and go: the log is the same."""
    if request.param == "lua":
        request.getfixturevalue("has_lua")
    return str(request.param)


def test_json(router: Start, reader: Reader, authority: Authority, ips: list[str], endpoints: str) -> None:
    """Each kind of request has one line of JSON that follows the schema, with the Namespace and rule that took it."""
    here = router(ACCESS_LOG="json", ENDPOINTS=endpoints)
    serve(here, authority, ips[0])
    send_all(here, authority)
    lines = reader.read(len(EXPECTED))
    assert pick(lines, "path", "namespace", "rule", "status") == EXPECTED
    by_path = {line["path"]: line for line in lines}
    pod_ = f"{ips[0]}:{PORT}"
    asked = {path for path, line in by_path.items() if line["upstream"] == pod_}
    assert asked == {"/api", "/api/2", "/api/a%20b", "/api/ws", "/exact", "/keyed/x"}
    assert {line["upstream"] for path, line in by_path.items() if path not in asked} == {""}
    assert by_path["/api"]["tls"] in ("TLSv1.2", "TLSv1.3") and by_path["/exact"]["tls"] == ""
    assert (by_path["/api/2"]["protocol"], by_path["/api/2"]["host"]) == ("HTTP/2.0", SECURE)
    assert {line["client"] for line in lines} == {"127.0.0.1"}
    assert by_path["/u"]["host"] == "unknown.dev" and by_path["/u"]["bytes"] == 0


def test_combined(router: Start, reader: Reader, authority: Authority, ips: list[str], endpoints: str) -> None:
    """Each kind of request has one line that begins like nginx's combined format, with the same facts behind it."""
    here = router(ACCESS_LOG="combined", ENDPOINTS=endpoints)
    serve(here, authority, ips[0])
    send_all(here, authority)
    lines = reader.read_combined(len(EXPECTED))
    found = sorted((one["request"].split()[1], one["namespace"], one["rule"], int(one["status"])) for one in lines)
    assert found == EXPECTED
    by_path = {line["request"].split()[1]: line for line in lines}
    assert by_path["/exact"]["request"] == "GET /exact HTTP/1.1"
    assert by_path["/exact"]["upstream"] == f"{ips[0]}:{PORT}" and by_path["/exact"]["upstream_status"] == "200"
    assert by_path["/lame"]["upstream"] == "-"
    assert by_path["/api"]["tls"].startswith("TLSv1") and by_path["/exact"]["tls"] == "-"


@pytest.mark.parametrize("form", ["json", "combined"])
def test_queries_are_a_choice(router: Start, reader: Reader, authority: Authority, ips: list[str], form: str) -> None:
    """With ACCESS_LOG_QUERY a line has the query, in JSON as a field of its own."""
    here = router(ACCESS_LOG=form, ACCESS_LOG_QUERY="true")
    serve(here, authority, ips[0])
    here.ask(HOST, "/api?a=1&b=%22")
    if form == "json":
        assert pick(reader.read(1), "path", "query") == [("/api", "a=1&b=%22")]
    else:
        assert [one["request"] for one in reader.read_combined(1)] == ["GET /api?a=1&b=%22 HTTP/1.1"]


@pytest.mark.parametrize("path", ["/api", "/lame", "/nobody", "/keyed", "/a/../b"])
def test_client_gets_the_id(router: Start, reader: Reader, authority: Authority, ips: list[str], path: str) -> None:
    """The client gets the id of its line exactly once, whoever answers, and so does the Pod."""
    here = router(ACCESS_LOG="json")
    serve(here, authority, ips[0])
    answer = here.ask(HOST, path, X_Request_ID="mine")
    (line,) = reader.read(1)
    assert answer.headers["x-request-id"] == line["request_id"]
    if path == "/api":
        assert answer.told["headers"]["x-request-id"] == line["request_id"]
    if path == "/lame":
        assert answer.headers["retry-after"] == "5"


def test_nobody_pays_for_what_is_off(router: Start, authority: Authority, ips: list[str]) -> None:
    """Without the settings nothing of this is in the configuration, in the folder, or in an answer."""
    here = router()
    serve(here, authority, ips[0])
    assert "x-request-id" not in here.ask(HOST, "/api").headers
    text = (here.folder / "current" / "nginx.conf").read_text()
    assert "log_format" not in text and "$namespace" not in text and "$path_rule" not in text
    assert not (here.folder / "access.log").exists() and not (here.folder / "requests.log").exists()


@pytest.mark.parametrize("form", ["json", "combined"])
def test_no_secret(router: Start, reader: Reader, authority: Authority, ips: list[str], form: str) -> None:
    """No key, cookie, credential, query, or Referer is in any line."""
    here, canaries = router(ACCESS_LOG=form, REQUEST_METRICS="on", ADMIN_PORT="1"), Canaries()
    serve(here, authority, ips[0])
    mint = canaries.mint
    hidden = {
        "X_ROUTING_API_KEY": key(mint("a key")), "Cookie": f"a={mint('a cookie')}",
        "Referer": f"https://{mint('a site')}/{mint('its path')}?{mint('its query')}",
        "Authorization": f"Basic {key('me:' + mint('a password'))}", "X_Own": mint("a header"),
    }  # fmt: skip
    for path in ("/api", "/keyed", "/lame", "/nobody", "/a/../b"):
        here.ask(HOST, f"{path}?{mint('a query')}", **hidden)
        here.ask(HOST, f"http://{HOST}{path}?{mint('a query')}", **hidden)
    here.ask_tls(SECURE, f"/api?{mint('a query')}", **hidden)
    lines = reader.wait_for(11)
    assert len(lines) == 11
    assert canaries.find("\n".join(lines).encode()) == set()


def test_key_in_the_agent(router: Start, reader: Reader, authority: Authority, ips: list[str]) -> None:
    """If the API key's header is User-Agent, no line holds it."""
    here = router(ACCESS_LOG="json", API_KEY_HEADER="User-Agent")
    serve(here, authority, ips[0])
    assert here.ask(HOST, "/keyed", User_Agent=key()).status == 200
    assert pick(reader.read(1), "agent", "status") == [("", 200)]


def send(port: int, *lines: bytes) -> None:
    """Send bytes as they are, and read until the connection is closed."""
    with socket.create_connection(("127.0.0.1", port), timeout=20) as connection:
        connection.sendall(b"\r\n".join((*lines, b"Connection: close", b"", b"")))
        while connection.recv(65536):
            pass


FORGED = b'User-Agent: x","status":2}\x01\x1b[2J\x7f\xc2\x9b\xff\xf0\x9f\x98\x80'
HOSTILE = [
    (
        b"GET /api HTTP/1.1",
        b"Host: " + HOST.encode(),
        FORGED,
    ),
    (b'GET /api/"%0a%22\xff\xc2\x85 HTTP/1.1', b"Host: " + HOST.encode(), b'User-Agent: a" 200 1 "-" "\\'),
    (b"GET /api/\\x22\\u0022$namespace HTTP/1.1", b"Host: " + HOST.encode(), b"User-Agent: $request_id\t\x0b\x0c"),
    (b"GET /api HTTP/1.1", b'Host: a"b,c', b"User-Agent: x"),
    (b'G"T /api HTTP/1.1', b"Host: " + HOST.encode()),
    (b"GET /" + b"a" * 6000 + b" HTTP/1.1", b"Host: " + HOST.encode(), b"User-Agent: " + b"\x01" * 7000),
    (b"\x16\x03\x01\x02", b"Host: x"),
]


@pytest.mark.parametrize("form", ["json", "combined"])
def test_lines_cannot_be_forged(router: Start, reader: Reader, authority: Authority, ips: list[str], form: str) -> None:
    """Whatever clients send, each request is one line of printable ASCII with all of its fields."""
    here = router(ACCESS_LOG=form)
    serve(here, authority, ips[0])
    for lines in HOSTILE:
        send(here.port, *lines)
    here.ask(HOST, "/api/last")
    told = reader.wait_for(len(HOSTILE) + 1)
    assert len(told) == len(HOSTILE) + 1
    assert all(re.fullmatch(r"[\x20-\x7e]+", line) for line in told)
    if form == "json":
        agents = {line["agent"] for line in reader.read(len(told))}
        assert 'x","status":2}\x01\x1b[2J\x7f\x9b\ufffd\U0001f600' in agents
    else:
        assert len(reader.read_combined(len(told))) == len(told)


@pytest.mark.parametrize("base", ["/$x/", "/a%22b%5C'x", "/" + "%24" * 60, "/caf%C3%A9;b{c}"])
def test_hostile_rules(router: Start, reader: Reader, ips: list[str], base: str) -> None:
    """A tenant's path that is syntax to nginx or JSON comes back as the rule that it wrote."""
    here = router(ACCESS_LOG="json")
    wanted = base.replace("%24", "$").replace("{", "%7B").replace("}", "%7D").rstrip("/")
    one = {"basePath": base.replace("{", "%7B").replace("}", "%7D"), "containerPort": str(PORT)}
    here.serve(namespace("a", {HOST: {}}), pod("a", "web-0", ips[0], [one], DECLARED))
    assert here.ask(HOST, one["basePath"]).status == 200
    assert pick(reader.read(1), "namespace", "rule") == [("a", wanted)]


def test_regular_expressions(router: Start, reader: Reader, ips: list[str]) -> None:
    """A regular expression is logged as its tenant wrote it, a dollar sign too."""
    here = router(ACCESS_LOG="json", ALLOW_REGEX_PATHS="true")
    entries = [entry("~^/[a-c]x$"), entry("~*^/D\\.$")]
    here.serve(namespace("a", {HOST: {}}), pod("a", "web-0", ips[0], entries, DECLARED))
    here.ask(HOST, "/bx")
    here.ask(HOST, "/d.")
    assert pick(reader.read(2), "rule") == [("~*^/D\\.$",), ("~^/[a-c]x$",)]


def test_reload(router: Start, reader: Reader, authority: Authority, ips: list[str], backends: Backends) -> None:
    """Requests before, during and after reloads have one line each; one that an old worker finishes has its line."""
    here = router(ACCESS_LOG="json")
    serve(here, authority, ips[0])
    slow = socket.create_connection(("127.0.0.1", here.port), timeout=20)
    slow.sendall(f"GET /api/stream HTTP/1.1\r\nHost: {HOST}\r\nConnection: close\r\n\r\n".encode())
    assert slow.recv(4096)
    for turn in range(3):
        here.ask(HOST, f"/api/{turn}")
        here.serve(
            namespace("team", {HOST: {}}),
            pod("team", f"web-{turn + 5}", ips[0], [entry("/api")], DECLARED),
            pod("team", "web-0", ips[0], [entry(f"/{turn}")], DECLARED),
        )
    here.ask(HOST, "/api/end")
    backends.let_go()
    while slow.recv(4096):
        pass
    slow.close()
    assert [path for (path,) in pick(reader.read(5), "path")] == [
        "/api/0",
        "/api/1",
        "/api/2",
        "/api/end",
        "/api/stream",
    ]


def test_artefact(tmp_path: Path, nginx_binary: str) -> None:
    """An artefact logs into a file in nginx's folder; testing it leaves no file, and it does not count requests."""
    out = tmp_path / "out"
    how = {"ACCESS_LOG": "json", "REQUEST_METRICS": "on", "ADMIN_PORT": "1"}
    given = ("--once", "--snapshot", WALKTHROUGH / "008-api-key.json", "--output", out)
    assert run(*given, **how).returncode == 0
    assert "access_log access.log access " in (out / "nginx.conf").read_text()
    assert "requests.log" not in (out / "nginx.conf").read_text()
    assert not (out / "access.log").exists()
    check_tree(nginx_binary, out)
    assert not (out / "access.log").exists()
