"""The status document: it fits its schema after every recorded step, and says how things stand."""

import json
from pathlib import Path
from typing import Any

import msgspec
import pytest
from jsonschema import Draft202012Validator
from support.objects import FIXTURES
from test_fixtures import SCENARIOS, read_scenario_settings, replay

from reconciler.loop import events
from reconciler.loop.cycle import Cycle
from reconciler.loop.events import Event
from reconciler.rendering.endpoints import STATE_FILE
from reconciler.rendering.routes_file import ROUTES_FILE
from reconciler.routing.model import Size
from reconciler.settings import VARIABLES, read_settings
from reconciler.status.figures import Figures
from reconciler.status.state import State
from reconciler.status.status_file import StatusFile
from reconciler.values.files import File

SCHEMA = json.loads((Path(__file__).parents[1] / "docs" / "status.schema.json").read_text())
VALIDATOR = Draft202012Validator(SCHEMA)


def read(state: State) -> dict[str, Any]:
    """Write the document anew and read it."""
    document = json.loads(StatusFile(state, read_settings({}), Figures).write().plain)
    VALIDATOR.validate(document)
    return dict(document)


def observe(*told: Event) -> State:
    state = State()
    for event in told:
        state.observe(event)
    return state


def tell(state: State, cycles: list[Cycle]) -> None:
    for last, cycle in zip([None, *cycles], cycles, strict=False):
        state.observe(events.Applied(cycle, last) if cycle.applied else events.Idle(cycle, last))


@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda path: path.name)
def test_every_step(scenario: Path) -> None:
    """After each step of a scenario the document fits the schema and names what the step serves, and no key."""
    settings = read_scenario_settings(scenario)
    state = observe(events.Started("0.1.0", {}, "recordings"), events.NginxStarted("x", again=False))
    last = None
    for _, told, cycle in replay(scenario):
        state.observe(events.Applied(cycle, last) if cycle.applied else events.Idle(cycle, last))
        text = StatusFile(state, settings, Figures).write().plain.decode()
        document = json.loads(text)
        VALIDATOR.validate(document)
        assert document["serving"]["release"] == cycle.release
        assert [one["host"] for one in document["hosts"]] == [host.name for host in cycle.table.routes.hosts]
        assert len(document["problems"]) == len(cycle.table.problems)
        if cycle.applied:
            changes = document["changes"][0]
            lines = [f"  {one['sign']} {one['text']}" for one in changes["changes"]]
            assert [line for line in lines if line not in told.splitlines()] == []
        assert "PRIVATE KEY" not in text
        assert not [key for _, one in cycle.table.routes.api_keys for key in one.values if key in text]
        last = cycle


def test_problem_keeps_its_time() -> None:
    """A problem stands since it came, however many cycles follow; the newest change comes first."""
    state = observe(events.NginxStarted("x", again=False))
    cycles = [cycle for *_, cycle in replay(FIXTURES / "walkthrough")]
    tell(state, cycles[:14])
    since = dict(state.seen.standing)
    state.observe(events.Applied(cycles[14], cycles[13]))
    kept = since.keys() & state.seen.standing.keys()
    assert len(kept) > 5
    assert all(state.seen.standing[problem] == since[problem] for problem in kept)
    assert read(state)["changes"][0]["release"] == cycles[14].release


def test_only_the_newest_are_kept() -> None:
    """The document keeps the newest fifty reloads and changes, and twenty lines of each change."""
    cycles = [cycle for *_, cycle in replay(FIXTURES / "walkthrough") if cycle.applied]
    state = State()
    for _ in range(30):
        state.observe(events.Applied(cycles[-1], None))
        state.observe(events.Applied(cycles[0], cycles[-1]))
    for number in range(60):
        state.observe(events.Reloaded(str(number), (("write", 0.1),)))
    document = read(state)
    assert (len(document["changes"]), len(document["reloads"])) == (50, 50)
    assert document["reloads"][0]["release"] == "59"
    assert [len(one["changes"]) for one in document["changes"][:2]] == [20, 20]
    assert document["changes"][0]["more"] > 0


