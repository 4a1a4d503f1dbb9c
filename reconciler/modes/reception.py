"""The ports on which a router answers about itself: the health port for probes, the admin port for people."""

from collections.abc import Callable
from contextlib import ExitStack

from reconciler.loop.ports import Observer
from reconciler.settings import Settings
from reconciler.status.admin import Admin
from reconciler.status.answers import Application
from reconciler.status.figures import Figures
from reconciler.status.fresh import Fresh
from reconciler.status.health import Health
from reconciler.status.metrics import Gauges, Metrics
from reconciler.status.requests import Requests
from reconciler.status.server import serve
from reconciler.status.state import State
from reconciler.status.status_file import StatusFile

# A request for a large document must not delay another one.
_ADMIN_THREADS = 2


class Reception:
    """The observers behind the ports, such as what judges `health`."""

    def __init__(self, settings: Settings, health: Health) -> None:
        self._settings = settings
        self._health = health
        self._state = State()
        self._metrics = Metrics()
        self._requests = (Requests(),) if settings.request_metrics else ()

    @property
    def observers(self) -> tuple[Observer, ...]:
        """The observers that need all events. Without an admin port nobody pays for what it would show."""
        shown = (self._state, self._metrics, *self._requests) if self._settings.admin_port else ()
        return (self._health, *shown)

    def open(self, stack: ExitStack, settings: Settings, read_figures: Callable[[], Figures] | None = None) -> None:
        """Open the ports that `settings` ask for, until the stack closes. PortError if one cannot be used.

        `read_figures` gives nginx's figures; None where no nginx belongs.
        """
        if settings.health_port:
            app = Application(self._health.answer)
            stack.callback(serve(app, "HEALTH_PORT", settings.listen_addresses[0], settings.health_port).close)
        if settings.admin_port:
            look = Fresh(read_figures or Figures)
            gauges = Gauges(self._state, look if read_figures else None, ".".join(map(str, settings.nginx_version)))
            self._metrics.add(gauges)
            for requests in self._requests:
                self._metrics.add(requests)
            status_file = StatusFile(self._state, settings, look)
            app = Application(Admin(self._health, status_file, self._metrics, settings.admin_hosts).answer)
            address = settings.admin_address
            stack.callback(serve(app, "ADMIN_PORT", address, settings.admin_port, _ADMIN_THREADS).close)
