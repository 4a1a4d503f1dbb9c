"""What a request gets: every row of the routing rules, tested with a running nginx and real servers as Pods."""

import base64
import http.client
import json
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from typing import Any

import httpx
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from support.authority import Authority
from support.backends import Backends
from support.objects import namespace, pod, secret, tls
from support.pods import DECLARED, HOST, PORT, entry
from support.ports import has_ipv6
from support.router import Router
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect

from reconciler.rendering.comparison import compare

Start = Callable[..., Router]


def serve_paths(router: Router, ip: str, *entries: object) -> None:
    router.serve(namespace("a", {HOST: {}}), pod("a", "web-0", ip, list(entries), DECLARED))


# Hosts


def test_unknown_host(router: Start) -> None:
    """For an unknown host the connection is closed without an answer, and the status path answers 200."""
    here = router()
    here.serve(namespace("a", {HOST: {}}))
    assert here.is_closed_on("unknown.example.com")
    assert here.ask("unknown.example.com", "/dispatcher/status").status == 200
    assert here.ask(HOST, "/dispatcher/status").status == 404


def test_unknown_host_on_the_tls_port(router: Start, authority: Authority) -> None:
    """For an unknown host the TLS port, with the default certificate, closes too, and answers the status path."""
    here = router()
    here.serve()
    context = authority.trust()
    context.check_hostname = False
    with pytest.raises(http.client.RemoteDisconnected):
        here.ask_tls("unknown.example.com", "/", context=context)
    assert here.ask_tls("unknown.example.com", "/dispatcher/status", context=context).status == 200


def test_status_path_is_a_setting(router: Start) -> None:
    """NGINX_STATUS_PATH moves the status path."""
    here = router(NGINX_STATUS_PATH="/healthz")
    here.serve()
    assert here.ask("unknown.example.com", "/healthz").status == 200
    assert here.is_closed_on("unknown.example.com", "/dispatcher/status")


@pytest.mark.parametrize(
    ("named", "asked"),
    [
        ("Test.K8s.Local", "test.k8s.local"),
        ("test.k8s.local", "TEST.k8s.LOCAL"),
        ("*.example.com", "a.example.com"),
        ("*.example.com", "b.a.example.com"),
        ("127.0.0.1", "127.0.0.1"),
        ("::1", "[::1]"),
        ("test.k8s.local", "test.k8s.local:8080"),
        (".".join(["a" * 63] * 3 + ["a" * 61]), ".".join(["a" * 63] * 3 + ["a" * 61])),
    ],
)
def test_legal_hosts(router: Start, ips: list[str], named: str, asked: str) -> None:
    """A name in any case, a wildcard, an address and a name of 253 characters are legal hosts."""
    here = router()
    here.serve(namespace("a", {named: {}}), pod("a", "web-0", ips[0], [entry("/")], DECLARED))
    assert here.ask(asked, "/x").told["headers"]["host"] == asked


def test_many_hosts_of_any_length(router: Start) -> None:
    """Two thousand hosts of mixed length are loaded."""
    here = router()
    hosts = [f"{'x' * (place % 60 + 1)}.h{place}.example.com" for place in range(2000)]
    homes = [namespace(f"n{place}", {host: {} for host in hosts[place::4]}) for place in range(4)]
    cycle = here.serve(*homes)
    assert len(cycle.table.routes.hosts) == 2000
    assert here.ask(hosts[-1], "/").status == 404


def test_known_host_without_a_path(router: Start, ips: list[str]) -> None:
    """A known host answers DEFAULT_LOCATION_RETURN if no path matches."""
    here = router(DEFAULT_LOCATION_RETURN="418")
    serve_paths(here, ips[0], entry("/foo"))
    assert [here.ask(HOST, uri).status for uri in ("/", "/bar", "/foobar", "/foo")] == [418, 418, 418, 200]


def test_default_location_can_be_another_server(router: Start, ips: list[str]) -> None:
    """DEFAULT_LOCATION_RETURN may be a URI, to which requests are passed on if no path matches."""
    here = router(DEFAULT_LOCATION_RETURN=f"http://{ips[2]}:{PORT}")
    serve_paths(here, ips[0], entry("/foo"))
    assert here.ask(HOST, "/bar?x=1").told["pod"] == f"{ips[2]}:{PORT}"
    assert here.ask(HOST, "/foo").told["pod"] == f"{ips[0]}:{PORT}"


def test_one_host_in_two_namespaces(router: Start, ips: list[str]) -> None:
    """Each Namespace may add paths to a host; a path that both claim belongs to the older Namespace alone."""
    here = router(HOST_SHARING="any")
    cycle = here.serve(
        namespace("young", {HOST: {}}, created="2026-11-22T18:06:05Z"),
        namespace("old", {HOST: {}}, created="2026-11-22T18:06:04Z"),
        pod("young", "web-0", ips[0], [entry("/both"), entry("/young")], DECLARED),
        pod("old", "web-0", ips[1], [entry("/both"), entry("/old")], DECLARED),
    )
    pods = {uri: here.ask(HOST, uri).told["pod"].split(":")[0] for uri in ("/both", "/both/x", "/young", "/old")}
    assert pods == {"/both": ips[1], "/both/x": ips[1], "/young": ips[0], "/old": ips[1]}
    (problem,) = cycle.table.problems
    assert "Namespace young: host test.k8s.local path '/both' is taken by Namespace old" in str(problem)


# Paths


@pytest.mark.parametrize("base", ["/foo", "/foo/"])
def test_prefix_on_a_segment_boundary(router: Start, ips: list[str], base: str) -> None:
    """`/foo` matches `/foo` and the paths below it, and not `/foobar`."""
    here = router()
    serve_paths(here, ips[0], entry(base))
    answers = {uri: here.ask(HOST, uri).status for uri in ("/foo", "/foo/", "/foo/x", "/foo?q", "/foobar", "/fo", "/")}
    assert [uri for uri, status in answers.items() if status == 200] == ["/foo", "/foo/", "/foo/x", "/foo?q"]


def test_longest_path_wins(router: Start, ips: list[str]) -> None:
    """Of two paths that match, the longer one takes the request."""
    here = router()
    here.serve(
        namespace("a", {HOST: {}}),
        pod("a", "web-0", ips[0], [entry("/")], DECLARED),
        pod("a", "web-1", ips[1], [entry("/foo")], DECLARED),
    )
    assert here.ask(HOST, "/foo/x").told["pod"].startswith(ips[1])
    assert here.ask(HOST, "/fo").told["pod"].startswith(ips[0])
    assert here.ask(HOST, "/").told["pod"].startswith(ips[0])


