"""access.basicAuth, on a running nginx: who knows a password gets in, and what nobody can check is closed."""

import socket
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from passlib.hash import sha512_crypt
from support.objects import Object, namespace, pod, secret, unready
from support.passwords import BY_PASSWORD, FIELD, basic, write_apr1, write_ssha
from support.pods import DECLARED, HOST, entry
from support.router import Router

from reconciler.disk import carried
from reconciler.loop.events import NginxSaid
from reconciler.rendering.comparison import compare

Start = Callable[..., Router]


@pytest.fixture
def here(router: Start) -> Iterator[Router]:
    """Start a router in a folder that the workers of root's nginx can enter, who are nobody."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        yield router(Path(folder))


def team(ip: str, *entries: object) -> list[Object]:
    return [namespace("a", {HOST: {}}), pod("a", "web-0", ip, list(entries), DECLARED)]


def ask(here: Router, uri: str, user: str = "", password: str = "") -> int:
    return here.ask(HOST, uri, **({"Authorization": basic(user, password)} if user else {})).status


def told(here: Router) -> str:
    assert here.last
    return "\n".join(str(problem) for problem in here.last.table.problems)


@pytest.mark.parametrize("write", [write_apr1, write_ssha])
def test_right_and_wrong_passwords(here: Router, ips: list[str], write: Callable[..., bytes]) -> None:
    """Only who knows a password gets to the Pod; another path needs none."""
    passwords = secret("a", htpasswd=write(alice="right: one", bob="other"))
    here.serve(*team(ips[0], entry("/"), entry("/admin", access=BY_PASSWORD)), passwords)
    assert ask(here, "/admin", "alice", "right: one") == ask(here, "/admin/x", "bob", "other") == 200
    wrong = [("alice", "other"), ("alice", ""), ("carol", "other"), ("alic", "e"), ("", "")]
    assert [ask(here, "/admin", *one) for one in wrong] == [401] * 5
    assert here.ask(HOST, "/admin").headers["www-authenticate"] == 'Basic realm="protected"'
    assert ask(here, "/") == 200
    assert told(here) == ""


def test_pods_do_not_get_the_password(here: Router, ips: list[str]) -> None:
    """Authorization ends at nginx where it checks the password, and goes on where it does not."""
    passwords = secret("a", htpasswd=write_apr1(alice="right"))
    here.serve(*team(ips[0], entry("/"), entry("/admin", access=BY_PASSWORD)), passwords)
    right = basic("alice", "right")
    headers = here.ask(HOST, "/admin", Authorization=right, X_Other="1").told["headers"]
    assert "authorization" not in headers
    assert headers["x-other"] == "1"
    assert here.ask(HOST, "/", Authorization=right).told["headers"]["authorization"] == right


def test_long_credentials(here: Router, ips: list[str]) -> None:
    """A worker hashes no password whose header is longer than 512 bytes: it answers 401, with the challenge."""
    longest, longer = "x" * 372, "x" * 375
    passwords = secret("a", htpasswd=write_apr1(alice=longest, bob=longer))
    here.serve(*team(ips[0], entry("/", access=BY_PASSWORD)), passwords)
    assert (len(basic("alice", longest)), len(basic("bob", longer))) == (510, 514)
    assert ask(here, "/", "alice", longest) == 200
    answer = here.ask(HOST, "/", Authorization=basic("bob", longer))
    assert (answer.status, answer.headers["www-authenticate"]) == (401, 'Basic realm="protected"')
    assert here.ask(HOST, "/", Authorization="x" * 7000).status == 401
    assert "www-authenticate" not in here.ask(HOST, "/", Authorization=basic("alice", longest)).headers


def test_wrong_passwords_write_no_line(here: Router, ips: list[str]) -> None:
    """Wrong passwords, unknown users and odd credentials write nothing to nginx's log, and no file is missed."""
    passwords = secret("a", htpasswd=write_apr1(alice="right"))
    here.serve(*team(ips[0], entry("/", access=BY_PASSWORD)), passwords)
    for credentials in (basic("alice", "wrong"), basic("eve", "x"), "Basic !", "Basic", "Bearer x", "x" * 600):
        assert here.ask(HOST, "/", Authorization=credentials).status == 401
    here.nginx.stop()
    assert [event for event in here.events if isinstance(event, NginxSaid)] == []


