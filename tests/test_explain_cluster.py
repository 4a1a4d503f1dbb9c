"""explain of a live cluster: a real HTTP API server, and people with few rights."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from support import command
from support.apiserver import ApiServer
from support.authority import Authority
from support.faults import INTERNAL_ERROR
from support.objects import PATHS, Object, namespace, pod, secret, tls
from support.running_daemon import RunningDaemon

LABEL = "github.com/30x.dispatcher.routable"
PORTS: list[Object] = [{"containerPort": 3000}]
API = [{"basePath": "/api", "containerPort": 3000}]
SHOP = namespace("shop", {"shop.example.com": {}, "secure.dev": tls(client="ssl.ca")})
WEB = pod("shop", "web-0", "10.0.0.1", API, PORTS)
HIDDEN = pod("shop", "hidden", "10.0.0.2", [{"basePath": "/hidden", "containerPort": 3000}], PORTS, labels={})
DEPLOYMENT = {
    "kind": "Deployment", "apiVersion": "apps/v1",
    "metadata": {
        "name": "web", "namespace": "shop",
        "annotations": {PATHS: json.dumps([{"basePath": "/above", "containerPort": 3000}])},
    },
    "spec": {"template": {"metadata": {"labels": {LABEL: "true"}}, "spec": {"containers": []}}},
}  # fmt: skip
Ask = Callable[..., dict[str, Any]]


@pytest.fixture
def ask(tmp_path: Path, server: ApiServer, authority: Authority) -> Ask:
    """Explain over the cluster that kubectl would use, as JSON."""
    config = RunningDaemon(tmp_path / "person", server, authority).config
    certificate, key = authority.default
    server.load([SHOP, WEB, HIDDEN, DEPLOYMENT, secret("shop", api_key="open sesame")])
    server.permit("deployments", "*")

    def explain(what: str, code: int, **settings: str) -> dict[str, Any]:
        pair = {"SSL_CERT": str(certificate), "SSL_KEY": str(key)}
        told = command.run("explain", what, "--json", KUBECONFIG=str(config), **{**pair, **settings})
        assert told.returncode == code, told.stderr
        return dict(json.loads(told.stdout)) if told.stdout else {"error": told.stderr}

    return explain


def test_served(ask: Ask, server: ApiServer) -> None:
    """What the cluster has is explained as it would be served; Secrets are asked for by their name alone."""
    record = ask("shop.example.com/api", 0)
    assert [one["address"] for one in record["pods"]] == ["10.0.0.1:3000"]
    assert record["path"]["api_key"]
    asked = [one.query.get("fieldSelector") for one in server.requests if one.path.endswith("/secrets")]
    assert asked
    assert all("metadata.name=routing" in (fields or "") for fields in asked)
    assert all(one.method == "GET" for one in server.requests)


def test_what_is_not_labelled(ask: Ask) -> None:
    """Objects without the label, and workloads with an annotation on the wrong level, are near misses."""
    (miss, *_) = ask("shop.example.com/hidden", 1)["near_misses"]
    assert (miss["reason"], miss["object"]["name"]) == ("NotSelected", "hidden")
    (miss, *_) = ask("shop.example.com/above", 1)["near_misses"]
    assert (miss["reason"], miss["object"]["kind"]) == ("MisplacedAnnotation", "Deployment")


def test_without_rights_to_secrets(ask: Ask, server: ApiServer) -> None:
    """A person who may not read Secrets learns what answers, and that keys and certificates are not known."""
    server.permit("secrets")
    server.permit("deployments")
    record = ask("shop.example.com/api", 0)
    assert record["path"]["api_key"] is None
    assert any(one.startswith("Secrets: API keys, certificates") for one in record["unknown"])
    assert any(one.startswith("Deployments of Namespace shop (403 Forbidden: ") for one in record["unknown"])
    record = ask("secure.dev/api", 0)
    assert (record["scheme"], record["host"]["tls"]) == ("https", {"not_after": None, "names": [], "client": True})
    assert ask("http://secure.dev/api", 1)["outcome"] == "308"
    assert record["problems"] == []


def test_without_rights_to_pods(ask: Ask, server: ApiServer) -> None:
    """If Pods cannot be listed, one line names the rule that is missing; exit code 3."""
    server.permit("pods")
    assert "list pods: 403 Forbidden" in ask("shop.example.com/api", 3)["error"]
    assert "verbs: [list]" in ask("shop.example.com/api", 3)["error"]


def test_workloads_that_fail(ask: Ask, server: ApiServer) -> None:
    """A failure of what is only for near misses fails nothing else."""
    server.fail(INTERNAL_ERROR, "/apis/*")
    record = ask("shop.example.com/hidden", 1)
    assert any(one.startswith("Deployments of Namespace shop (500 Internal Server") for one in record["unknown"])


def test_unreachable(ask: Ask, server: ApiServer) -> None:
    """If the API server does not answer, one line says so; exit code 3."""
    server.refuse()
    assert "Connection refused" in ask("shop.example.com", 3)["error"]