@pytest.mark.parametrize(
    ("base", "uri"),
    [("/caf%C3%A9", "/caf%c3%a9/x"), ("/a%20b", "/a%20b"), ("/a b", None), ("/%7Ea", "/~a"), ("/a%2Fb", "/a/b"),
     ("/a$uri", "/a$uri"), ("/a%22%7B%7D%3B%5C", "/a%22%7b%7d%3b%5C"), ("/%FF", "/%FF")],
)  # fmt: skip
def test_percent_encoded_paths(router: Start, ips: list[str], base: str, uri: str | None) -> None:
    """Percent-encoded characters are legal, and nginx matches them decoded."""
    here = router()
    serve_paths(here, ips[0], entry(base))
    assert uri is None or here.ask(HOST, uri).told["uri"] == uri
    assert here.ask(HOST, "/a").status == 404


def test_exact_path(router: Start, ips: list[str]) -> None:
    """`=/foo` matches exactly that path, and comes before the prefix `/foo`."""
    here = router()
    here.serve(
        namespace("a", {HOST: {}}),
        pod("a", "web-0", ips[0], [entry("/foo")], DECLARED),
        pod("a", "web-1", ips[1], [entry("=/foo")], DECLARED),
    )
    assert here.ask(HOST, "/foo").told["pod"].startswith(ips[1])
    assert here.ask(HOST, "/foo/").told["pod"].startswith(ips[0])


def test_regular_expressions_are_off(router: Start, ips: list[str]) -> None:
    """A regular expression is a problem unless the setting allows it."""
    here = router()
    serve_paths(here, ips[0], entry("~^/v[0-9]+/"))
    assert here.ask(HOST, "/v1/").status == 404
    assert here.last
    assert "which is turned off" in str(here.last.table.problems[0])


def test_regular_expressions(router: Start, ips: list[str]) -> None:
    """With ALLOW_REGEX_PATHS `~` and `~*` match as in nginx; `~*` ignores the case."""
    here = router(ALLOW_REGEX_PATHS="true")
    serve_paths(here, ips[0], entry("~^/v[0-9]+/"), entry(r"~*\.(png|jpg)$"))
    answers = {uri: here.ask(HOST, uri).status for uri in ("/v1/x", "/V1/x", "/a/B.PNG", "/a.gif")}
    assert answers == {"/v1/x": 200, "/V1/x": 404, "/a/B.PNG": 200, "/a.gif": 404}


def test_regular_expressions_cost_little(router: Start, ips: list[str]) -> None:
    """PCRE gives up if an expression takes long to match a path, and no expression is tried on a long path."""
    here = router(ALLOW_REGEX_PATHS="true")
    serve_paths(here, ips[0], entry("/"), *(entry(f"~^/[a-z]*[a-z]*z{number}") for number in range(30)))
    assert here.ask(HOST, "/aaz1").status == 200
    assert here.ask(HOST, "/" + "a" * 500 + "0123456789").status == 500
    assert [here.ask(HOST, "/" + "-" * length + "?" + "q" * 5000).status for length in (1023, 1024)] == [200, 414]
    assert here.last
    assert "regular expressions are 30; the first 20 by name are served" in str(here.last.table.problems[0])
    assert len([one for one in here.last.table.routes.hosts[0].locations if one.match.is_regex]) == 20


def test_regular_expressions_are_for_the_host_s_owner(router: Start, ips: list[str]) -> None:
    """On a shared host only the oldest Namespace's regular expressions count; those of a younger one are a problem."""
    here = router(ALLOW_REGEX_PATHS="true", HOST_SHARING="any")
    cycle = here.serve(
        namespace("old", {HOST: {}}, created="2026-11-22T18:06:04Z"),
        namespace("young", {HOST: {}, "young.dev": {}}, created="2026-11-22T18:06:05Z"),
        pod("old", "web-0", ips[0], [entry("/old"), entry("~^/v[0-9]")], DECLARED),
        pod("young", "web-0", ips[1], [entry("~^.*"), entry("/")], DECLARED),
    )
    assert here.ask(HOST, "/old/x").told["pod"].startswith(ips[0])
    assert here.ask(HOST, "/v1/x").told["pod"].startswith(ips[0])
    assert here.ask(HOST, "/other").told["pod"].startswith(ips[1])
    assert here.ask("young.dev", "/other").told["pod"].startswith(ips[1])
    (problem,) = cycle.table.problems
    assert "is a regular expression, and the host is not this Namespace's alone; Namespace old has it" in str(problem)


@pytest.mark.parametrize(
    ("base", "target", "uri", "sent"),
    [
        ("/foo", "/bar", "/foo/1", "/bar/1"),
        ("/foo", "/bar", "/foo", "/bar"),
        ("/foo", "/bar", "/foo/?q=/foo", "/bar/?q=/foo"),
        ("/foo", "/bar/", "/foo/1", "/bar/1"),
        ("/foo/", "/bar", "/foo/1?a=b", "/bar/1?a=b"),
        ("/", "/bar", "/x", "/bar/x"),
        ("/foo", "/", "/foo/x", "/x"),
        ("/foo", "/", "/foo", "/"),
        ("/foo", "/$request_uri", "/foo/x", "/%24request_uri/x"),
        ("/foo", "/a%20b", "/foo/x", "/a%20b/x"),
        ("=/foo", "/bar", "/foo?q", "/bar?q"),
        ("/foo", None, "/foo//a%2e/...//b%2Fc;d?x=%20/../", "/foo//a%2e/...//b%2Fc;d?x=%20/../"),
        ("/foo", None, "/foo", "/foo"),
        ("/foo", "/foo", "/foo/a%2Fb//c%2B", "/foo/a%2Fb//c%2B"),
        ("/foo", "/foo/", "/foo", "/foo/"),
        ("/", "/", "/a%2Fb//c%2B", "/a%2Fb//c%2B"),
    ],
)
def test_target_path(router: Start, ips: list[str], base: str, target: str | None, uri: str, sent: str) -> None:
    """TargetPath replaces basePath, joined by one slash; without it the URI is passed on byte for byte."""
    here = router()
    serve_paths(here, ips[0], entry(base, **({"targetPath": target} if target else {})))
    assert here.ask(HOST, uri).told["uri"] == sent


@pytest.mark.parametrize("port", [PORT, str(PORT), "http"], ids=["number", "text", "name"])
def test_container_port(router: Start, ips: list[str], port: object) -> None:
    """ContainerPort is a number, a numeric string or a port's name."""
    here = router()
    serve_paths(here, ips[0], {"basePath": "/", "containerPort": port})
    assert here.ask(HOST, "/").status == 200


