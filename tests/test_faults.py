"""Whatever fails at the API server, traffic is still served, the error is logged once, and recovery is automatic."""

import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from support import faults
from support.apiserver import TOKEN, ApiServer
from support.authority import Authority
from support.backends import Backends
from support.objects import Object, namespace, web
from support.running_daemon import RunningDaemon, Traffic

Start = Callable[..., RunningDaemon]


def cluster(port: int) -> list[Object]:
    """Give two Namespaces with Pods that answer."""
    return [
        *(namespace(name, {f"{name}.dev": {}}) for name in "ab"),
        *(web(name, port, last) for name in "ab" for last in range(2, 6)),
    ]


@pytest.fixture(scope="module")
def running(
    tmp_path_factory: pytest.TempPathFactory, authority: Authority, backends: Backends, port: int, nginx_binary: str
) -> Iterator[tuple[ApiServer, RunningDaemon]]:
    """Let one daemon follow one server through all faults."""
    with ApiServer(authority) as server:
        server.load(cluster(port))
        daemon = RunningDaemon(tmp_path_factory.mktemp("faults"), server, authority, API_TIMEOUT="1")
        daemon.start()
        try:
            daemon.wait_until_serves("a.dev", "b.dev")
            yield server, daemon
        finally:
            server.mend()
            daemon.close()


class Trial:
    """One fault. Clients send requests during it; after it, a change of the cluster has to be served."""

    number = 0

    def __init__(self, server: ApiServer, daemon: RunningDaemon) -> None:
        self.server, self.daemon = server, daemon
        self._told = len(daemon.lines)

    def told(self, part: str) -> int:
        """Count the lines with this text that were logged since the fault began."""
        return sum(part in line for line in self.daemon.lines[self._told :])

    def wait_for_attempts(self, number: int) -> None:
        """Wait until this number of further requests came."""
        seen = len(self.server.requests)
        self.server.wait_for(lambda server: len(server.requests) >= seen + number)

    def recover(self) -> None:
        """Change the cluster; check that the change is served and that the recovery from errors was logged once."""
        Trial.number += 1
        host = f"after-{Trial.number}.dev"
        self.server.put(namespace("a", {"a.dev": {}, host: {}}))
        self.daemon.wait_for(lambda: self.daemon.ask(host) == 200, f"the change after {self.daemon.lines[-3:]}")
        self.daemon.wait_for(lambda: self.told(host))
        assert self.told("recovered") == min(1, self.told(" error   "))


FAULTS = {
    "hangs": (faults.HANG, "list namespaces: no complete answer within 1 s"),
    "hangs inside a body": (faults.HANG_INSIDE, "list namespaces: no complete answer within 1 s"),
    "drips": (faults.DRIP, "list namespaces: no complete answer within 1 s"),
    "cuts a body": (faults.CUT, "list namespaces: "),
    "closes": (faults.CLOSE, "list namespaces: "),
    "a Status with 200": (faults.STATUS, "list namespaces: the answer is 'Status', not NamespaceList"),
    "HTML": (faults.HTML, "list namespaces: the answer is not JSON: '<html>"),
    "another kind": (faults.OTHER_KIND, "list namespaces: the answer is 'EndpointsList', not NamespaceList"),
    "wrong JSON": (faults.WRONG_JSON, "list namespaces: the answer is not JSON: "),
    "401": (faults.REFUSED_TOKEN, "list namespaces: 401 Unauthorized: 'Unauthorized'; the API server does not accept"),
    "403": (
        faults.FORBIDDEN,
        'a ClusterRole needs the rules {apiGroups: [""], resources: [namespaces], verbs: [list]}, ',
    ),
    "410": (faults.GONE, "list namespaces: 410 Gone: "),
    "429": (faults.too_many_requests(1), "list namespaces: 429 Too Many Requests"),
    "500": (faults.INTERNAL_ERROR, "list namespaces: 500 Internal Server Error: 'etcdserver: leader changed'"),
    "503": (faults.unavailable(1), "list namespaces: 503 Service Unavailable: 'apiserver not ready'"),
}


