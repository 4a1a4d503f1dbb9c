"""Recordings: every form that is read, and the error of one line for everything else."""

import json
import os
import subprocess
import sys

import pytest
import yaml

from reconciler.disk.recordings import RecordingError, find_recordings, read_recordings
from reconciler.objects.listing import Listing
from reconciler.objects.normaliser import Normaliser
from reconciler.settings import read_settings

NAMESPACE = {"kind": "Namespace", "apiVersion": "v1", "metadata": {"name": "a"}}
POD = {"kind": "Pod", "apiVersion": "v1", "metadata": {"name": "p", "namespace": "a"}}
SECRET = {"kind": "Secret", "apiVersion": "v1", "metadata": {"name": "s", "namespace": "a"}, "data": {"k": "c2VjcmV0"}}
OBJECTS = [NAMESPACE, POD, SECRET]
LIST = {"kind": "List", "apiVersion": "v1", "metadata": {"resourceVersion": ""}, "items": OBJECTS}
EMPTY_LIST = {**LIST, "items": []}

PLAIN = """\
# A manifest as people write it.
kind: Pod
apiVersion: v1
metadata:
  name: p
  namespace: a
  creationTimestamp: 2024-01-02T03:04:05Z
  annotations: {released: 2024-01-02, at: 2024-01-02 03:04:05}
"""


@pytest.fixture
def read(tmp_path):
    """Write each content into a file, and read the files together."""

    def read_contents(*contents):
        paths = []
        for number, content in enumerate(contents):
            paths.append(str(tmp_path / f"{number}.json"))
            text = content if isinstance(content, str | bytes) else json.dumps(content)
            tmp_path.joinpath(f"{number}.json").write_bytes(text if isinstance(text, bytes) else text.encode())
        return read_recordings(paths)

    return read_contents


@pytest.fixture
def refuse(read, tmp_path):
    """Read contents that must be refused, and give the refusal without the folder's name."""

    def read_refused(*contents):
        with pytest.raises(RecordingError) as caught:
            read(*contents)
        return str(caught.value).replace(f"{tmp_path}/", "")

    return read_refused


def names(listing):
    kinds = (listing.namespaces, listing.pods, listing.secrets)
    return [[f"{item.metadata.namespace}/{item.metadata.name}" for item in kind] for kind in kinds]


def in_list(*objects, kind="List"):
    return {"kind": kind, "apiVersion": "v1", "items": list(objects)}


ALL = [["None/a"], ["a/p"], ["a/s"]]


@pytest.mark.parametrize(
    "contents",
    [
        [json.dumps(LIST)],
        [json.dumps(LIST, indent=4)],
        ["\n\n" + json.dumps(LIST) + "\n"],
        [b"\xef\xbb\xbf" + json.dumps(LIST).encode()],
        [yaml.safe_dump(LIST)],
        [yaml.safe_dump(LIST, default_flow_style=True)],
        [yaml.safe_dump_all(OBJECTS)],
        [yaml.safe_dump_all(OBJECTS, explicit_start=True, explicit_end=True)],
        ["---\n---\n" + "\n---\n".join(map(json.dumps, OBJECTS)) + "\n---\n"],
        ["\n---\n".join(map(json.dumps, OBJECTS))],
        [json.dumps(each) for each in OBJECTS],
        [yaml.safe_dump(in_list(NAMESPACE)) + "---\n" + yaml.safe_dump(POD), in_list(SECRET)],
    ],
    ids=[
        "JSON",
        "indented JSON",
        "JSON with blank lines around",
        "JSON with a byte order mark",
        "YAML",
        "YAML that begins like JSON",
        "YAML documents",
        "YAML documents with marks",
        "YAML with empty documents",
        "YAML documents that are JSON",
        "a file for each object",
        "Lists and manifests",
    ],
)
def test_one_cluster_in_many_forms(read, contents):
    """The same objects are read from JSON or YAML, from Lists or alone, from one file or from several."""
    assert names(read(*contents)) == ALL
    assert read(*contents) == read(LIST)


def test_no_paths():
    """Without files the Listing is empty."""
    assert read_recordings([]) == Listing()


