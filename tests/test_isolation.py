"""Isolation: if nginx refuses a tree, only the Namespaces to blame are held, and all others' changes go live."""

import math
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from support.apiserver import ApiServer
from support.objects import Object, listing, namespace, pod, secret, unready
from support.pods import DECLARED, LATER, entry
from support.router import Router
from support.running_daemon import RunningDaemon
from support.stages import normalise

from reconciler.loop.budget import Budgets
from reconciler.loop.cycle import recall
from reconciler.loop.isolation import Held, find_offenders, find_suspects
from reconciler.loop.ports import RefusedError
from reconciler.objects.snapshot import Snapshot
from reconciler.routing.model import Routes
from reconciler.values.files import File

Start = Callable[..., Router]

# nginx itself tests each tree, except trees with a host refused*.dev. For these, the script prints what nginx would
# print about a line that it refuses.
_JUDGE = """#!/bin/sh
case "$1" in -t)
    echo trial >>{log}
    conf=$(printf '%s\\n' "$@" | grep nginx.conf)
    line=$(grep -n 'server_name refused' "$conf" | head -1 | cut -d: -f1)
    if [ -n "$line" ]; then
        echo "nginx: [emerg] {message} in $conf:$line" >&2
        exit 1
    fi ;;
esac
exec {nginx} "$@"
"""


@pytest.fixture
def judge(tmp_path: Path, nginx_binary: str) -> Callable[[str], str]:
    """Make an nginx that refuses the hosts refused*.dev; it then prints `message` and the place of the line."""

    def write(message: str = "no such thing") -> str:
        binary = tmp_path / "judge"
        binary.write_text(_JUDGE.format(nginx=nginx_binary, message=message, log=tmp_path / "trials"))
        binary.chmod(0o755)
        return str(binary)

    return write


@pytest.fixture
def judged(judge: Callable[[str], str], router: Start) -> Start:
    """Start routers with an nginx that refuses hosts."""

    def start(message: str = "no such thing", **settings: str) -> Router:
        return router(NGINX_BINARY=judge(message), **settings)

    return start


def team(name: str, host: str) -> list[Object]:
    return [namespace(name, {host: {}}), pod(name, "web", "127.9.9.9", [{"basePath": "/", "containerPort": 3000}])]


def hosts(router: Router) -> list[str]:
    assert router.last
    return [host.name for host in router.last.table.routes.hosts]


def problems(router: Router) -> list[str]:
    assert router.last
    return [str(problem) for problem in router.last.table.problems]


@pytest.mark.parametrize("message", ["no such thing", "host refused.dev is odd", "nothing that helps"])
def test_everyone_else_goes_live(judged: Start, message: str) -> None:
    """A refused Namespace keeps its last good state, others' changes go live at once, and there is a problem."""
    here = judged(message)
    here.serve(*team("a", "a.dev"), *team("b", "b.dev"), *team("c", "c.dev"))
    here.serve(*team("a", "a2.dev"), *team("b", "refused.dev"), *team("c", "c2.dev"), *team("d", "d.dev"))
    assert hosts(here) == ["a2.dev", "b.dev", "c2.dev", "d.dev"]
    assert {here.ask(host, "/missing").status for host in hosts(here)} == {502}
    (told,) = problems(here)
    assert told.startswith("Namespace b: its change is held back, its last good state is served: nginx refuses release")


def test_held_is_tried_again_when_it_changes(judged: Start) -> None:
    """A held Namespace is not tried again until it changes; once it is right, it goes live and the problem goes."""
    here = judged()
    here.serve(*team("a", "a.dev"), *team("b", "b.dev"))
    here.serve(*team("a", "a.dev"), *team("b", "refused.dev"))
    first = here.last
    here.serve(*team("a", "a2.dev"), *team("b", "refused.dev"))
    assert first and here.last and here.last.held == first.held
    assert hosts(here) == ["a2.dev", "b.dev"]
    here.serve(*team("a", "a2.dev"), *team("b", "mended.dev"))
    assert (hosts(here), problems(here)) == (["a2.dev", "mended.dev"], [])