def test_port_of_a_sidecar(router: Start, ips: list[str]) -> None:
    """The ports of an init container count if its restartPolicy is Always; otherwise they do not."""
    here = router()
    wanted = pod("a", "web-0", ips[0], [entry("/")], [])
    wanted["spec"]["initContainers"] = [{"name": "proxy", "restartPolicy": "Always", "ports": DECLARED}]
    here.serve(namespace("a", {HOST: {}}), wanted)
    assert here.ask(HOST, "/").status == 200
    wanted["spec"]["initContainers"][0].pop("restartPolicy")
    here.serve(namespace("a", {HOST: {}}), wanted)
    assert here.ask(HOST, "/").status == 404


def test_weight(router: Start, ips: list[str]) -> None:
    """A Pod of weight 3 gets three requests for each one of a Pod of weight 1."""
    here = router()
    here.serve(
        namespace("a", {HOST: {}}),
        pod("a", "web-0", ips[0], [entry("/", weight=3)], DECLARED),
        pod("a", "web-1", ips[1], [entry("/")], DECLARED),
    )
    # Each worker counts on its own; all requests of one connection reach the same worker.
    with httpx.Client(base_url=f"http://127.0.0.1:{here.port}", headers={"host": HOST}) as client:
        pods = [client.get("/").json()["pod"].split(":")[0] for _ in range(8)]
    assert (pods.count(ips[0]), pods.count(ips[1])) == (6, 2)


def test_pods_come_and_go(router: Start, ips: list[str]) -> None:
    """A Pod serves only while it is Running, is ready, has an address and is not being deleted."""
    here = router()
    home = namespace("a", {HOST: {}})
    good = pod("a", "web-0", ips[0], [entry("/")], DECLARED)
    unready = pod("a", "web-1", ips[1], [entry("/")], DECLARED)
    unready["status"]["conditions"] = [{"type": "Ready", "status": "False"}]
    pending = pod("a", "web-2", ips[2], [entry("/")], DECLARED)
    pending["status"]["phase"] = "Pending"
    leaving = pod("a", "web-3", ips[2], [entry("/")], DECLARED, deletionTimestamp="2026-11-22T18:07:00Z")
    homeless = pod("a", "web-4", "", [entry("/")], DECLARED)
    here.serve(home, good, unready, pending, leaving, homeless)
    assert {here.ask(HOST, "/").told["pod"].split(":")[0] for _ in range(8)} == {ips[0]}
    unready["status"].pop("conditions")
    here.serve(home, good, unready, pending, leaving, homeless)
    assert {here.ask(HOST, "/").told["pod"].split(":")[0] for _ in range(16)} == set(ips[:2])
    here.serve(home)
    assert here.ask(HOST, "/").status == 404


def test_readiness_can_be_ignored(router: Start, ips: list[str]) -> None:
    """IGNORE_POD_READINESS routes to Pods that are not ready."""
    here = router(IGNORE_POD_READINESS="true")
    unready = pod("a", "web-0", ips[0], [entry("/")], DECLARED)
    unready["status"]["conditions"] = [{"type": "Ready", "status": "False"}]
    here.serve(namespace("a", {HOST: {}}), unready)
    assert here.ask(HOST, "/").status == 200


@pytest.mark.skipif(not has_ipv6(), reason="there is no IPv6 here")
def test_ipv6_pod(router: Start, backends: Backends) -> None:
    """A Pod with an IPv6 address is served."""
    backends.listen("::1", PORT)
    here = router()
    serve_paths(here, "::1", entry("/"))
    assert here.ask(HOST, "/").told["pod"] == f"::1:{PORT}"


def test_paths_are_there_on_every_host(router: Start, ips: list[str]) -> None:
    """All hosts of a Namespace have all its paths; each path has one upstream."""
    here = router()
    cycle = here.serve(
        namespace("a", {"one.example.com": {}, "two.example.com": {}}),
        pod("a", "web-0", ips[0], [entry("/x"), entry("/y")], DECLARED),
    )
    for host in ("one.example.com", "two.example.com"):
        assert [here.ask(host, uri).status for uri in ("/x", "/y")] == [200, 200]
    assert len(cycle.table.routes.upstreams) == 2


def test_pods_that_disagree(router: Start, ips: list[str]) -> None:
    """If Pods disagree, the targetPath of the oldest Pod counts for all, and the others get a problem."""
    here = router()
    cycle = here.serve(
        namespace("a", {HOST: {}}),
        pod(
            "a", "a-young", ips[0], [entry("/", targetPath="/new")], DECLARED, creationTimestamp="2026-11-22T18:06:09Z"
        ),
        pod("a", "b-old", ips[1], [entry("/", targetPath="/old")], DECLARED, creationTimestamp="2026-11-22T18:06:04Z"),
    )
    assert {here.ask(HOST, "/x").told["uri"] for _ in range(8)} == {"/old/x"}
    assert [problem.resource.name for problem in cycle.table.problems] == ["a-young"]


def test_bad_entry_is_left_out_alone(router: Start, ips: list[str]) -> None:
    """The bad entries among a Pod's paths are left out, and the others are served."""
    here = router()
    bad = [entry("/x { return 200; } location /y"), {"basePath": "/p", "containerPort": 1}, 7, entry("/w", weight=0)]
    serve_paths(here, ips[0], *bad, entry("/good", colour="red"))
    assert [here.ask(HOST, uri).status for uri in ("/good", "/x", "/y", "/p", "/w")] == [200, 404, 404, 404, 404]
    assert here.last
    assert len(here.last.table.problems) == 5


# Tenants against each other on one host

OLD, YOUNG = "2026-11-22T18:06:04Z", "2026-11-22T18:06:05Z"


def serve_both(router: Router, ips: list[str], victim: list[object], attacker: list[object]) -> None:
    """Serve an older Namespace with an API key, and a younger one with another key on the same host."""
    router.serve(
        namespace("victim", {HOST: {}}, created=OLD),
        namespace("attacker", {HOST: {}}, created=YOUNG),
        pod("victim", "web-0", ips[0], victim, DECLARED),
        pod("attacker", "web-0", ips[1], attacker, DECLARED),
        secret("victim", api_key="victim's"),
        secret("attacker", api_key="attacker's"),
    )


VICTIMS, ATTACKERS = (base64.b64encode(key.encode()).decode() for key in ("victim's", "attacker's"))


