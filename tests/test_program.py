"""nginx's releases and process: what goes live, what is rolled back, and what survives."""

import os
import signal
import socket
import stat
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from support.objects import namespace, pod
from support.router import Router
from support.stages import render

from reconciler.loop.events import NginxSaid
from reconciler.loop.ports import RefusedError
from reconciler.nginx.program import NginxError, explain_bind, read_complaint
from reconciler.nginx.sink import NginxSink
from reconciler.values.files import File, Files

Start = Callable[..., Router]
ONE, TWO = namespace("a", {"one.dev": {}}), namespace("a", {"two.dev": {}})


def current(router: Router) -> str:
    return (router.folder / "current").readlink().name


def files_of(router: Router) -> Files:
    assert router.last
    return router.last.files


def master(router: Router) -> int:
    return int((router.folder / "nginx.pid").read_text())


def test_release_is_a_folder_named_by_its_content(router: Start) -> None:
    """The same routes give the same release; only its owner may read a release's secrets."""
    here = router()
    first = here.serve(ONE).release
    second = here.serve(TWO).release
    assert first != second
    assert current(here) == second
    assert here.serve(ONE).release == first
    assert stat.S_IMODE((here.folder / "current" / "api-keys.conf").stat().st_mode) == 0o600


def test_same_release_is_not_loaded_again(router: Start) -> None:
    """If the live tree is applied again, nginx's workers stay the same."""
    here = router()
    here.serve(ONE)
    before = here.workers()
    here.nginx.apply(files_of(here))
    assert here.workers() == before


def test_old_releases_go(router: Start) -> None:
    """Only the last three releases are kept."""
    here = router()
    for number in range(6):
        here.serve(namespace("a", {f"h{number}.dev": {}}))
    releases = [path.name for path in (here.folder / "releases").iterdir()]
    assert len(releases) == 3
    assert current(here) in releases


def test_release_that_is_live_again_is_young(router: Start) -> None:
    """A release that was served again is not the first to be pruned."""
    here = router()
    first = here.serve(ONE).release
    for number in range(4):
        here.serve(ONE if number % 2 else namespace("a", {f"h{number}.dev": {}}))
    here.serve(TWO)
    assert first in [path.name for path in (here.folder / "releases").iterdir()]


def test_refused_by_the_test(router: Start) -> None:
    """A tree that nginx's test refuses never goes live, and leaves nothing behind."""
    here = router()
    live = here.serve(ONE).release
    with pytest.raises(RefusedError, match=r'nginx refuses release [0-9a-f]+: unknown directive "nonsense" in'):
        here.nginx.apply({**files_of(here), "nginx.conf": File(b"nonsense;")})
    assert current(here) == live
    assert [path.name for path in (here.folder / "releases").iterdir()] == [live]
    assert here.ask("one.dev", "/").status == 404


@pytest.mark.parametrize(
    ("line", "complaint"),
    [
        ("nginx: [emerg] unknown directive in /t/nginx.conf:3\n", "unknown directive in nginx.conf:3"),
        ("2026/11/23 01:02:03 [emerg] 7#7: bind() to 0.0.0.0:80 failed\n", "bind() to 0.0.0.0:80 failed"),
        ("[emerg] /usr/sbin/nginx cannot be run: No such file\n", "/usr/sbin/nginx cannot be run: No such file"),
        ("nginx: [emerg] a\x1b[31m\x9bb\n", r"a\x1b[31m\x9bb"),
        ('nginx: [emerg] unexpected "SECRET" in /t/api-keys.conf:2\n', "api-keys.conf is malformed"),
        ('nginx: [emerg] unexpected "SECRET" in /a b/api-keys.conf:2\n', "api-keys.conf is malformed"),
        ('2026/11/23 01:02:03 [error] 7#7: *1 failed, referrer: "[emerg] victim.test"\n', None),
        ('2026/11/23 01:02:03 [error] 7#7: *1 failed, request: "GET /?nginx: [emerg] 7#7: x HTTP/1.1"\n', None),
        ("nginx: [warn] x\n", None),
    ],
)
def test_complaints(line: str, complaint: str | None) -> None:
    """An error that stops nginx is distinguished from clients' text, and shows no keys and no control characters."""
    assert read_complaint(line, Path("/t")) == complaint


@pytest.mark.parametrize(
    ("complaint", "explained"),
    [
        ("bind() to 0.0.0.0:80 failed (98: Address already in use)", "0.0.0.0:80 is in use by another program"),
        ("bind() to [::]:80 failed (99: Cannot assign requested address)", "[::]:80 is no address of this machine"),
        ("bind() to 0.0.0.0:80 failed (13: Permission denied)",
         "0.0.0.0:80 needs a privilege; ports from 1024 on do not (PORT, SSL_PORT)"),
        ("bind() to [::]:80 failed (12: Cannot allocate memory)", "[::]:80 cannot be used: Cannot allocate memory"),
        ("unknown directive", "unknown directive"),
    ],
)  # fmt: skip
def test_ports_that_cannot_be_used(complaint: str, explained: str) -> None:
    """Why a port cannot be used is said in plain words."""
    assert explain_bind(complaint) == explained