def test_held_with_a_lost_key_is_not_tried_again(judged: Start) -> None:
    """What a held Namespace has lost meanwhile does not count as a change of it in each cycle."""
    here = judged()
    here.serve(*team("a", "a.dev"), *team("b", "b.dev"), secret("b", api_key="open"))
    for host in ("a2.dev", "a3.dev"):
        here.serve(*team("a", host), *team("b", "refused.dev"))
        assert here.last
        held = here.last.held
        assert here.last.refusal == "" or host == "a2.dev"
        assert hosts(here) == [host, "b.dev"]
    assert held[0].wanted and held[0].wanted.key_lost
    assert here.ask("b.dev", "/").status == 403


def test_nothing_to_fall_back_on(judged: Start) -> None:
    """A refused Namespace without a last good state, as in the first cycle, is left out as a whole."""
    here = judged()
    here.serve(*team("a", "a.dev"), *team("b", "refused.dev"), *team("c", "refused2.dev"), *team("d", "d.dev"))
    assert hosts(here) == ["a.dev", "d.dev"]
    assert [line.split(":")[0] for line in problems(here)] == ["Namespace b", "Namespace c"]
    assert "none of it is served" in problems(here)[0]


def test_what_anothers_going_brings_up(judged: Start) -> None:
    """If an older Namespace goes and a host that takes its place is refused, it stays until that host is mended."""
    here = judged()
    pem = {"valueFrom": {"secretKeyRef": {"key": "missing"}}}
    older = namespace("a", {"refused.dev": {"ssl": {"certificate": pem, "certificateKey": pem}}})
    younger = namespace("b", {"b.dev": {}, "refused.dev": {}}, "2026-11-23T00:00:00Z")
    here.serve(older, younger, *team("c", "c.dev"))
    assert hosts(here) == ["b.dev", "c.dev"]
    here.serve(younger, *team("c", "c2.dev"))
    assert hosts(here) == ["b.dev", "c2.dev"]
    assert "Namespace a: its change is held back, its last good state is served" in "".join(problems(here))
    here.serve(namespace("b", {"b.dev": {}}, "2026-11-23T00:00:00Z"), *team("c", "c2.dev"))
    assert (hosts(here), problems(here)) == (["b.dev", "c2.dev"], [])


def test_nobody_is_to_blame(judged: Start, tmp_path: Path) -> None:
    """If nginx refuses every tree, the refusal is raised, and the last release is still served."""
    here = judged()
    live = here.serve(*team("a", "a.dev")).release
    (tmp_path / "judge").write_text("#!/bin/sh\necho 'nginx: [emerg] out of order' >&2\nexit 1\n")
    with pytest.raises(RefusedError, match="out of order"):
        here.serve(*team("a", "a2.dev"))
    assert (here.folder / "current").readlink().name == live
    assert here.ask("a.dev", "/").status == 502


def test_not_proven(router: Start, tmp_path: Path, nginx_binary: str) -> None:
    """If a tree passes the test but does not go live, the Namespace to blame is held for a while, then tried again."""
    judge = tmp_path / "judge"
    judge.write_text(f'#!/bin/sh\nexec {nginx_binary} "$@"\n')
    judge.chmod(0o755)
    here = router(NGINX_BINARY=str(judge), RELOAD_TIMEOUT="2")
    here.serve(*team("a", "a.dev"), *team("b", "b.dev"))
    # From here on, the test accepts every tree.
    judge.write_text(f'#!/bin/sh\ncase "$1" in -t) exit 0 ;; esac\nexec {nginx_binary} "$@"\n')
    good = here.nginx.apply

    def spoil(files: dict[str, File], _: Snapshot) -> str:
        text = files["nginx.conf"].content.replace(b"server_name spoilt.dev;", b"nonsense;")
        return good({**files, "nginx.conf": File(text)})

    here.nginx.apply = spoil  # type: ignore[method-assign]
    now = time.time()
    here.serve(*team("a", "a2.dev"), *team("b", "spoilt.dev"))
    assert hosts(here) == ["a2.dev", "b.dev"]
    assert here.last and now + 50 < here.last.held[0].until < math.inf
    assert now < here.last.table.good_until < math.inf
    assert here.ask("a2.dev", "/").status == 502


