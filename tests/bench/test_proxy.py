"""What nginx's worker does for a request: the rendered tree beside a minimal proxy that is written by hand.

Both pass the same requests on to the same Pod, in turns. The figures are processor time of the worker, which says how
many requests it can answer; docs/benchmarks.md has those of one machine.
"""

import socket
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory

import h2.connection
import h2.events
import psutil
import pytest
from meter import read_share, read_time
from pytest_benchmark.fixture import BenchmarkFixture
from support.authority import Authority
from support.objects import listing, namespace, pod, secret, tls
from support.ports import free_port
from support.running_daemon import wait_until
from support.stages import build_table, normalise, render

from reconciler.disk.trees import write_files
from reconciler.nginx.program import find_version
from reconciler.settings import read_settings

HOST = "secure.dev"
CLIENTS = 48
ROUNDS = 9
HELD = 1_000
_LARGE = b"x" * (1 << 20)
_HEAD = f" HTTP/1.1\r\nHost: {HOST}\r\nUser-Agent: curl/8.5.0\r\nAccept: */*\r\nCookie: session=abcdefghijklmnop\r\n"
_HEADERS = [(":method", "GET"), (":scheme", "https"), (":authority", HOST), (":path", "/api/users?id=7"),
            ("user-agent", "curl/8.5.0"), ("accept", "*/*"), ("cookie", "session=abcdefghijklmnop")]  # fmt: skip
_POD = """worker_processes 1; daemon off; pid pod.pid; error_log stderr;
events {{ worker_connections 4000; }}
http {{
    access_log off; keepalive_requests 100000000; client_max_body_size 0;
    server {{
        listen 127.0.0.1:{port}; root {root};
        location / {{ return 200 "ok"; }}
        location = /large {{ }}
        # It reads the body before it answers.
        location = /body {{
            client_body_buffer_size 2m; proxy_pass_request_body off; proxy_set_header Content-Length "";
            proxy_pass http://127.0.0.1:{port}/;
        }}
    }}
}}"""
# What every proxy does: HTTP/1.1 and kept connections to the Pod, and upgrades to WebSocket.
_MINIMAL = """worker_processes 1; daemon off; pid nginx.pid; error_log stderr;
events {{ worker_connections 4000; }}
http {{
    access_log off; client_max_body_size 0; proxy_request_buffering off; proxy_max_temp_file_size 0;
    upstream pods {{ server 127.0.0.1:{pod}; keepalive 64; }}
    upstream held {{ server 127.0.0.1:{held}; }}
    server {{
        listen 127.0.0.1:{plain}; listen 127.0.0.1:{secure} ssl http2; server_name {host};
        ssl_certificate {root}/certificate; ssl_certificate_key {root}/key; ssl_session_cache shared:tls:1m;
        location / {{ proxy_http_version 1.1; proxy_set_header Connection ""; proxy_pass http://pods; }}
        location /held {{
            proxy_http_version 1.1; proxy_pass http://held;
            proxy_set_header Connection upgrade; proxy_set_header Upgrade $http_upgrade;
        }}
    }}
}}"""


@dataclass(frozen=True)
class Proxy:
    """A folder with an nginx.conf, and the ports on which it listens."""

    folder: Path
    plain: int
    secure: int

    @contextmanager
    def run(self, binary: str) -> Iterator[int]:
        """Run it; give its only worker."""
        command = [binary, "-e", "stderr", "-p", f"{self.folder}/", "-c", "nginx.conf"]
        more = [] if "daemon off" in (self.folder / "nginx.conf").read_text() else ["-g", "daemon off;"]
        with subprocess.Popen([*command, *more]) as process:
            try:
                master = psutil.Process(process.pid)
                wait_until(lambda: _answers(self.plain) and len(master.children()) == 1)
                yield master.children()[0].pid
            finally:
                process.terminate()


def _answers(port: int) -> bool:
    with suppress(OSError), socket.create_connection(("127.0.0.1", port)):
        return True
    return False


