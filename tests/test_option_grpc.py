"""protocol: gRPC through a running nginx, with grpcio's own client and server."""

import http.client
import json
import queue
import time
from collections.abc import Callable, Iterator

import grpc
import pytest
from support.authority import Authority
from support.grpc_pods import SERVICE, Echo, GrpcClient, run_grpc_pod
from support.objects import Object, namespace, pod, secret, tls, unready
from support.pods import DECLARED, HOST, LATER, PORT, entry
from support.router import Router

Start = Callable[..., Router]
PLAIN_HTTP2 = (1, 25, 1)
GrpcPod = tuple[str, int, Echo]


@pytest.fixture
def grpc_pod() -> Iterator[GrpcPod]:
    """Run a Pod that speaks gRPC."""
    with run_grpc_pod(1) as running:
        yield running


def secure(authority: Authority, **fields: str | bytes) -> list[Object]:
    """Make a Namespace with a certificate for its host."""
    certificate, key = authority.issue(HOST)
    return [namespace("a", {HOST: tls()}), secret("a", ssl_crt=certificate, ssl_key=key, **fields)]


def calls(running: GrpcPod, name: str = "rpc-0", path: str = "/", created: str = "", **options: object) -> Object:
    """Make the Pod's object."""
    ip, port, _ = running
    entries = [{"basePath": path, "containerPort": port, "protocol": "grpc", **options}]
    more = {"creationTimestamp": created} if created else {}
    return pod("a", name, ip, entries, [{"containerPort": port}], **more)


def told(here: Router) -> str:
    assert here.last
    return "\n".join(str(problem) for problem in here.last.table.problems)


def test_calls(router: Start, authority: Authority, grpc_pod: GrpcPod) -> None:
    """A call, a stream each way and one both ways arrive over TLS, with metadata before and behind."""
    here = router()
    here.serve(*secure(authority), calls(grpc_pod))
    with GrpcClient(HOST, here.ssl_port, authority) as client:
        answer, call = client.call("Tell", metadata=[("x-mine", "1"), ("x-mine-bin", b"\x01\x00")])
        name, metadata = json.loads(answer)
        assert name == "pod-1"
        assert (metadata["x-mine"], metadata["x-mine-bin"]) == ("1", "0100")
        assert dict(call.initial_metadata())["x-before"] == "pod-1"
        assert dict(call.trailing_metadata()) == {"x-behind": "trailer", "x-bytes-bin": b"\x00\xff"}
        waiting = client.wait(b"", timeout=20)
        assert next(waiting) == b"first"
        grpc_pod[2].go.set()
        assert list(waiting) == [b"second"]
        assert client.add(iter([b"a", b"b", b"c" * 100_000]), timeout=20) == b"a b " + b"c" * 100_000
        asked: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()
        talk = client.both(iter(asked.get, None), timeout=20)
        for word in (b"one", b"two"):
            asked.put(word)
            assert next(talk) == word.upper()
        asked.put(None)
        assert list(talk) == []
    assert told(here) == ""


def test_errors(router: Start, authority: Authority, grpc_pod: GrpcPod) -> None:
    """A Pod's error arrives with its text and trailers; a path that nobody has is not implemented."""
    here = router()
    here.serve(*secure(authority), calls(grpc_pod, path=f"/{SERVICE}"))
    with GrpcClient(HOST, here.ssl_port, authority) as client:
        with pytest.raises(grpc.RpcError) as caught:
            client.call("Fail", b"such thing")
        assert caught.value.code() is grpc.StatusCode.NOT_FOUND
        assert caught.value.details() == "no such thing: ü"
        assert dict(caught.value.trailing_metadata())["x-behind"] == "error"
        assert client.find_code("Other") is grpc.StatusCode.UNIMPLEMENTED
    here.serve(*secure(authority), calls(grpc_pod, path="/test.Other"))
    with GrpcClient(HOST, here.ssl_port, authority) as client:
        assert client.find_code() is grpc.StatusCode.UNIMPLEMENTED


