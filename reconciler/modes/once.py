"""--once: one cycle for CI, over a cluster or recordings. The tree is written, compared or printed."""

import argparse
import sys
import time
from collections.abc import Mapping

from reconciler.cluster.connection import Connection
from reconciler.cluster.credentials import find_account_folders
from reconciler.cluster.source import ClusterSource
from reconciler.disk.artefact import NotAnArtefactError, Nowhere, read_artefact
from reconciler.disk.recordings import find_recordings
from reconciler.loop.reconcile import reconcile
from reconciler.loop.stages import Stages
from reconciler.modes.arguments import DIFFERENT, OK
from reconciler.modes.sinks import prepare
from reconciler.modes.sources import read_listing, require_credentials
from reconciler.objects.normaliser import Normaliser
from reconciler.objects.snapshot import Snapshot
from reconciler.rendering.comparison import RouteChange, compare
from reconciler.rendering.routes_file import RoutesError
from reconciler.settings import Settings
from reconciler.status.log import Log
from reconciler.values.files import Files


def run_once(given: argparse.Namespace, settings: Settings, log: Log, environment: Mapping[str, str]) -> int:
    """Render the cluster, or recordings if the arguments name some; write, compare or print the tree."""
    snapshot = _read(given, settings, log, environment)
    settings, sink = prepare(given, settings, log, find_account_folders(environment))
    cycle = reconcile(snapshot, Stages(settings), Nowhere() if given.diff else sink, None, time.time())
    for problem in cycle.table.problems:
        log.tell_problem(problem)
    found = given.strict and bool(cycle.table.problems)
    if given.diff:
        changes = _compare(given, cycle.files)
        Log(sys.stdout, given.log_format).tell_changes(changes)
        found = found or bool(changes)
        sink.apply(cycle.files, cycle.snapshot)
    elif not given.output:
        sys.stdout.buffer.write(cycle.files["nginx.conf"].content)
        sys.stdout.flush()
    return DIFFERENT if found else OK


def _read(given: argparse.Namespace, settings: Settings, log: Log, environment: Mapping[str, str]) -> Snapshot:
    if given.snapshot:
        return Normaliser(settings).normalise(read_listing(find_recordings(given.snapshot), settings))
    return ClusterSource(Connection(require_credentials(environment, log)), settings).read(consistently=True)


def _compare(given: argparse.Namespace, files: Files) -> tuple[RouteChange, ...]:
    """Compare a tree with the artefact that --diff names."""
    try:
        return compare(read_artefact(given.diff, [path for path in files if path.startswith("/")]), files)
    except RoutesError as error:
        raise NotAnArtefactError(f"{given.diff}: is not an artefact of this version: {error}") from None
