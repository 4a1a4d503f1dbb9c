"""The Helm chart: with the same wishes it gives the objects of k8s/base and its overlays; bad values are refused."""

import json
from importlib.metadata import version
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml
from support.manifests import K8S, build, environment_of, name_of, one
from support.objects import Object

from reconciler.settings import VARIABLES, read_settings

helm = pytest.importorskip("helm_python", reason="Helm's package is not there for this machine")
chart = pytest.importorskip("support.chart")

ADMISSION = {"enabled": True}
MONITORING = {"enabled": True}
PUBLISHED = {"enabled": True}
WISHES: dict[str, tuple[list[str], Object]] = {
    "base": (["base"], {}),
    "tls": (["overlays/tls"], {"tls": {"secretName": "dispatcher-tls"}}),
    "monitoring": (["overlays/monitoring"], {"monitoring": MONITORING}),
    "published-beside": (["base", "overlays/publisher"], {"published": {"enabled": True, "read": False}}),
    "published": (["overlays/published"], {"published": PUBLISHED}),
    "published-fallback": (["overlays/published-fallback"], {"published": PUBLISHED | {"fallback": True}}),
    "published-monitoring": (["overlays/published-monitoring"], {"published": PUBLISHED, "monitoring": MONITORING}),
    "admission": (["base", "overlays/admission"], {"admissionPolicy": ADMISSION}),
    "admission-deny": (["base", "overlays/admission-deny"], {"admissionPolicy": ADMISSION | {"action": "Deny"}}),
}
# Settings of other parts of the same version, which this one does not read yet.


def in_order(value: Any, field: str = "") -> Any:
    """Sort the lists whose order means nothing to an API server."""
    if isinstance(value, dict):
        return {name: in_order(part, name) for name, part in value.items()}
    if isinstance(value, list):
        parts = [in_order(part) for part in value]
        named = field in ("env", "volumes", "volumeMounts", "ports")
        return sorted(parts, key=lambda part: json.dumps(part, sort_keys=True)) if named else parts
    return value


def container_of(objects: list[Object], name: str = "dispatcher") -> Object:
    found: Object = one(objects, "DaemonSet", name)["spec"]["template"]["spec"]["containers"][0]
    return found


@pytest.mark.parametrize("wish", WISHES)
def test_it_equals_the_kustomizations(wish: str) -> None:
    """Helm renders, object for object and field for field, what kustomize builds."""
    folders, values = WISHES[wish]
    built = [item for folder in folders for item in build(K8S / folder)]
    rendered = chart.render(namespace={"create": True}, **values)
    assert [name_of(item) for item in rendered] == sorted(name_of(item) for item in built)
    for item, same in zip(rendered, sorted(built, key=name_of), strict=True):
        assert in_order(item) == in_order(same)


def test_only_the_namespace_is_left_out() -> None:
    """With the default values nothing but the Namespace is left out: Helm needs it before the chart."""
    left_out = {name_of(item) for item in build(K8S / "base")} - {name_of(item) for item in chart.render()}
    assert left_out == {("Namespace", "", "dispatcher")}


EVERYTHING: Object = {
    "image": {"repository": "example/dispatcher", "digest": f"sha256:{'0' * 64}", "pullPolicy": "Always"},
    "imagePullSecrets": [{"name": "pull"}],
    "settings": {"PORT": 8080, "SSL_PORT": "8443", "API_KEY_SECRET_NAME": "keys", "NGINX_HTTP2": False},
    "tls": {"secretName": "tls"},
    "events": {"enabled": True},
    "admin": {"port": 9000, "address": "127.0.0.1"},
    "monitoring": MONITORING | {"dashboard": True, "namespace": "watch", "labels": {"release": "prometheus"}},
    "admissionPolicy": ADMISSION | {"action": "Deny"},
    "hostPorts": False,
    "resources": {"requests": {"cpu": 1, "memory": "1Gi"}, "limits": {"memory": "2Gi"}},
    "nodeSelector": {"kubernetes.io/os": "linux", "edge": "true"},
    "tolerations": [{"key": "edge", "operator": "Exists", "effect": "NoSchedule"}],
    "affinity": {"nodeAffinity": {}},
    "podAnnotations": {"a/b": "c"},
    "podLabels": {"team": "net"},
    "terminationGracePeriodSeconds": 100,
    "maxUnavailable": "10%",
    "minReadySeconds": 30,
    "priorityClass": {"create": False, "name": "system-cluster-critical"},
    "flowControl": {"create": False},
    "networkPolicy": {"create": False},
}


