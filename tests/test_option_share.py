"""share and backup, on a running nginx: which Pods of a path get requests, and how many."""

import json
import re
from collections import Counter
from collections.abc import Callable
from dataclasses import replace

import pytest
from support import objects
from support.backends import Backends
from support.objects import Object, namespace, pod, unready
from support.pods import DECLARED, HOST, LATER, PORT, entry, listen
from support.router import Router
from support.stages import build_table, normalise, render

from reconciler.settings import read_settings

Start = Callable[..., Router]
APP, REVISION = "github.com/30x.dispatcher.app.name", "github.com/30x.dispatcher.app.rev"


def web(ip: str, revision: str, number: int = 0, created: str = "2026-11-22T18:06:05Z", **more: object) -> Object:
    """Make a Pod of a revision."""
    one = pod("a", f"{revision}-{number}-{ip.replace('.', '-')}", ip, [entry("/", **more)], DECLARED)
    one["metadata"]["labels"] |= {APP: "web", REVISION: revision}
    one["metadata"]["creationTimestamp"] = created
    return one


def serve(here: Router, *pods: Object) -> str:
    """Serve Pods; give nginx's configuration."""
    return here.serve(namespace("a", {HOST: {}}), *pods).files["nginx.conf"].content.decode()


def told(here: Router) -> str:
    assert here.last
    return "\n".join(str(problem) for problem in here.last.table.problems)


def weights(config: str) -> dict[str, int]:
    """Give the weights of the servers by their addresses."""
    found = re.findall(rf"server ([0-9.]+):{PORT}(?: weight=(\d+))? max_fails=0", config)
    return {address: int(weight or 1) for address, weight in found}


def count(here: Router, number: int = 200) -> Counter[str]:
    """Ask many times; count the answers of each Pod by its address."""
    return Counter(here.ask(HOST, "/").told["pod"].rpartition(":")[0] for _ in range(number))


def test_a_fifth_whatever_the_number_of_pods(router: Start, backends: Backends) -> None:
    """Two of six Pods get their revision's share of the requests, and a Pod more changes nothing about that."""
    here = router()
    ips = listen(backends, 6)
    canary = [web(ip, "2", share=20) for ip in ips[:2]]
    config = serve(here, *canary, *(web(ip, "1") for ip in ips[2:]))
    assert weights(config) == dict.fromkeys(ips[:2], 1) | dict.fromkeys(ips[2:], 2)
    counted = count(here)
    assert 20 <= counted[ips[0]] + counted[ips[1]] <= 64
    assert told(here) == ""
    assert here.last
    assert b'"share":"\'web 2\' 20 %, others 80 %"' in here.last.files["routes.jsonl"].content
    config = serve(here, *canary[:1], *(web(ip, "1") for ip in ips[2:]))
    assert weights(config) == {ips[0]: 1} | dict.fromkeys(ips[2:], 1)


def test_drawn_at_random(router: Start, ips: list[str]) -> None:
    """Requests are drawn at random, so that a small share gets its requests also if nginx is reloaded often."""
    here = router()
    config = serve(here, web(ips[0], "2", share=10), web(ips[1], "1"))
    assert re.search(r"\n        random;\n        keepalive \d+;", config)
    seen: Counter[str] = Counter()
    for turn in range(8):
        serve(here, web(ips[0], "2", share=10), web(ips[1], "1"), *([web(ips[2], "1")] if turn % 2 else []))
        seen += count(here, 15)
    assert seen[ips[0]] > 0


def test_own_weights_count_within_a_revision(router: Start, ips: list[str]) -> None:
    """Within a revision its Pods' weights count, and outside of it the share alone."""
    pods = [web(ips[0], "2", share=40, weight=3), web(ips[1], "2", share=40), web(ips[2], "1", weight=1_000_000)]
    assert weights(serve(router(), *pods)) == {ips[0]: 3, ips[1]: 1, ips[2]: 6}


def test_zero_and_a_hundred(router: Start, ips: list[str]) -> None:
    """With 0 Pods get nothing, also if no other one is ready; beside 100 the others get nothing."""
    here = router()
    off, on = web(ips[0], "2", share=0), web(ips[1], "1")
    serve(here, off, on)
    assert count(here, 12).keys() == {ips[1]}
    serve(here, off, unready(on))
    assert here.ask(HOST, "/").status == 503
    serve(here, web(ips[0], "2", share=100), on)
    assert count(here, 12).keys() == {ips[0]}
    assert told(here) == ""
    serve(here, off)
    assert here.ask(HOST, "/").status == 503
    assert "has shares of all revisions that add up to 0 %: no Pod gets a request" in told(here)


