"""Monitoring: alerts fire when they should, and rules and dashboard name metrics that routers export."""

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from support.manifests import K8S, build, environment_of, one, read_documents
from support.metrics_table import read_table
from support.objects import Object

MONITORING = K8S / "monitoring"
OPERATORS = K8S / "overlays/monitoring/rules.yaml"
DASHBOARD: Object = json.loads((MONITORING / "dashboard.json").read_text())
(RULES,) = read_documents(MONITORING / "rules.yaml")
ALERTS: dict[str, Object] = {rule["alert"]: rule for group in RULES["groups"] for rule in group["rules"]}
PROMTOOL = shutil.which("promtool", path=f"{Path(sys.executable).parent}:{os.environ['PATH']}")
# What routers export, and the labels of each metric.
# What docs/metrics.md lists; tests/test_metrics.py holds that against what a router exports.
METRICS = {name: {*labels} for name, (_, labels) in read_table().items()} | {
    "process_resident_memory_bytes": set(),
    "process_cpu_seconds_total": set(),
}
HISTOGRAMS = {name for name in METRICS if name.endswith("_duration_seconds")}
# Labels that a scrape adds, and those of histograms and alerts.
SCRAPED = {"instance", "job", "container", "le"}
NAME = re.compile(r"\b(?:dispatcher|process)_[a-z_]+\b")


def panels() -> Iterator[Object]:
    return (panel for panel in DASHBOARD["panels"] if panel["type"] != "row")


def expressions() -> Iterator[str]:
    """Give all expressions: of alerts, of panels, of variables and of annotations."""
    yield from (rule["expr"] for rule in ALERTS.values())
    yield from (target["expr"] for panel in panels() for target in panel["targets"])
    yield from (one["definition"] for one in DASHBOARD["templating"]["list"] if one["type"] == "query")
    yield from (one["expr"] for one in DASHBOARD["annotations"]["list"])


