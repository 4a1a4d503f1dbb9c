"""The daemon follows the cluster: a real process with a test API server, a real nginx and live traffic."""

import os
import signal
import socket
import subprocess
from collections.abc import Callable
from pathlib import Path

from support import command
from support.apiserver import ApiServer
from support.objects import namespace, pod, secret, web
from support.ports import free_port
from support.router import Router, find_pids
from support.running_daemon import RunningDaemon, Traffic

from reconciler.values.files import File

Start = Callable[..., RunningDaemon]


def test_follows_the_cluster(server: ApiServer, launch: Start, port: int) -> None:
    """Changes of Pods, hosts and keys are served, and each change is logged in routing terms."""
    daemon = launch()
    daemon.wait_for(lambda: daemon.probe("/readyz")[0] == 200)
    server.put(namespace("a", {"a.dev": {}}))
    server.put(web("a", port))
    daemon.wait_for(lambda: daemon.ask("a.dev") == 200)
    server.put(secret("a", api_key="open sesame"))
    daemon.wait_for(lambda: daemon.ask("a.dev") == 403)
    server.delete("Secret", "a", "routing")
    daemon.wait_for(lambda: daemon.ask("a.dev") == 200)
    server.delete("Pod", "a", "web-2")
    daemon.wait_for(lambda: daemon.ask("a.dev") == 404)
    assert daemon.end() == 0
    assert daemon.lines[0].partition("info    ")[2].startswith(f"dispatcher 0.1.0 starts on {server.url}; settings: ")
    assert daemon.count("info      + host a.dev (namespace a, listens plain)") == 1
    assert daemon.count(f"info      - pod a/web-2 for / (address 127.0.0.2:{port}, weight 1)") == 1
    assert "open sesame" not in "".join(daemon.lines)


def test_idle_tick_is_three_tiny_requests(server: ApiServer, launch: Start, port: int) -> None:
    """While nothing changes, a cycle requests three empty lists, each by a name in one Namespace, and logs nothing."""
    server.load([namespace("a", {"a.dev": {}}), web("a", port)])
    daemon = launch()
    daemon.wait_for_line("+ pod a/")  # the last line about the first release
    server.wait_for(lambda _: sum("resourceVersionMatch" in one.query for one in server.requests) == 0)
    seen, told = len(server.requests), len(daemon.lines)
    server.wait_for(lambda _: len(server.requests) >= seen + 9)
    asked = server.requests[seen : seen + 9]
    paths = {"/api/v1/namespaces", "/api/v1/namespaces/default/pods", "/api/v1/namespaces/default/secrets"}
    assert {one.path for one in asked} == paths
    assert {one.query["resourceVersion"] for one in asked} == {"0"}
    assert all("=-" in one.query["fieldSelector"] for one in asked)
    assert {one.agent for one in asked} == {"dispatcher/0.1.0"}
    assert daemon.lines[told:] == []


def test_only_what_changed_is_listed_again(server: ApiServer, launch: Start, port: int) -> None:
    """After a Pod changed, only the Pods are listed again, in a state that is not older than the one seen."""
    server.load([namespace("a", {"a.dev": {}}), web("a", port)])
    daemon = launch()
    daemon.wait_for_line("applied")
    server.wait_for(lambda _: len(server.requests) >= 9)
    seen = len(server.requests)
    server.put(web("a", port, 3))
    daemon.wait_for_line("applied", 2)
    lists = [one for one in server.requests[seen:] if "=-" not in one.query.get("fieldSelector", "")]
    assert [one.path for one in lists] == ["/api/v1/pods"]
    assert lists[0].query["resourceVersionMatch"] == "NotOlderThan"


def test_what_changes_no_route_is_not_told(server: ApiServer, launch: Start, port: int) -> None:
    """A change that routing does not read, or that changes no route, causes no reload and is not logged."""
    server.load([namespace("a", {"a.dev": {}}), web("a", port)])
    daemon = launch()
    daemon.wait_for_line("+ pod a/")  # the last line about the first release
    told, listed = len(daemon.lines), len(server.requests)
    release, workers = (daemon.folder / "current").readlink(), find_pids(daemon.master())
    noisy = web("a", port)
    noisy["metadata"]["annotations"]["a"] = "b"
    server.put(noisy)
    server.wait_for(lambda _: any("resourceVersionMatch" in one.query for one in server.requests[listed:]))
    server.put({**web("a", port), "status": {"phase": "Pending"}, "metadata": web("a", port, 9)["metadata"]})
    server.wait_for(lambda _: sum("resourceVersionMatch" in one.query for one in server.requests[listed:]) == 2)
    idle = len(server.requests)
    server.wait_for(lambda _: len(server.requests) >= idle + 3)  # the cycle after the one that listed them
    assert daemon.lines[told:] == []
    assert ((daemon.folder / "current").readlink(), find_pids(daemon.master())) == (release, workers)


