"""JSON with repeated keys: no value of theirs counts, and the smallest thing around them is left out."""

import json
from collections.abc import Callable

import pytest
from support.authority import Authority
from support.objects import namespace, pod, secret, tls
from support.pods import DECLARED, HOST, PORT, entry
from support.router import Router

from reconciler.routing.annotations import Ambiguous, read_json
from reconciler.routing.host_options import parse_hosts
from reconciler.routing.path_entries import parse_paths
from reconciler.settings import read_settings

Start = Callable[..., Router]
SETTINGS = read_settings({})
SECURE = json.dumps(tls(client="ca.crt"))


@pytest.mark.parametrize(
    ("text", "broken", "faults"),
    [
        (f'{{"a.dev": {SECURE}, "a.dev": {{}}, "b.dev": {{}}}}', {"a.dev"}, ["'a.dev' appears twice"]),
        (f'{{"a.dev": {{}}, "b.dev": {{}}, "a.dev": {SECURE}}}', {"a.dev"}, ["'a.dev' appears twice"]),
        ('{"a.dev": {}, "A.dev": {}, "b.dev": {}}', {"a.dev"}, ["'A.dev' appears twice"]),
        (f'{{"a.dev": {{"ssl": {SECURE}, "ssl": null}}, "b.dev": {{}}}}', {"a.dev"}, ["'a.dev'.'ssl' appears twice"]),
        ('{"a.dev": {"sharedWith": ["x"], "sharedWith": []}}', {"a.dev"}, ["'a.dev'.'sharedWith' appears twice"]),
        (
            '{"a.dev": {"ssl": {"certificate": {"valueFrom": {"secretKeyRef": {"key": "x", "key": "y"}}}, '
            '"certificateKey": {"valueFrom": {"secretKeyRef": {"key": "z"}}}}}}',
            {"a.dev"},
            ["'a.dev'.ssl.certificate.'key' appears twice"],
        ),
        ('{"a.dev": {"x": {"y": 1, "y": 2}}}', set(), ["'a.dev'.'x' is an unknown key and is ignored"]),
        ('{"a:b": {}, "a.dev": {}}', set(), ["'a:b' is not a host"]),
    ],
)
def test_hosts(text: str, broken: set[str], faults: list[str]) -> None:
    """A host with a repeated key, or that is named twice, is claimed and not served, whatever stands in which place."""
    hosts, found = parse_hosts(text)
    assert {host.name for host in hosts if host.broken} == broken
    assert [f"{fault.what} {fault.why}" for fault in found] == faults


@pytest.mark.parametrize(
    ("text", "paths", "faults"),
    [
        (
            '[{"basePath": "/a", "containerPort": 1, "basePath": "/b"}, {"basePath": "/c", "containerPort": 1}]',
            ["/c"],
            ["[0].'basePath' appears twice"],
        ),
        ('[{"basePath": "/a", "containerPort": 1, "weight": 1, "weight": 1}]', [], ["[0].'weight' appears twice"]),
        ('[{"basePath": "/a:b", "containerPort": 1}]', ["/a:b"], []),
    ],
)
def test_paths(text: str, paths: list[str], faults: list[str]) -> None:
    """An entry with a repeated key is left out alone."""
    entries, found = parse_paths(text, SETTINGS)
    assert [entry.path for entry in entries] == paths
    assert [f"{fault.what} {fault.why}" for fault in found] == faults


@pytest.mark.parametrize("count", [2, 3, 50])
def test_every_depth_is_seen(count: int) -> None:
    """Repeated keys are found at any depth, and however often they are repeated."""
    inner = "{" + ", ".join('"k": 1' for _ in range(count)) + "}"
    value = read_json(f'{{"a": [[{{"b": {inner}}}]]}}', dict, "object")
    found = value["a"][0][0]["b"]
    assert isinstance(found, Ambiguous)
    assert found.repeated == ("k",)


def test_colons_in_strings_are_no_members() -> None:
    """Colons in strings cost a second reading, and change nothing."""
    assert read_json('{"a:": "::", "b": ["x:y"]}', dict, "object") == {"a:": "::", "b": ["x:y"]}


def test_host_is_not_served_without_its_protection(router: Start, ips: list[str], authority: Authority) -> None:
    """A host that is named twice, first with client certificates and then without, is not served plain."""
    here = router()
    certificate, key = authority.issue("a.dev")
    text = f'{{"a.dev": {SECURE}, "a.dev": {{}}, "{HOST}": {{}}}}'
    here.serve(
        namespace("a", text),
        pod("a", "web-0", ips[0], [entry("/")], DECLARED),
        secret("a", ssl_crt=certificate, ssl_key=key, ca_crt=authority.pem),
    )
    assert here.is_closed_on("a.dev")
    assert here.ask(HOST, "/").status == 200


def test_path_is_not_exposed_by_a_second_one(router: Start, ips: list[str]) -> None:
    """Neither of two basePaths of one entry is served, and the other entries are."""
    here = router()
    doubled = f'[{{"basePath": "/public", "basePath": "/", "containerPort": {PORT}}}, {json.dumps(entry("/ok"))}]'
    cycle = here.serve(namespace("a", {HOST: {}}), pod("a", "web-0", ips[0], doubled, DECLARED))
    assert [here.ask(HOST, uri).status for uri in ("/public", "/", "/ok")] == [404, 404, 200]
    (problem,) = cycle.table.problems
    assert str(problem).endswith("[0].'basePath' appears twice; expected: each key once")
