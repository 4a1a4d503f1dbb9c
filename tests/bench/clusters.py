"""Clusters of a given size, as an API server lists them; a Namespace has 20 Pods, 5 paths, a host and an API key."""

import base64
import json
from typing import Any

import msgspec

from reconciler.objects.listing import Condition, Listing, Namespace, Pod, Secret

PODS_A_NAMESPACE = 20
PATHS_A_NAMESPACE = 5
_LABELS = {"github.com/30x.dispatcher.routable": "true"}
_READY = [{"type": kind, "status": "True"} for kind in ("Initialized", "Ready", "ContainersReady", "PodScheduled")]


def make_listing(pods: int) -> Listing:
    """List a cluster of this number of Pods, decoded anew: it shares no object with another Listing."""
    namespaces = range(pods // PODS_A_NAMESPACE)
    return Listing(
        msgspec.convert(tuple(_namespace(number) for number in namespaces), tuple[Namespace, ...]),
        msgspec.convert(
            tuple(_pod(number, place) for number in namespaces for place in range(PODS_A_NAMESPACE)), tuple[Pod, ...]
        ),
        msgspec.convert(tuple(_secret(number) for number in namespaces), tuple[Secret, ...]),
    )


# All options that can stand beside each other, without those that need more of a Secret.
OPTIONS: dict[str, Any] = {
    "access": {
        "allow": ["10.0.0.0/8", "2001:db8::/32"],
        "deny": ["10.9.0.0/16"],
        "rateLimit": {"requests": 100, "unit": "second"},
    },
    "cors": {"allowOrigins": ["https://*.example.net"], "allowCredentials": True},
    "maxRequestBody": "10Mi",
    "timeouts": {"connect": "1s", "read": "5m", "send": "5m"},
    "requestHeaders": {"set": {"X-Team": "a"}},
    "responseHeaders": {"set": {"X-Frame-Options": "DENY"}, "remove": ["X-Powered-By"]},
    "maxResponseHeaders": "32Ki",
    "buffering": False,
    "sessionPersistence": {"type": "Cookie"},
    "retry": {"attempts": 2, "codes": [503]},
}


def with_options(listing: Listing) -> Listing:
    """Give each Pod's path all options; each Namespace has limits and policies of its own."""

    def change(pod: Pod) -> Pod:
        metadata = pod.metadata
        team = (metadata.namespace or "").removeprefix("team-").lstrip("0") or "0"
        (annotation, text), *_ = (metadata.annotations or {}).items()
        (entry,) = json.loads(text)
        own = {**OPTIONS, "cors": {**OPTIONS["cors"], "allowOrigins": [f"https://*.team-{team}.example.net"]}}
        annotations = {annotation: json.dumps([{**entry, **own}])}
        return msgspec.structs.replace(pod, metadata=msgspec.structs.replace(metadata, annotations=annotations))

    return msgspec.structs.replace(listing, pods=tuple(map(change, listing.pods)))


def with_one_pod_gone_unready(listing: Listing) -> Listing:
    """Change one Pod in the middle of a Listing, as a failing readiness probe does."""
    pods = list(listing.pods)
    middle = len(pods) // 2
    status = msgspec.structs.replace(pods[middle].status, conditions=[Condition("Ready", "False")])
    pods[middle] = msgspec.structs.replace(pods[middle], status=status)
    return msgspec.structs.replace(listing, pods=tuple(pods))


def _namespace(number: int) -> dict[str, Any]:
    hosts = json.dumps({f"team-{number:04}.example.com": {}})
    return {
        "metadata": {
            "name": f"team-{number:04}",
            "labels": _LABELS,
            "annotations": {"github.com/30x.dispatcher.hosts": hosts},
            "creationTimestamp": "2026-11-22T18:06:04Z",
        }
    }


def _pod(number: int, place: int) -> dict[str, Any]:
    app = place % PATHS_A_NAMESPACE
    paths = json.dumps([{"basePath": f"/app-{app}", "containerPort": "3000"}])
    port = {"containerPort": 3000, "protocol": "TCP", "name": "http"}
    return {
        "metadata": {
            "name": f"app-{app}-6c898c6464-{place:05}",
            "namespace": f"team-{number:04}",
            "labels": {**_LABELS, "github.com/30x.dispatcher.app.name": f"app-{app}"},
            "annotations": {"github.com/30x.dispatcher.paths": paths},
            "creationTimestamp": "2026-11-22T18:06:05Z",
        },
        "spec": {"containers": [{"ports": [port], "readinessProbe": {"httpGet": {"path": "/status", "port": "http"}}}]},
        "status": {
            "phase": "Running",
            "podIP": f"10.{number // 200}.{number % 200}.{place + 1}",
            "conditions": _READY,
        },
    }


def _secret(number: int) -> dict[str, Any]:
    key = base64.b64encode(f"secret-of-{number}".encode()).decode()
    return {"metadata": {"name": "routing", "namespace": f"team-{number:04}"}, "data": {"api-key": key}}
