"""Kubernetes Events: what is told of a problem, on which object, in Kubernetes' own form."""

import re
from collections.abc import Iterable, Mapping
from hashlib import blake2b
from typing import Any

from msgspec.structs import replace

from reconciler.objects.snapshot import Resource
from reconciler.routing.problems import Problem, Reason
from reconciler.values.messages import escape, write_time
from reconciler.values.value import Value

# Of a message: https://kubernetes.io/docs/reference/kubernetes-api/cluster-resources/event-v1/ (note). The API server
# accepts longer ones of core/v1, and does not promise to.
_LONGEST, _LONGEST_EXPECTED = 1024, 400
_LONGEST_NAME = 200  # of an object in the name of its Event, which has at most 253 characters
_DIGEST_SIZE = 16
_COMPONENT = "dispatcher"
# An Event about a Namespace is accepted nowhere else.
_NAMESPACES_PLACE = "default"
_MENDED = "Mended"


class KubernetesEvent(Value, frozen=True):
    """A problem of a Pod or Namespace, or its end if it is `mended`. `expected` is what would be right.

    `uid` is that of the object, empty if it is unknown. Equal problems of one object have one name in all routers.
    """

    resource: Resource
    uid: str
    reason: str
    text: str
    expected: str
    mended: bool = False

    @property
    def place(self) -> str:
        """The Namespace in which the Event lies."""
        return self.resource.namespace or _NAMESPACES_PLACE

    @property
    def tenant(self) -> str:
        """The Namespace that it is about."""
        return self.resource.namespace or self.resource.name

    @property
    def name(self) -> str:
        """The name, by which routers agree: it is made from the object and from what is told."""
        told = (*self._list_parts(), self.uid, self.reason, self.message)
        digest = blake2b("\0".join(told).encode(), digest_size=_DIGEST_SIZE).hexdigest()
        return f"{self.resource.name[:_LONGEST_NAME].rstrip('-.')}.{digest}"

    @property
    def message(self) -> str:
        """One sentence of at most 1024 bytes; what is expected is kept if the rest is cut."""
        if self.mended:
            return _cut(f"mended: {escape(self.text)}", _LONGEST)
        ending = f"; expected: {_cut(escape(self.expected), _LONGEST_EXPECTED)}"
        return _cut(escape(self.text), _LONGEST - len(ending.encode())) + ending

    def mend(self) -> "KubernetesEvent":
        """Give the Event that tells the end of this problem."""
        return replace(self, reason=_MENDED, mended=True)

    def write(self, instance: str, wall: float) -> dict[str, Any]:
        """Write the Event as a new object. `wall` is the time; `instance` names this router, and may be empty."""
        kind, namespace, name = self._list_parts()
        about = {"apiVersion": "v1", "kind": kind, "namespace": namespace, "name": name, "uid": self.uid}
        now = write_time(wall)
        return {
            "apiVersion": "v1",
            "kind": "Event",
            "metadata": {"name": self.name, "namespace": self.place},
            "involvedObject": {field: text for field, text in about.items() if text},
            "reason": self.reason,
            "message": self.message,
            "type": "Normal" if self.mended else "Warning",
            "source": {"component": _COMPONENT, **({"host": instance} if instance else {})},
            "reportingComponent": _COMPONENT,
            "reportingInstance": instance,
            "firstTimestamp": now,
            "lastTimestamp": now,
            "count": 1,
        }

    def _list_parts(self) -> tuple[str, str, str]:
        return self.resource.kind, self.resource.namespace, self.resource.name


def make_events(problems: Iterable[Problem], uids: Mapping[Resource, str]) -> list[KubernetesEvent]:
    """Make the Events of problems; `uids` holds those of known objects.

    A Secret's problem is told on its Namespace. A setting's problem is the operator's, and becomes no Event.
    """
    return [_make_event(problem, uids) for problem in problems if problem.reason != Reason.SETTING]


def _make_event(problem: Problem, uids: Mapping[Resource, str]) -> KubernetesEvent:
    # Who may describe a Namespace need not see its Secrets.
    about = problem.resource if problem.resource.kind == "Pod" else problem.namespace
    secret = f"Secret {problem.resource.name}: " if problem.resource.kind == "Secret" else ""
    why = problem.why
    if problem.reason == Reason.HELD:
        # What follows may be nginx's message, which differs between nodes and may quote other tenants.
        why = f"{why.partition(':')[0]} (the router's log says why)"
    uid = uids.get(about, "")
    uid = uid if re.fullmatch(r"[A-Za-z0-9-]{1,64}", uid) else ""
    return KubernetesEvent(about, uid, problem.reason.value, f"{secret}{problem.what} {why}", problem.expected)


def _cut(text: str, most: int) -> str:
    """Cut a text to a number of bytes."""
    encoded = text.encode()
    return text if len(encoded) <= most else encoded[: most - 3].decode("utf-8", "ignore") + "..."
