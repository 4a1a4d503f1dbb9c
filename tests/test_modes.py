"""The other modes over a live cluster: --once, record, and a daemon with a Pod's service account."""

import json
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from support import command
from support.apiserver import TOKEN, ApiServer
from support.authority import Authority
from support.objects import WALKTHROUGH, namespace, read, secret
from support.running_daemon import RunningDaemon
from support.stages import build_table, normalise

from reconciler.disk.recordings import read_recordings
from reconciler.disk.trees import read_files
from reconciler.objects.listing import select
from reconciler.routing.model import Routes
from reconciler.settings import read_settings

Start = Callable[..., RunningDaemon]
LAST = "019"
TLS = {"SSL_CERT": str(WALKTHROUGH / "default.crt"), "SSL_KEY": str(WALKTHROUGH / "default.key")}


@pytest.fixture
def config(tmp_path: Path, server: ApiServer, authority: Authority) -> dict[str, str]:
    """Give the environment in which the command finds the server."""
    return {"KUBECONFIG": str(RunningDaemon(tmp_path / "client", server, authority).config)}


def routes_of(paths: list[Path]) -> Routes:
    settings = read_settings(TLS)
    listing = select(read_recordings([str(path) for path in paths]), settings.selector, settings.api_key_secret_name)
    return build_table(normalise(listing, settings), settings, time.time()).routes


def test_once_renders_the_cluster(server: ApiServer, config: dict[str, str], tmp_path: Path) -> None:
    """--once renders the same artefact from a live cluster as from a recording of it."""
    server.load(read(LAST))
    (recording,) = WALKTHROUGH.glob(f"{LAST}-*.json")
    live = command.run("--once", "--output", tmp_path / "live", **config, **TLS)
    replayed = command.run("--once", "--snapshot", recording, "--output", tmp_path / "recorded", **TLS)
    assert (live.returncode, live.stderr) == (0, replayed.stderr)
    assert read_files(tmp_path / "live") == read_files(tmp_path / "recorded")
    # The lists name no resourceVersion, so the API server gives the true state and not its cache.
    lists = [one for one in server.requests if "=-" not in one.query.get("fieldSelector", "")]
    assert [one.query.get("resourceVersion") for one in lists] == [None, None, None]


def test_once_without_an_answer(server: ApiServer, config: dict[str, str], tmp_path: Path) -> None:
    """If the cluster cannot be read, --once ends with one line and exit code 3, and writes nothing."""
    server.refuse()
    failed = command.run("--once", "--output", tmp_path / "out", **config)
    assert failed.returncode == 3
    assert failed.stderr == "dispatcher: error: list namespaces: Connection refused\n"
    assert not (tmp_path / "out").exists()


def test_record_replays_to_the_same_routes(server: ApiServer, config: dict[str, str], tmp_path: Path) -> None:
    """A recording replays to the cluster's routes; with stand-ins everything except the secrets is the same."""
    server.load(read(LAST))
    for arguments in ([], ["--with-secrets"]):
        folder = tmp_path / f"recorded{len(arguments)}"
        recorded = command.run("record", folder, *arguments, **config)
        assert (recorded.returncode, recorded.stderr) == (0, f"recorded {folder}/0001.json\n")
    (original,) = WALKTHROUGH.glob(f"{LAST}-*.json")
    exact = routes_of([tmp_path / "recorded1" / "0001.json"])
    assert exact == routes_of([original])
    stood_in = routes_of([tmp_path / "recorded0" / "0001.json"])
    assert stood_in.upstreams == exact.upstreams
    assert [(host.name, host.locations) for host in stood_in.hosts] == [
        (host.name, host.locations) for host in exact.hosts
    ]
    assert (tmp_path / "recorded1" / "0001.json").stat().st_mode & 0o777 == 0o600
    values = [value for item in read(LAST) if item["kind"] == "Secret" for value in item["data"].values()]
    assert values
    text = (tmp_path / "recorded0" / "0001.json").read_text()
    assert not [value for value in values if value in text]


def test_record_every_change(server: ApiServer, launch: Start, tmp_path: Path) -> None:
    """With --every each change is written as a recording, in order, until a signal ends the command."""
    folder = tmp_path / "recorded"
    server.load([namespace("a", {"a.dev": {}})])
    daemon = launch("record", folder, "--every")
    daemon.wait_for_line("recorded")
    server.put(secret("a", api_key="one"))
    daemon.wait_for_line("recorded", 2)
    server.put(secret("a", api_key="two"))
    daemon.wait_for_line("recorded", 3)
    assert daemon.end() == 0
    paths = sorted(folder.iterdir())
    assert [path.name for path in paths] == ["0001.json", "0002.json", "0003.json"]
    keys = [
        item["data"]["api-key"]
        for path in paths
        for item in json.loads(path.read_text())["items"]
        if item["kind"] == "Secret"
    ]
    assert len(set(keys)) == 2


@pytest.mark.parametrize("arguments", [["--once"], ["--serve"], ["--strict"], ["--no-validate"], ["--diff", "/x"]])
def test_what_does_not_go_with_record(arguments: list[str], tmp_path: Path) -> None:
    """Arguments that mean nothing to record are refused in one line."""
    refused = command.run(*arguments, "record", tmp_path)
    assert refused.returncode == 2
    assert "record" in refused.stderr
    assert len(refused.stderr.splitlines()) == 1


def test_in_a_pod(server: ApiServer, launch: Start, authority: Authority, tmp_path: Path) -> None:
    """In a Pod the daemon uses the service account, follows a rotated token, and serves without --serve."""
    account = tmp_path / "account"
    account.mkdir()
    (account / "token").write_text(TOKEN)
    (account / "ca.crt").write_bytes(authority.pem)
    server.load([namespace("a", {"a.dev": {}})])
    daemon = launch(
        "--output",
        tmp_path / "daemon" / "router",
        KUBECONFIG="",
        KUBERNETES_SERVICE_HOST="127.0.0.1",
        KUBERNETES_SERVICE_PORT=str(server.port),
        DISPATCHER_SERVICE_ACCOUNT_DIR=str(account),
    )
    daemon.wait_for(lambda: daemon.ask("a.dev") == 404)
    server.tokens = {"another.token": server.tokens[TOKEN]}
    daemon.wait_for_line("401 Unauthorized")
    (account / "token").write_text("another.token")
    daemon.wait_for_line("recovered")
    server.put(namespace("b", {"b.dev": {}}))
    daemon.wait_for(lambda: daemon.ask("b.dev") == 404)
    assert "token" not in "".join(daemon.lines)


def test_output_without_serve(config: dict[str, str], tmp_path: Path) -> None:
    """Outside a cluster --output needs --once or --serve."""
    refused = command.run("--output", tmp_path / "out", **config)
    assert (refused.returncode, refused.stderr) == (
        2,
        "dispatcher: error: --output goes with --once, or with --serve\n",
    )
