"""The routing table of odd and greedy tenants: what is left out, what is a problem, and that others are served."""

import base64
import json
import time
from dataclasses import replace
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from support.authority import Authority
from support.objects import HOSTS, PATHS, Object, listing, namespace, pod, secret, tls
from support.stages import build_table, normalise, render

from reconciler.disk.trees import write_files
from reconciler.nginx.program import check_tree, find_version
from reconciler.routing.model import Answer, RoutingTable
from reconciler.settings import Settings, read_settings

NOW = 1_797_600_000.0
DECLARED = [{"containerPort": 3000}]
GOOD = [
    namespace("good", {"good.dev": {}}),
    pod("good", "web-0", "10.0.0.9", [{"basePath": "/", "containerPort": 3000}], DECLARED),
]


@pytest.fixture(scope="module")
def how(authority: Authority, nginx_binary: str) -> Settings:
    certificate, key = authority.default
    settings = read_settings({"SSL_CERT": str(certificate), "SSL_KEY": str(key), "PORT": "18080", "SSL_PORT": "18443"})
    return replace(settings, nginx_version=find_version(nginx_binary))


def build(how: Settings, *greedy: Object) -> RoutingTable:
    """Build the table of a tenant beside a good tenant, which must still be served."""
    table = build_table(normalise(listing([*GOOD, *greedy]), how), how, time.time())
    assert [len(host.locations) for host in table.routes.hosts if host.name == "good.dev"] == [2]
    return table


def entries(number: int) -> list[Object]:
    return [{"basePath": f"/p{place:04}", "containerPort": 3000} for place in range(number)]


def test_hosts_and_paths_are_limited(how: Settings) -> None:
    """A Namespace gets as many locations as the setting allows: paths and then hosts beyond it are a problem."""
    hosts: dict[str, object] = {f"h{place:04}.dev": {} for place in range(600)}
    table = build(how, namespace("greedy", hosts), pod("greedy", "web-0", "10.0.0.1", entries(600), DECLARED))
    served = [host for host in table.routes.hosts if host.namespace == "greedy"]
    assert (len(served), sum(len(host.locations) for host in served)) == (3, 3600)
    assert "are 600; the first 3 by name are served" in str(table.problems[0])


def test_servers_are_limited(how: Settings) -> None:
    """The Pods and paths of a Namespace together are limited too: its youngest Pods are left out, and are problems."""
    pods = [
        pod(
            "greedy",
            f"web-{place}",
            f"10.0.0.{place}",
            entries(30),
            DECLARED,
            creationTimestamp=f"2026-11-22T18:{place}:00Z",
        )
        for place in range(10, 20)
    ]
    table = build(replace(how, max_locations=50), namespace("greedy", {"greedy.dev": {}}), *pods)
    greedy = [upstream for upstream in table.routes.upstreams if upstream.namespace == "greedy"]
    assert {server.pod for upstream in greedy for server in upstream.servers} == {
        f"web-{place}" for place in range(10, 18)
    }
    told = [str(problem.resource) for problem in table.problems if "older Pods" in problem.why]
    assert told == ["Pod greedy/web-18", "Pod greedy/web-19"]


def test_a_thousand_hosts(how: Settings) -> None:
    """Hosts beyond a Namespace's limit are left out; the others are kept, even if all their names collide in nginx."""
    # All of these have the same hash in nginx: 31 * ord("a") + ord("n") == 31 * ord("c") + ord("0").
    hosts: dict[str, object] = {
        "".join("an" if number >> bit & 1 else "c0" for bit in range(11)) + ".dev": {} for number in range(2000)
    }
    table = build(how, namespace("greedy", hosts))
    assert len(table.routes.hosts) == 1001


@pytest.mark.parametrize("wildcard", ["", "*."])
def test_names_that_collide_in_nginx(how: Settings, tmp_path: Path, nginx_binary: str, wildcard: str) -> None:
    """Nginx loads even if many names have the same hash: the youngest Namespaces lose hosts, and get problems."""
    names = ["".join("an" if number >> bit & 1 else "c0" for bit in range(13)) for number in range(8000)]
    homes = [
        namespace(
            f"greedy-{place}", {f"{wildcard}{name}.dev": {} for name in names[place::8]}, f"2026-11-22T18:06:1{place}Z"
        )
        for place in range(8)
    ]
    table = build(how, *homes)
    assert 1000 < len(table.routes.hosts) < 8000
    assert {host.namespace for host in table.routes.hosts} >= {"good", "greedy-0"}
    assert {problem.resource.name for problem in table.problems} >= {"greedy-7"}
    write_files(render(table.routes, how), tmp_path)
    check_tree(nginx_binary, tmp_path)


