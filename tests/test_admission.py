"""The admission policies, evaluated for real: what they warn of is what the router leaves out, in its words."""

import copy
import json
import re
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from support.manifests import K8S, build
from support.objects import FIXTURES, HOSTS, PATHS, Object, listing, namespace, pod, read
from support.stages import build_table, normalise

from reconciler.objects.listing import select
from reconciler.settings import read_settings
from reconciler.values.addresses import parse_address
from reconciler.values.patterns import HOST_NAME

cel = pytest.importorskip("cel_expr_python.cel", reason="CEL's package is not there for this machine")
admission = pytest.importorskip("support.admission")

POLICIES = {
    "Namespace": admission.Policy(K8S / "overlays/admission/hosts.yaml"),
    "Pod": admission.Policy(K8S / "overlays/admission/paths.yaml"),
}
# The functions that Kubernetes has since 1.29: https://kubernetes.io/docs/reference/using-api/cel/
KUBERNETES_HAS = {
    "has", "type", "string", "size", "matches", "contains", "startsWith", "endsWith", "filter", "map", "exists",
    "orValue", "trim", "split", "substring", "replace", "join", "find", "findAll",
}  # fmt: skip
ROUTABLE = "github.com/30x.dispatcher.routable"
SETTINGS = read_settings({})
NOW = 1_797_600_000.0
PORTS = [{"containerPort": 3000, "name": "web"}, {"containerPort": 53, "protocol": "UDP"}]
HOST = "a DNS name of at most 253 characters, '*.' and such a name, or an IP address"
PATH = "an absolute path of URL characters, others percent-encoded, at most 1024 characters"


def judge(item: Object) -> list[str]:
    """Ask the policy for this kind of object what is wrong with it."""
    return list(POLICIES["Namespace" if item["kind"] == "Namespace" else "Pod"].judge(item))


def ask_router(objects: list[Object]) -> dict[tuple[str, str, str], list[str]]:
    """Tell the router's problems with each object, without the numbers of entries."""
    found: dict[tuple[str, str, str], list[str]] = {}
    selected = select(listing(objects), SETTINGS.selector, SETTINGS.api_key_secret_name)
    for problem in build_table(normalise(selected, SETTINGS), SETTINGS, NOW).problems:
        resource = problem.resource
        text = re.sub(r"\[[0-9]+\]\.", "", str(problem).removeprefix(f"{resource}: "))
        found.setdefault((resource.kind, resource.namespace, resource.name), []).append(text)
    return found


def key_of(item: Object) -> tuple[str, str, str]:
    return item["kind"], item["metadata"].get("namespace", ""), item["metadata"]["name"]


def route(item: Object) -> list[str]:
    """Tell the router's problems with one Namespace or Pod, which has another beside it that is right."""
    beside = pod("x", "y", "10.0.0.9", "[]") if item["kind"] == "Namespace" else namespace("x", {"a.com": {}})
    return ask_router([item, beside]).get(key_of(item), [])


def workload(kind: str, one: Object) -> Object:
    """Make a workload of this kind whose Pods are like a Pod."""
    template = {"metadata": {field: one["metadata"][field] for field in ("labels", "annotations")}, "spec": one["spec"]}
    spec = {"jobTemplate": {"spec": {"template": template}}} if kind == "CronJob" else {"template": template}
    return {"kind": kind, "metadata": {"name": "web", "namespace": "x"}, "spec": spec}


def recorded() -> Iterator[list[Object]]:
    for path in sorted(FIXTURES.glob("walkthrough/*.json")):
        yield json.loads(path.read_text())["items"]


@pytest.mark.parametrize("policy", POLICIES.values(), ids=POLICIES)
def test_an_api_server_can_compile_it(policy: Any) -> None:
    """Rules are booleans, messages are strings, and every function is one that Kubernetes 1.30 has."""
    spec = policy.manifest["spec"]
    assert {str(policy.types[rule]) for rule in policy.names_of_rules()} == {"BOOL"}
    texts = [rule["messageExpression"] for rule in spec["validations"] if "messageExpression" in rule]
    assert {str(policy.types[text]) for text in texts} == {"STRING"}
    bare = [re.sub(r"""r?"[^"]*"|r?'[^']*'""", "''", text) for text in policy.types]
    used = {name for text in bare for name in re.findall(r"(\w+)\(", text)}
    assert used <= KUBERNETES_HAS
    assert all("\n" not in rule["message"] for rule in spec["validations"])


def test_nobody_is_stopped() -> None:
    """A policy that cannot be evaluated lets requests through, and only the binding for it refuses any."""
    for folder, actions in (("admission", ["Warn"]), ("admission-deny", ["Deny"])):
        objects = build(K8S / "overlays" / folder)
        policies = {one["metadata"]["name"]: one["spec"] for one in objects if one["kind"].endswith("Policy")}
        bindings = [one["spec"] for one in objects if one["kind"].endswith("Binding")]
        assert [binding["policyName"] for binding in bindings] == sorted(policies)
        assert all(binding["validationActions"] == actions for binding in bindings)
        assert {policy["failurePolicy"] for policy in policies.values()} == {"Ignore"}