GOOD = write_apr1(alice="right").decode().strip()
SSHA = write_ssha(alice="right").decode().strip()
BAD_FILES = {
    "bcrypt": ("alice:$2y$05$CCCCCCCCCCCCCCCCCCCCC.VGOzA784oUp/Z0DY336zx7pLYAy0lwK", "line 1"),
    "SHA-512": (f"{GOOD}\nbob:{sha512_crypt.using(rounds=5000).hash('x')}", "line 2"),
    "plain text": ("alice:{PLAIN}right", "line 1"),
    "SHA-1 without salt": ("alice:{SHA}W6ph5Mm5Pz8GgiULbPgzG37mj9g=", "line 1"),
    "DES": ("alice:rqXexS6ZhobKA", "line 1"),
    "cut": (GOOD[:-1], "line 1"),
    "more behind": (f"{GOOD}:x", "line 1"),
    "a comment": (f"# ours\n{GOOD}", "line 1"),
    "an empty line": (f"{GOOD}\n\n{GOOD}", "line 2"),
    "a carriage return": (f"{GOOD}\r\n", "line 1"),
    "no salt": ("alice:{SSHA}W6ph5Mm5Pz8GgiULbPgzG37mj9g=", "line 1"),
    "a long salt": (f"alice:{{SSHA}}{'A' * 72}", "line 1"),
    "no user": (GOOD.removeprefix("alice"), "line 1"),
    "NUL": (f"al\0ice{GOOD.removeprefix('alice')}", "line 1"),
    "too many": ("\n".join([GOOD] * 101), "more than 100 lines"),
    "too long": ("x" * 65537, "longer than 65536 bytes"),
}


@pytest.mark.parametrize("name", BAD_FILES)
def test_files_that_are_not_used(here: Router, ips: list[str], name: str) -> None:
    """Passwords that cost too much to check, or that cannot be checked at all, close the path; no line is shown."""
    text, problem = BAD_FILES[name]
    here.serve(*team(ips[0], entry("/"), entry("/admin", access=BY_PASSWORD)), secret("a", htpasswd=text))
    assert [ask(here, "/admin", "alice", "right"), ask(here, "/admin/x"), ask(here, "/")] == [403, 403, 200]
    assert problem in told(here)
    assert f"access.basicAuth refers to the field {FIELD}, which" in told(here)
    assert ": all requests get 403" in told(here)
    assert not [part for part in ("alice", *text.split("\n"), *text.split("$")) if len(part) > 4 and part in told(here)]
    assert not [path for path in here.folder.rglob("*") if path.parent.name == "passwords"]


def test_as_many_as_there_may_be(here: Router, ips: list[str]) -> None:
    """A file of a hundred users of both kinds is used, with or without a line break at its end."""
    lines = [SSHA.replace("alice", f"user-{number}") for number in range(99)]
    here.serve(*team(ips[0], entry("/", access=BY_PASSWORD)), secret("a", htpasswd="\n".join([*lines, GOOD])))
    assert [ask(here, "/", user, "right") for user in ("alice", "user-98", "user-99")] == [200, 200, 401]


BAD: dict[str, tuple[object, str]] = {
    "a text": (FIELD, "[0].access.basicAuth is a string: this Pod does not serve the path"),
    "null": (None, "[0].access.basicAuth is null"),
    "another Secret": (
        {"valueFrom": {"secretKeyRef": {"key": FIELD, "name": "x"}}},
        "[0].access.basicAuth.valueFrom.secretKeyRef.'name' is an unknown key",
    ),
    "no key": ({"valueFrom": {"secretKeyRef": {}}}, "secretKeyRef is empty"),
    "a path": ({"valueFrom": {"secretKeyRef": {"key": "../x"}}}, "secretKeyRef.key is '../x'"),
    "a field that is not there": (
        {"valueFrom": {"secretKeyRef": {"key": "other"}}},
        "access.basicAuth refers to the field other, which is missing or empty: all requests get 403",
    ),
}


