"""No secret is ever shown.

A test puts a unique value in each place that can hold a secret. Then it runs the command, and searches everything that
is printed and written for these values.
"""

import base64
import itertools
import json
import re
import signal
import textwrap
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml
from cryptography.hazmat.primitives.serialization import BestAvailableEncryption, Encoding, PrivateFormat
from cryptography.hazmat.primitives.serialization import load_pem_private_key as load_key
from support import command, faults
from support.apiserver import TOKEN, USER, ApiServer
from support.authority import Authority
from support.canaries import Canaries, find_in_processes, find_leaks
from support.objects import PATHS, Object, listing, namespace, pod, secret, tls, web
from support.passwords import BY_PASSWORD, FIELD, write_apr1, write_ssha
from support.ports import free_port
from support.publishers import HOME, PLACE
from support.reporters import TimedReporter, make_connection, read_events
from support.running_daemon import RunningDaemon
from support.stages import build_table, normalise, render

from reconciler.cluster.credentials import CredentialsError, find_credentials
from reconciler.cluster.kubeconfig import Exec, Variable
from reconciler.disk.recordings import RecordingError, read_recordings
from reconciler.rendering import quoting
from reconciler.settings import read_settings

LAST_APPLIED = "kubectl.kubernetes.io/last-applied-configuration"

# Turns on the debug messages of all libraries. If CRASH names a function, that function fails, and its error shows all
# of its arguments.
SITE = """
import logging, os, pkgutil
logging.basicConfig(level=logging.DEBUG)
if place := os.environ.get("CRASH"):
    place, _, name = place.rpartition(".")
    room = pkgutil.resolve_name(place)
    def crash(*given, **named):
        raise ZeroDivisionError(f"{given!r} {named!r}")
    setattr(room, name, crash)
"""


class Scene:
    """Folders of one test: `out` for what the command writes, `planted` for files with secrets that it gets."""

    def __init__(self, folder: Path, authority: Authority) -> None:
        self.canaries = Canaries()
        self.authority = authority
        self.folder, self.out, self.planted = folder, folder / "out", folder / "planted"
        self.tmp = folder / "tmp"
        for each in (self.out, self.planted, self.tmp, self.planted / "site"):
            each.mkdir(mode=0o755)
        (self.planted / "site" / "sitecustomize.py").write_text(textwrap.dedent(SITE))
        certificate, key = authority.issue("default.invalid")
        (self.planted / "default.crt").write_bytes(certificate)
        (self.planted / "default.key").write_bytes(self.canaries.watch_key("the default server's key", key))
        self.environment = {
            "PYTHONPATH": str(self.planted / "site"),
            "TMPDIR": str(self.tmp),
            "SSL_CERT": str(self.planted / "default.crt"),
            "SSL_KEY": str(self.planted / "default.key"),
            "CLOUD_SECRET_KEY": self.canaries.mint("a variable of the environment"),
        }
        self.token = self.plant("token", "a token")
        self._said: dict[str, bytes] = {}

    def plant(self, name: str, what: str) -> str:
        """Make a secret and put it into a file with this name."""
        value = self.canaries.mint(what)
        (self.planted / name).write_text(value)
        return value

    def configure(self, server: str, user: Object, **cluster: str) -> dict[str, str]:
        """Write a kubeconfig for a user; give the environment variable that names it."""
        path = self.planted / f"kubeconfig-{len(list(self.planted.iterdir()))}"
        (self.planted / "ca.crt").write_bytes(self.authority.pem)
        place = {"server": server, "certificate-authority": str(self.planted / "ca.crt"), **cluster}
        document = {
            "apiVersion": "v1", "kind": "Config", "current-context": "test",
            "clusters": [{"name": "test", "cluster": place}], "users": [{"name": "test", "user": user}],
            "contexts": [{"name": "test", "context": {"cluster": "test", "user": "test"}}],
        }  # fmt: skip
        path.write_text(yaml.safe_dump(document))
        return {"KUBECONFIG": str(path)}

    def run(self, *arguments: object, stdin: bytes = b"", **settings: str) -> int:
        """Run the command to its end and keep its output; give its exit code."""
        finished = command.run(*arguments, stdin=stdin, **self.environment | settings)
        said = (finished.stdout + finished.stderr).encode("utf-8", "surrogateescape")
        self.hear(f"{arguments} {sorted(settings)} ended with {finished.returncode}", said)
        return finished.returncode

    def hear(self, who: str, said: bytes) -> None:
        """Keep an output, so that `check` searches it."""
        self._said[f"{len(self._said)}: {who}"] = said

    def said(self, part: str) -> bool:
        """Tell whether any output contains this text."""
        return any(part.encode() in said for said in self._said.values())

    def check(self) -> None:
        """Search all outputs and written files; fail if a secret is found where others can see it."""
        leaks = [f"{what} said by {who}" for who, said in self._said.items() for what in self.canaries.find(said)]
        for folder in (self.out, self.tmp):
            leaks += find_leaks(self.canaries, folder, (self.out,))
        assert not leaks, "\n".join(leaks)