def test_clients_cannot_complain(router: Start) -> None:
    """A client's text in nginx's log is not taken for an error of nginx, and replaces no line of the log."""
    here = router(RELOAD_TIMEOUT="1")
    here.serve(
        namespace("a", {"one.dev": {}}), pod("a", "web", "127.9.9.9", [{"basePath": "/", "containerPort": 3000}])
    )
    good, name = here.nginx.apply, here.last.release if here.last else ""
    assert here.ask("one.dev", "/?/api-keys.conf:1", Referer="[emerg] victim.test").status == 502
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = str(other.getsockname()[1])
        text = files_of(here)["nginx.conf"].content.replace(str(here.port).encode(), port.encode())
        with pytest.raises(
            RefusedError, match=r"did not serve release .* 127.0.0.1:[0-9]+ is in use by another program"
        ):
            good({**files_of(here), "nginx.conf": File(text)})
    assert current(here) == name
    said = [event for event in here.events if isinstance(event, NginxSaid)]
    assert [event.severity for event in said if 'referrer: "[emerg] victim.test"' in event.text] == ["error"]


def test_not_proven_is_rolled_back(router: Start) -> None:
    """A release that passes the test but cannot be loaded is rolled back, and the release before it serves on."""
    here = router(RELOAD_TIMEOUT="1")
    live = here.serve(ONE).release
    with socket.create_server(("127.0.0.1", 0)) as other:
        # nginx -t accepts a port that another program uses; a reload does not.
        port = str(other.getsockname()[1])
        text = files_of(here)["nginx.conf"].content.replace(str(here.port).encode(), port.encode())
        with pytest.raises(
            RefusedError, match=r"did not serve release .* 127.0.0.1:[0-9]+ is in use by another program"
        ):
            here.nginx.apply({**files_of(here), "nginx.conf": File(text)})
    assert current(here) == live
    assert here.ask("one.dev", "/").status == 404
    here.serve(TWO)
    assert here.ask("two.dev", "/").status == 404


def test_killed_nginx_is_started_again(router: Start) -> None:
    """The next cycle starts a killed nginx again, although the killed nginx left its socket."""
    here = router()
    here.serve(ONE)
    workers = here.workers()
    os.kill(master(here), signal.SIGKILL)
    for worker in workers:
        os.kill(worker, signal.SIGKILL)
    here.serve(TWO)
    assert here.ask("two.dev", "/").status == 404


def test_restart_on_the_same_folder(router: Start, nginx_binary: str) -> None:
    """Another process on the same folder uses the same release names."""
    here = router()
    name = here.serve(ONE).release
    here.nginx.stop()
    here.nginx = here.start_sink()
    assert here.nginx.apply(files_of(here)) == name
    assert here.ask("one.dev", "/").status == 404


def test_restart_with_what_nginx_refuses(router: Start) -> None:
    """If nginx refuses the first release of a new process, it serves the former process's last good release."""
    here = router()
    here.serve(ONE)
    here.nginx.stop()
    here.nginx = here.start_sink()
    with pytest.raises(RefusedError, match="nonsense"):
        here.nginx.apply({"nginx.conf": File(b"nonsense;")})
    assert here.ask("one.dev", "/").status == 404


def test_folder_in_use(router: Start) -> None:
    """Two routers cannot share a folder."""
    here = router()
    here.serve(ONE)
    with pytest.raises(NginxError, match="another dispatcher serves this folder"):
        here.start_sink()


def test_artefact_is_no_folder_for_releases(router: Start, tmp_path: Path) -> None:
    """A folder that holds an artefact is refused as a folder for releases."""
    (tmp_path / "routes.jsonl").touch()
    with pytest.raises(NginxError, match="holds an artefact"):
        router().start_sink(tmp_path)


def test_very_long_folder(tmp_path: Path, router: Start) -> None:
    """A folder works too if its path is longer than a unix socket's address may be."""
    here = router()
    folder = tmp_path.joinpath(*["a-folder-with-a-long-name"] * 8)
    other = here.start_sink(folder)
    try:
        other.apply(render(here.serve(ONE).table.routes, here.settings) | {"extra": File(b"")})
    except RefusedError as error:
        assert "is in use" in str(error)  # the first router has the port; nginx tried to bind it, so nginx ran
    finally:
        other.stop()


def test_no_nginx(tmp_path: Path, router: Start) -> None:
    """If nginx does not exist, the error is one line."""
    settings = replace(router().settings, nginx_binary="no-such-nginx")
    with pytest.raises(NginxError, match="no-such-nginx cannot be run: No such file or directory"):
        NginxSink(tmp_path / "x", settings, lambda _: None)


def test_certificates_outside_of_the_tree(router: Start, tmp_path: Path) -> None:
    """Files in an explicit SSL_CERT_DIR are written and rolled back with a release, and removed with their host."""
    here = router()
    here.serve(ONE)
    files, certificate = files_of(here), str(tmp_path / "certificates" / "one.dev" / "certificate.key")
    here.nginx.apply({**files, certificate: File(b"first", 0o600)})
    with pytest.raises(RefusedError, match="nonsense"):
        here.nginx.apply({"nginx.conf": File(b"nonsense;"), certificate: File(b"second", 0o600)})
    assert Path(certificate).read_bytes() == b"first"
    here.nginx.stop()
    here.nginx = here.start_sink()  # another process
    here.nginx.apply({**files, "another": File(b"")})
    assert not Path(certificate).parent.exists()
    assert Path(certificate).parent.parent.is_dir()