@pytest.mark.parametrize("paths", [entries(1000), [7] * 5000, [{"basePath": "/", "containerPort": 1}] * 5000])
def test_problems_of_one_object_are_told_in_few_lines(how: Settings, paths: list[object]) -> None:
    """However many problems an object has, only a few of them are reported."""
    table = build(how, namespace("greedy", {"greedy.dev": {}}), pod("greedy", "web-0", "10.0.0.1", paths, []))
    assert len(table.problems) == 21
    assert "more problems" in str(table.problems)


def test_problems_of_one_namespace_are_limited(how: Settings) -> None:
    """Many faulty objects of one Namespace give only some problems too, and all those of another are reported."""
    pods = [pod("greedy", f"web-{number}", "10.0.0.1", [7], DECLARED) for number in range(1000)]
    hosts = namespace("greedy", {"greedy.dev": {}}), namespace("other", {"other.dev": {}})
    table = build(how, *hosts, *pods, pod("other", "web", "10.0.0.2", [7]))
    told = [problem.resource for problem in table.problems]
    assert sum("greedy" in (resource.namespace, resource.name) for resource in told) == 201
    assert any(resource.namespace == "other" for resource in told)
    assert any(str(problem).startswith("Namespace greedy: there are ") for problem in table.problems)


def test_nonsense_is_read_to_an_end(how: Settings) -> None:
    """If an annotation is full of faults, the rest of it is left out: it is a problem, and costs no time."""
    hosts: dict[str, object] = {f"-{place:06}": {} for place in range(20_000)}
    unknown = {f"-{place:06}": {} for place in range(400)}
    for wrong in ([7] * 500_000, [{"basePath": "/odd", "containerPort": 3000, **unknown}]):
        right: list[object] = [*entries(1), *wrong, {"basePath": "/last", "containerPort": 3000}]
        table = build(how, namespace("odd", {"odd.dev": {}}), pod("odd", "web-0", "10.0.0.1", right, DECLARED))
        (odd,) = [host for host in table.routes.hosts if host.name == "odd.dev"]
        paths = {location.path for location in odd.locations}
        assert "/p0000" in paths
        assert "/last" not in paths
        assert "has too many faults" in str(table.problems[0])
    assert "has too many faults" in str(build(how, namespace("odd", {"a.dev": {}, **hosts})).problems[0])


@pytest.mark.parametrize("name", ["a" * 64, "a" * 200 + ".b", "0"])
def test_long_names_of_objects(how: Settings, name: str) -> None:
    """A Pod's name may hold labels of more than 63 characters, as Kubernetes allows."""
    table = build(how, namespace("odd", {"odd.dev": {}}), pod("odd", name, "10.0.0.1", entries(1), DECLARED))
    assert len(table.routes.hosts) == 2


DENIED = [
    *("127.0.0.1", "127.8.9.10", "169.254.169.254", "169.254.0.1", "0.0.0.0", "0.1.2.3", "224.0.0.1", "239.9.9.9"),
    *("255.255.255.255", "::", "::1", "::7f00:1", "fe80::1", "fd00:ec2::254", "fd20:ce::254", "ff02::1", "10.96.0.1"),
    *("168.63.129.16", "100.100.100.200", "192.0.0.192", "fd00:ec2::23", "64:ff9b::a9fe:a9fe", "64:ff9b:1::1"),
    *("2002:a9fe:a9fe::1", "2001::1", "::ffff:0:a9fe:a9fe", "0:0:0:0:0:0:0:1"),
]
MAPPED = ["::ffff:127.0.0.1", "::ffff:10.0.0.1", "fe80::1%eth0", "0127.0.0.1", "127.1", "2130706433", "localhost"]


@pytest.mark.parametrize("ip", DENIED + MAPPED)
def test_addresses_that_no_pod_has(how: Settings, ip: str) -> None:
    """A Pod with an address of this machine, its link, its cloud or the API server is left out, and is a problem."""
    how = replace(how, deny_pod_cidrs=read_settings({"KUBERNETES_SERVICE_HOST": "10.96.0.1"}).deny_pod_cidrs)
    table = build(how, namespace("odd", {"odd.dev": {}}), pod("odd", "web-0", ip, entries(3), DECLARED))
    assert {upstream.namespace for upstream in table.routes.upstreams if upstream.servers} == {"good"}
    (problem,) = table.problems
    assert "Pod odd/web-0: podIP" in str(problem)
    assert ("DENY_POD_CIDRS" in str(problem)) is (ip in DENIED)


