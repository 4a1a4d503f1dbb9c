"""What a hostile tenant and a failing machine can do to Pods that come and go without a reload."""

import errno
import os
import socket
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import pytest
from support import objects
from support.backends import Backends
from support.lua_nginx import explain_missing
from support.ports import free_port
from support.router import Router
from support.running_daemon import wait_until

from reconciler.disk.trees import replace_file
from reconciler.loop.events import EndpointsAhead, EndpointsRefused, RolledBack
from reconciler.loop.ports import EndpointsError, RefusedError, SinkError
from reconciler.nginx.program import NginxError
from reconciler.nginx.workers import find_leaving
from reconciler.rendering.endpoints import STATE_FILE
from reconciler.values.files import File

Start = Callable[..., Router]
HOST = objects.namespace("a", {"a.test": {}})


@pytest.fixture
def here(router: Start, nginx_binary: str) -> Router:
    """Give a router that uses Lua."""
    if missing := explain_missing(nginx_binary):
        pytest.skip(missing)
    return router(ENDPOINTS="lua")


@pytest.fixture(scope="module")
def port(backends: Backends) -> int:
    """Give a port on which Pods 2 to 6 answer."""
    number = free_port()
    for last in range(2, 7):
        backends.listen(f"127.0.0.{last}", number)
    return number


def pods(port: int, *lasts: int, path: str = "/", **options: object) -> list[objects.Object]:
    """Give Pods of a path, each with the address 127.0.0.<last>."""
    return [objects.web("a", port, last, path, **options) for last in lasts]


def find_pods(here: Router, number: int = 10, host: str = "a.test", uri: str = "/") -> set[str]:
    """Name the last parts of the addresses that answer."""
    return {here.ask(host, uri).told["pod"].rpartition(":")[0].rpartition(".")[2] for _ in range(number)}


def _fill_disk(target: Path, file: File) -> None:
    """Have room for all files but the state, which is the largest one."""
    if target.name == os.path.basename(STATE_FILE):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    replace_file(target, file)


def test_full_disk(here: Router, port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """While the disk is full, the last Pods are served, and a new process can serve the release with them."""
    release = here.serve(HOST, *pods(port, 2)).release
    with monkeypatch.context() as patch:
        patch.setattr("reconciler.disk.endpoint_files.replace_file", _fill_disk)
        for last in (3, 4):
            with pytest.raises(SinkError):
                here.serve(HOST, *pods(port, last))
            assert find_pods(here) == {"2"}
    here.restart()
    assert (here.folder / "current").readlink().name == release
    assert find_pods(here) == {"2"}
    here.serve(HOST, *pods(port, 5))
    assert find_pods(here) == {"5"}


def test_pods_that_cannot_be_given_back(here: Router, port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """If a release fails and nginx does not take back the Pods before it, nginx loads the release before it anyway."""
    other = here.serve(HOST, *pods(port, 2), *pods(port, 3, path="/other")).files
    here.serve(HOST, *pods(port, 2))
    with monkeypatch.context() as patch:
        patch.setattr(here.nginx._pods, "undo", _refuse)
        patch.setattr(here.nginx._process, "prove", _fail_once(here.nginx._process.prove))
        with pytest.raises(SinkError):
            here.nginx.apply(other)
    assert [event for event in here.events if isinstance(event, RolledBack)]
    assert EndpointsAhead("no room") in here.events
    assert find_pods(here, uri="/other") == {"2"}


def test_refused_tree_gives_nothing_back(here: Router, port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """If a tree is refused after Pods have changed without a reload, nginx keeps the new Pods."""
    other = here.serve(HOST, *pods(port, 2), *pods(port, 3, path="/other")).files
    here.serve(HOST, *pods(port, 2))
    here.serve(HOST, *pods(port, 4))

    def refuse(*_: object) -> None:
        raise RefusedError("no such thing", tested=True)

    with monkeypatch.context() as patch:
        patch.setattr(here.nginx._tester, "test", refuse)
        with pytest.raises(RefusedError):
            here.nginx.apply(other)
    assert find_pods(here) == {"4"}


def _refuse() -> None:
    raise EndpointsError("no room")


def _fail_once(prove: Callable[..., None]) -> Callable[..., None]:
    tried: list[bool] = []

    def check(*given: object) -> None:
        prove(*given)
        if not tried:
            tried.append(True)
            raise NginxError("it takes too long")

    return check


@pytest.fixture
def tight(router: Start, nginx_binary: str, monkeypatch: pytest.MonkeyPatch) -> Router:
    """Give a router that uses Lua, with little room for Pods."""
    if missing := explain_missing(nginx_binary):
        pytest.skip(missing)
    monkeypatch.setattr("reconciler.rendering.pods_conf._count_bytes", lambda _: 131_072)
    return router(ENDPOINTS="lua")


def _hold(here: Router) -> socket.socket:
    """Begin a request that keeps its worker from ending."""
    held = socket.create_connection(("127.0.0.1", here.port), timeout=20)
    held.sendall(b"POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: 9\r\nExpect: 100-continue\r\n\r\n")
    assert held.recv(100).startswith(b"HTTP/1.1 100 ")
    return held


def test_what_runs_on_finds_its_pods(router: Start, nginx_binary: str, port: int) -> None:
    """A request that began before its path got new rules gets a Pod, though rules and Pods change meanwhile."""
    if missing := explain_missing(nginx_binary):
        pytest.skip(missing)
    here = router(ENDPOINTS="lua", NGINX_CLIENT_BODY_BUFFER_SIZE="64k")
    here.serve(HOST, *pods(port, 2))
    with _hold(here) as held:
        for turn in range(1, 9):
            here.serve(HOST, *pods(port, 2 + turn % 2, timeouts={"read": f"{turn // 2 + 1}s"}))
        held.sendall(b"123456789")
        assert held.recv(100).startswith(b"HTTP/1.1 200 ")
    wait_until(lambda: not find_leaving(here.nginx.pid or 0))
    here.serve(HOST, *pods(port, 3, timeouts={"read": "9s"}))
    here.serve(HOST, *pods(port, 4, timeouts={"read": "9s"}))
    assert len(here.nginx._pods._sets or ()) <= 2


def _rename(port: int, turn: int) -> list[objects.Object]:
    """Give a path with rules that no turn before had, and 250 Pods that nobody asks besides one."""
    rules = {"timeouts": {"read": f"{turn + 1}s"}}
    entry = [{"basePath": "/", "containerPort": port, **rules}]
    ports = [{"containerPort": port, "protocol": "TCP"}]
    idle = [objects.pod("a", f"p{n}", f"10.1.0.{n}", [{**entry[0], "backup": True}], ports) for n in range(250)]
    return [HOST, *pods(port, 2, **rules), *idle]


@pytest.mark.parametrize("often", [100, 1])
def test_rules_that_change_all_the_time(tight: Router, port: int, often: int) -> None:
    """New rules of a path, 40 times, while a request, or one of each release, runs on: nobody goes back to reloads."""
    tight.serve(*_rename(port, 0))
    with ExitStack() as held:
        for turn in range(40):
            if turn % often == 0:
                held.enter_context(_hold(tight))
            tight.serve(*_rename(port, turn + 1))
        assert not [event for event in tight.events if isinstance(event, EndpointsRefused)]
        assert find_pods(tight) == {"2"}
