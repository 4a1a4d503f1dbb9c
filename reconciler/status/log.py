"""The log: events as lines for people, or as a line of JSON each for scripts."""

import json
import os
import sys
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
from reconciler.values.messages import escape

_COLOURS = {
    "+": "32",
    "-": "31",
    "~": "33",
    "applied": "1;32",
    "idle": "2",
    "problem": "33",
    "gone": "32",
    "error": "31",
}
# All tenants share the log, so it shows at most this number of problems of a Namespace, and of changes of a cycle.
_MOST = 20


class Log:
    """An observer that writes lines to a stream: text for people, in colour only at a terminal, or JSON for scripts."""

    def __init__(self, stream: IO[str], log_format: str) -> None:
        self._stream = stream
        self._json = log_format == "json"
        self._colour = stream.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"
        self._failure = self._nginx_failure = ""

    def observe(self, event: Event) -> None:
        """Write the lines of an event. An idle cycle without a change has none; an error is written when it changes."""
        match event:
            case events.Started():
                self._tell_start(event.version, event.settings, event.source)
            case events.Applied():
                self._tell_applied(event.cycle, event.last)
                self._tell_problems(event.cycle, event.last, "", _MOST)
            case events.Idle():
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
                self._tell_notice("recovered: the cluster was read, and its routes are served")
            case events.Resumed():
                self._tell_notice(f"serving release {event.release}, the last good one, until the cluster is read")
            case events.Recorded():
                self._tell_notice(f"recorded {event.path}")
            case _:
                self._observe_nginx(event)

    def _observe_nginx(self, event: Event) -> None:
        """Write the line of an event of nginx; other events have none."""
        match event:
            case events.NginxEnded():
                self._tell_notice(f"nginx {event.how}; it is started again")
            case events.NginxStarted(again=True):
                self._nginx_failure = ""
                self._tell_notice(f"nginx runs again, with release {event.release}")
            case events.NginxFailed():
                if event.why != self._nginx_failure:
                    self._tell_notice(f"nginx cannot be started again: {event.why}")
                self._nginx_failure = event.why
            case events.NginxSized():
                self._tell_notice(
                    f"nginx has {event.workers} worker{'s' * (event.workers > 1)}, each with {event.connections} "
                    f"connections, of which {event.kept} may wait idle for Pods, and {event.descriptors} descriptors"
                )
                if event.connections < event.wanted:
                    self.tell_warning(
                        f"NGINX_WORKER_CONNECTIONS: {event.wanted} are more than {event.descriptors} descriptors "
                        "allow: raise the container's limit (ulimit -Hn)"
                    )
            case events.FormerUnserved():
                self._tell_notice(f"the former release {event.release} cannot be served: {event.why}")
            case events.MemoryShort():
                self._tell_notice("memory is short: workers of former releases are ended, and their open requests fail")

    def tell_error(self, text: str) -> None:
        """Write an error: what prevents the command from doing its work."""
        self._write({"event": "error", "text": text}, f"{self._paint('error', 'dispatcher: error')}: {text}")

    def tell_warning(self, text: str) -> None:
        """Write a warning: what is missing while the command goes on."""
        self._write({"event": "warning", "text": text}, f"dispatcher: warning: {text}")

    def tell_problem(self, problem: Problem, *, gone: bool = False, indent: str = "") -> None:
        """Write one thing that is left out. If `gone`, it is no longer left out."""
        event, resource = "gone" if gone else "problem", problem.resource
        record = {"event": event, "kind": resource.kind, "namespace": resource.namespace, "name": resource.name}
        record |= {"what": problem.what, "why": problem.why, "expected": problem.expected}
        text = f"{resource}: {problem.what} {problem.why}" if gone else str(problem)
        self._write(record, f"{indent}{self._paint(event, event)}: {text}")

    def tell_changes(self, changes: tuple[RouteChange, ...], indent: str = "") -> None:
        """Write what changed in routing, a line for each change."""
        for change in changes:
            record = {"event": "change", **msgspec.structs.asdict(change)}
            self._write(record, f"{indent}{self._paint(change.sign, escape(str(change)))}")

    def tell_recording(self, name: str, cycle: Cycle, last: Cycle | None) -> None:
        """Write what a cycle did with a recording: applied or idle, all changes, problems that came and went."""
        if cycle.applied:
            record: dict[str, Any] = {"event": "applied", "recording": name, "release": cycle.release}
            self._write(record, f"{name}: {self._paint('applied', 'applied')} {cycle.release}")
            self.tell_changes(compare(last.files if last else {}, cycle.files), "  ")
        else:
            changed = cycle.changes or (last and cycle.table.problems != last.table.problems)
            why = "changed, but no route did" if changed else "nothing changed that routing reads"
            told = [*map(explain, cycle.changes[:_MOST])]
            more = [f"and {len(cycle.changes) - _MOST} more"] if len(cycle.changes) > _MOST else []
            record = {"event": "idle", "recording": name, "why": why, "objects": told + more}
            listed = f" ({'; '.join(told + more)})" if told else ""
            self._write(record, f"{name}: {self._paint('idle', 'idle')}: {why}{listed}")
        self._tell_problems(cycle, last, "  ")

    def tell_serving(self, port: int) -> None:
        """Write that nginx goes on serving."""
        record = {"event": "serving", "port": port, "process": os.getpid()}
        self._write(record, f"serving on port {port} until a signal comes to process {os.getpid()}")

    def _tell_start(self, version: str, settings: Mapping[str, str], source: str) -> None:
        record = {"event": "start", "version": version, "source": source, "settings": dict(settings)}
        given = " ".join(f"{name}={value}" for name, value in settings.items()) or "the defaults"
        self._write(record, f"dispatcher {version} starts on {source}; settings: {given}")

    def _tell_applied(self, cycle: Cycle, last: Cycle | None) -> None:
        changes, more = compare_first(last.files if last else {}, cycle.files, _MOST)
        size = cycle.size
        record = {"event": "applied", "release": cycle.release, "hosts": size.hosts, "pods": size.pods}
        what = f"{size.hosts} hosts, {size.pods} Pods"
        self._write(record, f"{self._paint('applied', 'applied')} {cycle.release}: {what}")
        self.tell_changes(changes, "  ")
        if more:
            self._write({"event": "more", "changes": more}, f"  and {more} more changes")

    def _tell_notice(self, text: str) -> None:
        self._write({"event": "notice", "text": text}, text)

    def _tell_problems(self, cycle: Cycle, last: Cycle | None, indent: str, most: int | None = None) -> None:
        """Write the problems that went and came, for each Namespace the first `most` ones."""
        before, now = set(last.table.problems) if last else set(), set(cycle.table.problems)
        told = Counter[Resource]()
        for problem in [*sorted(before - now), *sorted(now - before)]:
            told[problem.namespace] += 1
            if most is None or told[problem.namespace] <= most:
                self.tell_problem(problem, gone=problem in before, indent=indent)
        for namespace, number in told.items():
            if most is not None and number > most:
                record = {"event": "more", "namespace": namespace.name, "problems": number - most}
                self._write(record, f"{indent}and {number - most} more problems of {namespace} came or went")

    def _write(self, record: dict[str, Any], text: str) -> None:
        line = json.dumps(record) if self._json else text  # in ASCII, because a file's name may not be UTF-8
        try:
            self._stream.write(f"{line}\n")
            self._stream.flush()
        except BrokenPipeError:
            raise
        except OSError:
            if self._stream is not sys.stderr:  # a full disk under the log is not a reason to stop serving
                raise

    def _paint(self, kind: str, text: str) -> str:
        return f"\033[{_COLOURS[kind]}m{text}\033[0m" if self._colour and kind in _COLOURS else text
