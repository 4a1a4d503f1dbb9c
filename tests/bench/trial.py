"""A fleet on trial: a test API server, a publisher and simulated routers, each in processes of their own."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Self

from churn import Churn
from readers import Plan, Readers, Report
from remote import RemoteApiServer
from support.running_daemon import RunningDaemon, wait_until

# As a daemon has them by default; the test API server takes longer for a List than a real one.
_SETTINGS = {
    "RECONCILE_INTERVAL": "2",
    "MAX_CHANGES_PER_NAMESPACE": "",
    "MAX_ENDPOINT_CHANGES_PER_NAMESPACE": "",
    "API_TIMEOUT": "60",
}
_TOKENS = {"publisher": "a.publishers.token", "router": "a.routers.token", "reader": "a.good.token"}


class Site:
    """A cluster that changes, and the kubeconfigs of a `publisher`, of a `router` and of a `reader` of the cluster."""

    def __init__(self, folder: Path, pods: int) -> None:
        self.server = RemoteApiServer(folder, pods)
        self.churn = Churn(pods, self.server.put)
        self._folder = folder

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.server.__exit__()

    def prepare(self, role: str) -> RunningDaemon:
        """Prepare a command that has the rights of this role; its `config` is the kubeconfig."""
        daemon = RunningDaemon(self._folder / role, self.server, self.server, **_SETTINGS)
        daemon.token.write_text(_TOKENS[role])
        return daemon

    @contextmanager
    def publishing(self) -> Iterator[RunningDaemon]:
        """Run `dispatcher publish`, from the moment on at which something is published."""
        publisher = self.prepare("publisher")
        try:
            publisher.start("publish")
            publisher.wait_for_line("applied")
            yield publisher
        finally:
            publisher.close()


class Fleet:
    """Simulated routers in several processes."""

    def __init__(self, site: Site, reads: str, readers: int, interval: float = 2.0, processes: int = 1) -> None:
        config = site.prepare("router" if reads == "published" else "reader").config
        plan = Plan(str(config), reads, readers // processes, interval)
        self.size = processes * plan.readers
        self._processes = [Readers(plan) for _ in range(processes)]

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            for one in self._processes:
                stack.enter_context(one)
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def wait_for(self, digest: str) -> None:
        """Wait until all routers have read the Snapshot with this digest."""
        wait_until(lambda: self.count(digest) == self.size, lambda: f"{self.count(digest)} of {self.size} have it")

    def count(self, digest: str) -> int:
        """Count the routers that have read the Snapshot with this digest last."""
        return sum(one.count(digest) for one in self._processes)

    def end(self) -> list[Report]:
        """Let all routers end, and give what they saw."""
        return [one.end() for one in self._processes]
