"""Whatever a tenant writes, the rendered tree says what the table says, and a neighbour's routes stay the same.

An input is a tenant's texts, separated by lines `---`: hosts, paths, a probe's path, a Pod's address, a port's name,
an API key. Missing texts have their values from USUAL.
"""

import json
import random
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from support import hostile, objects
from support.stages import build_table, normalise, render
from support.tree import expect_servers, expect_upstreams, parts_of, read_http, read_servers, read_upstreams

from reconciler.disk.trees import write_files
from reconciler.routing.model import Routes, RoutingTable
from reconciler.settings import Settings, read_settings

SEPARATOR = b"\n---\n"
USUAL = ('{"a.example.com": {}}', '[{"basePath": "/", "containerPort": 3000}]', "/status", "10.0.0.1", "http", "")
SETTINGS = replace(
    read_settings({"PORT": "18080"}), nginx_version=(1, 26, 3), allow_regex_paths=True, host_sharing="any"
)
CHECKED = replace(SETTINGS, health_checks=True)
NEIGHBOUR = [
    objects.namespace("neighbour", '{"a.example.com": {}, "*.example.com": {}}', "2025-01-01T00:00:00Z"),
    objects.pod("neighbour", "web", "10.9.9.9", '[{"basePath": "/neighbour", "containerPort": 3000}]'),
    objects.secret("neighbour", api_key="open sesame"),
]
NOW = 1_797_600_000.0
_DIRECTIVES = {"server", "keepalive", "keepalive_timeout", "check", "check_http_send", "check_http_expect_alive"}


def read_texts(data: bytes) -> list[str]:
    """Read an input as texts in UTF-8, because Kubernetes hands on no others."""
    given = [part.decode(errors="ignore") for part in data.split(SEPARATOR)]
    return [*given, *USUAL[len(given) :]][: len(USUAL)]


def make_tenant(name: str, data: bytes) -> list[objects.Object]:
    """Make the Namespace, Pod and Secret of an input."""
    hosts, paths, probe, address, port, key = read_texts(data)
    ports = [{"containerPort": 3000, "name": port}, {"containerPort": 8080}]
    made = objects.pod(name, "pod", address, paths, ports)
    made["spec"]["containers"][0]["readinessProbe"] = {"httpGet": {"port": 3000, "path": probe}}
    return [objects.namespace(name, hosts), made, *([objects.secret(name, api_key=key)] if key else [])]


def build(cluster: list[objects.Object], settings: Settings) -> RoutingTable:
    """Build the table of these objects."""
    return build_table(normalise(objects.listing(cluster), settings), settings, NOW)


def check(data: bytes) -> None:
    """Check the routes and the tree of an input, without and with health checks."""
    cluster = NEIGHBOUR + make_tenant("attacker", data)
    for settings in ALONE:
        routes = build(cluster, settings).routes
        assert parts_of("neighbour", routes) == ALONE[settings]
        if len(routes.upstreams) > 1:
            check_tree(routes, settings)


def check_tree(routes: Routes, settings: Settings) -> None:
    """Read the rendered tree with crossplane, and check that it has what the table has and nothing else."""
    files = render(routes, settings)
    with tempfile.TemporaryDirectory() as folder:
        write_files(files, Path(folder))
        http = read_http(Path(folder))
    assert read_upstreams(http) == expect_upstreams(routes)
    assert read_servers(http) == expect_servers(routes, settings)
    inside = {line["directive"] for block in http if block["directive"] == "upstream" for line in block["block"]}
    assert inside <= _DIRECTIVES, inside


def mutate(data: bytes, longest: int, seed: int) -> bytes:
    """Change one text of an input; in JSON mostly change one string, so that it stays JSON."""
    import atheris

    pick = random.Random(seed)
    texts = read_texts(data)
    place = pick.choices(range(len(texts)), weights=(3, 6, 1, 1, 1, 1))[0]
    try:
        value = [json.loads(texts[place])]
        within = list(find_strings(value))
    except (ValueError, RecursionError):
        within = []
    if within and pick.random() < 0.8:
        change_string(*pick.choice(within), pick)
        texts[place] = json.dumps(value[0], ensure_ascii=pick.random() < 0.5)
    elif pick.random() < 0.5:
        texts[place] = insert(texts[place], pick)
    else:
        texts[place] = atheris.Mutate(texts[place].encode(errors="ignore"), 4096).decode(errors="ignore")
    return SEPARATOR.join(text.encode(errors="ignore") for text in texts)[:longest]


def find_strings(value: Any) -> Iterator[tuple[Any, Any]]:
    """List where a value has strings: as keys of objects, and at the keys and indexes of objects and arrays."""
    for key, inner in list(value.items() if isinstance(value, dict) else enumerate(value)):
        if isinstance(value, dict):
            yield value, (key,)
        if isinstance(inner, str):
            yield value, key
        elif isinstance(inner, dict | list):
            yield from find_strings(inner)


def change_string(holder: Any, key: Any, pick: random.Random) -> None:
    """Change a string in its object or array; if the string is an object's key, `key` is a tuple of it."""
    if isinstance(key, tuple):
        holder[insert(key[0], pick)] = holder.pop(key[0])
    else:
        holder[key] = insert(holder[key], pick)


def insert(text: str, pick: random.Random) -> str:
    """Replace a part of a text, which may be empty, with a hostile fragment."""
    start = pick.randint(0, len(text))
    end = min(len(text), start + pick.choice((0, 0, 1, 4, len(text))))
    return text[:start] + pick.choice(hostile.FRAGMENTS) + text[end:]


ALONE = {settings: parts_of("neighbour", build(NEIGHBOUR, settings).routes) for settings in (SETTINGS, CHECKED)}