@pytest.mark.parametrize(("fault", "text"), FAULTS.values(), ids=FAULTS)
def test_fault(running: tuple[ApiServer, RunningDaemon], fault: faults.Fault, text: str) -> None:
    """All requests are answered, a repeated error is logged once, and a change after the fault is served."""
    trial = Trial(*running)
    server, daemon = running
    release = (daemon.folder / "current").readlink()
    traffic = Traffic(daemon, "b.dev")
    with traffic.flowing():
        server.fail(fault)
        daemon.wait_for(lambda: trial.told(text), text)
        trial.wait_for_attempts(2)
        assert (daemon.probe("/healthz")[0], daemon.probe("/readyz")[0]) == (200, 200)
        assert (daemon.folder / "current").readlink() == release
        server.mend()
        trial.recover()
    assert traffic.failures == []
    assert traffic.sent > 20
    # Missing rights are told together, and the last reading of a fault may find fewer of them.
    assert trial.told(" error   ") == trial.told(text) <= (2 if "rules" in text else 1)


def refuse(server: ApiServer) -> None:
    server.refuse()


def stall(server: ApiServer) -> None:
    server.stall()


@pytest.mark.parametrize(
    ("begin", "text"),
    [(refuse, "list namespaces: Connection refused"), (stall, "list namespaces: no complete answer within 1 s")],
)
def test_no_connection(running: tuple[ApiServer, RunningDaemon], begin: Callable[[ApiServer], None], text: str) -> None:
    """All requests are answered and one error is logged if no connection or no TLS handshake succeeds."""
    trial = Trial(*running)
    server, daemon = running
    traffic = Traffic(daemon, "b.dev")
    with traffic.flowing():
        begin(server)
        daemon.wait_for(lambda: trial.told(text), text)
        seen = traffic.sent
        daemon.wait_for(lambda: traffic.sent > seen + 500)  # some seconds
        assert daemon.probe("/readyz") == (
            200,
            f"serving release {(daemon.folder / 'current').readlink().name}; {text}",
        )
        server.accept()
        trial.recover()
    assert traffic.failures == []
    assert trial.told(" error   ") == 1


def test_another_authority_s_certificate(
    running: tuple[ApiServer, RunningDaemon], authority: Authority, tmp_path: Path
) -> None:
    """A server with a certificate of another authority is not trusted, and one error is logged."""
    trial = Trial(*running)
    server, daemon = running
    server.present(Authority(tmp_path, "Others"))
    daemon.wait_for(lambda: trial.told(" error   list namespaces: "))
    assert trial.told("certificate verify failed") == 1
    server.present(authority)
    trial.recover()
    assert trial.told(" error   ") == 1


def test_token_is_rotated(running: tuple[ApiServer, RunningDaemon]) -> None:
    """A token that the server no longer accepts is logged; the new one in its file is used without a restart."""
    trial = Trial(*running)
    server, daemon = running
    user = server.tokens.pop(TOKEN)
    server.tokens["another.token"] = user
    daemon.wait_for(lambda: trial.told("401 Unauthorized"))
    daemon.token.write_text("another.token")
    trial.recover()
    server.tokens[TOKEN] = user
    daemon.token.write_text(TOKEN)
    trial.recover()
    assert trial.told(" error   ") == 1


def test_empty_cache(running: tuple[ApiServer, RunningDaemon], port: int) -> None:
    """A cache that answers with empty lists is not believed: consistent lists are requested, and no Pod goes."""
    trial = Trial(*running)
    server, daemon = running
    traffic = Traffic(daemon, "b.dev")
    with traffic.flowing():
        seen = len(server.requests)
        server.fail(faults.EMPTY, "*resourceVersion=*")
        server.put(web("a", port, 2, "/more"))
        consistent = [{"labelSelector"}, {"fieldSelector"}]
        server.wait_for(lambda _: sum(set(one.query) in consistent for one in server.requests[seen:]) >= 3)
        daemon.wait_for(lambda: daemon.ask("a.dev", "/more") == 200)
        server.mend()
        trial.recover()
    assert traffic.failures == []
    assert not trial.told("- pod b")


@pytest.mark.parametrize("empty", [False, True])
def test_older_cache(running: tuple[ApiServer, RunningDaemon], port: int, empty: bool) -> None:
    """Another API server with an older or empty cache does not bring back older routes."""
    trial = Trial(*running)
    server, daemon = running
    older = server.store.present.version
    trial.recover()  # by the newer server
    newest = f"after-{Trial.number}.dev"
    server.hold_cache(version=older, empty=empty)
    trial.wait_for_attempts(9)
    assert daemon.ask(newest) == daemon.ask("b.dev") == 200
    server.follow()
    trial.recover()
    assert not trial.told("error")


