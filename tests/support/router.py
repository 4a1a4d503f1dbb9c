"""A router under test: the loop's own reconcile() and a real nginx, which gets requests over real connections."""

import http.client
import json
import os
import socket
import ssl
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from support import objects
from support.authority import Authority
from support.ports import free_port
from support.stages import normalise

from reconciler.loop.budget import make_budgets
from reconciler.loop.cycle import Cycle, recall
from reconciler.loop.events import EndpointsRefused, Event
from reconciler.loop.reconcile import reconcile
from reconciler.loop.stages import Stages
from reconciler.nginx.lua_module import find_lua
from reconciler.nginx.memory import CGROUP
from reconciler.nginx.program import find_version
from reconciler.nginx.sink import NginxSink
from reconciler.nginx.workers import find_workers
from reconciler.settings import Settings, read_settings


def find_pids(master: int) -> set[int]:
    """List the process numbers of a master's workers that take new connections."""
    return {worker.pid for worker in find_workers(master)}


@dataclass(frozen=True)
class Answer:
    """The answer to a request. Of a header that appears twice, `headers` has the last one, and `lines` has both."""

    status: int
    headers: dict[str, str]
    body: bytes
    lines: tuple[tuple[str, str], ...] = ()

    def find(self, name: str) -> list[str]:
        """Give all values of a header, whose name is in lower case."""
        return [value for known, value in self.lines if known == name]

    @property
    def told(self) -> dict[str, Any]:
        """What the Pod reports about the request that reached it."""
        assert self.status == 200, self
        return dict(json.loads(self.body))


class Router:
    """Serves objects on loopback with free ports; TLS is on, with a default certificate of the authority.

    With ENDPOINTS=lua in the tests' own environment, Pods come and go without a reload in all tests that say nothing
    about that.
    """

    def __init__(self, folder: Path, nginx_binary: str, authority: Authority, environment: dict[str, str]) -> None:
        certificate, key = authority.default
        self.port, self.ssl_port = free_port(), free_port()
        self.settings: Settings = replace(
            read_settings(
                {
                    "PORT": str(self.port), "SSL_PORT": str(self.ssl_port), "LISTEN_ADDRESSES": "127.0.0.1",
                    "SSL_CERT": str(certificate), "SSL_KEY": str(key), "NGINX_BINARY": nginx_binary,
                    "MAX_CHANGES_PER_NAMESPACE": "0", "MAX_ENDPOINT_CHANGES_PER_NAMESPACE": "0",
                    "DENY_POD_CIDRS": "none", "NGINX_WORKER_CONNECTIONS": "1024",
                    "ENDPOINTS": os.environ.get("ENDPOINTS", "reload"), **environment,
                }
            ),
            nginx_version=find_version(nginx_binary),
        )  # fmt: skip
        if self.settings.endpoints == "lua":
            self.settings = replace(self.settings, lua=find_lua(self.settings))
        self.last: Cycle | None = None
        self.folder = folder
        self.events: list[Event] = []
        self.stages = Stages(self.settings)
        self.nginx = self.start_sink(folder)
        self._authority = authority

    def stop(self) -> None:
        self.nginx.stop()

    def start_sink(self, folder: Path | None = None, cgroup: Path = CGROUP) -> NginxSink:
        """Make a sink that serves from the router's folder or another one; its events are added to `events`."""
        return NginxSink(folder or self.folder, self.settings, self.events.append, cgroup=cgroup)

    def serve(self, *wanted: objects.Object, days: int = 0) -> Cycle:
        """Make nginx serve these objects, as the loop would do it in `days` from now."""
        snapshot = normalise(objects.listing(list(wanted)), self.settings)
        try:
            self.last = reconcile(snapshot, self.stages, self.nginx, self.last, time.time() + days * 86400)
        finally:
            if why := self.stages.take_refusal():
                self.events.append(EndpointsRefused(why))
        return self.last

    def restart(self) -> None:
        """Stop nginx and forget everything; then continue as a new process does, from what is on disk."""
        self.nginx.stop()
        self.stages = Stages(self.settings)
        self.nginx = self.start_sink()
        resumed = self.nginx.resume()
        assert resumed
        self.last = recall(resumed.snapshot, resumed.files, make_budgets(self.settings))

    def ask(self, host: str | None, uri: str, method: str = "GET", body: bytes | None = None, **headers: str) -> Answer:
        """Send a request with this URI as it is; in the names of headers `_` stands for `-`."""
        return self._ask(
            http.client.HTTPConnection("127.0.0.1", self.port, timeout=20), host, uri, method, body, headers
        )

    def ask_tls(
        self, host: str, uri: str, sni: str | None = None, context: ssl.SSLContext | None = None, **headers: str
    ) -> Answer:
        """Send a request over TLS, as a client that trusts the tests' authority."""
        context = context or self._authority.trust()
        raw = socket.create_connection(("127.0.0.1", self.ssl_port), timeout=20)
        connection = http.client.HTTPConnection("127.0.0.1", self.ssl_port)
        connection.sock = context.wrap_socket(raw, server_hostname=sni or host)
        return self._ask(connection, host, uri, "GET", None, headers)

    def find_pods(self, number: int = 20, host: str = "a.test", uri: str = "/") -> set[str]:
        """Ask so often, and name the Pods that answer by the last parts of their addresses."""
        told = [self.ask(host, uri).told["pod"] for _ in range(number)]
        return {address.rpartition(":")[0].rpartition(".")[2] for address in told}

    def peer(self, host: str) -> bytes:
        """Give the certificate of the TLS server, as PEM, that a client sees who asks for a host."""
        context = self.trusting_all()
        with (
            socket.create_connection(("127.0.0.1", self.ssl_port), timeout=20) as raw,
            context.wrap_socket(raw, server_hostname=host) as connection,
        ):
            return ssl.DER_cert_to_PEM_cert(connection.getpeercert(binary_form=True) or b"").encode()

    def trusting_all(self) -> ssl.SSLContext:
        """Make a client's TLS context that accepts any certificate."""
        context = self._authority.trust()
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        return context

    def workers(self) -> set[int]:
        """List the process numbers of nginx's workers that take new connections."""
        return find_pids(int((self.folder / "nginx.pid").read_text()))

    def _ask(
        self, connection: http.client.HTTPConnection, host: str | None, uri: str, method: str, body: bytes | None,
        headers: dict[str, str],
    ) -> Answer:  # fmt: skip
        try:
            connection.putrequest(method, uri, skip_host=True, skip_accept_encoding=True)
            for name, value in {"Host": host, **headers}.items():
                if value is not None:
                    connection.putheader(name.replace("_", "-"), value)
            if body is not None:
                connection.putheader("Content-Length", str(len(body)))
            connection.endheaders(body)
            response = connection.getresponse()
            lines = tuple((name.lower(), value) for name, value in response.getheaders())
            return Answer(response.status, dict(lines), response.read(), lines)
        finally:
            connection.close()

    def is_closed_on(self, host: str, uri: str = "/") -> bool:
        """Tell whether nginx closes the connection without an answer."""
        try:
            self.ask(host, uri)
        except http.client.RemoteDisconnected:
            return True
        return False
