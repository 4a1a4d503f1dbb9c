"""Requests through the balancer in Lua reach Pods as through nginx's own upstreams, on a real nginx."""

import socket
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

import pytest
from support.backends import Backends
from support.clients import Download, KeptConnection, NewConnections, Upload, WebSocket, busy
from support.lua_nginx import Start
from support.ports import free_port, has_ipv6, loopback, silent_address
from support.raw_pods import hang_up, raw_pod, read_head

from reconciler.routing.model import Server

WAYS = ("lua", "static")


@pytest.fixture(scope="module")
def pods(backends: Backends) -> list[Server]:
    """Give Pods that answer."""
    port = free_port()
    addresses = [loopback(f"10.244.{place}.26") for place in range(5)]
    for address in addresses:
        backends.listen(address, port)
    return [Server(f"{address}:{port}", 1, f"web-{place}") for place, address in enumerate(addresses)]


def dead(ip: str = "10.244.9.26") -> str:
    """Give an address that refuses connections."""
    return f"{loopback(ip)}:{free_port()}"


def weigh(pods: list[Server], *weights: int) -> tuple[Server, ...]:
    """Give Pods with these weights."""
    return tuple(Server(pod.address, weight, pod.pod) for pod, weight in zip(pods, weights, strict=False))


@pytest.mark.parametrize("weights", [(1,), (1, 1), (1, 2, 3), (5, 1, 1), (7, 3, 2, 2, 1), (1_000_000, 1)], ids=str)
def test_weights(lua: Start, pods: list[Server], weights: tuple[int, ...]) -> None:
    """The Pods come in the same order as with nginx's own upstream, and exactly as often as their weights say."""
    here = lua({"0a.a": weigh(pods, *weights)}, workers=1)
    cycle = min(sum(weights), 40)
    found = here.find_pods("/lua/0a.a/", 2 * cycle)
    assert found == here.find_pods("/static/0a.a/", 2 * cycle)
    if cycle == sum(weights):
        assert [found.count(pod.address) for pod in pods[: len(weights)]] == [2 * weight for weight in weights]


def test_request_arrives_as_sent(lua: Start, pods: list[Server]) -> None:
    """A Pod gets the same method, URI, headers and body as through nginx's own upstream."""
    here = lua({"0a.a": (pods[0],)})
    told = {}
    for way in WAYS:
        path = f"/{way}/0a.a/a%20b/%2e%2F//c?d=%26&e"
        told[way] = here.ask(path, "PUT", body=b"x" * 70_000, headers={"X-Sent": "1"}).told
        assert told[way].pop("uri") == path
        told[way].pop("client")
        told[way]["headers"].pop("host")
    assert told["lua"] == told["static"]
    assert told["lua"]["size"] == 70_000


@pytest.mark.skipif(not has_ipv6(), reason="this machine has no IPv6")
def test_ipv6(lua: Start, backends: Backends) -> None:
    """A Pod may have an IPv6 address; one that refuses connections is not asked twice for one request."""
    port = free_port()
    backends.listen("::1", port)
    here = lua({"0a.a": (Server(f"[::1]:{free_port()}", 100, "dead"), Server(f"[::1]:{port}", 1, "web"))}, workers=1)
    assert set(here.find_pods("/lua/0a.a/", 20)) == {f"::1:{port}"}


def test_connections_are_kept(lua: Start, pods: list[Server]) -> None:
    """Requests one after the other use one connection to the Pod, and each Pod has its own."""
    here = lua({"0a.a": tuple(pods[:2])}, workers=1)
    told = [here.ask("/lua/0a.a/").told for _ in range(20)]
    assert len({(one["pod"], one["client"]) for one in told}) == 2
    assert len({one["pod"] for one in told}) == 2


def test_all_kinds_of_clients(lua: Start, pods: list[Server], backends: Backends) -> None:
    """WebSockets, uploads and downloads work, on kept and on new connections."""
    here = lua({"0a.a": tuple(pods)})
    clients = [kind(here.port, "a.test") for kind in (NewConnections, KeptConnection, WebSocket, Upload, Download)]
    with busy(clients, backends):
        while min(one.sent for one in clients) < 50:
            pass
    assert not [one.failures for one in clients if one.failures]


