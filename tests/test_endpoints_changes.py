"""Changes of Pods without a reload, on a real nginx: what is seen when, and what faults and hostile posts do."""

import http.client
import json
import random
import signal
import subprocess
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

import psutil
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support.backends import Backends
from support.clients import Download, KeptConnection, NewConnections, Upload, WebSocket, busy
from support.lua_nginx import LuaNginx, Start, write_sets
from support.ports import free_port, loopback, silent_address
from support.running_daemon import wait_until

from reconciler.loop.events import NginxSaid
from reconciler.nginx.endpoints import EndpointsError, OutdatedError, post_change
from reconciler.nginx.program import NginxError, find_version
from reconciler.nginx.proof import ask_release, exchange
from reconciler.rendering.endpoints import LOCATION, Change, find_change, write_parts, write_set
from reconciler.routing.model import Server

CHANGES = 500
KILLS = 20


@pytest.fixture(scope="module")
def pods(backends: Backends) -> list[Server]:
    """Give Pods that answer."""
    port = free_port()
    addresses = [loopback(f"10.244.{place}.27") for place in range(4)]
    for address in addresses:
        backends.listen(address, port)
    return [Server(f"{address}:{port}", 1, f"web-{place}") for place, address in enumerate(addresses)]


def many(number: int) -> tuple[Server, ...]:
    """Give Pods that nobody asks."""
    return tuple(Server(f"10.1.{n // 250}.{n % 250}:80", 1, f"idle-{n}") for n in range(number))