def test_revisions_that_are_not_ready(router: Start, ips: list[str]) -> None:
    """A share stays as it is while Pods of another share are not ready; if no other Pod is ready, it is everything."""
    here = router(ENDPOINTS="reload")
    first, second, rest = web(ips[0], "2", share=20), web(ips[1], "3", share=30), web(ips[2], "1")
    assert weights(serve(here, first, second, rest)) == {ips[0]: 2, ips[1]: 3, ips[2]: 5}
    assert weights(serve(here, first, unready(second), rest)) == {ips[0]: 1, ips[2]: 4}
    assert weights(serve(here, first, second, unready(rest))) == {ips[0]: 2, ips[1]: 3}
    assert weights(serve(here, first, unready(second), unready(rest))) == {ips[0]: 1}
    assert count(here, 5).keys() == {ips[0]}
    assert told(here) == ""


def test_sums(router: Start, ips: list[str]) -> None:
    """Shares that are too much, or too little without anyone for the rest, count in proportion, and it is told."""
    here = router()
    assert weights(serve(here, web(ips[0], "1", share=80), web(ips[1], "2", share=40))) == {ips[0]: 2, ips[1]: 1}
    assert "has shares of all revisions that add up to 120 %: they count in proportion" in told(here)
    assert weights(serve(here, web(ips[0], "1", share=10), web(ips[1], "2", share=10))) == {ips[0]: 1, ips[1]: 1}
    assert "add up to 20 %: they count in proportion" in told(here)
    serve(here, web(ips[0], "1", share=70), web(ips[1], "2", share=30))
    assert told(here) == ""


def test_oldest_of_a_revision_counts(router: Start, ips: list[str]) -> None:
    """Within a revision the oldest Pod's share counts, also if it has none; a ready Pod counts more."""
    here = router()
    old, new, rest = web(ips[0], "2", share=50), web(ips[1], "2", 1, LATER, share=10), web(ips[2], "1")
    assert weights(serve(here, old, new, rest)) == {ips[0]: 1, ips[1]: 1, ips[2]: 2}
    assert "has another share, other than Pod 2-0" in told(here)
    assert "which is older and counts" in told(here)
    assert weights(serve(here, unready(old), new, rest)) == {ips[1]: 1, ips[2]: 9}
    assert "random" not in serve(here, web(ips[0], "2"), new, rest)


def test_many_revisions(backends: Backends) -> None:
    """Weights fit into what nginx takes, whatever the weights of many revisions are."""
    how = read_settings({"PORT": "18080", "DENY_POD_CIDRS": "none"})
    pods = [
        web(f"10.1.{number}.{part}", str(number), share=1, weight=1_000_000 - 37 * number - part)
        for number in range(60)
        for part in (1, 2)
    ]
    snapshot = normalise(objects.listing([namespace("a", {HOST: {}}), *pods, web("10.2.0.1", "rest")]), how)
    (upstream,) = build_table(snapshot, how, 0).routes.upstreams
    assert all(1 <= server.weight <= 1_000_000 for server in upstream.servers)
    total = sum(server.weight for server in upstream.servers)
    (rest,) = [server.weight for server in upstream.servers if server.address.startswith("10.2.")]
    assert 0.399 < rest / total < 0.401


def test_beside_persistence(router: Start, ips: list[str]) -> None:
    """Beside a cookie, a share is one of clients: weights stay small, and no other method is needed."""
    here = router()
    cookie = {"type": "Cookie"}
    pods = [web(ips[0], "2", share=20, sessionPersistence=cookie), web(ips[1], "1", sessionPersistence=cookie)]
    config = serve(here, *pods)
    assert weights(config) == {ips[0]: 1, ips[1]: 4}
    assert "random" not in config
    assert 15 <= count(here)[ips[0]] <= 75
    config = serve(here, web(ips[0], "2", share=1, sessionPersistence=cookie), *pods[1:], web(ips[2], "1"))
    assert max(weights(config).values()) <= 100


def test_beside_least_conn(router: Start, ips: list[str]) -> None:
    """A share is not bent by the number of requests under way: least_conn has no effect, and it is told."""
    here = router()
    both = {"share": 20, "loadBalancing": "least_conn"}
    config = serve(here, web(ips[0], "2", **both), web(ips[1], "1", loadBalancing="least_conn"))
    assert "least_conn" not in config
    assert "loadBalancing has no effect beside share" in told(here)
    assert here.ask(HOST, "/").status == 200


