"""The source that reads a live cluster: its Namespaces, Pods and Secrets, as its API server lists them."""

from collections.abc import Callable
from itertools import chain
from operator import is_not

import pykube

from reconciler.cluster.collection import ClusterError, Collection, ForbiddenError, join_forbidden
from reconciler.cluster.connection import Connection
from reconciler.cluster.credentials import CredentialsError
from reconciler.cluster.pages import Item
from reconciler.loop.ports import Tell
from reconciler.objects.listing import Listing, Namespace, Pod, Secret
from reconciler.objects.normaliser import Normaliser
from reconciler.objects.snapshot import NOTHING, Snapshot
from reconciler.settings import Settings


class ClusterSource:
    """Reads what is to be routed. What has not changed since the last read is not listed or normalised again.

    `see` is called with each Listing that was read; it may raise SourceError. `tell` gets an event for each answer.
    """

    def __init__(
        self,
        connection: Connection,
        settings: Settings,
        see: Callable[[Listing], None] = lambda _: None,
        tell: Tell = lambda _: None,
    ) -> None:
        self._connection = connection
        self._see = see
        self._normaliser = Normaliser(settings)
        self._parts: list[tuple[object, ...]] = []
        self._listing = Listing()
        self._snapshot = NOTHING
        labels, secret = str(settings.selector), f"metadata.name={settings.api_key_secret_name}"
        names, timeout = settings.watch_namespaces, settings.api_timeout
        self._namespaces = [
            Collection(connection, timeout, tell, Namespace, {"selector": labels, "field_selector": one})
            for one in ([f"metadata.name={name}" for name in names] if names else [None])
        ]
        self._pods = [
            Collection(connection, timeout, tell, Pod, {"selector": labels, "namespace": one})
            for one in names or [pykube.all]
        ]
        self._secrets = [
            Collection(connection, timeout, tell, Secret, {"field_selector": secret, "namespace": one})
            for one in names or [pykube.all]
        ]

    @property
    def complaints(self) -> tuple[str, ...]:
        """The objects that the last read left out because they cannot be decoded, one line each."""
        lines = [one.complaints for one in self._namespaces]
        lines += [one.complaints for one in self._pods] + [one.complaints for one in self._secrets]
        return tuple(chain.from_iterable(lines))

    def read(self, *, consistently: bool = False) -> Snapshot:
        """Read the cluster, or give the last Snapshot again if no collection was listed again.

        `consistently`: read the current state, and not an API server's cache. ClusterError if the cluster cannot be
        read completely.
        """
        if self._list(consistently):
            self._snapshot = self._normaliser.normalise(self._listing)
        self._see(self._listing)
        return self._snapshot

    def _has_lost(self, secrets: list[tuple[Secret, ...]]) -> bool:
        """Tell whether a Namespace had a routing Secret when the cluster was read last, and has none now."""
        if not any(map(is_not, secrets, self._parts[-len(secrets) :])):
            return False  # nothing was listed again
        now = {secret.metadata.namespace for secret in chain.from_iterable(secrets)}
        return any(secret.metadata.namespace not in now for secret in self._listing.secrets)

    def _list(self, consistently: bool) -> bool:
        """List all kinds, and tell whether anything may differ from the last time."""
        forbidden: list[ForbiddenError] = []
        try:
            self._connection.renew()
            namespaces = _read(self._namespaces, consistently, forbidden)
            pods = _read(self._pods, consistently, forbidden)
            secrets = _read(self._secrets, consistently, forbidden)
            if self._has_lost(secrets):
                # A Namespace that is being deleted loses its Secret early. It must not look like one in use without it.
                # And paths whose API key is gone are open, so it is not believed to a cache alone that it is gone.
                secrets = _read(self._secrets, True, forbidden)
                namespaces = _read(self._namespaces, True, forbidden)
        except CredentialsError as error:
            raise ClusterError(str(error)) from None
        except ClusterError:
            if forbidden:  # a person can mend that, and it may be why the rest fails
                raise join_forbidden(forbidden) from None
            raise
        if forbidden:
            raise join_forbidden(forbidden)
        parts: list[tuple[object, ...]] = [*namespaces, *pods, *secrets]
        # Compared by identity, which costs nothing. Old tuples are kept, so that no new one has the same address.
        if len(parts) == len(self._parts) and not any(map(is_not, parts, self._parts)):
            return False
        self._parts = parts
        self._listing = Listing(tuple(chain(*namespaces)), tuple(chain(*pods)), tuple(chain(*secrets)))
        return True


def _read(
    collections: list[Collection[Item]], consistently: bool, forbidden: list[ForbiddenError]
) -> list[tuple[Item, ...]]:
    """Read collections. One that we may not read stops no other: all missing rights are reported together."""
    found = []
    for one in collections:
        try:
            found.append(one.read(consistently))
        except ForbiddenError as error:
            forbidden.append(error)
    return found
