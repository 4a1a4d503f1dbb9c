"""The manifests: an API server accepts them, Pods have few rights, and the demo's objects are routed."""

import json
import shutil
import subprocess
from collections.abc import Callable
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml
from support.apiserver import ApiServer
from support.authority import Authority
from support.manifests import (
    K8S,
    KUSTOMIZATIONS,
    build,
    environment_of,
    name_of,
    one,
    pod_templates,
    read_documents,
    read_kustomization,
)
from support.objects import FIXTURES, Object, namespace, pod, web
from support.pods import DECLARED, entry
from support.publishers import HOME, Site
from support.request_path import read_path
from support.role_rules import find_rule
from support.running_daemon import RunningDaemon
from support.stages import build_table, normalise

from reconciler.cluster.lease import LEASE, LEASES
from reconciler.cluster.published_objects import POINTER, SECRETS, tell_reading
from reconciler.disk.recordings import read_recordings
from reconciler.objects.listing import select
from reconciler.routing.model import RoutingTable
from reconciler.settings import VARIABLES, Settings, read_settings

DOCKERFILE = K8S.parent / "Dockerfile"
BUILT = {str(folder.relative_to(K8S)): build(folder) for folder in KUSTOMIZATIONS}
POLICIES = {"overlays/admission", "overlays/admission-deny"}
# What is applied beside a router.
BESIDE = {*POLICIES, "overlays/publisher"}
RUNNING = {folder: objects for folder, objects in BUILT.items() if folder not in BESIDE}
PUBLISHED = [folder for folder in RUNNING if folder.startswith("overlays/published")]
ROUTERS = [
    pytest.param(one(objects, "DaemonSet"), container, id=f"{folder}-{container['name']}")
    for folder, objects in RUNNING.items()
    for container in one(objects, "DaemonSet")["spec"]["template"]["spec"]["containers"]
]
# Settings of the admin port, which this version does not read yet.
NAMES = {name for variable in VARIABLES.values() for name in variable.names}
FILES = {"SSL_CERT", "SSL_KEY"}
NOW = 1_797_600_000.0


def settings_of(container: Object) -> Settings:
    """Read a container's settings, except those that name files which only the cluster has."""
    return read_settings({name: text for name, text in environment_of(container).items() if name not in FILES})


def route(path: Path, settings: Settings) -> RoutingTable:
    listing = select(read_recordings([str(path)]), settings.selector, settings.api_key_secret_name)
    return build_table(normalise(listing, settings), settings, NOW)


def container_of(workload: Object) -> Object:
    found: Object = workload["spec"]["template"]["spec"]["containers"][0]
    return found


def find_own(objects: list[Object]) -> list[Object]:
    """Find the Pod templates in dispatcher's own Namespace."""
    return list(pod_templates([item for item in objects if item["metadata"].get("namespace") == "dispatcher"]))


def find_users(item: Object) -> list[tuple[str, str]]:
    """Find the service accounts to which an object gives something."""
    flows = [one["serviceAccount"] for rule in item.get("spec", {}).get("rules", ()) for one in rule["subjects"]]
    return [(one["namespace"], one["name"]) for one in [*item.get("subjects", ()), *flows]]


def is_for(item: Object, template: Object) -> bool:
    """Tell whether an object selects the Pods of a template."""
    return any(selector.items() <= template["metadata"]["labels"].items() for selector in find_selectors(item))


def find_selectors(item: Object) -> list[dict[str, str]]:
    """Find the labels by which an object in dispatcher's own Namespace selects Pods."""
    spec = item.get("spec", {})
    if item["metadata"].get("namespace") != "dispatcher":
        return []
    if item["kind"] == "Service":
        return [spec["selector"]]
    spread = spec.get("template", {}).get("spec", {}).get("topologySpreadConstraints", ())
    found = [spec.get("selector"), spec.get("podSelector"), *(one["labelSelector"] for one in spread)]
    return [selector["matchLabels"] for selector in found if selector]


