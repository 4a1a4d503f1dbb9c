"""Documents as /status.json gives them: a small cluster in trouble, one with nothing, a large one, a hostile one."""

from datetime import datetime, timedelta
from typing import Any

NOW = "2026-03-02T08:12:34Z"
Report = dict[str, Any]

HOSTILE = (
    "<script>document.title='owned'</script>",
    "<img src=x onerror=document.title='owned'>",
    "\"' onclick=\"document.title='owned'",
    "abc\u202egnp.exe\u202c\u200b\x00",
    "\u0645\u062a\u062c\u0631 \u05d7\u05e0\u05d5\u05ea",
    "very-long-" * 120,
)


def make_empty() -> Report:
    """Make the report of a router that has started and routes nothing."""
    return {
        "version": 1,
        "program": {"name": "dispatcher", "version": "0.1.0"},
        "time": NOW,
        "started": "2026-03-02T08:12:30Z",
        "serving": {
            "state": "starting",
            "text": "nothing is served yet: the first reading of the cluster has not ended",
            "release": None,
            "since": None,
            "origin": "live",
            "read": None,
            "behind": None,
            "error": None,
            "published": None,
        },
        "size": dict.fromkeys(("hosts", "locations", "upstreams", "pods", "namespaces"), 0),
        "source": {"text": "the cluster at https://10.96.0.1:443", "answers": []},
        "nginx": {
            "version": None,
            "running": False,
            "workers": {"serving": 0, "leaving": 0},
            "connections": None,
            "memory": None,
            "endpoints": {"chosen": None, "without_reload": None, "why": None, "version": None},
        },
        **{name: [] for name in ("problems", "held", "hosts", "changes", "reloads", "certificates", "settings")},
    }


def make_small() -> Report:
    """Make the report of a small cluster with one of everything that a page can show."""
    return make_empty() | {
        "serving": {
            "state": "serving",
            "text": "every change of the cluster is served",
            "release": "4d14143516aeda27c8c5630dbb22eaf2",
            "since": "2026-03-02T08:12:03Z",
            "origin": "live",
            "read": "2026-03-02T08:12:33Z",
            "behind": 0.0,
            "error": None,
            "published": None,
        },
        "size": {"hosts": 4, "locations": 10, "upstreams": 5, "pods": 7, "namespaces": 3},
        "source": {"text": "the cluster at https://10.96.0.1:443", "answers": make_answers()},
        "nginx": {
            "version": "1.26.3",
            "running": True,
            "workers": {"serving": 2, "leaving": 1},
            "connections": 12,
            "memory": 35_651_584,
            "endpoints": {"chosen": "lua", "without_reload": True, "why": None, "version": 12},
        },
        "problems": [
            make_problem("Namespace", "", "team-b", "host test.k8s.local", "belongs to Namespace test-namespace"),
            make_problem("Pod", "broken", "json-6cf5d688dd-v7tzc", "github.com/30x.dispatcher.paths", "is not JSON"),
        ],
        "held": [{"namespace": "frantic", "why": "it changed more than 12 times in a minute", "until": NOW}],
        "hosts": [
            make_host("shop.example.com", "shop", ["/", "/api"], pods=2),
            make_host("secure.example.com", "shop", ["/", "/keys"], pods=1)
            | {"plain": "redirects", "tls": {"not_after": "2026-03-10T00:00:00Z", "client": True}},
            make_host("b.example.com", "team-b", ["/b"], pods=3),
            make_host("waits.example.com", "team-b", ["/w"], pods=0),
        ],
        "changes": [make_change(minute) for minute in range(12, 0, -1)],
        "reloads": [make_reload(minute) for minute in range(12, 0, -1)],
        "certificates": [
            make_certificate("secure.example.com", "shop", -1.5),
            make_certificate("soon.example.com", "shop", 7.7),
            make_certificate("later.example.com", "team-b", 311.2),
        ],
        "settings": [
            make_setting("PORT", "8080", "80", was_set=True),
            *(make_setting(f"SETTING_{number}", "10", "10", was_set=False) for number in range(20)),
        ],
    }


def make_large(hosts: int = 1000, paths: int = 2, pods: int = 5) -> Report:
    """Make the report of a cluster with 10,000 Pods behind paths."""
    made = [
        make_host(
            f"host-{number}.example.com",
            f"team-{number % 200}",
            [f"/p{path}" for path in range(paths)],
            pods,
            f"web-{number}",
        )
        for number in range(hosts)
    ]
    size = {
        "hosts": hosts,
        "locations": 2 * hosts * paths,
        "upstreams": hosts * paths,
        "pods": hosts * paths * pods,
        "namespaces": 200,
    }
    return make_small() | {"hosts": made, "size": size}


