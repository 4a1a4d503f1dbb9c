"""timeouts and maxRequestBody, on a running nginx."""

import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest
from support.handlers import QuietHandler, run_pod
from support.objects import namespace, pod
from support.pods import DECLARED, HOST, entry
from support.router import Router

Start = Callable[..., Router]


class Slow(QuietHandler):
    """Answers `/slow` after three seconds, and everything else at once."""

    asked: list[str] = []

    def get(self) -> None:
        """Wait if asked to."""
        self.asked.append(self.path)
        if self.path == "/slow":
            time.sleep(3)
        self.answer(200)


@contextmanager
def two_slow_pods() -> Iterator[list[tuple[str, int]]]:
    Slow.asked.clear()
    with run_pod(1, Slow) as one, run_pod(2, Slow) as other:
        yield [one, other]


def test_read_timeout(router: Start) -> None:
    """A request that outlasts `read` gets 504 and is sent to one Pod alone; the Pods' other requests are served."""
    here = router()
    with two_slow_pods() as pods:
        here.serve(
            namespace("a", {HOST: {}}),
            *(
                pod("a", f"web-{number}", ip, [{"basePath": "/", "containerPort": port, "timeouts": {"read": "1s"}}],
                    [{"containerPort": port}])
                for number, (ip, port) in enumerate(pods)
            ),
        )  # fmt: skip
        assert here.ask(HOST, "/slow").status == 504
        assert [here.ask(HOST, "/").status for _ in range(4)] == [200] * 4
        assert Slow.asked.count("/slow") == 1


@pytest.mark.parametrize(
    ("wanted", "shown"),
    [
        ({"read": "1h30m"}, "read 90m"),
        ({"connect": "500ms", "send": "2m"}, "connect 500ms, send 2m"),
        ({"connect": "75s", "read": "24h", "send": "1s"}, "connect 75s, read 24h, send 1s"),
    ],
)
def test_legal_times(router: Start, ips: list[str], wanted: dict[str, str], shown: str) -> None:
    """Legal times load in nginx, and are told as they count."""
    here = router()
    cycle = here.serve(namespace("a", {HOST: {}}), pod("a", "w", ips[0], [entry("/", timeouts=wanted)], DECLARED))
    assert here.ask(HOST, "/").status == 200
    assert cycle.table.problems == ()
    assert f'"timeouts":"{shown}"'.encode() in cycle.files["routes.jsonl"].content


@pytest.mark.parametrize(
    ("wanted", "problem"),
    [
        ({"read": "25h"}, "[0].timeouts.read is '25h': the key is left out; expected: 1s to 24h"),
        ({"read": "0s"}, "is '0s': the key is left out; expected: 1s to 24h"),
        ({"connect": "80s"}, "expected: 10ms to 75s"),
        ({"read": 5}, "[0].timeouts.read is a number"),
        ({"read": "5 s"}, "is '5 s'"),
        ({"request": "5s"}, "[0].timeouts.'request' is an unknown key: the key is left out"),
        ("5s", "[0].timeouts is a string"),
    ],
)
def test_bad_times_are_left_out(router: Start, ips: list[str], wanted: object, problem: str) -> None:
    """Bad times are left out, and the path is served."""
    here = router()
    cycle = here.serve(namespace("a", {HOST: {}}), pod("a", "w", ips[0], [entry("/", timeouts=wanted)], DECLARED))
    assert here.ask(HOST, "/").status == 200
    (told,) = cycle.table.problems
    assert problem in str(told)


def test_oldest_pod_counts(router: Start, ips: list[str]) -> None:
    """If Pods disagree on a time-out, the oldest one's counts, also if it has none."""
    here = router()
    cycle = here.serve(
        namespace("a", {HOST: {}}),
        pod("a", "w-0", ips[0], [entry("/")], DECLARED),
        pod("a", "w-1", ips[1], [entry("/", timeouts={"read": "5s"})], DECLARED),
    )
    (told,) = cycle.table.problems
    assert "has another timeouts, other than Pod w-0, which is older and counts" in str(told)
    assert b"read_timeout" not in cycle.files["nginx.conf"].content


def test_body_size(router: Start, ips: list[str]) -> None:
    """A body of the size is passed on, and a larger one gets 413, also if its length is not told before."""
    here = router()
    here.serve(namespace("a", {HOST: {}}), pod("a", "w", ips[0], [entry("/", maxRequestBody="10")], DECLARED))
    assert here.ask(HOST, "/", "POST", b"x" * 10).status == 200
    assert here.ask(HOST, "/", "POST", b"x" * 11).status == 413
    with socket.create_connection(("127.0.0.1", here.port), timeout=20) as raw:
        head = f"POST / HTTP/1.1\r\nHost: {HOST}\r\nTransfer-Encoding: chunked\r\n\r\n"
        raw.sendall(head.encode() + b"6\r\nxxxxxx\r\n6\r\nxxxxxx\r\n0\r\n\r\n")
        assert raw.recv(100).startswith(b"HTTP/1.1 413 ")


@pytest.mark.parametrize(
    ("wanted", "problem"),
    [
        ("2Mi", "is '2Mi': the key is left out; expected: 1 to 1Mi"),
        ("0", "is '0'"),
        (10, "is a number"),
        ("1K", "is '1K'"),
    ],
)
def test_bad_size_is_left_out(router: Start, ips: list[str], wanted: object, problem: str) -> None:
    """A size that is not legal or above the operator's is left out, and the operator's holds."""
    here = router(NGINX_MAX_CLIENT_BODY_SIZE="1m")
    cycle = here.serve(namespace("a", {HOST: {}}), pod("a", "w", ips[0], [entry("/", maxRequestBody=wanted)], DECLARED))
    assert here.ask(HOST, "/", "POST", b"x" * 1000).status == 200
    assert here.ask(HOST, "/", "POST", b"x" * (2**20 + 1)).status == 413
    (told,) = cycle.table.problems
    assert problem in str(told)