def test_the_folders_are_there() -> None:
    """The folder k8s holds a base, and an overlay for each purpose."""
    purposes = {"demo", "monitoring", "public-private", "tls", "watch-namespaces"}
    purposes |= {"published", "published-fallback", "published-monitoring"}
    assert set(BUILT) == {"base", *(f"overlays/{purpose}" for purpose in purposes), *BESIDE}


@pytest.mark.parametrize("folder", KUSTOMIZATIONS, ids=lambda folder: folder.name)
def test_every_file_is_listed(folder: Path) -> None:
    """A kustomization lists each manifest of its folder once."""
    kustomization = read_kustomization(folder)
    listed = [*kustomization["resources"], *(patch["path"] for patch in kustomization.get("patches", ()))]
    beside = {path.name for path in folder.iterdir() if path.is_file()} - {"kustomization.yaml"}
    assert sorted(path for path in listed if not (folder / path).is_dir()) == sorted(beside)
    assert all((folder / path / "kustomization.yaml").is_file() for path in listed if path not in beside)


@pytest.mark.skipif(not shutil.which("kubectl"), reason="kubectl is not there")
@pytest.mark.parametrize("folder", BUILT)
def test_kustomize_builds_the_same(folder: str) -> None:
    """`kubectl kustomize` builds the same objects that the other tests check."""
    printed = subprocess.run(["kubectl", "kustomize", K8S / folder], capture_output=True, check=True, timeout=60).stdout
    assert _in_order(list(yaml.safe_load_all(printed))) == _in_order(BUILT[folder])


def _in_order(value: Any) -> Any:
    """Sort every list in a value: kustomize orders objects, variables and volumes in its own way."""
    if isinstance(value, dict):
        return {name: _in_order(part) for name, part in value.items()}
    if isinstance(value, list):
        return sorted(map(_in_order, value), key=lambda part: json.dumps(part, sort_keys=True))
    return value


@pytest.mark.parametrize("kubernetes", ["1.29", "1.30", "1.33", "1.37"])
@pytest.mark.parametrize("folder", BUILT)
def test_an_api_server_accepts_them(folder: str, kubernetes: str) -> None:
    """Every object of Kubernetes' own kinds fits the schemas of that version, and has no unknown field."""
    if folder in POLICIES and kubernetes == "1.29":
        pytest.skip("admission policies are for Kubernetes 1.30 and newer")
    for item in BUILT[folder]:
        if not item["apiVersion"].startswith("monitoring.coreos.com/"):
            assert find_version(json.dumps(item), kubernetes) == kubernetes


@cache  # most objects are in several folders, and the schemas are read anew each time
def find_version(text: str, kubernetes: str) -> str:
    """Hold an object against the schemas of a version; give the version that was found for it."""
    return str(kubernetes_validate.validate(json.loads(text), kubernetes, strict=True))


def test_the_schemas_refuse() -> None:
    """The schemas refuse a misspelled field and a value of the wrong type, so the test above is able to fail."""
    for change in ({"nodename": "x"}, {"priorityClassName": 1}):
        item = json.loads(json.dumps(one(BUILT["base"], "DaemonSet")))
        item["spec"]["template"]["spec"] |= change
        with pytest.raises(kubernetes_validate.ValidationError):
            kubernetes_validate.validate(item, "1.33", strict=True)


@pytest.mark.parametrize("folder", [*RUNNING, "overlays/publisher"])
def test_pods_may_do_little(folder: str) -> None:
    """No Pod runs as root, gains privileges, has capabilities, writes to its root or shares the node's namespaces."""
    templates = list(pod_templates(BUILT[folder]))
    assert templates
    for template in templates:
        pod = template["spec"]
        context = pod["securityContext"]
        assert context["runAsNonRoot"] and context["runAsUser"] > 0
        assert context["seccompProfile"] == {"type": "RuntimeDefault"}
        assert not pod.keys() & {"hostNetwork", "hostPID", "hostIPC"}
        assert not any("hostPath" in volume for volume in pod.get("volumes", ()))
        for container in pod["containers"]:
            assert container["securityContext"] == {
                "allowPrivilegeEscalation": False,
                "readOnlyRootFilesystem": True,
                "capabilities": {"drop": ["ALL"]},
            }


