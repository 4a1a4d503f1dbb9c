"""Free ports, and loopback addresses that only this run uses."""

import itertools
import os
import random
import socket
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

# These are below the ports that systems give to outgoing connections, which could take a port before a test does.
# Each worker of a run has its own: two that look at the same moment would find the same port free.
_WORKER = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
_PORTS = range(10_000 + _WORKER, 32_000, int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1")))
_next = itertools.count(random.SystemRandom().randrange(len(_PORTS)))


def free_port() -> int:
    """Find a port on which nobody listens, and which no other worker of this run and nobody lately was given."""
    for number in _next:
        port = _PORTS[number % len(_PORTS)]
        with socket.socket() as probe:
            try:
                probe.bind(("", port))
            except OSError:
                continue
            return port
    raise AssertionError("there are always more numbers")


def has_ipv6() -> bool:
    """Tell whether this machine has the IPv6 loopback address."""
    try:
        with socket.socket(socket.AF_INET6) as probe:
            probe.bind(("::1", 0))
    except OSError:
        return False
    return True


def loopback(ip: str) -> str:
    """Give the loopback address that stands in for a Pod's address; each process has other ones."""
    if ":" in ip and has_ipv6():
        return "::1"
    _, second, third, fourth = ("10.244.6.9" if ":" in ip else ip).split(".")
    return f"127.{(int(second) + os.getpid()) % 250 + 1}.{third}.{fourth}"


@contextmanager
def silent_address(ip: str) -> Iterator[tuple[str, int]]:
    """Give a port of the stand-in for a Pod's address at which connections are neither accepted nor refused."""
    where = (loopback(ip), free_port())
    with socket.create_server(where, backlog=0), ExitStack() as waiting:
        for _ in range(4):
            one = waiting.enter_context(socket.socket())
            one.setblocking(False)
            one.connect_ex(where)
        yield where
