"""tls: Pods that are asked over TLS, by a running nginx, with real certificates."""

import json
import socket
import ssl
from collections.abc import Callable, Iterator
from pathlib import Path

import grpc
import pytest
import yaml
from support.authority import Authority
from support.backends import Backends
from support.grpc_pods import GrpcClient, run_grpc_pod
from support.objects import Object, namespace, pod, secret
from support.objects import tls as host_tls
from support.pods import DECLARED, HOST, LATER, PORT, entry
from support.ports import free_port, loopback
from support.router import Router
from support.wire import Wire
from websockets.sync.client import connect

from reconciler.disk.manifests import read_manifests
from reconciler.modes.faults import find_faults
from reconciler.settings import read_settings

Start = Callable[..., Router]
NAME = "web.internal"
TLS_PORT = free_port()
BOTH = [*DECLARED, {"containerPort": TLS_PORT, "name": "https"}]
VERIFIED = {"caCertificate": {"valueFrom": {"secretKeyRef": {"key": "ca.crt"}}}, "hostname": NAME}
SKIPPED = {"insecureSkipVerify": True, "hostname": NAME}


@pytest.fixture(scope="module")
def secure(authority: Authority, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """Run Pods with TLS: give the addresses of one with a good certificate, and of others with bad ones."""
    days = {"expired": range(-3, -1), "future": range(2, 4)}
    addresses = {}
    with Backends() as running:
        for number, kind in enumerate(("good", "other name", "expired", "future", "stranger")):
            issuer = Authority(tmp_path_factory.mktemp(kind), "Stranger") if kind == "stranger" else authority
            name = "other.internal" if kind == "other name" else NAME
            pair = issuer.issue(name, days.get(kind, range(-1, 30)))
            addresses[kind] = loopback(f"10.244.7.{number + 1}")
            running.listen(addresses[kind], TLS_PORT, authority.write(f"pod-{number}", *pair))
        yield addresses


def owner(authority: Authority, **fields: bytes) -> list[Object]:
    return [namespace("a", {HOST: {}}), secret("a", **{"ca_crt": authority.pem, **fields})]


def secured(ip: str, name: str = "tls-0", base: str = "/", created: str = "", **options: object) -> Object:
    """Make a Pod whose path is encrypted."""
    entries = [{"basePath": base, "containerPort": TLS_PORT, "tls": VERIFIED, **options}]
    return pod("a", name, ip, entries, BOTH, **({"creationTimestamp": created} if created else {}))


def told(here: Router) -> str:
    assert here.last
    return "\n".join(str(problem) for problem in here.last.table.problems)


def test_verified(router: Start, authority: Authority, secure: dict[str, str]) -> None:
    """Only a Pod with a valid certificate for the name, of the authority, gets requests; others become 502."""
    here = router()
    for kind, ip in secure.items():
        cycle = here.serve(*owner(authority), secured(ip))
        assert here.ask(HOST, "/x?y").status == (200 if kind == "good" else 502), kind
        assert told(here) == ""
        assert b"verified by ca.crt for web.internal" in cycle.files["routes.jsonl"].content


def test_a_bad_pod_beside_a_good_one(router: Start, authority: Authority, secure: dict[str, str]) -> None:
    """A request that meets a Pod with a bad certificate goes to another one, and nothing of it to the bad one."""
    here = router()
    here.serve(*owner(authority), secured(secure["good"]), secured(secure["stranger"], "tls-1"))
    assert {here.ask(HOST, "/").told["pod"] for _ in range(6)} == {f"{secure['good']}:{TLS_PORT}"}


def test_not_verified(router: Start, authority: Authority, secure: dict[str, str]) -> None:
    """Without verification any certificate is good, with and without a name."""
    here = router()
    for skipped in (SKIPPED, {"insecureSkipVerify": True}):
        for kind, ip in secure.items():
            here.serve(namespace("a", {HOST: {}}), secured(ip, tls=skipped))
            assert here.ask(HOST, "/").status == 200, kind


def test_what_the_pod_gets(router: Start, authority: Authority, secure: dict[str, str]) -> None:
    """A Pod gets the same headers and paths as without TLS; targetPath holds, and the API key does not arrive."""
    here = router()
    here.serve(*owner(authority, api_key=b"open"), secured(secure["good"], base="/app", targetPath="/t"))
    assert here.ask(HOST, "/app/x").status == 403
    asked = here.ask(HOST, "/app/x?y", X_ROUTING_API_KEY="b3Blbg==", X_SSL_Client_Verify="SUCCESS").told
    assert asked["uri"] == "/t/x?y"
    assert asked["headers"]["host"] == HOST
    assert not {"x-routing-api-key", "x-ssl-client-verify"} & asked["headers"].keys()


class Names:
    """A Pod's TLS context that remembers what its clients say in the handshake."""

    def __init__(self, authority: Authority, lowest: ssl.TLSVersion, highest: ssl.TLSVersion) -> None:
        self.names: list[str | None] = []
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.context.load_cert_chain(*authority.write("names", *authority.issue(NAME)))
        self.context.minimum_version, self.context.maximum_version = lowest, highest
        self.context.sni_callback = lambda _, name, __: self.names.append(name)


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3], ids=lambda version: version.name)
def test_handshake(router: Start, authority: Authority, version: ssl.TLSVersion) -> None:
    """A Pod learns the name in the handshake if there is one; TLS 1.2 and 1.3 are spoken on every nginx."""
    here, pod_side = router(), Names(authority, version, version)
    with Wire(tls=pod_side.context) as wire:
        for wanted in (VERIFIED, SKIPPED, {"insecureSkipVerify": True}):
            entries = [{"basePath": "/", "containerPort": wire.port, "tls": wanted}]
            here.serve(*owner(authority), pod("a", "w", "127.0.0.1", entries, [{"containerPort": wire.port}]))
            assert here.ask(HOST, "/").status == 200
    assert pod_side.names == [NAME, NAME, None]


