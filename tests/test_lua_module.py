"""Whether Lua chooses Pods: found out by a real nginx, chosen by ENDPOINTS, and told once."""

import re
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from support.lua_nginx import explain_missing, has_pool, load_modules
from support.objects import namespace
from support.ports import free_port
from support.router import Router

from reconciler.loop.events import EndpointsChosen, Event
from reconciler.loop.stages import Stages
from reconciler.modes.sinks import prepare_serving
from reconciler.nginx.program import NginxError
from reconciler.settings import read_settings

Choose = Callable[..., EndpointsChosen]


@pytest.fixture
def choose(tmp_path: Path, nginx_binary: str) -> Choose:
    """Prepare to serve with some settings, and give what was chosen."""

    def run(folder: Path = tmp_path, **environment: str) -> EndpointsChosen:
        ports = {"PORT": str(free_port()), "SSL_PORT": str(free_port()), "LISTEN_ADDRESSES": "127.0.0.1"}
        told: list[Event] = []
        settings = read_settings({**ports, "NGINX_BINARY": nginx_binary, **environment})
        settings, sink = prepare_serving(folder / "router", settings, told.append)
        sink.stop()
        (chosen,) = [event for event in told if isinstance(event, EndpointsChosen)]
        assert (settings.lua is not None) == (chosen.by == "lua")
        return chosen

    return run


def wrap(folder: Path, nginx_binary: str, said: str) -> str:
    """Make an nginx that says this about how it was built."""
    binary = folder / "nginx"
    real = shutil.which(nginx_binary)
    binary.write_text(f'#!/bin/sh\n[ "$1" = -V ] && {{ {real} -V 2>&1 | sed "{said}" >&2; exit; }}\nexec {real} "$@"\n')
    binary.chmod(0o755)
    return str(binary)


def test_auto(choose: Choose, nginx_binary: str) -> None:
    """By default Lua is used if the module works and is not too old, and else it is said what is missing."""
    chosen = choose()
    if missing := explain_missing(nginx_binary):
        assert (chosen.by, bool(chosen.why), bool(missing)) == ("reload", True, True)
    elif has_pool(nginx_binary):
        assert chosen == EndpointsChosen("lua")
    else:
        assert chosen.by == "reload"
        assert "too old" in chosen.why


def test_a_person_chooses(choose: Choose, nginx_binary: str) -> None:
    """ENDPOINTS=reload needs no reason; ENDPOINTS=lua takes an old module too."""
    assert choose(ENDPOINTS="reload") == EndpointsChosen("reload")
    if missing := explain_missing(nginx_binary):
        pytest.skip(missing)
    assert choose(ENDPOINTS="lua") == EndpointsChosen("lua")


def test_module_is_missing(choose: Choose, tmp_path: Path, nginx_binary: str) -> None:
    """Without the module each change of Pods reloads nginx, and ENDPOINTS=lua is refused in one line."""
    binary = wrap(tmp_path, nginx_binary, f"s,--modules-path=[^ ]*,--modules-path={tmp_path},")
    wanted = f"{tmp_path}/ndk_http_module.so does not exist (libnginx-mod-http-lua)"
    assert choose(NGINX_BINARY=binary) == EndpointsChosen("reload", wanted)
    with pytest.raises(NginxError, match=f"^ENDPOINTS=lua cannot be used: {re.escape(wanted)}$"):
        choose(NGINX_BINARY=binary, ENDPOINTS="lua")


def test_module_of_another_build(choose: Choose, tmp_path: Path, nginx_binary: str) -> None:
    """A module that nginx does not load is as good as none: what nginx says is the reason."""
    if missing := explain_missing(nginx_binary):
        pytest.skip(missing)
    for name in ("ndk_http_module.so", "ngx_http_lua_module.so"):
        (tmp_path / name).write_bytes(b"balancer_keepalive, but no shared object")
    binary = wrap(tmp_path, nginx_binary, f"s,--modules-path=[^ ]*,--modules-path={tmp_path},")
    chosen = choose(NGINX_BINARY=binary)
    assert chosen.by == "reload"
    assert "ndk_http_module.so" in chosen.why
    assert "\n" not in chosen.why
    with pytest.raises(NginxError, match="ENDPOINTS=lua cannot be used: "):
        choose(NGINX_BINARY=binary, ENDPOINTS="lua")


def test_code_that_fails(choose: Choose, monkeypatch: pytest.MonkeyPatch, nginx_binary: str) -> None:
    """If the code of trees does not do what it must in a real nginx, Lua is not used."""
    if missing := explain_missing(nginx_binary):
        pytest.skip(missing)
    from reconciler.rendering import quoting

    read = quoting.read
    for spoil in (lambda code: code.replace("set.size == 0", "false"), lambda code: code.replace("return M", "")):
        monkeypatch.setattr(quoting, "read", lambda name, spoil=spoil: spoil(read(name)))
        with pytest.raises(NginxError, match="ENDPOINTS=lua cannot be used: ") as refused:
            choose(ENDPOINTS="lua")
        assert "\n" not in str(refused.value)


def test_folder_that_lua_cannot_search(choose: Choose, tmp_path: Path, nginx_binary: str) -> None:
    """A folder with a character that has a meaning in Lua's search path is served without Lua, and it is said."""
    if missing := explain_missing(nginx_binary):
        pytest.skip(missing)
    folder = tmp_path / "a;b"
    folder.mkdir()
    with pytest.raises(NginxError, match="a;b/router has a character to which Lua's search path gives a meaning"):
        choose(folder, ENDPOINTS="lua")


def test_module_that_is_gone(router: Callable[..., Router], tmp_path: Path, nginx_binary: str) -> None:
    """A release of a former process whose module is gone is not served; what comes next is, without Lua."""
    if missing := explain_missing(nginx_binary):
        pytest.skip(missing)
    modules = tmp_path / "modules"
    modules.mkdir()
    for path in re.findall(r"load_module (\S+);", load_modules(nginx_binary)):
        shutil.copy(path, modules)
    binary = wrap(tmp_path, nginx_binary, f"s,--modules-path=[^ ]*,--modules-path={modules},")
    here = router(ENDPOINTS="lua", NGINX_BINARY=binary)
    here.serve(namespace("a", {"a.test": {}}))
    here.nginx.stop()
    shutil.rmtree(modules)
    here.settings = replace(here.settings, lua=None)
    here.stages, here.nginx, here.last = Stages(here.settings), here.start_sink(), None
    with pytest.raises(NginxError, match="no former release can be served"):
        here.nginx.resume()
    here.serve(namespace("a", {"a.test": {}}))
    assert here.ask("a.test", "/").status == 404
