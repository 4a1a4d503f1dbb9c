"""Health: tells Kubernetes' probes over HTTP whether the loop turns, and whether what is served is good."""

import time
from http import HTTPStatus

from reconciler.loop import events
from reconciler.loop.events import Event
from reconciler.status.answers import HttpAnswer, Request, say


class Health:
    """An observer that answers Kubernetes' probes. `longest` is how long a turn may take, in seconds.

    A router is not ready if the publisher has confirmed nothing for `ready_age` seconds; 0 stands for any time.
    """

    def __init__(self, longest: float, ready_age: int = 0) -> None:
        self._longest = longest
        self._ready_age = ready_age
        self._confirmed: float | None = None
        self._turned = time.monotonic()
        self._runs = False
        self._release = ""
        self._error = ""

    def observe(self, event: Event) -> None:
        """Note what an event says about the loop, nginx and the release that is served."""
        match event:
            case events.Turned():
                self._turned = time.monotonic()
            case events.Applied() | events.Idle():
                self._release, self._error = event.cycle.release, ""
            case events.Resumed() if event.size.hosts:
                self._release = event.release
            case events.Failed():
                self._error = event.why
            case events.NginxStarted():
                self._runs = True
            case events.NginxEnded():
                self._runs = False
            case events.PublisherSeen():
                self._confirmed = None if event.alone else event.since

    def answer(self, request: Request) -> HttpAnswer:
        """Answer a probe."""
        return say(*self.judge(request.path))

    def judge(self, path: str) -> tuple[HTTPStatus, str]:
        """Give the status and the text with which a probe of a path is answered."""
        if path == "/healthz":
            stuck = time.monotonic() - self._turned
            alive = stuck < self._longest
            return (HTTPStatus.OK, "ok") if alive else (HTTPStatus.SERVICE_UNAVAILABLE, f"stuck for {stuck:.0f} s")
        if path == "/readyz":
            return self._judge_ready()
        return HTTPStatus.NOT_FOUND, "paths: /healthz and /readyz"

    def _judge_ready(self) -> tuple[HTTPStatus, str]:
        error = f"; {self._error}" if self._error else ""
        if not self._runs:
            return HTTPStatus.SERVICE_UNAVAILABLE, f"nginx does not run{error}"
        if not self._release:
            return HTTPStatus.SERVICE_UNAVAILABLE, f"no release is known to be good{error}"
        age = time.time() - self._confirmed if self._confirmed is not None else 0.0
        if self._ready_age and age > self._ready_age:
            return HTTPStatus.SERVICE_UNAVAILABLE, f"the publisher has confirmed nothing for {age:.0f} s{error}"
        return HTTPStatus.OK, f"serving release {self._release}{error}"


class PublisherHealth(Health):
    """The health of a publisher, which runs no nginx: it is ready if it publishes, or stands by for one that does."""

    def __init__(self, longest: float) -> None:
        super().__init__(longest)
        self._does = ""

    def observe(self, event: Event) -> None:
        """Note what an event says about the turns and about what is published."""
        super().observe(event)
        match event:
            case events.StoodBy():
                self._does, self._error = f"standing by, while {event.holder} publishes" if event.holder else "", ""
            case events.Applied() | events.Idle():
                self._does = "publishing"

    def _judge_ready(self) -> tuple[HTTPStatus, str]:
        if self._error or not self._does:
            return HTTPStatus.SERVICE_UNAVAILABLE, self._error or "nobody is known to publish"
        return HTTPStatus.OK, self._does