def test_an_empty_list(read):
    """A List without items is an empty Listing."""
    assert read(EMPTY_LIST) == Listing()


@pytest.mark.parametrize("item", [{"metadata": {"name": "p"}}, {"metadata": {"name": "p"}, "kind": "Pod"}])
def test_items_of_a_pod_list_name_no_kind(read, item):
    """The items of a PodList are Pods, although they name no kind."""
    assert names(read(in_list(item, kind="PodList"))) == [[], ["default/p"], []]


def test_other_kinds_are_passed_over(read):
    """Objects of other kinds, or of the same kind in another API, are ignored."""
    others = [
        {"kind": "Service", "apiVersion": "v1", "metadata": {"name": "x"}},
        {"kind": "Deployment", "apiVersion": "apps/v1", "metadata": "not even an object"},
        {"kind": "Pod", "apiVersion": "example.com/v1", "metadata": {"name": "x"}},
        {"kind": "ServiceList", "apiVersion": "v1", "items": [{"metadata": {"name": "x"}}]},
    ]
    assert names(read(in_list(*OBJECTS, *others[:3]), *others[::3], others[2])) == ALL


def test_dates_in_yaml_stay_text(read):
    """A YAML annotation that looks like a date stays text; a creationTimestamp is read as a time."""
    metadata = read(PLAIN).pods[0].metadata
    assert metadata.annotations == {"released": "2024-01-02", "at": "2024-01-02 03:04:05"}
    assert metadata.creation_timestamp.timestamp() == 1704164645


@pytest.mark.parametrize("value", ["1:30", "190:20:30.15", "-1:00"])
def test_no_base_60(read, refuse, value):
    """A value that looks like a number to the base 60 is text; one that is tagged as such a number is refused."""
    manifest = "kind: Pod\nmetadata:\n  name: p\n  annotations: {at: %s}\n"
    assert read(manifest % value).pods[0].metadata.annotations == {"at": value}
    tag = "!!float" if "." in value else "!!int"
    assert refuse(manifest % f"{tag} {value}").endswith("has a YAML tag that JSON cannot hold")


def test_default_namespace(read):
    """A Pod or a Secret that names no Namespace is in "default"; a Namespace is in none."""
    objects = [{**each, "metadata": {"name": "x"}} for each in OBJECTS]
    assert names(read(in_list(*objects))) == [["None/x"], ["default/x"], ["default/x"]]


def test_files_are_merged_in_order(read):
    """Objects keep the order in which they were read, across all files."""
    pods = [{**POD, "metadata": {"name": name, "namespace": "a"}} for name in "dbca"]
    assert names(read(in_list(*pods[:2]), in_list(*pods[2:])))[1] == ["a/d", "a/b", "a/c", "a/a"]


def test_one_name_in_two_places(read):
    """Objects in two Namespaces may have the same name, and so may objects of two kinds."""
    pods = [{**POD, "metadata": {"name": "x", "namespace": namespace}} for namespace in "ab"]
    secret = {**SECRET, "metadata": {"name": "x", "namespace": "a"}}
    assert names(read(in_list(*pods, secret))) == [[], ["a/x", "b/x"], ["a/x"]]


def test_the_same_object_twice(read):
    """An object that appears twice, with equal values in all fields that are read, is read once."""
    again = {**POD, "metadata": {**POD["metadata"], "uid": "1"}}
    assert read(LIST, LIST, again) == read(LIST)


@pytest.mark.parametrize(
    "second", [in_list({**POD, "status": {"phase": "Running"}}), {**POD, "spec": {"containers": []}}]
)
def test_two_differing_objects_of_one_name(refuse, second):
    """An object that appears twice with different values is refused, with the place of its second appearance."""
    place = "items[0] (Pod a/p)" if "items" in second else "Pod (Pod a/p)"
    assert refuse(LIST, second) == f"1.json: {place}: appears twice, and differently"


def test_default_is_a_namespace_like_others(refuse):
    """An object without a Namespace is the same object as that of its name in "default"."""
    pods = [{**POD, "metadata": {"name": "p", **metadata}} for metadata in ({}, {"namespace": "default", "labels": {}})]
    assert refuse(in_list(*pods)) == "0.json: items[1] (Pod default/p): appears twice, and differently"


