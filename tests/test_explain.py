"""explain: what it says of recordings and manifests, and that it names what a person has to mend."""

import json
import os
import pty
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator
from support import objects
from support.command import COMMAND, environment, run
from support.objects import HOSTS, PATHS, WALKTHROUGH, Object, namespace, pod, secret, tls

from reconciler.advice.near_miss import Miss

DOCS = Path(__file__).parents[1] / "docs"
SCHEMA = Draft202012Validator(json.loads((DOCS / "explain.schema.json").read_text()))
TLS = {"SSL_CERT": str(WALKTHROUGH / "default.crt"), "SSL_KEY": str(WALKTHROUGH / "default.key")}
Texts = dict[str, str]
LABEL = "github.com/30x.dispatcher.routable"
PORTS: list[Object] = [{"containerPort": 3000}]
API = [{"basePath": "/api", "containerPort": 3000}]
SHOP = namespace("shop", {"shop.example.com": {}})


def ask(what: str, *given: Object, code: int, **settings: str) -> dict[str, Any]:
    """Explain over objects, as JSON that keeps to the schema; the same as text does not fail."""
    content = json.dumps({"kind": "List", "apiVersion": "v1", "items": list(given)}).encode()
    told = run("explain", what, "--snapshot", "-", "--json", stdin=content, **settings)
    assert (told.returncode, told.stderr) == (code, "")
    record: dict[str, Any] = json.loads(told.stdout)
    SCHEMA.validate(record)
    assert "\x1b" not in told.stdout
    return record


def ask_step(what: str, step: str, code: int = 0) -> dict[str, Any]:
    return ask(what, *objects.read(step), code=code, **TLS)


def miss(record: dict[str, Any], reason: str) -> dict[str, Any]:
    """Give the one near miss with this reason."""
    (found,) = [one for one in record["near_misses"] if one["reason"] == reason]
    return dict(found)


def tell(record: dict[str, Any]) -> str:
    """Give all sentences of problems and near misses."""
    found = [*record["near_misses"], *record["problems"], *record["others"]]
    return "\n".join(f"{one.get('what', '')} {one['why']}; expected: {one['expected']}" for one in found)


# The recorded story


def test_unknown_host() -> None:
    """In an empty cluster, each host is unknown."""
    record = ask_step("test.k8s.local", "001", code=1)
    assert (record["outcome"], record["host"], record["near_misses"]) == ("closed", None, [])


def test_host_without_paths() -> None:
    """A host without Pods answers DEFAULT_LOCATION_RETURN, and explain says that nobody has a path there."""
    record = ask_step("test.k8s.local/nodejs", "002", code=1)
    assert record["outcome"] == "DEFAULT_LOCATION_RETURN"
    assert record["text"].startswith("404")
    assert miss(record, "OtherPaths")["why"] == "has no path on this host"


@pytest.mark.parametrize(("step", "why"), [("003", "its phase is Pending"), ("004", "its Ready condition is False")])
def test_pod_that_is_not_ready(step: str, why: str) -> None:
    """A path whose Pods get no traffic answers 503, and each Pod has its reason."""
    record = ask_step("test.k8s.local/nodejs/x", step, code=1)
    assert record["outcome"] == "503"
    assert [(one["ready"], one["address"], one["why"]) for one in record["pods"]] == [(False, None, why)]


def test_pods_answer() -> None:
    """A path that is served: the host's Namespace and rule, the path, its upstream, and its Pods."""
    record = ask_step("http://test.k8s.local:8080/nodejs/x?y=1", "007")
    told = {"name": "test.k8s.local", "namespace": "test-namespace", "tls": None, "options": {}}
    assert record["host"] == {**told, "rule": "the only Namespace that names it"}
    assert (record["path"]["match"], record["path"]["path"], record["path"]["api_key"]) == ("prefix", "/nodejs", False)
    assert record["path"]["sent"] == "/nodejs/x?y=1"
    assert record["path"]["upstream"].endswith(".test-namespace")
    assert [one["address"] for one in record["pods"]] == ["10.244.0.12:3000", "10.244.1.13:3000", "10.244.2.11:3000"]


def test_api_key_and_target() -> None:
    """Explain says that a key is needed, and what the Pod gets in place of the path."""
    record = ask_step("test.k8s.local/env/a", "011")
    assert record["text"] == "3 Pods answer, if the request brings the API key"
    assert (record["path"]["api_key"], record["path"]["keys"]) == (True, 1)
    assert (record["path"]["target"], record["path"]["sent"]) == ("/nodejs/env", "/nodejs/env/a")
    assert {one["weight"] for one in record["pods"]} == {3}


