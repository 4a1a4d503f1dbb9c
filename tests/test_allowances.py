"""What all Namespaces together may use: the division is fair, and a tree of any number of Namespaces loads in time."""

import itertools
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.objects import Object, listing, namespace, pod
from support.stages import build_table, normalise, render
from support.tree import parts_of

from reconciler.disk.trees import write_files
from reconciler.nginx import program
from reconciler.nginx.program import check_tree
from reconciler.routing.allowances import divide, read_room
from reconciler.routing.model import Routes, RoutingTable
from reconciler.settings import Settings, read_settings

NOW = 1_797_600_000.0
DECLARED: list[Object] = [{"containerPort": 3000}]
OLD, YOUNG = "2026-11-22T18:06:04Z", "2026-11-23T18:06:04Z"
HOW = replace(read_settings({"PORT": "18080"}), max_all_locations=60, max_locations=40)


def tenant(name: str, hosts: int, paths: int, created: str = OLD, **options: Any) -> list[Object]:
    """Make a Namespace with this number of hosts and paths, all of one Pod."""
    entries = [{"basePath": f"/p{place:04}", "containerPort": 3000, **options} for place in range(paths)]
    named = {f"h{place:04}.{name}.dev": {} for place in range(hosts)}
    return [namespace(name, named, created), pod(name, "web", "10.0.0.1", entries, DECLARED)]


def build(made: list[Object], how: Settings = HOW) -> RoutingTable:
    return build_table(normalise(listing(made), how), how, NOW)


def count(routes: Routes, name: str = "") -> int:
    """Count the locations of a Namespace, or of all."""
    located = [location for host in routes.hosts for location in host.locations]
    return sum(name in ("", location.namespace) for location in located)


def told(table: RoutingTable, name: str) -> list[str]:
    return [str(problem) for problem in table.problems if problem.resource.name == name]


asked = st.lists(st.integers(0, 4000), max_size=30).map(lambda numbers: {str(n): one for n, one in enumerate(numbers)})


@given(asked, st.integers(0, 20_000))
@settings(max_examples=300, deadline=None)
def test_division(asked: dict[str, int], room: int) -> None:
    """All room is given if more is asked for; nobody gets more than they ask for, or loses below half an equal part."""
    given = asked | divide(asked, room)
    assert sum(given.values()) == min(room, sum(asked.values()))
    assert all(given[name] <= number for name, number in asked.items())
    wishes = sum(number > 0 for number in asked.values())
    assert all(given[name] == number for name, number in asked.items() if 2 * number * wishes <= room)


@given(asked, st.integers(0, 20_000))
@settings(max_examples=300, deadline=None)
def test_who_loses_first(asked: dict[str, int], room: int) -> None:
    """While one lacks something, those who ask for more, or came later, have half of an equal part at most."""
    given = asked | divide(asked, room)
    order = sorted(asked, key=lambda name: (asked[name].bit_length(), int(name)))
    part = room // (2 * max(1, sum(number > 0 for number in asked.values())))
    for first, second in pairwise(order):
        assert given[first] == asked[first] or given[second] <= part


shapes = st.tuples(st.integers(1, 4), st.integers(0, 30), st.sampled_from([OLD, YOUNG]))


@given(st.lists(shapes, max_size=5))
@settings(max_examples=60, deadline=None)
def test_a_small_namespace_never_notices(others: list[tuple[int, int, str]]) -> None:
    """Whatever others ask for, the routes of a small Namespace stay as they were, and there is never too much."""
    small = tenant("small", 1, 2, YOUNG)
    alone = build(small)
    beside = build([*small, *(one for n, shape in enumerate(others) for one in tenant(f"n{n}", *shape))])
    assert parts_of("small", beside.routes) == parts_of("small", alone.routes)
    assert told(beside, "small") == []
    assert count(beside.routes) <= read_room(HOW).locations


def test_what_is_served_stays() -> None:
    """Of two that ask for the same, the older one stays whole; the younger one gets the rest, and a problem."""
    table = build([*tenant("old", 1, 20), *tenant("young", 1, 20, YOUNG)])
    assert (count(table.routes, "old"), count(table.routes, "young")) == (40, 20)
    assert told(table, "old") == []
    assert told(table, "young")[:1] == [
        "Namespace young: locations are not all served: all Namespaces together ask for more than there is room for; "
        "expected: at most 20 beside the others, or at most 60 of all together (MAX_LOCATIONS)"
    ]


