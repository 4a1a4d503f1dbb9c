"""The campaign: hostile tenants beside two honest ones, with a running nginx; what the honest ones' clients get stays.

Batches are drawn anew with `--hypothesis-seed=N`; `--batches=N` runs more of them.
"""

import json
import random
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from support import hostile, objects
from support.objects import Object, namespace, pod, secret, web
from support.router import Router
from support.stages import build_table, normalise, render
from support.tree import expect_servers, expect_upstreams, read_http, read_servers, read_upstreams
from test_properties import CHECKS

from reconciler.disk.trees import write_files

Start = Callable[..., Router]

OLD, YOUNG = "2020-01-01T00:00:00Z", "2027-01-01T00:00:00Z"
HONEST = ("honest", "keyed")
KEY = "open sesame"


def attack(paths: object = None, hosts: object = None, **more: Any) -> list[Object]:
    """Make a tenant that writes these annotations."""
    given = hosts if hosts is not None else {"evil.dev": {}, "honest.dev": {}}
    ports = more.pop("ports", [{"containerPort": 3000, "name": "http"}])
    ip = more.pop("ip", "127.9.9.9")
    made = [namespace("evil", given), pod("evil", "pod-0", ip, [] if paths is None else paths, ports)]
    made[1]["spec"]["containers"][0] |= more
    return made


def path(base: str, **more: object) -> list[Object]:
    return attack([{"basePath": base, "containerPort": 3000, **more}])


# What each published hole of an nginx controller would be here: the text that went into a file as it was.
CVES = {
    # A snippet annotation read the controller's token: a directive in a path, and a file in its place.
    "CVE-2021-25742": path("/x { alias /var/run/secrets/kubernetes.io/serviceaccount/; } location /y"),
    # spec.rules[].http.paths[].path held directives and line breaks.
    "CVE-2021-25745": path("/x {\n} location /token { root /var/run/secrets;\n} location /y"),
    # Its sanitizer was passed by a line break within the path.
    "CVE-2021-25748": path("/x;\n}\nserver {\nlisten 81;\nlocation / {\nreturn 200 stolen;\n}"),
    # permanent-redirect: an annotation that closed its return.
    "CVE-2023-5044": path("/x", targetPath="/;} location /token { alias /etc/; } #"),
    # An annotation with a line break passed the validation of each line by itself.
    "CVE-2024-7646": path("/good\n/x { return 200 stolen; }"),
    # auth-tls-match-cn: a pattern that was not anchored at its end.
    "CVE-2025-1097": attack(hosts={"evil.dev": {}, "CN=good #(\n);} } server { listen 81;": {}}),
    # mirror-target and mirror-host went into a file raw, as the UID of the object did.
    "CVE-2025-1098": path('/x", targetPath; } location ~* "^/', targetPath='/"; } load_module /tmp/evil.so; #'),
    # The admission test loaded a library that a client's body had put under /proc.
    "CVE-2025-1974": path("/x;}}} ssl_engine /proc/30/fd/12; #"),
    # auth-secret's file name went up and out of its folder.
    "CVE-2025-24513": attack(hosts={"evil.dev": objects.tls("../../../etc/passwd", "..", "../x")}),
    # auth-url was written raw.
    "CVE-2025-24514": path("/x", targetPath="/#;\n}\n}\nssl_engine /tmp/evil"),
    # auth-method: a word that was written raw; here a probe's method and scheme.
    "CVE-2026-1580": attack(
        [{"basePath": "/", "containerPort": 3000}],
        readinessProbe={"httpGet": {"port": 3000, "scheme": 'HTTP"; } server { listen 81; } #', "path": '/ok";\n}'}},
    ),
    # Text that was written as a comment, and left it by a line break or closed what stood around it.
    "CVE-2026-4342": path("/x # comment\n} server { listen 81; return 200 stolen; } #"),
    # The path again: a quote that ended its string.
    "CVE-2026-24512": attack([{"basePath": '/x"\n{ proxy_pass http://honest', "containerPort": 'http"; }'}]),
}
# What brought the original down or over.
DEFECTS = {
    "a basePath that closes its block": path("/ { return 200 stolen; } } server { server_name honest.dev; location /"),
    "a targetPath that reads files": path("/f", targetPath="/; alias /etc/passwd; #"),
    "a targetPath with variables": path("/f", targetPath="/$http_x_routing_api_key/$api_key"),
    "a probe path that makes a server": attack(
        [{"basePath": "/", "containerPort": 3000}],
        readinessProbe={"httpGet": {"port": 3000, "path": '/";}} server { server_name honest.dev; } check x "'}},
    ),
    "a basePath that goes up": path("/../../etc"),
    "encoded dots": path("/%2e%2e/%2e%2e/etc"),
    "a neighbour's host": attack([{"basePath": "/", "containerPort": 3000}], {"honest.dev": {}, "keyed.dev": {}}),
    "a neighbour's host in another case": attack([{"basePath": "/", "containerPort": 3000}], {"HONEST.dev": {}}),
    "a neighbour's path": path("/a"),
    "the check of keys": path("=api-key"),
    "a name of nginx's": attack([{"basePath": "/", "containerPort": 3000}], {"_": {}, "default_server": {}, "": {}}),
    "an address with more": attack([{"basePath": "/", "containerPort": 3000}], ip="127.0.0.2:80; server 127.0.0.3"),
    "a unix socket": attack([{"basePath": "/", "containerPort": 3000}], ip="unix:/run/release.sock"),
    "a port that ends the line": attack(
        [{"basePath": "/", "containerPort": "h;\n}"}], ports=[{"containerPort": 3000, "name": "h;\n}"}]
    ),
    "an expression that never ends": path("~^/(a|a)*(a|a)*(a|a)*$"),
    "a weight in words": path("/w", weight="1 backup; server 127.0.0.3"),
}  # fmt: skip

