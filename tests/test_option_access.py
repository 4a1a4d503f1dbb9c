"""access.allow and access.deny, on a running nginx: who may use a path, and what is closed if nobody can tell that."""

from collections.abc import Callable

import pytest
from support.objects import Object, namespace, pod, secret, unready
from support.pods import DECLARED, HOST, LATER, PORT, entry
from support.router import Router

Start = Callable[..., Router]
TRUSTED = {"TRUSTED_PROXIES": "127.0.0.1"}
OURS = {"allow": ["203.0.113.0/24"]}


def team(ip: str, *entries: object) -> list[Object]:
    return [namespace("a", {HOST: {}}), pod("a", "web-0", ip, list(entries), DECLARED)]


def ask(here: Router, uri: str, client: str) -> int:
    return here.ask(HOST, uri, X_Forwarded_For=client).status


def told(here: Router) -> str:
    assert here.last
    return "\n".join(str(problem) for problem in here.last.table.problems)


def test_allowed_and_others(router: Start, ips: list[str]) -> None:
    """Only clients in the ranges get to the Pod; the nearest address that is no trusted proxy counts."""
    here = router(**TRUSTED)
    here.serve(*team(ips[0], entry("/"), entry("/admin", access=OURS)))
    assert ask(here, "/admin/x", "1.2.3.4, 203.0.113.7") == 200
    assert ask(here, "/admin/x", "203.0.113.7, 1.2.3.4") == 403
    assert ask(here, "/admin", "2001:db8::1") == 403
    assert ask(here, "/", "1.2.3.4") == 200
    assert told(here) == ""


def test_forged_by_a_stranger(router: Start, ips: list[str]) -> None:
    """Without a trusted proxy the client's own address counts, whatever it sends."""
    here = router()
    here.serve(*team(ips[0], entry("/admin", access=OURS), entry("/own", access={"allow": ["127.0.0.1"]})))
    assert ask(here, "/admin", "203.0.113.7") == 403
    assert ask(here, "/own", "203.0.113.7") == 200


def test_deny_wins(router: Start, ips: list[str]) -> None:
    """A client in a denied range gets 403, also if it is in an allowed one; IPv6 ranges work too."""
    here = router(**TRUSTED)
    access = {"allow": ["203.0.113.0/24", "2001:db8::/32"], "deny": ["203.0.113.7", "2001:db8:1::/48"]}
    here.serve(*team(ips[0], entry("/", access=access)))
    clients = ("203.0.113.8", "203.0.113.7", "2001:db8:2::1", "2001:db8:1::1", "198.51.100.1")
    assert [ask(here, "/", client) for client in clients] == [200, 403, 200, 403, 403]


BAD: dict[str, tuple[dict[str, object], str]] = {
    "a range too long": (
        {"access": {"allow": ["10.0.0.0/33"]}},
        "[1].access.allow[0] '10.0.0.0/33' is not one range of addresses: this Pod does not serve the path",
    ),
    "bits behind the prefix": ({"access": {"deny": ["10.0.0.1/8"]}}, "has bits set behind its prefix"),
    "two in one text": ({"access": {"allow": ["10.0.0.0/8,11.0.0.0/8"]}}, "is not one range of addresses"),
    "no range": ({"access": {"allow": []}}, "[1].access.allow has 0 members: this Pod does not serve the path"),
    "a text": ({"access": {"allow": "10.0.0.0/8"}}, "[1].access.allow is a string"),
    "an unknown key": ({"access": {"alow": ["10.0.0.0/8"]}}, "[1].access.'alow' is an unknown key"),
    "null": ({"access": None}, "[1].access is null: this Pod does not serve the path"),
    "nothing": ({"access": {}}, "[1].access is empty"),
    "a misspelt key": ({"acces": OURS}, "[1].'acces' may be meant for access: this Pod does not serve the path"),
    "another case": ({"Access": OURS}, "[1].'Access' may be meant for access"),
    "a key of others": ({"whitelist-source-range": "10.0.0.0/8"}, "may be meant for access.allow"),
    "an annotation": ({"nginx.ingress.kubernetes.io/whitelist-source-range": "x"}, "may be meant for access.allow"),
}


