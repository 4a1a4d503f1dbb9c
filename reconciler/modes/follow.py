"""Following a live cluster until a signal comes: with an nginx that serves it, or printing what would be served."""

import argparse
import os
import time
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from reconciler import __version__
from reconciler.cluster.credentials import Credentials
from reconciler.cluster.events import EventReporter
from reconciler.loop.budget import make_budgets
from reconciler.loop.cycle import Cycle, recall
from reconciler.loop.events import Failed, Resumed, ShutDown, ShuttingDown, Started
from reconciler.loop.loop import Loop
from reconciler.loop.ports import Sink, SinkError, Tell
from reconciler.loop.stages import Stages
from reconciler.modes.arguments import OK, UsageError
from reconciler.modes.daemon import AttendedSink, Daemon, InterruptibleSource, longest_turn
from reconciler.modes.observers import tell_all
from reconciler.modes.reception import Reception
from reconciler.modes.reporters import make_reporter
from reconciler.modes.signals import Signals
from reconciler.modes.sinks import Printed, prepare, prepare_serving
from reconciler.modes.sources import make_cluster_source, name_source, require_credentials
from reconciler.modes.stopwatch import Stopwatch, TimedSink, TimedSource, TimedStages
from reconciler.nginx.sink import NginxSink
from reconciler.routing.model import NO_ROUTES, Size
from reconciler.settings import Settings, describe_settings
from reconciler.status.health import Health
from reconciler.status.log import Log

_FOLDER = Path("/etc/nginx")
_FIRST_FREE_PORT = Path("/proc/sys/net/ipv4/ip_unprivileged_port_start")


@dataclass(frozen=True, slots=True)
class _Watch:
    """What both ways of following share: how to reach the cluster, signals, and who is told."""

    credentials: Credentials
    environment: Mapping[str, str]
    signals: Signals
    tell: Tell
    reporter: EventReporter | None

    def make_source(self, settings: Settings) -> InterruptibleSource:
        """Make the source, which a signal to stop interrupts."""
        source = make_cluster_source(self.credentials, settings, self.environment, self.tell, self.reporter)
        return InterruptibleSource(source, self.signals)

    def attend(self, sink: Sink) -> AttendedSink:
        """Make a sink between whose trials signals are looked for."""
        return AttendedSink(sink, self.signals, self.tell)


def follow(given: argparse.Namespace, settings: Settings, log: Log, environment: Mapping[str, str]) -> int:
    """Follow the cluster. In a Pod, or if --serve is given, run an nginx that serves it."""
    credentials = require_credentials(environment, log)
    serves = given.serve or credentials.in_cluster
    if given.output and not serves:
        raise UsageError("--output goes with --once, or with --serve")
    log.stamp()
    signals = Signals()
    signals.install()
    reception = Reception(settings, Health(longest_turn(settings), settings.published_ready_age))
    # A Snapshot has no uids, so only who lists the cluster can write Kubernetes Events.
    lists = settings.snapshot_from == "cluster"
    reporter = make_reporter(settings, environment) if serves and lists else None
    tell = tell_all([log, *reception.observers, *([reporter] if reporter else [])])
    tell(Started(__version__, describe_settings(environment), name_source(credentials, settings)))
    watch = _Watch(credentials, environment, signals, tell, reporter)
    if serves:
        _serve(given, settings, log, watch, reception)
    else:
        _print(given, settings, log, watch)
    return OK


def _print(given: argparse.Namespace, settings: Settings, log: Log, watch: _Watch) -> None:
    """Print what would be served, at each change."""
    settings, sink = prepare(given, settings, log)
    loop = Loop(watch.make_source(settings), watch.attend(Printed(sink)), Stages(settings), watch.tell)
    Daemon(loop, settings, watch.tell).run(watch.signals)


def _serve(given: argparse.Namespace, settings: Settings, log: Log, watch: _Watch, reception: Reception) -> None:
    """Serve the cluster with an nginx, until a signal comes."""
    tell, stopwatch = watch.tell, Stopwatch()
    hidden = _find_hidden(watch.credentials, settings, log)
    settings, nginx = prepare_serving(given.output or _FOLDER, settings, tell, hidden)
    try:
        source = TimedSource(watch.make_source(settings), stopwatch)
        with ExitStack() as stack:
            former = _serve_former(nginx, settings, tell)
            reception.open(stack, settings, nginx.read_figures)
            if watch.reporter:
                stack.enter_context(watch.reporter.running(tell))
            sink = TimedSink(watch.attend(nginx), stopwatch)
            loop = Loop(source, sink, TimedStages(settings, stopwatch), tell, former)
            Daemon(loop, settings, tell, nginx.reap_orphans, stopwatch).run(watch.signals)
    finally:
        _stop(nginx, 0.0 if watch.signals.hurry else settings.shutdown_timeout, tell)


def _stop(nginx: NginxSink, patience: float, tell: Tell) -> None:
    """Stop nginx, even if nobody reads the log any more."""
    begun = time.monotonic()
    try:
        tell(ShuttingDown(patience))
    finally:
        nginx.stop(patience)
    tell(ShutDown(time.monotonic() - begun))


def _serve_former(nginx: NginxSink, settings: Settings, tell: Tell) -> Cycle | None:
    """Serve what a former process left, or else only the default servers. Give the cycle to continue from."""
    try:
        resumed = nginx.resume()
        if not resumed:
            nginx.apply(Stages(settings).render(NO_ROUTES))
            return None
    except SinkError as error:
        tell(Failed("sink", str(error)))
        return None
    former = recall(resumed.snapshot, resumed.files, make_budgets(settings))
    tell(Resumed(resumed.name, former.size if former else Size(0, 0)))
    return former


def _find_hidden(credentials: Credentials, settings: Settings, log: Log) -> tuple[str, ...]:
    """Name the folder of the Pod's token, which nginx must not read.

    A process that must not read a folder cannot gain privileges. If nginx needs a privilege for a low port, the port is
    more important, and no folder is hidden.
    """
    if not credentials.account_folder:
        return ()
    low = min(settings.port, settings.ssl_port) < int(_FIRST_FREE_PORT.read_text())
    gains = "NoNewPrivs:\t1" not in Path("/proc/self/status").read_text()
    if low and gains and os.geteuid():
        log.tell_warning("nginx can read the Pod's token: set allowPrivilegeEscalation: false to prevent this")
        return ()
    return (credentials.account_folder,)
