"""CORS and redirects, as curl sees them."""

import shutil
import subprocess
from collections.abc import Callable

import pytest
from support.objects import namespace, pod
from support.pods import DECLARED, HOST, entry
from support.router import Router

Start = Callable[..., Router]
APP = "https://app.example.org"

pytestmark = pytest.mark.skipif(not shutil.which("curl"), reason="curl is not installed")


def curl(here: Router, uri: str, *arguments: str) -> str:
    """Send a request by curl, and give the head of the answer, or what `--write-out` asks for."""
    resolve = ("--resolve", f"{HOST}:{here.port}:127.0.0.1")
    command = ["curl", "--silent", "--show-error", "--noproxy", "*", "--max-time", "20", *resolve, *arguments]
    finished = subprocess.run(
        [*command, f"http://{HOST}:{here.port}{uri}"], capture_output=True, check=True, text=True, timeout=30
    )
    return finished.stdout


def serve(here: Router, ip: str) -> None:
    here.serve(
        namespace("a", {HOST: {}}),
        pod(
            "a", "web-0", ip,
            [
                entry("/api", cors={"allowOrigins": [APP], "allowMethods": ["GET", "PUT"], "maxAge": 600}),
                {"basePath": "/old", "redirect": {"path": "/new", "statusCode": 308}},
                entry("/new"),
            ],
            DECLARED,
        ),
    )  # fmt: skip


def test_preflight(router: Start, ips: list[str]) -> None:
    """A preflight of an allowed origin gets 204 with what it may do; another origin gets only Vary."""
    here = router()
    serve(here, ips[0])
    ask = ("--request", "OPTIONS", "--head", "--header", "Access-Control-Request-Method: PUT", "--header")
    head = curl(here, "/api/x", *ask, f"Origin: {APP}").lower()
    assert head.startswith("http/1.1 204 ")
    assert f"access-control-allow-origin: {APP}\n" in head
    assert "access-control-allow-methods: get, put\n" in head
    assert "access-control-max-age: 600\n" in head
    foreign = curl(here, "/api/x", *ask, "Origin: https://evil.example").lower()
    assert foreign.startswith("http/1.1 204 ")
    assert "vary: origin\n" in foreign
    assert "access-control" not in foreign


def test_redirect_is_followed(router: Start, ips: list[str]) -> None:
    """Curl follows a redirect to the host and port that it asked, and sends a POST again as a POST for 308."""
    here = router()
    serve(here, ips[0])
    told = "%{num_redirects} %{http_code} %{url_effective} %{method}"
    arguments = ("--location", "--data", "x", "--output", "/dev/null", "--write-out", told)
    assert curl(here, "/old", *arguments) == f"1 200 http://{HOST}:{here.port}/new POST"
    head = curl(here, "/old", "--head")
    assert head.startswith("HTTP/1.1 308 ")
    assert "Location: /new\n" in head
