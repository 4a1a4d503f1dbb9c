"""The log: events as lines for people, or as a line of JSON each for scripts."""

import os
from collections import Counter
from collections.abc import Mapping
from typing import IO, Any

import msgspec

from reconciler.loop import events
from reconciler.loop.cycle import Cycle
from reconciler.loop.events import Event
from reconciler.objects.diff import explain
from reconciler.objects.snapshot import Resource
from reconciler.rendering.comparison import RouteChange, compare, compare_first
from reconciler.routing.problems import Problem
from reconciler.status.lines import Level, Lines
from reconciler.status.nginx_lines import list_nginx_lines
from reconciler.values.messages import escape, write_time

# All tenants share the log, so it shows at most this number of problems of a Namespace, and of changes of a cycle.
_MOST = 20
_PUBLISHING = "publishing from now on"
# The levels of nginx's own messages: https://nginx.org/en/docs/ngx_core_module.html#error_log
_LEVELS: Mapping[str, Level] = {"warn": "warning", "notice": "info", "info": "info", "debug": "info"}


class Log:
    """An observer that writes lines to a stream: text for people, or JSON for scripts."""

    def __init__(self, stream: IO[str], log_format: str) -> None:
        self._lines = Lines(stream, log_format)
        self._failure = self._nginx_failure = self._unreported = ""
        self._standing: tuple[Problem, ...] = ()
        self._role = ""

    def stamp(self) -> None:
        """From now on, give each line its time and level, as the lines of a router have them."""
        self._lines.stamp()

    def observe(self, event: Event) -> None:
        """Write the lines of an event. An idle cycle without a change has none; an error is written when it changes."""
        match event:
            case events.Started():
                self._tell_start(event.version, event.settings, event.source)
            case events.Applied():
                self._standing = event.cycle.table.problems
                self._tell_applied(event.cycle, event.last)
                self._tell_problems(event.cycle, event.last, "", _MOST)
            case events.Idle():
                self._standing = event.cycle.table.problems
                self._tell_problems(event.cycle, event.last, "", _MOST)
            case events.LeftOut():
                for complaint in event.complaints:
                    self.tell_warning(complaint)
            case events.Failed():
                if event.why != self._failure:
                    self.tell_error(event.why)
                self._failure = event.why
            case events.Recovered():
                self._failure = ""
                done = "it is published" if self._role == _PUBLISHING else "its routes are served"
                self.tell_notice(f"recovered: the cluster was read, and {done}")
            case events.Resumed():
                self.tell_notice(f"serving release {event.release}, the last good one, until the cluster is read")
            case events.Recorded():
                self.tell_notice(f"recorded {event.path}")
            case events.HungUp():
                self._tell_standing()
            case events.Reported():
                self._tell_report(event)
            case events.ShuttingDown():
                self.tell_notice(f"stopping: open requests have {event.patience:.0f} s to finish")
            case events.ShutDown():
                self.tell_notice(f"stopped after {event.seconds:.1f} s")
            case _:
                self._observe_publishing(event)

    def _observe_publishing(self, event: Event) -> None:
        """Write the line of an event of publishing; other events but nginx's have none."""
        match event:
            case events.StoodBy():
                self._tell_role(f"standing by, while {event.holder or 'nobody'} publishes")
            case events.Elected():
                self._tell_role(_PUBLISHING)
            case events.PublisherSeen():
                self._tell_publisher(event)
            case _:
                self._observe_nginx(event)

    def _tell_role(self, role: str) -> None:
        """Write what this publisher does, if that is new."""
        if role != self._role:
            self.tell_notice(role)
        self._role = role

    def _tell_publisher(self, event: events.PublisherSeen) -> None:
        """Write whether a publisher confirms what this router serves, if that is new."""
        role = "alone" if event.alone else "old" if event.old else ""
        if role == self._role:
            return
        self._role = role
        since = f"since {write_time(event.confirmed)}" if event.confirmed is not None else "yet"
        if event.alone:
            self.tell_warning(
                f"no publisher has confirmed {since} what is published; this router lists the cluster itself"
            )
        elif event.old:
            self.tell_warning(f"no publisher has confirmed {since} what is published; what was read last is served")
        else:
            self.tell_notice("a publisher confirms again what is published")

    def _tell_report(self, event: events.Reported) -> None:
        """Write why no Kubernetes Event can be written, once until that changes."""
        if event.why and event.why != self._unreported:
            self.tell_warning(event.why)
        if event.why or event.outcome in ("created", "exists", "renewed"):
            self._unreported = event.why

    def _observe_nginx(self, event: Event) -> None:
        """Write the lines of an event of nginx; other events have none."""
        match event:
            case events.NginxSaid():
                record = {"event": "nginx", "text": event.text, "severity": event.severity}
                self._lines.write(_LEVELS.get(event.severity, "error"), record, f"nginx: {event.text}")
            case events.NginxStarted(again=True):
                self._nginx_failure = ""
                self.tell_notice(f"nginx runs again, with release {event.release}")
            case events.NginxFailed():
                if event.why != self._nginx_failure:
                    self.tell_notice(f"nginx cannot be started again: {event.why}")
                self._nginx_failure = event.why
            case _:
                for level, text in list_nginx_lines(event):
                    tell = self.tell_warning if level == "warning" else self.tell_notice
                    tell(text)

    def tell_error(self, text: str) -> None:
        """Write an error: what prevents the command from doing its work."""
        self._lines.write_marked("error", {"event": "error", "text": text}, text)

    def tell_warning(self, text: str) -> None:
        """Write a warning: what is missing while the command goes on."""
        self._lines.write_marked("warning", {"event": "warning", "text": text}, text)

    def tell_notice(self, text: str) -> None:
        """Write what happened, in words."""
        self._lines.write("info", {"event": "notice", "text": text}, text)

    def tell_problem(self, problem: Problem, *, gone: bool = False, indent: str = "") -> None:
        """Write one thing that is left out. If `gone`, it is no longer left out."""
        event, resource = "gone" if gone else "problem", problem.resource
        record = {"event": event, **problem.as_record()}
        text = f"{resource}: {problem.what} {problem.why}" if gone else str(problem)
        level: Level = "info" if gone else "warning"
        self._lines.write(level, record, f"{indent}{self._lines.paint(event, event)}: {text}")

    def tell_changes(self, changes: tuple[RouteChange, ...], indent: str = "") -> None:
        """Write what changed in routing, a line for each change."""
        for change in changes:
            record = {"event": "change", **msgspec.structs.asdict(change)}
            self._lines.write("info", record, f"{indent}{self._lines.paint(change.sign, escape(str(change)))}")

    def tell_recording(self, name: str, cycle: Cycle, last: Cycle | None) -> None:
        """Write what a cycle did with a recording: applied or idle, all changes, problems that came and went."""
        if cycle.applied:
            text, how = self._describe_applied(cycle, last)
            record: dict[str, Any] = {"event": "applied", "recording": name, **how}
            self._lines.write("info", record, f"{name}: {text}")
            self.tell_changes(compare(last.files if last else {}, cycle.files), "  ")
        else:
            changed = cycle.changes or (last and cycle.table.problems != last.table.problems)
            why = "changed, but no route did" if changed else "nothing changed that routing reads"
            told = [*map(explain, cycle.changes[:_MOST])]
            more = [f"and {len(cycle.changes) - _MOST} more"] if len(cycle.changes) > _MOST else []
            record = {"event": "idle", "recording": name, "why": why, "objects": told + more}
            listed = f" ({'; '.join(told + more)})" if told else ""
            self._lines.write("info", record, f"{name}: {self._lines.paint('idle', 'idle')}: {why}{listed}")
        self._tell_problems(cycle, last, "  ")

    def tell_serving(self, port: int) -> None:
        """Write that nginx goes on serving."""
        record = {"event": "serving", "port": port, "process": os.getpid()}
        self._lines.write("info", record, f"serving on port {port} until a signal comes to process {os.getpid()}")

    def _tell_start(self, version: str, settings: Mapping[str, str], source: str) -> None:
        record = {"event": "start", "version": version, "source": source, "settings": dict(settings)}
        given = " ".join(f"{name}={value}" for name, value in settings.items()) or "the defaults"
        self._lines.write("info", record, f"dispatcher {version} starts on {source}; settings: {given}")

    def _tell_applied(self, cycle: Cycle, last: Cycle | None) -> None:
        changes, more = compare_first(last.files if last else {}, cycle.files, _MOST)
        size = cycle.size
        text, how = self._describe_applied(cycle, last)
        record = {"event": "applied", **how, "hosts": size.hosts, "pods": size.pods}
        self._lines.write("info", record, f"{text}: {size.hosts} hosts, {size.pods} Pods")
        self.tell_changes(changes, "  ")
        if more:
            self._lines.write("info", {"event": "more", "changes": more}, f"  and {more} more changes")

    def _describe_applied(self, cycle: Cycle, last: Cycle | None) -> tuple[str, dict[str, Any]]:
        """Give the words and the fields that say which release is served, and whether nginx was not reloaded for it."""
        kept = cycle.is_without_reload(last)
        text = f"{self._lines.paint('applied', 'applied')} {cycle.release}{' without a reload' if kept else ''}"
        return text, {"release": cycle.release, "without_reload": kept}

    def _tell_standing(self) -> None:
        """Write all problems that stand, for each Namespace the first ones."""
        number = len(self._standing)
        self.tell_notice(f"SIGHUP: {number} problem{'s' * (number != 1)} stand{'s' * (number == 1)}")
        self._tell_limited([(problem, False) for problem in self._standing], "", _MOST)

    def _tell_problems(self, cycle: Cycle, last: Cycle | None, indent: str, most: int | None = None) -> None:
        """Write the problems that went and came, for each Namespace the first `most` ones."""
        before, now = set(last.table.problems) if last else set(), set(cycle.table.problems)
        told = [*((problem, True) for problem in sorted(before - now)), *((one, False) for one in sorted(now - before))]
        self._tell_limited(told, indent, most)

    def _tell_limited(self, problems: list[tuple[Problem, bool]], indent: str, most: int | None) -> None:
        """Write problems, each with whether it is gone; of each Namespace only the first `most` ones."""
        told = Counter[Resource]()
        for problem, gone in problems:
            told[problem.namespace] += 1
            if most is None or told[problem.namespace] <= most:
                self.tell_problem(problem, gone=gone, indent=indent)
        for namespace, number in told.items():
            if most is not None and number > most:
                record = {"event": "more", "namespace": namespace.name, "problems": number - most}
                text = f"{indent}and {number - most} more problems of {namespace}"
                self._lines.write("info", record, text)