def test_rights_are_what_is_needed() -> None:
    """The only role may list Namespaces, Pods and the Secrets of one name, and create and patch Events; no wildcard."""
    roles = [item for item in BUILT["base"] if item["kind"] in ("ClusterRole", "Role")]
    assert [role["rules"] for role in roles] == [
        [
            {"apiGroups": [""], "resources": ["namespaces", "pods"], "verbs": ["list"]},
            {"apiGroups": [""], "resources": ["secrets"], "resourceNames": ["routing"], "verbs": ["list"]},
            {"apiGroups": [""], "resources": ["events"], "verbs": ["create", "patch"]},
        ]
    ]
    assert roles[0]["rules"][1]["resourceNames"] == [VARIABLES["api_key_secret_name"].default]


# Which right each request of the program needs, by the Role of its account: stored.py, published_objects.py, lease.py.
READS_PUBLISHED = [
    {"apiGroups": [""], "resources": ["secrets"], "verbs": ["get"]},
    {
        "apiGroups": ["coordination.k8s.io"], "resources": ["leases"], "resourceNames": ["dispatcher-publisher"],
        "verbs": ["get"],
    },
]  # fmt: skip
PUBLISHES = [
    {"apiGroups": [""], "resources": ["secrets"], "verbs": ["create", "get", "list", "patch", "delete"]},
    {"apiGroups": [""], "resources": ["secrets"], "resourceNames": ["snapshot"], "verbs": ["update"]},
    {"apiGroups": ["coordination.k8s.io"], "resources": ["leases"], "verbs": ["create"]},
    {
        "apiGroups": ["coordination.k8s.io"], "resources": ["leases"], "resourceNames": ["dispatcher-publisher"],
        "verbs": ["get", "update"],
    },
]  # fmt: skip


def rights_of(objects: list[Object], account: str) -> dict[str, list[Object]]:
    """Collect the rules that an account has, by Namespace; empty for all of them."""
    rules: dict[str, list[Object]] = {}
    for item in objects:
        if any(name == account for _, name in find_users(item)) and "roleRef" in item:
            role = one(objects, item["roleRef"]["kind"], item["roleRef"]["name"], item["metadata"].get("namespace", ""))
            rules.setdefault(item["metadata"].get("namespace", ""), []).extend(role["rules"])
    return rules


@pytest.mark.parametrize("folder", PUBLISHED)
def test_rights_where_one_publishes(folder: str) -> None:
    """Routers may get what is published, and nothing else, but for a fallback; the publisher lists, writes, tells."""
    objects = BUILT[folder]
    in_cluster = one(BUILT["base"], "ClusterRole")["rules"]
    assert rights_of(objects, "dispatcher-publisher") == {"": in_cluster, "dispatcher-published": PUBLISHES}
    settings = settings_of(container_of(one(objects, "DaemonSet")))
    alone = {"": in_cluster[:2]} if settings.snapshot_fallback == "cluster" else {}
    assert rights_of(objects, "dispatcher") == {"dispatcher-published": READS_PUBLISHED} | alone
    assert settings.published_namespace == "dispatcher-published"
    assert (LEASE, POINTER, SECRETS.resource, LEASES.resource, LEASES.version) == (
        "dispatcher-publisher", "snapshot", "secrets", "leases", "coordination.k8s.io/v1",
    )  # fmt: skip


def test_rights_in_some_namespaces() -> None:
    """With WATCH_NAMESPACES a router may list these Namespaces by name, what is in them, and write Events there."""
    objects = BUILT["overlays/watch-namespaces"]
    namespaces, secrets, events = one(BUILT["base"], "ClusterRole")["rules"]
    names = settings_of(container_of(one(objects, "DaemonSet"))).watch_namespaces
    pods = namespaces | {"resources": ["pods"]}
    namespaces = namespaces | {"resources": ["namespaces"], "resourceNames": list(names)}
    within = {name: [pods, secrets, events] for name in names}
    assert rights_of(objects, "dispatcher") == {"": [namespaces], "default": [events]} | within


