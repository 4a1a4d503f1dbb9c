"""Attacks by the options of hosts, on a running nginx: nobody gets past a protection or into another's host."""

from collections.abc import Callable
from typing import Any

import pytest
from support.authority import Authority
from support.objects import namespace, pod, secret, tls
from support.pods import DECLARED, HOST, LATER, entry
from support.router import Router

Start = Callable[..., Router]
ACME = "/.well-known/acme-challenge"
ASKING = {"access": {"externalAuth": {"path": "/auth"}}}


def told(here: Router) -> str:
    assert here.last
    return "\n".join(map(str, here.last.table.problems))


@pytest.mark.parametrize("paths", [["/x", ACME], [ACME, "/zzz"]])
def test_an_authoriser_of_challenges_and_of_other_paths(router: Start, ips: list[str], paths: list[str]) -> None:
    """Who asks the same authoriser still needs the key, except for challenges."""
    here = router()
    entries = [*(entry(path, **ASKING) for path in paths), entry("/auth")]
    here.serve(namespace("a", {HOST: {}}), secret("a", api_key="key"), pod("a", "web-0", ips[0], entries, DECLARED))
    assert {path: here.ask(HOST, path).status for path in paths} == {
        path: 200 if path == ACME else 403 for path in paths
    }


def test_redirect_below_a_shared_wildcard(router: Start, ips: list[str]) -> None:
    """Who has a host below a wildcard that is shared with all sends no challenge to a host of its own."""
    here = router()
    here.serve(
        namespace("a", {"*.b.dev": {"sharedWith": ["*"]}}),
        pod("a", "web-0", ips[0], [entry("/"), entry(ACME)], DECLARED),
        namespace("b", {"x.b.dev": {"redirect": {"hostname": "evil.dev"}}}, LATER),
        pod("b", "web-0", ips[1], [entry("/")], DECLARED),
    )
    assert [here.ask("x.b.dev", uri).status for uri in ("/", f"{ACME}/token")] == [200, 404]
    assert "host x.b.dev redirect is left out: the host lies below a wildcard that is shared with all" in told(here)


@pytest.mark.parametrize("options", [{"requireApiKeys": True}, {"access": {}}, {"apikey": 1}, [], "text"])
def test_guest_with_malformed_options(router: Start, ips: list[str], options: object) -> None:
    """The paths of a guest whose options were probably meant to protect are closed, and nobody else gets them."""
    here = router()
    here.serve(
        namespace("a", {HOST: {"sharedWith": ["b"]}}),
        pod("a", "web-0", ips[0], [entry("/"), entry("/a")], DECLARED),
        namespace("b", {HOST: options}, LATER),
        pod("b", "web-0", ips[1], [entry("/b")], DECLARED),
    )
    assert [here.ask(HOST, uri).status for uri in ("/a", "/b")] == [200, 403]
    assert "ssl has its options from" not in told(here)


def test_challenges_with_a_target_are_like_other_paths(router: Start, ips: list[str], authority: Authority) -> None:
    """What a challenge is passed on to lies below the challenges' path in the Pod too."""
    here = router()
    certificate, key = authority.issue("secure.dev")
    here.serve(
        namespace("a", {"secure.dev": tls(), HOST: {}}),
        secret("a", api_key="key", ssl_crt=certificate, ssl_key=key),
        pod("a", "web-0", ips[0], [entry(ACME, targetPath="/")], DECLARED),
    )
    assert here.ask("secure.dev", f"{ACME}/admin").status == 308
    assert here.ask(HOST, f"{ACME}/admin").status == 403


def test_hsts_below_a_wildcard_of_others(router: Start, ips: list[str], authority: Authority) -> None:
    """The names below a host may be those of another Namespace's wildcard above it."""
    here = router()
    certificate, key = authority.issue("x.b.dev")
    hsts = {"hsts": {"maxAge": "1h", "includeSubDomains": True}}
    here.serve(
        namespace("a", {"*.b.dev": {"sharedWith": ["b"]}}),
        namespace("b", {"x.b.dev": tls() | hsts}, LATER),
        secret("b", ssl_crt=certificate, ssl_key=key),
        pod("b", "web-0", ips[1], [entry("/")], DECLARED),
    )
    assert here.ask_tls("x.b.dev", "/").headers["strict-transport-security"] == "max-age=3600"
    assert "hsts.includeSubDomains is left out, with preload: another Namespace has *.b.dev" in told(here)


@pytest.mark.parametrize("denied", [False, True])
def test_maintenance_that_is_off_is_not_denied(router: Start, ips: list[str], *, denied: bool) -> None:
    here = router(DENIED_OPTIONS="maintenance" if denied else "")
    hosts: dict[str, Any] = {HOST: {"maintenance": False}}
    here.serve(namespace("a", hosts), pod("a", "web-0", ips[0], [entry("/")], DECLARED))
    assert here.ask(HOST, "/").status == 200


@pytest.mark.parametrize("value", ["::ffff:203.0.113.7", "::ffff:0:0/100", "255.255.255.255"])
def test_ranges_that_nginx_reads_otherwise(router: Start, ips: list[str], value: str) -> None:
    """A protection with such a range closes its path, and a maintenance exempts nobody."""
    here = router()
    hosts: dict[str, Any] = {HOST: {}, "b.dev": {"maintenance": {"allow": [value, "127.0.0.1"]}}}
    paths = [entry("/"), entry("/x", access={"deny": [value]})]
    here.serve(namespace("a", hosts), pod("a", "web-0", ips[0], paths, DECLARED))
    assert [here.ask(HOST, "/").status, here.ask(HOST, "/x").status, here.ask("b.dev", "/").status] == [200, 403, 503]


@pytest.mark.parametrize("number", [3, 10, 30])
def test_challenges_of_hosts_with_tls_count_twice(
    router: Start, ips: list[str], authority: Authority, number: int
) -> None:
    """They are locations of two servers; together there are never more than the Namespace may have."""
    here = router(MAX_LOCATIONS_PER_NAMESPACE="40")
    certificate, key = authority.issue("a.dev")
    paths = [entry(f"{ACME}/{one}") for one in range(number)] + [entry(f"/{one}") for one in range(number)]
    cycle = here.serve(
        namespace("a", {"a.dev": tls()}),
        secret("a", ssl_crt=certificate, ssl_key=key),
        pod("a", "web-0", ips[0], paths, DECLARED),
    )
    text = cycle.files["nginx.conf"].content.decode()
    assert text.count("proxy_pass ") <= 40
    assert here.ask("a.dev", f"{ACME}/0").status == 200


def test_kept_paths_leave_room_for_options(router: Start, ips: list[str]) -> None:
    """Kept paths get what room the options of other paths leave."""
    here = router(MAX_LOCATIONS_PER_NAMESPACE="60")
    policy = {"allowOrigins": ["https://a.dev"]}
    hosts: dict[str, Any] = {HOST: {"keepPaths": [f"/kept{one}" for one in range(60)]}}
    paths = [entry(f"/{one}", cors=policy) for one in range(9)]
    cycle = here.serve(namespace("a", hosts), pod("a", "web-0", ips[0], paths, DECLARED))
    text = cycle.files["nginx.conf"].content.decode()
    assert text.count("try_files /no-ready-pod ") <= 6  # 60, less nine paths of two locations and two of each policy
