"""Listing: Namespaces, Pods and Secrets as Kubernetes gives them, with only the fields that routing reads."""

from collections.abc import Mapping
from datetime import datetime
from typing import Annotated

from msgspec import Meta, field

from reconciler.values.patterns import DNS_LABEL, DNS_SUBDOMAIN
from reconciler.values.selector import Selector
from reconciler.values.value import Value

# msgspec searches for a pattern anywhere in a text, so the pattern itself must match both ends of the text; unlike $,
# \Z accepts no trailing line break.
NamespaceName = Annotated[str, Meta(pattern=rf"\A(?:{DNS_LABEL.expression})\Z", max_length=DNS_LABEL.longest)]
ObjectName = Annotated[str, Meta(pattern=rf"\A(?:{DNS_SUBDOMAIN.expression})\Z", max_length=DNS_SUBDOMAIN.longest)]
Int32 = Annotated[int, Meta(ge=-(2**31), lt=2**31)]
Texts = dict[str, str | None]  # null counts as no text, as in the API server
Timestamp = Annotated[datetime, Meta(tz=True)]
# For messages: what is allowed in the fields that have a pattern.
ALLOWED = {"metadata.name": DNS_SUBDOMAIN.allowed, "metadata.namespace": DNS_LABEL.allowed}


class Kubernetes(Value, frozen=True, rename="camel"):
    """A part of an object. Names are those of https://kubernetes.io/docs/reference/kubernetes-api/.

    A field that is not required may be null, which counts as absent, as in the API server.
    """


class Metadata(Kubernetes, frozen=True):
    name: ObjectName
    namespace: NamespaceName | None = None
    labels: Texts | None = None
    annotations: Texts | None = None
    creation_timestamp: Timestamp | None = None
    deletion_timestamp: Timestamp | None = None
    # Not for routing: `kubectl describe pod` shows only the Events that name the Pod's uid.
    uid: str | None = None

    def __repr__(self) -> str:
        # Annotations can hold secrets: kubectl's last-applied-configuration holds whole objects.
        return f"Metadata({self.namespace}/{self.name})"


class HttpGet(Kubernetes, frozen=True):
    port: Int32 | str
    path: str | None = None
    scheme: str | None = None


class TcpSocket(Kubernetes, frozen=True):
    port: Int32 | str


class Probe(Kubernetes, frozen=True):
    http_get: HttpGet | None = None
    tcp_socket: TcpSocket | None = None
    period_seconds: Int32 | None = None
    timeout_seconds: Int32 | None = None
    success_threshold: Int32 | None = None
    failure_threshold: Int32 | None = None


class ContainerPort(Kubernetes, frozen=True):
    container_port: Int32
    name: str | None = None
    protocol: str | None = None


class Container(Kubernetes, frozen=True):
    ports: list[ContainerPort] | None = None
    readiness_probe: Probe | None = None
    liveness_probe: Probe | None = None
    restart_policy: str | None = None


class PodSpec(Kubernetes, frozen=True):
    containers: list[Container] | None = None
    init_containers: list[Container] | None = None


class Condition(Kubernetes, frozen=True):
    type: str
    status: str


class PodStatus(Kubernetes, frozen=True):
    phase: str | None = None
    pod_ip: str | None = field(default=None, name="podIP")
    conditions: list[Condition] | None = None


class Namespace(Kubernetes, frozen=True):
    metadata: Metadata


class Pod(Kubernetes, frozen=True):
    metadata: Metadata
    spec: PodSpec | None = None
    status: PodStatus | None = None


class Secret(Kubernetes, frozen=True):
    metadata: Metadata
    data: Texts | None = None
    string_data: Texts | None = None

    def __repr__(self) -> str:
        return f"Secret({self.metadata.namespace}/{self.metadata.name})"


_ALL_NAMESPACES: frozenset[str] = frozenset()
KINDS: Mapping[str, type[Namespace] | type[Pod] | type[Secret]] = {"Namespace": Namespace, "Pod": Pod, "Secret": Secret}


class Listing(Value, frozen=True):
    """The objects of a cluster, by kind, in the order in which they were read."""

    namespaces: tuple[Namespace, ...] = ()
    pods: tuple[Pod, ...] = ()
    secrets: tuple[Secret, ...] = ()


def select(
    listing: Listing, selector: Selector, secret_name: str, watched: frozenset[str] = _ALL_NAMESPACES
) -> Listing:
    """Keep what an API server would list: Namespaces and Pods by label, Secrets by name, `watched` Namespaces alone.

    If none are watched, all are.
    """

    def watches(namespace: str | None) -> bool:
        return not watched or namespace in watched

    def selected(item: Namespace | Pod) -> bool:
        return selector.accepts(item.metadata.labels or {})

    return Listing(
        tuple(one for one in listing.namespaces if selected(one) and watches(one.metadata.name)),
        tuple(one for one in listing.pods if selected(one) and watches(one.metadata.namespace)),
        tuple(one for one in listing.secrets if one.metadata.name == secret_name and watches(one.metadata.namespace)),
    )
