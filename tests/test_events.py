"""Kubernetes Events: each problem is told once in a cluster, on the object whose owner can mend it, at a low pace."""

import re
import shutil
import subprocess
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path

import pytest
from support.answers import Answer, write_status
from support.apiserver import ApiServer
from support.authority import Authority
from support.faults import CUT, HANG, HTML, INTERNAL_ERROR, STATUS, Fault, answer_with, too_many_requests
from support.objects import listing, namespace, pod, read, secret
from support.reporters import SETTINGS, TimedReporter, count_writes, make_connection, read_events
from support.running_daemon import RunningDaemon
from support.stages import normalise

from reconciler.cluster.event_agenda import MOST, MOST_OF_A_NAMESPACE
from reconciler.cluster.kubernetes_events import KubernetesEvent, make_events
from reconciler.loop import events
from reconciler.loop.isolation import Held
from reconciler.objects.snapshot import Resource
from reconciler.routing.problems import Problem, Reason

Start = Callable[..., TimedReporter]
Launch = Callable[..., RunningDaemon]
DOCS = Path(__file__).parents[1] / "docs" / "events.md"
UID = "11111111-2222-3333-4444-555555555555"
TEAM = namespace("team", {"team.dev": {}})
BROKEN = pod("team", "web", "10.0.0.1", "[{'basePath': '/'}]", uid=UID)
MENDED = pod("team", "web", "10.0.0.1", [{"basePath": "/", "containerPort": 3000}], uid=UID)
MINUTE = 60.0
QUOTA = answer_with(
    write_status(403, "Forbidden", 'events "web.1" is forbidden: exceeded quota: few, requested: count/events=1', {})
)


@pytest.fixture
def start(tmp_path: Path, server: ApiServer, authority: Authority) -> Iterator[Start]:
    """Start reporters, each with a connection of its own; these are closed when the test ends."""
    started: list[TimedReporter] = []

    def start(**options: float) -> TimedReporter:
        seed = len(started) + 1
        connection = make_connection(tmp_path / str(seed), server, authority)
        started.append(TimedReporter(connection, seed, **options))  # type: ignore[arg-type]
        return started[-1]

    server.load([TEAM, BROKEN])
    yield start
    for one in started:
        one.connection.close()


def problem(name: str, of: str = "team", why: str = "is wrong", kind: str = "Namespace") -> Problem:
    resource = Resource(kind, "" if kind == "Namespace" else of, of if kind == "Namespace" else "web")
    return Problem(resource, name, why, "what is right", Reason.ANNOTATION)


def test_problem_of_a_pod(server: ApiServer, start: Start) -> None:
    """A Pod's problem is an Event on the Pod with its uid, in its Namespace: one sentence with what is expected."""
    one = start()
    one.read([TEAM, BROKEN])
    one.turn_for(MINUTE)
    (event,) = read_events(server)
    assert event["involvedObject"] == {
        "kind": "Pod", "namespace": "team", "name": "web", "uid": UID, "apiVersion": "v1",
    }  # fmt: skip
    assert event["metadata"]["namespace"] == "team"
    assert re.fullmatch(r"web\.[0-9a-f]{32}", event["metadata"]["name"])
    assert (event["type"], event["reason"], event["count"]) == ("Warning", "InvalidAnnotation", 1)
    assert event["source"] == {"component": "dispatcher", "host": "node-1"}
    assert (event["reportingComponent"], event["reportingInstance"]) == ("dispatcher", "node-1")
    assert event["message"] == (
        "github.com/30x.dispatcher.paths is not JSON at line 1, column 3; expected: a JSON array of entries"
    )
    assert event["firstTimestamp"] == event["lastTimestamp"]
    assert one.told == [events.Reported("created")]


def test_problem_of_a_namespace(server: ApiServer, start: Start) -> None:
    """A problem of a Namespace, or of its Secret, is an Event on the Namespace, in the Namespace `default`."""
    objects = [namespace("team", {"bad host": {}}), secret("team", api_key="")]
    one = start()
    one.read(objects)
    one.turn_for(MINUTE)
    told = read_events(server)
    assert {event["metadata"]["namespace"] for event in told} == {"default"}
    assert all(event["involvedObject"].items() >= {"kind": "Namespace", "name": "team"}.items() for event in told)
    assert not any("namespace" in event["involvedObject"] for event in told)
    assert {event["reason"] for event in told} == {"InvalidAnnotation", "InvalidAPIKey"}
    assert any(event["message"].startswith("Secret routing: field api-key ") for event in told)