def test_old_versions_are_not_spoken(router: Start, authority: Authority) -> None:
    """A Pod that speaks nothing newer than TLS 1.1 gets no request."""
    here = router()
    with pytest.warns(DeprecationWarning):
        pod_side = Names(authority, ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_1)
    pod_side.context.set_ciphers("DEFAULT:@SECLEVEL=0")
    with Wire(tls=pod_side.context) as wire:
        entries = [{"basePath": "/", "containerPort": wire.port, "tls": VERIFIED}]
        here.serve(*owner(authority), pod("a", "w", "127.0.0.1", entries, [{"containerPort": wire.port}]))
        assert here.ask(HOST, "/").status == 502
    assert wire.heads == []


def test_websocket_and_kept_connections(router: Start, authority: Authority, secure: dict[str, str]) -> None:
    """Upgrades are passed on over TLS, and a connection to a Pod is kept for the next request."""
    here = router()
    here.serve(*owner(authority), secured(secure["good"]))
    raw = socket.create_connection(("127.0.0.1", here.port), timeout=20)
    with connect(f"ws://{HOST}/ws", sock=raw) as websocket:
        websocket.send("hello")
        assert websocket.recv(timeout=20) == f"{secure['good']}:{TLS_PORT} hello"
    asked = [here.ask(HOST, "/").told for _ in range(12)]
    assert len({one["client"] for one in asked}) <= 4  # each of nginx's workers has its own
    assert all("connection" not in one["headers"] for one in asked)


def test_grpc(router: Start, authority: Authority) -> None:
    """Calls of gRPC go over TLS too, and only to a Pod that is verified."""
    here = router()
    certificate, key = authority.issue(HOST)
    host = [namespace("a", {HOST: host_tls()}), secret("a", ssl_crt=certificate, ssl_key=key, ca_crt=authority.pem)]
    for name, code in ((NAME, grpc.StatusCode.OK), ("other.internal", grpc.StatusCode.UNAVAILABLE)):
        with run_grpc_pod(2, authority.issue(name)) as (ip, port, _):
            entries = [{"basePath": "/", "containerPort": port, "protocol": "grpc", "tls": VERIFIED}]
            here.serve(*host, pod("a", "rpc", ip, entries, [{"containerPort": port}]))
            with GrpcClient(HOST, here.ssl_port, authority) as client:
                assert client.find_code() is code
                if code is grpc.StatusCode.OK:
                    assert json.loads(client.call("Tell")[0])[0] == "pod-2"