def test_what_does_not_arrive(router: Start, authority: Authority, grpc_pod: GrpcPod) -> None:
    """A Pod gets neither the API key nor what a client forges, and gets what nginx writes for it."""
    here = router()
    here.serve(*secure(authority, api_key="open"), calls(grpc_pod))
    forged = [
        ("x-ssl-client-verify", "SUCCESS"), ("x-ssl-client-subject-dn", "CN=root"), ("x-forwarded-for", "1.2.3.4"),
        ("x-real-ip", "1.2.3.4"), ("forwarded", "for=1.2.3.4"), ("x-original-uri", "/"), ("x-forwarded-port", "1"),
    ]  # fmt: skip
    with GrpcClient(HOST, here.ssl_port, authority) as client:
        assert client.find_code(metadata=forged) is grpc.StatusCode.PERMISSION_DENIED
        answer, _ = client.call("Tell", metadata=[*forged, ("x-routing-api-key", "b3Blbg==")])
        metadata = json.loads(answer)[1]
    ours = ("x-real-ip", "x-forwarded-for", "x-forwarded-proto", "x-forwarded-host", "x-request-id", "host")
    assert metadata.keys() <= {*ours, "user-agent", "accept-encoding", "grpc-accept-encoding"}
    assert [metadata[name] for name in ours[:4]] == ["127.0.0.1", "127.0.0.1", "https", HOST]


@pytest.mark.parametrize("setting", ["X_ROUTING_API_KEY", "X" * 46])
def test_every_name_of_the_key_loads(router: Start, authority: Authority, grpc_pod: GrpcPod, setting: str) -> None:
    """All headers that nginx must hide have room, in each spelling that counts."""
    here = router(API_KEY_HEADER=setting)
    here.serve(*secure(authority, api_key="open"), calls(grpc_pod))
    with GrpcClient(HOST, here.ssl_port, authority) as client:
        assert client.find_code(metadata=[(setting.lower(), "b3Blbg==")]) is grpc.StatusCode.OK


def test_a_key_with_a_long_name(router: Start, grpc_pod: GrpcPod, ips: list[str]) -> None:
    """A longer name would keep nginx from starting: the path is closed, and all others are served."""
    here = router(API_KEY_HEADER="X" * 47)
    here.serve(namespace("a", {HOST: {}}), calls(grpc_pod, path="/rpc"), pod("a", "w", ips[0], [entry("/")], DECLARED))
    assert [here.ask(HOST, uri).status for uri in ("/", "/rpc")] == [200, 403]
    assert "as long as that in API_KEY_HEADER: this Pod does not serve the path" in told(here)


def test_plain_port(router: Start, grpc_pod: GrpcPod) -> None:
    """Without TLS gRPC works from nginx 1.25.1 on; before, no client can call the path, and a problem tells it."""
    here = router()
    here.serve(namespace("a", {HOST: {}}), calls(grpc_pod, path=f"/{SERVICE}"))
    with GrpcClient(HOST, here.port) as client:
        if here.settings.nginx_version >= PLAIN_HTTP2:
            assert client.find_code() is grpc.StatusCode.OK
            assert told(here) == ""
        else:
            assert client.find_code() is grpc.StatusCode.UNAVAILABLE
            assert told(here) == (
                f"Namespace a: host {HOST} path '/{SERVICE}' protocol is grpc, and no client can call it: without ssl "
                "this nginx has no HTTP/2; expected: ssl for the host, or nginx 1.25.1 or later"
            )


def test_plain_router(router: Start, grpc_pod: GrpcPod) -> None:
    """A router without any certificate serves gRPC too, where nginx can do that."""
    here = router(SSL_CERT="", SSL_KEY="")
    cycle = here.serve(namespace("a", {HOST: {}}), calls(grpc_pod))
    works = here.settings.nginx_version >= PLAIN_HTTP2
    with GrpcClient(HOST, here.port) as client:
        assert client.find_code() is (grpc.StatusCode.OK if works else grpc.StatusCode.UNAVAILABLE)
    assert cycle.files["nginx.conf"].content.count(b"http2 on;") == works