def test_restart_remembers(server: ApiServer, launch: Callable[..., RunningDaemon], judge: Callable[[], str]) -> None:
    """After a restart, what the former process served of a Namespace is its last good state."""
    server.load([*team("a", "a.dev"), *team("b", "b.dev")])
    daemon = launch(NGINX_BINARY=judge())
    daemon.wait_for(lambda: daemon.ask("b.dev") == 502)
    assert daemon.end() == 0
    server.put(namespace("a", {"a2.dev": {}}))
    server.put(namespace("b", {"refused.dev": {}}))
    daemon.start()
    daemon.wait_for(lambda: daemon.ask("a2.dev") == 502)
    assert daemon.ask("b.dev") == 502
    daemon.wait_for_line("Namespace b: its change is held back, its last good state is served")


def test_former_state_is_refused_too(judged: Start, judge: Callable[[], str]) -> None:
    """If nginx refuses what a former process served, that is not a good state; the other Namespaces go live."""
    here = judged()
    here.serve(*team("a", "a.dev"), *team("b", "b.dev"))
    assert here.last
    served = normalise(listing([*team("a", "a.dev"), *team("b", "refused.dev")]), here.settings)
    here.last = recall(served, here.last.files, Budgets())
    here.serve(*team("a", "a2.dev"), *team("b", "refused2.dev"))
    assert hosts(here) == ["a2.dev"]
    assert "none of it is served" in problems(here)[0]


def test_signal_ends_the_search(
    server: ApiServer, launch: Callable[..., RunningDaemon], judge: Callable[[], str], tmp_path: Path
) -> None:
    """A signal ends the daemon before the search has found all Namespaces to blame."""
    trials = tmp_path / "trials"
    server.load(team("a", "a.dev"))
    daemon = launch(NGINX_BINARY=judge())
    daemon.wait_for(lambda: daemon.ask("a.dev") == 502)
    slow = Path(judge())
    slow.write_text(slow.read_text().replace("echo trial", "sleep 0.5; echo trial"))
    before = len(trials.read_text().splitlines())
    for number in range(40):
        for one in team(f"b{number}", f"refused{number}.dev"):
            server.put(one)
    daemon.wait_for(lambda: len(trials.read_text().splitlines()) > before + 5)
    assert daemon.end() == 0
    assert len(trials.read_text().splitlines()) < before + 20


def test_who_is_refused_has_had_a_turn(judged: Start) -> None:
    """A refused change counts like one that went live, so no Namespace can cause searches all the time."""
    here = judged(MAX_CHANGES_PER_NAMESPACE="3")
    here.serve(*team("a", "a.dev"), *team("b", "b.dev"))
    for number in range(4):
        here.serve(*team("a", "a.dev"), *team("b", f"refused{number}.dev"))
    (told,) = problems(here)
    assert "it may change 3 times a minute" in told
    assert hosts(here) == ["a.dev", "b.dev"]


def test_slow_test_is_a_refusal(judged: Start, judge: Callable[[], str], monkeypatch: pytest.MonkeyPatch) -> None:
    """A tree that nginx does not test in time counts as refused, and the Namespace to blame is found."""
    here = judged()
    here.serve(*team("a", "a.dev"), *team("b", "b.dev"))
    slow = Path(judge())
    slow.write_text(slow.read_text().replace('echo "nginx', 'exec sleep 60; echo "nginx'))
    monkeypatch.setattr("reconciler.nginx.program._TEST_TIMEOUT", 2.0)
    here.serve(*team("a", "a2.dev"), *team("b", "refused.dev"))
    assert hosts(here) == ["a2.dev", "b.dev"]
    assert "its test took more than 2 s" in problems(here)[0]


def made(*names: str) -> tuple[Held, ...]:
    return tuple(Held(name, None, None, "", math.inf) for name in names)


@pytest.mark.parametrize("bad", [set(), {"n0"}, {"n99"}, {"n7", "n8"}, {"n0", "n50", "n99"}])
def test_search(bad: set[str]) -> None:
    """The search finds exactly the offenders, with about two trials for each halving."""
    trials = 0

    def works(held: tuple[Held, ...]) -> bool:
        nonlocal trials
        trials += 1
        return bad <= {one.name for one in held}

    found = find_offenders(made(*(f"n{number}" for number in range(100))), frozenset(), 200, 60, works)
    assert {one.name for one in found} == bad
    assert trials <= 1 + 2 * 7 * max(1, len(bad))


