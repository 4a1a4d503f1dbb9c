"""Options of hosts beside those of their paths, on a running nginx."""

from collections.abc import Callable
from typing import Any

import pytest
from support.authority import Authority
from support.grpc_pods import GrpcClient, run_grpc_pod
from support.handlers import QuietHandler, run_pod
from support.objects import Object, namespace, pod, secret, tls, unready
from support.pods import DECLARED, HOST, entry
from support.router import Router

Start = Callable[..., Router]
ACME = "/.well-known/acme-challenge"
HSTS = "strict-transport-security"
POLICY = {"hsts": {"maxAge": "1h"}}
OTHER = "Strict-Transport-Security"


class Authoriser(QuietHandler):
    """Lets in whoever asks for it."""

    def get(self) -> None:
        """Answer with the status that the request wishes."""
        self.send_response(int(self.headers.get("X-Wish", "200")))
        self.send_header("Content-Length", "0")
        self.end_headers()


class Strict(QuietHandler):
    """Answers with a policy of its own."""

    def get(self) -> None:
        """Send it."""
        self.send_response(200)
        self.send_header(OTHER, "max-age=1")
        self.send_header("Content-Length", "0")
        self.end_headers()


def secure(authority: Authority, **options: object) -> list[Object]:
    """Make a Namespace whose host has a certificate and options."""
    certificate, key = authority.issue(HOST)
    return [namespace("a", {HOST: tls() | options}), secret("a", ssl_crt=certificate, ssl_key=key)]


def told(here: Router) -> str:
    assert here.last
    return "\n".join(str(problem) for problem in here.last.table.problems)


@pytest.mark.parametrize("options", [{}, {"responseHeaders": {"set": {"X-New": "1", OTHER: "max-age=2"}}}])
def test_hsts_and_grpc(router: Start, authority: Authority, options: dict[str, Any]) -> None:
    """A call has the host's policy and not its Pod's, whether the path changes headers or not."""
    here = router()
    with run_grpc_pod(1) as (ip, port, _):
        paths = [{"basePath": "/", "containerPort": port, "protocol": "grpc", **options}]
        rpc = pod("a", "rpc-0", ip, paths, [{"containerPort": port}])
        for wanted, seen in ((POLICY, ["max-age=3600"]), ({}, ["max-age=2" if options else "max-age=1"])):
            here.serve(*secure(authority, **wanted), rpc)
            assert told(here) == ""
            with GrpcClient(HOST, here.ssl_port, authority) as client:
                before = client.call("Tell")[1].initial_metadata()
            assert [value for name, value in before if name == HSTS] == seen
            assert [value for name, value in before if name == "x-new"] == (["1"] if options else [])
            assert not [name for name, _ in before if name in ("upgrade", "proxy-connection")]


@pytest.mark.parametrize(
    "changes",
    [{"set": {OTHER: "max-age=2"}}, {"add": {OTHER.lower(): "max-age=2"}}, {"remove": [OTHER.upper()]}],
)
def test_hsts_is_the_host_s(router: Start, authority: Authority, changes: dict[str, Any]) -> None:
    """What a path says about the host's header does not count; its other headers do."""
    here = router()
    changes = {**changes, "set": {"X-New": "1", **changes.get("set", {})}}
    with run_pod(1, Strict) as (ip, port):
        own = {"basePath": "/", "containerPort": port, "responseHeaders": changes}
        late = {"basePath": "/late", "containerPort": port, "responseHeaders": changes}
        declared = [{"containerPort": port}]
        pods = [pod("a", "web-0", ip, [own], declared), unready(pod("a", "web-1", ip, [late], declared))]
        here.serve(*secure(authority, http="serve", **POLICY), *pods)
        for uri, status in (("/", 200), ("/late", 503)):
            answer = here.ask_tls(HOST, uri)
            assert (answer.status, answer.find(HSTS), answer.find("x-new")) == (status, ["max-age=3600"], ["1"])
            answer = here.ask(HOST, uri)
            assert (answer.status, answer.find(HSTS), answer.find("x-new")) == (status, [], ["1"])


PATHS: list[tuple[dict[str, Any], int]] = [
    ({"cors": {"allowOrigins": ["https://a.dev"]}}, 200),
    ({"redirect": {"path": "/b"}, "containerPort": None}, 302),
    ({"sessionPersistence": {"type": "Cookie"}}, 200),
    ({"access": {"rateLimit": {"requests": 5, "unit": "second"}}}, 200),
    ({"access": {"allow": ["203.0.113.0/24"]}}, 403),
    ({"maxRequestBody": "1k", "timeouts": {"read": "1s"}}, 200),
]


@pytest.mark.parametrize(("options", "status"), PATHS)
def test_every_answer_has_the_host_s_header(
    router: Start, ips: list[str], authority: Authority, options: dict[str, Any], status: int
) -> None:
    """A path's options take no header from the host, and maintenance comes before all of them."""
    here = router(TRUSTED_PROXIES="127.0.0.1")
    maintenance = {"allow": ["127.0.0.1"], "retryAfter": "90s"}
    only = {name: value for name, value in entry("/a", **options).items() if value is not None}
    web = pod("a", "web-0", ips[0], [only], DECLARED)
    here.serve(*secure(authority, maintenance=maintenance, **POLICY), web)
    assert told(here) == ""
    answer = here.ask_tls(HOST, "/a", Origin="https://a.dev")
    assert (answer.status, answer.find(HSTS), answer.find("retry-after")) == (status, ["max-age=3600"], [])
    answer = here.ask_tls(HOST, "/a", Origin="https://a.dev", X_Forwarded_For="1.2.3.4")
    assert (answer.status, answer.find("retry-after")) == (503, ["90"])


@pytest.mark.parametrize("options", [{"redirect": {"hostname": "other.dev"}}, {"maintenance": True}, {}])
def test_authoriser_of_challenges(
    router: Start, ips: list[str], authority: Authority, options: dict[str, object]
) -> None:
    """Who decides about challenges is asked also where the host has no other path, and before its certificate."""
    here = router()
    with run_pod(7, Authoriser) as (ip, port):
        solver = pod("a", "web-0", ips[0], [entry(ACME, access={"externalAuth": {"path": "/auth"}})], DECLARED)
        decides = pod("a", "auth-0", ip, [{"basePath": "/auth", "containerPort": port}], [{"containerPort": port}])
        for given in (secure(authority, **options), [namespace("a", {HOST: tls() | options})]):
            here.serve(*given, solver, decides)
            statuses = [here.ask(HOST, f"{ACME}/x", X_Wish=wish).status for wish in ("204", "403")]
            assert statuses == [200, 403]
        here.serve(*secure(authority, **options), solver, unready(decides))
        assert here.ask(HOST, f"{ACME}/x").status == 500