@pytest.mark.parametrize("base", ["/api/" + "z" * 245, "/api/" + "z" * 400, "/" + "%C3%A9" * 130, "/api" + "/b" * 200])
def test_long_path_takes_nothing_of_a_shorter_one(router: Start, ips: list[str], base: str) -> None:
    """A long path takes no requests of a shorter path, although nginx stores a path's length in one byte."""
    here = router()
    serve_both(here, ips, [entry("/"), entry("/api")], [entry(base)])
    for uri in ("/api/x", "/api/orders/17", "/api/zzz", "/x", base[:61]):
        assert here.ask(HOST, uri, X_ROUTING_API_KEY=VICTIMS).told["pod"].startswith(ips[0])


@pytest.mark.parametrize("uri", ["/b/secret", "/b", "api-key", "/a/secret"])
def test_pod_cannot_send_a_request_on(router: Start, ips: list[str], uri: str) -> None:
    """A Pod's X-Accel-Redirect leads to no other Namespace's Pod, and to no location at all."""
    here = router(HOST_SHARING="any")
    serve_both(here, ips, [entry("/b")], [entry("/a")])
    answer = here.ask(HOST, "/a/answer-with", X_ROUTING_API_KEY=ATTACKERS, X_Answer_Accel=uri)
    assert answer.told["pod"].startswith(ips[1])
    assert here.ask(HOST, "/b/secret", X_ROUTING_API_KEY=ATTACKERS).status == 403


@pytest.mark.parametrize("base", ["/b", "/b/", "=/b", "=/b/", "/%62", "=/%62%2F"])
def test_place_of_a_path_cannot_be_taken(router: Start, ips: list[str], base: str) -> None:
    """No form of a path takes what belongs to an older Namespace's `/b`: `/b`, `/b/` and the paths below."""
    here = router(HOST_SHARING="any")
    serve_both(here, ips, [entry("/b")], [entry(base), entry("/mine")])
    for uri in ("/b", "/b/", "/b/x", "/%62/"):
        assert here.ask(HOST, uri, X_ROUTING_API_KEY=VICTIMS).told["pod"].startswith(ips[0])
        assert here.ask(HOST, uri, X_ROUTING_API_KEY=ATTACKERS).status == 403
    assert here.ask(HOST, "/mine", X_ROUTING_API_KEY=ATTACKERS).status == 200
    assert here.last
    assert [problem.resource.name for problem in here.last.table.problems] == ["attacker"]


# What is passed on to the Pod, and back


def test_headers_to_the_pod(router: Start, ips: list[str]) -> None:
    """Host is passed on as sent; X-Forwarded-*, X-Real-IP and X-Request-ID are set, whatever the client sent there."""
    here = router()
    serve_paths(here, ips[0], entry("/"))
    forged = dict.fromkeys(
        ("X_Real_IP", "X_Forwarded_For", "X_Forwarded_Host", "X_Forwarded_Proto", "X_Request_ID"), "x"
    )
    told = here.ask("TEST.k8s.local:80", "/", **forged).told["headers"]
    assert len(told.pop("x-request-id")) == 32
    assert {name: value for name, value in told.items() if name.startswith("x-") or name == "host"} == {
        "host": "TEST.k8s.local:80",
        "x-real-ip": "127.0.0.1",
        "x-forwarded-for": "127.0.0.1",
        "x-forwarded-proto": "http",
        "x-forwarded-host": "TEST.k8s.local:80",
    }


def test_upstream_keep_alive(router: Start, ips: list[str]) -> None:
    """Requests of one client connection reach the Pod over one kept connection."""
    here = router()
    serve_paths(here, ips[0], entry("/"))
    with httpx.Client(base_url=f"http://127.0.0.1:{here.port}", headers={"host": HOST}) as client:
        answers = [client.get("/").json() for _ in range(5)]
    assert len({answer["client"] for answer in answers}) == 1
    assert "upgrade" not in answers[0]["headers"]


@pytest.mark.parametrize("path", ["/", "/chat", "/chat/room"])
def test_websocket(router: Start, ips: list[str], path: str) -> None:
    """WebSocket upgrades work on every path."""
    here = router()
    serve_paths(here, ips[0], entry("/"), entry("/chat"))
    raw = socket.create_connection(("127.0.0.1", here.port), timeout=20)
    with connect(f"ws://{HOST}{path}", sock=raw) as websocket:
        websocket.send("hello")
        assert websocket.recv(timeout=20) == f"{ips[0]}:{PORT} hello"


def test_websocket_with_an_api_key(router: Start, ips: list[str]) -> None:
    """The API key is checked before a WebSocket is upgraded; with the key the upgrade works."""
    here = router()
    serve_with_key(here, ips[0], KEY)
    raw = socket.create_connection(("127.0.0.1", here.port), timeout=20)
    with connect(f"ws://{HOST}/foo", sock=raw, additional_headers={"X-ROUTING-API-KEY": SENT}) as websocket:
        websocket.send("hello")
        assert websocket.recv(timeout=20) == f"{ips[0]}:{PORT} hello"
    with (
        socket.create_connection(("127.0.0.1", here.port), timeout=20) as raw,
        pytest.raises(InvalidStatus, match="403"),
    ):
        connect(f"ws://{HOST}/foo", sock=raw)


def test_other_upgrades_do_not_go_on(router: Start, ips: list[str]) -> None:
    """An upgrade to another protocol than WebSocket is not passed on, because it could bypass the rules."""
    here = router()
    serve_paths(here, ips[0], entry("/"))
    told = here.ask(
        HOST, "/", Upgrade="h2c", Connection="Upgrade, HTTP2-Settings", HTTP2_Settings="AAMAAABkAARAAAAA"
    ).told
    assert "upgrade" not in told["headers"]


def test_streaming(router: Start, ips: list[str], backends: Backends) -> None:
    """A response with X-Accel-Buffering: no arrives piece by piece."""
    here = router()
    serve_paths(here, ips[0], entry("/"))
    url = f"http://127.0.0.1:{here.port}/stream"
    with httpx.stream("GET", url, headers={"host": HOST}, timeout=20) as response:
        pieces = response.iter_raw()
        assert next(pieces) == b"first,"
        backends.let_go()
        assert b"".join(pieces) == b"second"


