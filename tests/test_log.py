"""The log: which line each event writes."""

import io
import json
import re
import signal
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import msgspec
import pytest
from jsonschema import Draft202012Validator
from support.apiserver import ApiServer
from support.command import run
from support.objects import WALKTHROUGH, namespace, web
from support.running_daemon import RunningDaemon

from reconciler.loop import events
from reconciler.loop.cycle import Cycle
from reconciler.loop.events import Event
from reconciler.objects.snapshot import NOTHING, Resource
from reconciler.routing.model import NO_ROUTES, RoutingTable, Size
from reconciler.routing.problems import Problem, Reason
from reconciler.status.log import Log

SCHEMA = json.loads((Path(__file__).parents[1] / "docs" / "log.schema.json").read_text())
VALIDATOR = Draft202012Validator(SCHEMA)
HOME = Resource("Namespace", "", "a")


def write(*told: Event, log_format: str = "text", stamped: bool = False) -> list[str]:
    stream = io.StringIO()
    log = Log(stream, log_format)
    if stamped:
        log.stamp()
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
    events.LinesLost(3, over=True): "dispatcher: warning: 3 lines of the access log were lost",
    events.LogReaderEnded(): "dispatcher: warning: the process that reads nginx's logs has ended; it is started again",
    events.FormerUnserved("abc", "too old"): "the former release abc cannot be served: too old",
    events.MemoryShort(): "memory is short: workers of former releases are ended, and their open requests fail",
    events.EndpointsChosen("lua"): "Pods come and go without a reload of nginx",
    events.EndpointsChosen("reload"): "each change of Pods reloads nginx",
    events.EndpointsChosen("reload", "no module"): "each change of Pods reloads nginx: no module",
    events.EndpointsRefused(
        "it is full"
    ): "dispatcher: warning: nginx does not take Pods without a reload, so it is reloaded for them: it is full",
    events.EndpointsAhead(
        "no room"
    ): "dispatcher: warning: nginx has newer Pods than its release, as it did not take the former ones: no room",
    events.Recorded("a/0001.json"): "recorded a/0001.json",
    events.LeftOut(("list pods: x",)): "dispatcher: warning: list pods: x",
    events.NginxSaid("warn", "a request is buffered"): "nginx: a request is buffered",
    events.ShuttingDown(25.0): "stopping: open requests have 25 s to finish",
    events.ShutDown(1.04): "stopped after 1.0 s",
    events.Reported(
        "denied", "Kubernetes Events are forbidden"
    ): "dispatcher: warning: Kubernetes Events are forbidden",
    events.HungUp(): "SIGHUP: 0 problems stand",
}


@pytest.mark.parametrize("event", LINES, ids=lambda event: type(event).__name__)
def test_line(event: Event) -> None:
    """An event writes one line for people, or one line of JSON with the same words for scripts."""
    assert write(event) == [LINES[event]]
    (record,) = map(json.loads, write(event, log_format="json"))
    assert record["text"] in LINES[event]
    VALIDATOR.validate(record)


def test_reports() -> None:
    """Why no Kubernetes Event is written is told once until it changes; what is written has no line."""
    denied, busy, written = events.Reported("denied", "a"), events.Reported("failed", "b"), events.Reported("created")
    assert write(written) == []
    assert write(denied, denied, busy, busy, events.Reported("refused"), busy) == [
        "dispatcher: warning: a", "dispatcher: warning: b",
    ]  # fmt: skip
    assert len(write(denied, written, denied)) == 2


LEVELS: dict[Event, str] = {
    events.Recovered(): "info",
    events.Failed("source", "x"): "error",
    events.LeftOut(("x",)): "warning",
    events.NginxSaid("warn", "x"): "warning",
    events.NginxSaid("error", "x"): "error",
    events.NginxSaid("emerg", "x"): "error",
    events.NginxSaid("notice", "x"): "info",
}


@pytest.mark.parametrize("event", LEVELS, ids=str)
def test_stamp(event: Event) -> None:
    """A line of a router begins with its time in UTC and its level; a line of JSON has both as fields."""
    before = datetime.now(UTC).replace(microsecond=0)
    (line,), (record,) = write(event, stamped=True), map(json.loads, write(event, log_format="json", stamped=True))
    found = re.fullmatch(r"(\S+) (info|warning|error) +(\S.*)", line)
    assert found
    for stamp in (found[1], record["time"]):
        assert before <= datetime.strptime(stamp, "%Y-%m-%dT%H:%M:%S%z") <= datetime.now(UTC)
    assert found[2] == record["level"] == LEVELS[event]
    assert found[3].removeprefix("nginx: ") == record["text"]
    VALIDATOR.validate(record)