@pytest.mark.parametrize(
    "ip",
    [
        "10.0.0.1",
        "126.255.255.255",
        "128.0.0.1",
        "169.253.255.255",
        "240.0.0.1",
        "100.100.100.201",
        "fd00:ec3::1",
        "fec0::1",
        "1::1",
    ],
)
def test_addresses_that_pods_have(how: Settings, ip: str) -> None:
    """Any other address may be a Pod's address, even that of a node."""
    table = build(how, namespace("odd", {"odd.dev": {}}), pod("odd", "web-0", ip, entries(1), DECLARED))
    assert len(table.routes.upstreams) == 2


def test_denied_addresses_are_a_setting(how: Settings) -> None:
    """DENY_POD_CIDRS names other ranges, such as the nodes', to deny Pods on their network; `none` turns it off."""
    addresses = {"10.0.0.1": "10.0.0.0/30", "127.0.0.1": "10.0.0.0/30,::/0", "::1": "none"}
    served = []
    for ip, ranges in addresses.items():
        chosen = replace(how, deny_pod_cidrs=read_settings({"DENY_POD_CIDRS": ranges}).deny_pod_cidrs)
        table = build(chosen, namespace("odd", {"odd.dev": {}}), pod("odd", "web-0", ip, entries(1), DECLARED))
        served.append(all(upstream.servers for upstream in table.routes.upstreams))
    assert served == [False, True, True]


def test_null_is_no_text(how: Settings) -> None:
    """A null in labels, annotations or data counts as no text, and the object is not refused."""
    odd = [namespace("odd", {"odd.dev": {}}), pod("odd", "web-0", "10.0.0.1", entries(1), DECLARED), secret("odd")]
    odd[0]["metadata"]["labels"]["x"] = odd[0]["metadata"]["annotations"]["x"] = None
    odd[2]["data"] = {"api-key": None}
    table = build(how, *odd)
    assert [location.answer for host in table.routes.hosts for location in host.locations].count(Answer.CLOSED) == 2
    odd[0]["metadata"]["annotations"][HOSTS] = None
    odd[1]["metadata"]["annotations"][PATHS] = None
    assert len(build(how, *odd).routes.hosts) == 1


@pytest.mark.parametrize("port", ["nosuch", 0, -1, 70000])
def test_probe_without_a_port(how: Settings, port: object) -> None:
    """A probe whose port is not declared uses the port that serves."""
    probed = pod("odd", "web-0", "10.0.0.1", entries(1), [{"containerPort": 3000}])
    probed["spec"]["containers"][0]["readinessProbe"] = {"httpGet": {"port": port, "path": "/ok"}}
    table = build(replace(how, health_checks=True), namespace("odd", {"odd.dev": {}}), probed)
    checks = {upstream.namespace: upstream.check for upstream in table.routes.upstreams}
    assert checks["odd"] is not None
    assert checks["odd"].port == 3000


def test_probe_out_of_range(how: Settings) -> None:
    """A probe with numbers that nginx cannot store is not used for a health check, and is a problem."""
    probed = pod("odd", "web-0", "10.0.0.1", entries(1), [{"containerPort": 3000}])
    probed["spec"]["containers"][0]["readinessProbe"] = {"tcpSocket": {"port": 3000}, "periodSeconds": -3}
    table = build(replace(how, health_checks=True), namespace("odd", {"odd.dev": {}}), probed)
    assert "probe has a number out of range" in str(table.problems[0])


def test_long_probe_paths_take_no_memory(how: Settings) -> None:
    """A probe's path is kept for each port of its container, so not more of it is kept than shows that it is bad."""
    ports = [{"containerPort": number} for number in range(3000, 4000)]
    probed = pod("odd", "web-0", "10.0.0.1", entries(1), ports)
    probed["spec"]["containers"][0]["readinessProbe"] = {"httpGet": {"port": 3000, "path": "/" + "x" * 100_000}}
    checking = replace(how, health_checks=True)
    snapshot = normalise(listing([namespace("odd", {"odd.dev": {}}), probed]), checking)
    kept = snapshot.namespaces[0].pods[0].ports
    assert {len(port.probe.path) for port in kept if port.probe and port.probe.path} == {1025}
    table = build_table(snapshot, checking, time.time())
    assert [one for one in table.problems if "is not a path" in one.why]
    assert [upstream.check for upstream in table.routes.upstreams] == [None]