def test_beside_health_checks() -> None:
    """Where nginx checks Pods, it does not draw them at random: that method knows nothing of the checks."""
    how = replace(read_settings({"PORT": "18080", "DENY_POD_CIDRS": "none"}), health_checks=True)
    pods = [web("10.1.0.1", "2", share=20), web("10.1.0.2", "1"), web("10.1.0.3", "1", backup=True)]
    for one in pods:
        one["spec"]["containers"][0]["readinessProbe"] = {"httpGet": {"port": PORT, "path": "/"}}
    snapshot = normalise(objects.listing([namespace("a", {HOST: {}}), *pods]), how)
    config = render(build_table(snapshot, how, 0).routes, how)["nginx.conf"].content.decode()
    assert "check interval=" in config
    assert "random" not in config
    assert weights(config) == {"10.1.0.1": 1, "10.1.0.2": 4}


@pytest.mark.parametrize("wanted", [101, -1, "20", 0.5, True, {"percent": 20}])
def test_bad_shares_leave_the_entry_out(router: Start, ips: list[str], wanted: object) -> None:
    """An entry with a bad share is left out, as with a bad weight: its Pod might else get too much."""
    here = router()
    serve(here, web(ips[0], "2", share=wanted), web(ips[1], "1"))
    assert count(here, 6).keys() == {ips[1]}
    assert "[0].share is" in told(here)
    assert ": the entry is left out; expected: an integer from 0 to 100" in told(here)


def test_backups_wait(router: Start, ips: list[str]) -> None:
    """A backup serves while the others are not ready or do not answer; backups alone serve."""
    here = router(ENDPOINTS="reload")
    first, other = web(ips[0], "1"), web(ips[1], "1", 1, backup=True)
    config = serve(here, first, other)
    assert f"server {ips[1]}:{PORT} max_fails=0 backup;" in config
    assert count(here, 12).keys() == {ips[0]}
    assert here.last
    pods = json.loads(here.last.files["routes.jsonl"].content.splitlines()[-1])["pods"]
    assert [one.get("use") for one in pods.values()] == [None, "backup"]
    serve(here, unready(first), other)
    assert count(here, 6).keys() == {ips[1]}
    assert " backup;" not in serve(here, other, web(ips[2], "1", 2, backup=True))
    assert count(here, 20).keys() == {ips[1], ips[2]}
    assert told(here) == ""


def test_a_backup_of_a_dead_pod(router: Start, ips: list[str]) -> None:
    """A Pod that is ready and refuses connections costs no request: the backup answers."""
    here = router()
    serve(here, web("127.0.0.99", "1", loadBalancing="least_conn"), web(ips[1], "1", 1, backup=True))
    assert count(here, 8).keys() == {ips[1]}


@pytest.mark.parametrize("more", [{"sessionPersistence": {"type": "Cookie"}}, {"share": 50}])
def test_backups_of_other_methods(router: Start, ips: list[str], more: dict[str, object]) -> None:
    """Where nginx knows no backups, they get no request while another Pod is ready."""
    here = router(ENDPOINTS="reload")
    first, other = web(ips[0], "1", **more), web(ips[1], "1", 1, backup=True, **more)
    assert weights(serve(here, first, other)).keys() == {ips[0]}
    assert count(here, 12).keys() == {ips[0]}
    assert " backup;" not in serve(here, unready(first), other)
    assert count(here, 6).keys() == {ips[1]}


def test_a_backup_and_a_revision_without_share(router: Start, ips: list[str]) -> None:
    """Backups of a path with shares wait; Pods with share 0 never stand in for others."""
    here = router()
    off, spare = web(ips[0], "2", share=0), web(ips[1], "1", backup=True)
    serve(here, off, spare)
    assert count(here, 6).keys() == {ips[1]}


@pytest.mark.parametrize("wanted", ["true", 1, [], {}])
def test_bad_backups_leave_the_entry_out(router: Start, ips: list[str], wanted: object) -> None:
    """An entry whose backup is not true or false is left out."""
    here = router()
    serve(here, web(ips[0], "1", backup=wanted), web(ips[1], "1", 1, backup=False))
    assert count(here, 6).keys() == {ips[1]}
    assert "[0].backup is" in told(here)
    assert ": the entry is left out; expected: true or false" in told(here)


@pytest.mark.parametrize("key", ["share", "backup"])
def test_denied_by_the_operator(router: Start, ips: list[str], key: str) -> None:
    """An entry with a key that the operator forbids is left out."""
    here = router(DENIED_OPTIONS=key)
    serve(here, web(ips[0], "2", **{key: 20 if key == "share" else True}), web(ips[1], "1"))
    assert count(here, 6).keys() == {ips[1]}
    assert f"[0].{key} is turned off by DENIED_OPTIONS: the entry is left out" in told(here)
