"""The command: what it prints, what it writes, how it exits."""

import base64
import http.client
import json
import os
import pty
import signal
import stat
import subprocess
from pathlib import Path

import pytest
from support import objects
from support.command import COMMAND, environment, run, start
from support.objects import FIXTURES, WALKTHROUGH
from support.ports import free_port

LAST = WALKTHROUGH / "019-one-pod-unready.json"
CLEAN = WALKTHROUGH / "011-rolled-out.json"  # without any problem in it
BEFORE = WALKTHROUGH / "018-namespace-deleted.json"
KEY = base64.b64encode(b"rotated-secret").decode()
TLS = {"SSL_CERT": str(WALKTHROUGH / "default.crt"), "SSL_KEY": str(WALKTHROUGH / "default.key")}


def one_line(text: str) -> str:
    """Give the only line of a text."""
    (line,) = text.splitlines()
    return line


# Help and wrong input


@pytest.mark.parametrize("arguments", [["--help"], ["replay", "--help"]])
def test_help(arguments: list[str]) -> None:
    """Each command has --help."""
    shown = run(*arguments)
    assert (shown.returncode, shown.stderr) == (0, "")
    assert "--output DIR" in shown.stdout


def test_version() -> None:
    """--version names the command and its version."""
    assert run("--version").stdout.startswith("dispatcher 0.")


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ([], "there is no cluster"),
        (["--once"], "there is no cluster"),
        (["--snapshot", LAST], "go with --once"),
        (["--strict"], "go with --once"),
        (["--frobnicate"], "unrecognized arguments: --frobnicate"),
        (["replay"], "required: PATH"),
        (["replay", LAST, "--keep"], "--keep goes with --serve"),
        (["replay", LAST, "--serve", "--no-validate"], "--no-validate does not go with --serve"),
        (["--once", "--diff", "/nowhere", "replay", LAST], "do not go with replay"),
        (["--no-validate", "replay", LAST, "--serve"], "--no-validate does not go with --serve"),
        (["--serve"], "--serve needs --output DIR"),
        (["--serve", "--once"], "--serve does not go with --once"),
        (["record"], "required: DIR"),
        (["--serve", "record", "/nowhere"], "--serve, --strict and --no-validate do not go with record"),
        (["--once", "--snapshot", "/nowhere.json"], "/nowhere.json: cannot be read: No such file or directory"),
        (["replay", "/nowhere"], "/nowhere: cannot be read: No such file or directory"),
        (["--once", "--snapshot", CLEAN, "--diff", "/nowhere"], "/nowhere: is not an artefact"),
        (["--log-format", "xml"], "invalid choice: 'xml'"),
    ],
)
def test_wrong_arguments(arguments: list[object], told: str) -> None:
    """Wrong arguments cause an error of one line and a non-zero exit code."""
    refused = run(*arguments)
    assert refused.returncode in (2, 3)
    assert told in one_line(refused.stderr)
    assert refused.stdout == ""


def test_all_wrong_settings_at_once() -> None:
    """All wrong settings are reported at once, one line each, and the exit code is 2."""
    refused = run("--once", "--snapshot", LAST, PORT="0", API_KEY_HEADER="a b", HOSTS_ANNOTATION="x y")
    assert refused.returncode == 2
    assert [line.split(":")[2].strip() for line in refused.stderr.splitlines()] == [
        "HOSTS_ANNOTATION", "API_KEY_HEADER", "PORT",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"", "is empty"),
        (b"{", "line 1, column 2: is not JSON"),
        (b'{"kind": "Status", "apiVersion": "v1", "status": "Failure"}', "is a Status"),
        (b"\xff\xfe\x00", "is not"),
        (b"<html>", "is neither a v1 List nor an object"),
        (b'{"kind": "List", "items": [{"kind": "Pod", "apiVersion": "v1", "metadata": {"name": 7}}]}',
         "items[0] (Pod): metadata.name is an integer; expected: a string"),
    ],
)  # fmt: skip
def test_wrong_recording(tmp_path: Path, content: bytes, told: str) -> None:
    """If a file is not a recording, one line names file, place and fault; exit code 2; nothing is written."""
    recording, output = tmp_path / "recording.json", tmp_path / "out"
    recording.write_bytes(content)
    refused = run("--once", "--snapshot", recording, "--output", output)
    assert refused.returncode == 2
    assert str(recording) in one_line(refused.stderr)
    assert told in refused.stderr
    assert not output.exists()