@pytest.fixture
def proxies(tmp_path: Path, nginx_binary: str, authority: Authority) -> Iterator[dict[str, Proxy]]:
    """Make both proxies, and run the Pod behind them."""
    root = tmp_path / "pod"
    root.mkdir()
    certificate, key = authority.issue(HOST)
    (root / "certificate").write_bytes(certificate)
    (root / "key").write_bytes(key)
    made = {name: Proxy(tmp_path / name, free_port(), free_port()) for name in ("rendered", "minimal")}
    pod_port, held = free_port(), free_port()
    minimal = made["minimal"]
    minimal.folder.mkdir()
    ports = {"plain": minimal.plain, "secure": minimal.secure, "pod": pod_port, "held": held}
    (minimal.folder / "nginx.conf").write_text(_MINIMAL.format(**ports, host=HOST, root=root))
    _render(made["rendered"], nginx_binary, {"ssl_crt": certificate, "ssl_key": key}, {"/": pod_port, "/held": held})
    with ExitStack() as stack:
        # nginx's worker is another user, who must reach the file.
        files = Path(stack.enter_context(TemporaryDirectory()))
        files.chmod(0o755)
        (files / "large").write_bytes(_LARGE)
        (root / "nginx.conf").write_text(_POD.format(port=pod_port, root=files))
        stack.enter_context(_hold_upgrades(held))
        stack.enter_context(Proxy(root, pod_port, pod_port).run(nginx_binary))
        yield made


def _render(proxy: Proxy, binary: str, pems: dict[str, bytes], paths: dict[str, int]) -> None:
    """Write the tree of one host with TLS, also served on the plain port, with the paths of two Pods."""
    settings = read_settings({
        "PORT": str(proxy.plain), "SSL_PORT": str(proxy.secure), "LISTEN_ADDRESSES": "127.0.0.1",
        "DENY_POD_CIDRS": "none", "NGINX_WORKER_PROCESSES": "1", "NGINX_WORKER_CONNECTIONS": "4000",
        "SSL_CERT": str(proxy.folder.parent / "pod/certificate"), "SSL_KEY": str(proxy.folder.parent / "pod/key"),
    })  # fmt: skip
    settings = replace(settings, nginx_version=find_version(binary))
    objects = [namespace("a", {HOST: tls() | {"http": "serve"}}), secret("a", **pems)]
    for path, port in paths.items():
        entry = {"basePath": path, "containerPort": port}
        objects.append(pod("a", f"web-{port}", "127.0.0.1", [entry], [{"containerPort": port}]))
    table = build_table(normalise(listing(objects), settings), settings, time.time())
    assert table.problems == ()
    proxy.folder.mkdir()
    write_files(render(table.routes, settings), proxy.folder)


@contextmanager
def _hold_upgrades(port: int) -> Iterator[None]:
    """Run a Pod that answers each request with 101, and then says no more."""
    held: list[socket.socket] = []
    with socket.create_server(("127.0.0.1", port), backlog=HELD) as server:

        def answer() -> None:
            with suppress(OSError):  # the server was shut down
                while True:
                    connection, _ = server.accept()
                    connection.recv(4096)
                    connection.sendall(b"HTTP/1.1 101 Switching\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n")
                    held.append(connection)

        thread = threading.Thread(target=answer)
        thread.start()
        yield
        server.shutdown(socket.SHUT_RDWR)
        thread.join()
    for connection in held:
        connection.close()


class Kept:
    """Sends one request again and again on kept connections, on all of them before it reads the answers."""

    def __init__(self, request: str, body: bytes = b"", *, secure: bool = False) -> None:
        length = f"Content-Length: {len(body)}\r\n" if body else ""
        self._request = f"{request}{_HEAD}{length}\r\n".encode() + body
        self._secure = secure

    def send(self, proxy: Proxy, bursts: int) -> Iterator[None]:
        """Open the connections, then send as many bursts; yield between these two."""
        with ExitStack() as stack:
            connections = [stack.enter_context(_connect(proxy, secure=self._secure)) for _ in range(CLIENTS)]
            sizes = [self._ask(one) for one in connections]
            yield
            for _ in range(bursts):
                for one in connections:
                    one.sendall(self._request)
                for one, size in zip(connections, sizes, strict=True):
                    _receive(one, size)
            yield

    def _ask(self, connection: socket.socket) -> int:
        """Ask once; give the size of the whole answer."""
        connection.sendall(self._request)
        head = b""
        while b"\r\n\r\n" not in head:
            head += connection.recv(1)
        assert head.startswith(b"HTTP/1.1 200 "), head
        size = int(head.lower().partition(b"content-length:")[2].partition(b"\r\n")[0])
        _receive(connection, size)
        return len(head) + size