def test_new_certificates(
    router: Start, authority: Authority, secure: dict[str, str], tmp_path_factory: pytest.TempPathFactory
) -> None:
    """New certificates in the Secret count from the next release on; paths with equal ones share a file."""
    here = router()
    more = secured(secure["stranger"], "tls-1", "/more")
    cycle = here.serve(*owner(authority), secured(secure["good"]), more)
    assert len([name for name in cycle.files if name.startswith("ssl/_pods/")]) == 1
    other = Authority(tmp_path_factory.mktemp("next"), "Next")
    assert here.ask(HOST, "/").status == 200
    here.serve(*owner(authority, ca_crt=other.pem), secured(secure["good"]), more)
    assert here.ask(HOST, "/").status == 502
    cycle = here.serve(*owner(authority, ca_crt=other.pem + authority.pem), secured(secure["good"]), more)
    assert here.ask(HOST, "/").status == 200
    (file,) = [name for name in cycle.files if name.startswith("ssl/_pods/")]
    assert cycle.files[file].content == other.pem + authority.pem


def test_text_beside_certificates_is_not_written(router: Start, authority: Authority, secure: dict[str, str]) -> None:
    """Nothing but the certificates themselves reaches a file."""
    here = router()
    cycle = here.serve(*owner(authority, ca_crt=b"# secret\n" + authority.pem + b"more"), secured(secure["good"]))
    (content,) = [file.content for name, file in cycle.files.items() if name.startswith("ssl/_pods/")]
    assert content == authority.pem
    assert here.ask(HOST, "/").status == 200


REF = VERIFIED["caCertificate"]
BAD: dict[str, tuple[object, str]] = {
    "nothing": ({}, "[0].tls is empty: this Pod does not serve the path"),
    "null": (None, "[0].tls is null: this Pod does not serve the path"),
    "true": (True, "[0].tls is a boolean"),
    "no name": ({"caCertificate": REF}, "[0].tls has no hostname, which a Pod's certificate must have"),
    "a name alone": ({"hostname": NAME}, "[0].tls has no caCertificate, by which Pods are verified"),
    "skipped by half": ({"insecureSkipVerify": False, "hostname": NAME}, "[0].tls has no caCertificate"),
    "both": ({**VERIFIED, "insecureSkipVerify": True}, "[0].tls has both caCertificate and insecureSkipVerify"),
    "a text": ({"insecureSkipVerify": "true"}, "[0].tls.insecureSkipVerify is 'true'"),
    "an unknown key": ({**VERIFIED, "verifyDepth": 1}, "[0].tls.'verifyDepth' is an unknown key"),
    "a wildcard": ({**VERIFIED, "hostname": "*.internal"}, "[0].tls.hostname is '*.internal'"),
    "an address": ({**VERIFIED, "hostname": "10.0.0.1"}, "[0].tls.hostname is '10.0.0.1'"),
    "a variable": ({**VERIFIED, "hostname": "$host"}, "[0].tls.hostname is '$host'"),
    "a PEM": ({**VERIFIED, "caCertificate": "-----BEGIN"}, "[0].tls.caCertificate is a string"),
    "another reference": (
        {**VERIFIED, "caCertificate": {"valueFrom": {"configMapKeyRef": {"key": "x"}}}},
        "[0].tls.caCertificate.valueFrom.'configMapKeyRef' is an unknown key",
    ),
    "a folder": (
        {**VERIFIED, "caCertificate": {"valueFrom": {"secretKeyRef": {"key": "../x"}}}},
        "[0].tls.caCertificate.valueFrom.secretKeyRef.key is '../x'",
    ),
    "no field": (
        {**VERIFIED, "caCertificate": {"valueFrom": {"secretKeyRef": {"key": "x"}}}},
        "'/tls' tls.caCertificate refers to the field x, which is missing or empty: all requests get 403",
    ),
    "no certificate": (
        {**VERIFIED, "caCertificate": {"valueFrom": {"secretKeyRef": {"key": "junk"}}}},
        "'/tls' tls.caCertificate refers to the field junk, which is not a PEM of certificates: all requests get 403",
    ),
    "no root": (
        {**VERIFIED, "caCertificate": {"valueFrom": {"secretKeyRef": {"key": "leaf"}}}},
        "'/tls' tls.caCertificate refers to the field leaf, which verifies no Pod",
    ),
}


