"""Objects to route: recorded ones, with the changes that tests need."""

import base64
import copy
import json
from pathlib import Path
from typing import Any

import msgspec

from reconciler.objects.listing import KINDS, Listing, Namespace, Pod, Secret

FIXTURES = Path(__file__).parents[2] / "fixtures"
WALKTHROUGH = FIXTURES / "walkthrough"
HOSTS = "github.com/30x.dispatcher.hosts"
PATHS = "github.com/30x.dispatcher.paths"

Object = dict[str, Any]


def read(step: str) -> list[Object]:
    """Read the objects of one recorded step, named by its number."""
    (path,) = WALKTHROUGH.glob(f"{step}-*.json")
    return list(json.loads(path.read_text())["items"])


_NAMESPACE, _POD = read("005")
_SECRET = read("008")[-1]
for _recorded in (_NAMESPACE, _POD, _SECRET):
    del _recorded["metadata"]["managedFields"]


def namespace(name: str, hosts: object, created: str = "2026-11-22T18:06:04Z") -> Object:
    """Copy the recorded Namespace with another name and other hosts (text as it is, other values as JSON)."""
    changed = copy.deepcopy(_NAMESPACE)
    changed["metadata"] |= {"name": name, "creationTimestamp": created}
    changed["metadata"]["annotations"] = {HOSTS: hosts if isinstance(hosts, str) else json.dumps(hosts)}
    return changed


def pod(of: str, name: str, ip: str, paths: object, ports: list[Object] | None = None, **metadata: object) -> Object:
    """Copy the recorded Pod with other metadata, address, paths (text as it is, other values as JSON) and ports."""
    changed = copy.deepcopy(_POD)
    changed["metadata"] |= {"name": name, "namespace": of, **metadata}
    changed["metadata"]["annotations"] = {PATHS: paths if isinstance(paths, str) else json.dumps(paths)}
    changed["status"] |= {"podIP": ip, "podIPs": [{"ip": ip}]}
    if ports is not None:
        changed["spec"]["containers"][0]["ports"] = ports
    return changed


def unready(one: Object, status: str = "False") -> Object:
    """Copy a Pod with another status of its Ready condition."""
    changed = copy.deepcopy(one)
    kept = [condition for condition in changed["status"]["conditions"] if condition["type"] != "Ready"]
    changed["status"]["conditions"] = [*kept, {"type": "Ready", "status": status}]
    return changed


def web(of: str, port: int, last: int = 2, path: str = "/", **options: object) -> Object:
    """Make a Pod at 127.0.0.`last` that serves one path."""
    ports = [{"containerPort": port, "protocol": "TCP"}]
    return pod(of, f"web-{last}", f"127.0.0.{last}", [{"basePath": path, "containerPort": port, **options}], ports)


def webs(port: int, *lasts: int, path: str = "/", **options: object) -> list[Object]:
    """Make Pods of the Namespace `a` for one path, each with the address 127.0.0.`last`."""
    return [web("a", port, last, path, **options) for last in lasts]


def secret(of: str, **fields: str | bytes) -> Object:
    """Copy the recorded routing Secret with another Namespace and fields; `api_key` is `api-key`, other `_` are `.`."""
    changed = copy.deepcopy(_SECRET)
    changed["metadata"] |= {"namespace": of}
    changed["data"] = {
        {"api_key": "api-key"}.get(name, name.replace("_", ".")): base64.b64encode(
            value.encode() if isinstance(value, str) else value
        ).decode()
        for name, value in fields.items()
    }
    return changed


def tls(certificate: str = "ssl.crt", key: str = "ssl.key", client: str | None = None) -> Object:
    """Write a host's options for TLS with the certificates and the key in these fields."""
    names = {"certificate": certificate, "certificateKey": key} | ({"clientCertificate": client} if client else {})
    return {"ssl": {name: {"valueFrom": {"secretKeyRef": {"key": field}}} for name, field in names.items()}}


def listing(objects: list[Object]) -> Listing:
    """List objects as an API server would."""
    by_kind = {
        kind: tuple(msgspec.convert(item, KINDS[kind]) for item in objects if item["kind"] == kind) for kind in KINDS
    }
    return Listing(
        tuple(item for item in by_kind["Namespace"] if isinstance(item, Namespace)),
        tuple(item for item in by_kind["Pod"] if isinstance(item, Pod)),
        tuple(item for item in by_kind["Secret"] if isinstance(item, Secret)),
    )


def on_loopback(objects: list[Object], ports: dict[int, int], address: Any) -> list[Object]:
    """Move Pods to loopback: change addresses with `address`, and the ports in Pods and paths with `ports`."""
    moved = copy.deepcopy(objects)
    for item in moved:
        if item["kind"] != "Pod":
            continue
        if item["status"].get("podIP"):
            item["status"]["podIP"] = address(item["status"]["podIP"])
        for container in item["spec"]["containers"]:
            for port in container.get("ports") or ():
                port["containerPort"] = ports.get(port["containerPort"], port["containerPort"])
        annotations = item["metadata"]["annotations"]
        for name in annotations.keys() & {PATHS, f"{PATHS}.public", f"{PATHS}.private"}:
            annotations[name] = _move_ports(annotations[name], ports)
    return moved


def _move_ports(text: str, ports: dict[int, int]) -> str:
    try:
        entries = json.loads(text)
    except json.JSONDecodeError:
        return text
    for entry in entries if isinstance(entries, list) else ():
        port = entry.get("containerPort") if isinstance(entry, dict) else None
        if str(port).isdigit():
            entry["containerPort"] = str(ports.get(int(port), port))
    return json.dumps(entries)