def test_router_without_http2(router: Start, authority: Authority, grpc_pod: GrpcPod) -> None:
    """Without HTTP/2 no client can call the path, and a problem tells it."""
    here = router(NGINX_HTTP2="false")
    here.serve(*secure(authority), calls(grpc_pod))
    with GrpcClient(HOST, here.ssl_port, authority) as client:
        assert client.find_code() is grpc.StatusCode.UNAVAILABLE
    assert "no client can call it: NGINX_HTTP2 is false; expected: a router with HTTP/2" in told(here)


def test_silent_streams(router: Start, authority: Authority, grpc_pod: GrpcPod) -> None:
    """A stream in which both sides are silent lives as long as `read`, whatever the operator's body time-out is."""
    here = router(NGINX_CLIENT_BODY_TIMEOUT="1")
    short = {"timeouts": {"read": "1s"}}
    long = {"timeouts": {"read": "1h"}}
    ends = calls(grpc_pod, "rpc-0", f"/{SERVICE}/Both", **short)
    lives = calls(grpc_pod, "rpc-1", f"/{SERVICE}", **long)
    here.serve(*secure(authority), ends)
    with GrpcClient(HOST, here.ssl_port, authority) as client:
        assert time_silence(client) < 15
    here.serve(*secure(authority), lives)
    with GrpcClient(HOST, here.ssl_port, authority) as client:
        asked: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()
        talk = client.both(iter(asked.get, None), timeout=20)
        asked.put(b"one")
        assert next(talk) == b"ONE"
        with pytest.raises(grpc.FutureTimeoutError):
            talk.result(timeout=3)
        asked.put(b"two")
        assert next(talk) == b"TWO"
        asked.put(None)
        assert list(talk) == []


def time_silence(client: GrpcClient) -> float:
    """Give the seconds until nginx ends a stream in which nobody says anything after the first message."""
    asked: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()
    talk = client.both(iter(asked.get, None), timeout=20)
    asked.put(b"one")
    assert next(talk) == b"ONE"
    begun = time.monotonic()
    with pytest.raises(grpc.RpcError) as caught:
        next(talk)
    asked.put(None)
    assert caught.value.code() is not grpc.StatusCode.DEADLINE_EXCEEDED
    return time.monotonic() - begun