def test_problems_come_and_go(server: ApiServer, launch: Start, port: int) -> None:
    """A problem is logged once when it appears and once when it goes, and does not affect other Namespaces."""
    server.load([namespace("a", {"a.dev": {}}), web("a", port), namespace("b", "{")])
    daemon = launch()
    daemon.wait_for_line("problem: Namespace b: ")
    daemon.wait_for(lambda: daemon.ask("a.dev") == 200)
    server.put(namespace("b", {"b.dev": {}}))
    daemon.wait_for_line("gone: Namespace b: ")
    daemon.wait_for(lambda: daemon.ask("b.dev") == 404)
    assert daemon.count("problem: ") == daemon.count("gone: ") == 1


def test_a_log_is_everybodys(server: ApiServer, launch: Start) -> None:
    """A cycle logs at most 20 problems of one Namespace and 20 changes, and how many more there are."""
    faulty = [pod("loud", f"web-{number}", "127.0.0.2", [7], []) for number in range(50)]
    server.load([namespace("loud", {f"h{number}.dev": {} for number in range(30)}), *faulty])
    daemon = launch()
    daemon.wait_for_line("and 30 more problems of Namespace loud")
    assert daemon.count("problem: Pod loud/") == 20
    daemon.wait_for_line("more changes")
    assert daemon.count("  + ") == 20


def test_watched_namespaces(server: ApiServer, launch: Start, port: int) -> None:
    """With WATCH_NAMESPACES, only the named Namespaces are listed, each by its own requests, and routed."""
    server.load([namespace(name, {f"{name}.dev": {}}) for name in ("a", "b", "c")])
    server.put(web("a", port))
    daemon = launch(WATCH_NAMESPACES="a,b")
    daemon.wait_until_serves("a.dev")
    assert (daemon.ask("b.dev"), daemon.ask("c.dev")) == (404, 0)
    within = {f"/api/v1/namespaces/{of}/{kind}" for of in "ab" for kind in ("pods", "secrets")}
    assert {one.path for one in server.requests} == {"/api/v1/namespaces"} | within
    server.delete("Pod", "a", "web-2")
    daemon.wait_for(lambda: daemon.ask("a.dev") == 404)


def test_watched_namespace_that_is_not_there(server: ApiServer, launch: Start, port: int) -> None:
    """A Namespace in WATCH_NAMESPACES that is not there is a problem until it is; a setting's slip is a warning."""
    server.load([namespace("a", {"a.dev": {}})])
    daemon = launch(WATCH_NAMESPACES="a,b", WATCH_NAMESPACE="a")
    problem = "Setting WATCH_NAMESPACES: Namespace b does not exist, or does not match ROUTABLE_LABEL_SELECTOR"
    daemon.wait_for_line(f"problem: {problem}; expected: a routable Namespace")
    assert daemon.count("WATCH_NAMESPACE is not a setting and is ignored; WATCH_NAMESPACES may be meant") == 1
    server.put(namespace("b", {"b.dev": {}}))
    daemon.wait_for_line(f"gone: {problem}")


def test_hang_up_reconciles_now(server: ApiServer, launch: Start, port: int) -> None:
    """SIGHUP starts a cycle at once, without waiting for the interval."""
    server.load([namespace("a", {"a.dev": {}})])
    daemon = launch(RECONCILE_INTERVAL="3600")
    assert daemon.process
    os.kill(daemon.process.pid, 0)
    daemon.wait_for_line("starts on")
    daemon.wait_for(lambda: (daemon.folder / "nginx.pid").exists())
    daemon.process.send_signal(signal.SIGHUP)
    daemon.wait_for(lambda: daemon.ask("a.dev") == 404)
    server.put(web("a", port))
    daemon.process.send_signal(signal.SIGHUP)
    daemon.wait_for(lambda: daemon.ask("a.dev") == 200)


def test_without_nginx_it_prints(server: ApiServer, launch: Start, port: int) -> None:
    """Outside a cluster, without --serve, the configuration is printed, and again when it changes."""
    server.load([namespace("a", {"a.dev": {}})])
    daemon = launch("--log-format", "text")
    daemon.wait_for_line("server_name a.dev;")
    server.put(namespace("b", {"b.dev": {}}))
    daemon.wait_for_line("server_name b.dev;")
    assert not daemon.folder.exists()
    assert daemon.end(signal.SIGINT) == 0


