"""A router whose Pods come and go without a reload: what a release holds, what needs one, and what a failure costs."""

import dataclasses
import errno
import json
import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
from support import objects
from support.backends import Backends
from support.lua_nginx import explain_missing
from support.ports import free_port
from support.router import Router
from support.running_daemon import wait_until
from support.stages import build_table, normalise

from reconciler.disk.endpoint_files import NOTED
from reconciler.loop.events import (
    EndpointsChanged,
    EndpointsRefused,
    NginxStarted,
    Reloaded,
    RolledBack,
)
from reconciler.loop.ports import EndpointsError, RefusedError, SinkError
from reconciler.loop.stages import Stages
from reconciler.nginx import pods as nginx_pods
from reconciler.nginx.endpoints import read_standing
from reconciler.rendering.endpoints import STATE_FILE, read_state
from reconciler.rendering.routes_file import ROUTES_FILE
from reconciler.values.files import File, Files

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


def build(here: Router, *wanted: objects.Object) -> Files:
    """Render the tree of these objects, as the router does it."""
    routes = build_table(normalise(objects.listing(list(wanted)), here.settings), here.settings, 0.0).routes
    return here.stages.render(routes)


def find_pods(here: Router, number: int = 20, host: str = "a.test", uri: str = "/") -> set[str]:
    """Name the last parts of the addresses that answer."""
    return {here.ask(host, uri).told["pod"].rpartition(":")[0].rpartition(".")[2] for _ in range(number)}


def read_live(here: Router, path: str) -> str:
    """Read a file of the live release."""
    return (here.folder / "current" / path).read_text()


def list_events(here: Router, *kinds: type) -> list[object]:
    """List the events of these kinds so far, without what they took."""
    return [event for event in here.events if isinstance(event, kinds)]


def test_pods_need_no_reload(here: Router, port: int) -> None:
    """Pods come and go, and weights change, in the same release with the same workers; the files follow."""
    release = here.serve(HOST, *pods(port, 2)).release
    workers = here.workers()
    for lasts in ((2, 3), (3,), (4, 5), (2, 3, 4, 5, 6)):
        assert here.serve(HOST, *pods(port, *lasts)).release == release
        assert find_pods(here, 2 * len(lasts)) == {str(last) for last in lasts}
    version, sets = read_state(read_live(here, STATE_FILE))
    assert version == read_standing(here.folder).version
    assert [pods.count("\n") for pods in sets.values()] == [5]
    (told,) = [line for line in map(json.loads, read_live(here, ROUTES_FILE).splitlines()) if "upstream" in line]
    assert len(told["pods"]) == 5
    assert here.workers() == workers
    assert len(list_events(here, Reloaded)) == 1
    assert [event.paths for event in list_events(here, EndpointsChanged)] == [1] * 4  # type: ignore[attr-defined]


def test_what_needs_a_reload(here: Router, port: int) -> None:
    """A host, a path, an option, a path's first and last Pod make a new release; then Pods alone make none."""
    releases = [here.serve(HOST, *pods(port, 2)).release]
    for wanted in (
        [objects.namespace("a", {"a.test": {}, "b.test": {}}), *pods(port, 2)],
        [HOST, *pods(port, 2), *pods(port, 3, path="/other")],
        [HOST, *pods(port, 2, timeouts={"read": "7s"})],
        [HOST, *map(objects.unready, pods(port, 2))],
        [HOST, *pods(port, 2)],
    ):
        releases.append(here.serve(*wanted).release)
        assert releases[-1] != releases[-2]
    assert releases[-1] == releases[0]
    assert here.serve(HOST, *pods(port, 2, 3)).release == releases[-1]
    assert find_pods(here) == {"2", "3"}


def test_new_pods_come_with_a_reload(here: Router, port: int) -> None:
    """A release for a new path also brings the Pods that changed meanwhile, and its file has the version of nginx."""
    here.serve(HOST, *pods(port, 2))
    here.serve(HOST, *pods(port, 3), *pods(port, 4, 5, path="/other"))
    assert (find_pods(here), find_pods(here, uri="/other")) == ({"3"}, {"4", "5"})
    assert read_state(read_live(here, STATE_FILE))[0] == read_standing(here.folder).version


def test_resumed_release_gets_its_pods(here: Router, port: int) -> None:
    """A new process serves the Pods that were served last, and changes them without a reload."""
    release = here.serve(HOST, *pods(port, 2)).release
    here.serve(HOST, *pods(port, 3))
    here.restart()
    assert find_pods(here) == {"3"}
    here.events.clear()
    assert here.serve(HOST, *pods(port, 3, 4)).release == release
    assert find_pods(here) == {"3", "4"}
    assert not list_events(here, Reloaded)