def test_changes_of_pods_that_need_a_reload() -> None:
    """Explain says what of a path makes each change of its Pods need a reload, and nothing of other paths."""
    paths: list[tuple[str, Object]] = [
        ("/plain", {}), ("/least", {"loadBalancing": "least_conn"}), ("/auth", {}),
        ("/kept", {"sessionPersistence": {"type": "Cookie"}, "protocol": "grpc"}),
        ("/asks", {"access": {"externalAuth": {"path": "/auth"}}}),
    ]  # fmt: skip
    pods = [objects.web("shop", 3000, last, path, **options) for last, (path, options) in enumerate(paths, 2)]
    asked = {path: ask(f"shop.example.com{path}", SHOP, *pods, code=0, DENY_POD_CIDRS="none") for path, _ in paths}
    told = {path: record["path"]["reload"] for path, record in asked.items()}
    assert told == {
        "/plain": "", "/asks": "", "/least": "loadBalancing", "/kept": "sessionPersistence, protocol",
        "/auth": "another path's access.externalAuth asks it",
    }  # fmt: skip
    content = json.dumps({"kind": "List", "apiVersion": "v1", "items": [SHOP, *pods]}).encode()
    shown = run("explain", "shop.example.com/least", "--snapshot", "-", stdin=content, DENY_POD_CIDRS="none").stdout
    assert "\nreload     each change of its Pods needs one: loadBalancing\n" in shown


def test_tls() -> None:
    """Explain says until when the certificate is valid, and whether clients need one."""
    record = ask_step("secure.dev", "012")
    assert (record["scheme"], record["host"]["tls"]["client"]) == ("https", False)
    assert record["host"]["tls"]["not_after"] == "2036-11-19T18:06:18Z"
    record = ask_step("mtls.dev", "012")
    assert record["host"]["tls"]["client"]
    assert record["text"] == "2 Pods answer, if the request brings a client certificate"


def test_other_port() -> None:
    """The plain port sends clients of a host with TLS to https; the other way round explain names the right port."""
    assert ask_step("http://secure.dev/x", "012", code=1)["outcome"] == "308"
    assert miss(ask_step("https://test.k8s.local", "012", code=1), "OtherPort")["expected"].startswith("http://")


def test_two_namespaces() -> None:
    """The oldest Namespace has the host, and explain tells the others that get nothing, and what would help them."""
    record = ask_step("test.k8s.local/b", "013", code=1)
    assert record["host"]["rule"] == "the oldest of 2 Namespaces that name it"
    (other,) = record["others"]
    assert other["namespace"] == "team-b"
    assert '"sharedWith": ["team-b"]' in other["expected"]
    assert {one["object"]["name"][:3] for one in record["near_misses"] if one["reason"] == "NotShared"} == {"api"}


def test_wildcard() -> None:
    """A name below a wildcard: explain says that the wildcard takes it. The bare name is a near miss."""
    record = ask_step("any.b.example.com/b", "013")
    assert record["host"]["name"] == "*.b.example.com"
    assert "wildcard" in record["host"]["rule"]
    shown = ask("bare.dev", namespace("shop", {"*.bare.dev": {}}), code=1)
    assert "and not the name itself" in miss(shown, "Similar")["why"]


TROUBLE = {
    "broken.example.com/p": "'9999' is not a TCP port that a container declares; expected: one of those declared: 3000",
    "broken.example.com/x": "is not JSON at line 1, column 19; expected: a JSON array of entries",
    "broken.example.com/y": "[0].basePath is '/x { return 200; } location /y'; expected: an absolute path",
    "broken.example.com": "'bad host' is not a host; expected: a DNS name",
    "bad-host": "has 'bad host' in github.com/30x.dispatcher.hosts, which is not a host; expected: the name alone",
}


@pytest.mark.parametrize(("what", "told"), TROUBLE.items())
def test_tenant_in_trouble(what: str, told: str) -> None:
    """For each mistake of a recorded tenant, explain names the mistake and what is expected."""
    assert told in tell(ask_step(what, "014", code=1))


def test_trouble_does_not_hide_what_works() -> None:
    """What the same tenant serves is explained as served."""
    assert ask_step("broken.example.com/ok", "014")["answered"]


