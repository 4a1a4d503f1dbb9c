"""The workloads of some Namespaces, as far as they may be read: for near misses, and not for routing."""

from collections.abc import Iterable, Iterator

import msgspec
import requests
from msgspec import Struct

from reconciler.cluster.answers import FAILURES, StatusError
from reconciler.cluster.connection import Connection
from reconciler.objects.workloads import WORKLOADS, Workload, WorkloadObject, read_workload
from reconciler.settings import Settings
from reconciler.values.messages import find_reason

# Not what others make: the ReplicaSets of a Deployment and the Jobs of a CronJob are the same again.
_KINDS = {"Deployment": "deployments", "StatefulSet": "statefulsets", "DaemonSet": "daemonsets", "CronJob": "cronjobs"}
_MOST_NAMESPACES, _MOST_OBJECTS = 20, 500


class _ListMetadata(Struct, frozen=True, rename="camel"):
    continue_: str = msgspec.field(default="", name="continue")


class _List(Struct):
    items: list[WorkloadObject] = []
    metadata: _ListMetadata = _ListMetadata()


def list_workloads(
    connection: Connection, namespaces: Iterable[str], settings: Settings, gaps: list[str]
) -> Iterator[Workload]:
    """List the workloads of Namespaces. What cannot be listed is told in `gaps`, in one sentence for each kind."""
    chosen = sorted(namespaces)
    if len(chosen) > _MOST_NAMESPACES:
        gaps.append(f"workloads of all but {_MOST_NAMESPACES} of {len(chosen)} Namespaces")
    for kind, resource in _KINDS.items():
        for namespace in chosen[:_MOST_NAMESPACES]:
            version = f"{WORKLOADS[kind][0]}/v1"
            refusal, items, more = _list(connection, version, f"{resource}?limit={_MOST_OBJECTS}", namespace, settings)
            if refusal:
                gaps.append(f"{kind}s of Namespace {namespace} ({refusal})")
                break
            if more:
                gaps.append(f"{kind}s of Namespace {namespace} after the first {_MOST_OBJECTS}")
            yield from (read_workload(kind, item) for item in items)


def _list(
    connection: Connection, version: str, url: str, namespace: str, settings: Settings
) -> tuple[str, list[WorkloadObject], bool]:
    """List one kind in one Namespace: give why that failed, or its objects, and whether there are more."""
    try:
        with (
            connection.deadline(settings.api_timeout),
            connection.api.get(version=version, namespace=namespace, url=url, stream=True) as response,
        ):
            if response.status_code != requests.codes.ok:
                return StatusError(response).text, [], False
            found = msgspec.json.decode(response.raw.read(), type=_List)
            return "", found.items, bool(found.metadata.continue_)
    except (RecursionError, *FAILURES) as error:
        return f"they cannot be read: {find_reason(error)}", [], False