@pytest.fixture
def scene(tmp_path: Path, authority: Authority) -> Scene:
    return Scene(tmp_path, authority)


def applied(what: str, item: Object, scene: Scene) -> Object:
    """Give an object the annotation in which kubectl keeps the whole object, secrets included."""
    text = json.dumps({"data": {"api-key": scene.canaries.mint(f"what was applied as {what}")}})
    item["metadata"].setdefault("annotations", {})[LAST_APPLIED] = text
    return item


def make_passwords(canaries: Canaries) -> bytes:
    """Make a file of users and passwords, and watch its lines, the users and the passwords' hashes."""
    user = canaries.mint("a user of htpasswd")
    lines = write_apr1(**{user: canaries.mint("a password")}) + write_ssha(bob=canaries.mint("another password"))
    for line in lines.splitlines():
        canaries.watch("a line of htpasswd", line)
        canaries.watch("a hash of htpasswd", line.partition(b":")[2])
        canaries.watch("a part of htpasswd", re.split(rb"[}$]", line)[-1])
    return lines


def team(scene: Scene, port: int) -> list[Object]:
    """Make a Namespace with every kind of secret; some of them are in use, and some are not."""
    canaries = scene.canaries
    certificate, key = scene.authority.issue("tls.dev")
    canaries.watch_key("a host's key", key)
    one = applied("a Pod", web("team", port), scene)
    one["metadata"]["annotations"][PATHS] = json.dumps(
        [
            {"basePath": "/", "containerPort": port},
            {"basePath": "/private", "containerPort": port, "access": BY_PASSWORD},
        ]
    )
    one["spec"]["containers"][0]["env"] = [{"name": "PASSWORD", "value": canaries.mint("a Pod's environment")}]
    fields = {
        "api_key": canaries.mint("an API key"), "ssl_crt": certificate + key, "ssl_key": key,
        "clients_crt": scene.authority.pem, "password": canaries.mint("a field that is no key"),
        FIELD: make_passwords(canaries),
    }  # fmt: skip
    held = applied("a Secret", secret("team", **fields), scene)
    held["metadata"]["labels"] = {"note": canaries.mint("a Secret's label")}
    hosts = {"plain.dev": {}, "tls.dev": tls(client="clients.crt")}
    return [applied("a Namespace", namespace("team", hosts), scene), one, held]


def broken(scene: Scene) -> Iterator[Object]:
    """Make Namespaces with wrong secrets, each wrong in another way."""
    mint = scene.canaries.mint
    certificate, key = scene.authority.issue("broken.dev")
    _, other = scene.authority.issue("broken.dev")
    for name, pem in (("right", key), ("another", other)):
        scene.canaries.watch_key(f"a key that is {name}", pem)
    passphrase = mint("a passphrase").encode()
    locked = load_key(key, None).private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(passphrase))
    scene.canaries.watch("an encrypted key", locked)
    halves = b"\n".join(key.splitlines()[:2])
    pairs = {
        "encrypted": (certificate, locked), "of-another": (certificate, other), "cut": (certificate, halves),
        "swapped": (key, certificate), "empty": (certificate, b""), "twice": (certificate, key + other),
        "text": (mint("no certificate").encode(), mint("no PEM").encode()),
        "long": (certificate, key + mint("beside a key that is too long").encode() * 3000),
        "binary": (b"\0\xff" + mint("binary").encode(), b"\0" + key), "zero": (certificate, key.replace(b"M", b"\0")),
    }  # fmt: skip
    files = {"cut-htpasswd": make_passwords(scene.canaries)[:-5], "other-htpasswd": mint("no htpasswd").encode()}
    for name, passwords in files.items():
        yield namespace(name, {f"{name}.dev": {}})
        yield pod(name, "web", "127.9.9.9", [{"basePath": "/", "containerPort": 3000, "access": BY_PASSWORD}])
        yield secret(name, htpasswd=passwords)
    for number, (name, (chain, private)) in enumerate(pairs.items()):
        yield namespace(name, {f"{name}.dev": tls(client="ssl.crt" if number % 2 else None)})
        yield secret(name, ssl_crt=chain, ssl_key=private)
    keys: dict[str, Any] = {
        "no-base64": f"!{mint('an API key that is not base64')}", "null": None,
        "long-key": base64.b64encode(mint("an API key that is too long").encode() * 100).decode(),
        "number": 17, "within": {"value": mint("an object in a value's place")},
    }  # fmt: skip
    for name, value in keys.items():
        yield namespace(name, {f"{name}.dev": {}})
        yield pod(name, "web", "127.9.9.9", [{"basePath": "/", "containerPort": 3000}])
        yield {**secret(name), "data": {"api-key": value}}
    yield namespace("data-is-text", {"data-is-text.dev": {}})
    yield {**secret("data-is-text"), "data": mint("data that is text")}


