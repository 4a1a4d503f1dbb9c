"""The image that DISPATCHER_IMAGE names, as a Pod runs it: read-only, without capabilities, with a service account."""

import json
import os
import subprocess
from pathlib import Path

import httpx
import pytest
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator
from support.apiserver import TOKEN, ApiServer
from support.authority import Authority
from support.objects import namespace, web
from support.ports import free_port
from support.running_daemon import wait_until
from test_supply import PINS

IMAGE = os.environ.get("DISPATCHER_IMAGE", "")
pytestmark = pytest.mark.skipif(not IMAGE, reason="DISPATCHER_IMAGE names no image to run")
_ACCOUNT = "/var/run/secrets/kubernetes.io/serviceaccount"


def podman(*arguments: str) -> str:
    return subprocess.run(
        ["podman", *arguments], capture_output=True, text=True, timeout=120, check=True
    ).stdout.strip()


def ask(port: int, path: str, host: str = "") -> int:
    try:
        return httpx.get(
            f"http://127.0.0.1:{port}{path}", headers={"Host": host} if host else {}, timeout=10
        ).status_code
    except httpx.TransportError:
        return 0


def test_daemon(server: ApiServer, port: int, authority: Authority, tmp_path: Path) -> None:
    """The image follows the API server with the Pod's account, serves, becomes ready, and exits with 0 at SIGTERM."""
    account = tmp_path / "account"
    account.mkdir(mode=0o755)
    for name, content in {"token": TOKEN.encode(), "ca.crt": authority.pem, "namespace": b"dispatcher"}.items():
        (account / name).write_bytes(content)
    server.load([namespace("a", {"a.dev": {}}), web("a", port)])
    http, health = free_port(), free_port()
    settings = {
        "KUBERNETES_SERVICE_HOST": "127.0.0.1", "KUBERNETES_SERVICE_PORT": str(server.port), "PORT": str(http),
        "SSL_PORT": str(free_port()), "HEALTH_PORT": str(health), "LISTEN_ADDRESSES": "127.0.0.1",
        "NGINX_WORKER_CONNECTIONS": "256", "DENY_POD_CIDRS": "none",
    }  # fmt: skip
    variables = [part for name, value in settings.items() for part in ("--env", f"{name}={value}")]
    tight = ["--read-only", "--read-only-tmpfs=false", "--cap-drop", "ALL", "--security-opt", "no-new-privileges"]
    folders = [part for folder in ("/etc/nginx", "/tmp") for part in ("--tmpfs", f"{folder}:mode=1777")]
    container = podman(
        "run",
        "--detach",
        "--network",
        "host",
        *tight,
        *folders,
        *variables,
        "--volume",
        f"{account}:{_ACCOUNT}:ro",
        IMAGE,
    )
    try:
        wait_until(lambda: ask(health, "/readyz") == 200 and ask(http, "/", "a.dev") == 200)
        assert ask(health, "/healthz") == 200
        server.delete("Pod", "a", "web-2")
        wait_until(lambda: ask(http, "/", "a.dev") == 404)
        podman("stop", "--time", "40", container)
        assert podman("inspect", "--format", "{{.State.ExitCode}}", container) == "0"
        told = podman("logs", container)
    finally:
        podman("rm", "--force", container)
    assert "Traceback" not in told


def read_document(name: str) -> str:
    return podman("run", "--rm", "--network", "none", "--entrypoint", "cat", IMAGE, f"/usr/share/doc/dispatcher/{name}")


def test_bill_of_materials() -> None:
    """The image holds a valid CycloneDX bill of exactly its locked and Debian packages, each with a licence."""
    text = read_document("sbom.cdx.json")
    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(text) is None
    parts = json.loads(text)["components"]
    python = {part["name"]: part["version"] for part in parts if part["purl"].startswith("pkg:pypi/")}
    elsewhere = {"setuptools", *(name for name, (_, rest) in PINS.items() if "; sys_platform == 'win32'" in rest)}
    locked = {name: pinned for name, (pinned, _) in PINS.items() if name not in elsewhere}
    assert python == locked | {"dispatcher": "0.1.0"}
    listed = podman("run", "--rm", "--entrypoint", "dpkg-query", IMAGE, "-Wf", "${db:Status-Abbrev} ${Package}\n")
    installed = {line.split()[1] for line in listed.splitlines() if line.startswith("ii")}
    assert {part["name"] for part in parts if part["purl"].startswith("pkg:deb/")} == installed
    assert "nginx" in {part["name"] for part in parts}
    assert all(part["licenses"] for part in parts)


def test_licences() -> None:
    """The list of licences has a line for each component of the bill of materials."""
    parts = json.loads(read_document("sbom.cdx.json"))["components"]
    lines = {line.partition(": ")[0] for line in read_document("licences.txt").splitlines()}
    assert lines == {f"{part['name']} {part['version']}" for part in parts}


def test_without_a_network() -> None:
    """A replay runs without a network."""
    walkthrough = Path(__file__).parent.parent / "fixtures" / "walkthrough"
    told = podman("run", "--rm", "--network", "none", "--volume", f"{walkthrough}:/in:ro", IMAGE, "replay", "/in")
    assert "pod test-namespace/" in told
