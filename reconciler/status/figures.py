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


class Standing(Value, frozen=True):
    """What nginx says of its Pods, where they come and go without a reload.

    It serves a `version`, and `tried` is the latest that was tried. The others count since its dictionary was made:
    requests for a set that is `unknown` got 500, those for an `empty` one 503, and those that met `errors` in the Lua
    code 500. `free` is in bytes, and counts only pages of memory that are wholly free.
    """

    version: int
    tried: int
    unknown: int
    empty: int
    errors: int
    free: int


class Figures(Value, frozen=True):
    """The numbers of workers that serve and that are leaving, nginx's memory in bytes, its connections, and its Pods.

    What is not known is None.
    """

    serving: int = 0
    leaving: int = 0
    memory: int | None = None
    connections: Connections | None = None
    standing: Standing | None = None
