"""Workloads of manifests as running Pods: what a cluster would make of a Deployment."""

import copy
from typing import Any

import yaml
from support import objects
from support.objects import Object


def run_pods(text: str, address: str, ports: dict[int, int]) -> list[Object]:
    """Read manifests; in place of each Deployment or Pod give one running Pod at a loopback address.

    The ports in it are changed as `ports` says, because the tests' servers cannot choose them.
    """
    running = []
    for item in yaml.safe_load_all(text):
        if item["kind"] == "Namespace":
            running.append({**item, "metadata": {**item["metadata"], "creationTimestamp": "2026-11-22T18:06:04Z"}})
        elif item["kind"] in ("Deployment", "Pod"):
            running.append(_run(item, address))
        else:
            running.append(item)
    return objects.on_loopback(running, ports, lambda _: address)


def _run(item: Object, address: str) -> Object:
    template: dict[str, Any] = copy.deepcopy(item["spec"]["template"] if item["kind"] == "Deployment" else item)
    ready = {"conditions": [{"type": "Ready", "status": "True"}], "podIP": address, "podIPs": [{"ip": address}]}
    metadata = {
        **template["metadata"],
        "name": item["metadata"]["name"] + ("-0" if item["kind"] == "Deployment" else ""),
        "namespace": item["metadata"]["namespace"],
        "creationTimestamp": "2026-11-22T18:06:05Z",
    }
    return {
        "apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": template["spec"],
        "status": {"phase": "Running", **ready},
    }  # fmt: skip
