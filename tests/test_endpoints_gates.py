"""The third gate: which changes need no reload, what is rendered for them, and whose budget they are charged to."""

import copy
import re
from collections.abc import Callable
from dataclasses import replace

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support import hostile, objects
from support.stages import build_table, normalise

from reconciler.disk.endpoint_files import find_lasting
from reconciler.loop.cycle import Cycle
from reconciler.loop.ports import EndpointsError, RefusedError
from reconciler.loop.reconcile import reconcile
from reconciler.loop.stages import Stages
from reconciler.objects.snapshot import Snapshot
from reconciler.rendering.endpoints import STATE_FILE, read_state
from reconciler.rendering.tree import TreeRenderer
from reconciler.routing.model import Routes
from reconciler.settings import LuaModule, read_settings
from reconciler.values.files import Files, name_release

NOW = 1_797_600_000.0
LUA = LuaModule(("/usr/lib/nginx/modules/ngx_http_lua_module.so",), "/usr/share/lua/5.1", "current", keeps=True)
SETTINGS = replace(
    read_settings({"DENY_POD_CIDRS": "none", "MAX_CHANGES_PER_NAMESPACE": "6", "ALLOW_REGEX_PATHS": "true"}),
    nginx_version=(1, 26, 3),
    lua=LUA,
)


class Kept:
    """A sink that names trees as releases are named, and keeps them; it refuses Pods if it is told to."""

    def __init__(self) -> None:
        self.trees: list[Files] = []
        self.refuses = False

    def apply(self, files: Files, _: Snapshot) -> str:
        if self.refuses and STATE_FILE in files:
            raise EndpointsError("no room")
        self.trees.append(files)
        return name_release(find_lasting(files), b"")

    def check(self, files: Files) -> None:
        """Accept every tree."""


class Loop:
    """Runs cycles over objects at given times, in seconds."""

    def __init__(self) -> None:
        self.sink, self.stages = Kept(), Stages(SETTINGS)
        self.last: Cycle | None = None

    def run(self, now: float, *wanted: objects.Object) -> Cycle:
        snapshot = normalise(objects.listing(list(wanted)), SETTINGS)
        self.last = reconcile(snapshot, self.stages, self.sink, self.last, now)
        return self.last


def read_sets(cycle: Cycle) -> list[tuple[str, str]]:
    """Read the sets of Pods that nginx gets."""
    return list(read_state(cycle.files[STATE_FILE].content.decode())[1].items())


@pytest.fixture
def loop() -> Loop:
    """Give a loop that has served nothing."""
    return Loop()


def team(name: str, *lasts: int, **hosts: object) -> list[objects.Object]:
    """Give a Namespace with a host, and Pods for `/`."""
    return [objects.namespace(name, hosts or {f"{name}.test": {}}), *(objects.web(name, 3000, last) for last in lasts)]


def build(cluster: list[objects.Object]) -> Routes:
    return build_table(normalise(objects.listing(cluster), SETTINGS), SETTINGS, NOW).routes


def churn(cluster: list[objects.Object], pick: st.DataObject) -> list[objects.Object]:
    """Change the Pods of a cluster: some go, are not ready any more, have another address, or come."""
    changed: list[objects.Object] = []
    for item in copy.deepcopy(cluster):
        if item["kind"] != "Pod":
            changed.append(item)
            continue
        how = pick.draw(st.sampled_from(["stays", "stays", "goes", "unready", "moves", "doubles"]))
        other = copy.deepcopy(item)
        other["status"] |= {"podIP": "10.9.9.9", "podIPs": [{"ip": "10.9.9.9"}]}
        double = copy.deepcopy(other)
        double["metadata"]["name"] += "-2"
        changed += {
            "stays": [item], "goes": [], "unready": [objects.unready(item)], "moves": [other],
            "doubles": [item, double],
        }[how]  # fmt: skip
    return changed


def test_nothing_else_differs() -> None:
    """Where the structure is said to be equal, all files but the state and the routes are equal byte for byte.

    What is then rendered alone is what a whole rendering gives.
    """
    seen: set[str] = set()

    @given(hostile.clusters, st.data())
    @settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True, database=None)
    def compare(cluster: list[objects.Object], pick: st.DataObject) -> None:
        old, new = build(cluster), build(churn(cluster, pick))
        renderer, stages = TreeRenderer(SETTINGS), Stages(SETTINGS)
        before, whole = renderer.render(old), TreeRenderer(SETTINGS).render(new)
        if not stages.has_same_structure(old, new):
            seen.add("other structure")
            return
        assert find_lasting(before) == find_lasting(whole)
        assert renderer.render_endpoints(new, before) == whole
        seen.add("nothing" if old == new else "other Pods")

    compare()
    assert seen == {"nothing", "other Pods", "other structure"}


