"""Sources: the cluster that kubectl would reach, the cluster of this Pod, or recordings."""

from collections.abc import Mapping

from reconciler.cluster.credentials import Credentials, find_credentials
from reconciler.disk.recordings import read_recordings
from reconciler.modes.arguments import UsageError
from reconciler.objects.listing import Listing, select
from reconciler.settings import Settings


def require_credentials(environment: Mapping[str, str]) -> Credentials:
    """Find the credentials for a cluster. CredentialsError says what is wrong; UsageError if there are none."""
    credentials = find_credentials(environment)
    if credentials:
        return credentials
    raise UsageError(
        "there is no cluster: this is not a Pod (KUBERNETES_SERVICE_HOST is not set), and neither KUBECONFIG nor "
        "~/.kube/config exists; --once --snapshot PATH and replay PATH need none"
    )


def read_listing(paths: list[str], settings: Settings) -> Listing:
    """Read recordings as an API server would list their objects. RecordingError says why they cannot be read."""
    return select(read_recordings(paths), settings.selector, settings.api_key_secret_name)
