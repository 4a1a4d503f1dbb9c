"""What nginx needs to choose Pods by Lua: the lines of pods.conf.j2, the code, and the state beside it."""

from reconciler.rendering import quoting
from reconciler.rendering.access_log import view_podless
from reconciler.rendering.endpoints import Sets, write_state
from reconciler.rendering.nginx_conf import RETRY_AFTER
from reconciler.rendering.quoting import Token, quote
from reconciler.routing.allowances import read_room
from reconciler.routing.server_names import power_of_two
from reconciler.settings import Settings
from reconciler.values.files import File

# Relative to nginx's folder. A server answers 503 there for sets without Pods (templates/lua/pods.lua).
NO_PODS = "no-pods.sock"
_CODE = ("lua/pods.lua", "lua/pods_store.lua", "lua/pods_text.lua")
# What a set with its name, and a Pod, take at most, each twice: a change stands beside what serves. 10,000 Pods on
# 2,500 paths took 1.3 MiB once. Memory that nothing was written to costs nothing.
_SET_BYTES, _POD_BYTES = 512, 128
_LEAST = 1 << 20


def render_pods(settings: Settings) -> tuple[Token, ...]:
    """Render what nginx needs besides upstreams. It depends on settings alone: another size loses the dictionary."""
    if not settings.lua:
        return ()
    rendered = quoting.render(
        "pods.conf.j2",
        # nginx puts its prefix in the place of $prefix, and expands no other variable here.
        path=quote(f"$prefix/{settings.lua.tree}/lua/?.lua;{settings.lua.library}/?.lua", expands_variables=False),
        size=_count_bytes(settings),
        socket=quote(NO_PODS),
        podless=view_podless(settings),
        retry_after=RETRY_AFTER,
    )
    return (rendered,)


def collect_code() -> dict[str, File]:
    """Collect the code that nginx runs. It is the same in all trees."""
    return {name: File(quoting.read(name).encode()) for name in _CODE}


def write_first_state(sets: Sets) -> File:
    """Write the state of a tree. Who serves it gives it the version that comes next."""
    return File(write_state(1, sets).encode())


def _count_bytes(settings: Settings) -> int:
    room = read_room(settings)
    return power_of_two(room.locations * _SET_BYTES + room.servers * _POD_BYTES, _LEAST)
