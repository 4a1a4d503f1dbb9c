"""Changes between Snapshots, and how they are described."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconciler.objects.diff import Change, diff, explain
from reconciler.objects.snapshot import Namespace, Pod, Port, Probe, Resource, Secret, Snapshot

PROBE = Probe("/ready", 80, period=10, timeout=1, rise=1, fall=3)


def make_pod(name="p", namespace="a", **fields):
    defaults = {
        "created": 1.0,
        "ip": "10.0.0.1",
        "paths": "[]",
        "ports": (Port(80, "web", None),),
        "app": "",
        "revision": "",
    }
    return Pod(namespace, name, **{**defaults, **fields})


def make_secret(namespace="a", **data):
    return Secret(namespace, "routing", tuple(sorted(data.items())))


def make_namespace(name="a", **fields):
    defaults = {"created": 1.0, "hosts": "{}", "organization": "", "environment": "", "secret": None, "pods": ()}
    return Namespace(name, **{**defaults, **fields})


def make_snapshot(*namespaces):
    return Snapshot(namespaces, (), b"")


def explain_all(old, new):
    return [explain(change) for change in diff(old, new)]


FULL = make_namespace(secret=make_secret(key=b"1"), pods=(make_pod("p"), make_pod("q")))


def test_equal_snapshots():
    """Equal Snapshots have no changes."""
    again = make_namespace(secret=make_secret(key=b"1"), pods=(make_pod("p"), make_pod("q")))
    assert diff(make_snapshot(FULL), make_snapshot(again)) == ()


@pytest.mark.parametrize("old", [None, make_snapshot()])
def test_everything_comes(old):
    """Compared with no Snapshot or an empty one, each object came; changes are sorted by kind and name."""
    assert explain_all(old, make_snapshot(FULL)) == [
        "Namespace a came",
        "Pod a/p came",
        "Pod a/q came",
        "Secret a/routing came",
    ]


def test_everything_goes():
    """If a Namespace goes, all of its objects go."""
    assert explain_all(make_snapshot(FULL), make_snapshot()) == [
        "Namespace a went",
        "Pod a/p went",
        "Pod a/q went",
        "Secret a/routing went",
    ]


def test_a_change_holds_old_and_new():
    """A change holds the old and the new object."""
    old, new = make_pod(), make_pod(ip="10.0.0.2")
    changes = diff(make_snapshot(make_namespace(pods=(old,))), make_snapshot(make_namespace(pods=(new,))))
    assert changes == (Change(Resource("Pod", "a", "p"), old, new),)


def test_a_namespace_stands_without_its_objects():
    """The Namespace in a change holds neither its Pods nor its Secret."""
    change = diff(None, make_snapshot(FULL))[0]
    assert change == Change(Resource("Namespace", "", "a"), None, make_namespace())


def test_only_what_differs_is_a_change():
    """If one Pod of a Namespace changed, only that Pod is a change."""
    changed = make_namespace(secret=make_secret(key=b"1"), pods=(make_pod("p"), make_pod("q", ip="10.0.0.2")))
    assert [change.resource.name for change in diff(make_snapshot(FULL), make_snapshot(changed))] == ["q"]


def test_one_comes_as_another_goes():
    """If a Pod replaces another one, the old Pod went and the new Pod came."""
    old, new = (make_snapshot(make_namespace(pods=(make_pod(name),))) for name in "pq")
    assert explain_all(old, new) == ["Pod a/p went", "Pod a/q came"]


def test_changes_are_sorted():
    """Changes are sorted by Namespace, then by kind and name."""
    old = make_snapshot(make_namespace("a"), make_namespace("b"))
    new = make_snapshot(*(make_namespace(name, hosts=None, pods=(make_pod(namespace=name),)) for name in "abc"))
    assert [str(change.resource) for change in diff(old, new)] == [
        "Namespace a",
        "Pod a/p",
        "Namespace b",
        "Pod b/p",
        "Namespace c",
        "Pod c/p",
    ]


@pytest.mark.parametrize(
    ("fields", "told"),
    [
        ({"ip": "10.0.0.2"}, "ip"),
        ({"created": 2.0}, "created"),
        ({"paths": "[{}]"}, "paths"),
        ({"ports": ()}, "ports"),
        ({"ports": (Port(81, "web", None),)}, "ports"),
        ({"ports": (Port(80, None, None),)}, "ports"),
        ({"ports": (Port(80, "web", PROBE),)}, "ports"),
        ({"app": "x", "revision": "2"}, "app, revision"),
        ({"revision": "2", "ip": "::1", "paths": ""}, "ip, paths, revision"),
    ],
)
def test_explain_a_pod(fields, told):
    """For a changed Pod, the changed parts are named, sorted and without their values."""
    change = Change(Resource("Pod", "a", "p"), make_pod(), make_pod(**fields))
    assert explain(change) == f"Pod a/p: {told} changed"


def test_explain_a_change_deep_within():
    """A change in a probe is a change of the Pod's ports."""
    other = Probe("/ready", 80, period=11, timeout=1, rise=1, fall=3)
    old, new = (make_pod(ports=(Port(80, None, probe),)) for probe in (PROBE, other))
    assert explain(Change(old.resource, old, new)) == "Pod a/p: ports changed"


@pytest.mark.parametrize(
    ("fields", "told"),
    [
        ({"hosts": None}, "hosts"),
        ({"hosts": '{"a.example": {}}'}, "hosts"),
        ({"organization": "o", "environment": "e", "created": 2.0}, "created, environment, organization"),
    ],
)
def test_explain_a_namespace(fields, told):
    """For a changed Namespace, the changed parts are named."""
    assert explain_all(make_snapshot(make_namespace()), make_snapshot(make_namespace(**fields))) == [
        f"Namespace a: {told} changed"
    ]


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ({"key": b"1"}, {"key": b"2"}, "key"),
        ({"key": b"1"}, {"key": None}, "key"),
        ({"key": b"1"}, {}, "key"),
        ({}, {"key": None}, "key"),
        ({"key": b"\xfe"}, {"key": b"\xff"}, "key"),
        ({"a": b"1", "b": b"2"}, {"a": b"2", "b": b"1"}, "a, b"),
        ({"a": b"1", "b": b"2"}, {"a": b"1", "b": b"2", "c": b"3"}, "c"),
    ],
)
def test_explain_a_secret(old, new, told):
    """For a changed Secret, the fields that came, went or changed are named."""
    old, new = make_secret(**old), make_secret(**new)
    assert explain(Change(old.resource, old, new)) == f"Secret a/routing: {told} changed"


VALUES = st.binary(min_size=4).map(lambda data: b"hidden" + data.hex().encode())


@given(VALUES, VALUES)
def test_no_value_of_a_secret_shows(old, new):
    """Neither a change nor its description shows a Secret's value."""
    snapshots = [make_snapshot(make_namespace(secret=make_secret(key=value))) for value in (old, new)]
    for changes in (diff(None, snapshots[0]), diff(*snapshots), diff(snapshots[0], make_snapshot())):
        shown = f"{changes!r} {[explain(change) for change in changes]}"
        assert "hidden" not in shown
        assert old.hex() not in shown
