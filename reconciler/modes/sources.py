"""Sources: the cluster that kubectl would reach, the cluster of this Pod, what is published there, or recordings."""

from collections.abc import Mapping

from reconciler.cluster.connection import Connection
from reconciler.cluster.credentials import Credentials, find_credentials
from reconciler.cluster.events import EventReporter
from reconciler.cluster.fallback import PublishedOnly, WithFallback
from reconciler.cluster.lease import Confirmation
from reconciler.cluster.proxies import find_variable
from reconciler.cluster.published_objects import PublishedObjects
from reconciler.cluster.published_source import PublishedSource
from reconciler.cluster.source import ClusterSource
from reconciler.cluster.stored import Store
from reconciler.disk.default_pair import WithDefaultPair
from reconciler.disk.manifests import Manifests, read_manifests
from reconciler.disk.recordings import find_recordings, read_recordings
from reconciler.loop.ports import Source, Tell
from reconciler.modes.arguments import UsageError
from reconciler.objects.listing import Listing, select
from reconciler.settings import Settings
from reconciler.status.log import Log
from reconciler.status.progress import Progress


def require_credentials(environment: Mapping[str, str], log: Log) -> Credentials:
    """Find the credentials for a cluster. CredentialsError says what is wrong; UsageError if there are none.

    A Pod sends its token only to its own API server, and to it directly. A proxy of the environment is for other
    programs there, and is reported.
    """
    credentials = find_credentials(environment)
    if credentials and credentials.in_cluster and (name := find_variable(credentials.server, environment)):
        log.tell_warning(f"{name} is set, and not used: a Pod reaches its API server directly")
    if credentials:
        return credentials
    raise UsageError(
        "there is no cluster: this is not a Pod (KUBERNETES_SERVICE_HOST is not set), and neither KUBECONFIG nor "
        "~/.kube/config exists; --once --snapshot PATH and replay PATH need none"
    )


def name_source(credentials: Credentials, settings: Settings) -> str:
    """Name what a daemon reads, for people."""
    if settings.snapshot_from == "published":
        return f"{credentials.route}, what is published in Namespace {settings.published_namespace}"
    return credentials.route


def make_cluster_source(
    credentials: Credentials,
    settings: Settings,
    environment: Mapping[str, str],
    tell: Tell,
    reporter: EventReporter | None = None,
) -> Source:
    """Make the source of a daemon. `tell` gets an event for each answer, and a reporter sees each Listing."""
    connection = Connection(credentials)
    source: Source = ClusterSource(connection, settings, reporter.see if reporter else _ignore, tell)
    if settings.snapshot_from == "published":
        published = make_published_source(connection, settings, tell)
        fallback = settings.snapshot_fallback == "cluster"
        source = WithFallback(published, source) if fallback else PublishedOnly(published)
    files = environment.get("SSL_CERT", ""), environment.get("SSL_KEY", "")
    return WithDefaultPair(source, settings, *files)


def make_published_source(connection: Connection, settings: Settings, tell: Tell) -> PublishedSource:
    """Make the source of what is published. `tell` gets an event for each answer, and for each reading."""
    store = Store(connection, settings.published_namespace, settings.api_timeout, tell)
    return PublishedSource(PublishedObjects(store), Confirmation(store), settings, tell)


def _ignore(_: Listing) -> None:
    """Do nothing with a Listing."""


def read_files(paths: list[str], log_format: str) -> Manifests:
    """Read files of manifests or recordings, with a bar at a terminal. RecordingError says why they cannot be read."""
    files = find_recordings(paths)
    with Progress(len(files), "files", log_format) as progress:
        return read_manifests(files, progress.step)


def read_listing(paths: list[str], settings: Settings) -> Listing:
    """Read recordings as an API server would list their objects. RecordingError says why they cannot be read."""
    return select_listing(read_recordings(paths), settings)


def select_listing(listing: Listing, settings: Settings) -> Listing:
    """Keep what an API server would list with these settings."""
    return select(listing, settings.selector, settings.api_key_secret_name, frozenset(settings.watch_namespaces))
