"""Host answers: what the options of a host answer to a request in place of its paths, as nginx does."""

from enum import Enum

from msgspec.structs import replace

from reconciler.advice.matching import decode_uri, find_location
from reconciler.routing.keys import maintenance
from reconciler.routing.keys.maintenance import Maintenance
from reconciler.routing.model import Host, Plain, is_challenge
from reconciler.routing.options import find_option


class HostAnswer(Enum):
    """What a host answers to all requests that are no challenges of its owner."""

    MOVED = "308"
    REDIRECTED = "host redirect"
    MAINTENANCE = "maintenance"
    WAITING = "no certificate"
    CLOSED = "closed"


_OF_PLAIN = {
    Plain.REDIRECTS: HostAnswer.MOVED,
    Plain.CLOSED: HostAnswer.CLOSED,
    Plain.WAITS: HostAnswer.WAITING,
}


def limit_to_port(host: Host, *, tls: bool) -> Host:
    """Give a host as a port has it: where the plain port does not serve a host with TLS, it has only challenges."""
    return host if tls or not host.tls or host.plain is Plain.SERVES else replace(host, locations=host.challenges)


def find_host_answer(host: Host, uri: str, *, tls: bool) -> HostAnswer | None:
    """Find what a host answers on a port; None if its paths do.

    A client of the plain port counts as one that came by http, and as one whose address maintenance exempts.
    """
    path = decode_uri(uri)
    location = find_location(host, path)
    if location and location.is_challenge:
        return None
    if not tls and host.plain in _OF_PLAIN:
        # Without TLS nginx looks at the path alone, and not for a location.
        exempt = not host.tls and host.plain is Plain.REDIRECTS and is_challenge(path.decode(errors="surrogateescape"))
        return _find_closed(host) if exempt else _OF_PLAIN[host.plain]
    return _find_closed(host)


def _find_closed(host: Host) -> HostAnswer | None:
    if host.open:
        return None
    resting = find_option(host.options, maintenance.KEY.name)
    # Another router's maintenance is told in words; with a host that is open to nobody, it is for everyone.
    exempts = isinstance(resting, Maintenance) and bool(resting.allow)
    return HostAnswer.MAINTENANCE if resting and not exempts else HostAnswer.REDIRECTED