def test_request_bodies_stream(router: Start, backends: Backends) -> None:
    """A request's body reaches the Pod before it is complete."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        here = router()
        port = listener.getsockname()[1]
        here.serve(
            namespace("a", {HOST: {}}),
            pod("a", "web-0", "127.0.0.1", [{"basePath": "/", "containerPort": port}], [{"containerPort": port}]),
        )
        with socket.create_connection(("127.0.0.1", here.port), timeout=20) as client:
            client.sendall(f"PUT / HTTP/1.1\r\nHost: {HOST}\r\nContent-Length: 1000000\r\n\r\nbeginning".encode())
            listener.settimeout(20)
            upstream, _ = listener.accept()
            with upstream:
                upstream.settimeout(20)
                seen = b""
                while b"beginning" not in seen:
                    piece = upstream.recv(65536)
                    assert piece, seen
                    seen += piece


def test_large_bodies(router: Start, ips: list[str]) -> None:
    """A body of any size passes, unless NGINX_MAX_CLIENT_BODY_SIZE limits it."""
    here = router()
    serve_paths(here, ips[0], entry("/"))
    assert here.ask(HOST, "/", "POST", b"x" * 3_000_000).told["size"] == 3_000_000
    limited = router(NGINX_MAX_CLIENT_BODY_SIZE="1k")
    serve_paths(limited, ips[0], entry("/"))
    assert limited.ask(HOST, "/", "POST", b"x" * 1025).status == 413


# API keys

KEY = "s3cret-Key"
SENT = base64.b64encode(KEY.encode()).decode()


def serve_with_key(router: Router, ip: str, value: str | bytes, field: str = "api_key") -> None:
    router.serve(
        namespace("a", {HOST: {}}), pod("a", "web-0", ip, [entry("/foo")], DECLARED), secret("a", **{field: value})
    )


@pytest.mark.parametrize(
    ("sent", "status"),
    [(SENT, 200), (None, 403), (KEY, 403), (SENT.lower(), 403), (SENT + "=", 403), (SENT[:-1], 403), ("", 403),
     (f"{SENT}x", 403)],
)  # fmt: skip
def test_api_key(router: Start, ips: list[str], sent: str | None, status: int) -> None:
    """With a key in the Secret, a request needs exactly its base64 form, else it gets 403; other paths need no key."""
    here = router()
    serve_with_key(here, ips[0], KEY)
    headers = {} if sent is None else {"X_ROUTING_API_KEY": sent}
    assert [here.ask(HOST, uri, **headers).status for uri in ("/foo", "/foo/x", "/bar")] == [status, status, 404]
    assert here.ask(HOST, "/foo", "POST", b"body" * 5000, **headers).status == status


@pytest.mark.parametrize("value", ["", b"x" * 2049])
def test_unusable_key_closes(router: Start, ips: list[str], value: str | bytes) -> None:
    """A key that is empty or too long closes the Namespace's paths, and is a problem."""
    here = router()
    serve_with_key(here, ips[0], value)
    for sent in (None, "", base64.b64encode(value.encode() if isinstance(value, str) else value[:100]).decode()):
        assert here.ask(HOST, "/foo", **({} if sent is None else {"X_ROUTING_API_KEY": sent})).status == 403
    assert here.last
    assert "all paths answer 403" in str(here.last.table.problems[0])


def test_another_field_is_no_key(router: Start, ips: list[str]) -> None:
    """If the Secret does not have the key's field, no key is needed."""
    here = router()
    serve_with_key(here, ips[0], KEY, field="other")
    assert here.ask(HOST, "/foo").status == 200


def test_key_settings(router: Start, ips: list[str]) -> None:
    """API_KEY_SECRET_FIELD and API_KEY_HEADER name another field and another header, even one with an underscore."""
    here = router(API_KEY_SECRET_FIELD="other", API_KEY_HEADER="X_My-Key")
    serve_with_key(here, ips[0], KEY, field="other")
    connection = http.client.HTTPConnection("127.0.0.1", here.port, timeout=20)
    connection.request("GET", "/foo", headers={"Host": HOST, "X_My-Key": SENT})
    assert connection.getresponse().status == 200
    connection.close()
    assert here.ask(HOST, "/foo", X_ROUTING_API_KEY=SENT).status == 403


def send(router: Router, *lines: str) -> dict[str, str]:
    """Send a request's header lines as they are, and give the headers that reached the Pod."""
    connection = http.client.HTTPConnection("127.0.0.1", router.port, timeout=20)
    connection.putrequest("GET", "/foo", skip_accept_encoding=True, skip_host=True)
    for name, _, value in (line.partition(": ") for line in (f"Host: {HOST}", *lines)):
        connection.putheader(name, value)
    connection.endheaders()
    response = connection.getresponse()
    body = response.read()
    connection.close()
    return dict(json.loads(body)["headers"]) if response.status == 200 else {"status": str(response.status)}


@pytest.mark.parametrize(
    ("header", "lines"),
    [
        ("X-ROUTING-API-KEY", ["X-ROUTING-API-KEY"]),
        ("X-ROUTING-API-KEY", ["x-Routing-api-KEY"]),
        ("X-ROUTING-API-KEY", ["X-ROUTING-API-KEY", "X-Routing-Api-Key"]),
        ("X-ROUTING-API-KEY", ["X-ROUTING-API-KEY", "X_ROUTING_API_KEY", "X-ROUTING_API-KEY"]),
        ("X_My-Key", ["X_My-Key"]),
        ("X_My-Key", ["X-My-Key"]),
        ("X_My-Key", ["x-my_key", "X_MY_KEY", "X-MY-KEY"]),
        ("_-x-", ["_-X-", "--x_", "__x_"]),
        ("Authorization", ["Authorization"]),
    ],
)
def test_key_does_not_go_on(router: Start, ips: list[str], header: str, lines: list[str]) -> None:
    """The API key reaches no Pod, whatever the case, spelling or repetition of its header, even without the check."""
    here = router(API_KEY_HEADER=header)
    for served in ("api_key", "other"):
        serve_with_key(here, ips[0], KEY, field=served)
        told = send(here, *(f"{line}: {SENT}" for line in lines), "X-Other: y")
        # nginx 1.23 and later read repeated headers as one value, which is not a valid key.
        if told != {"status": "403"} or len(lines) == 1 or served == "other":
            assert told["x-other"] == "y"
            assert SENT not in str(told)


def test_key_can_go_on(router: Start, ips: list[str]) -> None:
    """With API_KEY_FORWARD the API key is passed on to the Pod, whatever header it is in."""
    for header in ("X-ROUTING-API-KEY", "X_KEY", "forwarded", "Proxy-Authorization"):
        here = router(API_KEY_FORWARD="true", API_KEY_HEADER=header)
        serve_with_key(here, ips[0], KEY)
        assert send(here, f"{header}: {SENT}")[header.lower()] == SENT


