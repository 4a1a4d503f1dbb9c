"""Health: probes are answered whatever else comes to their port."""

import socket
from collections.abc import Iterator
from http.server import ThreadingHTTPServer

import httpx
import pytest

from reconciler.status.health import Health, HealthError, serve_health


@pytest.fixture
def served() -> Iterator[ThreadingHTTPServer]:
    """Answer probes for a loop that turns."""
    server = serve_health(Health(60), "127.0.0.1", 0)
    yield server
    server.shutdown()
    server.server_close()


def test_slow_clients_keep_no_probe_away(served: ThreadingHTTPServer) -> None:
    """However many clients begin requests and end none, a probe is answered: who takes longest is cut off."""
    clients = []
    for _ in range(200):
        clients.append(socket.create_connection(served.server_address[:2]))
        clients[-1].sendall(b"G")
    clients[0].settimeout(30)
    assert clients[0].recv(1) == b""
    assert httpx.get(f"http://127.0.0.1:{served.server_port}/healthz").text == "ok\n"
    for client in clients:
        client.close()


def test_port_is_taken() -> None:
    """A port that cannot be had is told in one line."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        number = taken.getsockname()[1]
        with pytest.raises(HealthError, match=f"^HEALTH_PORT: 127.0.0.1:{number} cannot be used: Address already in"):
            serve_health(Health(60), "127.0.0.1", number)