def test_pods_without_a_reload() -> None:
    """The newest change tells whether only Pods changed without a reload; nginx's part says how they come and go."""
    (*_, cycle) = [cycle for *_, cycle in replay(FIXTURES / "walkthrough") if cycle.applied]
    files = {path: file for path, file in cycle.files.items() if path != ROUTES_FILE}
    lua = msgspec.structs.replace(cycle, files=cycle.files | {STATE_FILE: File(b"")})
    before = msgspec.structs.replace(lua, files=files | {STATE_FILE: File(b"")})
    state = observe(RUNS, events.EndpointsChosen("lua"))
    told = {"chosen": "lua", "without_reload": True, "why": None, "version": None}
    assert read(state)["nginx"]["endpoints"] == told
    state.observe(events.Applied(lua, before))
    assert read(state)["changes"][0]["without_reload"]
    state.observe(events.EndpointsRefused("it is full"))
    state.observe(events.Applied(msgspec.structs.replace(cycle, release="b"), before))
    assert not read(state)["changes"][0]["without_reload"]
    assert read(state)["nginx"]["endpoints"] == told | {"without_reload": False, "why": "it is full"}
    state.observe(events.Applied(lua, cycle))
    assert read(state)["nginx"]["endpoints"] == told
    other = read(observe(RUNS, events.EndpointsChosen("reload", "no module")))["nginx"]["endpoints"]
    assert other == {"chosen": "reload", "without_reload": False, "why": "no module", "version": None}


def test_paths_that_need_a_reload() -> None:
    """A path tells what of it makes each change of its Pods need a reload."""
    reasons = {}
    for recording, _, cycle in replay(FIXTURES / "options-balance"):
        hosts = read(observe(events.Applied(cycle, None)))["hosts"]
        reasons[recording.name[4:-5]] = {path["reload"] for host in hosts for path in host["paths"]}
    assert reasons == {
        "load-balancing": {"", "loadBalancing"}, "session-persistence": {"", "sessionPersistence"}, "retry": {""},
        "share": {"", "share", "sessionPersistence"}, "backup": {"", "sessionPersistence"}, "redirect": {""},
    }  # fmt: skip


RUNS, RESUMED = events.NginxStarted("a", again=False), events.Resumed("a", Size(2, 3))
STORIES: list[tuple[tuple[Event, ...], str, str]] = [
    ((), "starting", "Nothing is served yet: nginx does not run."),
    ((RUNS,), "starting", "No host is served yet: the cluster was not read."),
    ((RUNS, RESUMED), "stale", "The last release of a former process is served; the cluster was not read yet."),
    ((RUNS, RESUMED, events.Failed("source", "list pods: 401")), "stale", "list pods: 401"),
    ((RUNS, events.NginxEnded("was killed by SIGKILL")), "stopped", "nginx was killed by SIGKILL"),
    ((RUNS, events.ShuttingDown(25)), "stopped", "The router is stopping"),
]


@pytest.mark.parametrize(("told", "state", "text"), STORIES)
def test_state_in_words(told: tuple[Event, ...], state: str, text: str) -> None:
    """The state is one word and one sentence, which names the reason."""
    serving = read(observe(*told))["serving"]
    assert serving["state"] == state
    assert text in serving["text"]


def test_failure_and_recovery() -> None:
    """A failure makes the state stale until a cycle succeeds; if nginx failed, the cluster was read all the same."""
    (*_, cycle) = [cycle for *_, cycle in replay(FIXTURES / "walkthrough")]
    state = observe(RUNS, events.Applied(cycle, None))
    read_at = state.seen.read
    assert read(state)["serving"]["state"] == "serving"
    state.observe(events.Failed("source", "gone"))
    assert (read(state)["serving"]["state"], state.seen.read) == ("stale", read_at)
    state.observe(events.Failed("sink", "refused"))
    assert state.seen.read != read_at
    assert state.seen.good == read_at
    since = state.seen.since
    state.observe(events.Idle(cycle, cycle))
    assert (read(state)["serving"]["error"], state.seen.since) == (None, since)


def test_settings() -> None:
    """Every setting is told with its default and what is allowed; those that are set as they were written."""
    told = {"ENABLE_NGINX_UPSTREAM_CHECK": "true", "PORT": "8080"}
    settings = {one["name"]: one for one in read(observe(events.Started("x", told, "y")))["settings"]}
    assert len(settings) == len(VARIABLES)
    assert settings["PORT"] == {"name": "PORT", "value": "8080", "default": "80", "allowed": "1-65535", "set": True}
    assert settings["ENABLE_NGINX_UPSTREAM_CHECK"]["set"]
    assert not settings["SSL_PORT"]["set"]


def test_tag_changes_when_something_happens() -> None:
    """Two documents between which nothing happened have one tag; an event gives another one."""
    state = observe(RUNS)
    first = StatusFile(state, read_settings({}), Figures).write().tag
    state.observe(events.Turned())
    assert StatusFile(state, read_settings({}), Figures).write().tag == first
    state.observe(events.Failed("source", "gone"))
    assert StatusFile(state, read_settings({}), Figures).write().tag != first
