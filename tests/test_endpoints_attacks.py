"""What a hostile tenant and a failing machine can do to Pods that come and go without a reload."""

import errno
import os
import socket
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import pytest
from support import objects
from support.lua_nginx import explain_missing
from support.objects import webs
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


def _fill_disk(target: Path, file: File) -> None:
    """Have room for all files but the state, which is the largest one."""
    if target.name == os.path.basename(STATE_FILE):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    replace_file(target, file)


def test_full_disk(lua_router: Router, port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """While the disk is full, the last Pods are served, and a new process can serve the release with them."""
    release = lua_router.serve(HOST, *webs(port, 2)).release
    with monkeypatch.context() as patch:
        patch.setattr("reconciler.disk.endpoint_files.replace_file", _fill_disk)
        for last in (3, 4):
            with pytest.raises(SinkError):
                lua_router.serve(HOST, *webs(port, last))
            assert lua_router.find_pods() == {"2"}
    lua_router.restart()
    assert (lua_router.folder / "current").readlink().name == release
    assert lua_router.find_pods() == {"2"}
    lua_router.serve(HOST, *webs(port, 5))
    assert lua_router.find_pods() == {"5"}


def test_pods_that_cannot_be_given_back(lua_router: Router, port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """If a release fails and nginx does not take back the Pods before it, nginx loads the release before it anyway."""
    other = lua_router.serve(HOST, *webs(port, 2), *webs(port, 3, path="/other")).files
    lua_router.serve(HOST, *webs(port, 2))
    with monkeypatch.context() as patch:
        patch.setattr(lua_router.nginx._pods, "undo", _refuse)
        patch.setattr(lua_router.nginx._process, "prove", _fail_once(lua_router.nginx._process.prove))
        with pytest.raises(SinkError):
            lua_router.nginx.apply(other)
    assert [event for event in lua_router.events if isinstance(event, RolledBack)]
    assert EndpointsAhead("no room") in lua_router.events
    assert lua_router.find_pods(uri="/other") == {"2"}


def test_refused_tree_gives_nothing_back(lua_router: Router, port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """If a tree is refused after Pods have changed without a reload, nginx keeps the new Pods."""
    other = lua_router.serve(HOST, *webs(port, 2), *webs(port, 3, path="/other")).files
    lua_router.serve(HOST, *webs(port, 2))
    lua_router.serve(HOST, *webs(port, 4))

    def refuse(*_: object) -> None:
        raise RefusedError("no such thing", tested=True)

    with monkeypatch.context() as patch:
        patch.setattr(lua_router.nginx._tester, "test", refuse)
        with pytest.raises(RefusedError):
            lua_router.nginx.apply(other)
    assert lua_router.find_pods() == {"4"}


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
def tight(has_lua: None, router: Start, monkeypatch: pytest.MonkeyPatch) -> Router:
    """Give a router that uses Lua, with little room for Pods."""
    monkeypatch.setattr("reconciler.rendering.pods_conf._count_bytes", lambda _: 131_072)
    return router(ENDPOINTS="lua")


def _hold(lua_router: Router) -> socket.socket:
    """Begin a request that keeps its worker from ending."""
    held = socket.create_connection(("127.0.0.1", lua_router.port), timeout=20)
    held.sendall(b"POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: 9\r\nExpect: 100-continue\r\n\r\n")
    assert held.recv(100).startswith(b"HTTP/1.1 100 ")
    return held


def test_what_runs_on_finds_its_pods(router: Start, nginx_binary: str, port: int) -> None:
    """A request that began before its path got new rules gets a Pod, though rules and Pods change meanwhile."""
    if missing := explain_missing(nginx_binary):
        pytest.skip(missing)
    lua_router = router(ENDPOINTS="lua", NGINX_CLIENT_BODY_BUFFER_SIZE="64k")
    lua_router.serve(HOST, *webs(port, 2))
    with _hold(lua_router) as held:
        for turn in range(1, 9):
            lua_router.serve(HOST, *webs(port, 2 + turn % 2, timeouts={"read": f"{turn // 2 + 1}s"}))
        held.sendall(b"123456789")
        assert held.recv(100).startswith(b"HTTP/1.1 200 ")
    wait_until(lambda: not find_leaving(lua_router.nginx.pid or 0))
    lua_router.serve(HOST, *webs(port, 3, timeouts={"read": "9s"}))
    lua_router.serve(HOST, *webs(port, 4, timeouts={"read": "9s"}))
    assert len(lua_router.nginx._pods._sets or ()) <= 2


def _rename(port: int, turn: int) -> list[objects.Object]:
    """Give a path with rules that no turn before had, and 250 Pods that nobody asks besides one."""
    rules = {"timeouts": {"read": f"{turn + 1}s"}}
    entry = [{"basePath": "/", "containerPort": port, **rules}]
    ports = [{"containerPort": port, "protocol": "TCP"}]
    idle = [objects.pod("a", f"p{n}", f"10.1.0.{n}", [{**entry[0], "backup": True}], ports) for n in range(250)]
    return [HOST, *webs(port, 2, **rules), *idle]


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
        assert tight.find_pods() == {"2"}