def test_nobody_gets_a_host_that_another_loses() -> None:
    """A host for which there is no room is left out, and stays its Namespace's own."""
    thief = [namespace("thief", {"h0019.young.dev": {}}, "2026-11-24T18:06:04Z"), *tenant("thief", 0, 1)[1:]]
    table = build([*tenant("old", 20, 1), *tenant("young", 20, 1, YOUNG), *thief])
    hosts = {host.name: host.namespace for host in table.routes.hosts}
    assert sum(owner == "young" for owner in hosts.values()) == 9  # what the thief asks for counts too
    assert "h0019.young.dev" not in hosts
    assert any("host h0019.young.dev is left out" in line for line in told(table, "young"))
    assert any("host h0019.young.dev" in line for line in told(table, "thief"))


def test_options_stay_on_what_is_served() -> None:
    """A path that still fits keeps the options that count as locations too."""
    cors = {"allowOrigins": ["https://a.dev"]}
    table = build([*tenant("old", 1, 20), *tenant("young", 1, 20, YOUNG, cors=cors)])
    kept = [one for host in table.routes.hosts for one in host.locations if one.namespace == "young"]
    assert kept
    assert all([option.name for option in one.options] == ["cors"] for one in kept)


def test_other_things_are_divided_too() -> None:
    """Rate limits of all Namespaces together have a bound: beyond it, paths are closed, and none is open."""
    limit = {"rateLimit": {"requests": 1, "unit": "second"}}
    made = [one for n in range(120) for one in tenant(f"n{n:03}", 1, 20, access=limit)]
    table = build(made, read_settings({"PORT": "18080"}))
    located = [location for host in table.routes.hosts for location in host.locations]
    assert sum(bool(location.options) for location in located) == 2 * 2000
    assert all(location.options or location.answer.value == "403" for location in located)
    assert any("zones are not all served" in line for line in told(table, "n119"))


def test_weights_of_hashed_pods_are_divided() -> None:
    """The points that nginx makes of Pods' weights for a hash have a bound for all Namespaces together."""
    sticky = {"basePath": "/", "containerPort": 3000, "sessionPersistence": {"type": "ClientIP"}}
    made = [namespace(f"n{n}", {f"n{n}.dev": {}}) for n in range(3)]
    for n, weight in itertools.product(range(3), (19, 20)):
        made.append(pod(f"n{n}", f"web-{weight}", f"10.0.0.{weight}", [{**sticky, "weight": weight}], DECLARED))
    table = build(made)
    with_hash = [one.namespace for one in table.routes.upstreams if one.options]
    assert with_hash == ["n0"]
    assert any("weights are not all served" in line for line in told(table, "n2"))


def test_a_namespace_alone_may_have_its_share() -> None:
    """A share of one Namespace that is larger than MAX_LOCATIONS counts."""
    how = replace(HOW, max_all_locations=10)
    assert count(build(tenant("only", 1, 20), how).routes) == 40


@pytest.mark.parametrize(("most", "shape"), [(21_000, (1, 2000)), (60_000, (1000, 2))], ids=["paths", "hosts"])
def test_many_greedy_namespaces_load(
    tmp_path: Path, nginx_binary: str, most: int, shape: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """However many Namespaces ask for their whole share, nginx takes the tree.

    What many paths of a host take is the same for each host, so there are fewer of these hosts than could be.
    """
    # It takes seconds of processor time. Beside other tests that can be much more.
    monkeypatch.setattr(program, "_TEST_TIMEOUT", 600.0)
    how = read_settings({"PORT": "18080", "MAX_LOCATIONS": str(most)})
    made = [one for n in range(most // 1500) for one in tenant(f"n{n:02}", *shape)]
    table = build([*made, *tenant("small", 1, 5, YOUNG)], how)
    assert most * 5 / 6 < count(table.routes) <= most
    assert count(table.routes, "small") == 10
    write_files(render(table.routes, how), tmp_path)
    check_tree(nginx_binary, tmp_path)
