"""Recording: write the cluster as it is, or each change of it until a signal comes, as recordings."""

import argparse
from collections.abc import Mapping
from pathlib import Path

from reconciler.cluster.connection import Connection
from reconciler.cluster.credentials import find_account_folders
from reconciler.cluster.source import ClusterSource
from reconciler.disk.artefact import Nowhere
from reconciler.disk.recorder import Recorder
from reconciler.disk.recordings import RecordingError
from reconciler.loop.events import Recorded
from reconciler.loop.loop import Loop
from reconciler.loop.ports import SourceError
from reconciler.loop.stages import Stages
from reconciler.modes.arguments import OK, Command
from reconciler.modes.daemon import AttendedSink, Daemon, InterruptibleSource
from reconciler.modes.observers import tell_all
from reconciler.modes.signals import Signals
from reconciler.modes.sinks import prepare
from reconciler.modes.sources import require_credentials
from reconciler.objects.listing import Listing
from reconciler.settings import Settings
from reconciler.status.log import Log


def _record(given: argparse.Namespace, settings: Settings, log: Log, environment: Mapping[str, str]) -> int:
    """Record the cluster once, or with --every each change of it."""
    recorder = Recorder(given.folder, settings, with_secrets=given.with_secrets)
    tell = tell_all([log])

    def write(listing: Listing) -> None:
        try:
            path = recorder.write(listing)
        except RecordingError as error:  # writing is tried again; reading a recording is not
            raise SourceError(str(error)) from None
        if path:
            tell(Recorded(str(path)))

    source = ClusterSource(Connection(require_credentials(environment, log)), settings, write)
    if not given.every:
        source.read(consistently=True)
        return OK
    signals = Signals()
    signals.install()
    settings, _ = prepare(given, settings, log, find_account_folders(environment))
    sink = AttendedSink(Nowhere(), signals, tell)
    Daemon(Loop(InterruptibleSource(source, signals), sink, Stages(settings), tell), settings, tell).run(signals)
    return OK


def _declare(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("folder", metavar="DIR", type=Path, help="the folder for 0001.json and so on")
    parser.add_argument("--every", action="store_true", help="go on, and record each change until a signal comes")
    parser.add_argument(
        "--with-secrets", action="store_true", help="keep Secrets as they are, in files of mode 0600; else stand-ins"
    )


COMMAND = Command(
    summary="write what the cluster lists as a recording",
    description="Write the cluster's Namespaces, Pods and routing Secrets as a recording that replay reads.",
    examples="dispatcher record recordings\ndispatcher record recordings --every",
    declare=_declare,
    run=_record,
)