def test_traffic_while_pods_come_and_go(server: ApiServer, launch: Start, port: int) -> None:
    """No request on a new connection is lost while Pods are replaced."""
    server.load([namespace("a", {"a.dev": {}}), web("a", port)])
    daemon = launch()
    daemon.wait_until_serves("a.dev")
    traffic = Traffic(daemon, "a.dev")
    with traffic.flowing():
        for step in range(6):
            server.put(web("a", port, 3 + step % 3))
            daemon.wait_for_line("applied", 2 + 2 * step)
            server.delete("Pod", "a", f"web-{2 + (step and 1) * (1 + (step - 1) % 3)}")
            daemon.wait_for_line("applied", 3 + 2 * step)
    assert traffic.failures == []
    assert traffic.sent > 20


def test_log_that_cannot_be_written(server: ApiServer, launch: Start, port: int) -> None:
    """A log on a full disk does not stop the daemon."""
    server.load([namespace("a", {"a.dev": {}}), web("a", port)])
    daemon = launch("--version")
    daemon.end()
    full = command.environment(**daemon._settings)
    arguments = [command.COMMAND, "--serve", "--output", daemon.folder]
    with Path("/dev/full").open("w") as log, subprocess.Popen(arguments, env=full, stderr=log) as process:
        daemon.wait_for(lambda: daemon.ask("a.dev") == 200)
        server.put(namespace("a", {"b.dev": {}}))
        daemon.wait_for(lambda: daemon.ask("b.dev") == 200)
        process.terminate()


def test_log_that_nobody_reads(server: ApiServer, launch: Start, port: int) -> None:
    """If the reader of the log has gone, the router ends at the next line or signal, and leaves no nginx behind."""
    server.load([namespace("a", {"a.dev": {}}), web("a", port)])
    daemon = launch("--version")
    daemon.end()
    arguments = [command.COMMAND, "--serve", "--output", daemon.folder]
    read, write = os.pipe()
    with subprocess.Popen(arguments, env=command.environment(**daemon._settings), stderr=write) as process:
        os.close(write)
        daemon.wait_for(lambda: daemon.ask("a.dev") == 200)
        os.close(read)
        process.terminate()
        process.wait(60)
    daemon.wait_for(lambda: daemon.ask("a.dev") == 0)


def test_clients_write_no_escapes(server: ApiServer, launch: Start) -> None:
    """Text of a client's request that nginx quotes is logged without characters that control a terminal."""
    server.load([namespace("a", {"a.dev": {}}), web("a", free_port())])
    daemon = launch()
    daemon.wait_for_line("applied")
    with socket.create_connection(("127.0.0.1", daemon.port)) as client:
        client.sendall(b"GET / HTTP/1.0\r\nHost: a.dev\r\nReferer: \x1b[2J\xc2\x9b\r\n\r\n")
        assert b" 502 " in client.recv(4096)
    daemon.wait_for_line('referrer: "\\x1b[2J\\x9b"')
    assert "\x1b" not in "".join(daemon.lines)


def test_shrinking_is_made_sure_of_once(server: ApiServer, launch: Start, port: int) -> None:
    """If much would go, the cluster is read past the caches, but not again while that state cannot be applied."""
    server.load([namespace(name, {f"{name}.dev": {}}) for name in "abcd"])
    daemon = launch()
    daemon.wait_for_line("applied")
    releases = daemon.folder / "releases"
    releases.rename(daemon.folder / "elsewhere")
    releases.touch()
    seen = len(server.requests)
    for name in "bcd":
        server.delete("Namespace", "", name)
    daemon.wait_for_line("cannot be written")
    told = len(server.requests)
    server.wait_for(lambda _: len(server.requests) >= told + 40)
    past = [one.path for one in server.requests[seen:] if not {"resourceVersion"} & one.query.keys()]
    assert len(past) <= 6  # for one loss, or for two if a cycle saw only the first part of it
    releases.unlink()
    (daemon.folder / "elsewhere").rename(releases)
    daemon.wait_for(lambda: (daemon.ask("a.dev"), daemon.ask("b.dev")) == (404, 0))


def test_release_of_another_version(
    server: ApiServer, launch: Start, port: int, router: Callable[..., Router], tmp_path: Path
) -> None:
    """A former release that this version cannot read is still served; logged changes compare with an empty one."""
    former = router()
    files = former.serve(namespace("a", {"a.dev": {}})).files
    former.nginx.apply({**files, "routes.jsonl": File(b'{"host":"a.dev"}\n')})
    former.nginx.stop()
    (tmp_path / "daemon").mkdir()
    former.folder.rename(tmp_path / "daemon" / "router")
    server.load([namespace("a", {"a.dev": {}}), web("a", port)])
    daemon = launch()
    daemon.wait_for_line("  + host a.dev (namespace a, listens plain)")
    assert daemon.ask("a.dev") == 200
    assert daemon.end() == 0