odd_names = st.one_of(st.sampled_from(["api-key", "ssl.crt", "..", "../x", "a/b", "x;", "__proto__"]), hostile.texts)


@st.composite
def batches(draw: st.DrawFn) -> list[Object]:
    """Write several tenants, of which everything is odd that the API server would let through, and more."""
    made: list[Object] = []
    for name in draw(st.lists(st.sampled_from(["evil", "default", "include", "x" * 63]), min_size=1, unique=True)):
        tenant = draw(hostile.tenants(name))
        for item in tenant:
            item["metadata"].setdefault("labels", {}).update(
                draw(st.dictionaries(odd_names, hostile.texts, max_size=2))
            )
            if item["kind"] == "Secret":
                item["data"] |= draw(st.dictionaries(odd_names, hostile.texts, max_size=3))
            if item["kind"] == "Pod":
                item["metadata"]["name"] = (
                    f"{item['metadata']['name']}{draw(st.sampled_from(['', '.x', '-' + 'y' * 60 + '0']))}"
                )
                item["status"]["podIPs"] = [{"ip": draw(hostile.addresses)}]
                item["spec"]["nodeName"] = draw(hostile.texts)
                probe = item["spec"]["containers"][0]["readinessProbe"]
                probe["httpGet"] |= {"method": draw(hostile.texts), "httpHeaders": [{"name": draw(hostile.texts)}]}
        made += tenant
    copies = draw(st.sampled_from([1, 1, 1, 60]))  # a node's worth of Pods
    pods = [item for item in made if item["kind"] == "Pod"]
    for number in range(1, copies):
        one = json.loads(json.dumps(random.Random(number).choice(pods)))
        one["metadata"]["name"] += f"-{number}"
        made.append(one)
    return made