# --once


def test_configuration_on_standard_output(nginx_binary: str, tmp_path: Path) -> None:
    """Without --output, nginx.conf is printed to standard output, without secrets, and problems to standard error."""
    shown = run("--once", "--snapshot", LAST, PORT=str(free_port()), **TLS)
    assert shown.returncode == 0
    assert "server_name test.k8s.local;" in shown.stdout
    assert KEY not in shown.stdout + shown.stderr
    secure, _, shared = shown.stderr.splitlines()
    assert secure.startswith("problem: Namespace secure: host mtls.dev ssl.certificate does not name the host")
    assert shared.startswith("problem: Namespace team-b: host test.k8s.local belongs to Namespace test-namespace")


def test_artefact(nginx_binary: str, tmp_path: Path) -> None:
    """The artefact is the same tree each time; only the owner can read API keys and certificates' keys."""
    trees = [tmp_path / "deep" / name for name in ("one", "two")]
    for tree in trees:
        assert run("--once", "--snapshot", LAST, "--output", tree, PORT="8080", **TLS).returncode == 0
    one, two = ({str(path.relative_to(tree)): path for path in tree.rglob("*") if path.is_file()} for tree in trees)
    assert {name: path.read_bytes() for name, path in one.items()} == {
        name: path.read_bytes() for name, path in two.items()
    }
    secret = {name for name, path in one.items() if stat.S_IMODE(path.stat().st_mode) == 0o600}
    assert secret == {
        "api-keys.conf",
        *(f"ssl/{host}/certificate.key" for host in ("_default", "mtls.dev", "secure.dev")),
    }
    assert [name for name, path in one.items() if KEY.encode() in path.read_bytes()] == ["api-keys.conf"]
    assert not [path for path in tmp_path.rglob(".*") if path.is_file() or path.is_dir()]


def test_artefact_runs_as_it_lies(nginx_binary: str, tmp_path: Path) -> None:
    """`nginx -p DIR -c nginx.conf` runs the artefact, wherever it has been moved to."""
    port, made, moved = free_port(), tmp_path / "made", tmp_path / "moved"
    settings = {"PORT": str(port), "SSL_PORT": str(free_port()), **TLS}
    assert run("--once", "--snapshot", LAST, "--output", made, **settings).returncode == 0
    made.rename(moved)
    nginx = subprocess.Popen([nginx_binary, "-e", "stderr", "-p", moved, "-c", "nginx.conf", "-g", "daemon off;"])
    try:
        answer = None
        while answer is None:
            assert nginx.poll() is None
            connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
            try:
                connection.request("GET", "/dispatcher/status", headers={"Host": "nobody"})
                answer = connection.getresponse().status
            except ConnectionRefusedError:
                continue
            finally:
                connection.close()
        assert answer == 200
    finally:
        nginx.send_signal(signal.SIGQUIT)
        nginx.wait(20)


def test_merged_recordings_and_standard_input(tmp_path: Path) -> None:
    """Several recordings in any format are merged into one cluster; one of them can come from standard input."""
    items = json.loads(LAST.read_text())["items"]
    parts = {kind: [item for item in items if item["kind"] == kind] for kind in ("Namespace", "Pod", "Secret")}
    paths = []
    for kind, some in parts.items():
        paths.append(tmp_path / f"{kind}.yaml")
        paths[-1].write_text("".join(f"---\n{json.dumps(item)}\n" for item in some))
    whole = run("--once", "--snapshot", LAST).stdout
    assert run("--once", "--snapshot", *paths).stdout == whole
    assert run("--once", "--snapshot", *paths[:2], "-", stdin=paths[2].read_bytes()).stdout == whole
    assert run("--once", "--snapshot", "-", stdin=LAST.read_bytes()).stdout == whole


def test_strict() -> None:
    """With --strict, any problem makes the exit code 1."""
    assert run("--once", "--snapshot", LAST, "--strict").returncode == 1
    assert run("--once", "--snapshot", CLEAN, "--strict").returncode == 0