def test_problem_of_a_setting() -> None:
    """What is wrong with a setting is the operator's, and becomes no Event."""
    setting = Problem(Resource("Setting", "", "SSL_CERT"), "the certificate", "has expired", "one", Reason.SETTING)
    assert make_events([setting], {}) == []


def test_one_event_for_all_routers(server: ApiServer, start: Start) -> None:
    """Several routers tell a problem once: the second one's 409 ends its work."""
    routers = [start() for _ in range(5)]
    for one in routers:
        one.read([TEAM, BROKEN])
        one.turn_for(MINUTE)
    assert len(read_events(server)) == 1
    assert count_writes(server) == {("POST", 201): 1, ("POST", 409): 4}
    assert [one.outcomes for one in routers[1:]] == [{"exists": 1}] * 4


def test_equal_problems_of_two_pods_have_two_events(server: ApiServer, start: Start) -> None:
    """A Pod that was made anew under the same name gets an Event of its own, because it has another uid."""
    one = start()
    one.read([TEAM, BROKEN])
    one.turn_for(MINUTE)
    one.read([TEAM, pod("team", "web", "10.0.0.1", "[{'basePath': '/'}]", uid="other")])
    one.turn_for(MINUTE)
    assert {event["involvedObject"]["uid"] for event in read_events(server)} == {UID, "other"}
    assert {event["type"] for event in read_events(server)} == {"Warning"}


def test_renewals(server: ApiServer, start: Start) -> None:
    """While a problem stands, its Event is patched at most once in ten minutes, by however many routers."""
    routers = [start() for _ in range(4)]
    for one in routers:
        one.read([TEAM, BROKEN])
    patches: list[tuple[float, int]] = []
    for _ in range(6 * 60 * 2):  # all routers live through the same six hours
        for one in routers:
            one.turn_for(30)
        ((event),) = read_events(server)
        if event["count"] != (patches[-1][1] if patches else 1):
            patches.append((routers[0].now, event["count"]))
    times = [time for time, _ in patches]
    assert [count for _, count in patches] == list(range(2, len(patches) + 2))
    assert min(later - earlier for earlier, later in pairwise(times)) >= 600 - 30
    assert len(patches) >= 6 * 60 / 15
    renewed = sum(one.outcomes["renewed"] for one in routers)
    assert renewed == len(patches)
    assert sum(count_writes(server).values()) <= 4 * len(patches)


def test_renewal_goes_on_when_its_router_ends(server: ApiServer, start: Start) -> None:
    """If the router that told a problem ends, another one renews the Event within the hour."""
    first, second = start(), start()
    for one in (first, second):
        one.read([TEAM, BROKEN])
        one.turn_for(MINUTE)
    assert second.outcomes == {"exists": 1}
    second.turn_for(60 * MINUTE)
    ((event),) = read_events(server)
    assert event["count"] >= 3


def test_event_that_the_server_forgot(server: ApiServer, start: Start) -> None:
    """An Event that is gone while its problem stands is created again."""
    one = start()
    one.read([TEAM, BROKEN])
    one.turn_for(MINUTE)
    (event,) = read_events(server)
    server.delete("Event", "team", event["metadata"]["name"])
    one.turn_for(15 * MINUTE)
    assert one.outcomes == {"created": 2, "gone": 1}
    assert len(read_events(server)) == 1


def test_problem_that_comes_back(server: ApiServer, start: Start) -> None:
    """A problem that comes back after a while counts its Event once more, soon."""
    one = start()
    one.read([TEAM, BROKEN])
    one.turn_for(MINUTE)
    one.read([TEAM, MENDED])
    one.turn_for(30 * MINUTE)
    one.read([TEAM, BROKEN])
    one.turn_for(3 * MINUTE)
    assert one.outcomes == {"created": 2, "exists": 1, "seen": 1, "renewed": 1}
    assert {event["type"]: event["count"] for event in read_events(server)} == {"Warning": 2, "Normal": 1}


def test_mended(server: ApiServer, start: Start) -> None:
    """When a problem is gone, one Normal Event says so in the cluster, and nothing is patched any more."""
    routers = [start(), start()]
    for one in routers:
        one.read([TEAM, BROKEN])
        one.turn_for(MINUTE)
    for one in routers:
        one.read([TEAM, MENDED])
        one.turn_for(60 * MINUTE)
    (normal,) = (event for event in read_events(server) if event["type"] == "Normal")
    assert normal["reason"] == "Mended"
    assert normal["message"] == "mended: github.com/30x.dispatcher.paths is not JSON at line 1, column 3"
    assert normal["involvedObject"]["uid"] == UID
    assert [event["count"] for event in read_events(server)] == [1, 1]


