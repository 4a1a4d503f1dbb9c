"""Health: probes are answered, whatever other clients send to the port."""

import socket
from collections.abc import Iterator
from http.server import ThreadingHTTPServer

import httpx
import pytest
from support.running_daemon import wait_until

from reconciler.loop.events import Failed, NginxEnded, NginxStarted, Resumed, Turned
from reconciler.routing.model import Size
from reconciler.status.health import Health, HealthError, serve_health


@pytest.fixture
def served() -> Iterator[ThreadingHTTPServer]:
    """Answer probes for a loop that turns."""
    server = serve_health(Health(60), "127.0.0.1", 0)
    yield server
    server.shutdown()
    server.server_close()


def test_slow_clients_keep_no_probe_away(served: ThreadingHTTPServer) -> None:
    """A probe is answered even if many clients never finish their requests: the oldest connection is cut off."""
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
    """If the port cannot be used, the error is one line."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        number = taken.getsockname()[1]
        with pytest.raises(HealthError, match=f"^HEALTH_PORT: 127.0.0.1:{number} cannot be used: Address already in"):
            serve_health(Health(60), "127.0.0.1", number)


def test_what_events_say() -> None:
    """The daemon is ready if nginx runs and a release is known to be good; it is alive if its loop turns."""
    health = Health(0.2)
    assert health.answer("/readyz") == (503, "nginx does not run")
    health.observe(NginxStarted("r1", again=False))
    assert health.answer("/readyz") == (503, "no release is known to be good")
    health.observe(Resumed("r1", Size(0, 0)))
    assert health.answer("/readyz")[0] == 503, "a former release without hosts is no release to be ready with"
    health.observe(Resumed("r1", Size(1, 1)))
    assert health.answer("/readyz") == (200, "serving release r1")
    health.observe(Failed("source", "gone"))
    assert health.answer("/readyz") == (200, "serving release r1; gone")
    health.observe(NginxEnded("was killed"))
    assert health.answer("/readyz") == (503, "nginx does not run; gone")
    wait_until(lambda: health.answer("/healthz")[0] == 503)
    health.observe(Turned())
    assert health.answer("/healthz") == (200, "ok")
