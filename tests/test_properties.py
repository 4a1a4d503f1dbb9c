"""Properties of every cluster that tenants can write; nginx and crossplane check them."""

import copy
import random
import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support import hostile, objects
from support.examples import examples
from support.stages import build_table, normalise, render
from support.tree import expect_servers, expect_upstreams, parts_of, read_http, read_servers, read_upstreams

from reconciler.disk.trees import write_files
from reconciler.nginx.program import check_tree, find_version
from reconciler.routing.model import Answer, Host, Location, Match, RoutingTable
from reconciler.settings import Settings, read_settings
from reconciler.values.addresses import parse_cidrs
from reconciler.values.files import Files

NOW = 1_797_600_000.0
PLAIN = replace(read_settings({"PORT": "18080"}), nginx_version=(1, 26, 3))
REGEX = replace(PLAIN, allow_regex_paths=True)
CHECKS = replace(PLAIN, health_checks=True)
TRUSTING = replace(PLAIN, trusted_proxies=parse_cidrs("127.0.0.1"))

settings.register_profile(
    "here", deadline=None, suppress_health_check=list(HealthCheck), derandomize=True, database=None
)
settings.load_profile("here")


def build(cluster: list[objects.Object], how: Settings = PLAIN) -> tuple[RoutingTable, Files]:
    table = build_table(normalise(objects.listing(cluster), how), how, NOW)
    return table, render(table.routes, how)


def digest(cluster: list[objects.Object], how: Settings = PLAIN) -> bytes:
    return normalise(objects.listing(cluster), how).digest


def locations_of(cluster: list[objects.Object]) -> list[Location]:
    table, _ = build(cluster, REGEX)
    return [location for host in table.routes.hosts for location in host.locations]


REACHED: dict[str, Callable[[Location], bool]] = {
    "an API key on a path that needs escapes": lambda place: (
        place.api_key and place.answer is Answer.PODS and "\\" in place.path
    ),
    "several API keys": lambda place: place.more_keys == 2,
    "a closed path": lambda place: place.answer is Answer.CLOSED,
    "a path without a ready Pod": lambda place: place.answer is Answer.UNAVAILABLE,
    "a redirect": lambda place: place.answer is Answer.REDIRECT,
    "a regular expression": lambda place: place.match is Match.IREGEX,
    "a target with a dollar": lambda place: "%24" in (place.target or ""),
    "a path of bytes that are not UTF-8": lambda place: "\udcff" in place.path,
}
REACHED_HOSTS: dict[str, Callable[[Host], bool]] = {
    "a host in maintenance": lambda host: not host.open and has_option(host, "maintenance"),
    "a host with exemptions from maintenance": lambda host: host.open and has_option(host, "maintenance"),
    "a host that redirects": lambda host: not host.open and has_option(host, "redirect"),
    "a host with HSTS": lambda host: has_option(host, "hsts"),
    "a host that leads to https": lambda host: has_option(host, "http"),
}


def has_option(host: Host, name: str) -> bool:
    return any(option.name == name for option in host.options)


def test_clusters_reach_what_matters() -> None:
    """The generated clusters have locations of every kind, so the properties are tested with each of them."""
    seen = set()

    @given(hostile.clusters)
    @settings(max_examples=300)
    def collect(cluster: list[objects.Object]) -> None:
        places = locations_of(cluster)
        seen.update(name for name, reached in REACHED.items() if any(map(reached, places)))
        hosts = build(cluster, TRUSTING)[0].routes.hosts
        seen.update(name for name, reached in REACHED_HOSTS.items() if any(map(reached, hosts)))

    collect()
    assert seen == REACHED.keys() | REACHED_HOSTS.keys()


@given(hostile.clusters, st.randoms(use_true_random=False))
@settings(max_examples=examples(80))
def test_order_never_matters(cluster: list[objects.Object], order: random.Random) -> None:
    """The same objects give the same digest, problems and bytes in any order."""
    shuffled = order.sample(cluster, len(cluster))
    assert digest(cluster) == digest(shuffled)
    (table, files), (other, others) = build(cluster), build(shuffled)
    assert (table.problems, files) == (other.problems, others)


def add_noise(item: objects.Object, pick: random.Random) -> None:
    """Change something that routing does not read."""
    metadata = item["metadata"]
    noises = [
        lambda: metadata.update(resourceVersion=str(pick.random())),
        lambda: metadata.setdefault("annotations", {}).update(note=str(pick.random())),
        lambda: metadata.setdefault("labels", {}).update(team=str(pick.random())),
        lambda: metadata.update(managedFields=[{"manager": str(pick.random())}]),
    ]
    if item["kind"] == "Pod":
        noises += [
            lambda: item["status"].update(startTime=str(pick.random())),
            lambda: item["status"].setdefault("conditions", []).append({"type": "Initialized", "status": "False"}),
            lambda: item["spec"].update(nodeName=str(pick.random())),
        ]
    pick.choice(noises)()