@pytest.mark.parametrize("name", BAD)
def test_what_cannot_be_verified_closes(router: Start, authority: Authority, ips: list[str], name: str) -> None:
    """Where it is not certain how to verify a path's Pods, it is closed; never is a request sent in the clear."""
    value, problem = BAD[name]
    here = router()
    fields = {"junk": b"junk", "leaf": authority.issue("leaf.internal")[0]}
    here.serve(*owner(authority, **fields), pod("a", "w", ips[0], [entry("/tls", tls=value), entry("/")], DECLARED))
    assert [here.ask(HOST, uri).status for uri in ("/", "/tls", "/tls/x")] == [200, 403, 403]
    assert problem in told(here)


@pytest.mark.parametrize(
    "key", ["TLS", "tsl", "ssl", "proxy-ssl-verify", "nginx.ingress.kubernetes.io/proxy-ssl-secret"]
)
def test_misspelt_keys_close(router: Start, ips: list[str], key: str) -> None:
    """A key that was probably meant for TLS closes the path."""
    here = router()
    here.serve(namespace("a", {HOST: {}}), pod("a", "w", ips[0], [entry("/tls", **{key: VERIFIED})], DECLARED))
    assert here.ask(HOST, "/tls").status == 403
    assert "may be meant for tls: this Pod does not serve the path" in told(here)


def test_without_a_secret(router: Start, secure: dict[str, str]) -> None:
    """A path that refers to a Secret which does not exist is closed."""
    here = router()
    here.serve(namespace("a", {HOST: {}}), secured(secure["good"]))
    assert here.ask(HOST, "/").status == 403
    assert "'/' tls.caCertificate refers to a Secret that does not exist: all requests get 403" in told(here)


def test_denied_by_the_operator(router: Start, authority: Authority, secure: dict[str, str]) -> None:
    """If the operator forbids the option, the path is closed."""
    here = router(DENIED_OPTIONS="tls")
    here.serve(*owner(authority), secured(secure["good"]))
    assert here.ask(HOST, "/").status == 403
    assert "[0].tls is turned off by DENIED_OPTIONS: this Pod does not serve the path" in told(here)


def test_rollout_and_back(router: Start, authority: Authority, secure: dict[str, str], ips: list[str]) -> None:
    """While a path's Pods get TLS or lose it, only those that speak like the oldest one get requests."""
    here = router()
    plain = pod("a", "web-0", ips[0], [entry("/")], DECLARED)
    tls = secured(secure["good"], created=LATER)
    back = pod("a", "web-1", ips[1], [entry("/")], DECLARED, creationTimestamp="2026-11-24T00:00:00Z")

    def serves(*pods: Object) -> set[str]:
        here.serve(*owner(authority), *pods)
        return {here.ask(HOST, "/").told["pod"] for _ in range(6)}

    old, new, last = {f"{ips[0]}:{PORT}"}, {f"{secure['good']}:{TLS_PORT}"}, {f"{ips[1]}:{PORT}"}
    assert [serves(plain), serves(plain, tls), serves(tls), serves(tls, back), serves(back)] == [
        old, old, new, new, last,
    ]  # fmt: skip
    here.serve(*owner(authority), plain, tls)
    assert "Pod a/tls-0" in told(here)
    assert "has another tls, other than Pod web-0, which is older and counts: this Pod does not serve" in told(here)


