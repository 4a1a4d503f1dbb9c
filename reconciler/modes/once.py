"""Modes that end: --once, which renders what there is, and replay, which runs recordings in order."""

import argparse
import dataclasses
import signal
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

from reconciler.disk.artefact import ArtefactError, NotAnArtefactError, Nowhere, read_artefact
from reconciler.disk.recordings import STANDARD_INPUT, find_recordings, read_recordings
from reconciler.loop.reconcile import Sink, reconcile
from reconciler.modes.signals import Stopped
from reconciler.modes.sinks import prepare, prepare_serving
from reconciler.nginx.program import NginxError
from reconciler.objects.listing import Listing, select
from reconciler.rendering.routes_file import RoutesError, compare
from reconciler.settings import Settings
from reconciler.status.log import Report

OK, DIFFERENT, FAILED = 0, 1, 3


def run_once(
    given: argparse.Namespace,
    settings: Settings,
    report: Report,
    read: Callable[[], Listing],
    hidden: tuple[str, ...],
) -> int:
    """Render what `read` gives, or recordings where the arguments name some; write, compare or print it.

    The nginx that tests it cannot read what lies in the folders `hidden`.
    """
    listing = _read(find_recordings(given.snapshot), settings) if given.snapshot else read()
    settings, sink = prepare(given, settings, report, hidden)
    cycle = reconcile(listing, settings, Nowhere() if given.diff else sink, None, time.time())
    for problem in cycle.table.problems:
        report.tell_problem(problem)
    found = given.strict and bool(cycle.table.problems)
    if given.diff:
        outside = [path for path in cycle.files if path.startswith("/")]
        try:
            changes = compare(read_artefact(given.diff, outside), cycle.files)
        except RoutesError as error:
            raise NotAnArtefactError(f"{given.diff}: is no artefact of this version: {error}") from None
        Report(sys.stdout, given.log_format).tell_changes(changes)
        found = found or bool(changes)
        sink.apply(cycle.files, cycle.snapshot)
    elif not given.output:
        sys.stdout.buffer.write(cycle.files["nginx.conf"].content)
        sys.stdout.flush()
    return DIFFERENT if found else OK


def replay(given: argparse.Namespace, settings: Settings, report: Report) -> int:
    """Run recordings in order, and tell for each what the loop did."""
    paths = find_recordings(given.paths)
    settings = dataclasses.replace(settings, max_changes=0)  # what was minutes apart comes at once here
    told, last, failed, found = Report(sys.stdout, given.log_format), None, False, False
    with ExitStack() as stack:
        if given.serve:
            folder = given.output or Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="dispatcher-")))
            settings, nginx = prepare_serving(folder, settings)
            stack.callback(nginx.stop)
            sink: Sink = nginx
        else:
            settings, sink = prepare(given, settings, report)
        for path in paths:
            listing = _read([path], settings)
            try:
                cycle = reconcile(listing, settings, sink, last, time.time())
            except (ArtefactError, NginxError) as error:
                report.tell_error(f"{_label(path)}: {error}")
                failed = True
                continue
            told.tell_cycle(_label(path), cycle, last)
            last, found = cycle, found or bool(given.strict and cycle.table.problems)
        if given.keep and last:
            _serve_on(settings, told)
    return FAILED if failed else DIFFERENT if found else OK


def _serve_on(settings: Settings, told: Report) -> None:
    """Go on serving until a signal comes, which is how this ends well."""
    try:
        told.tell_serving(settings.port)
        while True:
            signal.pause()
    except Stopped:
        return


def _label(path: str) -> str:
    return "standard input" if path == STANDARD_INPUT else Path(path).name


def _read(paths: list[str], settings: Settings) -> Listing:
    return select(read_recordings(paths), settings.selector, settings.api_key_secret_name)
