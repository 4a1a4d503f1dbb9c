"""A router whose Pods come and go without a reload: what a release holds, what needs one, and what a failure costs."""

import dataclasses
import errno
import json
import os
import signal
import socket
from collections import Counter
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import msgspec
import pytest
from support import objects
from support.lua_nginx import explain_missing
from support.objects import webs
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


def build(lua_router: Router, *wanted: objects.Object) -> Files:
    """Render the tree of these objects, as the router does it."""
    routes = build_table(normalise(objects.listing(list(wanted)), lua_router.settings), lua_router.settings, 0.0).routes
    return lua_router.stages.render(routes)


def read_live(lua_router: Router, path: str) -> str:
    """Read a file of the live release."""
    return (lua_router.folder / "current" / path).read_text()


def list_events(lua_router: Router, *kinds: type) -> list[object]:
    """List the events of these kinds so far, without what they took."""
    return [event for event in lua_router.events if isinstance(event, kinds)]


def test_pods_need_no_reload(lua_router: Router, port: int) -> None:
    """Pods come and go, and weights change, in the same release with the same workers; the files follow."""
    release = lua_router.serve(HOST, *webs(port, 2)).release
    workers = lua_router.workers()
    for lasts in ((2, 3), (3,), (4, 5), (2, 3, 4, 5, 6)):
        assert lua_router.serve(HOST, *webs(port, *lasts)).release == release
        assert lua_router.find_pods(2 * len(lasts)) == {str(last) for last in lasts}
    version, sets = read_state(read_live(lua_router, STATE_FILE))
    assert version == read_standing(lua_router.folder).version
    assert [pods.count("\n") for pods in sets.values()] == [5]
    (told,) = [line for line in map(json.loads, read_live(lua_router, ROUTES_FILE).splitlines()) if "upstream" in line]
    assert len(told["pods"]) == 5
    assert lua_router.workers() == workers
    assert len(list_events(lua_router, Reloaded)) == 1
    assert [event.paths for event in list_events(lua_router, EndpointsChanged)] == [1] * 4  # type: ignore[attr-defined]


def test_what_needs_a_reload(lua_router: Router, port: int) -> None:
    """A host, a path, an option, and a path of which no Pod is left make a new release; Pods alone make none."""
    releases = [lua_router.serve(HOST, *webs(port, 2)).release]
    for wanted in (
        [objects.namespace("a", {"a.test": {}, "b.test": {}}), *webs(port, 2)],
        [HOST, *webs(port, 2), *webs(port, 3, path="/other")],
        [HOST, *webs(port, 2, timeouts={"read": "7s"})],
        [HOST],
        [HOST, *webs(port, 2)],
    ):
        releases.append(lua_router.serve(*wanted).release)
        assert releases[-1] != releases[-2]
    assert releases[-1] == releases[0]
    for pods in (webs(port, 2, 3), [*map(objects.unready, webs(port, 2))], webs(port, 3)):
        assert lua_router.serve(HOST, *pods).release == releases[-1]
    assert lua_router.find_pods() == {"3"}


def test_without_a_ready_pod(lua_router: Router, port: int) -> None:
    """While no Pod of a path is ready, it answers 503 after what protects it, in the same release; nginx counts it."""
    closed = webs(port, 3, path="/closed", access={"deny": ["127.0.0.1"]})
    release = lua_router.serve(HOST, *webs(port, 2), *closed).release
    workers = lua_router.workers()
    down = [objects.unready(one) for one in (*webs(port, 2), *closed)]
    assert lua_router.serve(HOST, *down).release == release
    answer = lua_router.ask("a.test", "/", "PUT", b"x" * 5000)
    assert (answer.status, answer.headers["retry-after"]) == (503, "5")
    assert lua_router.ask("a.test", "/closed").status == 403
    assert read_standing(lua_router.folder).empty == 1
    assert lua_router.serve(HOST, *webs(port, 2), *closed).release == release
    assert lua_router.find_pods() == {"2"}
    assert (lua_router.workers(), len(list_events(lua_router, Reloaded))) == (workers, 1)