def test_share_of_certificates(router: Start, authority: Authority, secure: dict[str, str]) -> None:
    """Each location loads the certificates for itself: those beyond a Namespace's share close the last paths."""
    here = router(MAX_CERTIFICATES_PER_NAMESPACE="4")
    entries = [{"basePath": f"/{one}", "containerPort": TLS_PORT, "tls": VERIFIED} for one in "abc"]
    here.serve(*owner(authority), pod("a", "w", secure["good"], entries, BOTH))
    assert [here.ask(HOST, uri).status for uri in ("/a", "/b", "/c")] == [200, 200, 403]
    assert "path '/c' tls is beyond the Namespace's share: all requests get 403" in told(here)
    assert "MAX_CERTIFICATES_PER_NAMESPACE" in told(here)


def test_share_beside_hosts(router: Start, authority: Authority, secure: dict[str, str]) -> None:
    """The certificates of hosts count first."""
    here = router(MAX_CERTIFICATES_PER_NAMESPACE="2")
    certificate, key = authority.issue(HOST)
    fields = {"ssl_crt": certificate, "ssl_key": key, "ca_crt": authority.pem}
    here.serve(namespace("a", {HOST: host_tls()}), secret("a", **fields), secured(secure["good"]))
    assert here.ask_tls(HOST, "/").status == 403
    assert "path '/' tls is beyond the Namespace's share" in told(here)


def test_share_of_locations(router: Start, authority: Authority, secure: dict[str, str]) -> None:
    """A location with TLS counts as four."""
    here = router(MAX_LOCATIONS_PER_NAMESPACE="12")
    entries = [{"basePath": f"/{one}", "containerPort": TLS_PORT, "tls": VERIFIED} for one in "abc"]
    here.serve(*owner(authority), pod("a", "w", secure["good"], entries, BOTH))
    assert [here.ask(HOST, uri).status for uri in ("/a", "/b", "/c")] == [200, 403, 403]
    assert "MAX_LOCATIONS_PER_NAMESPACE" in told(here)


def test_lint_without_the_secret(tmp_path: Path, authority: Authority) -> None:
    """Lint assumes a Secret that is not among the manifests, and judges one that is."""
    manifests = tmp_path / "manifests.yaml"
    told = {}
    for name, objects in (("alone", owner(authority)[:1]), ("beside", owner(authority, ca_crt=b"junk"))):
        manifests.write_text(yaml.safe_dump_all([*objects, secured("10.0.0.1")]))
        faults = find_faults(read_manifests([str(manifests)]), read_settings({}), 1_795_700_000.0)
        told[name] = [fault.problem.what for fault in faults]
    assert told == {"alone": [], "beside": ["github.com/30x.dispatcher.paths '/' tls.caCertificate"]}


def test_expiry_of_the_authority(
    router: Start, authority: Authority, secure: dict[str, str], tmp_path_factory: pytest.TempPathFactory
) -> None:
    """It is told when the certificates that verify Pods end, and no Pod gets a request any more."""
    here = router()
    objects = [*owner(authority), secured(secure["good"])]
    cycle = here.serve(*objects)
    assert cycle.table.good_until < float("inf")
    here.serve(*objects, days=20)
    assert "Namespace a: path '/' tls.caCertificate ends at 20" in told(here)
    here.serve(*objects, days=40)
    assert "path '/' tls.caCertificate has expired: no Pod is verified by it" in told(here)
    old = Authority(tmp_path_factory.mktemp("old"), "Old", range(-9, -1))
    with Backends() as backends:
        ip = loopback("10.244.7.9")
        backends.listen(ip, TLS_PORT, authority.write("old", *old.issue(NAME)))
        here.serve(*owner(authority, ca_crt=old.pem), secured(ip))
        assert here.ask(HOST, "/").status == 502


def test_a_protection_in_a_pod_that_is_left_out(
    router: Start, authority: Authority, secure: dict[str, str], ips: list[str]
) -> None:
    """A Pod that is left out because of TLS still protects the path, like one that is not ready."""
    here = router()
    access = {"access": {"allow": ["203.0.113.0/24"]}}
    here.serve(*owner(authority), pod("a", "web-0", ips[0], [entry("/")], DECLARED), secured(secure["good"], **access))
    assert here.ask(HOST, "/").status == 403