def test_without_nginx(tmp_path: Path) -> None:
    """If nginx is absent, one line warns about it; with --no-validate there is no warning."""
    output = tmp_path / "out"
    made = run("--once", "--snapshot", CLEAN, "--output", output, NGINX_BINARY="no-such-nginx")
    assert made.returncode == 0
    assert (
        one_line(made.stderr) == "dispatcher: warning: no-such-nginx does not exist, so the configuration is not tested"
    )
    assert (output / "nginx.conf").is_file()
    silent = run("--once", "--snapshot", CLEAN, "--no-validate", NGINX_BINARY="no-such-nginx")
    assert (silent.returncode, silent.stderr) == (0, "")


def test_nginx_refuses(nginx_binary: str, tmp_path: Path) -> None:
    """If nginx refuses the configuration, one line says why, and the old artefact stays."""
    output = tmp_path / "out"
    assert run("--once", "--snapshot", BEFORE, "--output", output).returncode == 0
    before = (output / "nginx.conf").read_bytes()
    # This host name cannot be resolved, so nginx cannot start with it.
    refused = run("--once", "--snapshot", LAST, "--output", output, DEFAULT_LOCATION_RETURN="http://nobody.invalid/")
    assert refused.returncode == 3
    error = [line for line in refused.stderr.splitlines() if "error" in line]
    assert 'nginx refuses the configuration: host not found in upstream "nobody.invalid"' in one_line("\n".join(error))
    assert (output / "nginx.conf").read_bytes() == before


def test_health_checks_need_the_module(nginx_binary: str) -> None:
    """If nginx lacks the module for health checks, the error names the module."""
    refused = run("--once", "--snapshot", LAST, NGINX_ENABLE_HEALTH_CHECKS="true")
    assert refused.returncode == 3
    assert "nginx_upstream_check_module" in refused.stderr


def test_no_room(tmp_path: Path) -> None:
    """If a file cannot be written whole, one line says so, and the old artefact stays."""
    output = tmp_path / "out"
    assert run("--once", "--snapshot", CLEAN, "--output", output).returncode == 0
    before = {path: path.read_bytes() for path in output.rglob("*") if path.is_file()}
    limited = ["sh", "-c", 'ulimit -f 1; exec "$@"', "sh", COMMAND, "--once", "--snapshot", BEFORE, "--output", output]
    refused = subprocess.run(limited, env=environment(), capture_output=True, text=True, timeout=60, check=False)
    assert refused.returncode == 3
    assert [line for line in refused.stderr.splitlines() if "cannot be written: File too large" in line]
    assert before == {path: path.read_bytes() for path in output.rglob("*") if path.is_file()}
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_certificates_below_an_explicit_folder(nginx_binary: str, tmp_path: Path) -> None:
    """With SSL_CERT_DIR, tenants' certificates are written below it, and nginx.conf names them there."""
    output, folder = tmp_path / "out", tmp_path / "certificates"
    made = run("--once", "--snapshot", LAST, "--output", output, SSL_CERT_DIR=str(folder), **TLS)
    assert made.returncode == 0, made.stderr
    assert f"ssl_certificate_key {folder}/secure.dev/certificate.key;" in (output / "nginx.conf").read_text()
    assert stat.S_IMODE((folder / "secure.dev" / "certificate.key").stat().st_mode) == 0o600
    again = run("--once", "--snapshot", LAST, "--diff", output, SSL_CERT_DIR=str(folder), **TLS)
    assert (again.returncode, again.stdout) == (0, "")


def test_public_and_private() -> None:
    """Two routers with different settings serve the public and the private annotations of one recording."""
    recording = WALKTHROUGH / "017-public-and-private-annotations.json"
    for kind, host in (("public", "test.k8s.com"), ("private", "test.k8s.local")):
        shown = run(
            "--once", "--snapshot", recording,
            HOSTS_ANNOTATION=f"{objects.HOSTS}.{kind}", PATHS_ANNOTATION=f"{objects.PATHS}.{kind}",
        )  # fmt: skip
        names = [line.split()[1] for line in shown.stdout.splitlines() if line.strip().startswith("server_name ")]
        assert names == ['"";', f"{host};"]


# --diff