class Multiplexed:
    """The same for streams of HTTP/2 over TLS, one on each connection at a time."""

    def send(self, proxy: Proxy, bursts: int) -> Iterator[None]:
        """Open the connections, then send as many bursts; yield between these two."""
        with ExitStack() as stack:
            pairs = []
            for _ in range(CLIENTS):
                connection = stack.enter_context(_connect(proxy, secure=True, protocol="h2"))
                pairs.append((connection, h2.connection.H2Connection()))
                pairs[-1][1].initiate_connection()
            self._burst(pairs)
            yield
            for _ in range(bursts):
                self._burst(pairs)
            yield

    def _burst(self, pairs: list[tuple[socket.socket, h2.connection.H2Connection]]) -> None:
        for connection, state in pairs:
            state.send_headers(state.get_next_available_stream_id(), _HEADERS, end_stream=True)
            connection.sendall(state.data_to_send())
        for connection, state in pairs:
            events: list[h2.events.Event] = []
            while not any(isinstance(one, h2.events.StreamEnded) for one in events):
                events += state.receive_data(connection.recv(65536))
            assert any(isinstance(one, h2.events.DataReceived) and one.data == b"ok" for one in events), events


def _connect(proxy: Proxy, *, secure: bool, protocol: str = "http/1.1") -> socket.socket:
    raw = socket.create_connection(("127.0.0.1", proxy.secure if secure else proxy.plain), timeout=20)
    if not secure:
        return raw
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.set_alpn_protocols([protocol])
    return context.wrap_socket(raw, server_hostname=HOST)


def _receive(connection: socket.socket, size: int) -> None:
    while size:
        data = connection.recv(min(size, 1 << 18))
        assert data, "the connection was closed"
        size -= len(data)


TRAFFIC = {
    "small": (Kept("GET /api/users?id=7"), 100),
    "small over TLS": (Kept("GET /api/users?id=7", secure=True), 100),
    "small over HTTP/2": (Multiplexed(), 40),
    "answer of 1 MiB": (Kept("GET /large"), 2),
    "body of 1 MiB": (Kept("PUT /body", _LARGE), 2),
}


@pytest.mark.parametrize("kind", TRAFFIC)
def test_requests(
    benchmark: BenchmarkFixture, proxies: dict[str, Proxy], nginx_binary: str, kind: str,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    """Processor time of a request, of both proxies in turns; their ratio is that of the requests a second."""
    traffic, bursts = TRAFFIC[kind]

    def measure() -> dict[str, list[float]]:
        spent: dict[str, list[float]] = {name: [] for name in proxies}
        for _ in range(ROUNDS):
            for name, proxy in proxies.items():
                with proxy.run(nginx_binary) as worker:
                    steps = traffic.send(proxy, bursts)
                    next(steps)
                    before = read_time(worker)
                    next(steps)
                    spent[name].append((read_time(worker) - before) / (bursts * CLIENTS))
                    next(steps, None)
        return spent

    spent = benchmark.pedantic(measure, rounds=1)
    rendered, minimal = (1e6 * min(spent[name]) for name in ("rendered", "minimal"))
    with capsys.disabled():
        sys.stdout.write(
            f"\n  nginx {'.'.join(map(str, find_version(nginx_binary)))}, {kind}: {rendered:.1f} µs a request, a "
            f"minimal proxy {minimal:.1f} µs; {minimal / rendered:.2f} of its requests a second"
        )


def test_held_websockets(
    benchmark: BenchmarkFixture, proxies: dict[str, Proxy], nginx_binary: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Memory of a thousand WebSockets that say nothing, of both proxies."""
    upgrade = "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
    request = f"GET /held{_HEAD}{upgrade}Sec-WebSocket-Key: MDEyMzQ1Njc4OWFiY2RlZg==\r\n\r\n".encode()

    def measure() -> dict[str, float]:
        found = {}
        for name, proxy in proxies.items():
            with proxy.run(nginx_binary) as worker, ExitStack() as stack:
                before = read_share([worker])
                for _ in range(HELD):
                    connection = stack.enter_context(_connect(proxy, secure=False))
                    connection.sendall(request)
                    assert b" 101 " in connection.recv(4096)
                found[name] = read_share([worker]) - before
        return found

    found = benchmark.pedantic(measure, rounds=1)
    kilobytes = ", ".join(f"{name} {1000 * found[name] / HELD:.1f} kB" for name in found)
    with capsys.disabled():
        sys.stdout.write(f"\n  one of {HELD:,} WebSockets: {kilobytes}")
