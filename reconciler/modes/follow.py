"""Modes over a live cluster: the daemon, the same without an nginx, one reading, and recording."""

import argparse
import os
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path

from reconciler import __version__
from reconciler.cluster.connection import Connection
from reconciler.cluster.credentials import Credentials, find_account_folders, find_credentials
from reconciler.cluster.source import Cluster, ClusterError
from reconciler.disk.artefact import Nowhere
from reconciler.disk.recorder import Recorder
from reconciler.disk.recordings import RecordingError
from reconciler.loop.reconcile import recall
from reconciler.modes.daemon import Daemon
from reconciler.modes.signals import Signals
from reconciler.modes.sinks import Printed, prepare, prepare_serving
from reconciler.nginx.program import NginxError
from reconciler.nginx.sink import Nginx
from reconciler.objects.listing import Listing
from reconciler.rendering.tree import render
from reconciler.routing.table import Routes
from reconciler.settings import Settings, describe_settings
from reconciler.status.health import serve_health
from reconciler.status.log import Report

_FOLDER = Path("/etc/nginx")
_FIRST_FREE_PORT = Path("/proc/sys/net/ipv4/ip_unprivileged_port_start")
_NO_ROUTES = Routes((), (), (), 512)


class UsageError(Exception):
    """Arguments that do not go together, or not with where the command runs."""


class _Recorded:
    """A source that records what it lists."""

    def __init__(self, cluster: Cluster, recorder: Recorder, report: Report) -> None:
        self._cluster = cluster
        self._recorder = recorder
        self._report = report

    @property
    def complaints(self) -> tuple[str, ...]:
        return self._cluster.complaints

    def read(self, *, consistently: bool = False) -> Listing:
        """List the cluster, and record it if it differs from what was recorded last."""
        listing = self._cluster.read(consistently=consistently)
        try:
            if path := self._recorder.write(listing):
                self._report.tell_notice(f"recorded {path}")
        except RecordingError as error:
            raise ClusterError(str(error)) from None
        return listing


def read_cluster(settings: Settings, environment: Mapping[str, str]) -> Listing:
    """Read the cluster once, as it is now. ClusterError, CredentialsError or UsageError where it cannot be."""
    return Cluster(Connection(_find(environment)), settings).read(consistently=True)


def run_daemon(given: argparse.Namespace, settings: Settings, report: Report, environment: Mapping[str, str]) -> int:
    """Follow the cluster until a signal comes, with an nginx where there is to be one."""
    credentials = _find(environment)
    if given.output and not (given.serve or credentials.in_cluster):
        raise UsageError("--output goes with --once, or with --serve")
    signals = Signals()
    signals.install()
    report.tell_start(__version__, describe_settings(environment), credentials.server)
    if given.serve or credentials.in_cluster:
        hidden = _find_hidden(credentials, settings, report)
        settings, nginx = prepare_serving(given.output or _FOLDER, settings, report.tell_notice, hidden)
        try:
            _serve(Cluster(Connection(credentials), settings), settings, nginx, report, signals)
        finally:
            nginx.stop(0.0 if signals.hurry else None)
    else:
        settings, sink = prepare(given, settings, report)
        Daemon(Cluster(Connection(credentials), settings), settings, Printed(sink), report).run(signals)
    return 0


def record(given: argparse.Namespace, settings: Settings, report: Report, environment: Mapping[str, str]) -> int:
    """Record the cluster as it is, or each change of it until a signal comes."""
    cluster = Cluster(Connection(_find(environment)), settings)
    source = _Recorded(cluster, Recorder(given.folder, settings, with_secrets=given.with_secrets), report)
    if given.every:
        signals = Signals()
        signals.install()
        settings, _ = prepare(given, settings, report, find_account_folders(environment))
        Daemon(source, settings, Nowhere(), report).run(signals)
    else:
        source.read(consistently=True)
    return 0


def _serve(cluster: Cluster, settings: Settings, nginx: Nginx, report: Report, signals: Signals) -> None:
    """Serve what a former process left, else nothing but the default servers, and from there follow the cluster."""
    resumed = None
    try:
        resumed = nginx.resume()
        if resumed:
            report.tell_notice(f"serving release {resumed.name}, the last good one, until the cluster is read")
        else:
            nginx.apply(render(_NO_ROUTES, settings))
    except NginxError as error:
        report.tell_error(str(error))
    former = recall(resumed.snapshot, resumed.files, settings) if resumed else None
    daemon = Daemon(cluster, settings, nginx, report, former)
    daemon.health.is_running = lambda: nginx.pid is not None
    if resumed and daemon.routes_something:
        daemon.health.serve(resumed.name)
    with ExitStack() as stack:
        if settings.health_port:
            server = serve_health(daemon.health, settings.listen_addresses[0], settings.health_port)
            stack.callback(server.shutdown)
        daemon.run(signals)


def _find_hidden(credentials: Credentials, settings: Settings, report: Report) -> tuple[str, ...]:
    """Name the folder of the Pod's token, which nginx has no business to read.

    To be kept from it nginx must gain no privileges; where a low port takes one, the port comes first.
    """
    if not credentials.account_folder:
        return ()
    low = min(settings.port, settings.ssl_port) < int(_FIRST_FREE_PORT.read_text())
    gains = "NoNewPrivs:\t1" not in Path("/proc/self/status").read_text()
    if low and gains and os.geteuid():
        report.tell_warning("nginx can read the Pod's token: with allowPrivilegeEscalation: false it could not")
        return ()
    return (credentials.account_folder,)


def _find(environment: Mapping[str, str]) -> Credentials:
    credentials = find_credentials(environment)
    if credentials:
        return credentials
    raise UsageError(
        "there is no cluster: this is no Pod (KUBERNETES_SERVICE_HOST is not set), and neither KUBECONFIG nor "
        "~/.kube/config is there; --once --snapshot PATH and replay PATH need none"
    )