def test_ipv6_and_public() -> None:
    """A Pod with an IPv6 address, and a Namespace that another router's annotations name."""
    assert ask_step("v6.example.com/x", "016")["pods"][0]["address"].startswith("[")
    found = ask_step("test.k8s.com/public", "017", code=1)
    assert "annotation 'github.com/30x.dispatcher.hosts.public', which this router does not read" in tell(found)


# Near misses


def unlabelled(one: Object) -> Object:
    """Copy an object without the routable label."""
    labels = {name: value for name, value in one["metadata"]["labels"].items() if name != LABEL}
    return one | {"metadata": one["metadata"] | {"labels": labels}}


def deployment(annotations: Texts, labels: Texts, **template: Texts) -> Object:
    """Make a Deployment whose Pods declare port 3000."""
    metadata = {name.removeprefix("pod_"): texts for name, texts in template.items()}
    spec = {"containers": [{"name": "web", "ports": PORTS}]}
    return {
        "kind": "Deployment", "apiVersion": "apps/v1",
        "metadata": {"name": "web", "namespace": "shop", "annotations": annotations, "labels": labels},
        "spec": {"template": {"metadata": metadata, "spec": spec}},
    }  # fmt: skip


ROUTABLE = {LABEL: "true"}
ANNOTATED = {PATHS: json.dumps(API)}
WEB = pod("shop", "web-0", "10.0.0.1", API, PORTS)
NEAR: dict[str, tuple[str, list[Object], str, str]] = {
    "the Namespace lacks the label": (
        "shop.example.com/api", [unlabelled(SHOP), WEB], "NotSelected",
        "its labels do not match ROUTABLE_LABEL_SELECTOR (github.com/30x.dispatcher.routable=true)",
    ),
    "the Pod lacks the label": ("shop.example.com/api", [SHOP, unlabelled(WEB)], "NotSelected", "names '/api', and"),
    "the Pod is over": (
        "shop.example.com/api", [SHOP, WEB | {"status": {"phase": "Failed"}}], "Over", "its phase is Failed",
    ),
    "a longer path": ("shop.example.com/apis", [SHOP, WEB], "Similar", "'/api', and this path is neither"),
    "another case": ("shop.example.com/API", [SHOP, WEB], "Similar", "differ in upper and lower case"),
    "below an exact path": (
        "shop.example.com/api/x", [SHOP, pod("shop", "w", "10.0.0.1", [{**API[0], "basePath": "=/api"}], PORTS)],
        "Similar", "this path alone and nothing below it",
    ),
    "a similar host": ("shop.exmaple.com", [SHOP, WEB], "Similar", "serves shop.example.com"),
    "a host with a scheme": (
        "other.dev", [namespace("shop", {"https://other.dev": {}})], "MisspeltName", "has 'https://other.dev' in",
    ),
    "an annotation of hosts that is no JSON": (
        "other.dev", [namespace("shop", "{'other.dev': {}}")], "Unreadable", "names this host in",
    ),
    "hosts on a Pod": (
        "other.dev", [SHOP, pod("shop", "w", "10.0.0.1", API, PORTS) | {"metadata": {
            "name": "w", "namespace": "shop", "annotations": {HOSTS: '{"other.dev": {}}'}}}],
        "MisplacedAnnotation", "which is read on Namespaces alone",
    ),
    "paths on a Namespace": (
        "shop.example.com/api", [SHOP | {"metadata": SHOP["metadata"] | {
            "annotations": {**SHOP["metadata"]["annotations"], **ANNOTATED}}}],
        "MisplacedAnnotation", "which is read on Pods alone",
    ),
    "the name of an annotation": (
        "shop.example.com/api",
        [SHOP, WEB | {"metadata": WEB["metadata"] | {"annotations": {PATHS.removesuffix("s"): json.dumps(API)}}}],
        "MisspeltName", "names this path in the annotation 'github.com/30x.dispatcher.path'",
    ),
    "the annotation stands on the Deployment": (
        "shop.example.com/api", [SHOP, deployment(ANNOTATED, ROUTABLE, pod_labels=ROUTABLE)],
        "MisplacedAnnotation", "in metadata.annotations and not on its Pod template",
    ),
    "the label stands on the Deployment": (
        "shop.example.com/api", [SHOP, deployment({}, ROUTABLE, pod_annotations=ANNOTATED)],
        "MisplacedAnnotation", "on itself and not on its Pod template",
    ),
    "the Deployment has no Pods": (
        "shop.example.com/api", [SHOP, deployment({}, {}, pod_annotations=ANNOTATED, pod_labels=ROUTABLE)],
        "NoPods", "no Pod of it that names this path is there",
    ),
    "TLS that cannot be served": (
        "shop.example.com", [namespace("shop", {"shop.example.com": tls()}), secret("shop", key="x")],
        "LeftOut", "is left out: it needs TLS, which is off",
    ),
    "below another's wildcard": (
        "a.shop.dev", [namespace("old", {"*.shop.dev": tls()}),
                       namespace("new", {"a.shop.dev": {}}, created="2026-11-23T00:00:00Z")],
        "NotShared", "is below *.shop.dev of Namespace old",
    ),
}  # fmt: skip


