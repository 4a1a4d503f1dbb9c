"""The recorded story on loopback: the requests to send to a router after each step, and the expected answers."""

import base64
import http.client
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from support import objects
from support.backends import Backends
from support.ports import free_port, loopback
from support.router import Answer, Router

_ASKS = 200


@dataclass(frozen=True)
class Ask:
    """A request and what is expected: a status, or None for a closed connection, and the Pods that answer, by name.

    `key` is the API key as the tenant wrote it; `sent` is the URI that reaches the Pod, if it is a different one.
    """

    host: str
    uri: str
    status: int | None
    pods: str = ""
    key: str = ""
    tls: bool = False
    sent: str = ""


_HOST = "test.k8s.local"
_BEFORE, _AFTER = "supersecret", "rotated-secret"
_OPEN = Ask(_HOST, "/nodejs", 200, "vlct2")
_ROLLED = "5cz29 ktrf2 z8stf"
_SECURE = Ask("secure.dev", "/", 200, "dqgdx hsjhc", tls=True)
_TEAM_B = Ask("b.example.com", "/nodejs", 200, "6msfn dv6l2")

STORY: dict[str, tuple[Ask, ...]] = {
    "001": (Ask(_HOST, "/", None),),
    "002": (Ask(_HOST, "/", 404), Ask("unknown.k8s.local", "/", None)),
    "003": (Ask(_HOST, "/nodejs", 503),),
    "004": (Ask(_HOST, "/nodejs", 503),),
    "005": (_OPEN, Ask(_HOST, "/nodejs/env?x=1", 200, "vlct2"), Ask(_HOST, "/nodejsx", 404)),
    "006": (_OPEN,),
    "007": (Ask(_HOST, "/nodejs", 200, "vlct2 f8hvk rp2f4"),),
    "008": (
        Ask(_HOST, "/nodejs", 403),
        Ask(_HOST, "/nodejs", 200, "vlct2 f8hvk rp2f4", key=_BEFORE),
        Ask(_HOST, "/other", 404),
    ),
    "009": (Ask(_HOST, "/nodejs", 403, key=_BEFORE), Ask(_HOST, "/nodejs", 200, "vlct2 f8hvk rp2f4", key=_AFTER)),
    "010": (
        Ask(_HOST, "/nodejs", 200, "f8hvk rp2f4 5cz29", key=_AFTER),
        Ask(_HOST, "/env?x=1", 200, "5cz29", key=_AFTER, sent="/nodejs/env?x=1"),
    ),
    "011": (
        Ask(_HOST, "/nodejs", 200, _ROLLED, key=_AFTER),
        Ask(_HOST, "/env/a", 200, _ROLLED, key=_AFTER, sent="/nodejs/env/a"),
    ),
    "012": (_SECURE, Ask("secure.dev", "/", 308), Ask("mtls.dev", "/", 400, tls=True)),
    "013": (
        _TEAM_B,
        Ask("any.b.example.com", "/b", 200, "6msfn dv6l2"),
        Ask(_HOST, "/b", 404),
        Ask(_HOST, "/nodejs", 403),
        Ask(_HOST, "/nodejs", 200, _ROLLED, key=_AFTER),
    ),
    "014": (
        Ask("broken.example.com", "/ok", 200, "c2rzl"),
        Ask("broken.example.com", "/p", 404),
        Ask("broken.example.com", "/x", 404),
        Ask("broken.example.com", "/y", 404),
        _TEAM_B,
        _SECURE,
    ),
    "015": (Ask("st-a.example.com", "/", 200, "st-a/web-0"), Ask("st-b.example.com", "/", 200, "st-b/web-0")),
    "016": (Ask("v6.example.com", "/x", 200, "zsr5q"),),
    "017": (Ask("test.k8s.com", "/public", None), Ask("v6.example.com", "/", 200, "zsr5q")),
    "018": (Ask("broken.example.com", "/ok", None), _TEAM_B),
    "019": (Ask(_HOST, "/nodejs", 200, "ktrf2 z8stf", key=_AFTER), _SECURE),
}  # fmt: skip


def name_recording(step: str) -> str:
    """Give the file name of a step's recording."""
    (path,) = objects.WALKTHROUGH.glob(f"{step}-*.json")
    return Path(path).name


class Stage:
    """Moves the Pods of the story to loopback addresses and free ports, and starts a real server for each of them."""

    def __init__(self, backends: Backends) -> None:
        self._backends = backends
        self._ports = {port: free_port() for port in (3000, 8080, 443)}
        self._pods: dict[str, str] = {}

    def read(self, step: str) -> list[objects.Object]:
        """Read a step's objects and move its Pods; every Pod answers from now on."""
        moved = objects.on_loopback(objects.read(step), self._ports, loopback)
        for item in moved:
            ip = item.get("status", {}).get("podIP")
            for container in item["spec"]["containers"] if ip else ():
                for port in container["ports"]:
                    if port["containerPort"] in self._ports.values():
                        self._backends.listen(ip, port["containerPort"])
                        name = f"{item['metadata']['namespace']}/{item['metadata']['name']}"
                        self._pods[f"{ip}:{port['containerPort']}"] = name
        return moved

    def name(self, answer: Answer) -> str:
        """Name the Pod that answered, as namespace/name."""
        return self._pods[answer.told["pod"]]

    def ask(self, router: Router, ask: Ask) -> Iterator[tuple[Answer | None, str]]:
        """Repeat a request until each expected Pod has answered; give each answer and its Pod's name."""
        missing = set(ask.pods.split())
        for _ in range(_ASKS):
            answer = send(router, ask)
            name = self.name(answer) if answer and answer.status == 200 else ""
            missing -= {short for short in missing if name.endswith(short)}
            yield answer, name
            if not missing:
                return


def send(router: Router, ask: Ask) -> Answer | None:
    """Send one request; None if nginx closes the connection."""
    headers = {"X_ROUTING_API_KEY": base64.b64encode(ask.key.encode()).decode()} if ask.key else {}
    try:
        if ask.tls:
            return router.ask_tls(ask.host, ask.uri, context=router.trusting_all())
        return router.ask(ask.host, ask.uri, **headers)
    except http.client.RemoteDisconnected:
        return None
