"""A day that is played: its changes reach the API server one by one, and the Pods that are asked start and end."""

import json
import random
import time
from collections import Counter

from clusters import PATHS_A_NAMESPACE, PODS_A_NAMESPACE
from day import NIGHT, Day
from day_clients import Targets
from deployments import Cause, ChangeKind, DayChange
from fleet import make_pod, name_host, name_namespace
from remote import RemoteApiServer
from stand_ins import StandIns
from support import objects
from support.objects import Object
from support.ports import loopback

_PORT = 3000


class DayPlayer:
    """Plays a day. The Pods of some applications, `targets`, answer requests; of all others there are objects only.

    `changes` counts what was written to the API server. `waits` are the seconds from the moment at which the API server
    held a Pod as ready until a request reached it; `unseen` counts Pods that went before one did.
    """

    def __init__(self, day: Day, server: RemoteApiServer, stand_ins: StandIns, asked: int, long: float) -> None:
        self.changes: Counter[tuple[Cause, ChangeKind]] = Counter()
        self.waits: list[float] = []
        self.unseen = 0
        self._day, self._server, self._stand_ins = day, server, stand_ins
        self._random = random.Random(day.plan.seed)
        crashing = sorted(day.crashing)
        others = sorted({one.app for one in day.deployments} - day.crashing)
        apps = [*crashing, *self._random.sample(others, asked - len(crashing))]
        self.targets = Targets(stand_ins, apps, crashing, long)
        self._ips: dict[tuple[int, int], str] = {}
        self._written: dict[str, float] = {}
        self._extended: set[int] = set()  # Namespaces with a further host

    def prepare(self) -> None:
        """Start the Pods that answer when the day begins."""
        for app in self.targets.apps:
            for serial in range(NIGHT):
                self._start(self._find_ip(app, serial), app)
                self._server.put(self._make(DayChange(ChangeKind.READY, Cause.UPDATE, app, serial, ready=True)))

    def play(self, interval: float) -> None:
        """Play all steps; each takes `interval` seconds, and its changes come at random moments of them."""
        begun = time.monotonic()
        for number, step in enumerate(self._day):
            moments = sorted(self._random.uniform(number, number + 1) for _ in step)
            for change, moment in zip(step, moments, strict=True):
                time.sleep(max(begun + moment * interval - time.monotonic(), 0))
                self._apply(change)
        time.sleep(max(begun + self._day.plan.steps * interval - time.monotonic(), 0))

    def settle(self) -> None:
        """Note for each Pod that is ready how long it waited for its first request."""
        for ip in [*self._written]:
            self._note(ip)

    def count_ready(self) -> int:
        """Count the Pods of the whole cluster that requests can reach now."""
        changing = sum(len(one.ready) for one in self._day.deployments)
        return self._day.plan.pods - NIGHT * len(self._day.deployments) + changing

    def count_hosts(self) -> int:
        """Count the hosts of the whole cluster."""
        return self._day.plan.pods // PODS_A_NAMESPACE + len(self._extended)

    def _apply(self, change: DayChange) -> None:
        """Let a change come true: at the Pod, if it answers, then at the API server."""
        ip, answers = self._find_ip(change.app, change.serial), change.app in self.targets.apps
        if answers and change.kind is ChangeKind.READY:
            self._start(ip, change.app)
        if answers and change.kind is ChangeKind.CRASHED:
            self._note(ip)
            self._stand_ins.crash(ip)
        self._write(change)
        self.changes[change.cause, change.kind] += 1
        if answers and change.kind is ChangeKind.READY:
            self._written[ip] = time.monotonic()
            self.targets.waiting[ip] = change.app
        if answers and change.kind is ChangeKind.ENDING:
            self._note(ip)
        if ip in self.targets.addresses and change.kind is ChangeKind.GONE:
            self._stand_ins.end(ip)

    def _write(self, change: DayChange) -> None:
        number = change.app // PATHS_A_NAMESPACE
        if change.kind is ChangeKind.HOST:
            self._extended.add(number)
            hosts = [name_host(number), f"more.{name_host(number)}"]
            self._server.put(objects.namespace(name_namespace(number), {host: {} for host in hosts}))
        elif change.kind is ChangeKind.GONE:
            self._server.delete("Pod", name_namespace(number), self._make(change)["metadata"]["name"])
        else:
            self._server.put(self._make(change))

    def _make(self, change: DayChange) -> Object:
        """Make the Pod as it is after a change."""
        number, app = divmod(change.app, PATHS_A_NAMESPACE)
        port = self._stand_ins.port if change.app in self.targets.apps else _PORT
        ip = self._find_ip(change.app, change.serial)
        made = make_pod(number, app + PATHS_A_NAMESPACE * change.serial, ip, port)
        metadata = made["metadata"]
        if change.path:
            paths = json.loads(metadata["annotations"][objects.PATHS])
            further = {**paths[0], "basePath": change.path}
            metadata["annotations"][objects.PATHS] = json.dumps([*paths, further])
        if change.kind is ChangeKind.ENDING:
            metadata["deletionTimestamp"] = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        return made if change.ready else objects.unready(made)

    def _find_ip(self, app: int, serial: int) -> str:
        """Find the address of a Pod; each has one of its own."""
        number = len(self._ips) + 1
        address = f"{{}}.{number >> 8}.{number & 255}"
        if app in self.targets.apps:
            return self._ips.setdefault((app, serial), loopback(address.format("10.100")))
        return self._ips.setdefault((app, serial), address.format("172.16"))

    def _start(self, ip: str, app: int) -> None:
        self.targets.addresses[ip] = app
        self._stand_ins.start(ip)

    def _note(self, ip: str) -> None:
        """Note how long a Pod waited for its first request."""
        written, first = self._written.pop(ip, None), self._stand_ins.first.get(ip)
        self.targets.waiting.pop(ip, None)
        if written is not None and first is None:
            self.unseen += 1
        elif written is not None and first is not None:
            self.waits.append(max(first - written, 0.0))
