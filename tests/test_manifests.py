"""Manifests: workloads with their Pod templates, the place of each object, and what was not read."""

import json
from pathlib import Path

import pytest
import yaml

from reconciler.disk.manifests import Manifests, read_manifests
from reconciler.disk.places import Place
from reconciler.disk.recordings import RecordingError
from reconciler.objects.snapshot import Resource
from reconciler.objects.workloads import WORKLOADS, list_kinds

PATHS = "github.com/30x.dispatcher.paths"
DEPLOYMENT = f"""\
---
# Source: chart/templates/web.yaml
apiVersion: apps/v1
kind: Deployment
metadata:
  name: web
  namespace: a
  labels: {{app: web}}
spec:
  selector:
    matchLabels: {{app: web}}
  template:
    metadata:
      labels:
        app: web
      annotations:
        note: x
        {PATHS}: |
          [{{"basePath": "/"}}]
    spec:
      containers:
      - name: web
        ports:
        - containerPort: 80
---
---
# Source: chart/templates/ingress.yaml
apiVersion: networking.k8s.io/v1
kind: Ingress
metadata:
  name: web
  annotations: {{a: b}}
"""
GROUPS = {"": "v1", "apps": "apps/v1", "batch": "batch/v1"}


def write(folder: Path, *texts: str) -> list[str]:
    for number, text in enumerate(texts):
        (folder / f"{number}.yaml").write_text(text)
    return [str(folder / f"{number}.yaml") for number in range(len(texts))]


def read(folder: Path, *texts: str) -> Manifests:
    return read_manifests(write(folder, *texts))


def test_what_helm_writes(tmp_path: Path) -> None:
    """Workloads are read from the output of `helm template`; other kinds are counted, and their metadata is known."""
    found = read(tmp_path, DEPLOYMENT)
    (workload,) = found.workloads
    assert workload.resource == Resource("Deployment", "a", "web")
    assert workload.pod.annotations == {"note": "x", PATHS: '[{"basePath": "/"}]\n'}
    assert [port.container_port for one in workload.spec.containers or () for port in one.ports or ()] == [80]
    assert (found.read, found.unread, found.tell_unread()) == ({"Deployment": 1}, {"Ingress": 1}, "1 Ingress not read")
    assert [(other.resource, other.level.annotations) for other in found.others] == [
        (Resource("Ingress", "", "web"), {"a": "b"})
    ]


@pytest.mark.parametrize("kind", WORKLOADS)
def test_each_kind_of_workload(tmp_path: Path, kind: str) -> None:
    """Each kind that makes Pods is read with its Pod template and the levels above it, also from a List of it."""
    group, path = WORKLOADS[kind]
    template: dict[str, object] = {"metadata": {"labels": {"level": "pod"}}, "spec": {"containers": []}}
    spec: dict[str, object] = {"template": template}
    if kind == "CronJob":
        spec = {"jobTemplate": {"metadata": {"labels": {"level": "job"}}, "spec": spec}}
    item = {"metadata": {"name": "x", "labels": {"level": "own"}}, "spec": spec}
    header = {"kind": kind, "apiVersion": GROUPS[group]}
    listed = {"kind": f"{kind}List", "apiVersion": GROUPS[group], "items": [item]}
    for text in (json.dumps(header | item), json.dumps(listed)):
        (workload,) = read(tmp_path, text).workloads
        assert workload.resource == Resource(kind, "default", "x")
        assert workload.pod.labels == {"level": "pod"}
        assert workload.pod.path == (*path, "metadata")
        assert [one.labels["level"] for one in workload.above] == ["own", "job"][: len(workload.above)]
        assert len(workload.above) == (2 if kind == "CronJob" else 1)


@pytest.mark.parametrize("spec", ["", "spec:", "spec: {template: null}", "spec: {template: {metadata: null}}"])
def test_workloads_without_a_template(tmp_path: Path, spec: str) -> None:
    """A workload without a Pod template is read; its template is empty."""
    (workload,) = read(tmp_path, f"kind: Deployment\napiVersion: apps/v1\nmetadata: {{name: x}}\n{spec}\n").workloads
    assert workload.pod.annotations == {}


def test_places_in_yaml(tmp_path: Path) -> None:
    """An object's place is its first line, and that of a key the key's line, or that of the last key on the way."""
    places = read(tmp_path, "# one\n---\n# two\nkind: Pod\nmetadata: {name: p}\n", DEPLOYMENT).places
    first, second = str(tmp_path / "0.yaml"), str(tmp_path / "1.yaml")
    web = Resource("Deployment", "a", "web")
    assert places.find(Resource("Pod", "default", "p")) == Place(first, 4)
    assert places.find(web) == Place(second, 3)
    level = ("spec", "template", "metadata")
    assert places.find(web, (*level, "annotations", PATHS)) == Place(second, 18)
    assert places.find(web, (*level, "labels", "absent")) == Place(second, 14)
    assert places.find(web, ("status", "x")) == Place(second, 3)
    assert places.find(Resource("Ingress", "", "web")) == Place(second, 28)
    assert places.find(Resource("Pod", "a", "absent")) is None


