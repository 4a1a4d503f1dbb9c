"""The admin port: what the router knows about itself, read-only, for people and monitoring."""

import re
from collections.abc import Callable, Mapping
from http import HTTPStatus

from reconciler.status.answers import HttpAnswer, Request, say
from reconciler.status.health import Health
from reconciler.status.metrics import Metrics
from reconciler.status.page import read_page
from reconciler.status.status_file import StatusFile
from reconciler.values.addresses import parse_address

_HOST = re.compile(r"(?P<name>\[[0-9A-Fa-f:.]+\]|[^:\[\]]+)(?::[0-9]{1,5})?")


class Admin:
    """Answers requests to the admin port. `hosts` are the names that Host may have, beside addresses and localhost."""

    def __init__(self, health: Health, status_file: StatusFile, metrics: Metrics, hosts: tuple[str, ...]) -> None:
        self._health = health
        self._status_file = status_file
        self._metrics = metrics
        self._hosts = frozenset((*hosts, "localhost"))
        page = read_page()
        self._paths: Mapping[str, Callable[[Request], HttpAnswer]] = {
            **({"/": lambda _: page} if page else {}),
            "/status.json": self._answer_status,
            "/metrics": self._answer_metrics,
            "/healthz": health.answer,
            "/readyz": health.answer,
        }

    def answer(self, request: Request) -> HttpAnswer:
        """Answer a request.

        A page of another origin could have its own name resolved to this address, and then read what is answered. But
        its browser sends that name as Host. https://owasp.org/www-community/attacks/DNS_Rebinding
        """
        if not self._is_ours(request.host):
            text = "Host has to be an IP address, localhost or a name in ADMIN_HOSTS"
            return say(HTTPStatus.MISDIRECTED_REQUEST, text)
        if found := self._paths.get(request.path):
            return found(request)
        return say(HTTPStatus.NOT_FOUND, f"paths: {', '.join(sorted(self._paths))}")

    def _is_ours(self, host: str) -> bool:
        found = _HOST.fullmatch(host)
        name = found["name"].lower() if found else ""
        return name in self._hosts or parse_address(name.strip("[]")) is not None

    def _answer_status(self, request: Request) -> HttpAnswer:
        document = self._status_file.write()
        headers: tuple[tuple[str, str], ...] = (("ETag", document.tag), ("Vary", "Accept-Encoding"))
        if document.tag in (known.strip() for known in request.known.split(",")):
            return HttpAnswer(HTTPStatus.NOT_MODIFIED, b"", headers=headers)
        if request.packs:
            headers += (("Content-Encoding", "gzip"),)
        body = document.packed if request.packs else document.plain
        return HttpAnswer(HTTPStatus.OK, body, "application/json", headers=headers)

    def _answer_metrics(self, request: Request) -> HttpAnswer:
        body, kind = self._metrics.write(request.accept)
        return HttpAnswer(HTTPStatus.OK, body, kind)