@pytest.fixture
def cluster(scene: Scene, server: ApiServer, port: int) -> list[Object]:
    """Fill the server with good and broken secrets, and make it accept the scene's token."""
    whole = [*team(scene, port), *broken(scene)]
    server.load(whole)
    server.tokens = {scene.token: USER}
    return whole


def write_recording(path: Path, items: list[Object]) -> Path:
    readable = [one for one in items if one["metadata"].get("namespace") not in ("number", "within", "data-is-text")]
    path.write_text(json.dumps({"apiVersion": "v1", "kind": "List", "items": readable}))
    return path


def test_they_are_found(scene: Scene) -> None:
    """The search finds a secret in each encoding and in each kind of place."""
    value = scene.canaries.mint("one").encode()
    _, key = scene.authority.issue("a.dev")
    scene.canaries.watch_key("key", key)
    basic = base64.b64encode(b"user:" + value)
    for seen in (value, value.hex().encode(), basic, base64.urlsafe_b64encode(b"\xff" + value + b"\xff"), basic[6:]):
        assert scene.canaries.find(b"before " + seen + b" after") == {"one"}
    for seen in (key, *key.splitlines()[1:3], json.dumps(key.decode()).encode(), base64.b64encode(key)):
        assert "key" in scene.canaries.find(seen)
    (scene.out / value.decode()).mkdir()
    (scene.out / "open").write_bytes(value)
    (scene.out / "closed").write_bytes(value)
    (scene.out / "closed").chmod(0o600)
    (scene.out / "odd").touch(0o666)
    (scene.out / "odd").chmod(0o666)
    assert len(list(find_leaks(scene.canaries, scene.out, (scene.out,)))) == 3
    assert len(list(find_leaks(scene.canaries, scene.out))) == 4


@pytest.mark.parametrize("form", ["text", "json"])
def test_modes_that_end(scene: Scene, cluster: list[Object], form: str) -> None:
    """--once with and without an artefact, --diff, replay and their errors show no secret; only 0600 files hold any."""
    first, second = (scene.planted / f"{number}.json" for number in (1, 2))
    write_recording(first, cluster[:2])
    write_recording(second, cluster)
    how = ("--log-format", form)
    assert scene.run("--once", "--snapshot", second, *how) == 0
    assert scene.run("--once", "--snapshot", first, "--output", scene.out / "one", *how) == 0
    assert scene.run("--once", "--snapshot", second, "--output", scene.out / "two", *how) == 0
    assert scene.run("--once", "--snapshot", second, "--diff", scene.out / "one", "--strict", *how) == 1
    assert scene.run("--once", "--snapshot", first, "--diff", scene.out / "two", *how) == 1
    assert scene.run("replay", first, second, first, "--output", scene.out / "three", *how) == 0
    assert scene.run("--once", "--snapshot", "-", *how, stdin=second.read_bytes()) == 0
    certificates = {"SSL_CERT_DIR": str(scene.out / "outside")}
    assert scene.run("--once", "--snapshot", second, "--output", scene.out / "four", *how, **certificates) == 0
    kept = [path for path in scene.out.rglob("*") if path.is_file() and scene.canaries.find(path.read_bytes())]
    assert {path.name for path in kept} >= {"api-keys.conf", "certificate.key"}
    scene.check()


def test_replay_that_serves(scene: Scene, cluster: list[Object]) -> None:
    """Replay --serve shows no secret, and the title and environment of its nginx hold none."""
    recording = write_recording(scene.planted / "1.json", cluster)
    given = ("replay", "--serve", "--keep", "--output", scene.out / "served", recording)
    with command.start(*given, **scene.environment | free_ports()) as process:
        assert process.stdout
        lines = list(itertools.takewhile(lambda line: not line.startswith("serving on"), process.stdout))
        assert not [*find_in_processes(scene.canaries, find_below(process.pid))]
        process.terminate()
        rest = process.communicate(timeout=30)
    scene.hear("replay --serve", "".join([*lines, *rest]).encode())
    assert scene.run("replay", "--serve", recording, **free_ports()) == 0
    scene.check()


