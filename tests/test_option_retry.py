"""retry and loadBalancing, on a running nginx: which requests are sent to another Pod, and which never."""

import re
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest
from support.handlers import QuietHandler, run_pod
from support.objects import Object, namespace, pod
from support.pods import DECLARED, HOST, LATER, entry
from support.ports import free_port, loopback
from support.router import Router

Start = Callable[..., Router]


class Failing(QuietHandler):
    """Answers each request with the status that its path names, and notes it; `/slow` takes two seconds."""

    asked: list[tuple[str, int]] = []

    def get(self) -> None:
        """Answer what is asked for."""
        size = int(self.headers.get("Content-Length", 0))
        self.asked.append((self.command, len(self.rfile.read(size))))
        if self.path == "/slow":
            time.sleep(2)
        self.answer(200 if self.path == "/slow" else int(self.path.strip("/")), b"own")

    put = get

    def do_POST(self) -> None:  # noqa: N802  the name that http.server looks for
        """Answer a POST."""
        self.get()

    def do_PATCH(self) -> None:  # noqa: N802
        """Answer a PATCH."""
        self.get()


@contextmanager
def failing_pods(count: int = 2, **more: object) -> Iterator[list[Object]]:
    Failing.asked.clear()
    runs = [run_pod(number, Failing) for number in range(1, count + 1)]
    places = [run.__enter__() for run in runs]
    try:
        yield [namespace("a", {HOST: {}}), *(place(number, *at, **more) for number, at in enumerate(places))]
    finally:
        for run in runs:
            run.__exit__(None, None, None)


def place(number: int, ip: str, port: int, **more: object) -> Object:
    one = {"basePath": "/", "containerPort": port, **more}
    return pod("a", f"web-{number}", ip, [one], [{"containerPort": port}])


def count_tries(here: Router, uri: str, method: str = "GET", body: bytes | None = None) -> tuple[int, int]:
    """Ask; give the status, and how many Pods were asked."""
    Failing.asked.clear()
    return here.ask(HOST, uri, method, body).status, len(Failing.asked)


def test_codes(router: Start) -> None:
    """A GET that gets a code is tried at another Pod, and the last Pod's own answer is given. Other codes are final."""
    here = router()
    with failing_pods(retry={"codes": [503]}) as objects:
        here.serve(*objects)
        assert count_tries(here, "/503") == (503, 2)
        assert here.ask(HOST, "/503").body == b"own"
        assert count_tries(here, "/500") == (500, 1)
        assert count_tries(here, "/200") == (200, 1)
        assert here.last
        assert here.last.table.problems == ()


def test_what_is_never_sent_twice(router: Start) -> None:
    """A POST or PATCH that a Pod got is not sent to another one, nor is a body of 200 kB; a PUT without body is."""
    here = router()
    with failing_pods(retry={"attempts": 3, "codes": [503]}) as objects:
        here.serve(*objects)
        assert count_tries(here, "/503", "POST", b"x") == (503, 1)
        assert count_tries(here, "/503", "PATCH", b"x") == (503, 1)
        assert count_tries(here, "/503", "PUT") == (503, 2)
        assert count_tries(here, "/503", "PUT", b"x" * 200_000) == (503, 1)
        assert Failing.asked == [("PUT", 200_000)]


@pytest.mark.parametrize(("attempts", "tries"), [(0, 1), (1, 2), (2, 3), (3, 4)])
def test_attempts(router: Start, attempts: int, tries: int) -> None:
    """`attempts` is the number of other Pods; with 0 no other one is asked, whatever codes say."""
    here = router()
    with failing_pods(5, retry={"attempts": attempts, "codes": [503, 429]}) as objects:
        here.serve(*objects)
        assert count_tries(here, "/429") == (429, tries)


@pytest.mark.parametrize(("attempts", "statuses"), [(0, {200, 502}), (1, {200})])
def test_a_dead_pod(router: Start, attempts: int, statuses: set[int]) -> None:
    """A Pod that refuses connections is passed over, also for a POST; with 0 attempts its requests get 502."""
    here = router()
    with failing_pods(1, retry={"attempts": attempts}) as objects:
        dead = place(9, loopback("10.244.9.77"), free_port(), retry={"attempts": attempts})
        here.serve(*objects, dead)
        assert {count_tries(here, "/200", "POST", b"x")[0] for _ in range(6)} == statuses


@pytest.mark.parametrize("retry", [None, {"codes": [503]}, {"attempts": 0}, {"attempts": 3}])
def test_beside_a_short_read_timeout(router: Start, retry: object) -> None:
    """One slow request is sent to one Pod alone, and nginx loads each combination of the two keys."""
    here = router()
    with failing_pods(timeouts={"read": "1s"}, retry=retry) as objects:
        here.serve(*objects)
        assert count_tries(here, "/slow") == (504, 1)