def change_route(item: objects.Object, pick: random.Random) -> None:
    """Change something that routing reads."""
    if item["kind"] == "Namespace":
        item["metadata"]["annotations"][objects.HOSTS] += " "
    elif item["kind"] == "Secret":
        item["data"]["another"] = "eA=="
    else:
        pick.choice(
            [
                lambda: item["metadata"]["annotations"].update({objects.PATHS: f"[{pick.random()}]"}),
                lambda: item["status"].update(podIP="10.99.99.99"),
                lambda: item["status"].update(phase="Failed"),
                lambda: item["status"].update(conditions=[{"type": "Ready", "status": "False"}]),
                lambda: item["metadata"].update(deletionTimestamp="2026-11-22T18:07:00Z"),
                lambda: item["spec"]["containers"][0]["ports"].append({"containerPort": 4242}),
            ]
        )()


@given(hostile.clusters.filter(bool), st.randoms(use_true_random=False))
@settings(max_examples=examples(100))
def test_noise_leaves_the_digest(cluster: list[objects.Object], pick: random.Random) -> None:
    """The digest stays the same if only things change that routing does not read."""
    noisy = copy.deepcopy(cluster)
    for item in pick.choices(noisy, k=3):
        add_noise(item, pick)
    assert digest(noisy) == digest(cluster)


COUNTED = objects.read("019")


@given(st.randoms(use_true_random=False))
@settings(max_examples=examples(100))
def test_any_change_of_a_route_shows_in_the_digest(pick: random.Random) -> None:
    """The digest changes if one thing changes that routing reads, in a recorded cluster whose Pods are all routed."""
    cluster = [item for item in COUNTED if item["kind"] != "Pod" or item["status"]["podIP"] != "10.244.2.14"]
    cluster = [item for item in cluster if item["kind"] != "Pod" or item["metadata"]["namespace"] != "split"]
    changed = copy.deepcopy(cluster)
    change_route(pick.choice(changed), pick)
    assert digest(changed) != digest(cluster)


@pytest.mark.parametrize("how", [PLAIN, REGEX, TRUSTING], ids=["plain", "regex", "trusting"])
@given(cluster=hostile.clusters)
@settings(max_examples=examples(60))
def test_any_text_gives_what_the_table_says(nginx_binary: str, how: Settings, cluster: list[objects.Object]) -> None:
    """Nginx accepts the tree of any cluster, and crossplane reads exactly the table's servers and upstreams in it."""
    how = replace(how, nginx_version=find_version(nginx_binary))
    table, files = build(cluster, how)
    with tempfile.TemporaryDirectory() as folder:
        write_files(files, Path(folder))
        check_tree(nginx_binary, Path(folder))
        http = read_http(Path(folder))
    assert read_upstreams(http) == expect_upstreams(table.routes)
    assert read_servers(http) == expect_servers(table.routes, how)


@given(hostile.clusters)
@settings(max_examples=examples(60))
def test_health_checks_hold_no_text_of_a_tenant(cluster: list[objects.Object]) -> None:
    """With health checks crossplane reads exactly the table's upstreams, and no unexpected directive in them."""
    table, files = build(cluster, CHECKS)
    with tempfile.TemporaryDirectory() as folder:
        write_files(files, Path(folder))
        http = read_http(Path(folder))
    assert read_upstreams(http) == expect_upstreams(table.routes)
    inside = {each["directive"] for one in http if one["directive"] == "upstream" for each in one["block"]}
    checks = {"check", "check_http_send", "check_http_expect_alive"}
    # The module takes Pods that fail their checks out of these methods, and not out of `random`.
    assert inside <= {"server", "keepalive", "keepalive_timeout", "least_conn", "hash"} | checks


VICTIM = [item for item in COUNTED if item["metadata"].get("namespace", item["metadata"]["name"]) == "test-namespace"]


@given(hostile.tenants("attacker"))
@settings(max_examples=examples(100))
def test_a_younger_tenant_changes_nothing_of_another(attacker: list[objects.Object]) -> None:
    """Whatever a younger Namespace writes, the locations, upstreams and key of an older one stay as they were."""
    hosts = '{"test.k8s.local": {}, "a.example.com": {}}'
    for item in attacker:
        if item["kind"] == "Namespace":
            item["metadata"]["creationTimestamp"] = "2027-01-01T00:00:00Z"
            item["metadata"]["annotations"][objects.HOSTS] = hosts
    alone, _ = build(VICTIM, REGEX)
    beside, _ = build(VICTIM + attacker, REGEX)
    assert parts_of("test-namespace", beside.routes) == parts_of("test-namespace", alone.routes)