def test_recorded_objects_get_the_routers_sentences() -> None:
    """In every step of the walkthrough, a warning is about an object that the router complains of, in its words."""
    told = set()
    for objects in recorded():
        problems = ask_router(objects)
        for item in objects:
            if item["kind"] in ("Namespace", "Pod"):
                for message in judge(item):
                    told.add(message)
                    expected = message.partition("; expected: ")[2]
                    assert any(text.endswith(f"; expected: {expected}") for text in problems[key_of(item)]), message
    assert len(told) == 4


def test_the_tenant_in_trouble_is_told_everything() -> None:
    """Each mistake of the tenant in trouble is seen before it is stored, in the words that the router has for it."""
    objects = read("014")
    problems = ask_router(objects)
    for item in objects:
        faults = problems.get(key_of(item), [])
        if item["kind"] in ("Namespace", "Pod") and "broken" in key_of(item) and faults:
            said = judge(item)
            assert len(said) == len(faults) == 1
            assert said == faults or ("is not JSON" in faults[0] and "is not a JSON array" in said[0])


@pytest.mark.parametrize(
    ("hosts", "message"),
    [
        ('["a.com"]', f"{HOSTS} is not a JSON object; expected: a JSON object of hosts and their options"),
        ('{"a.com": {},', f"{HOSTS} is not a JSON object; expected: a JSON object of hosts and their options"),
        ("a.com", f"{HOSTS} is not a JSON object; expected: a JSON object of hosts and their options"),
        (
            "{'a.com': {}}",
            f"{HOSTS} is not JSON, in which strings have double quotes; "
            "expected: a JSON object of hosts and their options",
        ),
        ('{"http://a.com": {}}', f"{HOSTS} 'http://a.com' is not a host; expected: {HOST}"),
        ('{"b.com": {}, "a.com:8080": null}', f"{HOSTS} 'a.com:8080' is not a host; expected: {HOST}"),
        ('{"a.com/x": {"ssl": {"x": {}}}}', f"{HOSTS} 'a.com/x' is not a host; expected: {HOST}"),
        ('{"m\u00fcnchen.de": {}}', f"{HOSTS} 'm\u00fcnchen.de' is not a host; expected: {HOST}"),
        (json.dumps({"a" * 300: {}}), f"{HOSTS} '{'a' * 57}...' is not a host; expected: {HOST}"),
    ],
)
def test_bad_hosts(hosts: str, message: str) -> None:
    """What is wrong with a Namespace's hosts is told in one sentence; the router expects the same."""
    item = namespace("x", hosts)
    assert judge(item) == [message]
    assert any(text.endswith(message.partition("; ")[2]) for text in route(item))
    if " is not a host" in message and message.isascii():
        assert message in route(item)


@pytest.mark.parametrize(
    ("paths", "message"),
    [
        ('{"basePath": "/x"}', f"{PATHS} is not a JSON array; expected: a JSON array of entries"),
        ('[{"basePath": "/x"', f"{PATHS} is not a JSON array; expected: a JSON array of entries"),
        (
            "[{'basePath': '/x'}]",
            f"{PATHS} is not JSON, in which strings have double quotes; expected: a JSON array of entries",
        ),
        ('[{"basePath": "x", "containerPort": 3000}]', f"{PATHS} basePath is 'x'; expected: {PATH}"),
        ('[{"containerPort": 1, "basePath": "/\u00fc"}]', f"{PATHS} basePath is '/\u00fc'; expected: {PATH}"),
        ('[{"basePath": "=x", "containerPort": 1}]', f"{PATHS} basePath is '=x'; expected: '=' and an absolute path"),
        (
            '[{"basePath": "/api/*", "containerPort": "web"}]',
            f"{PATHS} basePath '/api/*' has '*', which stands only for itself; "
            "expected: a path: it covers everything below it too",
        ),
        (
            '[{"basePath": "/user/:id/x", "containerPort": 3000}]',
            f"{PATHS} basePath '/user/:id/x' has ':id', which stands only for itself; "
            "expected: a path: it covers everything below it too",
        ),
        *(
            (
                f'[{{"basePath": "/a", "containerPort": "web"}}, {{"containerPort": {port}, "basePath": "/b"}}]',
                f"{PATHS} '/b' containerPort {name} is not a TCP port that a container declares; "
                "expected: one of those declared: 3000",
            )
            for port, name in (("80", "'80'"), ('"http"', "'http'"), ("53", "'53'"))
        ),
    ],
)  # fmt: skip
@pytest.mark.parametrize("kind", ["Pod", "Deployment", "CronJob"])
def test_bad_paths(kind: str, paths: str, message: str) -> None:
    """What is wrong with the paths of a Pod or a workload is told in one sentence; the router says the same."""
    item = pod("x", "web", "10.0.0.1", paths, PORTS)
    assert judge(item if kind == "Pod" else workload(kind, item)) == [message]
    assert any(text.endswith(message.partition("; ")[2]) for text in route(item))
    if "basePath" in message and message.isascii():
        assert message in route(item)