def test_diff(tmp_path: Path) -> None:
    """--diff prints what would change in routing; the exit code is 0 if nothing would, 1 if something would."""
    output = tmp_path / "out"
    run("--once", "--snapshot", BEFORE, "--output", output)
    same = run("--once", "--snapshot", BEFORE, "--diff", output)
    assert (same.returncode, same.stdout) == (0, "")
    other = run("--once", "--snapshot", LAST, "--diff", output)
    assert other.returncode == 1
    assert [line.split(" (")[0] for line in other.stdout.splitlines()] == [
        "- pod test-namespace/nodejs-k8s-env-6c898c6464-5cz29 for /env",
        "- pod test-namespace/nodejs-k8s-env-6c898c6464-5cz29 for /nodejs",
    ]


def test_diff_of_secrets(tmp_path: Path) -> None:
    """--diff says that keys and certificates changed, and shows no value of them."""
    output = tmp_path / "out"
    before, after = (WALKTHROUGH / name for name in ("008-api-key.json", "009-api-key-rotated.json"))
    run("--once", "--snapshot", before, "--output", output)
    changed = run("--once", "--snapshot", after, "--diff", output)
    assert (changed.returncode, changed.stdout) == (1, "~ key of Namespace test-namespace (changed)\n")


@pytest.mark.parametrize("text", ["PASSWORD=hunter2 x", "/Shop QUJD;", "/shop QUJD; more", "\0=a b\0"])
def test_diff_shows_nothing_of_another_file(tmp_path: Path, text: str) -> None:
    """A manipulated artefact cannot make --diff print another file, neither by its content nor by a link to it."""
    output, other = tmp_path / "out", tmp_path / "other"
    run("--once", "--snapshot", BEFORE, "--output", output)
    other.write_text(f"{text}\n")
    keys = output / "api-keys.conf"
    keys.write_text(other.read_text())
    refused = run("--once", "--snapshot", LAST, "--diff", output)
    assert (refused.returncode, refused.stdout) == (2, "")
    assert refused.stderr.endswith("is not an artefact of this version: routes.jsonl or api-keys.conf is malformed\n")
    keys.unlink()
    keys.symlink_to(other)
    refused = run("--once", "--snapshot", LAST, "--diff", output)
    assert (refused.returncode, refused.stdout) == (3, "")
    assert refused.stderr.endswith("is not a plain file\n")


# replay


def test_replay() -> None:
    """Replay prints for each recording, in order, what the loop did."""
    told = run("replay", WALKTHROUGH, **TLS)
    assert (told.returncode, told.stderr) == (0, "")
    steps = [line for line in told.stdout.splitlines() if not line.startswith(" ")]
    assert [line.split()[1].rstrip(":") for line in steps] == [
        *("applied", "applied", "applied", "idle", "applied", "idle"), *["applied"] * 10, "idle", "applied", "applied",
    ]  # fmt: skip
    expected = "".join((path.with_suffix(".outcome")).read_text() for path in sorted(WALKTHROUGH.glob("*.json")))
    assert without_names(told.stdout) == without_names(expected)


def without_names(text: str) -> list[str]:
    """Leave out the releases' names: if a tree has secrets, its name differs in each installation."""
    return [line.rpartition(" ")[0] if " applied " in line else line for line in text.splitlines()]


def test_replay_in_json() -> None:
    """With --log-format json, each event is a line of JSON, also problems and changes."""
    told = run("replay", WALKTHROUGH, "--log-format", "json", **TLS)
    events = [json.loads(line) for line in told.stdout.splitlines()]
    assert {event["event"] for event in events} == {"applied", "idle", "change", "problem", "gone"}
    assert {
        "level": "info",
        "event": "idle",
        "recording": "006-noise-only.json",
        "why": "nothing changed that routing reads",
        "objects": [],
    } in events
    assert all(set(event) == {"level", "event", "kind", "namespace", "name", "what", "why", "expected", "reason"}
               for event in events if event["event"] in ("problem", "gone"))  # fmt: skip
    again = run("--log-format", "json", "replay", WALKTHROUGH, **TLS)
    assert len(again.stdout.splitlines()) == len(events)


def test_odd_file_names_in_json(tmp_path: Path) -> None:
    """A recording with a name that is not UTF-8 is printed in JSON too."""
    recording = Path(os.fsdecode(os.fsencode(tmp_path) + b"/\xff.json"))
    recording.write_bytes(CLEAN.read_bytes())
    told = run("replay", recording, "--log-format", "json")
    assert told.returncode == 0
    assert json.loads(told.stdout.splitlines()[0])["recording"] == "\udcff.json"