def make_hostile() -> Report:
    """Make a report in which each text that tenants can influence tries to break the page."""
    report = make_small()
    report["problems"] = [make_problem("Pod", text, text, text, text) | {"expected": text} for text in HOSTILE]
    report["held"] = [{"namespace": text, "why": text, "until": None} for text in HOSTILE]
    report["hosts"] = [make_host(text, text, [f"/{text}"], pods=2, pod=text) for text in HOSTILE]
    report["certificates"] = [make_certificate(text, text, 3.0) for text in HOSTILE]
    report["changes"] = [make_change(1) | {"changes": [{"sign": "+", "text": text} for text in HOSTILE]}]
    report["nginx"] |= {"endpoints": report["nginx"]["endpoints"] | {"without_reload": False, "why": HOSTILE[0]}}
    report["serving"] |= {"state": "stale", "error": HOSTILE[0], "text": HOSTILE[1], "behind": 125.0}
    report["settings"] = [make_setting("HOSTS_ANNOTATION", text, "x", was_set=True) for text in HOSTILE]
    return report


def make_host(host: str, namespace: str, paths: list[str], pods: int, pod: str = "web") -> Report:
    """Make a host of a Namespace; each of its paths has `pods` Pods, or answers 503."""
    head = {"host": host, "namespace": namespace, "plain": "serves", "open": True, "tls": None}
    return {**head, "options": {"hsts": "8760h"} if "/api" in paths else {}, "paths": [
        {
            "path": path, "namespace": namespace, "access": "open", "target": "/v1" if path == "/api" else None,
            "answer": "Pods" if pods else "503",
            "options": {"timeouts": "read 90s", "access.allow": "10.0.0.0/8"} if path == "/api" else {},
            "reload": "",
            "pods": [
                {"name": f"{pod}-{path.strip('/')}-{number}", "address": f"10.244.{number}.7:3000", "weight": 1}
                for number in range(pods)
            ],
        }
        for path in paths
    ]}  # fmt: skip


def share_pods(report: Report) -> Report:
    """Give a report as a router writes it: Pods stand once for each path, and not with each host."""
    upstreams: dict[str, Any] = {}
    hosts = []
    for host in report["hosts"]:
        paths = []
        for path in host["paths"]:
            told = dict(path)
            name = f"{host['host']} {path['path']}"
            upstreams[name] = told.pop("pods")
            paths.append(told | {"upstream": name})
        hosts.append(host | {"paths": paths})
    return report | {"hosts": hosts, "upstreams": upstreams}


def make_problem(kind: str, namespace: str, name: str, what: str, why: str) -> Report:
    """Make a problem of a Namespace or Pod."""
    return {
        "kind": kind,
        "namespace": namespace,
        "name": name,
        "what": what,
        "why": why,
        "expected": "a JSON array of entries",
        "reason": "InvalidAnnotation",
        "since": "2026-03-02T07:55:00Z",
    }


def make_change(minute: int) -> Report:
    """Make the changes of one cycle; those of odd minutes are of Pods alone, and keep the release."""
    signs = {"+": "path shop.example.com/api (namespace shop, access open)", "-": "pod shop/web-1 for /api", "~": "key"}
    lines = [{"sign": sign, "text": text} for sign, text in signs.items()]
    told = {"time": f"2026-03-02T08:{minute:02}:00Z", "release": f"{minute // 2 * 2:032x}"}
    return told | {"without_reload": minute % 2 == 1, "changes": lines, "more": 0}


def make_reload(minute: int) -> Report:
    """Make one reload; later ones take longer."""
    seconds = {"write": 0.01, "test": 0.02 * minute, "load": 0.08}
    phases = [{"name": name, "seconds": second} for name, second in seconds.items()]
    return {"time": f"2026-03-02T08:{minute:02}:00Z", "release": f"{minute:032x}", "phases": phases}


def make_certificate(host: str, namespace: str, days: float) -> Report:
    """Make a certificate that ends in some days."""
    end = (datetime.fromisoformat(NOW) + timedelta(days=days)).strftime("%Y-%m-%dT%H:%M:%SZ")
    return {"host": host, "namespace": namespace, "part": "certificate", "not_after": end, "days": days}


def make_setting(name: str, value: str, default: str, *, was_set: bool) -> Report:
    """Make a setting."""
    return {"name": name, "value": value, "default": default, "allowed": "a number", "set": was_set}


def make_answers() -> list[Report]:
    """Make what the API server answered."""
    codes = {"namespaces": 200, "pods": 200, "secrets": 403}
    return [
        {"resource": name, "code": code, "number": 812, "bytes": 71_000, "last": NOW} for name, code in codes.items()
    ]
