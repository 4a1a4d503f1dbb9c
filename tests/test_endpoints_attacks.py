"""What a hostile tenant and a failing machine can do to Pods that come and go without a reload."""

import errno
import os
from collections.abc import Callable
from pathlib import Path

import pytest
from support import objects
from support.backends import Backends
from support.lua_nginx import explain_missing
from support.ports import free_port
from support.router import Router

from reconciler.disk.trees import replace_file
from reconciler.loop.events import EndpointsAhead, RolledBack
from reconciler.loop.ports import EndpointsError, SinkError
from reconciler.nginx.program import NginxError
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
