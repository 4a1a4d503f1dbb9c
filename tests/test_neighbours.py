"""The campaign: hostile tenants beside two honest ones, on a running nginx; the honest ones' answers stay the same.

`--hypothesis-seed=N` draws other batches; `--batches=N` runs more of them.
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


# Each published vulnerability of an nginx controller, as a tenant would try it here: the controller wrote this text
# into a file unescaped.
CVES = {
    # A snippet annotation read the controller's token. Here a directive in a path would serve that file.
    "CVE-2021-25742": path("/x { alias /var/run/secrets/kubernetes.io/serviceaccount/; } location /y"),
    # spec.rules[].http.paths[].path could hold directives and line breaks.
    "CVE-2021-25745": path("/x {\n} location /token { root /var/run/secrets;\n} location /y"),
    # A line break within the path got past the controller's sanitizer.
    "CVE-2021-25748": path("/x;\n}\nserver {\nlisten 81;\nlocation / {\nreturn 200 stolen;\n}"),
    # permanent-redirect: the annotation's text could end its `return` directive.
    "CVE-2023-5044": path("/x", targetPath="/;} location /token { alias /etc/; } #"),
    # The validation looked at each line alone, so an annotation with a line break got past it.
    "CVE-2024-7646": path("/good\n/x { return 200 stolen; }"),
    # auth-tls-match-cn: the pattern that checked it was not anchored at its end.
    "CVE-2025-1097": attack(hosts={"evil.dev": {}, "CN=good #(\n);} } server { listen 81;": {}}),
    # mirror-target, mirror-host and the object's UID were written unescaped.
    "CVE-2025-1098": path('/x", targetPath; } location ~* "^/', targetPath='/"; } load_module /tmp/evil.so; #'),
    # The admission test loaded a library from under /proc, which a client had sent as a request body.
    "CVE-2025-1974": path("/x;}}} ssl_engine /proc/30/fd/12; #"),
    # auth-secret: the file name could leave its folder by `..`.
    "CVE-2025-24513": attack(hosts={"evil.dev": objects.tls("../../../etc/passwd", "..", "../x")}),
    # auth-url was written unescaped.
    "CVE-2025-24514": path("/x", targetPath="/#;\n}\n}\nssl_engine /tmp/evil"),
    # auth-method was written unescaped; here it is a probe's scheme and path.
    "CVE-2026-1580": attack(
        [{"basePath": "/", "containerPort": 3000}],
        readinessProbe={"httpGet": {"port": 3000, "scheme": 'HTTP"; } server { listen 81; } #', "path": '/ok";\n}'}},
    ),
    # Text was written as a comment: it left the comment by a line break, or closed the block around it.
    "CVE-2026-4342": path("/x # comment\n} server { listen 81; return 200 stolen; } #"),
    # The path again: a quotation mark ended its string.
    "CVE-2026-24512": attack([{"basePath": '/x"\n{ proxy_pass http://honest', "containerPort": 'http"; }'}]),
}
# Inputs that stopped the original router or took it over.
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
    """Draw several tenants with odd text wherever the API server would let it through, and in other fields too."""
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
    copies = draw(st.sampled_from([1, 1, 1, 60]))  # as many Pods as a node may run
    pods = [item for item in made if item["kind"] == "Pod"]
    for number in range(1, copies):
        one = json.loads(json.dumps(random.Random(number).choice(pods)))
        one["metadata"]["name"] += f"-{number}"
        made.append(one)
    return made


@dataclass
class Street:
    """Two honest tenants behind a running nginx, and the requests that are sent to them again and again."""

    router: Router
    neighbours: list[Object]
    batches: int = 0
    objects: int = 0

    def ask(self) -> list[tuple[int, object]]:
        """Send requests to both neighbours: with the right API key, with a wrong one and with none."""
        key = {"X_ROUTING_API_KEY": "b3BlbiBzZXNhbWU="}
        asked = [
            self.router.ask("honest.dev", "/"), self.router.ask("honest.dev", "/a/b?c=d"),
            self.router.ask("keyed.dev", "/"), self.router.ask("keyed.dev", "/x", **key),
            self.router.ask("keyed.dev", "/x", X_ROUTING_API_KEY="b3Blbg=="),
        ]  # fmt: skip
        return [(one.status, (one.told["pod"], one.told["uri"]) if one.status == 200 else one.body) for one in asked]

    def meet(self, batch: list[Object]) -> None:
        """Serve a batch beside the neighbours; check that their answers stay, and nginx.conf matches the table."""
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
        shadows = [shadow.name for shadow in routes.shadows for _ in range(shadow.plain + shadow.tls)]
        assert names == sorted(["", "", *(host.name for host in routes.hosts), *shadows])
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
    """Text that broke other routers is served as text or is a problem; the neighbours' answers stay the same."""
    street.meet((CVES | DEFECTS)[name])
    assert street.router.last
    assert not street.router.last.held
    text = (street.router.folder / "current" / "nginx.conf").read_text()
    ours = street.router.settings.lua.loads if street.router.settings.lua else ()
    outside = [
        line
        for line in text.splitlines()
        if not line.lstrip().startswith(("location ", "proxy_pass ", "server_name "))
        and line not in {f"load_module {path};" for path in ours}
    ]
    for word in ("stolen", "alias", "load_module", "ssl_engine", "/etc/", "serviceaccount", "listen 81", "unix:/run"):
        assert word not in "\n".join(outside), word


@pytest.mark.parametrize("name", ["CVE-2026-1580", "a probe path that makes a server"])
def test_known_attacks_by_probes(name: str, tmp_path: Path) -> None:
    """For an nginx with health checks a probe becomes a check, and nginx.conf says only what the table says."""
    how = replace(CHECKS, deny_pod_cidrs=())
    table = build_table(normalise(objects.listing((CVES | DEFECTS)[name]), how), how, 1_797_600_000.0)
    write_files(render(table.routes, how), tmp_path)
    http = read_http(tmp_path)
    assert read_servers(http) == expect_servers(table.routes, how)
    (upstream,) = [one["block"] for one in http if one["directive"] == "upstream"]
    assert {line["directive"] for line in upstream} <= {
        *("server", "keepalive", "keepalive_timeout", "check", "check_http_send", "check_http_expect_alive")
    }
    assert "probe" in str(table.problems) or any(one.check for one in table.routes.upstreams)


def test_nobody_notices(street: Street, request: pytest.FixtureRequest) -> None:
    """With any batch of hostile tenants nginx loads what the table says, and the neighbours' answers stay the same."""
    wanted = request.config.getoption("--batches")
    chosen = request.config.getoption("--hypothesis-seed", None) is None
    how = settings(
        max_examples=wanted, deadline=None, database=None, derandomize=chosen, suppress_health_check=list(HealthCheck),
        phases=[Phase.explicit, Phase.generate],
    )  # fmt: skip
    how(given(batches())(street.meet))()
    assert street.batches >= wanted // 2
    print(f"{street.batches} batches of {street.objects} objects, no escape")  # noqa: T201