def free_ports() -> dict[str, str]:
    return {"PORT": str(free_port()), "SSL_PORT": str(free_port())}


def find_below(pid: int) -> list[int]:
    """Find all processes that a process started, directly or indirectly."""
    parents = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal():
            try:
                parents[int(entry.name)] = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
            except (FileNotFoundError, ProcessLookupError):
                continue
    found = [child for child, parent in parents.items() if parent == pid]
    return found + [below for child in found for below in find_below(child)]


def pod_environment(scene: Scene, server: ApiServer) -> dict[str, str]:
    account = scene.planted / "account"
    account.mkdir(exist_ok=True)
    (account / "token").write_text(scene.token)
    (account / "ca.crt").write_bytes(scene.authority.pem)
    return {
        "KUBECONFIG": "", "KUBERNETES_SERVICE_HOST": "127.0.0.1", "KUBERNETES_SERVICE_PORT": str(server.port),
        "DISPATCHER_SERVICE_ACCOUNT_DIR": str(account),
    }  # fmt: skip


Launch = Callable[..., RunningDaemon]


@pytest.fixture
def serving(scene: Scene, cluster: list[Object], server: ApiServer, launch: Launch) -> Callable[..., RunningDaemon]:
    """Start daemons that write below the scene's folder; `finish` ends them and keeps their output."""

    def start(*arguments: object, **settings: str) -> RunningDaemon:
        given = arguments or ("--serve", "--output", scene.out / "router", "--log-format", "json")
        daemon = launch(*given, folder="planted/daemon", **{**scene.environment, **settings})
        if "publish" not in arguments:  # whoever ends a daemon kills the nginx in its folder
            daemon.folder = scene.out / "router"
        return daemon

    return start


def finish(scene: Scene, daemon: RunningDaemon, number: int = signal.SIGTERM) -> int:
    code = daemon.end(number)
    daemon.close()
    scene.hear("the daemon", "\n".join(daemon.lines).encode("utf-8", "surrogateescape"))
    return code


@pytest.mark.parametrize("form", ["text", "json"])
def test_in_a_pod(scene: Scene, server: ApiServer, serving: Launch, form: str) -> None:
    """In a Pod, with changing keys, failing lists and a refused token, secrets are only in files of mode 0600."""
    daemon = serving(
        "--output", scene.out / "router", "--log-format", form, **pod_environment(scene, server), API_TIMEOUT="1",
        ACCESS_LOG="json", REQUEST_METRICS="on",
    )  # fmt: skip
    daemon.wait_for(lambda: daemon.ask("plain.dev", f"/?{scene.canaries.mint('a query')}") == 403)
    daemon.wait_for_line('"status":403')
    # Root's nginx has workers that cannot enter the folder of this test: they answer 500.
    guess = (scene.canaries.mint("a guessed user"), scene.canaries.mint("a guessed password"))
    url = f"http://127.0.0.1:{daemon.port}/private"
    assert httpx.get(url, headers={"Host": "plain.dev"}, auth=guess).status_code in (401, 500)
    server.put(secret("team", api_key=scene.canaries.mint("a second API key")))
    daemon.wait_for_line("of Namespace team")
    for fault, told in ((faults.HTML, "not JSON"), (faults.CUT, "list"), (faults.MALFORMED, "left out")):
        server.fail(fault, "/api/v1/*secrets*")
        server.put(secret("team", api_key=scene.canaries.mint("another API key")))
        daemon.wait_for_line(told)
        server.mend()
    said = [daemon.probe(path) for path in ("/healthz", "/readyz", "/x")]
    server.tokens = {}
    daemon.wait_for_line("401")
    said.append(daemon.probe("/readyz"))
    scene.hear("probes", repr(said).encode())
    for path in ("/", "/status.json", "/metrics", "/healthz", "/x"):
        scene.hear(f"admin port {path}", httpx.get(f"http://127.0.0.1:{daemon.admin_port}{path}").content)
    assert scene.said('"host":"plain.dev"')
    assert daemon.process
    assert not [*find_in_processes(scene.canaries, find_below(daemon.process.pid))]
    assert finish(scene, daemon) == 0
    scene.hear("requests", repr(server.requests).encode())
    scene.check()