ODD_REGEXES = [
    "~[..]",
    "~[.-.]",
    "~[^:a:]",
    "~[=a=]",
    "~(a+)+$",
    "~.*.*.*x",
    "~a?a?a?a?a?b",
    "~[a-z]*z",
    "~a+",
    "~^/a|b*c",
    "~^/z" + "(?:a|a)" * 5,
    "~(a|b|c|d)(a|b|c|d)(a|b)",
    "~" + "|".join("abcdefghijklmnopqrstuvwxyzabcde"),
    "~a{3}",
    "~(?=a)",
    "~\\1",
    "~(?P<a>b)",
    "~a**",
]


@pytest.mark.parametrize("regex", ODD_REGEXES)
def test_regular_expressions_that_could_harm(how: Settings, regex: str) -> None:
    """An expression that PCRE reads in another way than Python, or that PCRE could take long to match, is left out."""
    paths = [{"basePath": regex, "containerPort": 3000}]
    table = build(
        replace(how, allow_regex_paths=True),
        namespace("odd", {"odd.dev": {}}), pod("odd", "web-0", "10.0.0.1", paths, DECLARED),
    )  # fmt: skip
    assert [len(host.locations) for host in table.routes.hosts] == [2, 0]


def serve_tls(how: Settings, tmp_path: Path, binary: str, certificate: bytes, key: bytes) -> RoutingTable:
    """Build the table of a host with this certificate; nginx must accept what is rendered from it."""
    table = build(how, namespace("odd", {"odd.dev": tls()}), secret("odd", ssl_crt=certificate, ssl_key=key))
    write_files(render(table.routes, how), tmp_path)
    check_tree(binary, tmp_path)
    return table


def patch(pem: bytes, old: bytes, new: bytes) -> bytes:
    """Replace bytes in the DER of a PEM."""
    der = base64.b64decode(b"".join(pem.splitlines()[1:-1]))
    assert old in der
    return b"-----BEGIN CERTIFICATE-----\n" + base64.encodebytes(der.replace(old, new)) + b"-----END CERTIFICATE-----\n"


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b"\xa0\x03\x02\x01\x02", b"\xa0\x03\x02\x01\x09"),  # a version that does not exist
        (b"\x2a\x86\x48\xce\x3d\x04\x03\x02", b"\x2a\x86\x48\xce\x3d\x04\x03\x01"),  # signed with SHA-224
        (b"\x0c\x07odd.dev", b"\x0c\x07\xff\xff\xff.dev"),  # a subject that is not UTF-8
        (b"\x0c\x07odd.dev", b"\x01\x07odd.dev"),  # a subject that is a boolean
    ],
)
def test_certificates_that_would_stop_nginx(
    how: Settings, tmp_path: Path, nginx_binary: str, authority: Authority, old: bytes, new: bytes
) -> None:
    """If nginx could not read a certificate, only the host with this certificate is left out."""
    certificate, key = authority.issue("odd.dev")
    assert serve_tls(how, tmp_path / "good", nginx_binary, certificate, key).problems == ()
    table = serve_tls(how, tmp_path / "odd", nginx_binary, patch(certificate, old, new), key)
    assert "host odd.dev is left out" in str(table.problems[0])


def test_huge_key(how: Settings, tmp_path: Path, nginx_binary: str, authority: Authority) -> None:
    """A key of two huge primes is left out soon, because no code searches for the factors of a tenant's key."""
    first, second, public = 2**4253 - 1, 2**4423 - 1, 65537
    private = pow(public, -1, (first - 1) * (second - 1))
    numbers = rsa.RSAPrivateNumbers(
        first, second, private, private % (first - 1), private % (second - 1), pow(second, -1, first),
        rsa.RSAPublicNumbers(public, first * second),
    )  # fmt: skip
    huge = numbers.private_key(unsafe_skip_rsa_key_validation=True).private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    table = serve_tls(how, tmp_path, nginx_binary, authority.issue("odd.dev")[0], huge)
    assert "does not belong to the certificate" in str(table.problems[0])


def test_json_that_is_odd(how: Settings) -> None:
    """An annotation with odd JSON is left out, and is a problem."""
    for text in ("[" * 100_000, "NaN", '"\\ud800"', "9" * 5000, "", "null", json.dumps({"a": {"ssl": {"a": [[]]}}})):
        table = build(how, namespace("odd", text), pod("odd", "web-0", "10.0.0.1", text or " ", DECLARED))
        assert {problem.resource.name for problem in table.problems} >= {"odd"}