BAD: dict[str, tuple[dict[str, object], str]] = {
    "another protocol": ({"protocol": "h2c"}, "[0].protocol is 'h2c': this Pod does not serve the path"),
    "null": ({"protocol": None}, "[0].protocol is null"),
    "a boolean": ({"protocol": True}, "[0].protocol is a boolean"),
    "another case": ({"Protocol": "grpc"}, "[0].'Protocol' may be meant for protocol"),
    "misspelt": ({"protcol": "grpc"}, "[0].'protcol' may be meant for protocol"),
    "of others": ({"backend-protocol": "GRPC"}, "[0].'backend-protocol' may be meant for protocol"),
    "targetPath": (
        {"protocol": "grpc", "targetPath": "/x"},
        "[0].targetPath cannot go with protocol grpc: this Pod does not serve the path",
    ),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_values_close(router: Start, ips: list[str], name: str) -> None:
    """A protocol that cannot be spoken closes the path, and no shorter path's Pod gets its requests."""
    options, problem = BAD[name]
    here = router()
    here.serve(namespace("a", {HOST: {}}), pod("a", "w", ips[0], [entry("/rpc", **options), entry("/")], DECLARED))
    assert [here.ask(HOST, uri).status for uri in ("/", "/rpc", "/rpc/x")] == [200, 403, 403]
    assert problem in told(here)


def test_denied_by_the_operator(router: Start, grpc_pod: GrpcPod) -> None:
    """If the operator forbids the option, the path is closed."""
    here = router(DENIED_OPTIONS="protocol")
    here.serve(namespace("a", {HOST: {}}), calls(grpc_pod))
    assert here.ask(HOST, "/").status == 403
    assert "[0].protocol is turned off by DENIED_OPTIONS: this Pod does not serve the path" in told(here)


def test_twice_in_one_pod(router: Start, ips: list[str]) -> None:
    """Two entries of one path that name two protocols close it."""
    here = router()
    here.serve(
        namespace("a", {HOST: {}}),
        pod("a", "w", ips[0], [entry("/rpc"), entry("/rpc", protocol="grpc"), entry("/")], DECLARED),
    )
    assert [here.ask(HOST, uri).status for uri in ("/", "/rpc")] == [200, 403]


def test_rollout_and_back(router: Start, authority: Authority, grpc_pod: GrpcPod, ips: list[str]) -> None:
    """While a path's Pods change from HTTP to gRPC or back, only those that speak like the oldest get requests."""
    here = router()
    owner = secure(authority)
    web = pod("a", "web-0", ips[0], [entry("/")], DECLARED)
    rpc = calls(grpc_pod, created=LATER)
    back = pod("a", "web-1", ips[1], [entry("/")], DECLARED, creationTimestamp="2026-11-24T00:00:00Z")

    def serves(*pods: Object) -> object:
        here.serve(*owner, *pods)
        if b"grpc_pass" in here.last.files["nginx.conf"].content:
            with GrpcClient(HOST, here.ssl_port, authority) as client:
                return {json.loads(client.call("Tell")[0])[0] for _ in range(6)}
        return {here.ask_tls(HOST, "/").told["pod"] for _ in range(6)}

    old, new = {f"{ips[0]}:{PORT}"}, {f"{ips[1]}:{PORT}"}
    assert [serves(web), serves(web, rpc)] == [old, old]
    assert "Pod a/rpc-0" in told(here)
    assert (
        "has another protocol, other than Pod web-0, which is older and counts: this Pod does not serve the path until "
        "that one is gone" in told(here)
    )
    assert serves(rpc) == {"pod-1"}
    assert told(here) == ""
    assert serves(rpc, back) == {"pod-1"}
    assert "Pod a/web-1" in told(here)
    assert serves(back) == new


def test_headers_about_a_connection(router: Start, authority: Authority, grpc_pod: GrpcPod) -> None:
    """What nginx tells an HTTP/1 Pod about its connection does not reach a Pod that speaks HTTP/2."""
    here = router()
    here.serve(*secure(authority), calls(grpc_pod))
    with GrpcClient(HOST, here.ssl_port, authority) as client:
        metadata = json.loads(client.call("Tell", metadata=[("authorization", "Negotiate x")])[0])[1]
    assert (metadata["authorization"], "connection" in metadata) == ("Negotiate x", False)
    upgrade = {"Connection": "upgrade, te", "Upgrade": "websocket", "TE": "trailers"}
    connection = http.client.HTTPSConnection("127.0.0.1", here.ssl_port, timeout=20, context=here.trusting_all())
    headers = {"Host": HOST, "Content-Type": "application/grpc", **upgrade}
    connection.request("POST", f"/{SERVICE}/Tell", b"\0" * 5, headers)
    answer = connection.getresponse()
    assert answer.status == 200
    assert not {"connection", "upgrade"} & json.loads(answer.read()[5:])[1].keys()
    connection.close()


def test_kept_connections(router: Start, authority: Authority, grpc_pod: GrpcPod) -> None:
    """A connection to a Pod is kept for the next call."""
    here = router(NGINX_WORKER_PROCESSES="1")
    here.serve(*secure(authority), calls(grpc_pod))
    with GrpcClient(HOST, here.ssl_port, authority) as client:
        for _ in range(12):
            client.call("Tell")
    assert len(grpc_pod[2].peers) == 1


def test_without_a_ready_pod(router: Start, authority: Authority, grpc_pod: GrpcPod) -> None:
    """While no Pod is ready a call is unavailable, which clients may try again; a closed path denies it."""
    here = router()
    here.serve(*secure(authority), unready(calls(grpc_pod)))
    with GrpcClient(HOST, here.ssl_port, authority) as client:
        assert client.find_code() is grpc.StatusCode.UNAVAILABLE
    here.serve(*secure(authority), calls(grpc_pod, access={"allow": ["203.0.113.0/24"]}))
    with GrpcClient(HOST, here.ssl_port, authority) as client:
        assert client.find_code() is grpc.StatusCode.PERMISSION_DENIED