def promtool(*arguments: object) -> subprocess.CompletedProcess[str]:
    command = [str(PROMTOOL), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


needs_promtool = pytest.mark.skipif(
    not PROMTOOL, reason="promtool is not there; `make test` takes it from Debian's package prometheus, by apt"
)


@pytest.mark.parametrize("text", sorted({*expressions()}))
def test_every_metric_is_exported(text: str) -> None:
    """An expression names only metrics that routers export, in their form, and only labels that they have."""
    names = NAME.findall(text)
    assert names
    known = set(SCRAPED)
    for name in names:
        base = re.sub(r"_(bucket|sum|count)\Z", "", name)
        assert base in METRICS, name
        assert (base in HISTOGRAMS) == (base != name), name
        known |= METRICS[base]
    for labels in re.findall(r"\{([^}]*)\}", text):
        assert {*re.findall(r"(\w+)\s*=~?", labels)} <= known
    for labels in re.findall(r"\b(?:by|on|ignoring)\s*\(([^)]*)\)", text):
        assert {label.strip() for label in labels.split(",")} <= known
    counted = [name for name in names if name.endswith(("_total", "_bucket", "_sum", "_count"))]
    assert len(counted) <= len(re.findall(r"\b(?:rate|increase)\(", text))


def test_every_metric_is_shown() -> None:
    """The dashboard shows every metric that routers export."""
    texts = [target["expr"] for panel in panels() for target in panel["targets"]]
    shown = {re.sub(r"_(bucket|sum|count)\Z", "", name) for text in texts for name in NAME.findall(text)}
    assert shown == METRICS.keys()


def test_every_panel_is_complete() -> None:
    """Every panel has a title, a unit, a place of its own in the grid, and asks the chosen data source and routers."""
    taken: set[tuple[int, int]] = set()
    numbers = [panel["id"] for panel in DASHBOARD["panels"]]
    assert len(numbers) == len(set(numbers))
    titles = [panel["title"] for panel in DASHBOARD["panels"]]
    assert len(titles) == len(set(titles))
    for panel in DASHBOARD["panels"]:
        grid = panel["gridPos"]
        cells = {(grid["x"] + x, grid["y"] + y) for x in range(grid["w"]) for y in range(grid["h"])}
        assert grid["x"] + grid["w"] <= 24
        assert not cells & taken
        taken |= cells
    for panel in panels():
        assert panel["title"]
        assert panel["fieldConfig"]["defaults"]["unit"]
        assert panel["targets"]
        for target in panel["targets"]:
            assert target["datasource"]["uid"] == panel["datasource"]["uid"] == "${datasource}"
            asked = re.findall(r"(?:dispatcher|process)_[a-z_]+(\{[^}]*\})?", target["expr"])
            assert all('instance=~"$instance"' in labels for labels in asked if labels)
    assert {one["name"] for one in DASHBOARD["templating"]["list"]} == {"datasource", "instance"}
    assert DASHBOARD["schemaVersion"] >= 39


@pytest.mark.parametrize("rule", ALERTS.values(), ids=ALERTS)
def test_every_alert_helps(rule: Object) -> None:
    """An alert says how bad it is, what it means for clients and where to look, in whole sentences of one line."""
    assert rule["labels"].keys() == {"severity"}
    assert rule["labels"]["severity"] in ("warning", "critical")
    assert rule["annotations"].keys() == {"summary", "description", "runbook"}
    assert all(text.endswith(".") and "\n" not in text for text in rule["annotations"].values())


def test_the_operator_gets_the_same_rules(request: pytest.FixtureRequest) -> None:
    """The overlay's PrometheusRule holds the rules of monitoring/rules.yaml; --rewrite writes them into it."""
    head, _, _ = OPERATORS.read_text().partition("\nspec:\n")
    text = (MONITORING / "rules.yaml").read_text()
    lines = text[text.index("groups:") :].splitlines(keepends=True)
    expected = f"{head}\nspec:\n{''.join('  ' + line for line in lines)}"
    if request.config.getoption("--rewrite"):
        OPERATORS.write_text(expected)
    assert OPERATORS.read_text() == expected
    assert one(build(OPERATORS.parent), "PrometheusRule")["spec"] == RULES


def test_only_one_namespace_reaches_the_admin_port() -> None:
    """Prometheus is sent to the port that the router opens, and only Pods of one Namespace are let in there."""
    objects = build(OPERATORS.parent)
    (container,) = one(objects, "DaemonSet")["spec"]["template"]["spec"]["containers"]
    environment = environment_of(container)
    (admin,) = (port for port in container["ports"] if port["name"] == "admin")
    assert admin == {"name": "admin", "containerPort": int(environment["ADMIN_PORT"])}
    assert environment["ADMIN_ADDRESS"] == "0.0.0.0"
    monitor = one(objects, "PodMonitor")["spec"]
    (endpoint,) = monitor["podMetricsEndpoints"]
    assert (endpoint["port"], endpoint["path"], endpoint["honorLabels"]) == ("admin", "/metrics", True)
    labels = one(objects, "DaemonSet")["spec"]["template"]["metadata"]["labels"]
    assert monitor["selector"]["matchLabels"].items() <= labels.items()
    opened: list[Any] = [
        rule["from"]
        for item in objects
        if item["kind"] == "NetworkPolicy"
        for rule in item["spec"]["ingress"]
        if {"port": admin["containerPort"]} in rule["ports"]
    ]
    assert opened == [[{"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "monitoring"}}}]]


@needs_promtool
def test_the_rules_are_right() -> None:
    """Prometheus reads the rules, and each alert fires and is silent in the cases of rules.test.yaml."""
    checked = promtool("check", "rules", MONITORING / "rules.yaml")
    assert checked.returncode == 0, checked.stdout + checked.stderr
    tested = promtool("test", "rules", MONITORING / "rules.test.yaml")
    assert tested.returncode == 0, tested.stdout + tested.stderr


def test_every_alert_has_both_cases() -> None:
    """For each alert there is a case in which it fires, and one in which it is silent."""
    (cases,) = read_documents(MONITORING / "rules.test.yaml")
    seen = {tuple(case["name"].split(". ")[0].split(" ", 1)) for case in cases["tests"]}
    assert seen == {(alert, state) for alert in ALERTS for state in ("fires", "is silent")}


@needs_promtool
@pytest.mark.parametrize("alert", ALERTS)
@pytest.mark.parametrize("broken", ["vector(1) < 0", "vector(1)"])
def test_a_broken_rule_is_noticed(alert: str, broken: str, tmp_path: Path) -> None:
    """If an alert never fires, or always, its cases say so."""
    rules = json.loads(json.dumps(RULES))
    for rule in rules["groups"][0]["rules"]:
        if rule["alert"] == alert:
            rule["expr"] = broken
    (tmp_path / "rules.yaml").write_text(json.dumps(rules))
    (cases,) = read_documents(MONITORING / "rules.test.yaml")
    cases["tests"] = [case for case in cases["tests"] if case["name"].startswith(f"{alert} ")]
    (tmp_path / "cases.yaml").write_text(json.dumps(cases))
    tested = promtool("test", "rules", tmp_path / "cases.yaml")
    assert tested.returncode == 1
    assert "FAILED" in tested.stdout + tested.stderr


@needs_promtool
@pytest.mark.parametrize(("ends", "words"), [(2 * 86400, "ends in 1d 23h 50m 0s"), (1, "has ended")])
def test_the_words_of_an_alert(ends: int, words: str, tmp_path: Path) -> None:
    """An alert about a certificate names the host, and says in how long it ends or that it has ended."""
    rule = ALERTS["DispatcherCertificateExpiresSoon"]
    summary = f"The certificate of h.example {words}."
    case = {
        "interval": "1m",
        "input_series": [
            {"series": 'dispatcher_certificate_expiry_timestamp_seconds{host="h.example"}', "values": f"{ends}x20"}
        ],
        "alert_rule_test": [{
            "eval_time": "10m",
            "alertname": rule["alert"],
            "exp_alerts": [{
                "exp_labels": {"host": "h.example", "severity": "critical"},
                "exp_annotations": rule["annotations"] | {"summary": summary},
            }],
        }],
    }  # fmt: skip
    cases = tmp_path / "words.yaml"
    cases.write_text(yaml.safe_dump({"rule_files": [str(MONITORING / "rules.yaml")], "tests": [case]}))
    tested = promtool("test", "rules", cases)
    assert tested.returncode == 0, tested.stdout + tested.stderr