def test_gates(loop: Loop) -> None:
    """Other Pods change two files of the same release; nothing changes if only what routing does not read changed."""
    first = loop.run(0.0, *team("a", 2))
    second = loop.run(1.0, *team("a", 2, 3))
    assert (second.applied, second.release) == (True, first.release)
    assert {path for path in first.files if first.files[path] != second.files[path]} == {STATE_FILE, "routes.jsonl"}
    third = loop.run(2.0, *team("a", 2, 3), objects.namespace("b", "{}"))
    assert not third.applied
    assert loop.run(3.0, *team("a", 2, 3), *team("b", 4)).release != first.release
    assert len(loop.sink.trees) == 3


def test_rules_and_pods_that_change_at_once(loop: Loop) -> None:
    """The set of Pods of a path has another name when its rules change, on any of its hosts, and the same when not."""

    def name_sets(cycle: Cycle) -> list[str]:
        text = cycle.files[STATE_FILE].content.decode()
        return [line.removeprefix("set ") for line in text.splitlines() if line.startswith("set ")]

    cluster = [objects.namespace("a", {"a.test": {}}), objects.web("a", 3000, 2), objects.web("a", 3000, 3, "/b")]
    first = name_sets(loop.run(0.0, *cluster))
    limited = objects.web("a", 3000, 2, access={"ipAllow": ["10.0.0.0/8"]})
    second = name_sets(loop.run(1.0, cluster[0], limited, cluster[2]))
    assert len(set(first) & set(second)) == 1
    keyed = name_sets(loop.run(2.0, *cluster, objects.secret("a", api_key="k" * 20)))
    assert not set(keyed) & {*first, *second}
    again = name_sets(loop.run(3.0, *cluster, objects.web("a", 3000, 4)))
    assert again == first


def test_pods_cost_no_reload(loop: Loop) -> None:
    """A Namespace whose Pods alone change has a budget of its own: 30 changes, then one every two seconds."""
    loop.run(0.0, *team("a", 2))
    applied = [loop.run(now / 10, *team("a", 2, 3 + now % 2)).applied for now in range(1, 41)]
    assert applied[:30] == [True] * 30
    assert applied[30:].count(True) <= 2
    held = next(cycle.held[0] for now in range(41, 45) if (cycle := loop.run(now / 10, *team("a", 2, now))).held)
    assert held.problem.expected == "fewer changes (MAX_ENDPOINT_CHANGES_PER_NAMESPACE)"
    assert loop.run(9.0, *team("a", 2, 5)).applied


def test_no_ready_pod_costs_no_reload(loop: Loop) -> None:
    """A path's only Pod is ready, and then is not: two files of the release change, and nobody pays for a reload."""
    first = loop.run(0.0, *team("a", 2), *team("b", 3))
    down = [*team("a"), objects.unready(objects.web("a", 3000, 2)), *team("b", 3)]
    cycle = loop.run(1.0, *down)
    assert (cycle.applied, cycle.release) == (True, first.release)
    assert {path for path in first.files if first.files[path] != cycle.files[path]} == {STATE_FILE, "routes.jsonl"}
    assert sorted(pods for _, pods in read_sets(cycle)) == ["", "127.0.0.3 3000 1\n"]
    assert b'"waits for":"a ready Pod"' in cycle.files["routes.jsonl"].content
    again = loop.run(2.0, *team("a", 2), *team("b", 3))
    assert (again.release, again.files) == (first.release, first.files)
    # Beside a change of another Namespace too.
    cycle = loop.run(3.0, *down, *team("c", 4))
    assert cycle.release != first.release
    assert cycle.budgets.reloads.balances.keys() == {"c"}


def test_pods_of_a_kept_path_cost_no_reload(loop: Loop) -> None:
    """Pods come for a kept path, beside a change of another Namespace: only that one is charged for a reload."""
    host = objects.namespace("a", {"a.test": {"keepPaths": ["/b"]}, "more.test": {}})
    kept, more = objects.web("a", 3000, 2, "/c"), objects.web("a", 3000, 3, "/c")
    loop.run(0.0, host, kept, *team("v", 9))
    assert loop.run(1.0, host, kept, more, *team("v", 9, **{"b.test": {}})).budgets.reloads.balances.keys() == {"v"}
    host = objects.namespace("a", {"a.test": {"keepPaths": ["/b"]}})
    loop.run(100.0, host, kept, *team("v", 9))
    named = objects.web("a", 3000, 3, "/b")
    assert loop.run(200.0, host, kept, named, *team("v", 9, **{"b.test": {}})).budgets.reloads.balances.keys() == {"v"}


