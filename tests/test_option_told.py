"""How options are told: in routes.jsonl, as differences, by explain, and in the status."""

import json
from collections.abc import Callable
from pathlib import Path

from support.command import run
from support.objects import Object, namespace, pod
from support.pods import DECLARED, HOST, entry
from support.router import Router

from reconciler.rendering.comparison import compare
from reconciler.routing.model import Routes
from reconciler.status.status_file import _read_routes

Start = Callable[..., Router]
OPTIONS = {"access": {"allow": ["127.0.0.1"]}, "timeouts": {"read": "90s"}}
TOLD = {"access.allow": "127.0.0.1/32", "timeouts": "read 90s"}


def team(**options: object) -> list[Object]:
    return [namespace("a", {HOST: {}}), pod("a", "web-0", "10.1.2.3", [entry("/x", **options)], DECLARED)]


def explain(tmp_path: Path, wanted: list[Object], *arguments: str) -> str:
    path = tmp_path / "objects.json"
    path.write_text(json.dumps({"apiVersion": "v1", "kind": "List", "items": wanted}))
    return run("explain", f"{HOST}/x", "--snapshot", path, *arguments).stdout


def test_files_and_differences(router: Start) -> None:
    """routes.jsonl has each option that counts, and a changed one is told with both values."""
    here = router()
    old = here.serve(*team(timeouts={"read": "5s"})).files
    cycle = here.serve(*team(**OPTIONS))
    line = next(line for line in cycle.files["routes.jsonl"].content.splitlines() if b'"host"' in line)
    path = json.loads(line)["paths"]["/x"]
    assert {name: path[name] for name in TOLD} == TOLD
    (change,) = [str(one) for one in compare(old, cycle.files) if one.kind == "path"]
    changes = "access open -> restricted, access.allow nothing -> 127.0.0.1/32, timeouts read 5s -> read 90s"
    assert change == f"~ path {HOST}/x ({changes})"


def test_status(router: Start) -> None:
    """The status has the options of each path."""
    routes: Routes = router().serve(*team(**OPTIONS)).table.routes
    (host,) = json.loads(bytes(_read_routes(routes, None).hosts))
    assert host["paths"][0]["options"] == TOLD


def test_explain(tmp_path: Path) -> None:
    """Explain shows the options of the path, and that a request has to pass the protections."""
    told = explain(tmp_path, team(**OPTIONS))
    assert "1 Pod answers, if the request brings what access.allow allows" in told
    assert "options    access.allow: 127.0.0.1/32\n           timeouts: read 90s\n" in told
    record = json.loads(explain(tmp_path, team(**OPTIONS), "--json"))
    assert record["path"]["options"] == TOLD


def test_explain_a_closed_path(tmp_path: Path) -> None:
    """Explain says of a closed path why it is closed, and what is expected."""
    told = explain(tmp_path, team(access={"allow": ["oops"]}))
    assert "403 to everyone" in told
    assert "[0].access.allow[0] 'oops' is not one range of addresses: this Pod does not serve the path" in told
    assert "expected: a range of IP addresses such as 10.0.0.0/8, or an address" in told


def with_host_options(**options: object) -> list[Object]:
    return [namespace("a", {HOST: options}), pod("a", "web-0", "10.1.2.3", [entry("/x")], DECLARED)]


def test_files_and_differences_of_hosts(router: Start) -> None:
    here = router()
    old = here.serve(*with_host_options()).files
    cycle = here.serve(*with_host_options(redirect={"hostname": "else.dev"}))
    line = next(line for line in cycle.files["routes.jsonl"].content.splitlines() if b'"host"' in line)
    assert json.loads(line)["options"]["redirect"] == "302 $scheme://else.dev$request_uri"
    changes = [str(one) for one in compare(old, cycle.files)]
    assert f"~ host {HOST} (redirect nothing -> 302 $scheme://else.dev$request_uri)" in changes


def test_status_of_hosts(router: Start) -> None:
    """The status has the options of each host, what its plain port answers, and whether it serves paths."""
    routes: Routes = router().serve(*with_host_options(maintenance=True)).table.routes
    (host,) = json.loads(bytes(_read_routes(routes, None).hosts))
    assert host["options"] == {"maintenance": "on, retry after 5m"}
    assert (host["plain"], host["open"], host["paths"]) == ("serves", False, [])


def test_explain_hosts(tmp_path: Path) -> None:
    told = explain(tmp_path, with_host_options(maintenance={"allow": ["127.0.0.1"]}))
    assert "options    maintenance: on except for 127.0.0.1/32, retry after 5m\n" in told
    record = json.loads(explain(tmp_path, with_host_options(maintenance={"retryAfter": "2m"}), "--json"))
    assert (record["outcome"], record["host"]["options"]) == ("maintenance", {"maintenance": "on, retry after 2m"})
    told = explain(tmp_path, with_host_options(redirect={"hostname": "else.dev"}))
    assert "a redirect: the host's options send all requests to another place" in told
    assert "options    redirect: 302 $scheme://else.dev$request_uri\n" in told