def test_a_port_is_declared_by_number_or_name_and_also_by_a_sidecar() -> None:
    """A port that a container or a sidecar declares is fine, by number, by text and by name; others are not."""
    sidecar = {"name": "proxy", "restartPolicy": "Always", "ports": [{"containerPort": 4000, "name": "proxy"}]}
    for port in (3000, "3000", "web", 4000, "proxy"):
        item = pod("x", "web", "10.0.0.1", [{"basePath": "/x", "containerPort": port}], PORTS)
        item["spec"]["initContainers"] = [sidecar]
        assert judge(item) == judge(workload("StatefulSet", item)) == route(item) == []
    item["spec"]["initContainers"] = [{**sidecar, "restartPolicy": "OnFailure"}]
    assert judge(item) == route(item) != []
    del item["spec"]["containers"][0]["ports"]
    assert judge(item)[0].endswith("expected: one of those declared: none")


@pytest.mark.parametrize("kind", ["Deployment", "ReplicationController", "DaemonSet", "Job", "CronJob"])
def test_the_wrong_level(kind: str) -> None:
    """A label or annotation that no Pod gets, or that nothing reads where it is, is told."""
    right = workload(kind, pod("x", "web", "10.0.0.1", [{"basePath": "/x", "containerPort": 3000}], PORTS))
    assert judge(right) == []
    template = right["spec"].get("jobTemplate", {"spec": right["spec"]})["spec"]["template"]["metadata"]
    paths = template["annotations"].pop(PATHS)
    right["metadata"]["annotations"] = {PATHS: paths}
    assert judge(right) == [
        f"{PATHS} stands on the workload, where it is not read: its Pods do not have it; "
        "expected: the annotation on its Pod template"
    ]
    template["annotations"][PATHS] = paths
    right["metadata"]["labels"] = {ROUTABLE: template["labels"].pop(ROUTABLE)}
    assert judge(right) == [
        f"the label {ROUTABLE} stands on the workload, where it is not read: its Pods do not have it; "
        "expected: the label on its Pod template"
    ]
    del right["metadata"]["labels"]
    (said,) = judge(right)
    assert said.startswith("labels do not match ROUTABLE_LABEL_SELECTOR")
    template["labels"][ROUTABLE] = "yes"
    assert judge(right) == [said]
    template["labels"][ROUTABLE] = "false"
    template["annotations"][HOSTS] = "{}"
    assert judge(right) == [
        f"{HOSTS} stands on a Pod or a workload, where it is not read; expected: the annotation on the Namespace"
    ]


def test_a_namespace_with_hosts_needs_the_label() -> None:
    """Paths on a Namespace are told, and hosts on a Namespace without the routable label in the router's words."""
    item = namespace("x", {"a.com": {}})
    item["metadata"]["annotations"][PATHS] = "[]"
    assert judge(item) == [
        f"{PATHS} stands on a Namespace, where it is not read; "
        "expected: the annotation on Pods, or on the Pod template of a workload"
    ]
    del item["metadata"]["annotations"][PATHS], item["metadata"]["labels"][ROUTABLE]
    (said,) = judge(item)
    beside = pod("x", "web", "10.0.0.1", "[]")
    (stray,) = ask_router([namespace("y", {}), beside])[key_of(item)]
    what, _, expected = stray.partition("; expected: ")
    assert said.startswith(what.partition(",")[0])
    assert expected in said
    item["metadata"]["labels"][ROUTABLE] = "false"
    assert judge(item) == []


@pytest.mark.parametrize("nothing", [{}, {"labels": None, "annotations": None}, {"labels": {}, "annotations": {}}])
def test_nothing_is_nothing_wrong(nothing: Object) -> None:
    """Objects without labels and annotations, or with null ones, pass; so does an annotation that is null."""
    metadata = {"name": "x"} | nothing
    assert judge({"kind": "Namespace", "metadata": metadata}) == []
    assert judge({"kind": "Pod", "metadata": metadata, "spec": {"containers": [{"name": "x"}]}}) == []
    assert judge({"kind": "Deployment", "metadata": metadata, "spec": {"template": {"metadata": metadata}}}) == []
    assert judge({"kind": "ReplicationController", "metadata": metadata, "spec": {}}) == []
    assert judge({"kind": "ReplicationController", "metadata": metadata}) == []
    assert judge({"kind": "Pod", "metadata": {"name": "x", "annotations": {PATHS: None}}}) == []
    assert judge({"kind": "Pod", "metadata": {"name": "x", "annotations": {PATHS: ""}}}) == []