def test_differing_secrets_show_no_value(refuse):
    """Two Secrets that differ are refused, and the message shows nothing of their values."""
    message = refuse(in_list(SECRET, {**SECRET, "data": {"k": "b3RoZXI="}}))
    assert message == "0.json: items[1] (Secret a/s): appears twice, and differently"


@pytest.mark.parametrize("content", ["", " \n\t", "---\n", "# nothing\n", "---\n---\n", "null"])
def test_an_empty_file(refuse, content):
    """A file without any object or List is refused, because a cluster without objects is a List without items."""
    assert refuse(content) == "0.json: is empty; a Listing without objects is a List without items"


def test_a_status(refuse):
    """A Status, the answer to a request that failed, is refused."""
    status = {"kind": "Status", "apiVersion": "v1", "status": "Failure", "code": 403}
    assert refuse(status) == "0.json: is a Status, the answer to a request that failed, and not a List"


@pytest.mark.parametrize(("lines", "place"), [(None, "line 1, column"), (4, "line ")])
@pytest.mark.parametrize("cut", [1, 10, 150])
def test_truncated_json(refuse, lines, place, cut):
    """JSON that was cut short is refused with line and column, wherever it was cut."""
    message = refuse(json.dumps(LIST, indent=lines)[:-cut])
    assert message.startswith(f"0.json: {place}")
    assert message.endswith(": is not JSON")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ('{\n "kind": "List",\n "items": [}\n', "line 3, column 12: is not JSON"),
        ("[1,\n", "line 2, column 1: is not JSON"),
        ('{"kind": "List"} {}', "line 1, column 18: is not JSON"),
        ("kind: List\nitems: [\n", "line 3, column 1: is not YAML"),
        ("kind: List\n\titems: []\n", "line 2, column 1: is not YAML"),
    ],
)
def test_a_syntax_error_names_its_place(refuse, content, message):
    """A file that is neither JSON nor YAML is refused with line and column of the fault, without a library's words."""
    assert refuse(content) == f"0.json: {message}"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b'{"kind": "\xff"}', "is not UTF-8 text"),
        (b"kind: \xff", "is not UTF-8 text"),
        ("&a {kind: List, items: [*a]}", "line 1, column 25: uses an alias that names nothing before it"),
        ("kind: List\nitems: [*b]", "line 2, column 9: uses an alias that names nothing before it"),
        ("kind: &k List\n*k : []", "line 2, column 1: uses an alias for a key"),
        ("kind: List\nitems: []\nkind: List", "line 3, column 1: has a key that appears before in the same object"),
        (
            "kind: List\nitems: [{a: {b: 1, c: 2, b: 1}}]",
            "line 2, column 26: has a key that appears before in the same object",
        ),
        ('{"kind": "List", "items": [{"a": 1, "a": 1}]}', "has the key 'a' twice in one object"),
        ("[" * 100_000, "has a number that is too long, or is nested too deeply"),
        ("kind: List\nitems: []\nx: !!bool maybe", "has YAML that JSON cannot hold"),
        ("kind: List\nitems: []\nx: !!timestamp x", "has YAML that JSON cannot hold"),
        ("kind: List\nitems: []\nx: !secret x", "line 3, column 4: has a YAML tag that JSON cannot hold"),
        ("x: " + "[" * 100_000, "is nested too deeply"),
        ("x:\n" + "- " * 100_000, "is nested too deeply"),
        ("hello", "is neither a v1 List nor an object: is a string; expected: an object"),
        ("[]", "is neither a v1 List nor an object: is an array; expected: an object"),
        ("{}", "is neither a v1 List nor an object: kind is missing"),
        ({"kind": 1}, "is neither a v1 List nor an object: kind is an integer; expected: a string"),
        ({"kind": "List"}, "List: has no items"),
        ({"kind": "PodList", "items": None}, "PodList: has no items"),
    ],
)
def test_no_recording(refuse, content, message):
    """A file that holds neither a List nor an object is refused; it does not count as a List without items."""
    assert refuse(content) == f"0.json: {message}"


