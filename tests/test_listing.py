"""Objects as Kubernetes lists them: which fields are read, and which objects are selected."""

import msgspec
import pytest

from reconciler.objects.listing import KINDS, Listing, Metadata, Namespace, Pod, PodSpec, PodStatus, Secret, select
from reconciler.values.selector import parse_selector

LABELLED = {"routable": "true"}
LISTING = Listing(
    (Namespace(Metadata("yes", labels=LABELLED)), Namespace(Metadata("no", labels={})), Namespace(Metadata("none"))),
    (
        Pod(Metadata("b", "yes", labels={**LABELLED, "app": "b"})),
        Pod(Metadata("a", "no", labels=LABELLED)),
        Pod(Metadata("c", "yes")),
    ),
    (Secret(Metadata("routing", "yes")), Secret(Metadata("other", "yes")), Secret(Metadata("routing", "no"))),
)


def names(objects):
    return [f"{item.metadata.namespace or ''}/{item.metadata.name}" for item in objects]


def test_select_by_label():
    """Namespaces and Pods are kept by their own labels, in the order in which they were read."""
    selected = select(LISTING, parse_selector("routable=true"), "routing")
    assert names(selected.namespaces) == ["/yes"]
    assert names(selected.pods) == ["yes/b", "no/a"]


@pytest.mark.parametrize(
    ("name", "kept"), [("routing", ["yes/routing", "no/routing"]), ("other", ["yes/other"]), ("x", [])]
)
def test_select_secrets_by_name(name, kept):
    """Secrets are kept by their name alone, whatever their labels are."""
    assert names(select(LISTING, parse_selector("routable=true"), name).secrets) == kept


def test_select_what_has_no_labels():
    """An object without labels matches a selector that requires a label to be absent."""
    selected = select(LISTING, parse_selector("!routable"), "routing")
    assert names(selected.namespaces) == ["/no", "/none"]
    assert names(selected.pods) == ["yes/c"]


def test_select_from_nothing():
    """Nothing is selected from an empty Listing."""
    assert select(Listing(), parse_selector("a"), "routing") == Listing()


def test_a_secret_shows_no_value():
    """A Secret's repr shows only its Namespace and name, also within a Listing."""
    secret = Secret(Metadata("routing", "a"), {"api-key": "c2VjcmV0"}, {"plain": "secret"})
    assert repr(secret) == "Secret(a/routing)"
    assert "ecret(a/routing)" in repr(Listing(secrets=(secret,)))
    assert "c2VjcmV0" not in repr(Listing(secrets=(secret,)))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", ["", "A", "a_b", "a/b", "../a", "a\n", "a b", "-a", "a" * 254])
def test_no_object_has_an_illegal_name(kind, name):
    """A name that Kubernetes would refuse is refused, even if only a trailing line break is wrong."""
    with pytest.raises(msgspec.ValidationError, match=r"metadata\.name"):
        msgspec.convert({"metadata": {"name": name}}, KINDS[kind])


@pytest.mark.parametrize("namespace", ["", "A", "a.b", "a\n", "a" * 64])
def test_no_object_is_in_an_illegal_namespace(namespace):
    """A Namespace's name is a single DNS label."""
    with pytest.raises(msgspec.ValidationError, match=r"metadata\.namespace"):
        msgspec.convert({"metadata": {"name": "a", "namespace": namespace}}, Pod)


@pytest.mark.parametrize("name", ["a", "a.b-c.d", "0", "a" * 253, ".".join(["a" * 63] * 3)])
def test_legal_names(name):
    """A Pod's name is a DNS name in lower case."""
    assert msgspec.convert({"metadata": {"name": name}}, Pod).metadata.name == name


def test_what_does_not_matter_is_dropped():
    """Fields that routing never reads are dropped."""
    extra = {"managedFields": [{"manager": "kubectl"}], "selfLink": "1"}
    pod = {"metadata": {"name": "a", **extra}, "spec": {"nodeName": "n"}, "status": {"hostIP": "10.0.0.1"}}
    assert msgspec.convert(pod, Pod) == Pod(Metadata("a"), PodSpec(), PodStatus())


def test_names_are_kubernetes_own():
    """Fields are read by the names that Kubernetes gives them."""
    pod = msgspec.convert(
        {
            "metadata": {"name": "a", "creationTimestamp": "2024-01-02T03:04:05Z"},
            "spec": {
                "containers": [{"ports": [{"containerPort": 80}], "readinessProbe": {"httpGet": {"port": "web"}}}]
            },
            "status": {"podIP": "10.0.0.1"},
        },
        Pod,
    )
    container = pod.spec.containers[0]
    assert pod.metadata.creation_timestamp.timestamp() == 1704164645
    assert (container.ports[0].container_port, container.readiness_probe.http_get.port) == (80, "web")
    assert pod.status.pod_ip == "10.0.0.1"


def test_watched_namespaces_of_a_recording():
    """WATCH_NAMESPACES selects from a recording what it selects from a cluster."""
    labels = {"a": "b"}
    listing = Listing(
        tuple(Namespace(Metadata(name, labels=labels)) for name in ("one", "two")),
        tuple(Pod(Metadata("web", name, labels=labels)) for name in ("one", "two")),
        tuple(Secret(Metadata("routing", name)) for name in ("one", "two")),
    )
    kept = select(listing, parse_selector("a=b"), "routing", frozenset({"two"}))
    assert [item.metadata.name for item in kept.namespaces] == ["two"]
    assert {item.metadata.namespace for item in (*kept.pods, *kept.secrets)} == {"two"}
    assert select(listing, parse_selector("a=b"), "routing") == listing
