"""A real nginx whose Pods come and go without a reload: templates/lua/pods.lua with the state beside it."""

import http.client
import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import psutil
import reconciler.templates
from support.ports import free_port
from support.router import Answer

from reconciler.loop.events import Event
from reconciler.nginx.endpoints import post_change, read_standing
from reconciler.nginx.process import Process
from reconciler.nginx.program import find_version, run_test
from reconciler.nginx.proof import SOCKET
from reconciler.nginx.workers import find_workers
from reconciler.rendering.endpoints import LOCATION, Sets, find_change, write_set, write_state
from reconciler.rendering.pods_conf import NO_PODS
from reconciler.routing.model import Server
from reconciler.settings import read_settings
from reconciler.status.figures import Standing

POOL = 512
# Where lua-resty-core is; tests of another build of nginx name its own folders.
LIBRARY = os.environ.get("LUA_LIBRARY", "/usr/share/lua/5.1")
CODE = Path(reconciler.templates.__path__[0], "lua")
SETTINGS = read_settings({})

_CONF = """
{modules}
worker_processes {workers};
pid nginx.pid;
error_log stderr warn;

events {{
    worker_connections {connections};
}}

http {{
    access_log off;
    proxy_http_version 1.1;
    proxy_connect_timeout 2s;
    proxy_next_upstream_tries 2;
    proxy_next_upstream_timeout 4s;
    proxy_request_buffering off;
    proxy_max_temp_file_size 0;
    client_body_temp_path temp_client_body;
    proxy_temp_path temp_proxy;
    fastcgi_temp_path temp_fastcgi;
    uwsgi_temp_path temp_uwsgi;
    scgi_temp_path temp_scgi;
    client_max_body_size 0;
    {kept}
    map $http_upgrade $sent_connection {{
        default "";
        websocket upgrade;
    }}
    proxy_set_header Connection $sent_connection;
    proxy_set_header Upgrade $http_upgrade;

    lua_package_path "{tree}/lua/?.lua;{library}/?.lua";
    lua_package_cpath "";
    lua_shared_dict pods {size};
    init_by_lua_block {{
        require("pods").preload()
    }}

    upstream pods {{
        server 0.0.0.1;
        balancer_by_lua_block {{
            require("pods").balance(ngx.var.pods)
        }}
        {pool}
    }}
    upstream authorisers {{
        server 0.0.0.1;
        balancer_by_lua_block {{
            require("pods").balance(ngx.var.authoriser)
        }}
        {pool}
    }}
    server {{
        listen unix:{no_pods};
        access_log off;
        return 503;
    }}
    server {{
        listen unix:{socket};

        location / {{
            return 200 {name};
        }}

        location = {location} {{
            client_max_body_size 16k;
            client_body_buffer_size 16k;
            content_by_lua_block {{
                require("pods").answer()
            }}
        }}
    }}
{static}
    server {{
        listen 127.0.0.1:{port};

        location / {{
            set $pods 0a.a;
            proxy_pass http://pods;
        }}

{locations}
        location /asked/ {{
            set $pods 0a.a;
            auth_request /authoriser;
            proxy_pass http://pods;
        }}

        location = /authoriser {{
            internal;
            set $authoriser 0b.a;
            proxy_pass http://authorisers;
        }}

        location /twice/ {{
            set $pods 0a.a;
            error_page 502 = @again;
            proxy_pass http://pods;
        }}

        location @again {{
            set $pods 0b.a;
            proxy_pass http://pods;
        }}

        # The name of the set is in the path, so that any set can be asked for.
        location ~ ^/lua/(?<pods>[^/]*)/ {{
            proxy_pass http://pods;
        }}

        location ~ ^/static/(?<group>[^/]*)/ {{
            proxy_pass http://$group;
        }}
    }}
}}
"""