def test_many_requests_without_a_ready_pod(has_lua: None, router: Start, port: int) -> None:
    """As many requests at the same moment as connect to a path without a ready Pod all get 503."""
    here = router(ENDPOINTS="lua", NGINX_WORKER_PROCESSES="1", NGINX_WORKER_CONNECTIONS="4000")
    here.serve(HOST, *map(objects.unready, webs(port, 2)))
    with ExitStack() as stack:
        clients = [stack.enter_context(socket.create_connection(("127.0.0.1", here.port), 60)) for _ in range(900)]
        here.ask("a.test", "/")  # the worker has accepted all others by now
        (worker,) = here.workers()
        os.kill(worker, signal.SIGSTOP)
        try:
            for one in clients:
                one.sendall(b"GET / HTTP/1.1\r\nHost: a.test\r\n\r\n")
        finally:
            os.kill(worker, signal.SIGCONT)
        assert Counter(one.recv(12) for one in clients) == {b"HTTP/1.1 503": 900}


def test_long_requests_without_a_ready_pod(lua_router: Router, port: int) -> None:
    """A request that is as long as it may be, and to which its path adds more, gets 503 and not a 4xx."""
    more = {f"X-{number}": "v" * 900 for number in range(4)}
    pods = webs(port, 2, path="/x", targetPath="/" + "t" * 1000, requestHeaders={"set": more})
    lua_router.serve(HOST, *map(objects.unready, pods))
    assert lua_router.ask("a.test", "/x/" + "y" * 7800).status == 503
    assert lua_router.ask("a.test", "/x/", **{f"X_C{number}": "z" * 8000 for number in range(3)}).status == 503


def test_new_pods_come_with_a_reload(lua_router: Router, port: int) -> None:
    """A release for a new path also brings the Pods that changed meanwhile, and its file has the version of nginx."""
    lua_router.serve(HOST, *webs(port, 2))
    lua_router.serve(HOST, *webs(port, 3), *webs(port, 4, 5, path="/other"))
    assert (lua_router.find_pods(), lua_router.find_pods(uri="/other")) == ({"3"}, {"4", "5"})
    assert read_state(read_live(lua_router, STATE_FILE))[0] == read_standing(lua_router.folder).version


def test_resumed_release_gets_its_pods(lua_router: Router, port: int) -> None:
    """A new process serves the Pods that were served last, and changes them without a reload."""
    release = lua_router.serve(HOST, *webs(port, 2)).release
    lua_router.serve(HOST, *webs(port, 3))
    lua_router.restart()
    assert lua_router.find_pods() == {"3"}
    lua_router.events.clear()
    assert lua_router.serve(HOST, *webs(port, 3, 4)).release == release
    assert lua_router.find_pods() == {"3", "4"}
    assert not list_events(lua_router, Reloaded)


@pytest.mark.parametrize("path", [STATE_FILE, ROUTES_FILE, NOTED])
def test_damaged_release_is_not_resumed(lua_router: Router, port: int, path: str) -> None:
    """A release of which a file that changes is not as it was written is not served; the one before it is."""
    first = lua_router.serve(HOST, *webs(port, 2)).release
    lua_router.serve(HOST, *webs(port, 2), *webs(port, 3, path="/other"))
    lua_router.serve(HOST, *webs(port, 4), *webs(port, 3, path="/other"))
    damaged = lua_router.folder / "current" / path
    damaged.write_bytes(damaged.read_bytes()[:-3])
    lua_router.restart()
    assert lua_router.last is not None
    assert (lua_router.folder / "current").readlink().name == first
    assert lua_router.find_pods() == {"2"}


@pytest.mark.parametrize("step", range(4))
def test_killed_between_files(lua_router: Router, port: int, monkeypatch: pytest.MonkeyPatch, step: int) -> None:
    """A process that dies between the files of a change, or within one, leaves a release that can be resumed."""
    lua_router.serve(HOST, *webs(port, 2))
    release = (lua_router.folder / "current").readlink()
    left = [step]

    def replace(source: str, target: Path) -> None:
        if left[0] == 0:
            os._exit(1)  # nothing is tidied up
        left[0] -= 1
        os.rename(source, target)

    child = os.fork()
    if not child:
        monkeypatch.setattr("reconciler.disk.trees.os.replace", replace)
        lua_router.serve(HOST, *webs(port, 3))
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 1
    assert list((lua_router.folder / "current").rglob(".*"))
    lua_router.restart()
    assert (lua_router.folder / "current").readlink() == release
    assert lua_router.find_pods() <= {"2", "3"}
    lua_router.serve(HOST, *webs(port, 4))
    assert lua_router.find_pods() == {"4"}