def test_search_gives_up() -> None:
    """After the last trial, found offenders are held until they change, and untried Namespaces for a while."""
    bad = {"n0", "n2", "n99"}
    names = made(*(f"n{number}" for number in range(100)))
    found = find_offenders(names, frozenset(), 20, 60, lambda held: bad <= {one.name for one in held})
    assert {one.name for one in found} > bad
    assert {one.name for one in found if one.until == math.inf} == {"n0", "n2"}
    assert {one.until for one in found} == {60, math.inf}
    assert {one.why for one in found if one.until == 60} == {
        "nginx refuses what other Namespaces ask for, and this one has not been tried yet"
    }


def test_search_among_suspects() -> None:
    """Only suspects that are to blame are held, and offenders that are not suspects are found too."""
    names = made(*(f"n{number}" for number in range(100)))
    for bad in ({"n3"}, {"n3", "n5"}, {"n7"}, {"n3", "n7"}):
        found = find_offenders(
            names, frozenset(("n3", "n4", "n5")), 200, 60, lambda held, bad=bad: bad <= {one.name for one in held}
        )
        assert {one.name for one in found} == bad


def test_guest_of_a_host(judged: Start) -> None:
    """A Namespace stays served if nginx names its host, but a guest on this host is to blame."""
    here = judged("host shared.dev is odd")
    guest = [namespace("d", {"shared.dev": {}, "refused.dev": {}}, "2026-11-23T00:00:00Z")]
    guest.append(pod("d", "guest", "127.9.9.8", [{"basePath": "/guest", "containerPort": 3000}]))
    here.serve(*team("a", "shared.dev"), *team("c", "c.dev"), *guest)
    assert hosts(here) == ["c.dev", "shared.dev"]
    assert [line.split(":")[0] for line in problems(here)] == ["Namespace d"]


def test_suspects_without_a_place() -> None:
    """A message that names neither a line nor a host gives no suspects."""
    assert find_suspects("out of memory", {"nginx.conf": File(b"")}, Routes((), (), (), 512)) == frozenset()


def test_held_forgets_pods_that_are_gone(judged: Start, ips: list[str]) -> None:
    """While a Namespace is held, no request goes to the address of a Pod that is gone: another's Pod may have it."""
    here = judged()
    first, second = (
        pod("a", f"web-{number}", ip, [entry(f"/{number}")], DECLARED) for number, ip in enumerate(ips[:2])
    )
    here.serve(namespace("a", {"a.dev": {}}), first, second)
    assert [here.ask("a.dev", uri).status for uri in ("/0", "/1")] == [200, 200]
    here.serve(namespace("a", {"refused.dev": {}}), first, second)
    assert [here.ask("a.dev", uri).status for uri in ("/0", "/1")] == [200, 200]
    here.serve(namespace("a", {"refused.dev": {}}), second)
    assert "its last good state is served" in problems(here)[0]
    assert [here.ask("a.dev", uri).status for uri in ("/0", "/1")] == [404, 200]
    for changed in (pod("a", "web-1", ips[2], [entry("/1")], DECLARED), unready(second)):
        here.serve(namespace("a", {"refused.dev": {}}), changed)
        assert here.ask("a.dev", "/1").status == 503


def test_held_is_not_another_namespace_of_its_name(judged: Start, ips: list[str]) -> None:
    """A Namespace that was made anew, and is refused, gets nothing of the one that had its name."""
    here = judged()
    mine = pod("a", "web", ips[0], [entry("/")], DECLARED)
    here.serve(namespace("a", {"a.dev": {}}), mine, secret("a", api_key="open"))
    assert here.ask("a.dev", "/").status == 403
    other = namespace("b", {"a.dev": {}}, "2026-11-22T18:06:05Z"), pod("b", "web", ips[1], [entry("/")], DECLARED)
    here.serve(namespace("a", {"refused.dev": {}, "a.dev": {}}, LATER), mine, *other)
    assert "none of it is served" in problems(here)[0]
    assert here.ask("a.dev", "/").told["pod"].startswith(ips[1])
