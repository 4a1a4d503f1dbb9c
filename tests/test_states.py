"""States of Pods, Namespaces and Secrets: the tables of docs/routing.md, each row on a running nginx."""

import base64
import re
from collections.abc import Callable
from pathlib import Path

import pytest
from support.objects import Object, namespace, pod, secret
from support.pods import DECLARED, HOST, LATER, entry
from support.router import Router

Start = Callable[..., Router]
Change = Callable[[Object], object]
KEY = "open sesame"
ENCODED = base64.b64encode(KEY.encode()).decode()
WITH_KEY = {"X-ROUTING-API-KEY": ENCODED}
DELETED = {"deletionTimestamp": "2026-11-22T18:07:00Z"}


def read_table(kind: str) -> dict[str, list[int]]:
    """Read a table of docs/routing.md: the answers by the first column."""
    text = (Path(__file__).parents[1] / "docs" / "routing.md").read_text()
    _, _, after = text.partition(f"\n| {kind} | seen in ")
    rows = [line.strip("|").split("|") for line in after.partition("\n\n")[0].splitlines()[2:]]
    return {state.strip(): [int(number) for number in re.findall(r"\b[245]\d\d\b", told)] for state, _, told in rows}


def with_ready(status: str) -> Change:
    """Give a Pod this Ready condition alone."""
    return lambda one: one["status"].update(conditions=[{"type": "Ready", "status": status}])


def strip(one: Object) -> None:
    """Take from a Pod what an old cluster does not write."""
    for field in ("podIPs", "qosClass", "startTime", "hostIP", "hostIPs"):
        one["status"].pop(field, None)


def nullify(one: Object) -> None:
    """Put null in place of a Pod's lists and maps that may be absent."""
    one["metadata"] |= {"labels": None, "ownerReferences": None, "finalizers": None}
    one["spec"] |= {"initContainers": None, "tolerations": None}
    one["spec"]["containers"][0] |= {"env": None, "readinessProbe": None, "livenessProbe": None}
    one["status"] |= {"conditions": None, "podIPs": None, "containerStatuses": None}


PODS: dict[str, Change] = {
    "ready": lambda one: None,
    "without a Ready condition": lambda one: one["status"].update(conditions=[]),
    "not ready, restarting, in CrashLoopBackOff, or with a readiness gate that is open": with_ready("False"),
    "on a lost node": with_ready("Unknown"),
    "waiting for a node, an image or its init containers": lambda one: one["status"].update(phase="Pending"),
    "of unknown state": lambda one: one["status"].update(phase="Unknown"),
    "without an address": lambda one: one["status"].update(podIP=None),
    "without a status": lambda one: one.update(status=None),
    "being deleted": lambda one: one["metadata"].update(DELETED),
    "over": lambda one: one["status"].update(phase="Succeeded"),
    "failed, or evicted": lambda one: one["status"].update(phase="Failed", reason="Evicted"),
    "of unknown age": lambda one: one["metadata"].update(creationTimestamp=None),
    "of an old cluster": strip,
    "with null in place of lists and maps": nullify,
}
NAMESPACES = {
    "being deleted, met for the first time without a Secret",
    "active",
    "being deleted",
    "being deleted, without its Secret already",
    "not being deleted, its Secret gone",
}
SECRETS: dict[str, list[Object]] = {
    "in base64": [{"data": {"api-key": ENCODED}}],
    "in base64 over several lines, in a manifest": [{"data": {"api-key": f"{ENCODED[:4]}\n{ENCODED[4:]}\n"}}],
    "in plain text, in a manifest": [
        {"data": None, "stringData": {"api-key": KEY}},
        {"data": {"api-key": "bm90IHRoaXM="}, "stringData": {"api-key": KEY}},
    ],
    "with an empty key": [{"data": {"api-key": None}}, {"data": {"api-key": ""}}, {"stringData": {"api-key": ""}}],
    "without the key": [{"data": None}, {"data": {}}, {"data": {"other": ENCODED}}],
}


def test_the_tables_are_whole() -> None:
    """Each row has a case here, and each case a row."""
    assert read_table("Pod").keys() == PODS.keys()
    assert read_table("Namespace").keys() == NAMESPACES | {"of unknown age"}
    assert read_table("Secret").keys() == SECRETS.keys()