def test_killed_nginx_has_its_pods(lua_router: Router, port: int) -> None:
    """An nginx that is killed and started again serves the Pods of the last change from its first request on."""
    lua_router.serve(HOST, *webs(port, 2))
    lua_router.serve(HOST, *webs(port, 3))
    lua_router.events.clear()
    assert lua_router.nginx.pid
    os.kill(lua_router.nginx.pid, signal.SIGKILL)
    wait_until(lambda: list_events(lua_router, NginxStarted))
    assert lua_router.find_pods() == {"3"}
    lua_router.serve(HOST, *webs(port, 4))
    assert lua_router.find_pods() == {"4"}
    assert not list_events(lua_router, Reloaded, EndpointsRefused)


def test_release_that_fails_gives_pods_back(lua_router: Router, port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """If a release does not go live, nginx has the Pods again that it had, and so has the file."""
    lua_router.serve(HOST, *webs(port, 2))
    lua_router.nginx._settings = dataclasses.replace(lua_router.settings, reload_timeout=1)
    lua_router.nginx._tester._settings = lua_router.nginx._settings
    with monkeypatch.context() as patch:
        patch.setattr("reconciler.nginx.process.ask_release", lambda _: None)
        with pytest.raises(SinkError):
            lua_router.serve(HOST, *webs(port, 3), *webs(port, 4, path="/other"))
    assert list_events(lua_router, RolledBack)
    assert not list_events(lua_router, EndpointsRefused)
    assert lua_router.find_pods() == {"2"}
    lua_router.serve(HOST, *webs(port, 5))
    assert lua_router.find_pods() == {"5"}


def test_socket_that_is_gone(lua_router: Router, port: int) -> None:
    """If nginx cannot be reached, the last Pods are served, and it is said; a fresh nginx gets the new ones."""
    lua_router.serve(HOST, *webs(port, 2))
    (lua_router.folder / "run" / "release.sock").unlink()
    with pytest.raises(SinkError):
        lua_router.serve(HOST, *webs(port, 3))
    assert len(list_events(lua_router, EndpointsRefused)) == 1
    assert lua_router.find_pods() == {"2"}
    lua_router.restart()
    lua_router.serve(HOST, *webs(port, 3))
    assert lua_router.find_pods() == {"3"}


def test_answer_that_is_lost(lua_router: Router, port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """If nginx takes Pods and its answers are lost, it gets the next ones all the same, and the former ones too."""
    lua_router.serve(HOST, *webs(port, 2))
    assert lua_router.last
    former, post = lua_router.last.files, nginx_pods.post_change

    def lose(*given: Any) -> int:
        post(*given)
        raise EndpointsError("the answer is lost")

    changed = build(lua_router, HOST, *webs(port, 3))
    with monkeypatch.context() as patch:
        patch.setattr(nginx_pods, "post_change", lose)
        with pytest.raises(EndpointsError):
            lua_router.nginx.apply(changed)
    assert lua_router.find_pods() == {"3"}
    lua_router.nginx.apply(former)
    assert lua_router.find_pods() == {"2"}
    lua_router.nginx.apply(changed)
    assert lua_router.find_pods() == {"3"}


def test_files_that_cannot_be_written(lua_router: Router, port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """If nginx has taken Pods and the disk does not take its file, nginx gets the former Pods back: both agree."""
    lua_router.serve(HOST, *webs(port, 2))

    def fail(*_: object) -> None:
        raise OSError(errno.EIO, "broken")

    with monkeypatch.context() as patch:
        patch.setattr("reconciler.disk.endpoint_files.replace_file", fail)
        with pytest.raises(SinkError, match="cannot be written"):
            lua_router.serve(HOST, *webs(port, 3))
    assert lua_router.find_pods() == {"2"}
    lua_router.serve(HOST, *webs(port, 3))
    assert lua_router.find_pods() == {"3"}


def test_refused_release_leaves_pods(lua_router: Router, port: int) -> None:
    """A release that nginx's test refuses changes nothing about the Pods that came before it."""
    lua_router.serve(HOST, *webs(port, 2))
    lua_router.serve(HOST, *webs(port, 3))
    other = build(lua_router, HOST, *webs(port, 4), *webs(port, 5, path="/other"))
    wrong = File(other["nginx.conf"].content + b"oops;")
    with pytest.raises(RefusedError):
        lua_router.nginx.apply({**other, "nginx.conf": wrong})
    assert lua_router.find_pods() == {"3"}


def test_module_that_is_replaced(lua_router: Router, port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """If nginx refuses a tree because of the module, no tenant is held: a tree without it is served."""
    lua_router.serve(HOST, *webs(port, 2))
    assert lua_router.settings.lua
    other = msgspec.structs.replace(lua_router.settings.lua, loads=("/absent/ngx_http_lua_module.so",))
    lua_router.stages = Stages(dataclasses.replace(lua_router.settings, lua=other))
    cycle = lua_router.serve(HOST, *webs(port, 2), *webs(port, 3, path="/other"))
    assert cycle.held == ()
    (refused,) = list_events(lua_router, EndpointsRefused)
    assert "/absent/ngx_http_lua_module.so" in str(refused)
    assert lua_router.find_pods(uri="/other") == {"3"}


def test_full_dictionary(router: Start, nginx_binary: str, port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """If nginx has no room for the Pods, a release that needs a reload for them serves them; later Lua is back."""
    if missing := explain_missing(nginx_binary):
        pytest.skip(missing)
    monkeypatch.setattr("reconciler.rendering.pods_conf._count_bytes", lambda _: 32768)
    lua_router = router(ENDPOINTS="lua")
    lua_router.serve(HOST, *webs(port, 2))
    ports = [{"containerPort": port, "protocol": "TCP"}]
    entry = [{"basePath": "/", "containerPort": port}]
    many = [objects.pod("a", f"p{n}", f"10.1.{n // 250}.{n % 250}", entry, ports) for n in range(3000)]
    lua_router.serve(HOST, *many)
    assert len(list_events(lua_router, EndpointsRefused)) == 1
    assert not (lua_router.folder / "current" / STATE_FILE).exists()
    lua_router.serve(HOST, *webs(port, 3))
    assert lua_router.find_pods() == {"3"}
    lua_router.serve(HOST, *webs(port, 4), days=1)
    assert (lua_router.folder / "current" / STATE_FILE).exists()
    assert lua_router.find_pods() == {"4"}


def test_old_names_go(lua_router: Router, port: int) -> None:
    """The Pods of paths that are gone leave nginx when no old worker is left."""
    lua_router.serve(HOST, *webs(port, 2), *webs(port, 3, path="/other"))
    lua_router.serve(HOST, *webs(port, 2))
    wait_until(lambda: not lua_router.nginx._pods._list_needed())
    lua_router.serve(HOST, *webs(port, 2, 3))
    (name,) = read_state(read_live(lua_router, STATE_FILE))[1]
    assert list(lua_router.nginx._pods._sets or ()) == [name]


def test_nobody_else_can_reach_the_socket(lua_router: Router, port: int) -> None:
    """Nobody but the router's user can enter the folder of the socket on which nginx takes Pods."""
    lua_router.serve(HOST, *webs(port, 2))
    assert (lua_router.folder / "run").stat().st_mode & 0o777 == 0o700
    assert sorted(path.name for path in lua_router.folder.glob("**/*.sock")) == ["no-pods.sock", "release.sock"]


def test_a_check_changes_nothing(lua_router: Router, port: int) -> None:
    """A tree that is only tested leaves the Pods and the files of the release of its name as they are."""
    lua_router.serve(HOST, *webs(port, 2))
    assert lua_router.last
    files = lua_router.last.files
    lua_router.serve(HOST, *webs(port, 3))
    before = read_live(lua_router, STATE_FILE), read_live(lua_router, ROUTES_FILE)
    lua_router.nginx.check(files)
    assert lua_router.find_pods() == {"3"}
    assert (read_live(lua_router, STATE_FILE), read_live(lua_router, ROUTES_FILE)) == before
