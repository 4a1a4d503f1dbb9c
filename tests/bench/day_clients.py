"""Clients of a cluster whose Pods come and go: each asks for many paths, and records each request that was lost."""

import base64
import http.client
import random
from collections import Counter
from collections.abc import Collection, Sequence

from clusters import PATHS_A_NAMESPACE
from fleet import name_host, name_key
from stand_ins import StandIns
from support.clients import Client


class Targets:
    """The applications that are asked: those of `apps`, and those of `waiting` first by who looks for new Pods.

    `addresses` gives the application of each Pod that answers, `waiting` that of each Pod that is ready, but has had no
    request yet. `calm` are those of `apps` without a Pod that crashes. Long answers take `long` seconds.
    """

    def __init__(self, stand_ins: StandIns, apps: Sequence[int], crashing: Collection[int], long: float) -> None:
        self.long = long
        self.apps = tuple(apps)
        self.calm = tuple(app for app in apps if app not in crashing)
        self.addresses: dict[str, int] = {}
        self.waiting: dict[str, int] = {}
        self._first = stand_ins.first

    def choose_waiting(self) -> int:
        """Choose an application that has a Pod without requests, or else any."""
        for ip in [*self.waiting]:
            if ip in self._first:
                self.waiting.pop(ip, None)
        return random.choice([*self.waiting.values()] or self.apps)


class DayClient(Client):
    """Sends a request in each turn, over a new connection or, if `kept`, over one while it is open.

    A request is lost if no Pod of its application answers it. Like a client without a retry, it sends a request only
    once, and does not check before whether a kept connection is still open.
    """

    kind = "new connection"
    method = "GET"
    kept = False

    def __init__(self, port: int, targets: Targets, pause: float = 0.02) -> None:
        super().__init__(port, "127.0.0.1", pause)
        self._targets = targets
        self._open_one: http.client.HTTPConnection | None = None

    def turn(self) -> None:
        app = self.choose()
        connection = self._open_one = self._open_one or self._connect()
        connection.request(self.method, self.write_path(app), b"x" * 100 if self.method == "POST" else None, _name(app))
        with connection.getresponse() as answer:  # what is not read to its end must be closed too
            answer.read()
        pod = answer.getheader("X-Pod")
        assert pod, f"status {answer.status}{'' if app in self._targets.calm else ', where a Pod crashes'}"
        assert self._targets.addresses[pod] == app, "a Pod of another application answers"
        if answer.will_close or not self.kept:
            self.drop()

    def choose(self) -> int:
        """Choose an application."""
        return random.choice(self._targets.apps)

    def write_path(self, app: int) -> str:
        """Write the path of an application."""
        return f"/app-{app % PATHS_A_NAMESPACE}"

    def drop(self) -> None:
        if self._open_one:
            self._open_one.close()
        self._open_one = None

    close = drop


class Poster(DayClient):
    """Sends a body over a new connection."""

    kind, method = "new connection, POST", "POST"


class Keeper(DayClient):
    """Keeps its connection."""

    kind, kept = "kept connection", True


class KeepingPoster(DayClient):
    """Sends bodies over a kept connection."""

    kind, method, kept = "kept connection, POST", "POST", True


class Scout(DayClient):
    """Asks often for the paths that have Pods without requests."""

    def __init__(self, port: int, targets: Targets) -> None:
        super().__init__(port, targets, 0.005)

    def choose(self) -> int:
        return self._targets.choose_waiting()


class LongReader(DayClient):
    """Reads long answers, so that nginx's old workers must stay; not from Pods that crash."""

    kind = "long answer"

    def choose(self) -> int:
        return random.choice(self._targets.calm)

    def write_path(self, app: int) -> str:
        return f"{super().write_path(app)}?seconds={self._targets.long}"


def count_lost(clients: Sequence[DayClient]) -> Counter[str]:
    """Count the lost requests by the kind of the client and by what happened."""
    return Counter(f"{one.kind}: {_shorten(failure)}" for one in clients for failure in one.failures)


def _shorten(failure: str) -> str:
    """Give the name of an exception, or what was wrong with an answer."""
    name, _, text = failure.partition(": ")
    return text if name == "AssertionError" else name


def _name(app: int) -> dict[str, str]:
    number = app // PATHS_A_NAMESPACE
    key = base64.b64encode(name_key(number).encode()).decode()
    return {"Host": name_host(number), "X-Routing-Api-Key": key}
