"""Pages in protobuf: they give the same objects as pages in JSON, and nothing that is cut off or malformed passes."""

import json
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support import objects, protobuf
from support.objects import FIXTURES, Object

from reconciler.cluster.pages import Page, PageError, Pages
from reconciler.cluster.protobuf_messages import FIELDS
from reconciler.cluster.protobuf_pages import ProtobufPages, read_message
from reconciler.objects.listing import Namespace, Pod, Secret

KINDS = {"Namespace": Namespace, "Pod": Pod, "Secret": Secret}
METADATA = {"resourceVersion": "7"}


def make(number: int) -> Object:
    return objects.pod("a", f"web-{number}", f"10.0.0.{number}", [{"basePath": "/"}])


def write(kind: str, items: list[Object]) -> bytes:
    return b"".join(protobuf.write_list(kind, METADATA, [json.dumps(item).encode() for item in items]))


def read(body: bytes, size: int = 1 << 20, kind: str = "Pod") -> Page[Any]:
    pieces = (body[place : place + size] for place in range(0, len(body), size))
    return ProtobufPages(KINDS[kind]).read(pieces, {})


def list_recorded() -> Iterator[Object]:
    for path in sorted(FIXTURES.glob("*/*.json")):
        yield from json.loads(path.read_text()).get("items", [])


def test_numbers() -> None:
    """Each field has the number that Kubernetes gives it, and a field that is read is never another one."""
    ours = {"TypeMeta", "Time", "IntOrString"}
    for name, fields in FIELDS.items():
        if name not in ours:
            assert {field: number for field, (number, _) in fields.items()} == {
                field: protobuf.NUMBERS[name][field][0] for field in fields
            }


@pytest.mark.parametrize("kind", KINDS)
def test_same_objects_as_in_json(kind: str) -> None:
    """Each recorded object is the same in protobuf as in JSON, but for texts that are empty: they count as absent."""
    items = [strip(item) for item in list_recorded() if item["kind"] == kind]
    assert len(items) >= 10
    told = {"kind": f"{kind}List", "apiVersion": "v1", "metadata": METADATA, "items": items}
    in_json = Pages(KINDS[kind]).read([json.dumps(told).encode()], {})
    in_protobuf = read(write(kind, items), kind=kind)
    assert (in_protobuf.complaints, in_protobuf.metadata) == ([], in_json.metadata)
    assert in_protobuf.items == in_json.items


def strip(value: Any) -> Any:
    """Drop what an API server does not keep: nulls, empty parts, and what is only written."""
    if isinstance(value, dict):
        stripped = {key: strip(part) for key, part in value.items() if key != "stringData"}
        return {key: part for key, part in stripped.items() if part not in (None, "", {}, [])}
    return [strip(part) for part in value] if isinstance(value, list) else value


@pytest.mark.parametrize("size", [1, 7, 1000])
def test_pieces(size: int) -> None:
    """All items of a List are read, wherever it is cut on its way."""
    page = read(write("Pod", [make(number) for number in range(5)]), size)
    assert [pod.metadata.name for pod in page.items] == [f"web-{number}" for number in range(5)]


def test_known_items_are_not_decoded() -> None:
    """An item with the same bytes is the same object; one with other bytes that reads the same is so too."""
    pages = ProtobufPages(Pod)
    before = pages.read([write("Pod", [make(1), make(2), make(3)])], {})
    pages.end()
    touched, changed = make(2), make(3)
    touched["metadata"]["generation"] = 5
    changed["status"]["podIP"] = "10.0.0.9"
    known = {("a", pod.metadata.name): pod for pod in before.items}
    pages.begin()
    after = pages.read([write("Pod", [make(1), touched, changed])], known)
    assert [new is old for new, old in zip(after.items, before.items, strict=True)] == [True, True, False]
    assert pages.decoded == 3 + 2


def test_a_cut_list_is_none() -> None:
    """A List that breaks off anywhere is an error."""
    body = write("Pod", [make(1), make(2)])
    end = len(body) - len(protobuf.write_tail())  # behind the List itself there are two empty fields
    for length in range(end):
        with pytest.raises(PageError):
            read(body[:length])
    assert len(read(body[:end]).items) == 2


def test_single_items_are_left_out() -> None:
    """An item that cannot be read is left out alone; the complaint gives its index in the whole List."""
    items = [make(number) for number in range(4)]
    items[1]["metadata"]["name"] = "No Name"
    del items[2]["metadata"]["name"]
    page = read(write("Pod", items))
    assert [pod.metadata.name for pod in page.items] == ["web-0", "web-3"]
    assert page.complaints[0].startswith("items[1] is left out: metadata.name is not allowed; expected: lower-case")
    assert page.complaints[1] == "items[2] is left out: metadata.name is missing"


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        (b"\xff", "is not a Pod in protobuf"),
        (
            protobuf.write_field(1, protobuf.write_field(1, b"\xff\xfe")),
            "metadata.name is bytes; expected: a string",
        ),
    ],
)
def test_malformed_item(content: bytes, complaint: str) -> None:
    """An item that is no protobuf, or has text that is not UTF-8, is left out alone."""
    good = protobuf.write_item("Pod", json.dumps(make(1)).encode())
    told = protobuf.write_field(1, protobuf.write_message("ListMeta", METADATA))
    page = read(protobuf.write_envelope("PodList", told + protobuf.write_field(2, content) + good))
    assert [pod.metadata.name for pod in page.items] == ["web-1"]
    assert page.complaints == [f"items[0] is left out: {complaint}"]


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"", "the answer is cut off"),
        (b'{"kind":"PodList"}', "the answer is not a PodList in protobuf"),
        (protobuf.write_status({"message": "no"}), "the answer is 'Status', not PodList"),
        (write("Secret", []), "the answer is 'SecretList', not PodList"),
        (protobuf.write_envelope("PodList", b""), "the answer is not a PodList: it has no resourceVersion"),
        (
            b"".join(protobuf.write_list("Pod", {"resourceVersion": "", "continue": ""}, [])),
            "the answer is not a PodList: it has no resourceVersion",
        ),
        (b"k8s\0" + b"\xff" * 20, "the answer is cut off"),
        (b"k8s\0" + protobuf.write_field(3, b"gzip"), "the answer has an encoding inside protobuf that is not known"),
        (b"k8s\0" + b"\x12\xff\xff\xff\xff\x7f", "the answer is cut off"),
    ],
)
def test_something_else(body: bytes, message: str) -> None:
    """An answer that is not such a List is an error of one line."""
    with pytest.raises(PageError) as caught:
        read(body)
    assert str(caught.value) == message


def test_message_of_a_status() -> None:
    """The message of a Status is read; one without a message gives none."""
    assert read_message(protobuf.write_status({"message": "pods is forbidden", "code": 403})) == "pods is forbidden"
    assert read_message(protobuf.write_status({})) == ""


@given(st.binary(max_size=200), st.integers(0, 400), st.sampled_from(sorted(KINDS)))
def test_any_bytes(noise: bytes, place: int, kind: str) -> None:
    """Whatever bytes are put into a List, it is a page or a PageError."""
    body = write(kind, [make(1), make(2)] if kind == "Pod" else [])
    place = min(place, len(body))
    for broken in (b"k8s\0" + noise, body[:place] + noise + body[place:], body[:place] + noise):
        try:
            page = read(broken, kind=kind)
        except PageError as error:
            assert "\n" not in str(error)
        else:
            assert all("\n" not in line for line in page.complaints)
