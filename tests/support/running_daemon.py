"""The daemon under test: the installed command with a real nginx, which follows a test API server, and its output."""

import http.client
import json
import os
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml
from support import command
from support.apiserver import TOKEN, ApiServer
from support.authority import Authority
from support.ports import free_port

PATIENCE = 60


def wait_until(condition: Callable[[], object], told: Callable[[], object] = lambda: "") -> None:
    """Wait until a condition is true; `told` gives the details for the error if it does not become true."""
    until = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < until, f"it did not come: {told()}"
        time.sleep(0.02)


class RunningDaemon:
    """A running `dispatcher --serve` (or other arguments); `lines` is the output of it and its nginx so far."""

    def __init__(self, folder: Path, server: ApiServer, authority: Authority, **settings: str) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder / "router"
        self.port, self.ssl_port = free_port(), free_port()
        self.health_port, self.admin_port = free_port(), free_port()
        self.token = folder / "token"
        self.token.write_text(TOKEN)
        self.config = folder / "kubeconfig"
        self.write_config(server.url, authority)
        self.lines: list[str] = []
        self._settings = {
            "KUBECONFIG": str(self.config),
            "PORT": str(self.port),
            "SSL_PORT": str(self.ssl_port),
            "HEALTH_PORT": str(self.health_port),
            "ADMIN_PORT": str(self.admin_port),
            "RECONCILE_INTERVAL": "1",
            "DENY_POD_CIDRS": "none",
            "MIN_RELOAD_INTERVAL": "0",
            "MAX_CHANGES_PER_NAMESPACE": "0",
            "MAX_ENDPOINT_CHANGES_PER_NAMESPACE": "0",
            "API_TIMEOUT": "2",
            "NGINX_WORKER_CONNECTIONS": "256",
            "ENDPOINTS": os.environ.get("ENDPOINTS", "auto"),
            "PYTHONFAULTHANDLER": "1",  # SIGABRT shows what all threads do
            **settings,
        }
        self.before: tuple[object, ...] = ()  # a command that runs the daemon's command
        self._readers: list[threading.Thread] = []
        self.process: subprocess.Popen[str] | None = None

    def write_config(self, url: str, authority: Authority) -> None:
        """Write the kubeconfig."""
        ca = self.config.with_name("ca.crt")
        ca.write_bytes(authority.pem)
        document = {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": "test", "cluster": {"server": url, "certificate-authority": str(ca)}}],
            "users": [{"name": "test", "user": {"tokenFile": str(self.token)}}],
            "contexts": [{"name": "test", "context": {"cluster": "test", "user": "test"}}],
            "current-context": "test",
        }
        self.config.write_text(yaml.safe_dump(document))

    def start(self, *arguments: object, **settings: str) -> None:
        """Start the command; by default it serves."""
        given = arguments or ("--serve", "--output", self.folder)
        self.process = subprocess.Popen(
            [*map(str, (*self.before, command.COMMAND, *given))], env=command.environment(**self._settings | settings),
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        )  # fmt: skip
        reader = threading.Thread(target=self._read, args=(self.process,), daemon=True)
        reader.start()
        self._readers.append(reader)

    def end(self, number: int = signal.SIGTERM) -> int:
        """Send a signal, wait for the end and for all output before it, and give the exit code."""
        assert self.process
        if self.process.poll() is None:
            self.process.send_signal(number)
        try:
            code = self.process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            self.process.send_signal(signal.SIGABRT)
            self.process.wait(PATIENCE)
            self._readers[-1].join(1)
            told = "\n".join(self.lines[-200:])
            raise AssertionError(f"it did not end; told: {told}") from None
        if number != signal.SIGKILL:  # SIGKILL leaves nginx running, and nginx can still write output
            self._readers[-1].join(PATIENCE)
        return code

    def wait_for(self, condition: Callable[[], object], what: str = "it") -> None:
        """Wait until a condition is true."""
        wait_until(condition, lambda: f"{what}; told: {self.lines[-20:]}")

    def wait_for_line(self, part: str, times: int = 1) -> None:
        """Wait until at least `times` lines contain `part`."""
        self.wait_for(lambda: self.count(part) >= times, repr(part))

    def wait_until_serves(self, *hosts: str) -> None:
        """Wait until hosts are served and `applied` is logged; until then old workers take connections too."""
        self.wait_for(lambda: all(self.ask(host) == 200 for host in hosts), f"an answer for {hosts}")
        self.wait_for_line("applied")

    def count(self, part: str) -> int:
        """Count the lines that contain `part`."""
        return sum(part in line for line in self.lines)

    def ask(self, host: str, path: str = "/") -> int:
        """Send a request over a new connection; give the status, or 0 if the connection is closed or refused."""
        return self._get(self.port, path, host)[0]

    def probe(self, path: str) -> tuple[int, str]:
        """Request a path on the health port; give the status and the text."""
        return self._get(self.health_port, path, "health")

    def read_status(self) -> dict[str, Any]:
        """Read what the admin port tells as /status.json; nothing while it does not answer."""
        status, text = self._get(self.admin_port, "/status.json", "127.0.0.1")
        return dict(json.loads(text)) if status == 200 else {}

    def _get(self, port: int, path: str, host: str) -> tuple[int, str]:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
        try:
            connection.request("GET", path, headers={"Host": host})
            answer = connection.getresponse()
            return answer.status, answer.read().decode().strip()
        except (OSError, http.client.HTTPException):
            return 0, ""
        finally:
            connection.close()

    def master(self) -> int:
        """Give the process number of nginx's master."""
        return int((self.folder / "nginx.pid").read_text())

    def close(self) -> None:
        """End everything that still runs."""
        if self.process and self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(10)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        for pid in self.find_nginx():
            os.kill(pid, signal.SIGKILL)
        for reader in self._readers:
            reader.join(10)

    def find_nginx(self) -> list[int]:
        """Find the nginx processes that run in this daemon's folder, whatever process is their parent."""
        found = []
        for entry in Path("/proc").iterdir():
            try:
                if entry.name.isdecimal() and os.readlink(entry / "cwd") == str(self.folder):
                    found.append(int(entry.name))
            except OSError:
                continue
        return found

    def _read(self, process: subprocess.Popen[str]) -> None:
        assert process.stdout
        with process.stdout as stream:
            for line in stream:
                self.lines.append(line.rstrip("\n"))


class Traffic:
    """Sends some hundred requests a second, one after the other; `failures` is every status other than 200.

    Each goes over a new connection. As many as the machine can send would take the processors from what is tested.
    """

    def __init__(self, daemon: RunningDaemon, host: str, path: str = "/") -> None:
        self.sent = 0
        self.failures: list[int] = []
        self._ask = lambda: daemon.ask(host, path)
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def _run(self) -> None:
        while not self._over.wait(0.005):
            self.sent += 1
            if (status := self._ask()) != 200:
                self.failures.append(status)

    @contextmanager
    def flowing(self) -> Iterator[None]:
        """Send requests while the block runs."""
        self._thread.start()
        try:
            yield
        finally:
            self._over.set()
            self._thread.join()