def test_keys_are_the_namespaces_own(router: Start, ips: list[str]) -> None:
    """A Namespace's key opens only its own paths, even if the Namespace is called default."""
    here = router(HOST_SHARING="any")
    here.serve(
        namespace("default", {HOST: {}}, created="2026-11-22T18:06:04Z"),
        namespace("other", {HOST: {}}, created="2026-11-22T18:06:05Z"),
        namespace("open", {HOST: {}}, created="2026-11-22T18:06:06Z"),
        *(pod(name, "web-0", ips[0], [entry(f"/{name}")], DECLARED) for name in ("default", "other", "open")),
        secret("default", api_key="one"),
        secret("other", api_key="two"),
    )
    keys = {name: base64.b64encode(name.encode()).decode() for name in ("one", "two")}
    opened = [
        (name, uri)
        for name, key in keys.items()
        for uri in ("/default", "/other", "/open")
        if here.ask(HOST, uri, X_ROUTING_API_KEY=key).status == 200
    ]
    assert opened == [("one", "/default"), ("one", "/open"), ("two", "/other"), ("two", "/open")]


def test_rotated_key(router: Start, ips: list[str]) -> None:
    """After a rotation the new key opens the paths, and the old one does not."""
    here = router()
    serve_with_key(here, ips[0], "before")
    serve_with_key(here, ips[0], "after")
    before, after = (base64.b64encode(key).decode() for key in (b"before", b"after"))
    assert here.ask(HOST, "/foo", X_ROUTING_API_KEY=before).status == 403
    assert here.ask(HOST, "/foo", X_ROUTING_API_KEY=after).status == 200


def encode(key: str) -> str:
    return base64.b64encode(key.encode()).decode()


def serve_with_keys(router: Router, ip: str, keys: dict[str, str | bytes]) -> None:
    router.serve(namespace("a", {HOST: {}}), pod("a", "web-0", ip, [entry("/foo")], DECLARED), secret("a", **keys))


def find_opening(router: Router, *keys: str) -> list[str]:
    """List the keys that open a path."""
    return [key for key in keys if router.ask(HOST, "/foo", X_ROUTING_API_KEY=encode(key)).status == 200]


def test_several_keys(router: Start, ips: list[str]) -> None:
    """During a rotation each key opens the paths, exactly as it is written; other keys, or several at once, do not."""
    here = router()
    keys = {"api-key": "one", "api-key.next": "Two", "api-key.a.b-c": "3", "api-keys": "4", "api-key-5": "5"}
    serve_with_keys(here, ips[0], {**keys, "api-key.old": "one"})
    assert find_opening(here, "one", "Two", "3", "4", "5", "two", "", "one Two", "oneTwo") == ["one", "Two", "3"]
    assert here.ask(HOST, "/foo").status == 403
    assert here.last
    assert here.last.table.problems == ()


def test_another_field_is_enough(router: Start, ips: list[str]) -> None:
    """A further key is needed even if the main field is absent, so a rotation in the wrong order is not valid."""
    here = router()
    serve_with_keys(here, ips[0], {"api-key.next": "two"})
    assert find_opening(here, "two", "one", "") == ["two"]


def test_unusable_keys_of_several(router: Start, ips: list[str]) -> None:
    """An unusable key beside usable ones opens and closes nothing; if no key is usable, all paths are closed."""
    here = router()
    serve_with_keys(here, ips[0], {"api-key": "", "api-key.next": "two", "api-key.long": b"x" * 2049})
    assert find_opening(here, "two", "", "x" * 2049) == ["two"]
    assert here.last
    assert [problem.what for problem in here.last.table.problems] == ["field 'api-key.long'", "field api-key"]
    assert all("is not valid" in problem.why for problem in here.last.table.problems)
    serve_with_keys(here, ips[0], {"api-key": "", "api-key.next": ""})
    assert find_opening(here, "two", "") == []
    assert [problem.why for problem in here.last.table.problems] == ["is empty: all paths answer 403"] * 2


def test_most_keys(router: Start, ips: list[str]) -> None:
    """If a Namespace has more than eight keys, only the first eight by name are valid, and the others are a problem."""
    here = router()
    serve_with_keys(here, ips[0], {"api-key": "main", **{f"api-key.{place:02}": f"k{place:02}" for place in range(12)}})
    assert find_opening(here, "main", *(f"k{place:02}" for place in range(12))) == [
        "main",
        *(f"k{place:02}" for place in range(7)),
    ]
    assert here.last
    (problem,) = here.last.table.problems
    assert str(problem) == "Secret a/routing: API keys are 13; only the first 8 by name are valid; expected: at most 8"


def test_several_keys_are_the_namespaces_own(router: Start, ips: list[str]) -> None:
    """Namespaces on a shared host may have different numbers of keys, and no key opens another Namespace's paths."""
    here = router(HOST_SHARING="any")
    homes = [namespace(name, {HOST: {}}) for name in ("a", "b", "c")]
    pods = [pod(name, "web-0", ips[0], [entry(f"/{name}")], DECLARED) for name in ("a", "b", "c")]
    keys = [secret("a", api_key="a1"), secret("b", **{"api-key": "b1", "api-key.2": "b2", "api-key.3": "b3"})]
    here.serve(*homes, *pods, *keys)
    opened = {
        (key, path)
        for key in ("a1", "b1", "b2", "b3")
        for path in ("a", "b")
        if here.ask(HOST, f"/{path}", X_ROUTING_API_KEY=encode(key)).status == 200
    }
    assert opened == {("a1", "a"), ("b1", "b"), ("b2", "b"), ("b3", "b")}
    assert here.ask(HOST, "/c").status == 200


def test_rotation_is_compared(router: Start, ips: list[str]) -> None:
    """At each step of a rotation `--diff` reports that the Namespace's key changed, and shows no key."""
    here = router()
    trees = []
    for keys in ({}, {"api-key": "old"}, {"api-key": "old", "api-key.next": "new"}, {"api-key": "new"}, {}):
        serve_with_keys(here, ips[0], dict(keys))
        assert here.last
        trees.append(here.last.files)
    told = [[str(change) for change in compare(old, new) if change.kind == "key"] for old, new in pairwise(trees)]
    changed = ["~ key of Namespace a (changed)"]
    assert told == [["+ key of Namespace a"], changed, changed, ["- key of Namespace a"]]