def test_object_that_is_gone_is_not_mended(server: ApiServer, start: Start) -> None:
    """When a Pod or Namespace with a problem is deleted, nothing is told of it."""
    one = start()
    one.read([namespace("team", {"bad host": {}}), BROKEN])
    one.turn_for(MINUTE)
    one.read([])
    one.turn_for(10 * MINUTE)
    assert [event["type"] for event in read_events(server)] == ["Warning", "Warning"]


def test_what_was_never_told_is_not_mended(server: ApiServer, start: Start) -> None:
    """A problem that is gone before this router told it is not told at all."""
    one = start()
    one.read([TEAM, BROKEN])
    one.turn()
    one.read([TEAM, MENDED])
    one.turn_for(10 * MINUTE)
    assert (read_events(server), one.told) == ([], [])


@pytest.mark.parametrize("form", ["missing", "terminating", "quota"])
def test_namespace_that_takes_no_event(server: ApiServer, start: Start, form: str) -> None:
    """A Namespace that is gone, ends or has a quota refuses its own Events, and delays those of no other."""
    one = start()
    other = namespace("other", {"other.dev": {}})
    other["status"] = {"phase": "Terminating" if form == "terminating" else "Active"}
    server.load([TEAM, BROKEN, *([] if form == "missing" else [other])])
    if form == "quota":
        server.fail(QUOTA, "/api/v1/namespaces/other/events")
    one.read([TEAM, BROKEN, other, pod("other", "web", "10.0.0.2", "[{'basePath': '/'}]")])
    one.turn_for(MINUTE)
    assert {event["metadata"]["namespace"] for event in read_events(server)} >= {"team"}
    assert one.outcomes == {"created": 1, "refused": 1}
    assert not any(event.why for event in one.told)
    one.turn_for(30 * MINUTE)
    assert one.outcomes["refused"] == 1


def test_right_that_is_missing(server: ApiServer, start: Start) -> None:
    """Without the right, a router tries rarely and says which rule it needs; with the right, it goes on by itself."""
    server.permit("events")
    one = start()
    server.load([namespace(f"n{number}", {}) for number in range(30)])
    one.find(*(problem("path", f"n{number}", kind="Pod") for number in range(30)))
    one.turn_for(5 * 60 * MINUTE)
    assert set(one.outcomes) == {"denied"}
    assert one.outcomes["denied"] <= 8
    (why,) = {event.why for event in one.told}
    assert why.endswith('a ClusterRole needs the rule {apiGroups: [""], resources: [events], verbs: [create, patch]}')
    server.permit("events", "*")
    one.turn_for(3 * 60 * MINUTE)
    assert len(read_events(server)) == 30


def test_server_that_is_busy(server: ApiServer, start: Start) -> None:
    """After a 429 no request is sent for as long as Retry-After says; then the same Event is written."""
    server.fail(too_many_requests(120), "*/events*", times=1)
    one = start()
    one.read([TEAM, BROKEN])
    one.turn_for(MINUTE, lambda: one.told)
    assert one.outcomes == {"failed": 1}
    one.turn_for(119)
    assert count_writes(server).total() == 1
    one.turn_for(5)
    assert one.outcomes["failed"] == 1
    assert count_writes(server).total() == 2
    assert len(read_events(server)) == 1


@pytest.mark.parametrize("fault", [INTERNAL_ERROR, CUT, HTML, STATUS], ids=["500", "cut", "html", "status"])
def test_server_that_fails(server: ApiServer, start: Start, fault: Fault) -> None:
    """A server that fails is tried less and less often, and each failure has one line; then the Event is there."""
    server.fail(fault, "*/events*")
    one = start()
    one.read([TEAM, BROKEN])
    one.turn_for(10 * MINUTE)
    failed = [event.why for event in one.told if event.outcome == "failed"]
    assert 1 <= len(failed) <= 25
    assert all(re.fullmatch("Kubernetes Events are not written: .+", why) for why in failed)
    server.mend()
    one.turn_for(2 * MINUTE)
    assert len(read_events(server)) == 1


POLICY = write_status(403, "Forbidden", 'a policy denied the request: resource "events" is not for you', {})


