"""Paths without an API key that are to be closed, on a running nginx."""

import json
from collections.abc import Callable

import pytest
from support.objects import namespace, pod, secret
from support.pods import DECLARED, HOST, LATER, entry
from support.router import Router

from reconciler.loop.cycle import Cycle

Start = Callable[..., Router]
REQUIRED = {HOST: {"requireApiKey": True}}
KEY = {"X_ROUTING_API_KEY": "b3Blbg=="}


def told(cycle: Cycle) -> list[str]:
    return [str(problem) for problem in cycle.table.problems]


def test_paths_are_closed_while_no_key_is_there(router: Start, ips: list[str]) -> None:
    """With requireApiKey the paths answer 403 before the Secret is there, while it is made anew, and without the field.

    A host of the same Namespace that does not need a key is served.
    """
    here = router()
    team = [
        namespace("a", {**REQUIRED, "open.dev": {}}),
        pod("a", "web-0", ips[0], [entry("/")], DECLARED),
    ]
    with_key = secret("a", api_key="open")
    for steps in ([], [with_key], [], [with_key], [secret("a", other="x")]):
        cycle = here.serve(*team, *steps)
        asked = [here.ask(HOST, "/").status, here.ask(HOST, "/", **KEY).status]
        if steps == [with_key]:
            assert asked == [403, 200]
            assert here.ask("open.dev", "/").status == 403
            assert told(cycle) == []
        else:
            assert asked == [403, 403]
            assert here.ask("open.dev", "/").status == 200
            assert (
                f"Namespace a: host {HOST} needs an API key, and the Namespace has none: its paths answer 403; "
                "expected: a routing Secret with an API key"
            ) in told(cycle)


def test_guest_needs_its_own_key(router: Start, ips: list[str]) -> None:
    """The owner's option holds for a guest's paths too: they are closed until the guest has a key."""
    here = router()
    team = [
        namespace("a", {HOST: {"requireApiKey": True, "sharedWith": ["b"]}}),
        pod("a", "web-0", ips[0], [entry("/")], DECLARED),
        secret("a", api_key="open"),
        namespace("b", {HOST: {"requireApiKey": False}}, LATER),
        pod("b", "web-0", ips[1], [entry("/b")], DECLARED),
    ]
    cycle = here.serve(*team)
    assert [here.ask(HOST, uri, **KEY).status for uri in ("/", "/b")] == [200, 403]
    assert [problem.split(":")[0] for problem in told(cycle)] == ["Namespace b"]
    here.serve(*team, secret("b", api_key="open"))
    assert [here.ask(HOST, uri, **KEY).status for uri in ("/", "/b")] == [200, 200]


def test_guest_closes_its_own_paths(router: Start, ips: list[str]) -> None:
    """A guest's own requireApiKey closes its paths while it has no key, and nobody else's."""
    here = router()
    owner = [namespace("a", {HOST: {"sharedWith": ["b"]}}), pod("a", "web", ips[0], [entry("/")], DECLARED)]
    guest = [namespace("b", {HOST: {"requireApiKey": True}}, LATER), pod("b", "web", ips[1], [entry("/b")], DECLARED)]
    for extra, status in (([secret("b", api_key="open")], 200), ([], 403)):
        cycle = here.serve(*owner, *guest, *extra)
        assert [here.ask(HOST, uri, **KEY).status for uri in ("/", "/b")] == [200, status]
        assert [problem.namespace.name for problem in cycle.table.problems] == ["b"] * (not extra)


def test_setting_for_all_hosts(router: Start, ips: list[str]) -> None:
    """REQUIRE_API_KEY closes the paths of all Namespaces without a key; no option opens them."""
    here = router(REQUIRE_API_KEY="true")
    cycle = here.serve(
        namespace("a", {HOST: {"requireApiKey": False}, "a.dev": {}}), pod("a", "web-0", ips[0], [entry("/")], DECLARED)
    )
    assert [here.ask(host, "/").status for host in (HOST, "a.dev")] == [403, 403]
    assert len(told(cycle)) == 2


@pytest.mark.parametrize("value", ["true", 1, 0, [], {}, ""])
def test_what_is_neither_true_nor_false_closes(router: Start, ips: list[str], value: object) -> None:
    """A requireApiKey that cannot be read counts as true, and is a problem; the host keeps its other options."""
    here = router()
    cycle = here.serve(
        namespace("a", {HOST: {"requireApiKey": value}}), pod("a", "web-0", ips[0], [entry("/")], DECLARED)
    )
    assert here.ask(HOST, "/").status == 403
    assert any("requireApiKey is " in line and "expected: true or false" in line for line in told(cycle))


def test_null_is_the_default(router: Start, ips: list[str]) -> None:
    """A requireApiKey that is null is as if it were not there."""
    here = router()
    text = json.dumps({HOST: {"requireApiKey": None}})
    here.serve(namespace("a", text), pod("a", "web-0", ips[0], [entry("/")], DECLARED))
    assert here.ask(HOST, "/").status == 200