@dataclass
class Street:
    """Two honest tenants behind a running nginx, and what is asked of them again and again."""

    router: Router
    neighbours: list[Object]
    batches: int = 0
    objects: int = 0

    def ask(self) -> list[tuple[int, object]]:
        """Ask the neighbours, and what an attacker would have liked to be there."""
        key = {"X_ROUTING_API_KEY": "b3BlbiBzZXNhbWU="}
        asked = [
            self.router.ask("honest.dev", "/"), self.router.ask("honest.dev", "/a/b?c=d"),
            self.router.ask("keyed.dev", "/"), self.router.ask("keyed.dev", "/x", **key),
            self.router.ask("keyed.dev", "/x", X_ROUTING_API_KEY="b3Blbg=="),
        ]  # fmt: skip
        return [(one.status, (one.told["pod"], one.told["uri"]) if one.status == 200 else one.body) for one in asked]

    def meet(self, batch: list[Object]) -> None:
        """Serve a batch beside the neighbours: nobody notices, and the file says what the table says."""
        for item in batch:
            item["metadata"]["creationTimestamp"] = YOUNG
        before = self.ask()
        self.router.serve(*self.neighbours, *batch)
        assert self.ask() == before
        assert self.router.last
        routes = self.router.last.table.routes
        http = read_http(self.router.folder / "current")
        assert read_upstreams(http) == expect_upstreams(routes)
        names = sorted(line["args"][0] for one in http if one["directive"] == "server" for line in one["block"]
                       if line["directive"] == "server_name")  # fmt: skip
        assert names == sorted(["", "", *(host.name for host in routes.hosts)])
        plain = [one for one in http if "ssl_certificate" not in {line["directive"] for line in one.get("block", ())}]
        assert read_servers(plain) == expect_servers(routes, self.router.settings)
        assert not [one for one in self.router.last.held if one.name in HONEST]
        self.batches, self.objects = self.batches + 1, self.objects + len(batch)


@pytest.fixture
def street(router: Start, port: int) -> Street:
    keyed = [namespace("keyed", {"keyed.dev": {}}, OLD), web("keyed", port, 3), secret("keyed", api_key=KEY)]
    honest = [namespace("honest", {"honest.dev": {}}, OLD), web("honest", port, 2), web("honest", port, 4, "/a")]
    for item in (*keyed, *honest):
        item["metadata"]["creationTimestamp"] = OLD
    made = Street(router(MAX_CHANGES_PER_NAMESPACE="0", ALLOW_REGEX_PATHS="true"), [*keyed, *honest])
    made.router.serve(*made.neighbours)
    assert [status for status, _ in made.ask()] == [200, 200, 403, 200, 403]
    return made


@pytest.mark.parametrize("name", [*CVES, *DEFECTS])
def test_known_attacks(street: Street, name: str) -> None:
    """What broke other routers is served as text, or is a problem; the neighbours' clients notice nothing."""
    street.meet((CVES | DEFECTS)[name])
    assert street.router.last
    assert not street.router.last.held
    text = (street.router.folder / "current" / "nginx.conf").read_text()
    outside = [
        line for line in text.splitlines() if not line.lstrip().startswith(("location ", "proxy_pass ", "server_name "))
    ]
    for word in ("stolen", "alias", "load_module", "ssl_engine", "/etc/", "serviceaccount", "listen 81", "unix:/run"):
        assert word not in "\n".join(outside), word


@pytest.mark.parametrize("name", ["CVE-2026-1580", "a probe path that makes a server"])
def test_known_attacks_by_probes(name: str, tmp_path: Path) -> None:
    """A probe becomes a check of an nginx that has them, and then says nothing but what the table says."""
    how = replace(CHECKS, deny_pod_cidrs=())
    table = build_table(normalise(objects.listing((CVES | DEFECTS)[name]), how), how, 1_797_600_000.0)
    write_files(render(table.routes, how), tmp_path)
    http = read_http(tmp_path)
    assert read_servers(http) == expect_servers(table.routes, how)
    (upstream,) = [one["block"] for one in http if one["directive"] == "upstream"]
    assert {line["directive"] for line in upstream} <= {
        *("server", "keepalive", "check", "check_http_send", "check_http_expect_alive")
    }
    assert "probe" in str(table.problems) or any(one.check for one in table.routes.upstreams)


def test_nobody_notices(street: Street, request: pytest.FixtureRequest) -> None:
    """Whatever a batch of hostile tenants holds, nginx loads what the table says, and the neighbours' answers stay."""
    wanted = request.config.getoption("--batches")
    chosen = request.config.getoption("--hypothesis-seed", None) is None
    how = settings(
        max_examples=wanted, deadline=None, database=None, derandomize=chosen, suppress_health_check=list(HealthCheck),
        phases=[Phase.explicit, Phase.generate],
    )  # fmt: skip
    how(given(batches())(street.meet))()
    assert street.batches >= wanted // 2
    print(f"{street.batches} batches of {street.objects} objects, no escape")  # noqa: T201
