"""Writes Kubernetes Events: one request each, with what its answer means."""

import re
from collections.abc import Mapping
from datetime import datetime
from http import HTTPStatus
from typing import Any, Literal

import msgspec
import requests

from reconciler.cluster.answers import FAILURES, StatusError, send_with_newest
from reconciler.cluster.connection import Connection
from reconciler.cluster.credentials import CredentialsError
from reconciler.cluster.kubernetes_events import KubernetesEvent
from reconciler.values.messages import find_reason, write_time
from reconciler.values.value import Value

_LONGEST_BODY = 1 << 18
_MOST_COUNT = 2**31 - 2
_RULE = '{apiGroups: [""], resources: [events], verbs: [create, patch]}'
# What RBAC says. Policies refuse with 403 too, in words that may be a tenant's.
_NO_RIGHT = re.compile(
    r'events(?: "[-.a-z0-9]+")? is forbidden: User "[^"]*" cannot (?:create|patch) resource "events"'
)
_MERGE = "application/merge-patch+json"


class Written(Value, frozen=True):
    """How a write ended: an outcome of `Reported`, and the Event's version, count and last time if they are known.

    `why` is a line for the operator; `retry_after` is in seconds.
    """

    outcome: str
    version: str = ""
    count: int = 0
    last: float = 0.0
    why: str = ""
    retry_after: float = 0.0


class _Metadata(Value, frozen=True, rename="camel"):
    resource_version: str


class _Stored(Value, frozen=True, rename="camel"):
    kind: Literal["Event"]
    metadata: _Metadata
    count: int | None = None
    last_timestamp: datetime | None = None


class EventWriter:
    """Writes Events over a connection of its own, each within `timeout` seconds. `instance` names this router."""

    def __init__(self, connection: Connection, timeout: float, instance: str) -> None:
        self._connection = connection
        self._timeout = timeout
        self._instance = instance

    def create(self, event: KubernetesEvent, wall: float) -> Written:
        """Create an Event. It exists already if another router has told the same."""
        return self._write("POST", event, event.write(self._instance, wall), "created")

    def look(self, event: KubernetesEvent) -> Written:
        """Look at an Event that another router wrote, by a patch that changes nothing.

        The API server stores nothing then, and answers with the Event. So dispatcher needs no right to read Events.
        """
        return self._write("PATCH", event, {}, "seen")

    def renew(self, event: KubernetesEvent, version: str, count: int, wall: float) -> Written:
        """Count an Event once more, unless another router has written it since this version."""
        change = {"count": min(count, _MOST_COUNT) + 1, "lastTimestamp": write_time(wall)}
        return self._write("PATCH", event, {**change, "metadata": {"resourceVersion": version}}, "renewed")

    def _write(self, method: str, event: KubernetesEvent, body: Mapping[str, Any], done: str) -> Written:
        try:
            with self._connection.deadline(self._timeout):
                self._connection.renew()
                return _read(send_with_newest(self._connection, lambda: self._request(method, event, body)), done)
        except StatusError as error:
            return _explain(error, method)
        except (msgspec.MsgspecError, RecursionError) as error:
            # Tenants may change Events of their own Namespace, so that this one cannot be read: others can.
            return Written("refused") if method == "PATCH" else self._fail(error)
        except (CredentialsError, *FAILURES) as error:
            return self._fail(error)

    def _request(self, method: str, event: KubernetesEvent, body: Mapping[str, Any]) -> bytes:
        url, kind = ("events", "application/json") if method == "POST" else (f"events/{event.name}", _MERGE)
        response: requests.Response
        with self._connection.api.request(
            method, namespace=event.place, url=url, data=msgspec.json.encode(body),
            headers={"Content-Type": kind}, stream=True,
        ) as response:  # fmt: skip
            if response.status_code not in (HTTPStatus.OK, HTTPStatus.CREATED):
                raise StatusError(response)
            return bytes(response.raw.read(_LONGEST_BODY))

    def _fail(self, error: BaseException) -> Written:
        return Written("failed", why=f"Kubernetes Events are not written: {self._describe(error)}")

    def _describe(self, error: BaseException) -> str:
        if isinstance(error, TimeoutError):
            return f"no complete answer within {self._timeout} s"
        if isinstance(error, msgspec.MsgspecError | RecursionError):
            return "the answer is not an Event"
        return str(error) if isinstance(error, CredentialsError) else find_reason(error)


def _read(body: bytes, done: str) -> Written:
    stored = msgspec.json.decode(body, type=_Stored)
    last = stored.last_timestamp.timestamp() if stored.last_timestamp else 0.0
    return Written(done, stored.metadata.resource_version, max(0, stored.count or 0), last)


def _explain(error: StatusError, method: str) -> Written:
    match error.status:
        case HTTPStatus.CONFLICT:
            return Written("exists" if method == "POST" else "stale")
        case HTTPStatus.NOT_FOUND if method == "PATCH":
            return Written("gone")
        case HTTPStatus.FORBIDDEN if not error.message or _NO_RIGHT.match(error.message):
            why = f"Kubernetes Events are forbidden (403), and not written; a ClusterRole needs the rule {_RULE}"
            return Written("denied", why=why)
        case HTTPStatus.UNAUTHORIZED | HTTPStatus.TOO_MANY_REQUESTS:
            pass
        case status if status < HTTPStatus.INTERNAL_SERVER_ERROR:
            # The Namespace is gone, ends or has a quota, or this Event is not accepted: others may be.
            return Written("refused")
    return Written("failed", why=f"Kubernetes Events are not written: {error.text}", retry_after=error.retry_after)
