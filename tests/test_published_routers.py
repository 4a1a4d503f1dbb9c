"""Real publishers and real routers with nginx, over a test API server: taking over, roll-out and roll-back."""

import json
import signal
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from support import command
from support.apiserver import TOKEN, ApiServer
from support.authority import Authority
from support.objects import Object, namespace, secret, tls, web
from support.publishers import HOME, PERSON_TOKEN, PLACE, PUBLISHER_TOKEN, ROUTER_TOKEN, Site
from support.running_daemon import RunningDaemon, Traffic

Start = Callable[..., RunningDaemon]
PUBLISHED = {"SNAPSHOT_FROM": "published", "PUBLISHED_MAX_AGE": "30"}


@pytest.fixture
def site(server: ApiServer, authority: Authority, tmp_path: Path, port: int) -> Iterator[Site]:
    """Give an API server with two Namespaces whose Pods answer, and the accounts of publishers and routers."""
    server.load([HOME, *team("a", port), *team("b", port)])
    site = Site(server, authority, tmp_path)
    yield site
    site.close()


def team(name: str, port: int, last: int = 2) -> list[Object]:
    return [namespace(name, {f"{name}.dev": {}}), web(name, port, last)]


@pytest.fixture
def publish(launch: Start, site: Site) -> Callable[..., RunningDaemon]:
    """Start publishers."""
    del site

    def start(folder: str = "publisher", **settings: str) -> RunningDaemon:
        return launch("publish", folder=folder, token=PUBLISHER_TOKEN, **settings)

    return start


def route(launch: Start, folder: str = "daemon", **settings: str) -> RunningDaemon:
    """Start a router that may read nothing but what is published."""
    return launch(folder=folder, token=ROUTER_TOKEN, **PUBLISHED | settings)


def test_a_change_reaches_routers(publish: Start, launch: Start, site: Site, port: int) -> None:
    """Two routers without any right in the cluster serve what a publisher publishes, and follow its changes."""
    publisher = publish()
    publisher.wait_for_line("applied")
    routers = [route(launch, f"router-{number}") for number in range(2)]
    for router in routers:
        router.wait_until_serves("a.dev", "b.dev")
    for one in team("c", port):
        site.server.put(one)
    for router in routers:
        router.wait_for(lambda router=router: router.ask("c.dev") == 200)
    assert publisher.count("publishing from now on") == 1
    assert {one.method for one in site.server.requests if one.agent and one.path.startswith("/api/v1/pods")} == {"GET"}
    routers[0].wait_for(lambda: (routers[0].read_status()["serving"]["published"] or {}).get("confirmed"))
    status = routers[0].read_status()["serving"]
    assert status["state"] == "serving"
    assert (status["published"]["old"], status["published"]["alone"]) == (False, False)
    assert publisher.probe("/readyz") == (200, "publishing")
    text = publisher.read_status()["serving"]["text"]
    assert text == "What the cluster describes is published."
    for one in (publisher, *routers):
        assert one.end() == 0
        assert not one.count(" error   ")
        assert not one.count("Traceback")


def test_hosts_with_tls(publish: Start, launch: Start, site: Site, authority: Authority, port: int) -> None:
    """A publisher, which has no certificate of its own, judges hosts with TLS as its routers do."""
    certificate, key = authority.issue("c.dev")
    for one in (namespace("c", {"c.dev": tls()}), web("c", port), secret("c", ssl_crt=certificate, ssl_key=key)):
        site.server.put(one)
    pair = dict(zip(("SSL_CERT", "SSL_KEY"), map(str, authority.default), strict=True))
    publisher = publish()
    publisher.wait_for_line("applied")
    router = route(launch, **pair)
    router.wait_for(lambda: router.ask("c.dev") == 308, "a redirect to TLS")
    for one in (publisher, router):
        assert not one.count("problem: ")
        assert one.end() == 0


def test_a_publisher_is_killed(publish: Start, launch: Start, site: Site, port: int) -> None:
    """If the publisher is killed, no request fails; the other one takes over, and changes come again."""
    first = publish("first")
    first.wait_for_line("publishing from now on")
    second = publish("second")
    second.wait_for_line("standing by, while")
    assert second.probe("/readyz")[1].startswith("standing by, while ")
    router = route(launch)
    router.wait_until_serves("a.dev")
    traffic = Traffic(router, "a.dev")
    with traffic.flowing():
        first.end(signal.SIGKILL)
        for one in team("c", port):
            site.server.put(one)
        router.wait_for(lambda: router.ask("c.dev") == 200)
    assert second.count("publishing from now on") == 1
    assert not traffic.failures
    assert traffic.sent


def test_a_publisher_ends_in_order(publish: Start, launch: Start, site: Site, port: int) -> None:
    """A publisher that is stopped gives the Lease back, and the next one goes on at its next turn."""
    first = publish("first")
    first.wait_for_line("applied")
    second = publish("second")
    second.wait_for_line("standing by, while")
    assert first.end() == 0
    second.wait_for_line("publishing from now on")
    assert first.count("stopped after") == 1
    router = route(launch)
    router.wait_until_serves("a.dev")
    for one in team("c", port):
        site.server.put(one)
    router.wait_for(lambda: router.ask("c.dev") == 200)