@pytest.mark.parametrize(
    "values",
    [{}, EVERYTHING, {"hostNetwork": True}, EVERYTHING | {"published": PUBLISHED | {"fallback": True}}],
    ids=["defaults", "everything", "host", "published"],
)
@pytest.mark.parametrize("kubernetes", ["1.30", "1.37"])
def test_an_api_server_accepts_it(values: Object, kubernetes: str) -> None:
    """What the chart gives fits Kubernetes' schemas, whatever is turned on."""
    for item in chart.render(**values):
        if not item["apiVersion"].startswith("monitoring.coreos.com/"):
            kubernetes_validate.validate(item, kubernetes, strict=True)


def test_every_value_has_its_place() -> None:
    """Each value changes what it names."""
    objects = chart.render(**EVERYTHING)
    pod = one(objects, "DaemonSet")["spec"]["template"]
    container = container_of(objects)
    assert container["image"] == f"example/dispatcher@sha256:{'0' * 64}"
    assert container["imagePullPolicy"] == "Always"
    assert environment_of(container) == {
        "PORT": "8080", "SSL_PORT": "8443", "HEALTH_PORT": "8081", "API_KEY_SECRET_NAME": "keys",
        "NGINX_HTTP2": "false", "MAX_LOCATIONS": "15000",
        "SSL_CERT": "/run/tls/tls.crt", "SSL_KEY": "/run/tls/tls.key", "EVENTS": "on", "ADMIN_PORT": "9000",
        "ADMIN_ADDRESS": "0.0.0.0",
    }  # fmt: skip
    ports = {port["name"]: port["containerPort"] for port in container["ports"]}
    assert ports == {"http": 8080, "https": 8443, "health": 8081, "admin": 9000}
    assert not any("hostPort" in port for port in container["ports"])
    assert pod["metadata"]["labels"] == {"app.kubernetes.io/name": "dispatcher", "team": "net"}
    assert pod["metadata"]["annotations"]["a/b"] == "c"
    for field in ("imagePullSecrets", "nodeSelector", "tolerations", "affinity", "terminationGracePeriodSeconds"):
        assert pod["spec"][field] == EVERYTHING[field]
    assert pod["spec"]["priorityClassName"] == "system-cluster-critical"
    assert pod["spec"]["volumes"][-1]["secret"]["secretName"] == "tls"
    assert container["resources"] == EVERYTHING["resources"]
    assert one(objects, "DaemonSet")["spec"]["updateStrategy"]["rollingUpdate"]["maxUnavailable"] == "10%"
    assert one(objects, "DaemonSet")["spec"]["minReadySeconds"] == 30
    assert one(objects, "ClusterRole")["rules"][1:] == [
        {"apiGroups": [""], "resources": ["secrets"], "resourceNames": ["keys"], "verbs": ["list"]},
        {"apiGroups": [""], "resources": ["events"], "verbs": ["create", "patch"]},
    ]
    kinds = [item["kind"] for item in objects]
    assert not {"PriorityClass", "FlowSchema", "PriorityLevelConfiguration", "NetworkPolicy"} & {*kinds}
    for kind in ("PodMonitor", "PrometheusRule"):
        assert one(objects, kind)["metadata"]["labels"]["release"] == "prometheus"
    dashboard = one(objects, "ConfigMap", "dispatcher-dashboard")["data"]["dispatcher.json"]
    assert json.loads(dashboard) == json.loads((K8S / "monitoring/dashboard.json").read_text())