def test_replay_strict() -> None:
    """Replay --strict exits with 1 if any step has a problem."""
    assert run("replay", WALKTHROUGH, "--strict", **TLS).returncode == 1


def test_replay_goes_on_behind_an_error(nginx_binary: str, tmp_path: Path) -> None:
    """An error in one step is reported, the later steps are still tried, and the exit code is 3."""
    told = run("replay", WALKTHROUGH, "--output", "/dev/full/out")
    assert told.returncode == 3
    assert len([line for line in told.stderr.splitlines() if "cannot be written" in line]) == 19


def test_replay_writes_the_last_tree(tmp_path: Path) -> None:
    """Replay --output leaves the tree of the last step."""
    run("replay", WALKTHROUGH, "--output", tmp_path / "replayed")
    run("--once", "--snapshot", LAST, "--output", tmp_path / "once")
    assert (tmp_path / "replayed" / "nginx.conf").read_bytes() == (tmp_path / "once" / "nginx.conf").read_bytes()


def test_replay_serve(nginx_binary: str) -> None:
    """Replay --serve runs a real nginx during the whole replay, and ends it afterwards."""
    port = free_port()
    told = run("replay", WALKTHROUGH, "--serve", PORT=str(port), SSL_PORT=str(free_port()), **TLS)
    assert (told.returncode, told.stdout.count(": applied ")) == (0, 16), told.stderr
    with pytest.raises(ConnectionRefusedError):
        http.client.HTTPConnection("127.0.0.1", port, timeout=20).request("GET", "/")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT])
def test_replay_keeps_serving_until_a_signal(nginx_binary: str, number: signal.Signals) -> None:
    """Replay --serve --keep serves until a signal comes, then ends nginx and exits with 0."""
    port = free_port()
    with start("replay", LAST, "--serve", "--keep", PORT=str(port)) as process:
        assert process.stdout
        assert process.stdout.readline().startswith("019-one-pod-unready.json: applied")
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
        connection.request("GET", "/dispatcher/status", headers={"Host": "nobody"})
        assert connection.getresponse().status == 200
        connection.close()
        while "until a signal comes" not in process.stdout.readline():
            assert process.poll() is None
        process.send_signal(number)
        process.communicate(timeout=30)
        assert process.returncode == 0
    with pytest.raises(ConnectionRefusedError):
        http.client.HTTPConnection("127.0.0.1", port, timeout=20).request("GET", "/")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT])
def test_signal_leaves_nothing(tmp_path: Path, number: signal.Signals) -> None:
    """A signal during nginx's test ends the command with 128 plus its number, and the folder with keys is removed."""
    slow, scratch = tmp_path / "nginx", tmp_path / "scratch"
    os.mkfifo(tmp_path / "tested")
    slow.write_text(f'#!/bin/sh\ncase "$1" in -t) echo >{tmp_path}/tested; exec sleep 60 ;; esac\nexec nginx "$@"\n')
    slow.chmod(0o755)
    scratch.mkdir()
    with start("--once", "--snapshot", LAST, NGINX_BINARY=str(slow), TMPDIR=str(scratch), **TLS) as process:
        (tmp_path / "tested").read_text()
        assert list(scratch.glob("*/ssl"))
        process.send_signal(number)
        process.communicate(timeout=30)
    assert process.returncode == 128 + number
    assert list(scratch.iterdir()) == []


def test_hang_up_that_is_ignored(tmp_path: Path) -> None:
    """Under nohup, SIGHUP stays ignored."""
    with subprocess.Popen(
        ["nohup", COMMAND, "replay", LAST, "--serve", "--keep"], env=environment(PORT=str(free_port())),
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
    ) as process:  # fmt: skip
        assert process.stdout
        while "until a signal comes" not in process.stdout.readline():
            assert process.poll() is None
        caught = Path(f"/proc/{process.pid}/status").read_text().partition("SigIgn:")[2].split()[0]
        assert int(caught, 16) & 1 << (signal.SIGHUP - 1)
        process.terminate()