def test_short_stamp() -> None:
    """At a terminal the time of day is enough."""
    stream = Terminal()
    log = Log(stream, "text")
    log.stamp()
    log.observe(events.Failed("source", "x"))
    assert re.fullmatch(r"\d\d:\d\d:\d\d \033\[31merror\033\[0m   x\n", stream.getvalue())


class Terminal(io.StringIO):
    """A stream that is a terminal."""

    def isatty(self) -> bool:
        return True


def make_cycle(*problems: Problem) -> Cycle:
    """Make a cycle in which only these problems came out."""
    table = RoutingTable(NO_ROUTES, problems, 0.0)
    return Cycle(NOTHING, (), table, {}, "abc", applied=False, size=Size(0, 0))


def test_changes_without_a_reload() -> None:
    """A change of Pods without a reload has one line, which says so, in a replay too; another release says nothing."""
    before = msgspec.structs.replace(make_cycle(), applied=True)
    other = msgspec.structs.replace(before, release="def")
    changed = events.EndpointsChanged("abc", 1, (("post", 0.001), ("write", 0.001)))
    told = (events.Applied(before, None), changed, events.Applied(before, before), events.Applied(other, before))
    assert write(*told) == [
        "applied abc: 0 hosts, 0 Pods",
        "applied abc without a reload: 0 hosts, 0 Pods",
        "applied def: 0 hosts, 0 Pods",
    ]
    records = [json.loads(line) for line in write(*told, log_format="json")]
    assert [record["without_reload"] for record in records] == [False, True, False]
    for log_format, expected in (("text", "x.json: applied abc without a reload"), ("json", '"without_reload": true')):
        stream = io.StringIO()
        Log(stream, log_format).tell_recording("x.json", before, before)
        assert expected in stream.getvalue()


def test_standing_problems() -> None:
    """After a SIGHUP all problems that stand are written again, of one Namespace at most twenty."""
    one, other = (
        Problem(HOME, "one", "is wrong", "better", Reason.ANNOTATION),
        Problem(HOME, "other", "is wrong", "better", Reason.ANNOTATION),
    )
    told = write(
        events.Idle(make_cycle(one, other), None), events.Idle(make_cycle(one), make_cycle(one, other)), events.HungUp()
    )
    assert told[-2:] == ["SIGHUP: 1 problem stands", "problem: Namespace a: one is wrong; expected: better"]
    many = make_cycle(*(Problem(HOME, f"{number:02}", "is wrong", "better", Reason.ANNOTATION) for number in range(30)))
    told = write(events.Idle(many, many), events.HungUp())
    assert told[0] == "SIGHUP: 30 problems stand"
    assert told[-1] == "and 10 more problems of Namespace a"
    assert len(told) == 22


@pytest.mark.parametrize(
    "arguments", [("replay", WALKTHROUGH), ("--once", "--snapshot", WALKTHROUGH / "019-one-pod-unready.json")]
)
def test_lines_follow_the_schema(arguments: tuple[object, ...]) -> None:
    """Each line that a command writes as JSON follows the schema, and has no time: equal inputs give equal output."""
    shown = run(*arguments, "--log-format", "json", "--no-validate", NGINX_VERSION="1.26.3")
    lines = [json.loads(line) for line in (shown.stdout + shown.stderr).splitlines() if line.startswith("{")]
    assert {"problem"} <= {line["event"] for line in lines}
    for line in lines:
        VALIDATOR.validate(line)
        assert "time" not in line


def test_lines_of_a_router_follow_the_schema(
    server: ApiServer, launch: Callable[..., RunningDaemon], port: int, tmp_path: Path
) -> None:
    """Each line of a running router is JSON with a time, nginx's own messages too; the last ones tell its end."""
    server.load([namespace("a", {"a.dev": {}, "b..dev": {}})])
    server.put(web("a", port))
    daemon = launch("--log-format", "json", "--serve", "--output", tmp_path / "daemon" / "router")
    daemon.wait_until_serves("a.dev")
    server.put(web("a", 9, path="/nobody"))
    daemon.wait_for(lambda: daemon.ask("a.dev", "/nobody") == 502)
    daemon.wait_for_line("Connection refused")
    assert daemon.process
    daemon.process.send_signal(signal.SIGHUP)
    daemon.wait_for_line("SIGHUP: 1 problem stands")
    assert daemon.end() == 0
    lines = [json.loads(line) for line in daemon.lines]
    for line in lines:
        VALIDATOR.validate(line)
        assert line["time"]
    assert {"start", "notice", "applied", "change", "problem", "nginx"} <= {line["event"] for line in lines}
    assert [line["text"][:8] for line in lines[-2:]] == ["stopping", "stopped "]
    assert lines[0]["event"] == "start"
    (said,) = [line for line in lines if line["event"] == "nginx"]
    assert said["text"].startswith("*")