def test_publishers_have_the_routers_settings() -> None:
    """A publisher reads and judges with the routers' settings; what is about nginx's files and traffic is left out."""
    publisher = {
        "enabled": True, "replicas": 3, "nodeSelector": {"kubernetes.io/os": "linux", "a": "b"},
        "resources": {"requests": {"cpu": 1, "memory": "1Gi"}, "limits": {"memory": "4Gi"}},
        "tolerations": [{"key": "edge", "operator": "Exists"}],
    }  # fmt: skip
    settings = {"REQUEST_METRICS": "on", "HEALTH_PORT": 9001, "WATCH_NAMESPACES": "a,b", "PUBLISHED_NAMESPACE": "pub"}
    wish = EVERYTHING | {"published": publisher, "settings": EVERYTHING["settings"] | settings}
    objects = chart.render("edge", "net", **wish)
    found = one(objects, "Deployment", "edge-publisher")["spec"]
    pod = found["template"]["spec"]
    environment = environment_of(pod["containers"][0])
    assert environment == {
        "PORT": "8080", "SSL_PORT": "8443", "HEALTH_PORT": "9001", "API_KEY_SECRET_NAME": "keys",
        "NGINX_HTTP2": "false", "MAX_LOCATIONS": "15000", "WATCH_NAMESPACES": "a,b", "PUBLISHED_NAMESPACE": "pub",
        "EVENTS": "on", "ADMIN_PORT": "9000", "ADMIN_ADDRESS": "0.0.0.0",
        "SSL_CERT": "/run/tls/tls.crt", "SSL_KEY": "/run/tls/tls.key",
    }  # fmt: skip
    routers = environment_of(container_of(objects, "edge"))
    assert environment.pop("EVENTS") == "on"
    assert routers == environment | {"REQUEST_METRICS": "on", "SNAPSHOT_FROM": "published"}
    assert pod["volumes"][0]["secret"]["secretName"] == "tls"
    assert pod["containers"][0]["volumeMounts"] == [{"name": "certificate", "mountPath": "/run/tls", "readOnly": True}]
    ports = {port["name"]: port["containerPort"] for port in pod["containers"][0]["ports"]}
    assert ports == {"health": 9001, "admin": 9000}
    assert (found["replicas"], pod["containers"][0]["resources"]) == (3, publisher["resources"])
    assert (pod["nodeSelector"], pod["tolerations"]) == (publisher["nodeSelector"], publisher["tolerations"])
    assert pod["imagePullSecrets"] == EVERYTHING["imagePullSecrets"]
    assert pod["priorityClassName"] == "system-cluster-critical"
    assert one(objects, "Namespace", "pub")


def test_releases_publish_apart() -> None:
    """Each release publishes in a Namespace of its own, which its routers and its publisher know."""
    objects = chart.render("edge", "net", published=PUBLISHED)
    assert one(objects, "Namespace", "edge-published")
    workloads = one(objects, "DaemonSet", "edge"), one(objects, "Deployment", "edge-publisher")
    for workload in workloads:
        environment = environment_of(workload["spec"]["template"]["spec"]["containers"][0])
        assert read_settings(environment).published_namespace == "edge-published"