def test_rotation_loses_no_request(router: Start, ips: list[str]) -> None:
    """During a rotation from the old key to both keys, then to the new key, each request with a valid key is served."""
    here = router()
    old, new = {"api-key": "old"}, {"api-key": "new"}
    serve_with_keys(here, ips[0], old)
    with asking(here, "old") as statuses:
        serve_with_keys(here, ips[0], {**old, "api-key.next": "new"})
    with asking(here, "new") as more:
        serve_with_keys(here, ips[0], {**new, "api-key.old": "old"})
    assert find_opening(here, "old", "new") == ["old", "new"]
    with asking(here, "new") as most:
        serve_with_keys(here, ips[0], new)
    assert {*statuses, *more, *most} == {200}
    assert find_opening(here, "old", "new") == ["new"]


@contextmanager
def asking(router: Router, key: str) -> Iterator[list[int]]:
    """Send requests, one after the other, while the block runs and a few before and after; give their statuses."""
    statuses: list[int] = []
    over = threading.Event()

    def ask() -> None:
        while not over.is_set():
            statuses.append(router.ask(HOST, "/foo", X_ROUTING_API_KEY=encode(key)).status)

    def wait_for_more() -> None:
        seen = len(statuses)
        while len(statuses) < seen + 5:
            assert thread.is_alive()
            time.sleep(0.001)

    thread = threading.Thread(target=ask)
    thread.start()
    try:
        wait_for_more()
        yield statuses
        wait_for_more()
    finally:
        over.set()
        thread.join()


def test_no_client_can_ask_for_the_key_check(router: Start, ips: list[str]) -> None:
    """The location that checks keys answers no request from outside."""
    here = router()
    serve_with_key(here, ips[0], KEY)
    for uri in ("api-key", "/api-key", "//api-key", "/./api-key"):
        assert here.ask(HOST, uri, X_ROUTING_API_KEY=SENT).status in (400, 404)


# TLS


def serve_tls(router: Router, ip: str, pems: dict[str, bytes], options: object = None) -> None:
    router.serve(
        namespace("a", {"secure.dev": options or tls()}),
        pod("a", "web-0", ip, [entry("/")], DECLARED),
        secret("a", **pems),
    )


def test_tls_host(router: Start, ips: list[str], authority: Authority) -> None:
    """A host with TLS answers with its own certificate on SSL_PORT, and PORT sends clients there."""
    here = router()
    certificate, key = authority.issue("secure.dev")
    serve_tls(here, ips[0], {"ssl_crt": certificate, "ssl_key": key})
    assert here.ask_tls("secure.dev", "/x").told["headers"]["x-forwarded-proto"] == "https"
    assert here.ask("secure.dev", "/x").headers["location"] == "https://secure.dev/x"


def test_plain_host_is_not_on_the_tls_port(router: Start, ips: list[str], authority: Authority) -> None:
    """A host without TLS is unknown on SSL_PORT."""
    here = router()
    serve_paths(here, ips[0], entry("/"))
    context = authority.trust()
    context.check_hostname = False
    with pytest.raises(http.client.RemoteDisconnected):
        here.ask_tls(HOST, "/", context=context)


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_tls_versions(router: Start, ips: list[str], authority: Authority, version: ssl.TLSVersion) -> None:
    """TLS 1.2 and 1.3 are supported."""
    here = router()
    certificate, key = authority.issue("secure.dev")
    serve_tls(here, ips[0], {"ssl_crt": certificate, "ssl_key": key})
    context = authority.trust()
    context.minimum_version = context.maximum_version = version
    assert here.ask_tls("secure.dev", "/", context=context).status == 200


def test_http2(router: Start, ips: list[str], authority: Authority) -> None:
    """A host with TLS supports HTTP/2, unless NGINX_HTTP2 turns it off."""
    certificate, key = authority.issue("secure.dev")
    for setting, spoken in (("true", "HTTP/2"), ("false", "HTTP/1.1")):
        here = router(NGINX_HTTP2=setting)
        serve_tls(here, ips[0], {"ssl_crt": certificate, "ssl_key": key})
        with httpx.Client(http2=True, verify=authority.trust()) as client:
            answer = client.get(
                f"https://127.0.0.1:{here.ssl_port}/x?y",
                headers={"host": "secure.dev"},
                extensions={"sni_hostname": "secure.dev"},
            )
        assert (answer.http_version, answer.json()["uri"]) == (spoken, "/x?y")
        assert answer.json()["headers"]["host"] == "secure.dev"


def test_client_certificates(router: Start, ips: list[str], authority: Authority) -> None:
    """With a clientCertificate only clients with a certificate of that authority are served."""
    here = router()
    certificate, key = authority.issue("secure.dev")
    pems = {"ssl_crt": certificate, "ssl_key": key, "client_crt": authority.pem}
    serve_tls(here, ips[0], pems, tls(client="client.crt"))
    assert here.ask_tls("secure.dev", "/").status == 400
    assert here.ask_tls("secure.dev", "/", context=authority.trust(client="ann")).status == 200


FORGED = {
    "X_SSL_Client_Verify": "SUCCESS", "X_SSL_Client_Subject_DN": "CN=root", "X_SSL_Client_Fingerprint": "f00",
    "X_SSL_Client_Serial": "f00",
}  # fmt: skip


def identity(told: dict[str, Any]) -> dict[str, str]:
    """Give the headers about a client's certificate that reached a Pod, in any spelling."""
    return {name: value for name, value in told["headers"].items() if "ssl-client" in name.replace("_", "-")}


@pytest.mark.parametrize("header", ["X-ROUTING-API-KEY", "X_KEY"])
def test_client_s_identity_goes_on(router: Start, ips: list[str], authority: Authority, header: str) -> None:
    """The Pod gets the client's identity only from the verified certificate, whatever headers the client sends."""
    here = router(API_KEY_HEADER=header)
    certificate, key = authority.issue("secure.dev")
    pems = {"ssl_crt": certificate, "ssl_key": key, "client_crt": authority.pem}
    serve_tls(here, ips[0], pems, tls(client="client.crt"))
    context = authority.trust(client="ann, CN=root")
    known = x509.load_pem_x509_certificate((authority.folder / "ann, CN=root.crt").read_bytes())
    told = identity(here.ask_tls("secure.dev", "/", context=context, **FORGED).told)
    assert int(told.pop("x-ssl-client-serial"), 16) == known.serial_number
    assert told == {
        "x-ssl-client-verify": "SUCCESS",
        "x-ssl-client-subject-dn": r"CN=ann\, CN=root",
        "x-ssl-client-fingerprint": known.fingerprint(hashes.SHA1()).hex(),
    }