def test_events_show_no_secret(scene: Scene, cluster: list[Object], server: ApiServer, serving: Launch) -> None:
    """No Kubernetes Event shows a secret, and neither does a router that writes Events or may not."""
    daemon = serving(**pod_environment(scene, server), EVENTS="on")
    daemon.wait_for(lambda: read_events(server))
    server.permit("events")
    daemon.wait_for_line("are forbidden")
    finish(scene, daemon)
    server.permit("events", "*")
    server.tokens[TOKEN] = USER
    connection = make_connection(scene.planted / "reporter", server, scene.authority)
    one = TimedReporter(connection)
    unreadable = ("number", "within", "data-is-text")
    one.read([item for item in cluster if item["metadata"].get("namespace") not in unreadable])
    one.turn_for(1200)
    connection.close()
    told = read_events(server)
    assert {event["reason"] for event in told} >= {"InvalidTLS", "InvalidAPIKey"}
    assert len(told) >= 15
    scene.hear("the Events", json.dumps(told).encode())
    scene.check()


def test_publishing_shows_no_secret(scene: Scene, server: ApiServer, serving: Launch) -> None:
    """Neither a publisher nor a router that reads what is published shows a secret, also if it is damaged."""
    server.put(HOME)
    for resource in ("secrets", "leases"):
        server.permit(resource, "*")
    kubeconfig = scene.configure(server.url, {"token": scene.token})
    publisher = serving("publish", "--log-format", "json", **kubeconfig)
    publisher.wait_for_line("applied")
    router = serving(**kubeconfig, SNAPSHOT_FROM="published")
    router.wait_for_line("applied")
    for name in list(server.store.present.collections["Secret"].objects):
        if name.startswith(f"{PLACE}/"):
            server.delete("Secret", *name.split("/"))
    router.wait_for_line("cannot be used")
    for daemon in (publisher, router):
        for path in ("/status.json", "/metrics", "/"):
            scene.hear(f"admin port {path}", httpx.get(f"http://127.0.0.1:{daemon.admin_port}{path}").content)
        assert finish(scene, daemon) == 0
    scene.check()


def test_killed_and_resumed(scene: Scene, server: ApiServer, serving: Launch) -> None:
    """Neither a daemon that is killed nor the next one leaves a secret where others can read it."""
    kubeconfig = scene.configure(server.url, {"token": scene.token})
    for step in range(3):
        daemon = serving(**kubeconfig)
        daemon.wait_for_line("applied" if step == 0 else "serving release")
        server.put(secret("team", api_key=scene.canaries.mint(f"API key {step}")))
        finish(scene, daemon, signal.SIGKILL)
    scene.check()


@pytest.mark.parametrize(
    "place", ["objects.normaliser.Normaliser.normalise", "routing.table.TableBuilder.build", "loop.reconcile.diff",
              "rendering.tree.TreeRenderer.render", "rendering.tree.quoting.render", "nginx.tester.run_test",
              "modes.once.Connection", "routing.tenant.read_pair", "status.log.compare",
              "cluster.source.ClusterSource.read", "cluster.credentials._authorize",
              "rendering.comparison._explain_items"],
)  # fmt: skip
def test_crash(scene: Scene, cluster: list[Object], server: ApiServer, place: str) -> None:
    """An error that shows all arguments of a stage shows no secret: the repr of a value hides its secrets."""
    recording = write_recording(scene.planted / "1.json", cluster)
    kubeconfig = scene.configure(server.url, {"token": scene.token})
    crash = {"CRASH": f"reconciler.{place}"}
    scene.run("--once", "--output", scene.out / "once", **kubeconfig)
    scene.run("--once", **kubeconfig, **crash)
    scene.run("--once", "--snapshot", recording, "--diff", scene.out / "once", **crash)
    scene.run("replay", "--serve", "--output", scene.out / "served", recording, **crash, **free_ports())
    scene.run("record", scene.out / "recorded", **kubeconfig, **crash)
    assert scene.said("ZeroDivisionError")
    scene.check()


def test_crash_of_the_daemon(scene: Scene, server: ApiServer, serving: Launch) -> None:
    """A bug in the loop ends the daemon, and its traceback holds no secret."""
    kubeconfig = scene.configure(server.url, {"token": scene.token})
    daemon = serving(**kubeconfig, CRASH="reconciler.nginx.sink.write_files")
    daemon.wait_for_line("ZeroDivisionError")
    assert finish(scene, daemon) not in (0, 2, 3)
    scene.check()


