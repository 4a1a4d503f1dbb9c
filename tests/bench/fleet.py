"""Clusters of a given size as JSON objects; each Pod is as large as a real one: about 7.7 kB with managedFields."""

import copy
import json
from collections.abc import Iterator

from clusters import PATHS_A_NAMESPACE, PODS_A_NAMESPACE
from support import objects
from support.objects import Object

_NAMESPACE, _POD = objects.read("005")
_SECRET = objects.read("008")[-1]


def make_objects(pods: int) -> Iterator[Object]:
    """Make the objects of a cluster of this number of Pods, with an API key in each Namespace."""
    for number in range(pods // PODS_A_NAMESPACE):
        yield _rename(objects.namespace(name_namespace(number), {name_host(number): {}}), _NAMESPACE)
        yield _rename(objects.secret(name_namespace(number), api_key=name_key(number)), _SECRET)
        for place in range(PODS_A_NAMESPACE):
            yield make_pod(number, place, f"10.{number // 200}.{number % 200}.{place + 1}")


def make_pod(number: int, place: int, ip: str, port: int = 3000, path: str = "") -> Object:
    """Make one Pod of a Namespace."""
    app = f"app-{place % PATHS_A_NAMESPACE}"
    paths = [{"basePath": path or f"/{app}", "containerPort": str(port)}]
    ports = [{"containerPort": port, "protocol": "TCP"}]
    return _rename(objects.pod(name_namespace(number), f"{app}-6c898c6464-{place:05}", ip, paths, ports), _BIG)


def name_namespace(number: int) -> str:
    """Name a Namespace."""
    return f"team-{number:04}"


def name_host(number: int) -> str:
    """Name the host of a Namespace."""
    return f"team-{number:04}.example.com"


def name_key(number: int) -> str:
    """Give the API key of a Namespace."""
    return f"secret-of-{number}"


def _rename(made: Object, recorded: Object) -> Object:
    """Give an object a recorded object's managedFields, and a Pod its further containers too; the ports stay."""
    made["metadata"]["managedFields"] = recorded["metadata"]["managedFields"]
    if made["kind"] == "Pod":
        made["spec"]["containers"] += recorded["spec"]["containers"][1:]
        made["status"]["containerStatuses"] = recorded["status"]["containerStatuses"]
    return made


def _with_sidecar(recorded: Object) -> Object:
    """Give a recorded Pod a second container without ports, and the variables that applications have.

    The recorded Pod lacks what admission adds to a Pod of a real cluster, such as the volume of its token.
    """
    pod = copy.deepcopy(recorded)
    container = copy.deepcopy(pod["spec"]["containers"][0])
    container |= {"name": "sidecar", "ports": []}
    container["env"] += [{"name": f"OPTION_{number}", "value": f"https://option-{number}.svc"} for number in range(10)]
    pod["spec"]["containers"].append(container)
    pod["status"]["containerStatuses"].append({**pod["status"]["containerStatuses"][0], "name": "sidecar"})
    fields = pod["metadata"]["managedFields"][0]["fieldsV1"]["f:spec"]["f:containers"]
    (first,) = copy.deepcopy([*fields.values()])
    variables = {
        json.dumps({"name": each["name"]}): {".": {}, "f:name": {}, "f:value": {}} for each in container["env"]
    }
    fields['k:{"name":"sidecar"}'] = first | {
        "f:env": {".": {}} | {f"k:{name}": each for name, each in variables.items()}
    }
    return pod


_BIG = _with_sidecar(_POD)
