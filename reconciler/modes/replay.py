"""Replay: run recordings in order, and print for each what the loop did; with --serve, a real nginx serves them."""

import argparse
import dataclasses
import math
import signal
import sys
import tempfile
import time
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path

from reconciler import __version__
from reconciler.disk.recordings import STANDARD_INPUT, find_recordings
from reconciler.loop.events import Applied, EndpointsRefused, Event, Failed, Idle, NginxSaid, Started
from reconciler.loop.ports import Sink, SinkError, Tell
from reconciler.loop.reconcile import reconcile
from reconciler.loop.stages import Stages
from reconciler.modes.arguments import DIFFERENT, FAILED, OK, Command, UsageError
from reconciler.modes.observers import tell_all
from reconciler.modes.reception import Reception
from reconciler.modes.signals import Stopped
from reconciler.modes.sinks import prepare, prepare_serving
from reconciler.modes.sources import read_listing
from reconciler.nginx.sink import NginxSink
from reconciler.objects.normaliser import Normaliser
from reconciler.settings import Settings, describe_settings
from reconciler.status.health import Health
from reconciler.status.log import Log
from reconciler.status.progress import Progress

# No loop turns here, and none can be stuck.
_LONGEST_TURN = math.inf


def _replay(given: argparse.Namespace, settings: Settings, log: Log, environment: Mapping[str, str]) -> int:
    """Run recordings in order, and print for each what the loop did."""
    if given.keep and not given.serve:
        raise UsageError("--keep goes with --serve")
    paths = find_recordings(given.paths)
    # Recordings that were made minutes apart run at once here.
    settings = dataclasses.replace(settings, max_changes=0, max_endpoint_changes=0)
    reception = Reception(settings, Health(_LONGEST_TURN))
    tell = tell_all([_Told(log), *reception.observers])
    tell(Started(__version__, describe_settings(environment), _name_source(paths)))
    with ExitStack() as stack:
        settings, sink = _prepare(given, settings, log, stack, tell)
        if isinstance(sink, NginxSink):
            reception.open(stack, settings, sink.read_figures)
        return _run(given, paths, Stages(settings), sink, tell)


def _prepare(
    given: argparse.Namespace, settings: Settings, log: Log, stack: ExitStack, tell: Tell
) -> tuple[Settings, Sink]:
    """Make the sink. When the stack closes, it ends and removes what the sink needs."""
    if not given.serve:
        return prepare(given, settings, log)
    folder = given.output or Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="dispatcher-")))
    settings, nginx = prepare_serving(folder, settings, tell)
    stack.callback(nginx.stop)
    return settings, nginx


class _Told:
    """An observer that logs what nginx says or refuses, and what failed. Standard output has all else, in the steps."""

    def __init__(self, log: Log) -> None:
        self._log = log

    def observe(self, event: Event) -> None:
        """Log an event, if it is one of these."""
        if isinstance(event, NginxSaid | EndpointsRefused):
            self._log.observe(event)
        elif isinstance(event, Failed):
            self._log.tell_error(event.why)


def _run(given: argparse.Namespace, paths: list[str], stages: Stages, sink: Sink, tell: Tell) -> int:
    told, last, failed, found = Log(sys.stdout, given.log_format), None, False, False
    settings = stages.settings
    normaliser = Normaliser(settings)
    with Progress(len(paths), "recordings", given.log_format) as progress:
        for path in paths:
            snapshot = normaliser.normalise(read_listing([path], settings))
            try:
                cycle = reconcile(snapshot, stages, sink, last, time.time())
            except SinkError as error:
                with progress.aside():
                    tell(Failed("sink", f"{_label(path)}: {error}"))
                failed = True
                continue
            if why := stages.take_refusal():
                tell(EndpointsRefused(why))
            with progress.aside():
                told.tell_recording(_label(path), cycle, last)
            progress.step()
            tell(Applied(cycle, last) if cycle.applied else Idle(cycle, last))
            last, found = cycle, found or bool(given.strict and cycle.table.problems)
    if given.keep and last:
        _serve_on(settings, told)
    return FAILED if failed else DIFFERENT if found else OK


def _serve_on(settings: Settings, log: Log) -> None:
    """Go on serving until a signal comes, which is the normal end."""
    try:
        log.tell_serving(settings.port)
        while True:
            signal.pause()
    except Stopped:
        return


def _name_source(paths: list[str]) -> str:
    """Name the recordings in a few words: a folder may have hundreds."""
    if len(paths) == 1:
        return f"the recording {_label(paths[0])}"
    return f"{len(paths)} recordings, {_label(paths[0])} to {_label(paths[-1])}"


def _label(path: str) -> str:
    return "standard input" if path == STANDARD_INPUT else Path(path).name


def _declare(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "paths", metavar="PATH", nargs="+", help="a recording, a folder of them, or - for standard input"
    )
    parser.add_argument(
        "--serve",
        action="store_true",
        default=argparse.SUPPRESS,
        help="serve each release with a real nginx, and tell what needs no reload",
    )
    parser.add_argument("--keep", action="store_true", help="with --serve: go on serving until a signal comes")


COMMAND = Command(
    summary="run recordings in order through the loop",
    description="Run recordings in order, and tell for each what the loop did.",
    examples="dispatcher replay fixtures/walkthrough\n"
    "PORT=8080 SSL_PORT=8443 ADMIN_PORT=8090 dispatcher replay recordings --serve --keep",
    declare=_declare,
    run=_replay,
    renders=True,
)
