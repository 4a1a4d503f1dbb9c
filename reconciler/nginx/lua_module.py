"""nginx's Lua module: where it is, and whether it works here."""

import re
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from socket import AF_INET, SHUT_RDWR, create_server, socket

from reconciler.disk.releases import CURRENT
from reconciler.disk.trees import write_files
from reconciler.loop.ports import EndpointsError
from reconciler.nginx.endpoints import post_change
from reconciler.nginx.process import Process
from reconciler.nginx.program import NginxError, read_build
from reconciler.nginx.proof import SOCKET, exchange
from reconciler.rendering.endpoints import Change, write_set
from reconciler.rendering.lua_trial import HOST, NAME, SET, render_trial
from reconciler.routing.model import Server
from reconciler.settings import LuaModule, Settings

_MODULES = ("ndk_http_module.so", "ngx_http_lua_module.so")
# Where distributions put lua-resty-core.
_LIBRARIES = ("/usr/share/lua/5.1", "/usr/local/share/lua/5.1")
_TIMEOUT = 15.0


class LuaError(Exception):
    """Lua cannot choose Pods here. The message says why."""


def find_lua(settings: Settings, hidden: tuple[str, ...] = (), *, old_too: bool = True) -> LuaModule:
    """Find the module that belongs to nginx, and try it. LuaError if it is missing or does not work.

    An old one works, but takes 17 kB of memory for each location of nginx, and as much again while nginx reloads.
    """
    found = re.search(r"--modules-path=(\S+)", read_build(settings.nginx_binary, hidden))
    folder = Path(found[1] if found else "/usr/lib/nginx/modules")
    paths = tuple(str(folder / name) for name in _MODULES)
    for path in paths:
        if not Path(path).is_file():
            raise LuaError(f"{path} does not exist (libnginx-mod-http-lua)")
    library = next((place for place in _LIBRARIES if Path(place, "resty", "core.lua").is_file()), None)
    if not library:
        raise LuaError(f"no resty/core.lua is in {_LIBRARIES[0]} (lua-resty-core)")
    # An old module has no pool of its own, and nginx would refuse the directive.
    try:
        keeps = b"balancer_keepalive" in Path(paths[-1]).read_bytes()
    except OSError as error:
        raise LuaError(f"{paths[-1]} cannot be read: {error.strerror}") from None
    if not keeps and not old_too:
        raise LuaError("the Lua module is too old for ENDPOINTS=auto: it would double nginx's memory")
    module = LuaModule(paths, library, CURRENT, keeps)
    try:
        _try(replace(settings, lua=module), hidden)
    except (NginxError, EndpointsError, OSError) as error:
        raise LuaError(str(error)) from None
    return module


def _try(settings: Settings, hidden: tuple[str, ...]) -> None:
    """Run an nginx of its own with the code of trees: no test of a configuration runs that code."""
    with tempfile.TemporaryDirectory(prefix="dispatcher-lua-") as name, _answering() as address:
        folder = Path(name)
        folder.chmod(0o711)  # workers of root have another user, and need a socket in it
        (folder / "run").mkdir(mode=0o700)
        write_files(render_trial(settings, SOCKET), folder / CURRENT)
        process = Process(settings.nginx_binary, folder, CURRENT, lambda _: None, hidden)
        try:
            process.start()
            process.prove(NAME, (), _TIMEOUT)
            _expect(folder, 503)
            post_change(folder, Change(((SET, write_set([Server(address, 1, "")])),)), 1)
            _expect(folder, 200)
        finally:
            process.stop(1.0)


def _expect(folder: Path, status: int) -> None:
    answer = exchange(folder, f"GET / HTTP/1.0\r\nHost: {HOST}\r\n\r\n".encode(), _TIMEOUT)
    if not answer.startswith(f"HTTP/1.1 {status} ".encode()):
        raise EndpointsError(f"a trial gave {answer[:20]!r} in place of {status}")


@contextmanager
def _answering() -> Iterator[str]:
    """Answer requests on an address of this machine as a Pod would."""
    with create_server(("127.0.0.1", 0), family=AF_INET) as server:
        thread = threading.Thread(target=_answer, args=(server,), daemon=True)
        thread.start()
        try:
            host, port = server.getsockname()
            yield f"{host}:{port}"
        finally:
            server.shutdown(SHUT_RDWR)
            thread.join()


def _answer(server: socket) -> None:
    while True:
        try:
            connection, _ = server.accept()
        except OSError:  # the server was shut down
            return
        with connection, suppress(OSError):
            connection.recv(4096)
            connection.sendall(b"HTTP/1.0 200 OK\r\nContent-Length: 0\r\n\r\n")
