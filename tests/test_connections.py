"""Connections to Pods, on a running nginx: who shares one, and what a slow, breaking or dead Pod costs others."""

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from support.handlers import QuietHandler, run_pod
from support.objects import namespace, pod
from support.pods import HOST
from support.ports import silent_address
from support.router import Router

Start = Callable[..., Router]
Address = tuple[str, int]


def serve(router: Start, *pods: Address, **settings: str) -> Router:
    """Serve one path of these Pods."""
    here = router(**settings)
    made = [
        pod("a", f"web-{number}", ip, [{"basePath": "/", "containerPort": port}], [{"containerPort": port}])
        for number, (ip, port) in enumerate(pods)
    ]
    here.serve(namespace("a", {HOST: {}}), *made)
    return here


# Who shares a connection


class Personal(QuietHandler):
    """Takes a whole connection for the person whose credentials came on it, as Pods with NTLM or Kerberos do."""

    person = ""

    def get(self) -> None:
        """Answer with the person that the connection belongs to; 401 if it belongs to nobody."""
        scheme, _, credentials = self.headers.get("Authorization", "").strip(" ,\t").rpartition(" ")
        if scheme:
            self.person = credentials
        self.answer(200 if self.person else 401, self.person.encode())


@pytest.fixture
def personal() -> Iterator[Address]:
    """Run a Pod that authenticates connections."""
    with run_pod(1, Personal) as where:
        yield where


@pytest.mark.parametrize(
    "authorization",
    ["NTLM ann", "Negotiate ann", "ntlm ann", "NEGOTIATE  ann", "Basic x, Negotiate ann", "\tNTLM ann", "Kerberos ann"],
)
def test_a_connection_is_one_person_s(router: Start, personal: Address, authorization: str) -> None:
    """A Pod that authenticates connections answers no other client as the one whose credentials it has seen."""
    here = serve(router, personal)
    for upgrade in ({}, {}, {"Connection": "upgrade", "Upgrade": "websocket"}):
        answer = here.ask(HOST, "/", Authorization=authorization, **upgrade)
        assert (answer.status, answer.body) == (200, b"ann")
        assert [here.ask(HOST, "/").status for _ in range(10)] == [401] * 10


def test_other_credentials_share_connections(router: Start, personal: Address) -> None:
    """With other credentials connections are kept: this Pod, which takes them for a person's, shows it."""
    here = serve(router, personal)
    assert here.ask(HOST, "/", Authorization="Bearer ann").status == 200
    assert 200 in {here.ask(HOST, "/").status for _ in range(30)}


# What one Pod's failures cost others


class Moody(QuietHandler):
    """Answers at once, but /slow when the test ends, and /break and PUT never."""

    slow = 0
    ended = threading.Event()

    def get(self) -> None:
        """Answer as the path says."""
        if self.path == "/slow":
            type(self).slow += 1
            self.ended.wait()
        if self.path == "/break":
            self.close_connection = True
        else:
            self.answer(200)

    def put(self) -> None:
        """Close the connection when the head has arrived."""
        self.close_connection = True


class Taking(QuietHandler):
    """Takes bodies: answers with their size."""

    def put(self) -> None:
        """Read the body."""
        self.answer(200, str(len(self.rfile.read(int(self.headers["Content-Length"])))).encode())


@pytest.fixture
def moody() -> Iterator[list[Address]]:
    """Run two Pods that are slow, or break, at some requests."""
    Moody.slow = 0
    Moody.ended.clear()
    with run_pod(1, Moody) as one, run_pod(2, Moody) as two:
        yield [one, two]
        Moody.ended.set()


def test_breaking_request_takes_no_path(router: Start, moody: list[Address]) -> None:
    """After a request at which both Pods of a path drop the connection, the path answers everyone else."""
    here = serve(router, *moody)
    for _ in range(4):
        assert here.ask(HOST, "/break").status == 502
        assert [here.ask(HOST, "/").status for _ in range(10)] == [200] * 10


def test_slow_request_takes_no_path(router: Start, moody: list[Address]) -> None:
    """A request that a Pod takes too long for is not sent to another Pod, and takes the path from nobody."""
    here = serve(router, *moody)
    asked = [threading.Thread(target=ask_slowly, args=(here,)) for _ in range(4)]
    for thread in asked:
        thread.start()
    for thread in asked:
        thread.join()
    assert Moody.slow == 4
    assert [here.ask(HOST, "/").status for _ in range(30)] == [200] * 30


def ask_slowly(here: Router) -> None:
    with closing(socket.create_connection(("127.0.0.1", here.port), timeout=100)) as connection:
        connection.sendall(f"GET /slow HTTP/1.1\r\nHost: {HOST}\r\nConnection: close\r\n\r\n".encode())
        assert connection.recv(100).startswith(b"HTTP/1.1 504 ")


@pytest.fixture
def dead() -> Iterator[Address]:
    """Give an address where connections are neither accepted nor refused, as on a node that has just died."""
    with silent_address("10.244.9.3") as where:
        yield where


def test_pod_on_a_dead_node(router: Start, moody: list[Address], dead: Address) -> None:
    """Requests that are sent to a Pod on a dead node are answered by another Pod, POST too."""
    here = serve(router, dead, *moody)
    assert [here.ask(HOST, "/").status for _ in range(6)] == [200] * 6
    assert [here.ask(HOST, "/", method="POST", body=b"x").status for _ in range(6)] == [501] * 6


@pytest.mark.parametrize(("size", "status"), [("0", 502), ("64k", 200)])
def test_body_that_a_pod_drops(router: Start, size: str, status: int) -> None:
    """A PUT that a Pod drops is sent to another Pod only if its body was buffered."""
    with run_pod(1, Moody) as one, run_pod(2, Taking) as two:
        here = serve(router, one, two, NGINX_CLIENT_BODY_BUFFER_SIZE=size)
        answers = [here.ask(HOST, "/", method="PUT", body=b"x" * 60_000) for _ in range(12)]
    assert {answer.status for answer in answers} == {200, status}
    assert {answer.body for answer in answers if answer.status == 200} == {b"60000"}


def test_body_above_the_buffer(router: Start) -> None:
    """A body that does not fit into the buffer is written to disk, and passes."""
    # If root starts nginx, its workers have another user, who may not look into pytest's folder.
    with run_pod(1, Taking) as one, TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        here = serve(partial(router, Path(folder)), one, NGINX_CLIENT_BODY_BUFFER_SIZE="1k")
        assert here.ask(HOST, "/", method="PUT", body=b"x" * 3_000_000).body == b"3000000"
        here.stop()
