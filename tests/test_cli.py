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
    """--help is there on everything."""
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
    """Wrong arguments get one line and a non-zero exit."""
    refused = run(*arguments)
    assert refused.returncode in (2, 3)
    assert told in one_line(refused.stderr)
    assert refused.stdout == ""


def test_all_wrong_settings_at_once() -> None:
    """Wrong settings are told all at once, one line each, exit 2."""
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
    """A file that is no recording gets one line with file, place and fault; exit 2; nothing is written."""
    recording, output = tmp_path / "recording.json", tmp_path / "out"
    recording.write_bytes(content)
    refused = run("--once", "--snapshot", recording, "--output", output)
    assert refused.returncode == 2
    assert str(recording) in one_line(refused.stderr)
    assert told in refused.stderr
    assert not output.exists()


# --once


def test_configuration_on_standard_output(nginx_binary: str, tmp_path: Path) -> None:
    """Without --output nginx.conf goes to standard output, without any secret in it; problems go to standard error."""
    shown = run("--once", "--snapshot", LAST, PORT=str(free_port()), **TLS)
    assert shown.returncode == 0
    assert "server_name test.k8s.local;" in shown.stdout
    assert KEY not in shown.stdout + shown.stderr
    assert one_line(shown.stderr).startswith(
        "problem: Namespace team-b: host test.k8s.local path '/nodejs' is taken by"
    )


def test_artefact(nginx_binary: str, tmp_path: Path) -> None:
    """The artefact is the same tree each time; keys and certificates' keys are for the owner alone."""
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
    """Several recordings are merged into one cluster, in any format, standard input among them."""
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
    """--strict makes any problem exit 1."""
    assert run("--once", "--snapshot", LAST, "--strict").returncode == 1
    assert run("--once", "--snapshot", CLEAN, "--strict").returncode == 0


def test_without_nginx(tmp_path: Path) -> None:
    """Where nginx is absent that is one line of warning, and none with --no-validate."""
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
    """What nginx refuses is told in one line, and the old artefact stays."""
    output = tmp_path / "out"
    assert run("--once", "--snapshot", BEFORE, "--output", output).returncode == 0
    before = (output / "nginx.conf").read_bytes()
    # No host of this name is known to anyone, so nginx cannot start with it.
    refused = run("--once", "--snapshot", LAST, "--output", output, DEFAULT_LOCATION_RETURN="http://nobody.invalid/")
    assert refused.returncode == 3
    error = [line for line in refused.stderr.splitlines() if "error" in line]
    assert 'nginx refuses the configuration: host not found in upstream "nobody.invalid"' in one_line("\n".join(error))
    assert (output / "nginx.conf").read_bytes() == before


def test_health_checks_need_the_module(nginx_binary: str) -> None:
    """Health checks with an nginx that has no such module are told as that."""
    refused = run("--once", "--snapshot", LAST, NGINX_ENABLE_HEALTH_CHECKS="true")
    assert refused.returncode == 3
    assert "nginx_upstream_check_module" in refused.stderr


def test_no_room(tmp_path: Path) -> None:
    """Where a file cannot be written whole that is one line, and the old artefact stays."""
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
    """With SSL_CERT_DIR tenants' certificates stand below it, and nginx.conf names them so."""
    output, folder = tmp_path / "out", tmp_path / "certificates"
    made = run("--once", "--snapshot", LAST, "--output", output, SSL_CERT_DIR=str(folder), **TLS)
    assert made.returncode == 0, made.stderr
    assert f"ssl_certificate_key {folder}/secure.dev/certificate.key;" in (output / "nginx.conf").read_text()
    assert stat.S_IMODE((folder / "secure.dev" / "certificate.key").stat().st_mode) == 0o600
    again = run("--once", "--snapshot", LAST, "--diff", output, SSL_CERT_DIR=str(folder), **TLS)
    assert (again.returncode, again.stdout) == (0, "")


def test_public_and_private() -> None:
    """Two routers with settings of their own serve one recording's public and private annotations."""
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
    """--diff tells what would change in routing terms; exit 0 where nothing would, 1 where something would."""
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
    """Of keys and certificates --diff tells that they changed, and no value."""
    output = tmp_path / "out"
    before, after = (WALKTHROUGH / name for name in ("008-api-key.json", "009-api-key-rotated.json"))
    run("--once", "--snapshot", before, "--output", output)
    changed = run("--once", "--snapshot", after, "--diff", output)
    assert (changed.returncode, changed.stdout) == (1, "~ key of Namespace test-namespace (changed)\n")


@pytest.mark.parametrize("text", ["PASSWORD=hunter2 x", "/Shop QUJD;", "/shop QUJD; more", "\0=a b\0"])
def test_diff_shows_nothing_of_another_file(tmp_path: Path, text: str) -> None:
    """Who writes the artefact that --diff reads cannot have it print another file, by its place or by its content."""
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
    assert refused.stderr.endswith("is a link or something else than a file\n")


# replay


def test_replay() -> None:
    """Replay tells of each recording what the loop did, in order."""
    told = run("replay", WALKTHROUGH, **TLS)
    assert (told.returncode, told.stderr) == (0, "")
    steps = [line for line in told.stdout.splitlines() if not line.startswith(" ")]
    assert [line.split()[1].rstrip(":") for line in steps] == [
        *("applied", "applied", "idle", "idle", "applied", "idle"), *["applied"] * 10, "idle", "applied", "applied",
    ]  # fmt: skip
    expected = "".join((path.with_suffix(".outcome")).read_text() for path in sorted(WALKTHROUGH.glob("*.json")))
    assert without_names(told.stdout) == without_names(expected)