@pytest.mark.parametrize(
    "fault", [too_many_requests(300), INTERNAL_ERROR, answer_with(POLICY)], ids=["429", "500", "a policy's words"]
)
def test_one_namespace_that_fails(server: ApiServer, start: Start, fault: Fault) -> None:
    """What fails in one Namespace alone, for whatever its tenant did, delays the Events of no other by much."""
    one = start()
    server.load([namespace(name, {}) for name in ("evil", "good")])
    server.fail(fault, "/api/v1/namespaces/evil/events")
    evil = [problem(f"path {number}", "evil", kind="Pod") for number in range(20)]
    one.find(*evil)
    one.turn_for(5 * MINUTE)
    one.find(*evil, *(problem(f"path {number}", "good", kind="Pod") for number in range(5)))
    one.turn_for(5 * MINUTE)
    assert sum(event["metadata"]["namespace"] == "good" for event in read_events(server)) == 5


def test_event_that_a_tenant_inflated(server: ApiServer, start: Start) -> None:
    """An Event that cannot be read any more, as its tenant may write it too, delays no other."""
    one = start()
    server.load([namespace(name, {}) for name in ("evil", "good")])
    one.find(problem("path", "evil", kind="Pod"), problem("path", "good", kind="Pod"))
    one.turn_for(MINUTE)
    long = Answer(200, (b'{"kind":"Event","message":"', b"x" * 300_000, b'"}'))
    server.fail(answer_with(long), "/api/v1/namespaces/evil/events/*")
    one.turn_for(60 * MINUTE)
    (good,) = (event for event in read_events(server) if event["metadata"]["namespace"] == "good")
    assert good["count"] >= 5


def test_token_that_is_refused(server: ApiServer, start: Start) -> None:
    """A token that the server refuses is one line, and no reason to end."""
    tokens, server.tokens = server.tokens, {}
    one = start()
    one.read([TEAM, BROKEN])
    one.turn_for(2 * MINUTE)
    assert {event.why for event in one.told} == {"Kubernetes Events are not written: 401 Unauthorized: 'Unauthorized'"}
    server.tokens = tokens
    one.turn_for(2 * MINUTE)
    assert len(read_events(server)) == 1


def test_start_of_many_routers(server: ApiServer, start: Start) -> None:
    """Routers that start together spread their first writes, and those that are slower soon write rarely."""
    problems = [problem("host", f"n{number}") for number in range(40)]
    routers = [start() for _ in range(10)]
    writes: list[int] = []
    for one in routers:
        one.find(*problems)
    for one in routers:
        one.turn_for(2)
    assert sum(bool(one.told) for one in routers) <= 5
    for _ in range(60):
        for one in routers:
            one.turn_for(10)
        writes.append(count_writes(server).total())
    assert len(read_events(server)) == 40
    assert writes[5] <= 40 + 10 * 10  # in the first minute; each router alone would have sent 40
    later = writes[-1] - writes[-7]
    assert later <= 10 * 60 / 30 * 2, later  # one in thirty seconds each, and looks are among them


def test_new_problem_does_not_wait(server: ApiServer, start: Start) -> None:
    """A router that still goes through the problems of its start, which others have told, tells a new one before."""
    old = [problem("host", f"n{number}") for number in range(40)]
    first, second = start(), start()
    first.find(*old)
    first.turn_for(5 * MINUTE)
    second.find(*old)
    second.turn_for(2 * MINUTE)
    assert second.outcomes["exists"] < 10
    second.find(*old, problem("host", "new"))
    second.turn_for(MINUTE)
    assert second.outcomes["created"] == 1


def test_budget_of_a_tenant(server: ApiServer, start: Start) -> None:
    """A tenant that changes its mistakes all the time gets some Events and then one a minute; others get theirs."""
    one = start()
    one.find()
    one.turn()
    for number in range(120):
        one.find(*(problem(f"host {number}.{part}", "noisy") for part in range(MOST_OF_A_NAMESPACE)))
        one.turn_for(1)
    one.find(problem("host", "quiet"))
    one.turn_for(5)
    told = [event["involvedObject"]["name"] for event in read_events(server)]
    assert MOST_OF_A_NAMESPACE <= told.count("noisy") <= MOST_OF_A_NAMESPACE + 3
    assert told.count("quiet") == 1