@pytest.mark.parametrize("way", WAYS)
def test_second_try(lua: Start, pods: list[Server], way: str) -> None:
    """After a connection that is refused, another Pod gets the request, also a POST: none was sent. Not a third one."""
    first = Server(dead(), 1000, "dead")
    here = lua({"0a.a": (first, pods[0]), "0b.a": (first, Server(dead(), 1000, "dead"), pods[0])}, workers=1)
    for method in ("GET", "POST"):
        assert {here.ask(f"/{way}/0a.a/", method).status for _ in range(10)} == {200}
    assert here.ask(f"/{way}/0b.a/").status == 502


@pytest.mark.parametrize("way", WAYS)
def test_silent_pod(lua: Start, pods: list[Server], way: str) -> None:
    """If a connection is neither accepted nor refused for 2 seconds, another Pod gets the request."""
    with silent_address("10.244.7.26") as (ip, port):
        here = lua({"0a.a": (Server(f"{ip}:{port}", 1000, "silent"), pods[0])}, workers=1)
        assert here.ask(f"/{way}/0a.a/", "POST").told["pod"] == pods[0].address


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(("method", "status", "asked"), [("GET", 200, 2), ("POST", 502, 1), ("PATCH", 502, 1)])
def test_request_that_was_sent(lua: Start, pods: list[Server], way: str, method: str, status: int, asked: int) -> None:
    """A request that a Pod read and did not answer goes to another Pod, unless it may change something twice."""
    with raw_pod(loopback("10.244.8.26"), hang_up) as broken:
        here = lua({"0a.a": (Server(broken.address, 1000, "broken"), *pods[:1])}, workers=1)
        answer = here.ask(f"/{way}/0a.a/", method)
        assert (answer.status, broken.taken) == (status, 1)
        assert asked == 1 or answer.told["pod"] == pods[0].address


def test_no_pod_is_left_out(lua: Start, pods: list[Server]) -> None:
    """A Pod that failed is asked again in its turn: its readiness says whether it can serve."""
    with raw_pod(loopback("10.244.8.26"), hang_up) as broken:
        here = lua({"0a.a": (Server(broken.address, 1, "broken"), pods[0])}, workers=1)
        assert here.find_pods("/lua/0a.a/", 10) == [pods[0].address] * 10
        assert broken.taken >= 5


def test_kept_connections_that_closed(lua: Start, pods: list[Server]) -> None:
    """If the only Pod closes a kept connection just as a request is sent over it, the request is sent anew."""

    def answer_once(connection: socket.socket) -> None:
        read_head(connection)
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
        read_head(connection)

    with raw_pod(loopback("10.244.8.26"), answer_once) as pod:
        here = lua({"0a.a": (Server(pod.address, 1, "web"),)}, workers=1)
        for taken in (1, 2, 3):
            assert here.ask("/lua/0a.a/").status == 200
            assert pod.taken == taken


@pytest.mark.parametrize("number", [1, 2])
def test_pods_that_hang_up(lua: Start, number: int) -> None:
    """A request on which Pods hang up is sent six times at most, however many connections to them are kept."""
    together, asked = threading.Barrier(20), []

    def act(connection: socket.socket) -> None:
        while head := read_head(connection):
            if b"/bad" in head:
                asked.append(head)
                return
            together.wait(20)  # so that each request needs a connection of its own
            connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")

    with ExitStack() as stack, ThreadPoolExecutor(20) as clients:
        pods = [stack.enter_context(raw_pod(loopback(f"10.244.{place}.28"), act)) for place in range(number)]
        here = lua({"0a.a": tuple(Server(one.address, 1, "web") for one in pods)}, workers=1)
        assert set(clients.map(lambda _: here.ask("/lua/0a.a/").status, range(20))) == {200}
        assert here.ask("/lua/0a.a/bad").status == 502
        assert (len(asked), here.standing.errors) == (6, 0)


