"""Which Pods get traffic, and what a path answers while none of its Pods does."""

import base64
from collections.abc import Callable

import pytest
from support.objects import namespace, pod, secret, unready
from support.pods import DECLARED, HOST, LATER, entry
from support.router import Router

Start = Callable[..., Router]
KEY = base64.b64encode(b"open sesame").decode()

STATES: dict[str, tuple[dict[str, object], int]] = {
    "ready": ({}, 200),
    "not ready": ({"conditions": [{"type": "Ready", "status": "False"}]}, 503),
    "with a status that nobody knows": ({"conditions": [{"type": "Ready", "status": "true"}]}, 503),
    "ready and not ready": ({"conditions": [{"type": "Ready", "status": s} for s in ("True", "False")]}, 503),
    "pending, without an address": ({"phase": "Pending", "podIP": None}, 503),
    "over": ({"phase": "Succeeded"}, 404),
}


@pytest.mark.parametrize("state", STATES)
def test_states_of_a_pod(router: Start, ips: list[str], state: str) -> None:
    """A path is known from each Pod that is not over; without a ready Pod it answers 503 and says when to retry.

    Neither a Pod of the shorter path answers, nor 404, which clients take for "gone".
    """
    here = router()
    status, expected = STATES[state]
    one = pod("a", "web-0", ips[0], [entry("/api")], DECLARED)
    one["status"] |= status
    shorter = pod("a", "web-1", ips[1], [entry("/shop")], DECLARED)
    here.serve(namespace("a", {HOST: {}}), one, shorter)
    for uri in ("/api", "/api/", "/api/x?y"):
        answer = here.ask(HOST, uri)
        assert (answer.status, answer.headers.get("retry-after")) == (expected, "5" if expected == 503 else None)
    assert here.ask(HOST, "/shop").status == 200


def test_terminating_pod_keeps_its_path(router: Start, ips: list[str]) -> None:
    """A Pod that is being deleted gets no traffic, but its path stays known until it is gone."""
    here = router()
    home = namespace("a", {HOST: {}})
    leaving = pod("a", "web-0", ips[0], [entry("/api")], DECLARED, deletionTimestamp="2026-11-22T18:07:00Z")
    here.serve(home, leaving, pod("a", "web-1", ips[1], [entry("/")], DECLARED))
    assert (here.ask(HOST, "/api").status, here.ask(HOST, "/").status) == (503, 200)
    here.serve(home, pod("a", "web-1", ips[1], [entry("/")], DECLARED))
    assert here.ask(HOST, "/api").told["pod"].startswith(ips[1])


def test_unready_pod_changes_nothing_for_ready_ones(router: Start, ips: list[str]) -> None:
    """If a Pod of a path is ready, the targetPath of a Pod that is not ready does not count, even if it is older."""
    here = router()
    old = unready(pod("a", "web-0", ips[0], [entry("/api", targetPath="/old")], DECLARED))
    new = pod("a", "web-1", ips[1], [entry("/api", targetPath="/new")], DECLARED, creationTimestamp=LATER)
    here.serve(namespace("a", {HOST: {}}), old, new)
    assert here.ask(HOST, "/api/x").told["uri"] == "/new/x"
    assert here.last
    assert here.last.table.problems == ()


def test_key_is_checked_before_503(router: Start, ips: list[str]) -> None:
    """A path without a ready Pod asks for its API key first, and without the key nobody learns that no Pod is ready."""
    here = router()
    waiting = unready(pod("a", "web-0", ips[0], [entry("/api")], DECLARED))
    here.serve(namespace("a", {HOST: {}}), waiting, secret("a", api_key="open sesame"))
    refused = here.ask(HOST, "/api")
    assert (refused.status, refused.headers.get("retry-after")) == (403, None)
    answer = here.ask(HOST, "/api", **{"X-ROUTING-API-KEY": KEY})
    assert (answer.status, answer.headers["retry-after"]) == (503, "5")
    assert here.ask(HOST, "/api", method="POST", body=b"x" * 100_000).status == 403


def test_path_belongs_to_who_asks_and_not_to_who_is_ready(router: Start, ips: list[str]) -> None:
    """While the older Namespace's Pods are not ready, a younger one does not get its path: clients get 503."""
    here = router(HOST_SHARING="any")
    older = pod("a", "web-0", ips[0], [entry("/api")], DECLARED)
    younger = [namespace("b", {HOST: {}}, LATER), pod("b", "web-0", ips[1], [entry("/api"), entry("/own")], DECLARED)]
    for one, status in ((older, 200), (unready(older), 503), (unready(older, "Unknown"), 503), (older, 200)):
        cycle = here.serve(namespace("a", {HOST: {}}), one, *younger)
        answer = here.ask(HOST, "/api/x")
        assert answer.status == status
        assert status == 503 or answer.told["pod"].startswith(ips[0])
        assert here.ask(HOST, "/own").told["pod"].startswith(ips[1])
        assert "is taken by Namespace a" in str(cycle.table.problems)