def test_bound(server: ApiServer, start: Start) -> None:
    """At most 20 problems of a Namespace and 2000 in all are told; what is dropped is said once."""
    one = start()
    one.find(*(problem(f"host {number}", "full") for number in range(100)))
    one.turn_for(10 * MINUTE)
    assert len(read_events(server)) == MOST_OF_A_NAMESPACE
    assert one.outcomes["dropped"] == 0
    many = [problem("host", f"n{number}") for number in range(MOST + 7)]
    for why in ("a", "b"):
        one.find(*many, problem(why, "zzz"))
        one.turn()
    assert [event.why for event in one.told if event.outcome == "dropped"] == [
        f"more than {MOST} problems stand: 8 of them are not told as Kubernetes Events"
    ]


def test_observer_only_notes(start: Start) -> None:
    """Observing keeps only the newest problems, and sends nothing, however often it is called."""
    one = start()
    for number in range(10_000):
        one.find(problem(f"host {number}"))
    assert len(one.reporter._news) == 1
    assert one.told == []


def test_message_is_cut() -> None:
    """A message has at most 1024 bytes and keeps what is expected, and a name at most 253 characters."""
    long = Problem(Resource("Pod", "a", "x" * 253), "é" * 900, "is wrong", "ü" * 300, Reason.PATH)
    (event,) = make_events([long], {})
    assert len(event.message.encode()) <= 1024
    assert "...; expected: üü" in event.message
    assert event.message.endswith("ü...")
    assert len(event.name) <= 253
    (short,) = make_events([problem("host")], {})
    assert short.message == "host is wrong; expected: what is right"
    assert len(make_events([problem("h" * 5000)], {})[0].mend().message.encode()) <= 1024


def test_message_is_one_line() -> None:
    """What a tenant wrote cannot break a terminal that shows the message."""
    (event,) = make_events([problem("a\x1b[2J\nb")], {})
    assert event.message.startswith("a\\x1b[2J\\nb is wrong")


def test_odd_uid_is_not_passed_on() -> None:
    """A uid that is no uid is left out."""
    one = problem("x", kind="Pod")
    for uid in ("a b", "x" * 65, "é", "a\n"):
        (event,) = make_events([one], {one.resource: uid})
        assert event.uid == ""
        assert "uid" not in event.write("", 0.0)["involvedObject"]


def test_names() -> None:
    """Routers agree by the name: it depends on the object, its uid, the reason and the message, and on nothing else."""
    one = problem("host")
    base = KubernetesEvent(one.resource, "u", "R", "text", "right")
    others = [
        KubernetesEvent(Resource("Pod", "team", "team"), "u", "R", "text", "right"),
        KubernetesEvent(one.resource, "v", "R", "text", "right"),
        KubernetesEvent(one.resource, "u", "S", "text", "right"),
        KubernetesEvent(one.resource, "u", "R", "other", "right"),
        KubernetesEvent(one.resource, "u", "R", "text", "other"),
        base.mend(),
    ]
    assert len({event.name for event in (base, *others)}) == 7
    assert base.name == KubernetesEvent(one.resource, "u", "R", "text", "right").name
    assert base.write("a", 0.0)["metadata"] == base.write("b", 9e8)["metadata"]


@pytest.mark.parametrize("expected", ["what nginx accepts", "fewer changes (MAX_CHANGES_PER_NAMESPACE)"])
def test_held_namespace_quotes_nobody(expected: str) -> None:
    """The Event of a held Namespace says nothing of nginx's message, which may quote other tenants."""
    quoted = 'nginx: [emerg] conflicting name "secret.other.dev" in /etc/nginx/releases/1/nginx.conf:7'
    one = Held("team", None, None, quoted, 0.0, expected, refused=True).problem
    (event,) = make_events([one], {})
    assert event.message == (
        f"its change is held back, none of it is served (the router's log says why); expected: {expected}"
    )
    assert event.reason == "ChangeHeldBack"


def test_uids_do_not_touch_routing(server: ApiServer, start: Start) -> None:
    """The uid is known to the reporter alone: a Pod with another uid gives the same Snapshot."""
    other = {**MENDED, "metadata": {**MENDED["metadata"], "uid": "x"}}
    first, second = (listing([TEAM, one]) for one in (MENDED, other))
    assert first != second
    assert normalise(first, SETTINGS) == normalise(second, SETTINGS)