def test_one_pod(router: Start) -> None:
    """A path with one Pod gives that Pod's answer."""
    here = router()
    with failing_pods(1, retry={"attempts": 3, "codes": [503]}) as objects:
        here.serve(*objects)
        assert count_tries(here, "/503") == (503, 1)


@pytest.mark.parametrize(
    "more", [{"sessionPersistence": {"type": "Cookie"}}, {"loadBalancing": "least_conn"}, {"share": 100}]
)
def test_beside_other_methods(router: Start, more: dict[str, object]) -> None:
    """Another Pod is tried whatever method chooses among them."""
    here = router()
    with failing_pods(3, retry={"attempts": 2, "codes": [503]}, **more) as objects:
        here.serve(*objects)
        assert count_tries(here, "/503") == (503, 3)


@pytest.mark.parametrize(
    ("wanted", "problem"),
    [
        ({"attempts": 4}, "[0].retry.attempts is 4: the key is left out; expected: an integer from 0 to 3"),
        ({"attempts": "1"}, "[0].retry.attempts is '1'"),
        ({"attempts": True}, "[0].retry.attempts is a boolean"),
        (
            {"codes": [403]},
            "[0].retry.codes[0] is 403: the key is left out; expected: one of 404, 429, 500, 502, 503, 504",
        ),
        ({"codes": 503}, "[0].retry.codes is a number"),
        ({"codes": []}, "[0].retry.codes has 0 members"),
        ({"methods": ["POST"]}, "'methods' is an unknown key"),
        ({}, "[0].retry is empty"),
        (3, "[0].retry is a number"),
    ],
)
def test_bad_values_are_left_out(router: Start, wanted: object, problem: str) -> None:
    """A bad value is left out, and the path is served as without it."""
    here = router()
    with failing_pods(1, retry=wanted) as objects:
        cycle = here.serve(*objects)
        assert count_tries(here, "/200") == (200, 1)
    (told,) = cycle.table.problems
    assert problem in str(told)


def test_least_conn(router: Start) -> None:
    """With least_conn, a Pod with a slow request gets none of those that come meanwhile."""
    here = router()
    with failing_pods(2, loadBalancing="least_conn") as objects:
        cycle = here.serve(*objects)
        assert count_tries(here, "/200") == (200, 1)
        assert cycle.table.problems == ()
    config = cycle.files["nginx.conf"].content.decode()
    assert re.search(r"least_conn;\n        keepalive \d+;", config)
    assert '"loadBalancing":"least_conn"' in cycle.files["routes.jsonl"].content.decode()


@pytest.mark.parametrize("wanted", ["ip_hash", "random", "", 5, {"type": "least_conn"}, True])
def test_bad_methods_are_left_out(router: Start, ips: list[str], wanted: object) -> None:
    """Another method, or a value that is no method, is left out; `round_robin` changes nothing."""
    here = router()
    plain = here.serve(namespace("a", {HOST: {}}), pod("a", "w", ips[0], [entry("/")], DECLARED)).files["nginx.conf"]
    same = entry("/", loadBalancing="round_robin")
    cycle = here.serve(namespace("a", {HOST: {}}), pod("a", "w", ips[0], [same], DECLARED))
    assert (cycle.files["nginx.conf"], cycle.table.problems) == (plain, ())
    cycle = here.serve(namespace("a", {HOST: {}}), pod("a", "w", ips[0], [entry("/", loadBalancing=wanted)], DECLARED))
    assert cycle.files["nginx.conf"] == plain
    (told,) = cycle.table.problems
    assert "[0].loadBalancing is " in str(told)
    assert "the key is left out; expected: one of round_robin, least_conn" in str(told)


@pytest.mark.parametrize("key", ["retry", "loadBalancing"])
def test_oldest_pod_counts(router: Start, ips: list[str], key: str) -> None:
    """If Pods disagree, the oldest one counts; what the operator forbids is left out."""
    here = router(DENIED_OPTIONS="maxRequestBody")
    value: object = {"attempts": 0} if key == "retry" else "least_conn"
    old = pod("a", "w-0", ips[0], [entry("/", **{key: value})], DECLARED)
    new = pod("a", "w-1", ips[1], [entry("/")], DECLARED, creationTimestamp=LATER)
    cycle = here.serve(namespace("a", {HOST: {}}), old, new)
    (told,) = cycle.table.problems
    assert f"has no {key}, other than Pod w-0, which is older and counts" in str(told)
    assert (
        b"least_conn;" in cycle.files["nginx.conf"].content or b"next_upstream off" in cycle.files["nginx.conf"].content
    )
    strict = router(DENIED_OPTIONS=key)
    (told,) = strict.serve(namespace("a", {HOST: {}}), old).table.problems
    assert f"{key} is turned off by DENIED_OPTIONS: the key is left out" in str(told)