def test_half_of_all_goes(running: tuple[ApiServer, RunningDaemon], port: int) -> None:
    """If more than half of all Pods really go, their routes go after a consistent list has confirmed it."""
    trial = Trial(*running)
    server, daemon = running
    seen = len(server.requests)
    for last in range(2, 6):
        server.delete("Pod", "b", f"web-{last}")
    for last in range(3, 6):
        server.delete("Pod", "a", f"web-{last}")
    daemon.wait_for(lambda: daemon.ask("b.dev") == 404)
    asked = [one.query for one in server.requests[seen:] if one.path == "/api/v1/pods"]
    assert [query for query in asked if "resourceVersion" not in query]
    for item in cluster(port):
        server.put(item)
    daemon.wait_for(lambda: daemon.ask("b.dev") == 200)
    trial.recover()
    assert not trial.told("error")


def test_one_object_that_cannot_be_read(running: tuple[ApiServer, RunningDaemon], port: int) -> None:
    """Only the object that cannot be read is left out, and this is logged."""
    trial = Trial(*running)
    server, daemon = running
    server.fail(faults.MALFORMED, "/api/v1/*pods")
    server.put(web("b", port, 2, "/again"))
    daemon.wait_for(
        lambda: trial.told("list pods: items[0] is left out: status.podIP is an integer; expected: a string or null")
    )
    assert daemon.ask("b.dev") == 200
    server.mend()
    trial.recover()
    assert not trial.told("error")


def test_restored_from_a_backup(running: tuple[ApiServer, RunningDaemon], port: int) -> None:
    """A cluster whose versions start again, as after a restore of etcd, is still followed."""
    trial = Trial(*running)
    server, daemon = running
    server.load(cluster(port), version=3)
    trial.wait_for_attempts(6)
    trial.recover()
    assert daemon.ask("b.dev") == 200


def test_hang_up_does_not_wait(running: tuple[ApiServer, RunningDaemon]) -> None:
    """SIGHUP starts a retry at once, although the server sent a long Retry-After."""
    trial = Trial(*running)
    server, daemon = running
    server.fail(faults.too_many_requests(250))
    daemon.wait_for(lambda: trial.told("429 Too Many Requests"))
    server.mend()
    assert daemon.process
    os.kill(daemon.process.pid, signal.SIGHUP)
    trial.recover()


def test_start_with_a_former_release(server: ApiServer, launch: Start, port: int) -> None:
    """With the API server down, the last good release serves at once; /readyz answers 200 and names the error."""
    server.load(cluster(port))
    daemon = launch()
    daemon.wait_for(lambda: daemon.ask("a.dev") == 200)
    assert daemon.end() == 0
    server.refuse()
    daemon.start()
    daemon.wait_for(lambda: daemon.ask("a.dev") == 200)
    daemon.wait_for_line(" error   list namespaces: Connection refused")
    status, text = daemon.probe("/readyz")
    assert status == 200
    assert text.startswith("serving release ")
    assert text.endswith("; list namespaces: Connection refused")
    assert daemon.count("the last good one") == 1
    server.accept()
    server.put(namespace("c", {"c.dev": {}}))
    daemon.wait_for(lambda: daemon.ask("c.dev") == 404)
    daemon.wait_for_line("recovered")
    assert daemon.count("recovered") == 1


def test_start_without_a_former_release(server: ApiServer, launch: Start, port: int) -> None:
    """Without a former release only the default servers answer; the daemon is not ready until the cluster is read."""
    server.load(cluster(port))
    server.refuse()
    daemon = launch()
    daemon.wait_for_line("Connection refused")
    assert daemon.ask("unknown.dev", "/dispatcher/status") == 200
    assert daemon.ask("a.dev") == 0
    # The log is told before the probes are.
    refused = (503, "no release is known to be good; list namespaces: Connection refused")
    daemon.wait_for(lambda: daemon.probe("/readyz") == refused)
    server.accept()
    daemon.wait_for(lambda: daemon.ask("a.dev") == 200)
    daemon.wait_for(lambda: daemon.probe("/readyz")[0] == 200)
