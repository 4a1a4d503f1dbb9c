"""The default server's certificate and key: files that are followed, by a running daemon and its nginx."""

import os
import ssl
from collections.abc import Callable
from pathlib import Path

import pytest
from support.apiserver import ApiServer
from support.authority import Authority
from support.objects import namespace, web
from support.pods import HOST
from support.running_daemon import RunningDaemon

Launch = Callable[..., RunningDaemon]


class Mount:
    """A certificate and a key in a folder, as the kubelet mounts a Secret: all files change in one step."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._number = 0
        folder.mkdir()
        for name in ("tls.crt", "tls.key"):
            (folder / name).symlink_to(f"..data/{name}")
        self.settings = {"SSL_CERT": str(folder / "tls.crt"), "SSL_KEY": str(folder / "tls.key")}

    def write(self, certificate: bytes, key: bytes) -> None:
        """Replace both files."""
        self._number += 1
        version = self._folder / f"..{self._number}"
        version.mkdir()
        (version / "tls.crt").write_bytes(certificate)
        (version / "tls.key").write_bytes(key)
        link = self._folder / "..next"
        link.symlink_to(version.name)
        os.replace(link, self._folder / "..data")


@pytest.fixture
def mount(tmp_path: Path) -> Mount:
    """Make a folder for a certificate and a key."""
    return Mount(tmp_path / "tls")


def shown(daemon: RunningDaemon) -> str:
    """Give the certificate that a client gets that names an unknown host; empty while nobody listens."""
    try:
        return ssl.get_server_certificate(("127.0.0.1", daemon.ssl_port), timeout=10)
    except OSError:
        return ""


def serve(launch: Launch, server: ApiServer, mount: Mount, port: int, **settings: str) -> RunningDaemon:
    """Serve a host, and wait until it answers."""
    server.put(namespace("a", {HOST: {}}))
    server.put(web("a", port))
    daemon = launch(**mount.settings, **settings)
    daemon.wait_until_serves(HOST)
    return daemon


def test_files_are_followed(launch: Launch, server: ApiServer, mount: Mount, authority: Authority, port: int) -> None:
    """A new certificate and key are served without a restart, and no release follows while the files stay."""
    one, other = (authority.issue(f"{number}.example.com") for number in range(2))
    mount.write(*one)
    daemon = serve(launch, server, mount, port)
    assert shown(daemon).encode() == one[0]
    mount.write(*other)
    daemon.wait_for(lambda: shown(daemon).encode() == other[0], "the new certificate")
    daemon.wait_for(lambda: daemon.count("applied") == 2)
    server.put(web("a", port, 3))
    daemon.wait_for(lambda: daemon.count("applied") == 3)
    assert shown(daemon).encode() == other[0]
    assert daemon.count("warning") == 0
    daemon.end()
    daemon.start()
    daemon.wait_for(lambda: daemon.count("applied") == 4)
    assert shown(daemon).encode() == other[0]


@pytest.mark.parametrize("fault", ["another key", "rubbish", "gone"])
def test_what_cannot_be_used_changes_nothing(
    launch: Launch, server: ApiServer, mount: Mount, authority: Authority, port: int, fault: str
) -> None:
    """If the files cannot be used, the last good pair is served, one line says why, and tenants' changes go live."""
    one, other = (authority.issue(f"{number}.example.com") for number in range(2))
    mount.write(*one)
    daemon = serve(launch, server, mount, port)
    key = Path(mount.settings["SSL_KEY"])
    if fault == "gone":
        key.unlink()
    else:
        mount.write(one[0], other[1] if fault == "another key" else b"rubbish")
    told = {"another key": "does not belong to the certificate", "rubbish": "is not a PEM", "gone": "No such file"}
    daemon.wait_for_line(f"warning SSL_KEY: {key} ")
    assert daemon.count(told[fault]) == daemon.count("the last good certificate is served") == 1
    server.put(namespace("b", {"b.example.com": {}}))
    server.put(web("b", port))
    daemon.wait_until_serves("b.example.com")
    assert shown(daemon).encode() == one[0]
    if fault == "gone":
        key.symlink_to("..data/tls.key")
    mount.write(*other)
    daemon.wait_for(lambda: shown(daemon).encode() == other[0], "the new certificate")
    assert daemon.count("the last good certificate is served") == 1
    assert not daemon.count("BEGIN")


def test_dates_are_told(launch: Launch, server: ApiServer, mount: Mount, authority: Authority, port: int) -> None:
    """What is told of tenants' certificates is told of this one too, when it is replaced as well."""
    mount.write(*authority.issue("default.invalid"))
    daemon = serve(launch, server, mount, port)
    assert not daemon.count("problem")
    mount.write(*authority.issue("default.invalid", days=range(-99, 9)))
    daemon.wait_for_line("problem: Setting SSL_CERT: the certificate ends at ")
    mount.write(*authority.issue("default.invalid", days=range(-9, -1)))
    daemon.wait_for_line("problem: Setting SSL_CERT: the certificate has expired; it is still served")
    assert daemon.count("gone: Setting SSL_CERT: the certificate ends at ") == 1