class LuaNginx:
    """An nginx below `folder` that serves `sets` from the start; `told` has what nginx says."""

    def __init__(self, folder: Path, binary: str, sets: Mapping[str, tuple[Server, ...]], **given: object) -> None:
        self.folder, self.binary, self.port = folder, binary, free_port()
        self.sets = dict(sets)
        self.told: list[Event] = []
        self.tree = folder / "current"
        self.version = 1
        self.given = given
        self.tree.mkdir(parents=True)
        _open_folders(folder)
        (folder / "run").mkdir(mode=0o700)
        shutil.copytree(CODE, self.tree / "lua")
        hidden = given.get("hidden", ())
        assert isinstance(hidden, tuple)
        self.process = Process(binary, folder, "current", self.told.append, hidden)
        self.write_state()
        self.write_conf()

    @property
    def state(self) -> Path:
        """The state file."""
        return self.tree / "lua" / "pods.state"

    @property
    def standing(self) -> Standing:
        """What nginx says about its Pods."""
        return read_standing(self.folder)

    @property
    def workers(self) -> set[psutil.Process]:
        """The workers that take connections."""
        return find_workers(self.process.pid) if self.process.pid else set()

    def write_state(self) -> None:
        """Write the present state into the state file."""
        self.state.write_text(write_state(self.version, write_sets(self.sets)))

    def write_conf(self, name: str = "first") -> None:
        """Write the configuration of a release, with an upstream of nginx's own for each set."""
        text = _CONF.format(
            modules=load_modules(self.binary), workers=self.given.get("workers", 2),
            tree=self.tree, library=LIBRARY, size=self.given.get("size", "8m"), pool=self._write_pool(),
            socket=SOCKET, no_pods=NO_PODS, name=name, location=LOCATION, port=self.port,
            kept="keepalive_min_timeout 30s;" if find_version(self.binary) >= (1, 27, 4) else "",
            static=self._write_static(), locations=self._write_locations(),
            connections=self.given.get("connections", 2048),
        )  # fmt: skip
        (self.tree / "nginx.conf").write_text(text)

    def test(self) -> list[str]:
        """Run `nginx -t`, and give its complaints."""
        return run_test(self.binary, self.folder, self.tree)

    def load(self, name: str = "first") -> None:
        """Start or reload nginx, and wait until it serves."""
        self.write_conf(name)
        old = self.process.load()
        self.process.prove(name, old, 10)

    def change(self, **sets: tuple[Server, ...] | None) -> None:
        """Change some sets by a post; None stands for one that goes. Their names have the Namespace `a`."""
        new = self.sets | {f"{name}.a": servers for name, servers in sets.items()}
        self.replace({name: servers for name, servers in new.items() if servers is not None})

    def replace(self, new: Mapping[str, tuple[Server, ...]]) -> None:
        """Change all sets by a post."""
        self.version = post_change(self.folder, find_change(write_sets(self.sets), write_sets(new)), self.version)
        self.sets = dict(new)

    def ask(self, path: str = "/", method: str = "GET", **given: Any) -> Answer:
        """Send a request over a connection of its own."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)
        try:
            connection.request(method, path, **given)
            response = connection.getresponse()
            return Answer(
                response.status, {name.lower(): value for name, value in response.getheaders()}, response.read()
            )
        finally:
            connection.close()

    def find_pods(self, path: str, number: int) -> list[str]:
        """Give the addresses of the Pods that answer the next requests."""
        return [self.ask(path).told["pod"] for _ in range(number)]

    def stop(self) -> None:
        """End nginx."""
        self.process.stop(2)

    def _write_pool(self) -> str:
        """Write what keeps connections to Pods: the module's own pool, or nginx's, and never both."""
        size = self.given.get("pool", POOL)
        if not has_pool(self.binary):
            return f"keepalive {size}; keepalive_timeout 4s;"
        return f"balancer_keepalive {size};" + (" keepalive 0;" if find_version(self.binary) >= (1, 29, 7) else "")

    def _write_locations(self) -> str:
        """Write two locations for each set, as a tree has them: one for each way to its Pods."""
        if not self.given.get("locations"):
            return ""
        return "\n".join(
            f"        location /each/lua/{name}/ {{ set $pods {name}; proxy_pass http://pods; }}\n"
            f"        location /each/static/{name}/ {{ proxy_pass http://{name}; }}"
            for name in self.sets
        )

    def _write_static(self) -> str:
        if not self.given.get("static", True):
            return ""
        lines = []
        for name, servers in self.sets.items():
            each = "".join(
                f"server {one.address} weight={one.weight} max_fails=0{' backup' if one.backup else ''};"
                for one in servers
            )
            lines += (
                [f"    upstream {name} {{ {each} keepalive 64; keepalive_timeout 4s; }}"]
                if any(not one.backup for one in servers)
                else []
            )
        return "\n".join(lines)


Start = Callable[..., LuaNginx]


def write_sets(sets: Mapping[str, tuple[Server, ...]]) -> Sets:
    """Write the Pods of each set as text."""
    return {name: write_set(servers) for name, servers in sets.items()}


def _open_folders(folder: Path) -> None:
    """Let other users pass through a test's folder: root's workers are another user, and connect to a socket there."""
    top = Path(tempfile.gettempdir())
    for place in (folder, *folder.parents) if not os.geteuid() else ():
        if top in place.parents:
            place.chmod(0o711)


@cache
def load_modules(binary: str) -> str:
    """Write what loads the modules of this nginx."""
    folder = _find_modules(binary)
    return "\n".join(f"load_module {folder}/{name}_module.so;" for name in ("ndk_http", "ngx_http_lua"))


@cache
def has_pool(binary: str) -> bool:
    """Tell whether the module keeps connections itself; Debian bookworm's does not yet."""
    return b"balancer_keepalive" in Path(_find_modules(binary), "ngx_http_lua_module.so").read_bytes()


@cache
def explain_missing(binary: str) -> str:
    """Say why this nginx cannot run Lua; empty if it can."""
    folder = _find_modules(binary)
    if not Path(folder, "ngx_http_lua_module.so").exists():
        return f"nginx has no Lua module in {folder}: libnginx-mod-http-lua"
    if not Path(LIBRARY, "resty/core.lua").exists():
        return f"no lua-resty-core in {LIBRARY}"
    return ""


def _find_modules(binary: str) -> str:
    built = subprocess.run([binary, "-V"], capture_output=True, text=True, check=True).stderr
    found = re.search(r"--modules-path=(\S+)", built)
    return os.environ.get("NGINX_MODULES") or (found[1] if found else "/usr/lib/nginx/modules")