@pytest.mark.parametrize("path", [STATE_FILE, ROUTES_FILE, NOTED])
def test_damaged_release_is_not_resumed(here: Router, port: int, path: str) -> None:
    """A release of which a file that changes is not as it was written is not served; the one before it is."""
    first = here.serve(HOST, *pods(port, 2)).release
    here.serve(HOST, *pods(port, 2), *pods(port, 3, path="/other"))
    here.serve(HOST, *pods(port, 4), *pods(port, 3, path="/other"))
    damaged = here.folder / "current" / path
    damaged.write_bytes(damaged.read_bytes()[:-3])
    here.restart()
    assert here.last is not None
    assert (here.folder / "current").readlink().name == first
    assert find_pods(here) == {"2"}


@pytest.mark.parametrize("step", range(4))
def test_killed_between_files(here: Router, port: int, monkeypatch: pytest.MonkeyPatch, step: int) -> None:
    """A process that dies between the files of a change, or within one, leaves a release that can be resumed."""
    here.serve(HOST, *pods(port, 2))
    release = (here.folder / "current").readlink()
    left = [step]

    def replace(source: str, target: Path) -> None:
        if left[0] == 0:
            os._exit(1)  # nothing is tidied up
        left[0] -= 1
        os.rename(source, target)

    child = os.fork()
    if not child:
        monkeypatch.setattr("reconciler.disk.trees.os.replace", replace)
        here.serve(HOST, *pods(port, 3))
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 1
    assert list((here.folder / "current").rglob(".*"))
    here.restart()
    assert (here.folder / "current").readlink() == release
    assert find_pods(here) <= {"2", "3"}
    here.serve(HOST, *pods(port, 4))
    assert find_pods(here) == {"4"}


def test_killed_nginx_has_its_pods(here: Router, port: int) -> None:
    """An nginx that is killed and started again serves the Pods of the last change from its first request on."""
    here.serve(HOST, *pods(port, 2))
    here.serve(HOST, *pods(port, 3))
    here.events.clear()
    assert here.nginx.pid
    os.kill(here.nginx.pid, signal.SIGKILL)
    wait_until(lambda: list_events(here, NginxStarted))
    assert find_pods(here) == {"3"}
    here.serve(HOST, *pods(port, 4))
    assert find_pods(here) == {"4"}
    assert not list_events(here, Reloaded, EndpointsRefused)