@pytest.mark.parametrize("state", PODS)
def test_pods(router: Start, ips: list[str], state: str) -> None:
    """A path answers what the table says of its only Pod; other Pods are served in any case."""
    here = router()
    one = pod("a", "web-0", ips[0], [entry("/api")], DECLARED)
    PODS[state](one)
    here.serve(namespace("a", {HOST: {}}), one, pod("a", "web-1", ips[1], [entry("/shop")], DECLARED))
    assert [here.ask(HOST, "/api").status] == read_table("Pod")[state]
    assert here.ask(HOST, "/shop").status == 200


def make_home(deleted: bool) -> Object:
    """Make a Namespace with a host."""
    made = namespace("a", {HOST: {}})
    if deleted:
        made["metadata"] |= DELETED
        made["status"] = {"phase": "Terminating"}
    return made


def test_namespaces(router: Start, ips: list[str]) -> None:
    """A Namespace's paths answer what the table says, while it is deleted too."""
    table, here = read_table("Namespace"), router()
    web = pod("a", "web", ips[0], [entry("/")], DECLARED)
    for deleted, state in ((False, "active"), (True, "being deleted")):
        here.serve(make_home(deleted), web)
        assert [here.ask(HOST, "/").status] == table[state]


def test_namespace_that_loses_its_secret(router: Start, ips: list[str]) -> None:
    """The objects of a Namespace that is deleted go in any order: its Pods outlive the key, and stay protected."""
    table, here = read_table("Namespace"), router()
    web = pod("a", "web", ips[0], [entry("/")], DECLARED)
    here.serve(make_home(deleted=False), web, secret("a", api_key=KEY))
    here.serve(make_home(deleted=True), web, secret("a", api_key=KEY))
    for _ in range(2):
        here.serve(make_home(deleted=True), web)
        answers = [here.ask(HOST, "/").status, here.ask(HOST, "/", **WITH_KEY).status]
        assert answers == table["being deleted, without its Secret already"]
        here.restart()
    here.serve(make_home(deleted=False), web)
    assert [here.ask(HOST, "/").status] == table["not being deleted, its Secret gone"][:1]
    assert here.last
    assert "its API key is gone" in str(here.last.table.problems[0])


def test_namespace_that_is_deleted_and_unknown(router: Start, ips: list[str]) -> None:
    """If nobody knows whether a Namespace that is being deleted had a key, its paths are closed."""
    here = router()
    web = pod("a", "web", ips[0], [entry("/")], DECLARED)
    cycle = here.serve(make_home(deleted=True), web)
    assert [here.ask(HOST, "/").status] == read_table("Namespace")[
        "being deleted, met for the first time without a Secret"
    ]
    assert "its API key is gone while the Namespace is being deleted" in str(cycle.table.problems[0])
    here.serve(make_home(deleted=True), web, secret("a", api_key=KEY))
    assert [here.ask(HOST, "/").status, here.ask(HOST, "/", **WITH_KEY).status] == [403, 200]


def test_namespace_that_loses_its_secret_first(router: Start, ips: list[str]) -> None:
    """A Secret that goes before its Namespace is seen to be deleted does not leave the paths open until the end."""
    here = router()
    web = pod("a", "web", ips[0], [entry("/")], DECLARED)
    here.serve(make_home(deleted=False), web, secret("a", api_key=KEY))
    here.serve(make_home(deleted=False), web)
    for _ in range(2):
        here.serve(make_home(deleted=True), web)
        assert here.ask(HOST, "/").status == 403


def test_namespace_of_unknown_age(router: Start, ips: list[str]) -> None:
    """A Namespace without a time of creation is younger than all others."""
    here = router()
    unknown, other = namespace("a", {HOST: {}}), namespace("b", {HOST: {}}, LATER)
    unknown["metadata"]["creationTimestamp"] = None
    web = pod("a", "web", ips[0], [entry("/")], DECLARED)
    here.serve(unknown, web)
    assert [here.ask(HOST, "/").status] == read_table("Namespace")["of unknown age"]
    here.serve(unknown, other, web, pod("b", "web", ips[1], [entry("/")], DECLARED))
    assert here.ask(HOST, "/").told["pod"].startswith(ips[1])


@pytest.mark.parametrize("state", SECRETS)
def test_secrets(router: Start, ips: list[str], state: str) -> None:
    """A Secret protects what the table says, in each form that it may have."""
    for fields in SECRETS[state]:
        here = router()
        one = {**secret("a"), **fields}
        here.serve(namespace("a", {HOST: {}}), pod("a", "web", ips[0], [entry("/")], DECLARED), one)
        answers = [here.ask(HOST, "/").status, here.ask(HOST, "/", **WITH_KEY).status]
        assert answers == read_table("Secret")[state]
        here.stop()