def test_a_router_starts_without_a_publisher(publish: Start, launch: Start, site: Site) -> None:
    """A router that starts later serves what was published, although no publisher lives, and says that it is old."""
    publisher = publish()
    publisher.wait_for_line("applied")
    publisher.end(signal.SIGKILL)
    router = route(launch, PUBLISHED_READY_AGE="1")
    router.wait_until_serves("a.dev", "b.dev")
    router.wait_for(lambda: router.probe("/readyz")[0] == 503)
    assert router.probe("/readyz")[1].startswith("the publisher has confirmed nothing for ")
    assert router.ask("a.dev") == 200


def run(site: Site, *arguments: object, **settings: str) -> subprocess.CompletedProcess[str]:
    """Run the command to its end with the rights of a person who may read all of this."""
    given = {"KUBECONFIG": str(site.write_config(PERSON_TOKEN)), "DENY_POD_CIDRS": "none", **settings}
    return subprocess.run(
        [command.COMMAND, *map(str, arguments)], env=command.environment(**given), capture_output=True, text=True,
        timeout=60, check=False,
    )  # fmt: skip


def test_from_direct_to_published_and_back(publish: Start, launch: Start, site: Site, port: int) -> None:
    """Two nodes go, one after the other, from the cluster to what is published, and back, without a lost request.

    Before that, --diff published tells that both are the same. What each node serves is the same release throughout.
    """
    nodes = [launch(folder=f"node-{number}") for number in range(2)]
    for node in nodes:
        node.wait_until_serves("a.dev", "b.dev")
    publish().wait_for_line("applied")
    same = run(site, "--once", "--diff", "published")
    assert (same.returncode, same.stdout) == (0, "")
    releases = [node.read_status()["serving"]["release"] for node in nodes]
    for token, settings in ((ROUTER_TOKEN, PUBLISHED), (TOKEN, {})):
        for node, other in (nodes, nodes[::-1]):
            traffic = Traffic(other, "a.dev")  # where a load balancer sends requests meanwhile
            with traffic.flowing():
                node.end()
                node.token.write_text(token)
                node.start(**settings)
                node.wait_for(lambda node=node: node.probe("/readyz")[0] == 200 and node.ask("a.dev") == 200)
                node.wait_for(lambda node=node: node.read_status().get("serving", {}).get("origin") == "live")
            assert not traffic.failures
            assert node.read_status()["serving"]["release"] == releases[nodes.index(node)]
    for one in team("c", port):
        site.server.put(one)
    for node in nodes:
        node.wait_for(lambda node=node: node.ask("c.dev") == 200)


def test_diff_published(publish: Start, site: Site, port: int) -> None:
    """--diff published tells, in both formats, what the cluster has that is not published, and exits with 1."""
    publisher = publish()
    publisher.wait_for_line("applied")
    publisher.end(signal.SIGKILL)
    for one in team("c", port):
        site.server.put(one)
    differs = run(site, "--once", "--diff", "published")
    assert differs.returncode == 1
    assert "c.dev" in differs.stdout
    records = run(site, "--once", "--diff", "published", "--log-format", "json")
    assert {json.loads(line)["event"] for line in records.stdout.splitlines()} == {"change"}
    rendered = run(site, "--once", "--no-validate", SNAPSHOT_FROM="published")
    assert rendered.returncode == 0
    assert "a.dev" in rendered.stdout
    assert "c.dev" not in rendered.stdout
    senseless = run(site, "--once", "--diff", "published", SNAPSHOT_FROM="published")
    assert senseless.returncode == 2
    assert "--diff published does not go with SNAPSHOT_FROM=published" in senseless.stderr


def test_nothing_to_compare_with(site: Site) -> None:
    """If nothing is published, --diff published says so in one line."""
    refused = run(site, "--once", "--diff", "published")
    assert refused.returncode == 3
    (line,) = [line for line in refused.stderr.splitlines() if "error" in line]
    assert f"what is published in Namespace {PLACE} cannot be used: nothing is there" in line
    assert "Traceback" not in refused.stderr


@pytest.mark.parametrize(
    ("settings", "text"),
    [
        ({"SNAPSHOT_FALLBACK": "cluster"}, "SNAPSHOT_FALLBACK: 'cluster' needs SNAPSHOT_FROM=published; allowed: none"),
        ({"SNAPSHOT_FROM": "etcd"}, "SNAPSHOT_FROM: 'etcd' is not allowed; allowed: cluster or published"),
    ],
)
def test_wrong_settings(site: Site, settings: dict[str, str], text: str) -> None:
    """Settings that do not go together get one line."""
    refused = run(site, "--once", **settings)
    assert refused.returncode == 2
    assert text in refused.stderr


def test_publish_takes_no_arguments_of_trees(site: Site) -> None:
    """`publish` renders nothing for people, so --output and its kind do not go with it."""
    refused = run(site, "--output", "/tmp/x", "publish")
    assert refused.returncode == 2
    assert "do not go with publish" in refused.stderr
