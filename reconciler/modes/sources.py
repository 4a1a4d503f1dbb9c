"""Sources as the environment gives them: the cluster that kubectl would reach, or the one that this Pod is in."""

from collections.abc import Mapping

from reconciler.cluster.credentials import Credentials, find_credentials
from reconciler.disk.recordings import read_recordings
from reconciler.modes.arguments import UsageError
from reconciler.objects.listing import Listing, select
from reconciler.settings import Settings


def require_credentials(environment: Mapping[str, str]) -> Credentials:
    """Find the way to a cluster. CredentialsError says what is wrong with it; UsageError if there is none."""
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