@pytest.mark.parametrize("folder", ["base", "overlays/watch-namespaces"])
def test_each_request_has_its_right(
    folder: str, server: ApiServer, launch: Callable[..., RunningDaemon], port: int
) -> None:
    """A router with these settings sends no request that its rights do not allow, and needs each of them."""
    objects = BUILT[folder]
    environment = environment_of(container_of(one(objects, "DaemonSet")))
    wrong = namespace("team-a", "no JSON")
    server.load(
        [wrong, namespace("team-b", {"b.dev": {}}), web("team-b", port), web("team-b", port, 3, path="no slash")]
    )
    launch(**{name: environment[name] for name in ("EVENTS", "WATCH_NAMESPACES") if name in environment})
    places = {"/api/v1/namespaces/default/events", "/api/v1/namespaces/team-b/events"}
    server.wait_for(lambda server: places <= {request.path for request in server.requests if request.status == 201})
    rights = rights_of(objects, "dispatcher")
    found = [(request, find_rule(rights, request)) for request in server.requests]
    assert [(request.method, request.path, request.query) for request, rule in found if not rule] == []
    # What is in team-a only has the same rules as what is in team-b.
    needed = [rule for _, rule in found]
    assert [rule for rules in rights.values() for rule in rules if rule not in needed] == []


def test_each_request_of_publishing_has_its_right(server: ApiServer, authority: Authority, tmp_path: Path) -> None:
    """A publisher and a router send no request that their rights do not allow, and need each verb of them."""
    server.load([HOME, namespace("a", {"a.dev": {}})])
    site = Site(server, authority, tmp_path)
    publisher = site.publisher()
    for ip in ("10.0.0.1", "10.0.0.2", "10.0.0.1"):  # the third time the shard is there already, and is marked
        server.put(pod("a", "web", ip, [entry("/")], DECLARED))
        publisher.turn()
    for _ in range(25):  # a shard that is not needed is deleted in the end
        publisher.turn(30)
    published = server.requests[:]
    site.reader().read()
    site.close()
    objects = BUILT["overlays/published"]
    for account, sent in (("dispatcher-publisher", published), ("dispatcher", server.requests[len(published) :])):
        rights = rights_of(objects, account)
        found = [(request, find_rule(rights, request)) for request in sent]
        assert [(request.method, request.path) for request, rule in found if not rule] == []
        used = {
            (target.kind.resource, target.find_verb(request.method), bool(rule and "resourceNames" in rule))
            for request, rule in found
            if (target := read_path(request.path)) and target.namespace == "dispatcher-published"
        }
        assert used == {
            (rule["resources"][0], verb, "resourceNames" in rule)
            for rule in rights["dispatcher-published"]
            for verb in rule["verbs"]
        }


@pytest.mark.parametrize("folder", PUBLISHED)
def test_the_publisher_waits_for_no_router(folder: str) -> None:
    """Each request that a right allows, but for Events, has a queue at the API server: the publisher's is its own."""
    objects = BUILT[folder]
    for account, level in (("dispatcher", "dispatcher"), ("dispatcher-publisher", "dispatcher-publisher")):
        schemas = [item["spec"] for item in objects if item["kind"] == "FlowSchema" and (
            ("dispatcher", account) in find_users(item))]  # fmt: skip
        assert {schema["priorityLevelConfiguration"]["name"] for schema in schemas} == {level}
        queued = {
            (place.replace("*", ""), resource, verb)
            for schema in schemas for rule in schema["rules"] for found in rule["resourceRules"]
            for place in found["namespaces"] for resource in found["resources"] for verb in found["verbs"]
        }  # fmt: skip
        allowed = {
            (place, resource, verb)
            for place, rules in rights_of(objects, account).items() for found in rules
            for resource in found["resources"] for verb in found["verbs"] if resource != "events"
        }  # fmt: skip
        assert allowed <= queued
        # The base has its lists, whether the routers still use them or not.
        assert {one for one in queued if one[0]} == {one for one in allowed if one[0]}
    precedences = [item["spec"]["matchingPrecedence"] for item in objects if item["kind"] == "FlowSchema"]
    assert len({*precedences}) == len(precedences) == 3