SHARED = """
apiVersion: v1
kind: List
items:
- &first
  kind: Namespace
  metadata: &meta
    name: a
    labels: &labels {github.com/30x.dispatcher.routable: "true"}
    annotations: {github.com/30x.dispatcher.hosts: '{"a.dev": {}}'}
- kind: Namespace
  metadata:
    <<: *meta
    name: b
- *first
- kind: Pod
  metadata: {name: web, namespace: a, labels: *labels}
"""


def test_anchors_and_aliases(read):
    """Anchors, aliases and merge keys are read as kubectl reads them."""
    listing = read(SHARED)
    assert [item.metadata.name for item in listing.namespaces] == ["a", "b"]
    assert len({str(item.metadata.annotations) for item in listing.namespaces}) == 1
    assert listing.pods[0].metadata.labels == listing.namespaces[0].metadata.labels


@pytest.mark.parametrize(
    "lines",
    [
        ["a0: &a0 [x]", *(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 9))],
        ["a: &a " + "x" * 100_000, f"b: [{', '.join(['*a'] * 1000)}]"],
        ["a: &a {" + ", ".join(f"k{n}: 1" for n in range(9000)) + "}", *(f"b{n}: {{<<: *a}}" for n in range(200))],
    ],
    ids=["a billion laughs", "a long text", "merge keys"],
)  # fmt: skip
def test_aliases_that_explode(refuse, lines):
    """Aliases that would expand to gigabytes are refused before anything is made of them."""
    text = "\n".join(["kind: List", "items: []", *lines])
    assert refuse(text).endswith("has aliases that expand to more than 16 MiB")


def test_wrapped_base64(tmp_path):
    """A manifest's base64 may be wrapped over lines, as `base64` writes it; other characters make it unreadable."""
    encoded = "c2VjcmV0LW9mLWEtdGVuYW50"
    for text, key in (
        (f"{encoded[:8]}\n{encoded[8:]}\r\n", b"secret-of-a-tenant"),
        (f"{encoded[:8]} {encoded[8:]}", None),
    ):
        objects = [
            {"kind": "Namespace", "metadata": {"name": "a", "labels": {"github.com/30x.dispatcher.routable": "true"}}},
            {"kind": "Secret", "metadata": {"name": "routing", "namespace": "a"}, "data": {"api-key": text}},
        ]
        path = tmp_path / "list.json"
        path.write_text(json.dumps({"kind": "List", "apiVersion": "v1", "items": objects}))
        (namespace,) = Normaliser(read_settings({})).normalise(read_recordings([str(path)])).namespaces
        assert namespace.secret.data == (("api-key", key),)


@pytest.mark.parametrize("kind", ["List", "PodList"])
def test_a_page(refuse, kind):
    """One page of a longer list is refused: the objects that it lacks would seem to be deleted."""
    page = {**in_list(kind=kind), "metadata": {"continue": "abc", "remainingItemCount": 2}}
    assert refuse(page) == f"0.json: {kind}: is one page of several (metadata.continue is set)"


def test_no_items_of_an_old_api_server(read):
    """A List whose items are null is empty if it has a version, as a List of an API server always has."""
    empty = {"kind": "PodList", "apiVersion": "v1", "metadata": {"resourceVersion": "7"}, "items": None}
    assert read(LIST, empty) == read(LIST)


def test_the_last_page(read):
    """A list whose metadata.continue is empty is complete."""
    assert names(read({**LIST, "metadata": {"continue": ""}})) == ALL


@pytest.mark.parametrize(
    ("item", "message"),
    [
        (None, "items[1]: is null; expected: an object"),
        ("Pod", "items[1]: is a string; expected: an object"),
        ({}, "items[1]: names no kind"),
        ({"kind": "Pod"}, "items[1] (Pod): metadata is missing"),
        ({"kind": "Pod", "metadata": []}, "items[1] (Pod): metadata is an array; expected: an object"),
        ({**POD, "spec": 1}, "items[1] (Pod a/p): spec is an integer; expected: an object or null"),
        (
            {**POD, "spec": {"containers": [{"ports": [{"containerPort": "80"}]}]}},
            "items[1] (Pod a/p): spec.containers[0].ports[0].containerPort is a string; expected: an integer",
        ),
        (
            {**NAMESPACE, "metadata": {"name": "a", "labels": {"x": True}}},
            "items[1] (Namespace a): metadata.labels[...] is a boolean; expected: a string or null",
        ),
        (
            {**POD, "metadata": {"name": "p", "creationTimestamp": "yesterday"}},
            "items[1] (Pod p): metadata.creationTimestamp is not a time; expected: RFC 3339 with a time zone",
        ),
    ],
)
def test_a_wrong_type_names_its_object(refuse, item, message):
    """A value of the wrong type is refused with the place, kind and name of its object and the path within it."""
    assert refuse(in_list(NAMESPACE, item)) == f"0.json: {message}"