@pytest.mark.parametrize(("what", "given", "reason", "told"), NEAR.values(), ids=NEAR)
def test_near_miss(what: str, given: list[Object], reason: str, told: str) -> None:
    """Each thing that keeps a route away is a near miss of its own class, with what is expected."""
    record = ask(what, *given, code=1)
    found = [one for one in record["near_misses"] if one["reason"] == reason]
    assert told in "\n".join(one["why"] for one in found)
    assert all(one["expected"] for one in found)


def test_shorter_path_answers() -> None:
    """If a shorter path answers since the Pods of the longer one lack the label, explain says both."""
    root = pod("shop", "root", "10.0.0.2", [{"basePath": "/", "containerPort": 3000}], PORTS)
    record = ask("shop.example.com/api/x", SHOP, root, unlabelled(WEB), code=0)
    assert record["path"]["path"] == "/"
    assert miss(record, "NotSelected")["object"] == {"kind": "Pod", "namespace": "shop", "name": "web-0"}
    assert ask("shop.example.com/other", SHOP, root, unlabelled(WEB), code=0)["near_misses"] == []


def test_not_watched() -> None:
    """With WATCH_NAMESPACES, a host of another Namespace is told as not watched."""
    record = ask("shop.example.com/api", SHOP, WEB, code=1, WATCH_NAMESPACES="other")
    assert miss(record, "NotWatched")["object"]["name"] == "shop"


def test_guest() -> None:
    """A path of a Namespace with which the host is shared: explain says who owns the host and shares it."""
    owner = namespace("own", {"shop.example.com": {"sharedWith": ["shop"]}}, created="2026-11-21T00:00:00Z")
    record = ask("shop.example.com/api", owner, SHOP, WEB, code=0)
    assert (record["host"]["namespace"], record["path"]["namespace"]) == ("own", "shop")
    assert record["host"]["rule"].endswith("; shop may add paths, by its sharedWith")
    assert "shares it with this Namespace by name" in record["path"]["rule"]
    reserved = ask("shop.example.com/.well-known/x", owner, SHOP, pod("shop", "w", "10.0.0.1", [
        {"basePath": "/", "containerPort": 3000}], PORTS), code=1)  # fmt: skip
    assert "kept for the host's owner" in reserved["text"]


def test_closed_and_refused() -> None:
    """403 to everyone, 400 for a misleading path, and DEFAULT_LOCATION_RETURN as a URI are told as such."""
    closed = namespace("shop", {"shop.example.com": {"requireApiKey": True}})
    assert ask("shop.example.com/api", closed, WEB, code=1)["outcome"] == "403"
    assert ask("shop.example.com/api/../x", SHOP, WEB, code=1)["outcome"] == "400"
    record = ask("shop.example.com/x", SHOP, WEB, code=1, DEFAULT_LOCATION_RETURN="http://127.0.0.1/gone")
    assert record["text"].startswith("passed on to http://127.0.0.1/gone")
    assert ask("unknown.dev/dispatcher/status", SHOP, code=1)["text"].startswith("200 from the router itself")


# Text for people, and hostile text


def test_text() -> None:
    """As text, each line has a label, and no line is coloured in a pipe."""
    step = WALKTHROUGH / "014-a-tenant-in-trouble.json"
    shown = run("explain", "broken.example.com/x", "--snapshot", step, **TLS)
    assert (shown.returncode, shown.stderr) == (1, "")
    first, *lines = shown.stdout.splitlines()
    assert first == "broken.example.com/x: 404: no Namespace has this path on the host (DEFAULT_LOCATION_RETURN)"
    labels = {line[:11].strip() for line in lines}
    assert labels == {"host", "port", "near miss", "", "problem"}
    assert "\x1b" not in shown.stdout