@pytest.mark.parametrize("folder", PUBLISHED)
def test_publishers(folder: str) -> None:
    """Two publishers on two nodes: one is always there, in a drain and in a roll-out; each probes what it opens."""
    deployment = one(BUILT[folder], "Deployment", "dispatcher-publisher")
    spec, pod, container = deployment["spec"], deployment["spec"]["template"]["spec"], container_of(deployment)
    assert spec["replicas"] == 2
    assert spec["strategy"]["rollingUpdate"] == {"maxUnavailable": 0, "maxSurge": 1}
    budget = one(BUILT[folder], "PodDisruptionBudget", "dispatcher-publisher")["spec"]
    assert budget == {"maxUnavailable": 1, "selector": spec["selector"]}
    assert [one["topologyKey"] for one in pod["topologySpreadConstraints"]] == [
        "kubernetes.io/hostname", "topology.kubernetes.io/zone",
    ]  # fmt: skip
    assert container["args"] == ["publish"]
    assert environment_of(container).keys() <= NAMES
    settings = settings_of(container)
    assert settings.events
    assert settings.api_timeout < pod["terminationGracePeriodSeconds"] < 30
    ports = {port["name"]: port["containerPort"] for port in container["ports"]}
    admin = {"admin": settings.admin_port} if settings.admin_port else {}
    assert ports == {"health": settings.health_port} | admin
    assert {container[f"{probe}Probe"]["httpGet"]["port"] for probe in ("startup", "liveness", "readiness")} == {
        "health"
    }
    routers = settings_of(container_of(one(BUILT[folder], "DaemonSet")))
    assert tell_reading(settings) == tell_reading(routers)
    assert (routers.snapshot_from, routers.published_namespace) == ("published", settings.published_namespace)


@pytest.mark.parametrize("folder", PUBLISHED)
def test_nobody_reaches_a_publisher(folder: str) -> None:
    """A publisher's policies let in nothing but monitoring, and out only what reaches the API server or DNS."""
    objects = BUILT[folder]
    template = one(objects, "Deployment", "dispatcher-publisher")["spec"]["template"]
    policies = [item["spec"] for item in objects if item["kind"] == "NetworkPolicy" and is_for(item, template)]
    ports = [port["containerPort"] for port in container_of({"spec": {"template": template}})["ports"]]
    let_in = [port["port"] for policy in policies for rule in policy["ingress"] for port in rule["ports"]]
    assert let_in == [port for port in ports if port != 8081]
    assert all("from" in rule for policy in policies for rule in policy["ingress"])
    let_out = {port["port"] for policy in policies for rule in policy.get("egress", ()) for port in rule["ports"]}
    assert let_out == {443, 6443, 53}


def test_no_pod_is_where_secrets_are() -> None:
    """The Namespace of what is published is restricted, and a quota allows no Pod in it, which could mount Secrets."""
    objects = BUILT["overlays/publisher"]
    labels = one(objects, "Namespace", "dispatcher-published")["metadata"]["labels"]
    assert labels == {"pod-security.kubernetes.io/enforce": "restricted"}
    assert one(objects, "ResourceQuota", "no-pods")["spec"] == {"hard": {"pods": "0"}}


@pytest.mark.parametrize(("daemons", "container"), ROUTERS)
def test_problems_become_events(daemons: Object, container: Object) -> None:
    """Each router that reads the cluster tells problems as Events, for which the role has a right."""
    settings = settings_of(container)
    assert settings.events == (settings.snapshot_from == "cluster")


@pytest.mark.parametrize("folder", RUNNING)
def test_names_lead_somewhere(folder: str) -> None:
    """Every name by which an object refers to another object is the name of an object that exists."""
    objects = BUILT[folder]
    names = {name_of(item) for item in objects}
    users = {user for item in objects for user in find_users(item)}
    pods = {template["spec"].get("serviceAccountName", "default") for template in find_own(objects)}
    assert users == {("dispatcher", name) for name in pods}
    assert {("ServiceAccount", *user) for user in users} <= names
    for item in objects:
        if "roleRef" in item:
            kind = item["roleRef"]["kind"]
            place = item["metadata"]["namespace"] if kind == "Role" else ""
            assert (kind, place, item["roleRef"]["name"]) in names
        if item["kind"] == "FlowSchema":
            level = item["spec"]["priorityLevelConfiguration"]["name"]
            assert ("PriorityLevelConfiguration", "", level) in names
    for template in find_own(objects):
        assert ("PriorityClass", "", template["spec"]["priorityClassName"]) in names
    # Those of others are there before.
    others = {"default", *settings_of(container_of(one(objects, "DaemonSet"))).watch_namespaces}
    places = {place for _, place, _ in names if place}
    assert all(("Namespace", "", place) in names for place in places - others)


