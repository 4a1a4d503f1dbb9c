"""The names of sets of Pods: when they change, and what they do not tell."""

import pytest
from support import objects
from support.passwords import BY_PASSWORD, write_apr1
from support.stages import build_table, normalise

from reconciler.rendering.set_names import SetNames
from reconciler.settings import read_settings

NOW = 1_797_600_000.0
SETTINGS = read_settings({"DENY_POD_CIDRS": "none"})
OPEN: list[objects.Object] = [objects.namespace("a", {"a.test": {}}), objects.web("a", 3000)]
KEYED: list[objects.Object] = [*OPEN, objects.secret("a", api_key="before")]


def name_sets(names: SetNames, cluster: list[objects.Object]) -> list[str]:
    """Name the sets of Pods of a cluster."""
    routes = build_table(normalise(objects.listing(cluster), SETTINGS), SETTINGS, NOW).routes
    return sorted(names.find(routes).values())


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (OPEN, KEYED),
        (KEYED, [*OPEN, objects.secret("a", api_key="after")]),
        *(
            ([OPEN[0], objects.web("a", 3000, **one)], [OPEN[0], objects.web("a", 3000, **other)])
            for one, other in (
                ({}, {"access": {"allow": ["10.0.0.0/8"]}}),
                ({"access": {"deny": ["10.0.0.0/8"]}}, {"access": {"deny": ["10.0.0.0/9"]}}),
                ({"requestHeaders": {"set": {"X-A": "1"}}}, {"requestHeaders": {"set": {"X-A": "2"}}}),
                (
                    {"responseHeaders": {"set": {"X-A": "a" * 80 + "1"}}},
                    {"responseHeaders": {"set": {"X-A": "a" * 80 + "2"}}},
                ),
                ({}, {"targetPath": "/x"}),
            )
        ),
        (OPEN, [objects.namespace("a", {"a.test": {"maintenance": {"allow": ["10.0.0.0/8"]}}}), OPEN[1]]),
        (OPEN, [objects.namespace("a", {"a.test": {}, "b.test": {}}), OPEN[1]]),
    ],
)
def test_names_change_with_rules(before: list[objects.Object], after: list[objects.Object]) -> None:
    """A set has another name as soon as anything differs that nginx does with its requests, and the old name after."""
    names = SetNames()
    first, second = name_sets(names, before), name_sets(names, after)
    assert len(first) == len(second) == 1
    assert first != second
    assert name_sets(names, before) == first


def test_names_stay_and_tell_nothing() -> None:
    """The names stay when Pods change, and nobody can try API keys or passwords against them."""
    names = SetNames()
    first = name_sets(names, KEYED)
    assert name_sets(names, [*KEYED, objects.web("a", 3000, 3)]) == first
    assert name_sets(SetNames(), [*OPEN, objects.secret("a", api_key="other")]) == first
    locked = [OPEN[0], objects.web("a", 3000, access=BY_PASSWORD)]
    found = [
        name_sets(SetNames(), [*locked, objects.secret("a", htpasswd=write_apr1(alice=one))]) for one in ("a", "b")
    ]
    assert found[0] == found[1]
