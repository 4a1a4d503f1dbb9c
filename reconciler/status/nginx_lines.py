"""The log's lines about nginx: how it ends, what it may use, how it gets Pods, and what becomes of its logs."""

from collections.abc import Iterator

from reconciler.loop import events
from reconciler.loop.events import Event
from reconciler.status.lines import Level


def list_nginx_lines(event: Event) -> Iterator[tuple[Level, str]]:
    """List the lines of an event, each with its level. An event that is not about nginx has none."""
    match event:
        case events.NginxEnded():
            yield "info", f"nginx {event.how}; it is started again"
        case events.NginxSized():
            yield from _tell_size(event)
        case events.FormerUnserved():
            yield "info", f"the former release {event.release} cannot be served: {event.why}"
        case events.MemoryShort():
            yield "info", "memory is short: workers of former releases are ended, and their open requests fail"
        case events.EndpointsChosen() | events.EndpointsRefused():
            yield _tell_endpoints(event)
        case events.EndpointsAhead():
            yield "warning", f"nginx has newer Pods than its release, as it did not take the former ones: {event.why}"
        case events.LinesLost(over=True):
            yield "warning", f"{event.lines} lines of the access log were lost"
        case events.LinesLost():
            yield "warning", "lines of the access log are lost: standard output is not read, or takes no more"
        case events.LogReaderEnded():
            yield "warning", "the process that reads nginx's logs has ended; it is started again"


def _tell_size(event: events.NginxSized) -> Iterator[tuple[Level, str]]:
    yield (
        "info",
        f"nginx has {event.workers} worker{'s' * (event.workers > 1)}, each with {event.connections} connections, of "
        f"which {event.kept} may wait idle for Pods, and {event.descriptors} descriptors",
    )
    if event.connections < event.wanted:
        yield (
            "warning",
            f"NGINX_WORKER_CONNECTIONS: {event.wanted} are more than {event.descriptors} descriptors allow: raise the "
            "container's limit (ulimit -Hn)",
        )


def _tell_endpoints(event: events.EndpointsChosen | events.EndpointsRefused) -> tuple[Level, str]:
    """Say how Pods come and go. A change of them has no line: that of the cycle says that there was no reload."""
    match event:
        case events.EndpointsChosen(by="lua"):
            return "info", "Pods come and go without a reload of nginx"
        case events.EndpointsChosen():
            return "info", f"each change of Pods reloads nginx{event.why and ': '}{event.why}"
        case events.EndpointsRefused():
            return "warning", f"nginx does not take Pods without a reload, so it is reloaded for them: {event.why}"