@pytest.mark.parametrize("how", ["segmentation fault", "says a key", "not there", "hangs"])
def test_faulty_nginx(scene: Scene, server: ApiServer, serving: Launch, nginx_binary: str, how: str) -> None:
    """What a faulty nginx prints about the file with the keys is not logged, and its failure shows no secret."""
    judge = scene.planted / "nginx"
    keys = '"$(cat current/api-keys.conf $PWD/releases/*/api-keys.conf 2>/dev/null | head -1)"'
    said = f'echo "nginx: [emerg] invalid parameter {keys} in /x/api-keys.conf:1" >&2; exit 1'
    fault = {
        "segmentation fault": "kill -SEGV $$",
        "says a key": said,
        "not there": "exit 127",
        "hangs": "exec sleep 5",
    }
    judge.write_text(f'#!/bin/sh\ncase "$1" in -[vV]) exec {nginx_binary} "$@" ;; esac\n{fault[how]}\n')
    judge.chmod(0o755)
    kubeconfig = scene.configure(server.url, {"token": scene.token})
    daemon = serving(**kubeconfig, NGINX_BINARY=str(judge), RELOAD_TIMEOUT="1")
    daemon.wait_for_line("error")
    judge.write_text(f'#!/bin/sh\ncase "$1" in -[vVt]) exec {nginx_binary} "$@" ;; esac\n{fault[how]}\n')
    told = len(daemon.lines)
    server.put(secret("team", api_key=scene.canaries.mint("a second API key")))
    if how == "says a key":
        daemon.wait_for(
            lambda: any(
                '"event": "nginx", "text": "api-keys.conf is malformed"' in line for line in daemon.lines[told:]
            )
        )
    finish(scene, daemon, signal.SIGKILL)
    scene.check()


def test_printing_and_recording(scene: Scene, server: ApiServer, serving: Launch) -> None:
    """What is printed and recorded holds no secret, except with --with-secrets: then the files have mode 0600."""
    kubeconfig = scene.configure(server.url, {"token": scene.token})
    for number, given in enumerate([("--log-format", "text"), ("record", scene.out / "every", "--every")]):
        daemon = serving(*given, **kubeconfig)
        daemon.wait_for_line("server_name plain.dev" if number == 0 else "recorded")
        server.put(secret("team", api_key=scene.canaries.mint(f"API key {number}"), other=scene.canaries.mint("other")))
        daemon.wait_for_line("recorded" if number else "http {", 2) if number else None
        assert finish(scene, daemon) == 0
    assert scene.run("record", scene.out / "once", **kubeconfig) == 0
    assert scene.run("record", scene.out / "once", "--log-format", "json", **kubeconfig) == 0
    assert scene.run("replay", scene.out / "once") == 0
    scene.check()
    assert scene.run("record", scene.out / "with", "--with-secrets", **kubeconfig) == 0
    found = scene.canaries.find((scene.out / "with" / "0001.json").read_bytes())
    assert "API key 1" in found
    assert not [what for what in found if "applied" in what or "Pod" in what or "label" in what]
    scene.check()


USERS: dict[str, Callable[[Scene], Object]] = {
    "token": lambda scene: {"token": scene.canaries.mint("a wrong token")},
    "token of two lines": lambda scene: {"token": f"{scene.canaries.mint('half of a token')}\nx"},
    "password": lambda scene: {"username": "admin", "password": scene.canaries.mint("a password")},
    "no base64": lambda scene: {"client-key-data": f"!{scene.canaries.mint('a key')}", "client-certificate-data": "!"},
    "no PEM": lambda scene: {
        name: base64.b64encode(scene.canaries.mint(name).encode()).decode()
        for name in ("client-key-data", "client-certificate-data")
    },
    "wrong type": lambda scene: {"token": {"value": scene.canaries.mint("a token within")}},
    "auth-provider": lambda scene: {
        "auth-provider": {"config": {"refresh-token": scene.canaries.mint("a refresh token")}}
    },
    "impersonation": lambda scene: {"as": f"\n{scene.canaries.mint('somebody')}", "token": "x"},
}


@pytest.mark.parametrize("user", USERS)
def test_users_that_are_refused(scene: Scene, cluster: list[Object], server: ApiServer, user: str) -> None:
    """Whatever is wrong with a user's credentials, no error shows them."""
    kubeconfig = scene.configure(server.url, USERS[user](scene))
    for given in (("--once",), ("--once", "--log-format", "json"), ("record", scene.out / "recorded")):
        assert scene.run(*given, **kubeconfig) in (2, 3)
    scene.hear("requests", repr(server.requests).encode())
    scene.check()