def test_no_core_dump_of_recordings() -> None:
    """If recordings are served, neither the command nor its nginx leaves a core dump: both hold keys."""
    with start("replay", LAST, "--serve", "--keep", PORT=str(free_port())) as process:
        assert process.stdout
        while "until a signal comes" not in process.stdout.readline():
            assert process.poll() is None
        children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
        assert children
        for pid in (process.pid, *children):
            limits = Path(f"/proc/{pid}/limits").read_text()
            assert limits.partition("Max core file size")[2].split()[:2] == ["0", "0"]


@pytest.mark.parametrize("mode", ["--once", "replay"])
def test_nobody_else_writes_what_is_made(tmp_path: Path, mode: str) -> None:
    """Even under a umask of 0, neither the group nor others may write to a created file or folder."""
    given = {"--once": ["--once", "--snapshot", LAST], "replay": ["replay", "--serve", LAST]}[mode]
    before = os.umask(0)
    try:
        ended = run(
            *given, "--output", tmp_path / "out" / "tree", PORT=str(free_port()), SSL_PORT=str(free_port()),
            SSL_CERT_DIR=str(tmp_path / "out" / "certificates"), **TLS,
        )  # fmt: skip
    finally:
        os.umask(before)
    assert ended.returncode == 0, ended.stderr
    made = [path for path in (tmp_path / "out").rglob("*") if not path.is_symlink()]
    assert any(path.name == "certificates" for path in made)
    assert [path for path in made if path.lstat().st_mode & 0o022 and not path.is_socket()] == []


def test_nothing_to_keep(nginx_binary: str) -> None:
    """If no step could be served, --keep does not wait for a signal, and the exit code is 3."""
    failed = run(
        "replay", LAST, "--serve", "--keep", PORT=str(free_port()), DEFAULT_LOCATION_RETURN="http://no.invalid"
    )
    assert failed.returncode == 3


def test_a_key_given_for_its_file_is_not_told(tmp_path: Path) -> None:
    """If SSL_KEY is set to the key itself, the error shows no part of the key."""
    text = (WALKTHROUGH / "default.key").read_text()
    refused = run("--once", "--snapshot", LAST, SSL_KEY=text, SSL_CERT=str(WALKTHROUGH / "default.crt"))
    assert refused.returncode == 2
    assert not [line for line in text.split() if line[:20] in refused.stderr]


def test_port_is_taken(nginx_binary: str) -> None:
    """If another program uses the port, one line says so, and the exit code is 3."""
    port = free_port()
    with start("replay", LAST, "--serve", "--keep", PORT=str(port)) as first:
        assert first.stdout
        assert first.stdout.readline()
        second = run("replay", LAST, "--serve", PORT=str(port))
        assert second.returncode == 3
        assert one_line(second.stderr) == (
            f"dispatcher: error: {LAST.name}: nginx ended with exit code 1: 127.0.0.1:{port} is in use by another "
            "program"
        )


def test_one_folder_has_one_router(nginx_binary: str, tmp_path: Path) -> None:
    """A second router refuses the folder of a running one."""
    with start("replay", LAST, "--serve", "--keep", "--output", tmp_path, PORT=str(free_port())) as first:
        assert first.stdout
        assert first.stdout.readline()
        second = run("replay", LAST, "--serve", "--output", tmp_path, PORT=str(free_port()))
        assert second.returncode == 3
        assert "another dispatcher serves this folder" in one_line(second.stderr)


# Terminals


def test_colour_only_at_a_terminal() -> None:
    """Output is in colour only at a terminal, and not if NO_COLOR is set."""
    assert "\033[" not in run("replay", WALKTHROUGH).stdout
    assert "\033[" in at_a_terminal({})
    assert "\033[" not in at_a_terminal({"NO_COLOR": "1"})


def at_a_terminal(settings: dict[str, str]) -> str:
    ours, theirs = pty.openpty()
    shown = b""
    with subprocess.Popen(
        [COMMAND, "replay", FIXTURES / "hosts"], env=environment(TERM="xterm", **settings), stdout=theirs
    ):
        os.close(theirs)
        try:
            while piece := os.read(ours, 65536):
                shown += piece
        except OSError:  # the other side is closed
            pass
        os.close(ours)
    return shown.decode()


def test_a_closed_pipe_is_no_traceback() -> None:
    """If the reader of a pipe goes away, the command ends without a traceback."""
    with start("replay", WALKTHROUGH) as process:
        assert process.stdout
        process.stdout.close()
        assert process.stderr
        assert "Traceback" not in process.stderr.read()