@pytest.mark.skipif(not shutil.which("kubectl"), reason="kubectl is not there")
def test_kubectl_shows_them(server: ApiServer, start: Start, tmp_path: Path) -> None:
    """`kubectl describe pod` shows the Pod's Event, and `kubectl events --for` that of its Namespace."""
    one = start()
    objects = [namespace("team", {"bad host": {}}), BROKEN]
    server.load(objects)
    one.read(objects)
    one.turn_for(2 * MINUTE)

    def run(*arguments: str) -> str:
        command = ["kubectl", "--kubeconfig", tmp_path / "1" / "config", "--cache-dir", tmp_path / "cache", *arguments]
        return subprocess.run(command, capture_output=True, check=True, text=True, timeout=60).stdout

    told = run("--namespace", "team", "describe", "pod", "web").partition("\nEvents:")[2]
    assert re.search(r"Warning +InvalidAnnotation .* dispatcher\b.* expected: a JSON array of entries", told)
    told = run("--namespace", "default", "events", "--for", "namespace/team")
    assert re.search(r"Warning +InvalidAnnotation +Namespace/team .*'bad host' is not a host; expected: ", told)


def test_hanging_server_delays_nobody(server: ApiServer, launch: Launch) -> None:
    """While a write hangs, the loop turns and applies changes; a signal ends the daemon quickly."""
    server.load([TEAM, BROKEN])
    server.fail(HANG, "*/events*")
    daemon = launch(EVENTS="on", API_TIMEOUT="60")
    daemon.wait_for_line("applied")
    server.put(namespace("late", {"late.dev": {}}))
    server.put(pod("late", "bad", "127.0.0.9", "[{'a"))
    server.wait_for(lambda one: any("/events" in request.path for request in one.requests))
    server.put(namespace("later", {"later.dev": {}}))
    daemon.wait_for_line("host later.dev")
    assert daemon.probe("/healthz")[0] == 200
    assert daemon.end() == 0
    assert not any(request.status for request in server.requests if "/events" in request.path)


def test_daemon(server: ApiServer, launch: Launch) -> None:
    """With EVENTS=on, the real process tells a problem that comes and says when it is mended."""
    server.load([TEAM, MENDED])
    daemon = launch(EVENTS="on", HOSTNAME="dispatcher-x7f2k")
    daemon.wait_for_line("applied")
    server.put(BROKEN)
    server.wait_for(lambda _: read_events(server))
    (event,) = read_events(server)
    assert event["involvedObject"]["uid"] == UID
    assert event["reportingInstance"] == "dispatcher-x7f2k"
    server.put(MENDED)
    server.wait_for(lambda _: len(read_events(server)) == 2)
    assert daemon.end() == 0


def test_daemon_without_the_right(server: ApiServer, launch: Launch) -> None:
    """Without the right, the log has one warning with the missing rule, and the router serves."""
    server.permit("events")
    server.load([TEAM, MENDED])
    daemon = launch(EVENTS="on")
    daemon.wait_for_line("applied")
    server.put(BROKEN)
    daemon.wait_for_line("warning Kubernetes Events are forbidden (403)")
    assert daemon.count("Kubernetes Events") == 1
    assert daemon.end() == 0


def test_off(server: ApiServer, launch: Launch) -> None:
    """By default no Event is written."""
    server.load([TEAM, BROKEN])
    daemon = launch()
    daemon.wait_for_line("is not JSON")
    before = len(server.requests)
    server.wait_for(lambda one: len(one.requests) > before + 9)
    assert not any("/events" in request.path for request in server.requests)


# A setting is the operator's; the other two are found in manifests alone.
NEVER_TOLD = (Reason.SETTING, Reason.MISPLACED, Reason.MISSPELT)


def test_docs_name_every_reason() -> None:
    """docs/events.md has a row for each reason, in the enum's order, and one for what is mended."""
    table, _, _ = DOCS.read_text().partition("\n## The fields")
    rows = re.findall(r"^\| `([A-Za-z]+)` \|", table, re.MULTILINE)
    assert rows == [*(reason.value for reason in Reason if reason not in NEVER_TOLD), "Mended"]


def test_walkthrough(server: ApiServer, start: Start) -> None:
    """Each mistake of the recorded tenant in trouble is told on its Namespace or Pod, with what is expected."""
    objects = read("014")
    server.load(objects)
    one = start()
    server.load(objects)
    one.read(objects)
    one.turn_for(2 * MINUTE)
    told = {(event["involvedObject"]["name"].split("-")[0], event["reason"]) for event in read_events(server)}
    assert told == {
        ("broken", "InvalidAnnotation"),
        ("inject", "InvalidAnnotation"),
        ("json", "InvalidAnnotation"),
        ("port", "UndeclaredPort"),
        ("secure", "InvalidTLS"),
        ("team", "HostConflict"),
    }
    assert all("; expected: " in event["message"] for event in read_events(server))
