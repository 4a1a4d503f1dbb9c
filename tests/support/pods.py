"""What most tests of requests need: a host, and Pods with a server on a port that they declare."""

from typing import Any

from support.backends import Backends
from support.ports import free_port, loopback

PORT = free_port()
DECLARED = [{"containerPort": PORT, "name": "http"}]
HOST = "test.k8s.local"
# Later than the objects that the recordings were copied from.
LATER = "2026-11-23T00:00:00Z"


def entry(base: str, **more: object) -> dict[str, Any]:
    """Make an entry of a paths annotation."""
    return {"basePath": base, "containerPort": str(PORT), **more}


def listen(backends: Backends, count: int = 3) -> list[str]:
    """Let servers answer at the addresses of Pods, on the declared port: give the addresses."""
    addresses = [loopback(f"10.244.{number}.11") for number in range(count)]
    for address in addresses:
        backends.listen(address, PORT)
    return addresses
