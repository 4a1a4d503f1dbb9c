"""A survey of a live cluster: all that routing might read, selected or not, as far as a person's rights allow."""

from collections.abc import Mapping

import pykube

from reconciler.cluster.collection import ClusterError, Collection, ForbiddenError
from reconciler.cluster.connection import Connection
from reconciler.cluster.credentials import CredentialsError
from reconciler.cluster.pages import Item
from reconciler.objects.listing import Listing, Namespace, Pod, Secret
from reconciler.settings import Settings
from reconciler.values.value import Value


class Survey(Value, frozen=True):
    """What a cluster has. `gaps` are sentences that say what could not be read; without Secrets not `has_secrets`."""

    listing: Listing
    gaps: tuple[str, ...] = ()
    has_secrets: bool = True


def survey_cluster(connection: Connection, settings: Settings) -> Survey:
    """Read a cluster's present state. ClusterError if its Namespaces or Pods cannot be read at all."""
    try:
        connection.renew()
        gaps: list[str] = []
        namespaces = _read_widely(connection, settings, Namespace, gaps)
        pods = _read_widely(connection, settings, Pod, gaps)
        secrets: tuple[Secret, ...] = ()
        try:
            secrets = _read_secrets(connection, settings, gaps)
        except ForbiddenError as error:
            gaps.append(f"Secrets: API keys, certificates and whether they can be served are not known ({error})")
            return Survey(Listing(namespaces, pods), tuple(gaps), has_secrets=False)
        return Survey(Listing(namespaces, pods, secrets), tuple(gaps))
    except CredentialsError as error:
        raise ClusterError(str(error)) from None


def _read_widely(connection: Connection, settings: Settings, kind: type[Item], gaps: list[str]) -> tuple[Item, ...]:
    """Read all objects of a kind; if only those of WATCH_NAMESPACES may be read, read these."""
    try:
        return _read(connection, settings, kind, {"namespace": pykube.all} if kind is not Namespace else {}, gaps)
    except ForbiddenError as error:
        if not settings.watch_namespaces:
            raise
        gaps.append(f"{kind.__name__}s outside of WATCH_NAMESPACES ({error})")
    found: list[Item] = []
    for name in settings.watch_namespaces:
        filters = {"field_selector": f"metadata.name={name}"} if kind is Namespace else {"namespace": name}
        found += _read(connection, settings, kind, filters, gaps)
    return tuple(found)


def _read_secrets(connection: Connection, settings: Settings, gaps: list[str]) -> tuple[Secret, ...]:
    """Read the routing Secrets, by their name alone, as the router does."""
    name = f"metadata.name={settings.api_key_secret_name}"
    found: list[Secret] = []
    for namespace in settings.watch_namespaces or [pykube.all]:
        found += _read(connection, settings, Secret, {"field_selector": name, "namespace": namespace}, gaps)
    return tuple(found)


def _read(
    connection: Connection, settings: Settings, kind: type[Item], filters: Mapping[str, object], gaps: list[str]
) -> tuple[Item, ...]:
    """Read objects; those that cannot be decoded are told in `gaps`."""
    collection = Collection(connection, settings.api_timeout, lambda _: None, kind, filters)
    found = collection.read(consistently=True)
    gaps.extend(collection.complaints)
    return found
