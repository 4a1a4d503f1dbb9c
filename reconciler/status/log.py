"""What people and scripts are told: lines for a terminal, or a line of JSON for each event."""

import json
import os
import sys
from collections import Counter
from collections.abc import Mapping
from typing import IO, Any

import msgspec

from reconciler.loop.reconcile import Cycle
from reconciler.objects.diff import explain
from reconciler.objects.snapshot import Resource
from reconciler.rendering.routes_file import RouteChange, compare, compare_first, measure_routes
from reconciler.routing.tenant import Problem
from reconciler.values.patterns import show

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
_MANY = 20


class Report:
    """Writes events to a stream. Text is for people, coloured only at a terminal; JSON is stable for scripts."""

    def __init__(self, stream: IO[str], log_format: str) -> None:
        self._stream = stream
        self._json = log_format == "json"
        self._colour = stream.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"

    def tell_error(self, text: str) -> None:
        """Tell what keeps the command from its work."""
        self._write({"event": "error", "text": text}, f"{self._paint('error', 'dispatcher: error')}: {text}")

    def tell_warning(self, text: str) -> None:
        """Tell what the command goes on without."""
        self._write({"event": "warning", "text": text}, f"dispatcher: warning: {text}")

    def tell_problem(self, problem: Problem, *, gone: bool = False, indent: str = "") -> None:
        """Tell one thing that is left out, or that it no longer is: it was mended, or went with its object."""
        event, resource = "gone" if gone else "problem", problem.resource
        record = {"event": event, "kind": resource.kind, "namespace": resource.namespace, "name": resource.name}
        record |= {"what": problem.what, "why": problem.why, "right": problem.right}
        text = f"{resource}: {problem.what} {problem.why}" if gone else str(problem)
        self._write(record, f"{indent}{self._paint(event, event)}: {text}")

    def tell_changes(self, changes: tuple[RouteChange, ...], indent: str = "") -> None:
        """Tell what changed in routing, a line each."""
        for change in changes:
            record = {"event": "change", **msgspec.structs.asdict(change)}
            self._write(record, f"{indent}{self._paint(change.sign, show(str(change)))}")

    def tell_cycle(self, name: str, cycle: Cycle, last: Cycle | None) -> None:
        """Tell what one cycle did with a recording: applied or idle, what changed, problems that came and went."""
        if cycle.applied:
            changes = compare(last.files if last else {}, cycle.files)
            record: dict[str, Any] = {"event": "applied", "recording": name, "release": cycle.release}
            self._write(record, f"{name}: {self._paint('applied', 'applied')} {cycle.release}")
            self.tell_changes(changes, "  ")
        else:
            changed = cycle.changes or (last and cycle.table.problems != last.table.problems)
            why = "changed, but no route did" if changed else "nothing changed that routing reads"
            told = [*map(explain, cycle.changes[:_MANY])]
            more = [f"and {len(cycle.changes) - _MANY} more"] if len(cycle.changes) > _MANY else []
            record = {"event": "idle", "recording": name, "why": why, "objects": told + more}
            listed = f" ({'; '.join(told + more)})" if told else ""
            self._write(record, f"{name}: {self._paint('idle', 'idle')}: {why}{listed}")
        self._tell_problems(cycle, last, "  ")

    def tell_live(self, cycle: Cycle, last: Cycle | None) -> None:
        """Tell what a cycle over a live cluster changed in what is served, and problems that came and went."""
        if cycle.applied:
            changes, more = compare_first(last.files if last else {}, cycle.files, _MANY)
            size = measure_routes(cycle.table.routes)
            record = {"event": "applied", "release": cycle.release, "hosts": size.hosts, "pods": size.pods}
            what = f"{size.hosts} hosts, {size.pods} Pods"
            self._write(record, f"{self._paint('applied', 'applied')} {cycle.release}: {what}")
            self.tell_changes(changes, "  ")
            if more:
                self._write({"event": "more", "changes": more}, f"  and {more} more changes")
        self._tell_problems(cycle, last, "", _MANY)

    def tell_start(self, version: str, settings: Mapping[str, str], source: str) -> None:
        """Tell who starts, on what, and with which settings."""
        record = {"event": "start", "version": version, "source": source, "settings": dict(settings)}
        given = " ".join(f"{name}={value}" for name, value in settings.items()) or "the defaults"
        self._write(record, f"dispatcher {version} starts on {source}; settings: {given}")

    def tell_notice(self, text: str) -> None:
        """Tell what happened."""
        self._write({"event": "notice", "text": text}, text)

    def _tell_problems(self, cycle: Cycle, last: Cycle | None, indent: str, most: int | None = None) -> None:
        """Tell problems that went and came, of one Namespace the first `most`: a log is everybody's."""
        before, now = set(last.table.problems) if last else set(), set(cycle.table.problems)
        changed = [*sorted(before - now), *sorted(now - before)]
        told = Counter[Resource]()
        for problem in changed:
            told[problem.namespace] += 1
            if most is None or told[problem.namespace] <= most:
                self.tell_problem(problem, gone=problem in before, indent=indent)
        for namespace, number in told.items():
            if most is not None and number > most:
                record = {"event": "more", "namespace": namespace.name, "problems": number - most}
                self._write(record, f"{indent}and {number - most} more problems of {namespace} came or went")

    def tell_serving(self, port: int) -> None:
        """Tell that nginx goes on serving."""
        record = {"event": "serving", "port": port, "process": os.getpid()}
        self._write(record, f"serving on port {port} until a signal comes to process {os.getpid()}")

    def _write(self, record: dict[str, Any], text: str) -> None:
        line = json.dumps(record) if self._json else text  # in ASCII, for a file's name may be no UTF-8
        try:
            self._stream.write(f"{line}\n")
            self._stream.flush()
        except BrokenPipeError:
            raise
        except OSError:
            if self._stream is not sys.stderr:  # a log on a full disk is no reason to stop serving
                raise

    def _paint(self, kind: str, text: str) -> str:
        return f"\033[{_COLOURS[kind]}m{text}\033[0m" if self._colour and kind in _COLOURS else text
