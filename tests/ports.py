"""Free ports and loopback addresses of this run's own."""

import os
import socket


def free_port() -> int:
    """Find a port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def has_ipv6() -> bool:
    """Tell whether this machine has the IPv6 loopback address."""
    try:
        with socket.socket(socket.AF_INET6) as probe:
            probe.bind(("::1", 0))
    except OSError:
        return False
    return True


def loopback(ip: str) -> str:
    """Give the loopback address that stands for a Pod's, another one in each process."""
    if ":" in ip and has_ipv6():
        return "::1"
    _, second, third, fourth = ("10.244.6.9" if ":" in ip else ip).split(".")
    return f"127.{(int(second) + os.getpid()) % 250 + 1}.{third}.{fourth}"
