"""A cluster that has everything: each option with each of its examples, and paths that are odd in other ways."""

import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from support.authority import Authority
from support.mirrors import Mirrors
from support.objects import Object, namespace, pod, secret, tls, unready
from support.option_examples import EXAMPLES, HOST_EXAMPLES
from support.passwords import write_apr1
from support.pods import LATER
from support.ports import free_port, has_ipv6, loopback, silent_address

APP, REVISION = "github.com/30x.dispatcher.app.name", "github.com/30x.dispatcher.app.rev"
KEY = "sesame"
NAME = "web.internal"
ASKS = {"path": "/auth", "responseHeaders": ["X-Auth-Request-User", "X-Team"]}
VERIFIED = {"caCertificate": {"valueFrom": {"secretKeyRef": {"key": "ca.crt"}}}, "hostname": NAME}

Place = tuple[str, int]
Path = tuple[str, dict[str, Any], str]

# Paths, their options, and the Pods that serve them.
PATHS: tuple[Path, ...] = (
    ("/", {}, "a b c"),
    ("/app", {}, "a"),
    ("/app/", {}, "b"),
    ("/app/deep", {}, "a b c six"),
    ("=/exact", {}, "a b"),
    ("/a%20b", {}, "a b"),
    ("/caf%C3%A9", {}, "a b"),
    ("/a%2Fb", {}, "a"),
    ("/a;b", {}, "a"),
    ("/a'b", {}, "a"),
    ("/a$uri", {}, "a b"),
    ("/%22%7D", {}, "a"),
    ("~^/r[0-9]+", {}, "a b"),
    ("~*(.png|.gif)$", {}, "b c"),
    ("/target", {"targetPath": "/t"}, "a b"),
    ("/target-slash/", {"targetPath": "/t/"}, "a b"),
    ("/target-root", {"targetPath": "/"}, "a b"),
    ("=/target-exact", {"targetPath": "/x%20y"}, "a b"),
    ("/target-odd", {"targetPath": "/a'b;c"}, "a"),
    ("/six", {}, "six"),
    ("/dead", {}, "dead1"),
    ("/half-dead", {}, "dead1 a b"),
    ("/most-dead", {"retry": {"attempts": 3}}, "dead1 dead2 dead3 a"),
    ("/silent", {"timeouts": {"connect": "30ms"}}, "silent"),
    ("/half-silent", {"timeouts": {"connect": "30ms"}}, "silent a b"),
    ("/no-retry", {"retry": {"attempts": 0}}, "dead1 a b"),
    ("/codes", {"retry": {"attempts": 3, "codes": [500, 502, 503, 504, 404, 429]}}, "a b c"),
    ("/auth", {}, "a b"),
    ("/sign-in", {}, "a b"),
    ("/asked", {"access": {"externalAuth": ASKS}}, "a b c"),
    ("/asked/sign", {"access": {"externalAuth": {**ASKS, "signInPath": "/sign-in"}}}, "a b c"),
    ("/asked/dead", {"access": {"externalAuth": {**ASKS, "path": "/dead"}}}, "a b"),
    ("/asked/backwards", {"access": {"externalAuth": {**ASKS, "path": "/half-dead"}}}, "b a"),
    ("/narrow", {"access": {"allow": ["10.0.0.0/8"]}}, "a b"),
    ("/body", {"maxRequestBody": "1k"}, "a b"),
    ("/unbuffered", {"buffering": False}, "a b"),
    ("/heads", {"maxResponseHeaders": "4Ki"}, "a b"),
    ("/reserve", {}, "dead1 +a +b"),
    ("/reserved", {}, "a b +c"),
    ("/rolled", {}, "a b c"),
    ("/https", {"tls": VERIFIED}, "tls"),
    ("/grpc", {"protocol": "grpc"}, "a"),
    ("/least", {"loadBalancing": "least_conn"}, "a b c"),
    ("/unready", {}, "lame"),
    ("/broken", {}, "broken1 broken2"),
    ("/.well-known/acme-challenge", {}, "a b"),
)
GUEST = ("/team", "/team/auth", "/team/asked")
RUNNING = ("a", "b", "c", "lame", "broken1", "broken2")
WEIGHTS = {"a": 1, "b": 3, "c": 2}
# Which Pod answers there is drawn by lot, or depends on how many connections are kept.
BY_LOT = ("/each/share/", "/each/sessionPersistence/", "/rolled", "/broken")


@dataclass(frozen=True)
class Wide:
    """The objects of the cluster, its hosts, those of them with TLS, its paths, and the URI of a server beside it."""

    objects: list[Object]
    hosts: tuple[str, ...]
    secure: tuple[str, ...]
    paths: tuple[str, ...]
    other: str