@pytest.mark.parametrize("name", BAD)
def test_references_that_are_not_used(here: Router, ips: list[str], name: str) -> None:
    """A reference that leads nowhere closes the path."""
    value, problem = BAD[name]
    passwords = secret("a", htpasswd=GOOD)
    here.serve(*team(ips[0], entry("/", access={"basicAuth": value})), passwords)
    assert ask(here, "/", "alice", "right") == 403
    assert problem in told(here)


def test_without_a_secret(here: Router, ips: list[str]) -> None:
    """Without the routing Secret, or without its bytes, the path is closed."""
    here.serve(*team(ips[0], entry("/", access=BY_PASSWORD)))
    assert ask(here, "/") == 403
    assert "refers to a Secret that does not exist: all requests get 403" in told(here)
    odd = secret("a")
    odd["data"] = {FIELD: "!"}
    here.serve(*team(ips[0], entry("/", access=BY_PASSWORD)), odd)
    assert ask(here, "/") == 403


def test_pods_that_disagree(here: Router, ips: list[str]) -> None:
    """As soon as one Pod of a path wants a password, all of them need it."""
    host, old = team(ips[0], entry("/"))
    new = pod("a", "web-1", ips[1], [entry("/", access=BY_PASSWORD)], DECLARED)
    passwords = secret("a", htpasswd=GOOD)
    here.serve(host, old, new, passwords)
    assert [ask(here, "/", "alice", "right"), ask(here, "/")] == [200, 401]
    assert "has no access.basicAuth, other than Pod web-1, which protects the path" in told(here)


def test_checks_come_in_order(here: Router, ips: list[str]) -> None:
    """The password is asked for before the key, after addresses; without it, nobody learns that no Pod is ready."""
    passwords = secret("a", api_key="open", htpasswd=GOOD)
    right = {"Authorization": basic("alice", "right")}
    key = {"X_ROUTING_API_KEY": "b3Blbg=="}
    here.serve(*team(ips[0], entry("/", access=BY_PASSWORD)), passwords)
    asked = [{}, key, right, right | key]
    assert [here.ask(HOST, "/", **headers).status for headers in asked] == [401, 401, 403, 200]
    denied = {**BY_PASSWORD, "allow": ["203.0.113.1"]}
    here.serve(*team(ips[0], entry("/", access=denied)), passwords)
    assert here.ask(HOST, "/", **right, **key).status == 403
    host, only = team(ips[0], entry("/", access=BY_PASSWORD))
    here.serve(host, unready(only), passwords)
    assert [here.ask(HOST, "/", **headers).status for headers in asked] == [401, 401, 403, 503]


def test_too_many_paths(router: Start, ips: list[str]) -> None:
    """A password takes as much of a Namespace's share as three more paths; beyond it, the last paths are closed."""
    here = router(MAX_LOCATIONS_PER_NAMESPACE="10")
    paths = [entry("/a", access=BY_PASSWORD), entry("/b", access=BY_PASSWORD)]
    here.serve(*team(ips[0], *paths), secret("a", htpasswd=GOOD))
    assert [ask(here, "/a"), ask(here, "/b")] == [401, 403]
    assert "path '/b' access.basicAuth is beyond the Namespace's share: all requests get 403" in told(here)


