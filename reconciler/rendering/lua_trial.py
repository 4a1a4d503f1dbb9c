"""A small tree that tries whether Lua can choose Pods: what trees have for that, and one location."""

from reconciler.rendering import quoting
from reconciler.rendering.endpoints import STATE_FILE, name_pool, write_state
from reconciler.rendering.pods_conf import collect_code, render_pods
from reconciler.rendering.quoting import quote
from reconciler.rendering.tree import render_release
from reconciler.rendering.upstreams_conf import Group, render_upstreams
from reconciler.settings import Settings
from reconciler.values.files import File, Files

NAME = "trial"
# The host that is answered by the Pods of the set, of which there are none at first.
HOST = "pods.invalid"
SET = "0.trial"


def render_trial(settings: Settings, socket: str) -> Files:
    """Render the tree. Its only ports are unix sockets below nginx's folder."""
    loads = settings.lua.loads if settings.lua else ()
    main = quoting.render(
        "lua_trial.conf.j2",
        modules=[quote(path) for path in loads],
        parts=[*render_pods(settings), render_upstreams(Group(NAME, (), 16, chosen=1), settings)],
        target=quote(f"http://{name_pool(NAME)}"),
        socket=quote(socket),
        host=quote(HOST),
        name=quote(SET),
    )
    return {
        "nginx.conf": File(main.encode()),
        "release/name.conf": render_release(NAME, socket, lua=True),
        STATE_FILE: File(write_state(1, {SET: ""}).encode()),
        **collect_code(),
    }