@pytest.mark.parametrize("folder", RUNNING)
def test_each_pod_is_selected_by_its_own(folder: str) -> None:
    """A policy, monitor, Service or budget selects the Pods of one workload, which a workload's selector does too."""
    objects = BUILT[folder]
    labels = [template["metadata"]["labels"] for template in find_own(objects)]
    selectors = [selector for item in objects for selector in find_selectors(item)]
    assert len(selectors) >= 2 * len(labels)
    assert all(sum(selector.items() <= one.items() for one in labels) == 1 for selector in selectors)


@pytest.mark.parametrize(("daemons", "container"), ROUTERS)
def test_settings_are_read(daemons: Object, container: Object) -> None:
    """Each variable is a known setting, and the Pod declares and probes the ports on which the router listens."""
    assert environment_of(container).keys() <= NAMES
    settings = settings_of(container)
    ports = {port["name"]: port["containerPort"] for port in container["ports"]}
    admin = {int(environment_of(container)["ADMIN_PORT"])} if "admin" in ports else set()
    assert {*ports.values()} == {settings.port, settings.ssl_port, settings.health_port} | admin
    for probe, path in (("startup", "/healthz"), ("liveness", "/healthz"), ("readiness", "/readyz")):
        asked = container[f"{probe}Probe"]["httpGet"]
        assert (asked["path"], ports[asked["port"]]) == (path, settings.health_port)
    assert daemons["spec"]["template"]["spec"]["terminationGracePeriodSeconds"] > settings.shutdown_timeout + 10


@pytest.mark.parametrize(("daemons", "container"), ROUTERS)
def test_what_is_written_stays_in_memory(daemons: Object, container: Object) -> None:
    """A router writes only to its own folders; these are in memory, because they hold keys, and limited in size."""
    pod = daemons["spec"]["template"]["spec"]
    volumes = {volume["name"]: volume for volume in pod["volumes"]}
    mounts = {
        mount["mountPath"]: volumes[mount["name"]]["emptyDir"]
        for mount in container["volumeMounts"]
        if not mount.get("readOnly")
    }
    assert mounts.keys() == {"/etc/nginx", "/tmp"}
    assert all(folder["medium"] == "Memory" and folder["sizeLimit"] for folder in mounts.values())
    used = [mount["name"] for other in pod["containers"] for mount in other["volumeMounts"]]
    assert sorted(used) == sorted(volumes)


@pytest.mark.parametrize("folder", RUNNING)
def test_ports_do_not_collide(folder: str) -> None:
    """Containers of a Pod share its ports, so each port is declared once; the policies let in those that serve."""
    daemons = one(BUILT[folder], "DaemonSet")["spec"]["template"]
    objects = [item for item in BUILT[folder] if is_for(item, daemons)]
    containers = daemons["spec"]["containers"]
    ports = [port for container in containers for port in container["ports"]]
    for key in ("name", "containerPort"):
        assert len({port[key] for port in ports}) == len(ports)
    assert [port["hostPort"] for port in ports if "hostPort" in port] == [80, 443]
    policies = [item["spec"]["ingress"] for item in objects if item["kind"] == "NetworkPolicy"]
    let_in = {port["port"] for rules in policies for rule in rules for port in rule["ports"]}
    assert let_in == {port["containerPort"] for port in ports if "health" not in port["name"]}
    to_all = {port["port"] for rules in policies for rule in rules if "from" not in rule for port in rule["ports"]}
    assert to_all == {80, 443}