@pytest.mark.parametrize("name", BAD)
def test_what_cannot_be_honoured_closes(router: Start, ips: list[str], name: str) -> None:
    """A bad protection closes the path: it answers 403 and never falls to a shorter path's Pod."""
    options, problem = BAD[name]
    here = router()
    here.serve(*team(ips[0], entry("/"), entry("/admin", **options)))
    assert [here.ask(HOST, uri).status for uri in ("/admin", "/admin/x", "/other")] == [403, 403, 200]
    assert problem in told(here)


def test_repeated_protection_closes(router: Start, ips: list[str]) -> None:
    """Of two equal keys that protect neither wins; two entries of one path that differ in them close it."""
    here = router()
    ours = '"access": {"allow": ["127.0.0.1"]}'
    text = f'[{{"basePath": "/admin", "containerPort": "{PORT}", {ours}, {ours}}}]'
    twice = pod("a", "web-1", ips[1], [], DECLARED)
    twice["metadata"]["annotations"]["github.com/30x.dispatcher.paths"] = text
    here.serve(*team(ips[0], entry("/")), twice)
    assert here.ask(HOST, "/admin").status == 403
    assert "[0].access appears twice: this Pod does not serve the path" in told(here)
    here.serve(*team(ips[0], entry("/admin"), entry("/admin", access={"allow": ["203.0.113.1"]})))
    assert here.ask(HOST, "/admin").status == 403


def test_denied_by_the_operator(router: Start, ips: list[str]) -> None:
    """A protection that the operator turned off closes; another option is left out."""
    here = router(DENIED_OPTIONS="access.allow,timeouts,colour")
    allowed = {"allow": ["127.0.0.1"]}
    here.serve(*team(ips[0], entry("/admin", access=allowed), entry("/slow", timeouts={"read": "1s"})))
    assert [here.ask(HOST, uri).status for uri in ("/admin", "/slow")] == [403, 200]
    assert "[0].access.allow is turned off by DENIED_OPTIONS: this Pod does not serve the path" in told(here)
    assert "[1].timeouts is turned off by DENIED_OPTIONS: the key is left out" in told(here)
    assert "Setting DENIED_OPTIONS: colour is no option; expected: one of access.deny, access.allow" in told(here)


def test_a_good_pod_serves_beside_a_bad_one(router: Start, ips: list[str]) -> None:
    """A Pod whose protection cannot be honoured gets no traffic, while another one's protection holds."""
    here = router()
    good = pod("a", "web-0", ips[0], [entry("/", access={"allow": ["127.0.0.1"]})], DECLARED)
    bad = pod("a", "web-1", ips[1], [entry("/", access={"allow": ["oops"]})], DECLARED)
    here.serve(namespace("a", {HOST: {}}), good, bad)
    assert {here.ask(HOST, "/").told["pod"] for _ in range(8)} == {f"{ips[0]}:{PORT}"}
    here.serve(namespace("a", {HOST: {}}), bad)
    assert here.ask(HOST, "/").status == 403


def test_pods_that_disagree(router: Start, ips: list[str]) -> None:
    """A path is protected as soon as one Pod says so, ready or not; of two different values the newest Pod's counts."""
    here = router()
    host = namespace("a", {HOST: {}})
    old = pod("a", "web-0", ips[0], [entry("/")], DECLARED)
    new = pod("a", "web-1", ips[1], [entry("/", access=OURS)], DECLARED, creationTimestamp=LATER)
    here.serve(host, old)
    assert here.ask(HOST, "/").status == 200
    here.serve(host, old, unready(new))
    assert here.ask(HOST, "/").status == 403
    assert "has no access.allow, other than Pod web-1, which protects the path" in told(here)
    newest = pod(
        "a", "web-2", ips[2], [entry("/", access={"allow": ["127.0.0.1"]})], DECLARED,
        creationTimestamp="2026-11-24T00:00:00Z",
    )  # fmt: skip
    here.serve(host, old, new, newest)
    assert here.ask(HOST, "/").status == 200
    assert (
        "Pod a/web-1: github.com/30x.dispatcher.paths '/' has another access.allow, other than Pod web-2, which is "
        "newer and counts" in told(here)
    )


