"""No request is lost while Pods come and go: what happens to each kind of client over many reloads."""

import logging
import os
import socket
from collections.abc import Callable
from itertools import groupby

import pytest
from support.authority import Authority
from support.backends import Backends
from support.clients import (
    Client,
    Download,
    Http2,
    KeptConnection,
    NewConnections,
    RetryingConnection,
    Upload,
    WebSocket,
    busy,
)
from support.objects import Object, namespace, pod, secret, tls
from support.ports import free_port, loopback
from support.router import Router
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

# 200 reloads take too long for `make test`; docs/reliability.md has their results.
RELOADS = int(os.environ.get("RELOADS", "60"))
KEEPS_IDLE_CONNECTIONS = (1, 27, 4)

Start = Callable[..., Router]


@pytest.fixture(scope="module")
def pods(backends: Backends) -> list[Object]:
    """Give Pods that answer."""
    port = free_port()
    addresses = [loopback(f"10.244.{place}.12") for place in range(4)]
    for address in addresses:
        backends.listen(address, port)
    entries, ports = [{"basePath": "/", "containerPort": port}], [{"containerPort": port}]
    return [pod("a", f"web-{place}", address, entries, ports) for place, address in enumerate(addresses)]


def count_failures(clients: list[Client]) -> dict[str, int]:
    """Count the failures by kind of client; `--log-cli-level=INFO` shows them."""
    counted = {}
    for kind, same in groupby(clients, lambda one: type(one).__name__):
        group = list(same)
        counted[kind] = sum(len(one.failures) for one in group)
        failures = sorted({failure for one in group for failure in one.failures})
        logging.info("%s: %d of %d failed %s", kind, counted[kind], sum(one.sent for one in group), failures)
    return counted


def test_no_request_is_lost(router: Start, pods: list[Object], backends: Backends, authority: Authority) -> None:
    """Only clients that reuse idle connections without a retry lose requests at a reload, only before nginx 1.27.4."""
    here = router()
    certificate, key = authority.issue("secure.dev")
    hosts = namespace("a", {"plain.dev": {}, "secure.dev": tls()})
    keys = secret("a", ssl_crt=certificate, ssl_key=key)
    here.serve(hosts, keys, *pods)
    clients = [
        *(kind(here.port, "plain.dev") for kind in (NewConnections, KeptConnection, RetryingConnection) for _ in "12"),
        *(Http2(here.ssl_port, "secure.dev", authority.trust()) for _ in "12"),
        *(kind(here.port, "plain.dev") for kind in (WebSocket, Download, Upload)),
    ]
    with busy(clients, backends):
        for step in range(RELOADS):
            gone = step % 4
            assert here.serve(hosts, keys, *(each for place, each in enumerate(pods) if place != gone)).applied
    failures = count_failures(clients)
    assert all(client.sent > 10 for client in clients)
    spared = here.settings.nginx_version >= KEEPS_IDLE_CONNECTIONS
    assert {kind: number for kind, number in failures.items() if number and (spared or kind != "KeptConnection")} == {}


def test_websocket_ends_with_its_worker(router: Start, pods: list[Object], backends: Backends) -> None:
    """A WebSocket stays open after a reload for WORKER_SHUTDOWN_TIMEOUT; then nginx closes it."""
    here = router(WORKER_SHUTDOWN_TIMEOUT="2s", ENDPOINTS="reload")
    here.serve(namespace("a", {"plain.dev": {}}), *pods)
    with connect("ws://plain.dev/", sock=socket.create_connection(("127.0.0.1", here.port))) as websocket:
        websocket.send("before")
        assert str(websocket.recv(timeout=20)).endswith(" before")
        here.serve(namespace("a", {"plain.dev": {}}), *pods[1:])
        websocket.send("after")
        assert str(websocket.recv(timeout=20)).endswith(" after")
        with pytest.raises(ConnectionClosed):
            websocket.recv(timeout=20)