@contextmanager
def wide_cluster(authority: Authority) -> Iterator[Wide]:
    """Run the Pods of the cluster while the block runs."""
    with Mirrors() as mirrors, silent_address("10.244.9.40") as silent:
        places = _run_pods(mirrors, authority) | {"silent": silent}
        hosts, secure = _list_hosts()
        certificate, key = authority.issue("*.secure.test")
        keys = secret(
            "shop", ssl_crt=certificate, ssl_key=key, ca_crt=authority.pem, htpasswd=write_apr1(alice="rabbit")
        )
        other = "http://{}:{}/other".format(*places["lame"])
        paths = list(_list_paths())
        objects = [namespace("shop", hosts), keys, *_make_pods(paths, places), *_make_guests(places)]
        yield Wide(objects, (*hosts, "unknown.test"), secure, (*(path for path, _, _ in paths), *GUEST), other)


def _run_pods(mirrors: Mirrors, authority: Authority) -> dict[str, Place]:
    """Run the Pods, and give the address of each by its name."""
    port, tls_port = free_port(), free_port()
    places = {name: (loopback(f"10.244.{number}.40"), port) for number, name in enumerate(RUNNING)}
    places["six"] = ("::1" if has_ipv6() else loopback("10.244.8.40"), free_port())
    for ip, number in places.values():
        mirrors.listen(ip, number)
    places["tls"] = (loopback("10.244.5.40"), tls_port)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*authority.write("wide", *authority.issue(NAME)))
    mirrors.listen(*places["tls"], context)
    return places | {name: (loopback(f"10.244.{name[-1]}.41"), free_port()) for name in ("dead1", "dead2", "dead3")}


def _list_hosts() -> tuple[dict[str, Any], tuple[str, ...]]:
    """Give the hosts with their options, and the names of those with TLS."""
    plain: dict[str, Any] = {"plain.test": {"sharedWith": ["team"]}, "*.wild.test": {}}
    secure: dict[str, Any] = {"main.secure.test": {"sharedWith": ["team"], "http": "serve"}}
    secure["known.secure.test"] = {"clientCertificate": True}
    for name, values in HOST_EXAMPLES.items():
        for number, value in enumerate(values):
            plain[f"{name.lower()}{number}.test"] = {name: value}
            secure[f"{name.lower()}{number}.secure.test"] = {name: value}
    with_tls = {
        name: more | tls(client="ca.crt" if more.pop("clientCertificate", False) else None)
        for name, more in secure.items()
    }
    return plain | with_tls, tuple(secure)


def _list_paths() -> Iterator[Path]:
    """Give all paths: those above, and one for each example of an option."""
    yield from PATHS
    for name, values in EXAMPLES.items():
        for number, value in enumerate(values):
            outer, _, inner = name.partition(".")
            yield f"/each/{name}/{number}", {outer: {inner: value} if inner else value}, "a b c"


def _make_pods(paths: list[Path], places: dict[str, Place]) -> Iterator[Object]:
    for name, (ip, port) in places.items():
        entries = [_write_entry(*path, name, port) for path in paths if name in path[2].replace("+", "").split()]
        one = pod("shop", name, ip, entries, [{"containerPort": port}])
        one["metadata"]["labels"] |= {APP: "web", REVISION: name}
        yield unready(one) if name == "lame" else one


def _write_entry(base: str, options: dict[str, Any], pods: str, name: str, port: int) -> dict[str, Any]:
    """Write what one Pod says about a path. A Pod with + in front is a backup."""
    if "redirect" in options:
        return {"basePath": base, **options}
    own: dict[str, Any] = {"backup": True} if f"+{name}" in pods.split() else {}
    if base == "/rolled" and name == "a":
        own["share"] = 20
    return {"basePath": base, "containerPort": port, "weight": WEIGHTS.get(name, 1), **options, **own}


def _make_guests(places: dict[str, Place]) -> list[Object]:
    """Make a Namespace with an API key, which has paths on hosts of another one."""
    ip, port = places["a"]
    asks = {"access": {"externalAuth": {**ASKS, "path": "/team/auth"}}}
    entries = [{"basePath": path, "containerPort": port, **(asks if path.endswith("asked") else {})} for path in GUEST]
    one = pod("team", "web-0", ip, entries, [{"containerPort": port}])
    return [
        namespace("team", {"plain.test": {}, "main.secure.test": {}}, created=LATER),
        secret("team", api_key=KEY),
        one,
    ]
