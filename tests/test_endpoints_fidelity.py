"""A tree whose Pods Lua chooses answers each request as the tree with nginx's own upstreams does."""

import json
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from support.authority import Authority
from support.questions import Asker, draw_questions
from support.router import Router
from support.running_daemon import wait_until
from support.wide_cluster import BY_LOT, Wide, wide_cluster

Start = Callable[..., Router]
Both = tuple[Router, Router]
# One worker, as each chooses Pods in an order of its own.
SETTINGS = {
    "NGINX_WORKER_PROCESSES": "1", "ALLOW_REGEX_PATHS": "true", "MAX_LOCATIONS_PER_NAMESPACE": "100000",
    "ACCESS_LOG": "json",
}  # fmt: skip
QUESTIONS = 1000
STATUSES = {200, 204, 302, 304, 308, 400, 401, 403, 404, 405, 413, 414, 429, 500, 502, 503, 504}
# What each log has of a request in another way. HTTP/2 packs the date and the id, so that the bytes differ.
OWN = ("time", "request_id", "seconds", "upstream_seconds", "bytes")


@pytest.fixture(scope="module")
def wide(authority: Authority, has_lua: None) -> Iterator[Wide]:
    """Run the Pods of a cluster that has everything."""
    with wide_cluster(authority) as cluster:
        yield cluster


@pytest.fixture
def folder() -> Iterator[Path]:
    """Give a folder in which nginx's workers can store long bodies, also those of root, which have another user."""
    with TemporaryDirectory() as name:
        Path(name).chmod(0o755)
        yield Path(name)


def start_both(router: Start, folder: Path, wide: Wide, **settings: str) -> Both:
    """Serve a cluster by a tree with upstreams, and by one with Lua."""
    static, lua = (router(folder, **SETTINGS, **settings, ENDPOINTS=how) for how in ("reload", "lua"))
    both = [here.serve(*wide.objects).files["nginx.conf"].content for here in (static, lua)]
    assert [text.count(b"set $pods ") > 1000 for text in both] == [False, True]
    return static, lua


def expect_the_same(both: Both, authority: Authority, wide: Wide, seed: int) -> None:
    """Ask both routers the same questions, and expect the same answers, and two equal lines of the log for each."""
    asker, answers, differences = Asker(authority), Counter[Any](), []
    for one in draw_questions(wide, seed, QUESTIONS):
        static, lua = (asker.ask(here, one) for here in both)
        answers[static.get("status")] += 1
        if static != lua:
            differences.append(f"{one}\nwith upstreams: {static}\nwith Lua: {lua}")
    assert not differences, "\n".join([f"{len(differences)} differences", *differences[:3]])
    assert answers[200] > QUESTIONS / 4
    assert answers.keys() >= STATUSES
    wait_until(lambda: is_twice(read_log()), lambda: str([line for line in read_log().items() if line[1] % 2][:10]))


def is_twice(lines: Counter[str]) -> bool:
    """Tell whether each line is there as often from one log as it can be from the other."""
    return lines.total() > QUESTIONS and not any(number % 2 for number in lines.values())


def read_log() -> Counter[str]:
    """Count the lines of both logs that are equal but for what is never equal."""
    lines = map(json.loads, Path("/proc/self/fd/1").read_text().splitlines())
    return Counter(
        json.dumps({name: value for name, value in line.items() if name not in find_own(line)}) for line in lines
    )


def find_own(line: dict[str, Any]) -> tuple[str, ...]:
    """Name what may differ between two lines about the same question."""
    by_lot = ("upstream", "upstream_status") if line["path"].startswith(BY_LOT) else ()
    # Without a Pod only Lua reads the body before; over HTTP/2 it is chance how much of it was read before a 502.
    body = (line["status"], line["upstream"]) == (503, "") or (line["status"], line["protocol"]) == (502, "HTTP/2.0")
    return (*OWN, *by_lot, *(("received",) if body else ()))


def test_behind_a_proxy(
    router: Start, folder: Path, wide: Wide, authority: Authority, capfd: pytest.CaptureFixture[str]
) -> None:
    """What clients see, what reaches Pods, and which ones, is the same, where a trusted proxy names the client."""
    expect_the_same(start_both(router, folder, wide, TRUSTED_PROXIES="127.0.0.1"), authority, wide, 14)


def test_alone(
    router: Start, folder: Path, wide: Wide, authority: Authority, capfd: pytest.CaptureFixture[str]
) -> None:
    """It is the same where nginx holds whole bodies, and sends what no path takes to another server."""
    settings = {"DEFAULT_LOCATION_RETURN": wide.other, "NGINX_CLIENT_BODY_BUFFER_SIZE": "8k", "API_KEY_FORWARD": "true"}
    expect_the_same(start_both(router, folder, wide, **settings), authority, wide, 15)
