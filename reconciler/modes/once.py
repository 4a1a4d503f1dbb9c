"""--once: one cycle for CI, over a cluster or recordings. The tree is written, compared or printed."""

import argparse
import dataclasses
import sys
import time
from collections import Counter
from collections.abc import Mapping
from pathlib import Path

from msgspec.structs import replace

from reconciler.cluster.connection import Connection
from reconciler.cluster.credentials import find_account_folders
from reconciler.cluster.source import ClusterSource
from reconciler.disk.artefact import NotAnArtefactError, Nowhere, read_artefact
from reconciler.disk.manifests import Manifests
from reconciler.loop.reconcile import reconcile
from reconciler.loop.stages import Stages
from reconciler.modes.arguments import DIFFERENT, OK
from reconciler.modes.faults import find_faults
from reconciler.modes.sinks import prepare
from reconciler.modes.sources import make_published_source, read_files, require_credentials, select_listing
from reconciler.objects.normaliser import Normaliser
from reconciler.objects.snapshot import Snapshot
from reconciler.objects.workloads import WORKLOADS, list_kinds
from reconciler.rendering.comparison import RouteChange, compare
from reconciler.rendering.routes_file import RoutesError
from reconciler.settings import Settings
from reconciler.status.log import Log
from reconciler.values.files import Files

# What --diff names in place of a folder. A folder of this name is ./published.
PUBLISHED = "published"


def run_once(given: argparse.Namespace, settings: Settings, log: Log, environment: Mapping[str, str]) -> int:
    """Render the cluster, or recordings if the arguments name some; write, compare or print the tree."""
    manifests = read_files(given.snapshot, given.log_format) if given.snapshot else None
    snapshot = _read(manifests, settings, log, environment)
    settings, sink = prepare(given, settings, log, find_account_folders(environment))
    cycle = reconcile(snapshot, Stages(settings), Nowhere() if given.diff else sink, None, time.time())
    for problem in cycle.table.problems:
        log.tell_problem(problem)
    wrong = bool(manifests and _judge(manifests, settings, log))
    found = given.strict and (wrong or bool(cycle.table.problems))
    if given.diff:
        before = _read_published(settings, log, environment) if given.diff == PUBLISHED else None
        changes = _compare(given.diff, before, cycle.files, settings)
        Log(sys.stdout, given.log_format).tell_changes(changes)
        found = found or bool(changes)
        sink.apply(cycle.files, cycle.snapshot)
    elif not given.output:
        sys.stdout.buffer.write(cycle.files["nginx.conf"].content)
        sys.stdout.flush()
    return DIFFERENT if found else OK


def _read(manifests: Manifests | None, settings: Settings, log: Log, environment: Mapping[str, str]) -> Snapshot:
    if manifests:
        return Normaliser(settings).normalise(select_listing(manifests.listing, settings))
    if settings.snapshot_from == "published":
        return _read_published(settings, log, environment)
    return ClusterSource(Connection(require_credentials(environment, log)), settings).read(consistently=True)


def _read_published(settings: Settings, log: Log, environment: Mapping[str, str]) -> Snapshot:
    connection = Connection(require_credentials(environment, log))
    return make_published_source(connection, settings, lambda _: None).read(consistently=True)


def _judge(manifests: Manifests, settings: Settings, log: Log) -> bool:
    """Tell what is wrong with workloads, whose Pods are to be routed, and what was not read.

    Tell whether anything is wrong. The router has judged all other objects.
    """
    alone = dataclasses.replace(manifests, listing=replace(manifests.listing, pods=()), others=())
    problems = [fault.problem for fault in find_faults(alone, settings, time.time())]
    problems = [problem for problem in problems if problem.resource.kind in WORKLOADS]
    for problem in problems:
        log.tell_problem(problem)
    made = Counter(workload.resource.kind for workload in manifests.workloads)
    judged = f"{list_kinds(made)} judged: only Pods are routed" if made else ""
    if told := "; ".join(part for part in (judged, manifests.tell_unread()) if part):
        log.tell_notice(told)
    return bool(problems)


def _compare(folder: str, before: Snapshot | None, files: Files, settings: Settings) -> tuple[RouteChange, ...]:
    """Compare a tree with that of the Snapshot `before`, else with the artefact that --diff names."""
    if before is not None:
        return compare(reconcile(before, Stages(settings), Nowhere(), None, time.time()).files, files)
    try:
        return compare(read_artefact(Path(folder), [path for path in files if path.startswith("/")]), files)
    except RoutesError as error:
        raise NotAnArtefactError(f"{folder}: is not an artefact of this version: {error}") from None
