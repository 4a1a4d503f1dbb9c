"""The log: which line each event writes."""

import io
import json

import pytest

from reconciler.loop import events
from reconciler.loop.events import Event
from reconciler.routing.model import Size
from reconciler.status.log import Log


def write(*told: Event, log_format: str = "text") -> list[str]:
    stream = io.StringIO()
    log = Log(stream, log_format)
    for event in told:
        log.observe(event)
    return stream.getvalue().splitlines()


LINES: dict[Event, str] = {
    events.Resumed("abc", Size(1, 1)): "serving release abc, the last good one, until the cluster is read",
    events.Failed("source", "list pods: Connection refused"): "dispatcher: error: list pods: Connection refused",
    events.Recovered(): "recovered: the cluster was read, and its routes are served",
    events.NginxEnded("was killed by SIGKILL"): "nginx was killed by SIGKILL; it is started again",
    events.NginxStarted("abc", again=True): "nginx runs again, with release abc",
    events.NginxFailed("no memory"): "nginx cannot be started again: no memory",
    events.FormerUnserved("abc", "too old"): "the former release abc cannot be served: too old",
    events.MemoryShort(): "memory is short: workers of former releases are ended, and their open requests fail",
    events.Recorded("a/0001.json"): "recorded a/0001.json",
    events.LeftOut(("list pods: x",)): "dispatcher: warning: list pods: x",
}


@pytest.mark.parametrize("event", LINES, ids=lambda event: type(event).__name__)
def test_line(event: Event) -> None:
    """An event writes one line for people, or one line of JSON with the same words for scripts."""
    assert write(event) == [LINES[event]]
    (record,) = map(json.loads, write(event, log_format="json"))
    assert record["text"] in LINES[event]


@pytest.mark.parametrize(
    "event",
    [events.Turned(), events.Refused("x", ("a",)), events.Reloaded("x", ()), events.NginxStarted("x", again=False),
     events.ShuttingDown(1.0)],
)  # fmt: skip
def test_no_line(event: Event) -> None:
    """Events that only other observers need, or that other lines already report, write no line."""
    assert write(event) == []


def test_failure_is_told_when_it_changes() -> None:
    """A repeated failure is logged once; after a recovery it is logged again."""
    one, other = events.Failed("source", "one"), events.Failed("sink", "other")
    assert write(one, one, other, other, one) == [f"dispatcher: error: {text}" for text in ("one", "other", "one")]
    assert [line for line in write(one, events.Recovered(), one) if "error" in line] == ["dispatcher: error: one"] * 2


def test_nginx_failure_is_told_when_it_changes() -> None:
    """A repeated failure to start nginx is logged once; after nginx has run again, a new failure is logged."""
    failed = events.NginxFailed("no memory")
    assert write(failed, failed, failed) == [LINES[failed]]
    lines = write(failed, events.NginxStarted("abc", again=True), failed)
    assert lines.count(LINES[failed]) == 2