@pytest.mark.parametrize("environment", [{}, {"API_KEY_HEADER": "X_KEY"}, {"SSL_CERT": "", "SSL_KEY": ""}])
def test_no_identity_without_a_certificate(
    router: Start, ips: list[str], authority: Authority, environment: dict[str, str]
) -> None:
    """On hosts that do not verify clients, with or without TLS, a client cannot claim an identity in any spelling."""
    here = router(**environment)
    spelled = [name.replace("_", "-", dashes) for name in FORGED for dashes in range(5)]
    serve_paths(here, ips[0], entry("/"))
    assert identity({"headers": send(here, "X-Other: y", *(f"{name}: SUCCESS" for name in spelled))}) == {}
    if "SSL_CERT" not in environment:
        certificate, key = authority.issue("secure.dev")
        serve_tls(here, ips[0], {"ssl_crt": certificate, "ssl_key": key})
        for context in (None, authority.trust(client="ann")):
            assert identity(here.ask_tls("secure.dev", "/", context=context, **FORGED).told) == {}


def test_identity_stays_with_its_host(router: Start, ips: list[str], authority: Authority, tmp_path: Path) -> None:
    """A client that one Namespace's authority verified has no identity on another's host, even on one connection."""
    here = router()
    other = Authority(tmp_path, "Another")
    (mine, my_key), (yours, your_key) = authority.issue("mine.dev"), authority.issue("yours.dev")
    here.serve(
        namespace("mine", {"mine.dev": tls(client="client.crt")}),
        namespace("yours", {"yours.dev": tls()}),
        secret("mine", ssl_crt=mine, ssl_key=my_key, client_crt=other.pem),
        secret("yours", ssl_crt=yours, ssl_key=your_key),
        *(pod(name, "web-0", ips[0], [entry("/")], DECLARED) for name in ("mine", "yours")),
    )
    context = authority.trust()
    context.load_cert_chain(*other.write("root", *other.issue("root")))
    assert identity(here.ask_tls("mine.dev", "/", context=context).told)["x-ssl-client-subject-dn"] == "CN=root"
    assert identity(here.ask_tls("yours.dev", "/", sni="mine.dev", context=context).told) == {}


def test_client_certificates_cannot_be_avoided(router: Start, ips: list[str], authority: Authority) -> None:
    """A connection made for another host does not reach a host that verifies clients."""
    here = router()
    certificate, key = authority.issue("secure.dev")
    other, other_key = authority.issue("other.dev")
    here.serve(
        namespace("a", {"secure.dev": tls(client="client.crt"), "other.dev": tls("other.crt", "other.key")}),
        pod("a", "web-0", ips[0], [entry("/")], DECLARED),
        secret("a", ssl_crt=certificate, ssl_key=key, client_crt=authority.pem, other_crt=other, other_key=other_key),
    )
    assert here.ask_tls("other.dev", "/").status == 200
    assert here.ask_tls("secure.dev", "/", sni="other.dev").status in (400, 421)
    context = authority.trust()
    context.check_hostname = False
    assert here.ask_tls("secure.dev", "/", sni="unknown.dev", context=context).status in (400, 421)


@pytest.mark.parametrize(
    ("options", "left", "why"),
    [
        (tls(certificate="nowhere"), "ssl_crt ssl_key", "missing or empty"),
        (tls(), "", "a Secret that does not exist"),
        ({"ssl": []}, "ssl_crt ssl_key", "is an array"),
        ({"ssl": {"certificate": "ssl.crt"}}, "ssl_crt ssl_key", "does not refer to a field"),
        (tls(key="ssl.crt"), "ssl_crt ssl_key", "not a PEM of a private key"),
        (tls(certificate="ssl.key"), "ssl_crt ssl_key", "not a PEM of certificates"),
        (tls(key="other.key"), "ssl_crt ssl_key other_key", "does not belong to the certificate"),
        (tls(client="ssl.key"), "ssl_crt ssl_key", "not a PEM of certificates"),
        (7, "ssl_crt ssl_key", "is a number"),
    ],
)
def test_host_whose_tls_cannot_be_had(
    router: Start, ips: list[str], authority: Authority, options: object, left: str, why: str
) -> None:
    """A host whose TLS cannot be served is left out: no plain HTTP, no other certificate; other hosts are served."""
    here = router()
    certificate, key = authority.issue("secure.dev")
    pems = {"ssl_crt": certificate, "ssl_key": key, "other_key": authority.issue("other.dev")[1]}
    chosen = {name: pems[name] for name in left.split()}
    cycle = here.serve(
        namespace("a", {"secure.dev": options, "plain.dev": {}}),
        pod("a", "web-0", ips[0], [entry("/")], DECLARED),
        *([secret("a", **chosen)] if chosen else []),
    )
    assert here.is_closed_on("secure.dev")
    with pytest.raises(ssl.SSLCertVerificationError):
        here.ask_tls("secure.dev", "/")
    assert here.ask("plain.dev", "/").status == 200
    problems = list(map(str, cycle.table.problems))
    assert any(why in problem for problem in problems)
    assert "PRIVATE" not in "".join(problems)


def test_tls_without_a_default_certificate(router: Start, ips: list[str], authority: Authority) -> None:
    """Without SSL_CERT TLS is off, and hosts with TLS are left out."""
    here = router(SSL_CERT="", SSL_KEY="")
    certificate, key = authority.issue("secure.dev")
    serve_tls(here, ips[0], {"ssl_crt": certificate, "ssl_key": key})
    assert here.is_closed_on("secure.dev")
    with pytest.raises(ConnectionRefusedError):
        here.ask_tls("secure.dev", "/")
    assert here.last
    assert "needs TLS, which is off" in str(here.last.table.problems[0])


def test_expired_certificate(router: Start, ips: list[str], authority: Authority) -> None:
    """An expired certificate is a problem, and is still served."""
    here = router()
    certificate, key = authority.issue("secure.dev", days=range(-9, -1))
    serve_tls(here, ips[0], {"ssl_crt": certificate, "ssl_key": key})
    with pytest.raises(ssl.SSLCertVerificationError, match="expired"):
        here.ask_tls("secure.dev", "/")
    context = authority.trust()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    assert here.ask_tls("secure.dev", "/", context=context).status == 200
    assert here.last
    assert "has expired" in str(here.last.table.problems[0])


def test_two_routers_on_one_machine(router: Start, ips: list[str]) -> None:
    """Two routers on one machine serve side by side, each with its own objects."""
    one, two = router(), router()
    serve_paths(one, ips[0], entry("/one"))
    serve_paths(two, ips[1], entry("/two"))
    assert [one.ask(HOST, uri).status for uri in ("/one", "/two")] == [200, 404]
    assert [two.ask(HOST, uri).status for uri in ("/one", "/two")] == [404, 200]