def test_colour_at_a_terminal() -> None:
    """At a terminal the answer is coloured."""
    master, slave = pty.openpty()
    step = WALKTHROUGH / "014-a-tenant-in-trouble.json"
    subprocess.run(
        [COMMAND, "explain", "broken.example.com/ok", "--snapshot", step],
        env=environment(**TLS, TERM="xterm"), stdout=slave, check=True, timeout=60,
    )  # fmt: skip
    os.close(slave)
    assert b"\x1b[1;32m1 Pod answers" in os.read(master, 65536)
    os.close(master)


HOSTILE = "\x1b]0;owned\x07\u202e\n"


def test_hostile_text() -> None:
    """Nothing that tenants or clients write reaches a terminal as it is, and no secret is shown."""
    given = [
        namespace("shop", {"shop.example.com": {}, HOSTILE: {}, f"shop.example.co{HOSTILE}": {}}),
        pod("shop", "web-0", "10.0.0.1", [
            {"basePath": "/api", "containerPort": 3000}, {"basePath": "/%1b%5D0%3B%0A", "containerPort": 3000},
            {"basePath": f"/x{HOSTILE}", "containerPort": HOSTILE}], PORTS),
        pod("shop", "web-1", "10.0.0.2", f"/x{HOSTILE}", PORTS) | {"status": {"phase": HOSTILE}},
        pod("shop", "web-2", "10.0.0.2", API, PORTS) | {"status": {"phase": HOSTILE}},
        secret("shop", api_key="open sesame"),
    ]  # fmt: skip
    content = json.dumps({"kind": "List", "apiVersion": "v1", "items": given}).encode()
    for what in ("/api", "/x", "/%1b%5D0%3B%0A", f"/{HOSTILE}", "", "/" + "../" * 3):
        for host in ("shop.example.com", "shop.example.co"):
            shown = run("explain", f"{host}{what}", "--snapshot", "-", stdin=content)
            assert shown.returncode in (0, 1), shown.stderr
            assert all(line.isprintable() for line in shown.stdout.split("\n")), shown.stdout
            record = run("explain", f"{host}{what}", "--snapshot", "-", "--json", stdin=content).stdout
            assert record.isascii()
            SCHEMA.validate(json.loads(record))
            assert "sesame" not in shown.stdout + record
            assert "b3BlbiBzZXNhbWU" not in shown.stdout + record


EXAMPLES = re.findall(r"```console\n\$ dispatcher (.*)\n((?:.*\n)*?)```", (DOCS / "explain.md").read_text())


@pytest.mark.parametrize(("command", "output"), EXAMPLES)
def test_examples(command: str, output: str) -> None:
    """The examples of docs/explain.md are what the command prints."""
    arguments = [str(DOCS.parent / one) if one.startswith("fixtures/") else one for one in command.split()]
    assert run(*arguments, **TLS).stdout == output


def test_classes_in_the_documentation() -> None:
    """Each class of near misses is in the schema, and in the table of docs/explain.md."""
    schema = SCHEMA.schema["properties"]["near_misses"]["items"]["properties"]["reason"]["enum"]
    assert set(schema) == {one.value for one in Miss}
    assert set(re.findall(r"`([A-Z][A-Za-z]+)`", (DOCS / "explain.md").read_text())) >= set(schema)


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["bad host"], "'bad host' is not a host"),
        (["shop.dev", "--admin", "ftp://x"], "--admin: 'ftp://x' is not allowed; allowed: http://HOST:PORT"),
        (["shop.dev", "--admin", "http://x", "--snapshot", "y"], "--admin does not go with --snapshot"),
        (["shop.dev", "--snapshot", "/nowhere"], "/nowhere: cannot be read"),
        (["shop.dev"], "there is no cluster"),
        (["--once", "explain", "shop.dev"], "do not go with explain"),
        ([], "required: HOST[/PATH]"),
    ],
)
def test_wrong_input(arguments: list[str], told: str) -> None:
    """Wrong input is one line and exit code 2."""
    given = arguments if arguments[:1] == ["--once"] else ["explain", *arguments]
    refused = run(*given)
    assert (refused.returncode, refused.stdout) == (2, "")
    (line,) = refused.stderr.splitlines()
    assert told in line