def test_the_file(here: Router, ips: list[str]) -> None:
    """Only nginx reads the file; its name is the same whatever the passwords are, and paths share one file."""
    first = here.serve(
        *team(ips[0], entry("/a", access=BY_PASSWORD), entry("/b", access=BY_PASSWORD)), secret("a", htpasswd=GOOD)
    )
    (name,) = [name for name in first.files if name.startswith("passwords/")]
    assert first.files[name].content == f"{GOOD}\n".encode()
    assert (here.folder / "current" / name).stat().st_mode & 0o777 == 0o600
    changed = here.serve(
        *team(ips[0], entry("/a", access=BY_PASSWORD), entry("/b", access=BY_PASSWORD)), secret("a", htpasswd=SSHA)
    )
    assert changed.files[name].content == f"{SSHA}\n".encode()
    assert changed.files["nginx.conf"] == first.files["nginx.conf"]
    assert [str(change) for change in compare(first.files, changed.files)] == ["~ passwords of Namespace a (changed)"]
    assert ask(here, "/b", "alice", "right") == 200


class Kept:
    """A connection to a worker, which keeps it over reloads because it waits for the rest of a request's head."""

    def __init__(self, port: int) -> None:
        self._raw = socket.create_connection(("127.0.0.1", port), timeout=20)
        self._raw.sendall(f"GET / HTTP/1.1\r\nHost: {HOST}\r\nConnection: close\r\n".encode())

    def finish(self, credentials: str) -> int:
        """Send the rest, and give the status."""
        with self._raw:
            self._raw.sendall(f"Authorization: {credentials}\r\n\r\n".encode())
            return int(self._raw.recv(1000).split()[1])


def test_workers_of_former_releases(here: Router, ips: list[str]) -> None:
    """A worker that finishes its requests checks passwords after reloads: the new ones, or the last ones there were."""
    host, protected = team(ips[0], entry("/", access=BY_PASSWORD))
    other = pod("a", "web-0", ips[0], [entry("/")], DECLARED)
    here.serve(host, protected, secret("a", htpasswd=GOOD))
    waiting = [Kept(here.port) for _ in range(5)]
    here.serve(host, protected, secret("a", htpasswd=write_apr1(alice="changed")))
    assert [waiting[0].finish(basic("alice", one)) for one in ("changed",)] == [200]
    assert [waiting[1].finish(basic("alice", one)) for one in ("right",)] == [401]
    for number in range(5):  # more than there are releases
        here.serve(host, other, secret("a", other=str(number), api_key=str(number)))
        assert len(list((here.folder / "releases").iterdir())) <= 3
    assert waiting[2].finish(basic("alice", "changed")) == 200
    assert waiting[3].finish(basic("alice", "right")) == 401
    here.serve(host, protected, secret("a", htpasswd=GOOD))
    assert waiting[4].finish(basic("alice", "right")) == 200
    here.restart()
    assert ask(here, "/", "alice", "right") == 200


def test_files_of_former_releases_go(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file is kept for as long as workers may run since its own release was live, and a release's own ones stay."""
    clock = [1000.0]
    monkeypatch.setattr(carried.time, "time", lambda: clock[0])
    releases = [tmp_path / str(number) for number in range(4)]
    for release in releases:
        (release / "release").mkdir(parents=True)
    for release, name in ((releases[0], "a"), (releases[1], "b"), (releases[3], "a")):
        (release / "passwords").mkdir()
        (release / "passwords" / name).write_text(name)
    carried.carry(releases[0], releases[1], 300)
    assert carried.read_carried(releases[1]) == {"passwords/a": 1300}
    clock[0] = 1200
    carried.carry(releases[1], releases[2], 300)
    assert carried.read_carried(releases[2]) == {"passwords/a": 1300, "passwords/b": 1500}
    clock[0] = 1400
    carried.carry(releases[2], releases[3], 300)
    assert carried.read_carried(releases[3]) == {"passwords/b": 1500}
    carried.carry(releases[3], releases[2], 300)
    assert carried.read_carried(releases[2]) == {"passwords/a": 1700, "passwords/b": 1500}
    clock[0] = 1600
    carried.carry(releases[1], releases[3], 300)
    assert sorted(path.name for path in (releases[3] / "passwords").iterdir()) == ["a", "b"]
    carried.carry(releases[0], releases[2], 300)
    assert sorted(path.name for path in (releases[2] / "passwords").iterdir()) == ["a"]