def fill(last: Server, number: int, size: int = 20) -> dict[str, tuple[Server, ...]]:
    """Give sets of Pods that nobody asks, and among them three that `last` serves alone."""
    sets = {f"{n:04x}.idle": many(size) for n in range(number)}
    return sets | {f"{n:04x}.idle": (last,) for n in (0, number // 2, number - 1)}


def post(here: LuaNginx, body: bytes) -> tuple[int, str]:
    """Post any bytes, and give the status and the line of the answer."""
    head = f"POST {LOCATION} HTTP/1.0\r\nContent-Length: {len(body)}\r\n\r\n".encode()
    answer = exchange(here.folder, head + body, 10)
    line = answer.partition(b"\r\n\r\n")[2].decode()
    assert line.count("\n") == 1 or answer.startswith(b"HTTP/1.1 413"), answer
    return int(answer.split(b" ", 2)[1]), line.strip()


def test_seen_by_the_next_request(lua: Start, pods: list[Server]) -> None:
    """Whatever begins after the answer to a change sees it, in each worker, on kept connections too."""
    here = lua({"0a.a": (pods[0],)})
    kept = [http.client.HTTPConnection("127.0.0.1", here.port, timeout=20) for _ in range(12)]
    for turn in range(50):
        pod = pods[turn % len(pods)]
        here.change(**{"0a": (pod,)})
        for connection in kept:
            connection.request("GET", "/")
            assert pod.address.encode() in connection.getresponse().read()
    for connection in kept:
        connection.close()


def test_many_changes_lose_nothing(lua: Start, pods: list[Server], backends: Backends) -> None:
    """All kinds of clients work on while Pods change 500 times, and sets come and go."""
    here = lua({"0a.a": tuple(pods)})
    kinds = (NewConnections, KeptConnection, WebSocket, Upload, Download)
    clients = [kind(here.port, "a.test") for kind in kinds]
    dice = random.Random(26)
    with busy(clients, backends):
        for turn in range(CHANGES):
            serving = tuple(sorted(dice.sample(pods, dice.randint(1, len(pods)))))
            here.change(**{"0a": serving, "0b": None if turn % 2 else serving})
    assert not [one.failures for one in clients if one.failures]
    assert all(one.sent for one in clients)
    standing = here.standing
    assert (standing.version, standing.errors, standing.unknown) == (CHANGES + 1, 0, 0)


def test_places_in_the_round_stay(lua: Start, pods: list[Server]) -> None:
    """Changes between requests do not favour the first Pods."""
    here = lua({"0a.a": tuple(pods)}, workers=1)
    found = []
    for turn in range(12):
        here.change(**{"0a": (*pods, *many(turn % 2))[: len(pods)], "0b": many(turn + 1)})
        found += here.find_pods("/", 1)
    assert [found.count(pod.address) for pod in pods] == [3, 3, 3, 3]


def test_one_large_set(lua: Start, pods: list[Server]) -> None:
    """A set may have more Pods than one post holds: it goes on in the next, and serves only when all is there."""
    here = lua({"0a.a": (pods[0],)}, workers=1)
    new = {"0a.a": (*many(2000), Server(pods[1].address, 1_000_000, "web"))}
    parts = write_parts(find_change(write_sets(here.sets), write_sets(new)), 1, 2)
    assert len(parts) > 2
    for place, part in enumerate(parts, 1):
        assert here.find_pods("/", 3) == [pods[0].address] * 3
        said = f"part {place} of {len(parts)}" if place < len(parts) else "version 2 tried 2"
        assert post(here, part.encode()) == (200, said)
    assert here.find_pods("/", 3) == [pods[1].address] * 3


def test_what_is_refused(lua: Start, pods: list[Server]) -> None:
    """Nothing changes by a part that is lost, that comes twice or of another base; the answer has the version."""
    here = lua({"0a.a": (pods[0],), "0b.a": (pods[0],)})
    here.change(**{"0c": (pods[0],)})
    change = Change((("0a.a", write_set([pods[1]])), ("0d.a", write_set(many(1200)))), ("0b.a",))
    first, second = (part.encode() for part in write_parts(change, 2, 7))
    assert post(here, second) == (409, "refused: version 2 tried 2")
    assert post(here, first) == (200, "part 1 of 2")
    assert post(here, first) == (409, "refused: version 2 tried 7")
    (other,) = (part.encode() for part in write_parts(Change((), ("0c.a",)), 1, 8))
    assert post(here, other) == (409, "refused: version 2 tried 7")
    assert post(here, second[:-1]) == (400, "refused: the end is missing")
    assert here.find_pods("/", 2) + here.find_pods("/lua/0b.a/", 2) == [pods[0].address] * 4
    with pytest.raises(OutdatedError, match="nginx has version 2 of the Pods"):
        post_change(here.folder, change, 1)
    assert post_change(here.folder, Change((("0c.a", write_set([pods[1]])),)), 2) == 8
    assert post(here, second) == (409, "refused: version 8 tried 8")
    assert here.find_pods("/lua/0c.a/", 1) == [pods[1].address]
    assert here.find_pods("/", 2) + here.find_pods("/lua/0b.a/", 2) == [pods[0].address] * 4
    assert here.ask("/lua/0d.a/").status == 500


NAMING = {"set 0a.a", "set 0b.a", "gone 0a.a", "gone 0b.a"}
# {web} stands for a Pod that answers.
POD_LINES = {"{web} 1", "{web} 1000000 backup"}
LINES = st.sampled_from(
    [
        *sorted(NAMING), *sorted(POD_LINES), "more 0a.a", "set :version", "set 0a.a\r", "set 1/0a.a", "set 0a.a 1",
        "unix:/tmp/x 80 1", "unix: 80 1", "localhost 80 1", "10.0.0.1 0 1", "10.0.0.1 80 0", "10.0.0.1 65536 1",
        "10.0.0.1 080 1", "10.0.0.1  80 1", "10.0.0.1 80 1\0", "10.0.0.1 80 1000001", "10.0.0.1 80 1 down",
        "10.0.0.256 80 1", "10.0.0.01 80 1", "1.2.3 80 1", "1.2.3.4. 80 1", "::1 80 1", "0:0:0:0:0:0:0:01 80 1",
        "1:2:3:4:5:6:7 80 1", "1:2:3:4:5:6:7:8:9 80 1", "1:2:3:4:5:6:7:8: 80 1", "end 0", "", "os.exit()",
    ]
)  # fmt: skip
BODIES = st.binary(max_size=200) | st.lists(LINES, max_size=6) | st.text(max_size=50).map(lambda text: [text])


def foresee(lines: list[str]) -> dict[str, int] | None:
    """Tell what a change makes of sets, as a second reader of the format: the status of an answer; None if refused."""
    named: dict[str, int] = {}
    kind = name = ""
    for line in lines:
        if line in NAMING and line.split()[1] not in named:
            kind, name = line.split()
            named[name] = 503 if kind == "set" else 500
        elif line == "more 0a.a" and named.get("0a.a", 500) != 500:
            kind, name = line.split()
        elif line in POD_LINES and kind in ("set", "more"):
            named[name] = 200
        else:
            return None
    return named


def test_hostile_posts(lua: Start, pods: list[Server]) -> None:
    """Of any bytes, a post is refused with one line and changes nothing, or it is a change and is taken exactly."""
    start: dict[str, tuple[Server, ...]] = {"0a.a": (pods[0],), "0f.a": (pods[1],)}
    here = lua(start)
    web = pods[2].address.replace(":", " ")

    @given(BODIES)
    @settings(max_examples=400, deadline=None, suppress_health_check=list(HealthCheck))
    def attack(body: bytes | list[str]) -> None:
        before = here.standing
        expected = None
        if isinstance(body, list):
            expected = foresee(body)
            lines = [line.replace("{web}", web) for line in body]
            head = f"change 1 {before.version} {before.tried + 1} 1 1"
            body = "\n".join((head, *lines, f"end {len(lines)}", "")).encode("utf-8", "surrogatepass")
        status, line = post(here, body)
        assert (status == 200) == (expected is not None), line
        serves = before.version if expected is None else before.tried + 1
        assert here.standing.version == serves
        assert line.startswith("refused: ") if expected is None else line == f"version {serves} tried {serves}"
        statuses = {"0a.a": 200, "0b.a": 500, "0f.a": 200} | (expected or {})
        assert {name: here.ask(f"/lua/{name}/").status for name in statuses} == statuses
        if statuses["0a.a"] == 200:
            assert here.find_pods("/", 1) == [pods[2 if expected and "0a.a" in expected else 0].address]
        if expected:
            post_change(here.folder, Change((("0a.a", write_set(start["0a.a"])),), ("0b.a",)), serves)

    attack()
    assert here.standing.errors == 0


HEADS = (
    "change 2 1 2 1 1", "change 1 1 2 1", "change 1 1 2 2 1", "change 1 1 2 0 1", "state 1 2", "change 1 1 1 1 1",
    "change 1 1 0 1 1", "change 1 1 2 1 1 ", "change 1 01 2 1 1", "change 1 1 9999999999999 1 1", "change 1 1 1e3 1 1",
    "change 1 1 -2 1 1", "change 1 2 3 1 1",
)  # fmt: skip


@pytest.mark.parametrize("head", HEADS)
def test_hostile_heads(lua: Start, pods: list[Server], head: str) -> None:
    """A first line that is not exactly as it must be refuses the post."""
    here = lua({"0a.a": (pods[0],)})
    status, line = post(here, f"{head}\ngone 0a.a\nend 1\n".encode())
    assert status in (400, 409)
    assert line.startswith("refused: ")
    assert (here.standing.version, here.find_pods("/", 1)) == (1, [pods[0].address])


def test_post_that_is_cut_or_too_long(lua: Start, pods: list[Server]) -> None:
    """A post that is cut at any byte changes nothing, nor does one of more than 16 KiB, another method, or no body."""
    here = lua({"0a.a": (pods[0],)})
    (body,) = write_parts(Change((), ("0a.a",)), 1, 2)
    head = f"POST {LOCATION} HTTP/1.1\r\nHost: a\r\nContent-Length: {len(body)}\r\n\r\n"
    whole = (head + body).encode()
    for cut in range(len(head) - 3, len(whole)):
        with suppress(TimeoutError):
            exchange(here.folder, whole[:cut], 0.01)
    for cut in range(len(body)):
        assert post(here, body[:cut].encode())[0] == 400
    assert post(here, b"\n" * 16_385)[0] == 413
    assert b" 405 " in exchange(here.folder, f"PUT {LOCATION} HTTP/1.0\r\n\r\n".encode())
    assert (here.standing.version, here.find_pods("/", 1)) == (1, [pods[0].address])


def test_worker_killed_during_a_post(lua: Start, pods: list[Server]) -> None:
    """After a worker was killed at any moment of a change, all of it serves or nothing; then it can be made."""
    here = lua({"0a.a": (pods[0],), **fill(pods[0], 150)})
    dice = random.Random(26)
    lasts = min(time_change(here, fill(pods[0], 150, size)) for size in (22, 23, 24))
    for turn in range(1, KILLS + 1):
        new = {"0a.a": (pods[turn % 4],), **fill(pods[turn % 4], 150, 20 + turn % 2)}
        base = here.standing
        if turn % 2:
            killer = threading.Timer(dice.uniform(0, lasts), kill_all, [here.workers])
            killer.start()
            with suppress(EndpointsError):
                here.replace(new)
            killer.join()
        else:
            parts = write_parts(find_change(write_sets(here.sets), write_sets(new)), base.version, base.tried + 1)
            for part in parts[: dice.randrange(1, len(parts))]:
                post(here, part.encode())
            kill_all(here.workers)
        serves = wait_for_version(here)
        assert turn % 2 or serves == base.version
        pod = pods[(turn if serves != base.version else turn - 1) % 4]
        found = {here.find_pods(f"/lua/{name}/", 1)[0] for name in ("0a.a", "0000.idle", "004b.idle", "0095.idle")}
        assert found == {pod.address}
        if serves == base.version:
            here.replace(new)
        here.sets, here.version = new, here.standing.version
    assert (here.standing.errors, here.standing.unknown) == (0, 0)


def time_change(here: LuaNginx, sets: dict[str, tuple[Server, ...]]) -> float:
    """Give the seconds that a change takes."""
    began = time.monotonic()
    here.replace({**here.sets, **sets})
    return time.monotonic() - began


def kill_all(workers: set[psutil.Process]) -> None:
    """Kill all workers at once."""
    for worker in workers:
        with suppress(psutil.NoSuchProcess, ProcessLookupError):
            worker.send_signal(signal.SIGKILL)


def wait_for_version(here: LuaNginx) -> int:
    """Give the version once new workers answer."""
    while True:
        with suppress(EndpointsError):
            return here.standing.version


def test_full_dictionary(lua: Start, pods: list[Server]) -> None:
    """A change that has no room is refused with one line and changes nothing; a smaller one is taken after it."""
    here = lua({"0a.a": (pods[0],), **fill(pods[0], 20)}, size="64k")
    for number in (100, 1000, 30, 100):
        with pytest.raises(EndpointsError, match="the dictionary is full"):
            here.replace({"0a.a": (pods[1],), **fill(pods[1], number, 150)})
        for name in ("0a.a", "0000.idle", "000a.idle", "0013.idle"):
            assert here.find_pods(f"/lua/{name}/", 1) == [pods[0].address]
    for turn in range(200):
        here.replace({"0a.a": (pods[turn % 4],), **fill(pods[turn % 4], 20, 10 + turn % 11)})
    for name in ("0a.a", "0000.idle", "000a.idle", "0013.idle"):
        assert here.find_pods(f"/lua/{name}/", 1) == [pods[199 % 4].address]


def test_nothing_piles_up(lua: Start, pods: list[Server]) -> None:
    """However many sets come and go, also in changes that never end, the dictionary stays as empty as it was."""
    here = lua({"0a.a": tuple(pods)}, size="1m")
    sizes = []
    for turn in range(60):
        here.replace({"0a.a": tuple(pods), **{f"{turn:x}{n:04x}.idle": many(20) for n in range(50)}})
        left = write_parts(
            Change(tuple((f"ff{n:04x}.idle", write_set(many(20))) for n in range(60))), here.version, here.version + 9
        )
        assert len(left) > 1
        assert post(here, left[0].encode())[0] == 200
        here.replace({"0a.a": tuple(pods)})
        sizes.append(here.standing.free)
    assert min(sizes[1:]) >= sizes[0] - 16_384


def test_reload_keeps_the_state(lua: Start, pods: list[Server], backends: Backends) -> None:
    """A reload keeps what was posted, although the file is older; it adds sets that only the file has."""
    here = lua({"0a.a": (pods[0],)})
    clients = [NewConnections(here.port, "a.test"), WebSocket(here.port, "a.test")]
    with busy(clients, backends):
        for turn in range(1, 5):
            here.change(**{"0a": (pods[turn % 4],)})
            posted, here.sets = here.sets, {"0a.a": (pods[3],), f"0{turn}.new": (pods[turn % 4],)}
            version, here.version = here.version, 1
            here.write_state()
            here.load(f"release{turn}")
            assert here.standing.version == version
            assert here.find_pods("/", 4) == [pods[turn % 4].address] * 4
            assert here.find_pods(f"/lua/0{turn}.new/", 1) == [pods[turn % 4].address]
            here.sets, here.version = posted, version
    assert not [one.failures for one in clients if one.failures]


def test_reload_with_a_newer_file(lua: Start, pods: list[Server]) -> None:
    """A reload takes the file if it is newer than what was posted: also the workers that finish their requests."""
    here = lua({"0a.a": (pods[0],), "0b.a": (pods[0],)})
    here.sets, here.version = {"0a.a": (pods[1],)}, 9
    here.write_state()
    here.load("second")
    assert (here.standing.version, here.standing.tried) == (9, 9)
    assert here.find_pods("/", 2) == [pods[1].address] * 2
    assert here.find_pods("/lua/0b.a/", 1) == [pods[0].address]  # old workers may still need it
    here.change(**{"0b": None, "0a": (pods[2],)})
    assert here.find_pods("/", 2) == [pods[2].address] * 2


def test_old_workers(lua: Start, pods: list[Server]) -> None:
    """A worker of before a reload sees later changes too, as long as it has requests."""
    here = lua({"0a.a": (pods[0],)}, workers=1)
    if find_version(here.binary) < (1, 27, 4):
        pytest.skip("this nginx closes idle connections when it is reloaded, so that old workers get no request")
    kept = [http.client.HTTPConnection("127.0.0.1", here.port, timeout=20) for _ in range(4)]
    (old,) = here.workers
    for one in kept:
        one.request("GET", "/")
        assert one.getresponse().read()
    here.load("second")
    for one, pod in zip(kept, pods, strict=True):
        assert old.is_running()
        here.change(**{"0a": (pod,)})
        one.request("GET", "/")
        answer = one.getresponse()
        assert (answer.getheader("Connection"), json.loads(answer.read())["pod"]) == ("close", pod.address)


def test_another_size(lua: Start, pods: list[Server]) -> None:
    """A dictionary of another size begins with the file, which is why the file is written before a reload."""
    here = lua({"0a.a": (pods[0],), "0b.a": (pods[0],)}, size="1m")
    here.change(**{"0a": (pods[1],), "0b": None})
    here.write_state()
    here.given["size"] = "2m"
    here.load("second")
    assert (here.standing.version, here.standing.tried) == (2, 2)
    assert here.find_pods("/", 2) == [pods[1].address] * 2
    assert here.ask("/lua/0b.a/").status == 500


def test_pod_goes_while_a_request_waits_for_it(lua: Start, pods: list[Server]) -> None:
    """A request that waits for a Pod on a dead node gets its second try among the Pods that there are then."""
    with silent_address("10.244.7.27") as (ip, port), ThreadPoolExecutor() as clients:
        here = lua({"0a.a": (Server(f"{ip}:{port}", 1, "silent"),)}, workers=1)
        waiting = [clients.submit(here.ask, "/", "POST") for _ in range(4)]
        wait_until(lambda: count_connecting(here) == len(waiting))
        here.change(**{"0a": (pods[0], pods[1])})
        assert here.ask().status == 200
        assert count_connecting(here) == len(waiting)
        assert {one.result().status for one in waiting} == {504}  # it was the only Pod, so that there is no second try
        here.change(**{"0a": (Server(f"{ip}:{port}", 1_000_000, "silent"), pods[2])})
        waiting = [clients.submit(here.ask, "/", "POST") for _ in range(4)]
        wait_until(lambda: count_connecting(here) == len(waiting))
        here.change(**{"0a": (pods[0],)})
        assert {one.result().told["pod"] for one in waiting} == {pods[0].address}


def count_connecting(here: LuaNginx) -> int:
    """Count the connections that workers have begun and that are not answered."""
    return [one.status for worker in here.workers for one in worker.net_connections()].count("SYN_SENT")


def test_cold_start(lua: Start, pods: list[Server]) -> None:
    """Whoever starts nginx alone gets the state of the file with the first request."""
    here = lua({"0a.a": (pods[0],)})
    here.change(**{"0a": (pods[1],)})
    here.write_state()
    here.process.kill()
    (here.folder / "run" / "release.sock").unlink()
    (here.folder / "no-pods.sock").unlink()
    command = [
        here.binary,
        "-e",
        "stderr",
        "-p",
        f"{here.folder}/",
        "-c",
        f"{here.tree}/nginx.conf",
        "-g",
        "daemon off;",
    ]
    with subprocess.Popen(command, cwd=here.folder, stderr=subprocess.DEVNULL) as alone:
        try:
            assert find_first_answer(here) == pods[1].address
            assert here.standing.version == 2
        finally:
            alone.terminate()


def find_first_answer(here: LuaNginx) -> str:
    """Give the Pod that answers the first request that nginx takes."""
    while True:
        with suppress(ConnectionRefusedError):
            return here.find_pods("/", 1)[0]


def test_master_killed(lua: Start, pods: list[Server]) -> None:
    """After nginx was killed it starts again with the file, although its sockets are still there."""
    here = lua({"0a.a": (pods[0],)})
    here.change(**{"0a": (pods[1],)})
    here.write_state()
    here.process.kill()
    here.load()
    assert here.find_pods("/", 2) == [pods[1].address] * 2


WRONG = {
    "": "the end is missing",
    "state 1 2\nset 0a.a\n127.0.0.1 80 1\n": "the end is missing",
    "state 1 2\nset 0a.a\n127.0.0.1 80 1\nend 3\n": "line 4 counts other lines than there are",
    "state 1 2\nset 0a.a\nunix:/run/x 80 1\nend 2\n": "line 3 cannot be read",
    "state 1 2\n127.0.0.1 80 1\nend 1\n": "line 2 cannot be read",
    "state 1 2\ngone 0a.a\nend 1\n": "line 2 cannot be read",
    "state 1 2\nset 0a.a\nset 0a.a\nend 2\n": "set 0a.a is named twice",
    "state 2 2\nend 0\n": "line 1 cannot be read",
    "state 1 2\nend 0\nset 0a.a\n": "line 3 comes after the end",
}


@pytest.mark.parametrize("text", WRONG, ids=WRONG.values())
def test_wrong_state_file(lua: Start, pods: list[Server], text: str) -> None:
    """A reload with a file that is missing or wrong is refused with one line, and what serves stays; so is a start.

    `nginx -t` runs no init_by_lua, and so cannot tell.
    """
    here = lua({"0a.a": (pods[0],)})
    here.state.write_text(text)
    assert here.test() == []
    here.process.load()
    wait_until(lambda: bool(find_complaints(here)))
    assert (here.standing.version, here.find_pods("/", 1)) == (1, [pods[0].address])
    here.process.stop(2)
    with pytest.raises(NginxError, match="nginx ended with exit code 1"):
        here.load()
    wait_until(lambda: len(find_complaints(here)) == 2)
    assert [line.rpartition("endpoints: ")[2].rpartition(": ")[2] for line in find_complaints(here)] == [
        WRONG[text]
    ] * 2


def find_complaints(here: LuaNginx) -> list[str]:
    """Give the lines that say what keeps nginx from running."""
    return [event.text for event in here.told if isinstance(event, NginxSaid) and event.severity == "emerg"]


def test_missing_state_file(lua: Start, pods: list[Server]) -> None:
    """Without the file nginx does not start."""
    here = lua({"0a.a": (pods[0],)})
    here.process.stop(2)
    here.state.unlink()
    with pytest.raises(NginxError, match="nginx ended with exit code 1"):
        here.load()
    wait_until(lambda: "No such file" in "".join(find_complaints(here)))


def test_no_answer(lua: Start, pods: list[Server]) -> None:
    """Without nginx, or with one that knows no such question, a change ends with one line."""
    here = lua({"0a.a": (pods[0],)})
    conf = here.tree / "nginx.conf"
    text = conf.read_text()
    assert f"location = {LOCATION}" in text
    conf.write_text(
        text.replace(f"location = {LOCATION}", "location = /other").replace("return 200 first", "return 404")
    )
    here.process.stop(2)
    here.process.load()
    wait_until(lambda: ask_release(here.folder) is not None)
    with pytest.raises(EndpointsError, match="nginx does not answer about its Pods: '"):
        here.change(**{"0a": (pods[1],)})
    here.process.stop(2)
    with pytest.raises(EndpointsError, match="nginx does not answer about its Pods: No such file or directory"):
        here.change(**{"0a": (pods[1],)})


def test_nothing_illegal_is_posted(lua: Start, pods: list[Server]) -> None:
    """A change with an address that is none is not sent."""
    here = lua({"0a.a": (pods[0],)})
    with pytest.raises(EndpointsError, match="'unix:/run/x:80' is no name of a set of Pods"):
        post_change(here.folder, Change((("unix:/run/x:80", ""),)), 1)
    assert (here.standing.version, here.standing.tried) == (1, 1)