def test_the_default_certificate_is_mounted() -> None:
    """SSL_CERT and SSL_KEY name files of a mounted kubernetes.io/tls Secret, which the Pod's group may read."""
    pod = one(BUILT["overlays/tls"], "DaemonSet")["spec"]["template"]["spec"]
    (mount,) = (mount for mount in pod["containers"][0]["volumeMounts"] if mount.get("readOnly"))
    (volume,) = (volume for volume in pod["volumes"] if volume["name"] == mount["name"])
    environment = environment_of(pod["containers"][0])
    assert environment["SSL_CERT"] == f"{mount['mountPath']}/tls.crt"
    assert environment["SSL_KEY"] == f"{mount['mountPath']}/tls.key"
    assert volume["secret"]["defaultMode"] == 0o440
    assert pod["securityContext"]["fsGroup"] == pod["securityContext"]["runAsGroup"]


def test_the_two_routers_serve_their_own() -> None:
    """In one cluster, the public router serves what is annotated as public, and the private router what is private."""
    pod = one(BUILT["overlays/public-private"], "DaemonSet")["spec"]["template"]["spec"]
    served = {}
    for container in pod["containers"]:
        table = route(next(FIXTURES.glob("public-private/*.json")), settings_of(container))
        served[container["name"]] = {(host.name, path.path) for host in table.routes.hosts for path in host.locations}
    assert {host for host, _ in served["dispatcher"]} == {"test.k8s.com"}
    assert {host for host, _ in served["private"]} == {"test.k8s.local"}
    assert ("test.k8s.com", "/public") in served["dispatcher"]
    assert ("test.k8s.local", "/internal") in served["private"]


def test_the_demo_routes(tmp_path: Path) -> None:
    """When the demo's Pods run, clients with the API key reach them at the demo's host and path."""
    objects = BUILT["overlays/demo"]
    template = one(objects, "Deployment", "nodejs-k8s-env")["spec"]["template"]
    pods = [
        {
            "apiVersion": "v1", "kind": "Pod", "spec": template["spec"],
            "metadata": template["metadata"] | {"name": f"nodejs-k8s-env-{number}", "namespace": "test-namespace"},
            "status": {"phase": "Running", "podIP": f"10.0.0.{number}"},
        }
        for number in (1, 2)
    ]  # fmt: skip
    recording = tmp_path / "demo.json"
    recording.write_text(json.dumps({"apiVersion": "v1", "kind": "List", "items": [*objects, *pods]}))
    container = one(objects, "DaemonSet")["spec"]["template"]["spec"]["containers"][0]
    table = route(recording, settings_of(container))
    assert table.problems == ()
    (host,) = table.routes.hosts
    (upstream,) = table.routes.upstreams
    assert host.name == "test.k8s.local"
    assert {path.path.rstrip("/") for path in host.locations if path.api_key} == {"/nodejs"}
    assert len(upstream.servers) == 2


def test_no_image_names_where_it_comes_from() -> None:
    """Images are named without a registry; an overlay adds it."""
    images = [
        container["image"]
        for objects in BUILT.values()
        for template in pod_templates(objects)
        for container in template["spec"]["containers"]
    ]
    assert set(images) == {"dispatcher:dev", "node:22-slim"}


@pytest.mark.skipif(not DOCKERFILE.exists(), reason="the tests' own image does not hold the Dockerfile")
def test_the_image_runs_as_the_manifests_say() -> None:
    """The image has the Pod's user and the package's version, and the Dockerfile names no URL."""
    text = DOCKERFILE.read_text()
    context = one(BUILT["base"], "DaemonSet")["spec"]["template"]["spec"]["securityContext"]
    assert f"\nUSER {context['runAsUser']}:{context['runAsGroup']}\n" in text
    assert f"\nARG VERSION={version('dispatcher')}\n" in text
    assert "://" not in text


def test_manifests_are_yaml_without_surprises() -> None:
    """No manifest uses the parts of YAML that JSON lacks: anchors, aliases or tags."""
    for path in K8S.glob("**/*.yaml"):
        if K8S / "chart/templates" in path.parents:
            continue
        assert read_documents(path)
        kinds = {type(token) for token in yaml.scan(path.read_text())}
        assert not kinds & {yaml.AnchorToken, yaml.AliasToken, yaml.TagToken}, path