def test_checks_come_in_order(router: Start, ips: list[str]) -> None:
    """A client that may not use a path learns nothing from its key, nor from the state of its Pods."""
    here = router()
    key = secret("a", api_key="open")
    here.serve(*team(ips[0], entry("/", access=OURS)), key)
    assert here.ask(HOST, "/", X_ROUTING_API_KEY="b3Blbg==").status == 403
    host, only = team(ips[0], entry("/", access=OURS))
    here.serve(host, unready(only))
    assert here.ask(HOST, "/").status == 403
    host, only = team(ips[0], entry("/", access={"allow": ["127.0.0.1"]}))
    here.serve(host, unready(only))
    assert here.ask(HOST, "/").status == 503


def test_thousands_of_keys_cost_little(router: Start, ips: list[str]) -> None:
    """An entry with thousands of unknown keys is left out without comparing each with the known ones."""
    here = router()
    here.serve(*team(ips[0], entry("/"), entry("/x", **{f"accex{number}": 1 for number in range(20_000)})))
    assert "[1] has 20002 keys; expected: at most 500 keys" in told(here)
    assert here.ask(HOST, "/x").status == 200


def test_too_many_ranges(router: Start, ips: list[str]) -> None:
    """Ranges beyond a Namespace's share close the paths that come last by name. Equal lists count once."""
    here = router(MAX_RANGES_PER_NAMESPACE="20")
    two, others = {"allow": ["127.0.0.1", "10.0.0.0/8"]}, {"allow": ["127.0.0.1", "11.0.0.0/8"]}
    paths = [entry("/a", access=two), entry("/b", access=others), entry("/c"), entry("/same", access=two)]
    cycle = here.serve(*team(ips[0], *paths))
    assert [here.ask(HOST, uri).status for uri in ("/a", "/b", "/c", "/same")] == [200, 403, 200, 200]
    assert "path '/b' access.allow is beyond the Namespace's share: all requests get 403" in told(here)
    assert cycle.files["nginx.conf"].content.count(b"geo $allowed_") == 1


UNUSABLE: dict[str, tuple[dict[str, object], str]] = {
    "a weight": ({"weight": "3"}, "[1].weight is '3'"),
    "a share": ({"share": 101}, "[1].share is 101: the entry is left out"),
    "no port": ({"containerPort": None}, "[1].containerPort is null"),
    "a port that is not declared": ({"containerPort": 9}, "'9' is not a TCP port that a container declares"),
    "a target": ({"targetPath": "oops"}, "[1].targetPath is 'oops'"),
    "a redirect": ({"containerPort": None, "redirect": {"path": "oops"}}, "[1].redirect.path is 'oops'"),
}


@pytest.mark.parametrize("name", UNUSABLE)
def test_protected_entry_that_cannot_be_used_closes(router: Start, ips: list[str], name: str) -> None:
    """An entry with a protection that cannot be used for another reason closes its path; without one it is left out."""
    more, problem = UNUSABLE[name]
    here = router()
    here.serve(*team(ips[0], entry("/"), {**entry("/admin", access={"allow": ["127.0.0.1"]}), **more}))
    assert [here.ask(HOST, uri).status for uri in ("/admin", "/admin/x", "/other")] == [403, 403, 200]
    assert problem in told(here)
    good = pod("a", "web-1", ips[1], [entry("/admin", access={"allow": ["127.0.0.1"]})], DECLARED)
    here.serve(*team(ips[0], entry("/"), {**entry("/admin", access={"allow": ["127.0.0.1"]}), **more}), good)
    assert here.ask(HOST, "/admin").told["pod"] == f"{ips[1]}:{PORT}"
    here.serve(*team(ips[0], entry("/"), {**entry("/admin"), **more}))
    assert here.ask(HOST, "/admin").status == 200


def test_protected_paths_are_kept_first(router: Start, ips: list[str]) -> None:
    """If there are more paths than a Namespace may have, those without a protection are left out first."""
    here = router(MAX_LOCATIONS_PER_NAMESPACE="6")
    paths = [entry("/"), entry("/a"), entry("/b"), entry("/z", access={"allow": ["203.0.113.1"]})]
    here.serve(*team(ips[0], *paths))
    assert [here.ask(HOST, uri).status for uri in ("/a", "/b", "/z")] == [200, 200, 403]
    assert here.last
    locations = here.last.table.routes.hosts[0].locations
    assert {location.path.rstrip("/") for location in locations} == {"", "/a", "/z"}