@pytest.mark.parametrize("indent", [1, "\t"])
def test_places_in_json(tmp_path: Path, indent: int | str) -> None:
    """JSON has places too, in a List, behind text with surrogates and indented with tabulators."""
    item = {"kind": "Pod", "metadata": {"name": "p", "annotations": {"note": "\U0001f600 \\ud83d", PATHS: "[]"}}}
    listed = {"kind": "List", "items": [{"kind": "Service", "metadata": {"name": "p"}}, item]}
    text = json.dumps(listed, indent=indent)
    places = read(tmp_path, text).places
    place = places.find(Resource("Pod", "default", "p"), ("metadata", "annotations", PATHS))
    assert place == Place(str(tmp_path / "0.yaml"), 1 + [PATHS in line for line in text.splitlines()].index(True))


def test_places_of_aliases(tmp_path: Path) -> None:
    """What an alias stands for has the place of its anchor."""
    text = "kind: List\nitems:\n- &p\n  kind: Pod\n  metadata: {name: p}\n- *p\n"
    found = read(tmp_path, text)
    assert found.places.find(Resource("Pod", "default", "p")) == Place(str(tmp_path / "0.yaml"), 4)
    assert found.read == {"Pod": 1}


def test_objects_that_appear_twice(tmp_path: Path) -> None:
    """A workload may appear twice if it is the same; if it differs, the file is refused."""
    assert len(read(tmp_path, DEPLOYMENT, DEPLOYMENT).workloads) == 1
    with pytest.raises(RecordingError, match=r"Deployment a/web\): appears twice, and differently"):
        read(tmp_path, DEPLOYMENT, DEPLOYMENT.replace("80", "81"))


def test_generated_names(tmp_path: Path) -> None:
    """An object that leaves its name to the API server gets a name of its own, and has a place."""
    text = "kind: Job\napiVersion: batch/v1\nmetadata:\n  generateName: migrate-\n"
    found = read(tmp_path, text, text)
    names = [workload.resource.name for workload in found.workloads]
    assert names == ["migrate-00001", "migrate-00002"]
    second = found.places.find(Resource("Job", "default", names[1]), ("metadata", "generateName"))
    assert second == Place(str(tmp_path / "1.yaml"), 4)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("hello", "is neither a v1 List nor an object: is a string; expected: an object"),
        ("a: [", "line 2, column 1: is not YAML"),
        ("kind: {{ .Values.kind }}", "line 1, column 8: has a YAML tag that JSON cannot hold"),
        (
            yaml.safe_dump({"kind": "Job", "apiVersion": "batch/v1", "metadata": {"name": "x", "labels": {"a": True}}}),
            "Job (Job x): metadata.labels[...] is a boolean; expected: a string or null",
        ),
    ],
)
def test_no_manifest(tmp_path: Path, text: str, told: str) -> None:
    """A file that is no manifest is refused in one line."""
    with pytest.raises(RecordingError) as caught:
        read(tmp_path, text)
    assert str(caught.value) == f"{tmp_path}/0.yaml: {told}"
    assert "\n" not in str(caught.value)


def test_other_kinds_are_never_malformed(tmp_path: Path) -> None:
    """Whatever another kind holds, or a kind of another API, it is only counted."""
    texts = [
        json.dumps({"kind": "Deployment", "apiVersion": "example.com/v1", "metadata": value}) for value in (None, {})
    ]
    odd = {"name": 1, "namespace": [], "labels": "x", "annotations": {"a": {}, "b": "c"}}
    found = read(tmp_path, *texts, json.dumps({"kind": "X", "metadata": odd}))
    assert found.unread == {"Deployment": 2, "X": 1}
    assert found.others[2].level.annotations == {"b": "c"}


def test_names_of_kinds() -> None:
    """Kinds are listed with their numbers, in the plural if there are several, without control characters."""
    counts = {"Ingress": 1, "Deployment": 3, "NetworkPolicy": 2, "Gateway": 2, "Endpoints": 2, "\x1b[31m": 1}
    assert list_kinds(counts) == "1 \\x1b[31m, 3 Deployments, 2 Endpoints, 2 Gateways, 1 Ingress, 2 NetworkPolicies"
    assert list_kinds({"Ingress": 2}) == "2 Ingresses"
    assert list_kinds({f"K{number:02}": 1 for number in range(25)}).endswith("1 K19, and 5 more kinds")