def test_policies_open_what_is_served() -> None:
    """The router's policy opens its own ports, and the one of monitoring opens the admin port to one Namespace."""
    objects = chart.render(**EVERYTHING | {"networkPolicy": {"create": True}})
    served = one(objects, "NetworkPolicy", "dispatcher")["spec"]["ingress"]
    assert served == [{"ports": [{"port": 8080}, {"port": 8443}]}]
    (admin,) = one(objects, "NetworkPolicy", "dispatcher-monitoring")["spec"]["ingress"]
    assert admin["ports"] == [{"port": 9000}]
    assert admin["from"] == [{"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "watch"}}}]


def test_the_nodes_network() -> None:
    """In the node's network a Pod may not set sysctls, so nginx gets the capability for low ports from its file."""
    objects = chart.render(hostNetwork=True)
    pod = one(objects, "DaemonSet")["spec"]["template"]["spec"]
    assert pod["hostNetwork"]
    assert "sysctls" not in pod["securityContext"]
    context = container_of(objects)["securityContext"]
    assert context["capabilities"] == {"drop": ["ALL"], "add": ["NET_BIND_SERVICE"]}
    assert context["allowPrivilegeEscalation"]


def test_another_name_and_namespace() -> None:
    """Two releases share no object: each has the name and Namespace of its release, and selects only its own Pods."""
    values = {"monitoring": MONITORING, "admissionPolicy": ADMISSION, "published": PUBLISHED}
    objects = chart.render("edge", "net", **values)
    assert not {name_of(item) for item in objects} & {name_of(item) for item in chart.render(**values)}
    assert {item["metadata"].get("namespace", "net") for item in objects} == {"net", "edge-published"}
    assert one(objects, "DaemonSet", "edge")["spec"]["selector"] == {"matchLabels": {"app.kubernetes.io/name": "edge"}}
    policies = {item["metadata"]["name"] for item in objects if item["kind"] == "ValidatingAdmissionPolicy"}
    assert {
        item["spec"]["policyName"] for item in objects if item["kind"].endswith("Binding") and "spec" in item
    } == policies


def test_policies_know_the_settings() -> None:
    """The policies name the label and the annotations that the settings name."""
    settings = {"HOSTS_ANNOTATION": "h/x", "PATHS_ANNOTATION": "p/x", "ROUTABLE_LABEL_SELECTOR": "on/x=true"}
    texts = yaml.safe_dump(
        [
            item
            for item in chart.render(admissionPolicy=ADMISSION, settings=settings)
            if item["kind"] == "ValidatingAdmissionPolicy"
        ]
    )
    assert "github.com/30x" not in texts
    assert all(name in texts for name in ("h/x", "p/x", "on/x"))
    with pytest.raises(helm.HelmError, match="LABEL=true"):
        chart.render(admissionPolicy=ADMISSION, settings={"ROUTABLE_LABEL_SELECTOR": "a in (b,c)"})


@pytest.mark.parametrize(
    "values",
    [
        {"imagee": {}},
        {"image": {"repository": "UPPER"}},
        {"image": {"tag": 1.10}},
        {"image": {"digest": "sha256:12"}},
        {"image": {"pullPolicy": "Sometimes"}},
        {"settings": {"PROT": "80"}},
        {"settings": {"PORT": "http"}},
        {"settings": {"PORT": 70000}},
        {"settings": {"DENY_POD_CIDRS": ["10.0.0.0/8"]}},
        {"admin": {"port": "8090"}},
        {"admin": {"address": "localhost"}},
        {"monitoring": {"interval": "30"}},
        {"monitoring": {"namespace": "A B"}},
        {"admissionPolicy": {"action": "Audit"}},
        {"hostNetwork": "yes"},
        {"published": {"fallback": "cluster"}},
        {"published": {"replicas": 0}},
        {"resources": {"limits": {"memory": "1 GB"}}},
        {"resources": {"limits": {"mem": "1Gi"}}},
        {"tolerations": [{"opertor": "Exists"}]},
        {"terminationGracePeriodSeconds": 5},
        {"maxUnavailable": 0},
        {"priorityClass": {"value": 2000000000}},
        {"nodeSelector": {"a": True}},
    ],
    ids=json.dumps,
)  # fmt: skip
def test_bad_values_are_refused(values: Object) -> None:
    """The schema refuses a value that is misspelled or cannot work, before anything is installed."""
    with pytest.raises(helm.HelmError):
        chart.render(**values)


def test_a_setting_has_one_place() -> None:
    """A setting that another value sets cannot be set twice, and the schema knows exactly the program's settings."""
    with pytest.raises(helm.HelmError, match=r"settings\.SSL_CERT is set"):
        chart.render(tls={"secretName": "tls"}, settings={"SSL_CERT": "/x"})
    for name in ("SNAPSHOT_FROM", "EVENTS"):
        with pytest.raises(helm.HelmError, match=rf"settings\.{name} is set"):
            chart.render(published=PUBLISHED, settings={name: "x"})
    schema = json.loads((chart.CHART / "values.schema.json").read_text())
    known = schema["properties"]["settings"]["propertyNames"]["enum"]
    assert {*known} == {name for variable in VARIABLES.values() for name in variable.names}
    assert schema["properties"].keys() - {"global"} == chart.read_default().keys()
    environment = environment_of(
        container_of(chart.render(settings={"NGINX_MAX_CLIENT_BODY_SIZE": 2_000_000, "SSL_PORT": 50000}))
    )
    settings = read_settings(environment)
    assert (settings.max_client_body_size, settings.ssl_port) == ("2000000", 50000)


def test_lint_and_version() -> None:
    """Helm's linter misses only an icon; the chart has the package's version, and links to its files' one source."""
    found = helm.lint(str(chart.CHART), strict=True)
    assert found["errors"] == []
    assert {message["error"] for message in found["messages"]} <= {"icon is recommended"}
    about = yaml.safe_load((chart.CHART / "Chart.yaml").read_text())
    assert about["version"] == about["appVersion"] == version("dispatcher")
    linked = {path.name: path for path in (chart.CHART / "files").iterdir()}
    assert linked.keys() == {"bindings.yaml", "dashboard.json", "hosts.yaml", "paths.yaml", "rules.yaml"}
    assert all(path.is_symlink() and K8S in Path(path.resolve()).parents for path in linked.values())