def test_release_that_fails_gives_pods_back(here: Router, port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """If a release does not go live, nginx has the Pods again that it had, and so has the file."""
    here.serve(HOST, *pods(port, 2))
    here.nginx._settings = dataclasses.replace(here.settings, reload_timeout=1)
    here.nginx._tester._settings = here.nginx._settings
    with monkeypatch.context() as patch:
        patch.setattr("reconciler.nginx.process.ask_release", lambda _: None)
        with pytest.raises(SinkError):
            here.serve(HOST, *pods(port, 3), *pods(port, 4, path="/other"))
    assert list_events(here, RolledBack)
    assert not list_events(here, EndpointsRefused)
    assert find_pods(here) == {"2"}
    here.serve(HOST, *pods(port, 5))
    assert find_pods(here) == {"5"}


def test_socket_that_is_gone(here: Router, port: int) -> None:
    """If nginx cannot be reached, the last Pods are served, and it is said; a fresh nginx gets the new ones."""
    here.serve(HOST, *pods(port, 2))
    (here.folder / "run" / "release.sock").unlink()
    with pytest.raises(SinkError):
        here.serve(HOST, *pods(port, 3))
    assert len(list_events(here, EndpointsRefused)) == 1
    assert find_pods(here) == {"2"}
    here.restart()
    here.serve(HOST, *pods(port, 3))
    assert find_pods(here) == {"3"}


def test_answer_that_is_lost(here: Router, port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """If nginx takes Pods and its answers are lost, it gets the next ones all the same, and the former ones too."""
    here.serve(HOST, *pods(port, 2))
    assert here.last
    former, post = here.last.files, nginx_pods.post_change

    def lose(*given: Any) -> int:
        post(*given)
        raise EndpointsError("the answer is lost")

    changed = build(here, HOST, *pods(port, 3))
    with monkeypatch.context() as patch:
        patch.setattr(nginx_pods, "post_change", lose)
        with pytest.raises(EndpointsError):
            here.nginx.apply(changed)
    assert find_pods(here) == {"3"}
    here.nginx.apply(former)
    assert find_pods(here) == {"2"}
    here.nginx.apply(changed)
    assert find_pods(here) == {"3"}


def test_files_that_cannot_be_written(here: Router, port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """If nginx has taken Pods and the disk does not take its file, nginx gets the former Pods back: both agree."""
    here.serve(HOST, *pods(port, 2))

    def fail(*_: object) -> None:
        raise OSError(errno.EIO, "broken")

    with monkeypatch.context() as patch:
        patch.setattr("reconciler.disk.endpoint_files.replace_file", fail)
        with pytest.raises(SinkError, match="cannot be written"):
            here.serve(HOST, *pods(port, 3))
    assert find_pods(here) == {"2"}
    here.serve(HOST, *pods(port, 3))
    assert find_pods(here) == {"3"}


def test_refused_release_leaves_pods(here: Router, port: int) -> None:
    """A release that nginx's test refuses changes nothing about the Pods that came before it."""
    here.serve(HOST, *pods(port, 2))
    here.serve(HOST, *pods(port, 3))
    other = build(here, HOST, *pods(port, 4), *pods(port, 5, path="/other"))
    wrong = File(other["nginx.conf"].content + b"oops;")
    with pytest.raises(RefusedError):
        here.nginx.apply({**other, "nginx.conf": wrong})
    assert find_pods(here) == {"3"}


def test_module_that_is_replaced(here: Router, port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """If nginx refuses a tree because of the module, no tenant is held: a tree without it is served."""
    here.serve(HOST, *pods(port, 2))
    assert here.settings.lua
    other = msgspec.structs.replace(here.settings.lua, loads=("/absent/ngx_http_lua_module.so",))
    here.stages = Stages(dataclasses.replace(here.settings, lua=other))
    cycle = here.serve(HOST, *pods(port, 2), *pods(port, 3, path="/other"))
    assert cycle.held == ()
    (refused,) = list_events(here, EndpointsRefused)
    assert "/absent/ngx_http_lua_module.so" in str(refused)
    assert find_pods(here, uri="/other") == {"3"}


def test_full_dictionary(router: Start, nginx_binary: str, port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """If nginx has no room for the Pods, a release that needs a reload for them serves them; later Lua is back."""
    if missing := explain_missing(nginx_binary):
        pytest.skip(missing)
    monkeypatch.setattr("reconciler.rendering.pods_conf._count_bytes", lambda _: 32768)
    here = router(ENDPOINTS="lua")
    here.serve(HOST, *pods(port, 2))
    ports = [{"containerPort": port, "protocol": "TCP"}]
    entry = [{"basePath": "/", "containerPort": port}]
    many = [objects.pod("a", f"p{n}", f"10.1.{n // 250}.{n % 250}", entry, ports) for n in range(3000)]
    here.serve(HOST, *many)
    assert len(list_events(here, EndpointsRefused)) == 1
    assert not (here.folder / "current" / STATE_FILE).exists()
    here.serve(HOST, *pods(port, 3))
    assert find_pods(here) == {"3"}
    here.serve(HOST, *pods(port, 4), days=1)
    assert (here.folder / "current" / STATE_FILE).exists()
    assert find_pods(here) == {"4"}


def test_old_names_go(here: Router, port: int) -> None:
    """The Pods of paths that are gone leave nginx when no old worker is left."""
    here.serve(HOST, *pods(port, 2), *pods(port, 3, path="/other"))
    here.serve(HOST, *pods(port, 2))
    wait_until(lambda: not here.nginx._pods._list_needed())
    here.serve(HOST, *pods(port, 2, 3))
    (name,) = read_state(read_live(here, STATE_FILE))[1]
    assert list(here.nginx._pods._sets or ()) == [name]


def test_nobody_else_can_reach_the_socket(here: Router, port: int) -> None:
    """Nobody but the router's user can enter the folder of the socket on which nginx takes Pods."""
    here.serve(HOST, *pods(port, 2))
    assert (here.folder / "run").stat().st_mode & 0o777 == 0o700
    assert sorted(path.name for path in here.folder.glob("**/*.sock")) == ["no-pods.sock", "release.sock"]


def test_a_check_changes_nothing(here: Router, port: int) -> None:
    """A tree that is only tested leaves the Pods and the files of the release of its name as they are."""
    here.serve(HOST, *pods(port, 2))
    assert here.last
    files = here.last.files
    here.serve(HOST, *pods(port, 3))
    before = read_live(here, STATE_FILE), read_live(here, ROUTES_FILE)
    here.nginx.check(files)
    assert find_pods(here) == {"3"}
    assert (read_live(here, STATE_FILE), read_live(here, ROUTES_FILE)) == before