def test_clusters_that_are_refused(scene: Scene, cluster: list[Object], server: ApiServer) -> None:
    """Passwords in the URL of an API server or a proxy are not shown."""
    word = scene.canaries.mint("a password in a URL")
    for url in (f"https://admin:{word}@127.0.0.1:{server.port}", f"http://x:{word}@127.0.0.1:1", f"{word}://x"):
        assert scene.run("--once", **scene.configure(url, {"token": scene.token})) in (2, 3)
        assert scene.run("--once", **scene.configure(server.url, {"token": scene.token}, **{"proxy-url": url})) in (
            2,
            3,
        )
    scene.check()


def test_clients_key_and_plugins(scene: Scene, cluster: list[Object], server: ApiServer) -> None:
    """A client's key and a plugin's output are used, but neither shown nor written to a file, right or wrong."""
    certificate, key = scene.authority.issue("client")
    pair = {"client-certificate-data": certificate, "client-key-data": scene.canaries.watch_key("a client's key", key)}
    for resource in ("namespaces", "pods", "secrets"):
        server.permit(resource, "*", user="client")
    user = {name: base64.b64encode(value).decode() for name, value in pair.items()}
    assert scene.run("--once", **scene.configure(server.url, user)) == 0
    plugin = scene.planted / "plugin"
    credential = {"apiVersion": "client.authentication.k8s.io/v1", "kind": "ExecCredential"}
    good = json.dumps(credential | {"status": {"token": scene.token}})
    cut = good[:-2]
    odd = json.dumps(credential | {"status": {"token": 17, "clientKeyData": key.decode()}})
    entry = {
        "apiVersion": credential["apiVersion"], "command": str(plugin), "args": [scene.canaries.mint("an argument")],
        "env": [{"name": "PLUGIN_KEY", "value": scene.canaries.mint("a plugin's variable")}],
    }  # fmt: skip
    for text, code in ((good, 0), (cut, 2), (odd, 2), (f"{good} exit", 2)):
        plugin.write_text(f"#!/bin/sh\ncat <<'END'\n{text}\nEND\n{'exit 1' if text.endswith('exit') else ''}\n")
        plugin.chmod(0o755)
        for given in (("--once",), ("record", scene.out / "recorded")):
            assert scene.run(*given, **scene.configure(server.url, {"exec": entry})) == code
    plugin.unlink()
    assert scene.run("--once", **scene.configure(server.url, {"exec": entry})) == 2
    scene.check()


def test_plugin_of_the_daemon(scene: Scene, server: ApiServer, serving: Launch, nginx_binary: str) -> None:
    """A plugin's variables and output do not reach nginx: its environment holds none of the daemon's secrets."""
    plugin = scene.planted / "plugin"
    credential = {"apiVersion": "client.authentication.k8s.io/v1", "kind": "ExecCredential"}
    plugin.write_text(f"#!/bin/sh\necho '{json.dumps(credential | {'status': {'token': scene.token}})}'\n")
    plugin.chmod(0o755)
    variables = [{"name": "PLUGIN_KEY", "value": scene.canaries.mint("a plugin's variable")}]
    entry = {"apiVersion": credential["apiVersion"], "command": str(plugin), "env": variables}
    # nginx overwrites its environment with its title, so a script writes the environment down first.
    spy, seen = scene.planted / "nginx", scene.out / "environment"
    spy.write_text(f'#!/bin/sh\nenv >>{seen}\nexec {nginx_binary} "$@"\n')
    spy.chmod(0o755)
    daemon = serving(**scene.configure(server.url, {"exec": entry}), NGINX_BINARY=str(spy))
    daemon.wait_for(lambda: daemon.ask("plain.dev") == 403)
    assert daemon.process
    assert not [*find_in_processes(scene.canaries, find_below(daemon.process.pid))]
    assert finish(scene, daemon) == 0
    assert "\nPATH=" in seen.read_text()
    scene.check()


