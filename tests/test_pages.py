"""Pages: a List reads the same in any pieces, and no text of a tenant is taken for the List's structure."""

import json

import pytest
from support import objects
from support.objects import Object

from reconciler.cluster.pages import Page, PageError, Pages
from reconciler.objects.listing import Pod

TRICK = '},{"metadata":{"name":"other"}},{"metadata":{'
LIST = {"kind": "PodList", "apiVersion": "v1", "metadata": {"resourceVersion": "7"}}


def make(number: int) -> Object:
    pod = objects.pod("a", f"web-{number}", f"10.0.0.{number}", TRICK)
    del pod["kind"], pod["apiVersion"]
    return {"metadata": pod.pop("metadata"), **pod}


def write(listed: list[Object], **changed: object) -> bytes:
    return json.dumps({**LIST, "items": listed} | changed, separators=(",", ":")).encode()


def read(text: bytes, size: int = 1 << 20) -> Page[Pod]:
    return Pages(Pod).read((text[place : place + size] for place in range(0, len(text), size)), {})


@pytest.mark.parametrize("size", [1, 7, 100, 5000, 1 << 20])
def test_pieces(size: int) -> None:
    """All items of a List are read, wherever it is cut on its way; text that looks like structure stays text."""
    page = read(write([make(number) for number in range(5)]), size)
    assert [pod.metadata.name for pod in page.items] == [f"web-{number}" for number in range(5)]
    assert {(pod.metadata.annotations or {})[objects.PATHS] for pod in page.items} == {TRICK}
    assert page.metadata.resource_version == "7"
    assert page.complaints == []


@pytest.mark.parametrize("indent", [None, 1])
def test_written_otherwise(indent: int | None) -> None:
    """A List is read too if it is written with blanks and its own fields come after its items."""
    text = json.dumps({"items": [make(1), make(2)]} | LIST, indent=indent).encode()
    assert [pod.metadata.name for pod in read(text, 1000).items] == ["web-1", "web-2"]


def test_no_items_of_an_old_api_server() -> None:
    """An old API server writes null for no items; a null in an object counts as absent."""
    empty = read(write([], items=None))
    assert (empty.items, empty.complaints, empty.metadata.resource_version) == ([], [], "7")
    (one,) = read(write([make(1) | {"spec": None, "status": None}])).items
    assert (one.spec, one.status) == (None, None)


@pytest.mark.parametrize("size", [1000, 1 << 20])
def test_single_items_are_left_out(size: int) -> None:
    """An item that cannot be read is left out alone; the complaint gives its index in the whole List."""
    items = [make(number) for number in range(6)]
    for place in (1, 4):
        items[place]["metadata"]["name"] = place
    page = read(write(items), size)
    assert [pod.metadata.name for pod in page.items] == ["web-0", "web-2", "web-3", "web-5"]
    wrong = "is left out: metadata.name is an integer; expected: a string"
    assert page.complaints == [f"items[1] {wrong}", f"items[4] {wrong}"]


def test_known_items_are_kept() -> None:
    """An item that equals a known object is that same object; a changed item is a new object."""
    before = read(write([make(1), make(2)]))
    known = {("a", pod.metadata.name): pod for pod in before.items}
    changed = make(2)
    changed["status"]["podIP"] = "10.0.0.9"
    after = Pages(Pod).read([write([make(1), changed])], known)
    assert after.items[0] is before.items[0]
    assert after.items[1].status.pod_ip == "10.0.0.9"


@pytest.mark.parametrize("size", [1000, 1 << 20])
def test_a_cut_list_is_none(size: int) -> None:
    """A List that breaks off is an error, even if it breaks off between two items."""
    text = write([make(1), make(2), make(3)])
    for end in (0, 1, len(text) // 2, text.rindex(b',{"metadata":{'), len(text) - 2, len(text) - 1):
        with pytest.raises(PageError, match="is not JSON"):
            read(text[:end], size)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"kind": "Status"}, "the answer is 'Status', not PodList"),
        ({"kind": None}, "the answer is 'None', not PodList"),
        ({"apiVersion": "v2"}, "the answer is 'PodList', not PodList"),
        ({"metadata": None}, "the answer is not a PodList: it has no resourceVersion"),
        ({"metadata": {}}, "the answer is not a PodList: it has no resourceVersion"),
        ({"items": {}}, "the answer is not a PodList: items is an object; expected: an array or null"),
    ],
)
def test_something_else(changed: Object, message: str) -> None:
    """An answer that is not such a List is an error, with or without items."""
    for items in ([], [make(1), make(2)]):
        with pytest.raises(PageError) as caught:
            read(write(items, **changed), 1000)
        assert str(caught.value) == message
