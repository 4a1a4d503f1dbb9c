"""The image that DISPATCHER_IMAGE names, as a Pod runs it: read-only, without capabilities, with a service account."""

import json
import os
import re
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
_TIGHT = ("--read-only", "--read-only-tmpfs=false", "--cap-drop", "ALL", "--security-opt", "no-new-privileges")
# Debian has two packages of LuaJIT, and the Lua module takes either one.
_LUA = re.compile("libnginx-mod-http-(?:lua|ndk)|lua-resty-(?:core|lrucache)|libluajit2?-5[.]1-2")
# Expat and MIT/X are names that Debian gives to the MIT licence, and PD is the public domain.
_LICENCES_OF_LUA = re.compile("(?:BSD-[23]-clause|Expat|MIT/X|PD|public-domain|SSLeay| and )+")


def podman(*arguments: str) -> str:
    return subprocess.run(
        ["podman", *arguments], capture_output=True, text=True, timeout=120, check=True
    ).stdout.strip()


def read_log(container: str) -> str:
    """Read what the container wrote so far, on both of its outputs."""
    return subprocess.run(
        ["podman", "logs", container],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=120,
        check=True,
    ).stdout


def ask(port: int, path: str, host: str = "") -> int:
    try:
        return httpx.get(
            f"http://127.0.0.1:{port}{path}", headers={"Host": host} if host else {}, timeout=10
        ).status_code
    except httpx.TransportError:
        return 0


def test_daemon(server: ApiServer, port: int, authority: Authority, tmp_path: Path) -> None:
    """The image follows the API server with the Pod's account, serves, becomes ready, and exits with 0 at SIGTERM.

    A second Pod of the path needs no reload.
    """
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
    folders = [part for folder in ("/etc/nginx", "/tmp") for part in ("--tmpfs", f"{folder}:mode=1777")]
    container = podman(
        "run",
        "--detach",
        "--network",
        "host",
        *_TIGHT,
        *folders,
        *variables,
        "--volume",
        f"{account}:{_ACCOUNT}:ro",
        IMAGE,
    )
    try:
        wait_until(lambda: ask(health, "/readyz") == 200 and ask(http, "/", "a.dev") == 200)
        assert ask(health, "/healthz") == 200
        server.put(web("a", port, 3))
        wait_until(lambda: " without a reload: " in read_log(container))
        for last in (2, 3):
            server.delete("Pod", "a", f"web-{last}")
        wait_until(lambda: ask(http, "/", "a.dev") == 404)
        podman("stop", "--time", "40", container)
        assert podman("inspect", "--format", "{{.State.ExitCode}}", container) == "0"
        told = read_log(container)
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


SANDBOX = "/opt/dispatcher/bin/python3 -I -S /opt/dispatcher/lib/python3*/site-packages/reconciler/nginx/sandbox.py"
LUA_CONF = """
load_module /usr/lib/nginx/modules/ndk_http_module.so;
load_module /usr/lib/nginx/modules/ngx_http_lua_module.so;
daemon off;
pid /tmp/nginx.pid;
error_log stderr;
events {{}}
http {{
    access_log off;
    client_body_temp_path /tmp/1;
    proxy_temp_path /tmp/2;
    fastcgi_temp_path /tmp/3;
    uwsgi_temp_path /tmp/4;
    scgi_temp_path /tmp/5;
    lua_package_path /usr/share/lua/5.1/?.lua;
    lua_package_cpath "";
    init_by_lua_block {{
        require("resty.core")
        require("ngx.balancer")
    }}
    server {{
        listen 127.0.0.1:{port};
        location / {{
            content_by_lua_block {{
                local total = 0
                for number = 1, 100000 do
                    total = total + number
                end
                local on = jit.status()
                ngx.say(string.format("%s %d", on, total))
            }}
        }}
    }}
}}
"""


@pytest.mark.parametrize("hidden", [(), ("/media",)], ids=["plain", "Landlock"])
def test_lua(tmp_path: Path, hidden: tuple[str, ...]) -> None:
    """The image's nginx loads its Lua module and runs code, read-only, as the image's user, also under Landlock.

    The loop is long enough for LuaJIT to compile it, which needs memory that can be executed.
    """
    if not is_package("nginx"):
        pytest.skip("this image's nginx was compiled with it, and has no Lua module")
    number = free_port()
    conf = tmp_path / "nginx.conf"
    conf.write_text(LUA_CONF.format(port=number))
    conf.chmod(0o644)
    program = f"{SANDBOX} {' '.join(hidden)} -- " if hidden else ""
    container = podman(
        "run", "--detach", "--network", "host", *_TIGHT, "--tmpfs", "/tmp:mode=1777",
        "--volume", f"{conf}:/nginx.conf:ro", "--entrypoint", "sh", IMAGE,
        "-c", f"exec {program}/usr/local/sbin/nginx -e stderr -c /nginx.conf",
    )  # fmt: skip
    try:
        wait_until(lambda: ask(number, "/") == 200, lambda: podman("logs", container))
        assert httpx.get(f"http://127.0.0.1:{number}/").text == "true 5000050000\n"
        assert podman("exec", container, "stat", "-c", "%u", "/proc/1") == "10001"
    finally:
        podman("rm", "--force", container)


def test_lua_in_the_bill() -> None:
    """The bill of materials names the packages of the Lua module with their licences, if the image has the module."""
    parts = [part for part in json.loads(read_document("sbom.cdx.json"))["components"] if _LUA.fullmatch(part["name"])]
    assert len(parts) == (5 if is_package("nginx") else 0), parts
    licences = {one["license"]["name"] for part in parts for one in part["licenses"]}
    assert [one for one in licences if not _LICENCES_OF_LUA.fullmatch(one)] == []


def is_package(name: str) -> bool:
    """Tell whether the image has this package of Debian."""
    listed = podman("run", "--rm", "--entrypoint", "dpkg-query", IMAGE, "-Wf", "${Package}\n")
    return name in listed.splitlines()


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
