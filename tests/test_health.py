"""Health: what probes are told after which events."""

from support.running_daemon import wait_until

from reconciler.loop.events import Failed, NginxEnded, NginxStarted, Resumed, Turned
from reconciler.routing.model import Size
from reconciler.status.health import Health


def test_what_events_say() -> None:
    """The daemon is ready if nginx runs and a release is known to be good; it is alive if its loop turns."""
    health = Health(0.2)
    assert health.judge("/readyz") == (503, "nginx does not run")
    health.observe(NginxStarted("r1", again=False))
    assert health.judge("/readyz") == (503, "no release is known to be good")
    health.observe(Resumed("r1", Size(0, 0)))
    assert health.judge("/readyz")[0] == 503, "a former release without hosts is no release to be ready with"
    health.observe(Resumed("r1", Size(1, 1)))
    assert health.judge("/readyz") == (200, "serving release r1")
    health.observe(Failed("source", "gone"))
    assert health.judge("/readyz") == (200, "serving release r1; gone")
    health.observe(NginxEnded("was killed"))
    assert health.judge("/readyz") == (503, "nginx does not run; gone")
    wait_until(lambda: health.judge("/healthz")[0] == 503)
    health.observe(Turned())
    assert health.judge("/healthz") == (200, "ok")
