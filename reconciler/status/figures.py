"""Figures of a running nginx, which are read only when somebody asks for them."""

from reconciler.values.value import Value


class Connections(Value, frozen=True):
    """nginx's open connections, as its stub_status counts them.

    https://nginx.org/en/docs/http/ngx_http_stub_status_module.html
    """

    active: int
    reading: int
    writing: int
    waiting: int


class Figures(Value, frozen=True):
    """The numbers of workers that serve and that are leaving, nginx's memory in bytes, and its connections.

    What is not known is None.
    """

    serving: int = 0
    leaving: int = 0
    memory: int | None = None
    connections: Connections | None = None
