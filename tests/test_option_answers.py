"""maxResponseHeaders and buffering, on a running nginx."""

import http.client
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest
from support.handlers import QuietHandler, run_pod
from support.objects import namespace, pod
from support.pods import DECLARED, HOST, entry
from support.router import Router

Start = Callable[..., Router]


class Talker(QuietHandler):
    """Answers `/<number>` with a head of about that many bytes, and with a body of a megabyte."""

    def get(self) -> None:
        """Send a long head."""
        self.send_response(200)
        for number in range(int(self.path[1:]) // 1000):
            self.send_header(f"X-Part-{number}", "x" * 985)
        self.send_header("Content-Length", str(2**20))
        self.end_headers()
        self.wfile.write(b"x" * 2**20)


class Piecewise(QuietHandler):
    """Sends a small piece of an answer, and the rest once `more` is set."""

    more = threading.Event()

    def get(self) -> None:
        """Wait within an answer."""
        self.more.clear()
        self.send_response(200)
        self.send_header("Content-Length", "2")
        self.end_headers()
        self.wfile.write(b"1")
        self.more.wait(20)
        self.wfile.write(b"2")


@contextmanager
def serve(here: Router, handler: type[QuietHandler], **paths: dict[str, object]) -> Iterator[None]:
    """Serve a Pod at `/<name>` with these options."""
    with run_pod(1, handler) as (ip, port):
        entries = [
            {"basePath": f"/{name}", "containerPort": port, "targetPath": "/", **options}
            for name, options in paths.items()
        ]
        here.serve(namespace("a", {HOST: {}}), pod("a", "web-0", ip, entries, [{"containerPort": port}]))
        yield


@pytest.mark.parametrize(("size", "fits", "exceeds"), [("4Ki", 3000, 5000), ("64Ki", 63000, 66000)])
def test_longest_head(router: Start, size: str, fits: int, exceeds: int) -> None:
    """A head of the size is passed on with its whole body, and a longer one becomes 502."""
    here = router()
    with serve(here, Talker, own={"maxResponseHeaders": size}, usual={}):
        answer = here.ask(HOST, f"/own/{fits}")
        assert (answer.status, len(answer.body)) == (200, 2**20)
        assert here.ask(HOST, f"/own/{exceeds}").status == 502
        assert [here.ask(HOST, f"/usual/{number}").status for number in (15000, 17000)] == [200, 502]


@pytest.mark.parametrize("size", ["4Ki", "4097", "5000", "15999", "16385", "20001", "33333", "65535", "64Ki"])
def test_all_sizes_load(router: Start, ips: list[str], size: str) -> None:
    """Buffers for any legal size load in nginx."""
    here = router()
    cycle = here.serve(
        namespace("a", {HOST: {}}), pod("a", "w", ips[0], [entry("/", maxResponseHeaders=size)], DECLARED)
    )
    assert cycle.applied
    assert here.ask(HOST, "/").status == 200


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ({"maxResponseHeaders": "4095"}, "is '4095': the key is left out; expected: 4Ki to 64Ki"),
        ({"maxResponseHeaders": "65Ki"}, "is '65Ki'"),
        ({"maxResponseHeaders": 8192}, "[0].maxResponseHeaders is a number"),
        ({"buffering": "off"}, "[0].buffering is 'off': the key is left out; expected: true or false"),
        ({"buffering": 0}, "[0].buffering is 0"),
    ],
)
def test_bad_values_are_left_out(router: Start, ips: list[str], options: dict[str, object], problem: str) -> None:
    """A value that is not legal is left out, and the path is served."""
    here = router()
    cycle = here.serve(namespace("a", {HOST: {}}), pod("a", "w", ips[0], [entry("/", **options)], DECLARED))
    assert here.ask(HOST, "/").status == 200
    (told,) = cycle.table.problems
    assert problem in str(told)


def test_without_buffering(router: Start) -> None:
    """Without buffering the client gets a piece of an answer while the Pod still waits with the rest."""
    here = router()
    with serve(here, Piecewise, own={"buffering": False}):
        connection = http.client.HTTPConnection("127.0.0.1", here.port, timeout=20)
        connection.request("GET", "/own/", headers={"Host": HOST})
        answer = connection.getresponse()
        assert answer.read(1) == b"1"
        Piecewise.more.set()
        assert answer.read() == b"2"
        connection.close()


def test_what_holds_anyway_is_not_written(router: Start, ips: list[str]) -> None:
    """A Pod that names what holds without a key agrees with a Pod without it, and nginx is told nothing."""
    here = router()
    plain = pod("a", "w-0", ips[0], [entry("/")], DECLARED)
    cycle = here.serve(namespace("a", {HOST: {}}), plain)
    written = cycle.files["nginx.conf"]
    usual = entry("/", buffering=True, maxResponseHeaders="16Ki")
    cycle = here.serve(namespace("a", {HOST: {}}), plain, pod("a", "w-1", ips[0], [usual], DECLARED))
    assert cycle.files["nginx.conf"] == written
    assert [str(one) for one in cycle.table.problems if "address" not in str(one)] == []


def test_oldest_pod_counts(router: Start, ips: list[str]) -> None:
    """If Pods disagree about a head's size or about buffering, the oldest one's value counts, and it is told."""
    here = router()
    cycle = here.serve(
        namespace("a", {HOST: {}}),
        pod("a", "w-0", ips[0], [entry("/", maxResponseHeaders="32Ki")], DECLARED),
        pod("a", "w-1", ips[1], [entry("/", buffering=False)], DECLARED),
    )
    assert {problem.why for problem in cycle.table.problems} == {
        "has no maxResponseHeaders, other than Pod w-0, which is older and counts",
        "has another buffering, other than Pod w-0, which is older and counts",
    }
    lines = cycle.files["nginx.conf"].content
    assert b"proxy_busy_buffers_size 32768;" in lines
    assert b"proxy_buffering off" not in lines