def test_a_wrong_name_is_shown_safely(refuse):
    """The name that a refusal shows is short ASCII on one line."""
    message = refuse({**POD, "metadata": {"name": "é\n\x1b[31m" + "x" * 100}})
    assert message.startswith("0.json: Pod (Pod \\xe9\\n\\x1b[31m" + "x" * 45)
    assert "x" * 60 not in message
    assert message.isprintable()


@pytest.mark.parametrize(
    "secret",
    [
        {**SECRET, "data": {"k": ["c2VjcmV0"]}},
        {**SECRET, "data": "c2VjcmV0"},
        {**SECRET, "stringData": {"k": {"c2VjcmV0": "c2VjcmV0"}}},
        {**SECRET, "metadata": {"name": "s", "labels": 1}},
    ],
)
def test_a_wrong_secret_shows_no_value(refuse, secret):
    """A Secret with a value of the wrong type is refused, and the message shows nothing of its values."""
    message = refuse(in_list(secret))
    assert "(Secret " in message
    assert "c2VjcmV0" not in message


def test_a_missing_file(tmp_path):
    """A file that does not exist is refused, with its name."""
    with pytest.raises(RecordingError) as caught:
        read_recordings([f"{tmp_path}/absent.json"])
    assert str(caught.value) == f"{tmp_path}/absent.json: cannot be read: No such file or directory"


def test_a_folder_is_no_file(tmp_path):
    """A folder in place of a file is refused."""
    with pytest.raises(RecordingError, match="cannot be read: Is a directory"):
        read_recordings([str(tmp_path)])


def test_find_recordings_in_a_folder(tmp_path):
    """A folder stands for its JSON and YAML files, sorted by name; the rest of the folder is ignored."""
    for name in ("010.yml", "002.yaml", "001.json", "readme.txt", ".json", "json", "003.JSON"):
        tmp_path.joinpath(name).write_text("")
    tmp_path.joinpath("folder.json").mkdir()
    assert find_recordings([str(tmp_path)]) == [f"{tmp_path}/{name}" for name in ("001.json", "002.yaml", "010.yml")]


def test_find_recordings_keeps_files(tmp_path):
    """Files stand for themselves, in the order in which they are named, whatever their ending, and even if absent."""
    tmp_path.joinpath("b.json").write_text("")
    assert find_recordings(["-", "z.txt", str(tmp_path), "a"]) == ["-", "z.txt", f"{tmp_path}/b.json", "a"]


def test_find_recordings_in_an_empty_folder(tmp_path):
    """A folder without recordings is refused."""
    tmp_path.joinpath("readme.txt").write_text("")
    with pytest.raises(RecordingError) as caught:
        find_recordings([str(tmp_path)])
    assert str(caught.value) == f"{tmp_path}: has no file that ends with .json, .yaml, .yml"


@pytest.mark.parametrize("content", [json.dumps(LIST), yaml.safe_dump(LIST)])
def test_standard_input(content):
    """A minus sign stands for standard input, which is read like a file."""
    code = "from reconciler.disk.recordings import read_recordings; print(len(read_recordings(['-']).pods))"
    command = [sys.executable, "-c", code]
    assert subprocess.run(command, input=content.encode(), stdout=subprocess.PIPE, check=True).stdout == b"1\n"


def test_a_pipe_is_a_file():
    """A recording may come through a pipe."""
    reading, writing = os.pipe()
    os.write(writing, json.dumps(LIST).encode())
    os.close(writing)
    assert names(read_recordings([f"/dev/fd/{reading}"])) == ALL
    os.close(reading)
