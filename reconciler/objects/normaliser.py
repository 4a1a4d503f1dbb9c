"""From a Listing to a Snapshot."""

import math
from collections.abc import Iterable
from functools import partial
from operator import attrgetter, itemgetter

from reconciler.objects import listing as kubernetes
from reconciler.objects.digests import digest_namespace, digest_snapshot, write_object
from reconciler.objects.listing import Listing
from reconciler.objects.readiness import find_unreadiness, is_over
from reconciler.objects.snapshot import Namespace, Pod, Port, Probe, Secret, Snapshot
from reconciler.settings import Settings
from reconciler.values.decoding import decode_base64
from reconciler.values.memo import Memo
from reconciler.values.patterns import PROBE_PATH
from reconciler.values.value import Value


class _Group(Value, frozen=True):
    """One Namespace and its objects as they were listed; Pods are by name, so that their order does not matter."""

    namespace: kubernetes.Namespace
    secret: kubernetes.Secret | None
    pods: dict[str, kubernetes.Pod]


class _Part(Value, frozen=True):
    """One Namespace of a Snapshot and its digest."""

    namespace: Namespace
    digest: bytes


class Normaliser:
    """Makes Snapshots from Listings, for one source. A Namespace that did not change is not read again."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._groups = Memo(partial(_normalise_group, settings=settings))

    def normalise(self, listing: Listing) -> Snapshot:
        """Keep what routing reads of a Listing. The order of its objects makes no difference."""
        pods: dict[str, dict[str, kubernetes.Pod]] = {}
        for pod in listing.pods:
            metadata = pod.metadata
            pods.setdefault(metadata.namespace or "", {})[metadata.name] = pod
        secrets = {secret.metadata.namespace: secret for secret in listing.secrets}
        groups = {
            (name := namespace.metadata.name): _Group(namespace, secrets.get(name), pods.pop(name, {}))
            for namespace in sorted(listing.namespaces, key=attrgetter("metadata.name"))
        }
        parts = self._groups.round(groups).values()
        strays = tuple(sorted(name for name, left in pods.items() if self._is_any_routable(left.values())))
        digest = digest_snapshot((part.digest for part in parts), strays)
        return Snapshot(tuple(part.namespace for part in parts), strays, digest)

    def _is_any_routable(self, pods: Iterable[kubernetes.Pod]) -> bool:
        return any(_read_paths(pod, self._settings) for pod in pods)


def _normalise_group(group: _Group, settings: Settings) -> _Part:
    metadata = group.namespace.metadata
    labels = metadata.labels or {}
    namespace = Namespace(
        name=metadata.name,
        created=_created(metadata),
        hosts=(metadata.annotations or {}).get(settings.hosts_annotation),
        organization=labels.get(settings.org_label) or "",
        environment=labels.get(settings.env_label) or "",
        secret=_normalise_secret(group.secret) if group.secret else None,
        pods=tuple(
            normalise_pod(pod, settings)
            for _, pod in sorted(group.pods.items(), key=itemgetter(0))
            if _is_known(pod, settings)
        ),
        terminating=metadata.deletion_timestamp is not None,
    )
    return _Part(namespace, digest_namespace(write_object(namespace)))


def _normalise_secret(secret: kubernetes.Secret) -> Secret:
    data = {name: decode_base64(value or "") for name, value in (secret.data or {}).items()}
    written = {name: (value or "").encode() for name, value in (secret.string_data or {}).items()}
    return Secret(
        secret.metadata.namespace or "",
        secret.metadata.name,
        tuple(sorted({**data, **written}.items(), key=itemgetter(0))),
    )


def _is_known(pod: kubernetes.Pod, settings: Settings) -> bool:
    """Tell whether a Pod makes its paths known, be it ready or not."""
    return not is_over(pod) and bool(_read_paths(pod, settings))


def _read_ip(pod: kubernetes.Pod, settings: Settings) -> str:
    """Give the address of a Pod that gets traffic; empty if it gets none."""
    unready = find_unreadiness(pod, ignore_condition=settings.ignore_pod_readiness)
    return (pod.status and pod.status.pod_ip) or "" if not unready else ""


def _read_paths(pod: kubernetes.Pod, settings: Settings) -> str:
    return (pod.metadata.annotations or {}).get(settings.paths_annotation) or ""


def normalise_pod(pod: kubernetes.Pod, settings: Settings) -> Pod:
    """Keep what routing reads of a Pod."""
    metadata = pod.metadata
    labels = metadata.labels or {}
    return Pod(
        namespace=metadata.namespace or "",
        name=metadata.name,
        created=_created(metadata),
        ip=_read_ip(pod, settings),
        paths=_read_paths(pod, settings),
        ports=tuple(_normalise_ports(pod.spec, settings)) if pod.spec else (),
        app=labels.get(settings.app_name_label) or "",
        revision=labels.get(settings.app_rev_label) or "",
    )


def _created(metadata: kubernetes.Metadata) -> float:
    return metadata.creation_timestamp.timestamp() if metadata.creation_timestamp else math.inf


def _normalise_ports(spec: kubernetes.PodSpec, settings: Settings) -> Iterable[Port]:
    # An init container that restarts always is a sidecar: https://kubernetes.io/docs/concepts/workloads/pods/sidecar-containers/
    sidecars = (container for container in spec.init_containers or () if container.restart_policy == "Always")
    for container in (*(spec.containers or ()), *sidecars):
        probe = _normalise_probe(container) if settings.health_checks else None
        for port in container.ports or ():
            if (port.protocol or "TCP") == "TCP":
                yield Port(port.container_port, port.name, probe)


def _normalise_probe(container: kubernetes.Container) -> Probe | None:
    probes = [probe for probe in (container.readiness_probe, container.liveness_probe) if probe]
    probe = next((probe for probe in probes if probe.http_get or probe.tcp_socket), None)
    action = probe and (probe.http_get or probe.tcp_socket)
    if not probe or not action:
        return None
    plain_http = isinstance(action, kubernetes.HttpGet) and (action.scheme or "HTTP") == "HTTP"
    named = {port.name: port.container_port for port in container.ports or () if port.name}
    # If a probe does not set a field, Kubernetes' default is used:
    # https://kubernetes.io/docs/tasks/configure-pod-container/configure-liveness-readiness-startup-probes/#configure-probes
    return Probe(
        # A longer one is refused. Each port of the container has it, and there can be thousands.
        path=(action.path or "/")[: PROBE_PATH.longest + 1]
        if plain_http and isinstance(action, kubernetes.HttpGet)
        else None,
        port=action.port if isinstance(action.port, int) else named.get(action.port, 0),
        period=probe.period_seconds or 10,
        timeout=probe.timeout_seconds or 1,
        rise=probe.success_threshold or 1,
        fall=probe.failure_threshold or 3,
    )
