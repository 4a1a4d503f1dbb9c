"""Shadows: hosts that would fall to another host's wildcard on a port on which they are not served themselves."""

from collections.abc import Iterable, Iterator, Mapping

from reconciler.routing.model import Host, Shadow
from reconciler.routing.sharing import list_wildcards


def find_shadows(claimed: Iterable[str], served: Mapping[str, Host], *, tls: bool) -> Iterator[Shadow]:
    """Find the claimed hosts below a wildcard that is served on a port on which they are not; `tls` tells if TLS is on.

    nginx looks for a name on each port by itself. Without an exact name there it takes the wildcard, whoever owns it:
    plain requests for a host whose plain port is closed, or all requests for a host that is left out.
    """
    plain_wildcards = {name for name, host in served.items() if name.startswith("*.") and host.is_plain}
    tls_wildcards = {name for name, host in served.items() if name.startswith("*.") and host.tls}
    if not plain_wildcards and not tls_wildcards:
        return
    for name in claimed:
        host, above = served.get(name), set(list_wildcards(name))
        is_plain = not (host and host.is_plain) and not above.isdisjoint(plain_wildcards)
        is_tls = tls and (not host or host.tls is None) and not above.isdisjoint(tls_wildcards)
        if is_plain or is_tls:
            yield Shadow(name, is_plain, is_tls)