def test_huge_annotations_are_not_judged() -> None:
    """Text that would cost an API server more than it grants an expression is left to the router."""
    entry = {"basePath": "x", "containerPort": 1}
    most = json.dumps([entry] * 200)
    assert len(most) <= 8192
    assert judge(pod("x", "web", "10.0.0.1", most, PORTS))
    assert judge(pod("x", "web", "10.0.0.1", [entry] * 5000, PORTS)) == []
    assert judge(namespace("x", "{" + "'" * 250_000)) == []


def test_what_controllers_make_is_not_judged() -> None:
    """Only what a person or a tool applies is judged: no Pod of a ReplicaSet, nothing unchanged, nothing that goes."""
    _, owned = read("005")
    policy = POLICIES["Pod"]
    assert not policy.selects(owned)
    mine = copy.deepcopy(owned)
    del mine["metadata"]["ownerReferences"]
    assert policy.selects(mine)
    assert not policy.selects(mine, mine)
    assert not policy.selects(mine, mine | {"status": {}})
    for part in ("labels", "annotations"):
        assert policy.selects(mine | {"metadata": mine["metadata"] | {part: {"a": "b"}}}, mine)
    assert policy.selects(mine | {"spec": {}}, mine)
    assert not policy.selects(mine | {"metadata": mine["metadata"] | {"deletionTimestamp": "x"}})
    hosts = POLICIES["Namespace"]
    item = namespace("x", {})
    assert hosts.selects(item)
    assert not hosts.selects(item, item)
    assert hosts.selects(namespace("x", {"a.com": {}}), item)
    assert not hosts.selects(item | {"metadata": item["metadata"] | {"deletionTimestamp": "x"}})


NAMES = st.text(st.sampled_from("aZ0-.*:/ _\u00fc"), max_size=12)
OPTIONS = st.none() | st.fixed_dictionaries(
    {}, optional={"ssl": st.just({"certificate": {"valueFrom": {"secretKeyRef": {"key": "a"}}}})}
)


@settings(deadline=None)
@given(st.dictionaries(NAMES, OPTIONS, max_size=4))
@example({"ssl": {}, "2001:db8::1": {}, "*.a.com": None, "1.2.3.4": {}})
def test_policy_and_router_agree_about_hosts(hosts: Object) -> None:
    """A name is no host for the policy if it is none for the router, unless it looks like an IPv6 address."""
    item = namespace("x", json.dumps(hosts, ensure_ascii=False))
    said = judge(item)
    bad = [name for name in hosts if not HOST_NAME.accepts(name) and not parse_address(name)]
    assert bool(said) == any(not re.fullmatch("[0-9A-Fa-f.]*(:[0-9A-Fa-f.]*){2,}", name) for name in bad)
    assert not said or any(" is not a host" in text for text in route(item))


ENTRIES = st.fixed_dictionaries(
    {
        "basePath": st.text(st.sampled_from("/a~=%2*:.{} \u00fc"), max_size=8) | st.none() | st.integers(),
        "containerPort": st.sampled_from([3000, "3000", "web", 53, 9, "x", "", None]),
    },
    optional={"weight": st.integers(), "targetPath": st.sampled_from(["/", "basePath", '"basePath": "x"'])},
)


@settings(deadline=None)
@given(st.lists(ENTRIES, max_size=4))
def test_the_policy_never_warns_of_what_the_router_takes(entries: list[Object]) -> None:
    """What the policy says about paths, the router says too, but of an entry that is bad it says only why."""
    item = pod("x", "web", "10.0.0.1", json.dumps(entries, ensure_ascii=False), PORTS)
    told = route(item)
    for message in judge(item):
        bad = (" containerPort " in message or "stands only for itself" in message) and told
        assert bad or any(text.endswith(message.partition("; ")[2]) for text in told), (message, told)


# CEL's Python package cuts a text at a NUL.
TEXTS = st.text(st.characters(exclude_characters="\0", codec="utf-8"), max_size=200)


@settings(deadline=None)
@given(TEXTS | st.text(st.sampled_from("[{\"':,}] \\\n"), max_size=40))
def test_any_text_can_be_judged(text: str) -> None:
    """No text makes an expression fail; text whose two ends are not those of the right JSON is told."""
    for item, begin, end in ((namespace("x", text), "{", "}"), (pod("x", "web", "10.0.0.1", text, PORTS), "[", "]")):
        stripped = text.strip()
        said = judge(item)
        if text and not (stripped.startswith(begin) and stripped.endswith(end)):
            assert said