def test_backups(lua: Start, pods: list[Server]) -> None:
    """A backup gets a request only if the others did not take it."""
    spare = Server(pods[1].address, 1, "spare", backup=True)
    here = lua({"0a.a": (pods[0], spare), "0b.a": (Server(dead(), 1, "dead"), spare), "0c.a": (spare,)}, workers=1)
    assert set(here.find_pods("/lua/0a.a/", 10)) == {pods[0].address}
    assert set(here.find_pods("/lua/0b.a/", 10)) == {spare.address}
    assert set(here.find_pods("/lua/0c.a/", 2)) == {spare.address}


def test_no_pods(lua: Start, pods: list[Server]) -> None:
    """A set without Pods answers 503, also to an upload and to a WebSocket; one that nobody knows 500. Both count."""
    here = lua({"0a.a": ()})
    asked = [here.ask("/lua/0a.a/"), here.ask("/lua/0a.a/", "POST", body=b"x" * 1_000_000)]
    asked.append(here.ask("/lua/0a.a/", headers={"Connection": "upgrade", "Upgrade": "websocket"}))
    assert {one.status for one in asked} == {503}
    assert here.ask("/lua/0b.a/").status == here.ask("/lua/x/").status == 500
    standing = here.standing
    assert (standing.empty, standing.unknown, standing.errors) == (3, 2, 0)
    here.change(**{"0a": (pods[0],)})
    assert here.ask("/lua/0a.a/").status == 200


def test_early_answer(lua: Start, pods: list[Server]) -> None:
    """A connection is not kept if the Pod answered before it had the whole body: the rest would be the next request."""
    heads: list[bytes] = []

    def answer_early(connection: socket.socket) -> None:
        while head := read_head(connection):
            heads.append(head.partition(b" ")[0])
            connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")

    with raw_pod(loopback("10.244.8.26"), answer_early) as pod:
        here = lua({"0a.a": (Server(pod.address, 1, "early"),)}, workers=1)
        for _ in range(5):
            with socket.create_connection(("127.0.0.1", here.port), 10) as client:
                client.sendall(b"POST /lua/0a.a/ HTTP/1.1\r\nHost: a.test\r\nContent-Length: 100\r\n\r\nDELETE ")
                assert b" 200 " in client.recv(4096)
                client.sendall(b"/ HTTP/1.1\r\nHost: other.test\r\n\r\n")
            assert here.ask("/lua/0a.a/").status == 200
    assert set(heads) == {b"POST", b"GET"}


def test_in_the_sandbox(lua: Start, pods: list[Server], tmp_path: Path) -> None:
    """No file besides its tree is needed: nginx runs under Landlock, and writes nothing but its pid and sockets."""
    secret = tmp_path / "secret"
    secret.mkdir()
    here = lua({"0a.a": tuple(pods)}, hidden=(str(secret),))

    def list_files() -> list[Path]:
        return sorted(path for path in here.folder.rglob("*") if not path.is_dir())

    before = list_files()
    for _ in range(5):
        here.change(**{"0a": (pods[0],), "0b": ()})
        here.change(**{"0a": tuple(pods), "0b": None})
        assert here.ask("/lua/0a.a/").status == 200
    assert list_files() == before
    tree = {here.tree / "nginx.conf", *(here.tree / "lua").iterdir()}
    assert {path.name for path in set(before) - tree} == {"nginx.pid", "release.sock", "no-pods.sock"}


def test_authorisers(lua: Start, pods: list[Server]) -> None:
    """Asking an authoriser's Pods does not change which Pods get the request."""
    here = lua({"0a.a": (pods[0],), "0b.a": (pods[1],)})
    assert here.find_pods("/asked/", 4) == [pods[0].address] * 4
    here.change(**{"0b": ()})
    assert here.ask("/asked/").status == 500  # as with any authoriser that does not answer


def test_second_upstream(lua: Start, pods: list[Server]) -> None:
    """If a request goes on to another set, the Pods of the first one do not count as its tries."""
    gone = tuple(Server(dead(), 1000, "dead") for _ in range(2))
    here = lua({"0a.a": gone, "0b.a": (*gone[:1], pods[0])}, workers=1)
    assert here.find_pods("/twice/", 4) == [pods[0].address] * 4
