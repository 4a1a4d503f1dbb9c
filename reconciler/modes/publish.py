"""Publishing: read the cluster for all routers, and publish what they need; of several publishers one does so."""

import argparse
import os
import secrets
import time
from collections.abc import Mapping
from contextlib import ExitStack, suppress
from dataclasses import replace

from reconciler import __version__
from reconciler.cluster.connection import Connection
from reconciler.cluster.lease import Election
from reconciler.cluster.published_objects import PublishedObjects
from reconciler.cluster.publisher import Publisher
from reconciler.cluster.stored import Store, StoreError
from reconciler.loop.events import Answered, Event, ShutDown, Started, Turned
from reconciler.loop.loop import Loop
from reconciler.loop.ports import Source, Tell
from reconciler.modes.arguments import OK, Command
from reconciler.modes.daemon import Daemon, InterruptibleTurns, longest_turn
from reconciler.modes.observers import tell_all
from reconciler.modes.publishing import Publishing, recall_published
from reconciler.modes.reception import Reception
from reconciler.modes.reporters import make_reporter
from reconciler.modes.signals import Signals
from reconciler.modes.sinks import assume_tls, assume_version
from reconciler.modes.sources import make_cluster_source, require_credentials
from reconciler.modes.stopwatch import Stopwatch, TimedSink, TimedSource, TimedStages
from reconciler.objects.snapshot import Snapshot
from reconciler.rendering.certificate_files import DEFAULT_SERVER
from reconciler.routing.model import Routes
from reconciler.settings import Settings, describe_settings
from reconciler.status.health import PublisherHealth
from reconciler.status.log import Log
from reconciler.values.files import Files
from reconciler.values.patterns import DNS_SUBDOMAIN


class _Judging(TimedStages):
    """Stages of which only what they tell is used."""

    def render(self, routes: Routes) -> Files:
        """Render the tree of a table's routes, without the stand-in for a default server's pair, which is not told."""
        stand_in = f"ssl/{DEFAULT_SERVER}/"
        return {path: file for path, file in super().render(routes).items() if not path.startswith(stand_in)}


def _publish(given: argparse.Namespace, settings: Settings, log: Log, environment: Mapping[str, str]) -> int:
    """Publish the cluster until a signal comes."""
    del given
    # A publisher reads the cluster, whatever the routers beside it read, and serves no default server.
    settings = replace(settings, snapshot_from="cluster", snapshot_fallback="none", ssl_cert=b"", ssl_key=b"")
    credentials = require_credentials(environment, log)
    log.stamp()
    signals, stopwatch = Signals(), Stopwatch()
    signals.install()
    reception = Reception(settings, PublisherHealth(longest_turn(settings)))
    reporter = make_reporter(settings, environment)
    tell = tell_all([log, *reception.observers, *([reporter] if reporter else [])])
    tell(Started(__version__, describe_settings(environment), credentials.route))
    store = Store(Connection(credentials), settings.published_namespace, settings.api_timeout, tell)
    election = Election(store, _name_instance(environment), settings.api_timeout)
    hear = _keep_between_requests(election, tell)
    source = TimedSource(make_cluster_source(credentials, settings, environment, hear, reporter), stopwatch)
    publishing = InterruptibleTurns(_make_turns(source, store, election, settings, stopwatch), signals)
    try:
        with ExitStack() as stack:
            reception.open(stack, settings)
            if reporter:
                stack.enter_context(reporter.running(tell))
            Daemon(publishing, settings, tell, stopwatch=stopwatch).run(signals)
    finally:
        begun = time.monotonic()
        with suppress(StoreError):
            election.release()  # the next publisher goes on at once
        tell(ShutDown(time.monotonic() - begun))
    return OK


def _keep_between_requests(election: Election, tell: Tell) -> Tell:
    """Make what hears of the cluster's answers: between two of a List that takes long, the Lease is kept."""

    def hear(event: Event) -> None:
        tell(event)
        if isinstance(event, Answered):
            election.keep()

    return hear


def _make_turns(
    source: Source, store: Store, election: Election, settings: Settings, stopwatch: Stopwatch
) -> Publishing:
    """Make a publisher's turns."""
    tell = store.tell

    def pulse() -> None:
        tell(Turned())
        election.keep()

    publisher = Publisher(PublishedObjects(store), settings, tell, pulse)
    stages, sink = _Judging(assume_tls(assume_version(settings)), stopwatch), TimedSink(publisher, stopwatch)

    def make_loop(published: Snapshot | None, now: float) -> Loop:
        return Loop(source, sink, stages, tell, recall_published(published, stages, now))

    return Publishing(election, publisher, tell, make_loop)


def _name_instance(environment: Mapping[str, str]) -> str:
    """Name this process in the Lease: its Pod, and something that no process before it had."""
    name = environment.get("HOSTNAME", "")
    return f"{name if DNS_SUBDOMAIN.accepts(name) else os.getpid()}_{secrets.token_hex(4)}"


def _declare(_: argparse.ArgumentParser) -> None:
    """Declare nothing: all is in the settings."""


COMMAND = Command(
    summary="read the cluster for all routers, and publish what they need",
    description=(
        "Read the cluster, and publish what routing reads of it as Secrets in PUBLISHED_NAMESPACE, for routers with "
        "SNAPSHOT_FROM=published. Of several publishers one publishes, and the others stand by."
    ),
    examples="dispatcher publish\nPUBLISHED_NAMESPACE=routing dispatcher publish",
    declare=_declare,
    run=_publish,
)
