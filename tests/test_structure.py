"""What of the routes stays while only the Pods behind known paths change."""

import itertools

import pytest
from support import objects
from support.stages import build_table, normalise

from reconciler.rendering.structure import find_dynamic, has_same_structure
from reconciler.routing.keys.catalogue import PATH_KEYS, list_upstream_keys
from reconciler.routing.keys.share import Shares
from reconciler.routing.model import Routes
from reconciler.routing.own_upstreams import find_own_upstreams
from reconciler.settings import read_settings

NOW = 1_797_600_000.0
SETTINGS = read_settings({"DENY_POD_CIDRS": "none"})


def build(cluster: list[objects.Object]) -> Routes:
    return build_table(normalise(objects.listing(cluster), SETTINGS), SETTINGS, NOW).routes


def test_pods_are_no_structure() -> None:
    """Other Pods of a known path leave the structure as it is, also if none of them is ready."""
    host, pod, other = objects.namespace("a", {"a.test": {}}), objects.web("a", 3000), objects.web("a", 3000, 3)
    one, both, none = build([host, pod]), build([host, pod, other]), build([host, objects.unready(pod)])
    assert [len(routes.upstreams[0].servers) for routes in (one, both, none)] == [1, 2, 0]
    assert all(has_same_structure(*pair) for pair in itertools.permutations((one, both, none), 2))
    gone = build([host])
    assert not has_same_structure(one, gone)
    assert not has_same_structure(gone, none)


def test_kept_paths_are_no_structure() -> None:
    """The first Pod of a path that is kept, and its last one, leave the structure as it is, but not with an option."""
    host, other = objects.namespace("a", {"a.test": {"keepPaths": ["/b"]}}), objects.web("a", 3000, 2, "/c")
    without, first = build([host, other]), build([host, other, objects.web("a", 3000, 3, "/b")])
    assert [one.path for one in without.upstreams] == [one.path for one in first.upstreams] == ["/b", "/c"]
    assert has_same_structure(without, first)
    assert has_same_structure(first, without)
    slow = objects.web("a", 3000, 3, "/b", timeouts={"read": "7s"})
    assert not has_same_structure(without, build([host, other, slow]))


@pytest.mark.parametrize(
    "options",
    [
        {"loadBalancing": "least_conn"},
        {"sessionPersistence": {"type": "Cookie"}},
        {"protocol": "grpc"},
        {"tls": {"insecureSkipVerify": True}},
    ],
    ids=str,
)
def test_static_options(options: dict[str, object]) -> None:
    """What only nginx's own upstream can do keeps one, and its Pods are part of the structure."""
    host, pod = objects.namespace("a", {"a.test": {}}), objects.web("a", 3000, **options)
    routes = build([host, pod])
    assert routes.upstreams[0].servers
    assert find_own_upstreams(routes) == {routes.upstreams[0].name: next(iter(options))}
    assert not has_same_structure(routes, build([host, pod, objects.web("a", 3000, 3, **options)]))
    assert not has_same_structure(routes, build([host, objects.unready(pod)]))


def test_shares_at_random_are_static() -> None:
    """Shares that nginx draws at random need its upstream, and those of one revision do not."""
    key = PATH_KEYS["share"]
    assert key.needs_upstream(Shares(("a 50 %", "b 50 %"), at_random=True))
    assert not key.needs_upstream(Shares(("a 100 %",), at_random=False))
    assert not list_upstream_keys(())


def test_authorisers_are_static() -> None:
    """An authoriser's Pods keep an upstream of their own: a subrequest shares `$pods` with its request."""
    asks = {"access": {"externalAuth": {"path": "/auth"}}}
    cluster = [
        objects.namespace("a", {"a.test": {}}),
        objects.web("a", 3000, 2, "/auth"),
        objects.web("a", 3000, 3, "/", **asks),
    ]
    routes = build(cluster)
    dynamic = {one.path for one in routes.upstreams if one.name in find_dynamic(routes)}
    assert dynamic == {"/"}