# Each text holds a secret in a place that is for something else.
TEXTS = (
    '{{"kind": "List", "items": [{{"kind": "Secret", "metadata": {{"name": "routing"}}, "data": "{0}"}}]}}',
    '{{"kind": "List", "items": [{{"kind": "Secret", "metadata": {{}}, "data": {{"api-key": "{0}" "x": 1}}}}]}}',
    '{{"kind": "{0}"}}', "[{0}]", "{0}", '{{"a": {0}}}', '"{0}',
    "kind: Secret\nmetadata: {{name: routing}}\nstringData:\n  api-key: !{0} x\n",
    "kind: Secret\nmetadata: {{name: routing}}\nstringData:\n  api-key: !{0}!x y\n",
    "kind: Secret\nmetadata: {{name: routing}}\nstringData:\n  api-key: *{0}\n",
    "kind: Secret\nmetadata: {{name: routing}}\nstringData:\n  api-key: &{0} [*{0}]\n",
    "kind: Secret\nmetadata: {{name: routing}}\nstringData:\n  api-key: %{0}\n",
    "kind: Secret\nmetadata: {{name: routing}}\nstringData:\n  api-key: {0}: x: {0}\n",
    "kind: Secret\nmetadata: {{name: routing}}\nstringData:\n  api-key: \"{0}\n",
    "%{0} 1\n---\n",
    "%TAG !{0}! x\n--- !{0}!\n",
    "kind: Secret\nmetadata: {{name: routing}}\nstringData:\n  ? {{{0}: x}}\n  : y\n",
    "kind: Secret\nmetadata: {{name: routing}}\nstringData:\n  api-key: !!int {0}\n",
    "kind: Secret\nmetadata: {{name: routing}}\nstringData:\n  api-key: !!binary {0}!\n",
    "kind: Secret\nmetadata: {{name: routing}}\nstringData: [{0}]\n",
)  # fmt: skip


def test_recordings_that_are_refused(scene: Scene) -> None:
    """An error about a recording or a kubeconfig names the fault, but not the text at that place."""
    value = scene.canaries.mint("a value in the wrong place")
    for number, text in enumerate(TEXTS):
        path = scene.planted / f"{number}.txt"
        path.write_text(text.format(value))
        for read in (lambda path: read_recordings([path]), lambda path: find_credentials({"KUBECONFIG": path})):
            try:
                scene.hear(path.name, repr(read(str(path))).encode())
            except (RecordingError, CredentialsError) as refused:
                scene.hear(path.name, str(refused).encode())
    assert scene.said("is not YAML")
    scene.check()


def test_settings_that_are_secrets(scene: Scene, server: ApiServer) -> None:
    """If a variable that has to name a file holds the file's content, no log shows it."""
    _, key = scene.authority.issue("a.dev")
    text = scene.canaries.watch_key("a key in a variable", key).decode()
    config = yaml.safe_dump({"users": [{"name": "x", "user": {"token": scene.canaries.mint("a token in a variable")}}]})
    token = scene.canaries.mint("another token in a variable")
    for settings in (
        {"SSL_KEY": text}, {"SSL_CERT": text}, {"SSL_KEY": f"{text}\n{text}"}, {"SSL_CERT_DIR": text},
        {"KUBECONFIG": config}, {"KUBECONFIG": f"token: {token}"}, {"KUBECONFIG": f'{{"token":"{token}"}}'},
        {"SSL_KEY": token}, {"SSL_CERT_DIR": token}, {"KUBECONFIG": token}, {"KUBECONFIG": f"{token}{'=' * 300}"},
        {"KUBECONFIG": f"{__file__}/{token}"},
    ):  # fmt: skip
        assert scene.run("--once", **settings) == 2
    scene.check()


def test_values_show_no_secret(monkeypatch: pytest.MonkeyPatch) -> None:
    """The repr of a plugin's entry or of an API key shows whose it is, and neither an argument nor the key."""
    held = Variable(name="A", value="t0p-s3cret")
    entry = Exec(command="/plugin", api_version="v1", args=["t0p-s3cret"], env=[held])
    assert f"{held} {entry}" == "Variable(A) Exec(/plugin)"
    shown: list[str] = []
    write = quoting.render

    def show(template: str, **given: Any) -> str:
        shown.append(repr(given))
        return write(template, **given)

    monkeypatch.setattr(quoting, "render", show)
    settings = read_settings({})
    listed = listing([namespace("team", {"a.dev": {}}), web("team", 3000), secret("team", api_key="t0p-s3cret")])
    render(build_table(normalise(listed, settings), settings, time.time()).routes, settings)
    assert "_ApiKey(" in "".join(shown)
    assert "t0p-s3cret" not in "".join(shown)


def test_no_core_dump_of_any_mode(scene: Scene, cluster: list[Object], server: ApiServer) -> None:
    """No mode that reads a live cluster leaves a core dump when it crashes."""
    server.fail(faults.HANG)
    kubeconfig = scene.configure(server.url, {"token": scene.token})
    modes = [("--once",), ("record", scene.out / "recorded"), (), ("--serve", "--output", scene.out / "router")]
    for number, given in enumerate(modes, 1):
        with command.start(*given, **scene.environment | kubeconfig | free_ports()) as process:
            server.wait_for(lambda _, seen=number: len(server.requests) >= seen)
            limits = Path(f"/proc/{process.pid}/limits").read_text()
            assert limits.partition("Max core file size")[2].split()[:2] == ["0", "0"], given