def without_names(text: str) -> list[str]:
    """Leave out the releases' names: they are another installation's own once there are secrets."""
    return [line.rpartition(" ")[0] if " applied " in line else line for line in text.splitlines()]


def test_replay_in_json() -> None:
    """With --log-format json each event is a line of JSON, problems and changes too."""
    told = run("replay", WALKTHROUGH, "--log-format", "json", **TLS)
    events = [json.loads(line) for line in told.stdout.splitlines()]
    assert {event["event"] for event in events} == {"applied", "idle", "change", "problem", "gone"}
    assert {
        "event": "idle",
        "recording": "006-noise-only.json",
        "why": "nothing changed that routing reads",
        "objects": [],
    } in events
    assert all(set(event) == {"event", "kind", "namespace", "name", "what", "why", "expected"}
               for event in events if event["event"] in ("problem", "gone"))  # fmt: skip
    again = run("--log-format", "json", "replay", WALKTHROUGH, **TLS)
    assert len(again.stdout.splitlines()) == len(events)


def test_odd_file_names_in_json(tmp_path: Path) -> None:
    """A recording whose name is no UTF-8 is told in JSON too."""
    recording = Path(os.fsdecode(os.fsencode(tmp_path) + b"/\xff.json"))
    recording.write_bytes(CLEAN.read_bytes())
    told = run("replay", recording, "--log-format", "json")
    assert told.returncode == 0
    assert json.loads(told.stdout.splitlines()[0])["recording"] == "\udcff.json"


def test_replay_strict() -> None:
    """Replay --strict exits 1 when any problem was seen."""
    assert run("replay", WALKTHROUGH, "--strict", **TLS).returncode == 1


def test_replay_goes_on_behind_an_error(nginx_binary: str, tmp_path: Path) -> None:
    """An error of one step is told, the steps behind it are tried, and the exit is 3."""
    told = run("replay", WALKTHROUGH, "--output", "/dev/full/out")
    assert told.returncode == 3
    assert len([line for line in told.stderr.splitlines() if "cannot be written" in line]) == 19


def test_replay_writes_the_last_tree(tmp_path: Path) -> None:
    """Replay --output leaves the tree of the last step."""
    run("replay", WALKTHROUGH, "--output", tmp_path / "replayed")
    run("--once", "--snapshot", LAST, "--output", tmp_path / "once")
    assert (tmp_path / "replayed" / "nginx.conf").read_bytes() == (tmp_path / "once" / "nginx.conf").read_bytes()


def test_replay_serve(nginx_binary: str) -> None:
    """Replay --serve runs a real nginx through the whole replay, and leaves none behind."""
    port = free_port()
    told = run("replay", WALKTHROUGH, "--serve", PORT=str(port), SSL_PORT=str(free_port()), **TLS)
    assert (told.returncode, told.stdout.count(": applied ")) == (0, 15), told.stderr
    with pytest.raises(ConnectionRefusedError):
        http.client.HTTPConnection("127.0.0.1", port, timeout=20).request("GET", "/")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT])
def test_replay_keeps_serving_until_a_signal(nginx_binary: str, number: signal.Signals) -> None:
    """Replay --serve --keep serves on until a signal, ends nginx and exits 0."""
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
    """A signal in the midst of a test ends the command with its own code, and the folder with keys in it goes."""
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
    """Under nohup a hang-up ends nothing."""
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
    """Neither the command nor its nginx leaves a core dump where recordings are served: both hold keys."""
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
    """Under a umask of 0 too neither the group nor others may write a file or a folder."""
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
    """Where no step could be served --keep keeps nothing, and the exit is 3."""
    failed = run(
        "replay", LAST, "--serve", "--keep", PORT=str(free_port()), DEFAULT_LOCATION_RETURN="http://no.invalid"
    )
    assert failed.returncode == 3


def test_a_key_given_for_its_file_is_not_told(tmp_path: Path) -> None:
    """Who sets SSL_KEY to the key itself finds nothing of it in the refusal."""
    text = (WALKTHROUGH / "default.key").read_text()
    refused = run("--once", "--snapshot", LAST, SSL_KEY=text, SSL_CERT=str(WALKTHROUGH / "default.crt"))
    assert refused.returncode == 2
    assert not [line for line in text.split() if line[:20] in refused.stderr]


def test_port_is_taken(nginx_binary: str) -> None:
    """A port that another program has is told in one line, and the exit is 3."""
    port = free_port()
    with start("replay", LAST, "--serve", "--keep", PORT=str(port)) as first:
        assert first.stdout
        assert first.stdout.readline()
        second = run("replay", LAST, "--serve", PORT=str(port))
        assert second.returncode == 3
        (error,) = [line for line in second.stderr.splitlines() if "dispatcher: error" in line]
        assert f"bind() to 127.0.0.1:{port} failed" in error


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
    """Colour is for terminals, unless NO_COLOR forbids it."""
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
    """A reader that goes away ends the command quietly."""
    with start("replay", WALKTHROUGH) as process:
        assert process.stdout
        process.stdout.close()
        assert process.stderr
        assert "Traceback" not in process.stderr.read()
