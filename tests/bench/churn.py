"""A cluster whose Pods change, and the digest of the Snapshot that routers must read after each change."""

import random
import time
from collections.abc import Callable

import msgspec
from clusters import PODS_A_NAMESPACE
from fleet import make_objects, make_pod
from support import objects
from support.objects import Object

from reconciler.objects.listing import Pod
from reconciler.objects.normaliser import Normaliser
from reconciler.settings import read_settings


class Churn:
    """Changes Pods of a cluster that `fleet.make_objects` made; `put` gives an object to the API server.

    `changes` has the moment of each change, by the machine's monotonic clock, and the digest of the cluster after it.
    """

    def __init__(self, pods: int, put: Callable[[Object], None]) -> None:
        self.changes: list[tuple[float, str]] = []
        self.namespaces = pods // PODS_A_NAMESPACE
        self._put = put
        self._normaliser = Normaliser(read_settings({}))
        self._listing = objects.listing(list(make_objects(pods)))
        self._places = {_name(pod): place for place, pod in enumerate(self._listing.pods)}

    @property
    def digest(self) -> str:
        """The digest of the cluster as it is now."""
        return self._normaliser.normalise(self._listing).digest.hex()

    def change(self, number: int | None = None) -> None:
        """Give one Pod of a Namespace, by default any, an address that no Pod had before."""
        number = random.randrange(self.namespaces) if number is None else number
        serial = len(self.changes)
        ip = f"172.{16 + (serial >> 16)}.{serial >> 8 & 255}.{serial & 255}"
        made = make_pod(number, random.randrange(PODS_A_NAMESPACE), ip)
        changed, pods = msgspec.convert(made, Pod), list(self._listing.pods)
        pods[self._places[_name(changed)]] = changed
        self._listing = msgspec.structs.replace(self._listing, pods=tuple(pods))
        digest = self.digest
        self.changes.append((time.monotonic(), digest))
        self._put(made)


def _name(pod: Pod) -> tuple[str | None, str]:
    return pod.metadata.namespace, pod.metadata.name