def test_others_are_not_charged(loop: Loop) -> None:
    """Who changes hosts all the time waits; who has other Pods at the same time does not, and is not charged for it."""
    for now in range(20):
        lasts = (2, 3 + now % 2)
        cycle = loop.run(float(now), *team("flaps", 6, **{f"h{now}.test": {}}), *team("b", *lasts))
        served = {server.address for one in cycle.table.routes.upstreams for server in one.servers}
        assert f"127.0.0.{lasts[1]}:3000" in served
    assert cycle.held
    assert [one.name for one in cycle.held] == ["flaps"]
    assert "b" not in cycle.budgets.reloads.balances


def test_who_shares_pays(loop: Loop) -> None:
    """Who shares a host and takes it back all the time waits. Whose paths come and go by that is not charged."""
    held: set[str] = set()
    for now in range(20):
        host: objects.Object = {"sharedWith": ["b"]} if now % 2 else {}
        other = objects.namespace("b", {"a.test": {}, "b.test": {}}, "2026-11-24T00:00:00Z")
        pods = [objects.web("b", 3000, last, "/b") for last in (2, 3 + now % 2)]
        cycle = loop.run(float(now), *team("a", 9, **{"a.test": host}), other, *pods, *team("c", 6, 7 + now % 2))
        served = {server.address for one in cycle.table.routes.upstreams for server in one.servers}
        assert {f"127.0.0.{3 + now % 2}:3000", f"127.0.0.{7 + now % 2}:3000"} <= served
        assert cycle.budgets.reloads.balances.keys() <= {"a"}
        held |= {one.name for one in cycle.held}
    assert held == {"a"}


def test_pods_after_hosts(loop: Loop) -> None:
    """A Namespace that has used up its reloads still changes its Pods."""
    for now in range(10):
        cycle = loop.run(now / 10, *team("a", 2, **{f"h{now}.test": {}}))
    assert cycle.held
    kept = {host.name: {} for host in cycle.table.routes.hosts}
    assert loop.run(1.0, *team("a", 2, 3, **kept)).release == cycle.release
    assert loop.run(1.0, *team("a", 2, 3, **kept)).held == ()


def test_reloads_in_place_of_lua(loop: Loop) -> None:
    """If nginx does not take Pods, the same cycle gives it upstreams; ten minutes later Lua is tried again."""
    loop.run(0.0, *team("a", 2))
    loop.sink.refuses = True
    cycle = loop.run(1.0, *team("a", 2, 3))
    assert STATE_FILE not in cycle.files
    assert b"server 127.0.0.3:3000" in cycle.files["nginx.conf"].content
    loop.sink.refuses = False
    assert STATE_FILE not in loop.run(600.0, *team("a", 2, 4)).files
    assert STATE_FILE in loop.run(602.0, *team("a", 2, 5)).files


def test_reloads_and_a_clock_that_is_set_back(loop: Loop) -> None:
    """A clock that is set back by a year makes nobody wait for a year until Lua is tried again."""
    loop.run(0.0, *team("a", 2))
    loop.sink.refuses = True
    loop.run(NOW, *team("a", 2, 3))
    loop.sink.refuses = False
    assert STATE_FILE in loop.run(NOW - 3e7, *team("a", 2, 4)).files


def test_reloads_in_place_of_lua_while_one_is_held(loop: Loop, monkeypatch: pytest.MonkeyPatch) -> None:
    """If nginx takes no Pods while it is sought who is to blame for a refusal, all others' changes go live too."""
    loop.run(0.0, *team("a", 2), *team("b", 3))
    apply = loop.sink.apply
    loop.sink.refuses = True

    def refuse(files: Files, snapshot: Snapshot) -> str:
        if b"bad.test" in files["nginx.conf"].content:
            raise RefusedError("it does not go live", tested=False)
        return apply(files, snapshot)

    monkeypatch.setattr(loop.sink, "apply", refuse)
    cycle = loop.run(1.0, *team("a", 2, 4), *team("b", 3, **{"bad.test": {}}))
    assert [one.name for one in cycle.held] == ["b"]
    assert STATE_FILE not in cycle.files
    assert b"server 127.0.0.4:3000" in cycle.files["nginx.conf"].content


def test_artefacts_have_no_lua() -> None:
    """Without the module's settings a tree has nginx's own upstreams and no file of Lua."""
    stages: Callable[..., Files] = Stages(replace(SETTINGS, lua=None)).render
    files = stages(build(team("a", 2)))
    assert not [path for path in files if "lua" in path]
    assert b"lua" not in files["nginx.conf"].content


def test_each_namespace_has_a_pool() -> None:
    """The Pods of each Namespace have an upstream of their own, and its idle connections are a share of the room."""
    text = Stages(SETTINGS).render(build([*team("a", 2), *team("b", 3, 4)]))["nginx.conf"].content.decode()
    assert re.findall(r"upstream (\S+) \{", text) == ["_pods.a", "_pods.b"]
    assert text.count("balancer_keepalive 64;") == 2
    passes = re.findall(r"proxy_pass (\S+);", text)
    assert passes.count("http://_pods.a") == passes.count("http://_pods.b") > 0
