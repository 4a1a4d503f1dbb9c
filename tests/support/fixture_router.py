"""Fixtures on a running nginx: their Pods moved to loopback, where real servers stand in for them."""

import http.client
from pathlib import Path
from typing import Any

import yaml
from support import objects
from support.backends import Backends
from support.ports import free_port, loopback
from support.router import Answer, Router

from reconciler.advice.evidence import Evidence, gather


def read_objects(path: Path) -> list[objects.Object]:
    """Read a fixture's objects, be it a recording or manifests."""
    documents = list(yaml.safe_load_all(path.read_text()))
    return [item for one in documents for item in (one["items"] if one["kind"] == "List" else [one])]


def move(given: list[objects.Object]) -> list[objects.Object]:
    """Move Pods to loopback addresses and free ports."""
    pods = [item for item in given if item["kind"] == "Pod"]
    for item in pods:
        item.setdefault("status", {})
        item["metadata"].setdefault("annotations", {})
    declared = {port["containerPort"] for one in pods for port in _list_ports(one)}
    return objects.on_loopback(given, {port: free_port() for port in sorted(declared)}, loopback)


def _list_ports(pod: objects.Object) -> list[Any]:
    spec = pod["spec"]
    containers = [*spec["containers"], *spec.get("initContainers", ())]
    return [port for container in containers for port in container.get("ports") or ()]


def serve(router: Router, backends: Backends, given: list[objects.Object]) -> Evidence:
    """Serve objects, and give the evidence of them."""
    cycle = router.serve(*given)
    for upstream in cycle.table.routes.upstreams:
        for server in upstream.servers:
            ip, _, port = server.address.rpartition(":")
            backends.listen(ip.strip("[]"), int(port))
    return gather(cycle.snapshot, objects.listing(given), router.settings, 0.0)


def ask(router: Router, host: str, uri: str, *, tls: bool, key: str) -> Answer | None:
    """Send one request; None if nginx closes the connection."""
    headers = {"X_ROUTING_API_KEY": key} if key else {}
    try:
        if tls:
            return router.ask_tls(host, uri, context=router.trusting_all(), **headers)
        return router.ask(host, uri, **headers)
    except http.client.RemoteDisconnected:
        return None
