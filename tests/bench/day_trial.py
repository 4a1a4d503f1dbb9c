"""A router on trial for a day: a test API server, a real daemon with its nginx, Pods that answer, and clients."""

import http.client
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Self

from day import Day, DayPlan
from day_clients import DayClient, Keeper, KeepingPoster, LongReader, Poster, Scout, count_lost
from day_outcome import Outcome, Spent
from day_player import DayPlayer
from meter import read_children_time, read_peak, read_time, watch_share
from prometheus_client.parser import text_string_to_metric_families
from remote import RemoteApiServer
from stand_ins import StandIns
from support.ports import free_port
from support.running_daemon import RunningDaemon

from reconciler.nginx.workers import find_children
from reconciler.values.value import Value

# How the daemon routes to Pods.
MODES: dict[str, dict[str, str]] = {"reload": {"ENDPOINTS": "reload"}, "lua": {"ENDPOINTS": "lua"}}
_CLIENTS = (DayClient, Poster, Keeper, Keeper, KeepingPoster, KeepingPoster, Scout, Scout, *4 * (LongReader,))
_PAUSE = 0.2  # seconds between two looks at nginx's memory, each of which costs the kernel a walk through all of it


class Pace(Value, frozen=True):
    """How fast a day is played: seconds of a step, of a long answer, and of the rest before the day.

    A long answer must end before a Pod does that has just been told to.
    """

    step: float
    long: float
    rest: float


class DayTrial:
    """Everything that runs. `player` plays the day; `settings` are the daemon's."""

    def __init__(self, folder: Path, plan: DayPlan, asked: int, pace: Pace, **settings: str) -> None:
        self._folder, self._plan, self._asked, self._pace, self._settings = folder, plan, asked, pace, settings
        self._workers: set[int] = set()

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            self.stand_ins = stack.enter_context(StandIns(free_port()))
            self._server = stack.enter_context(RemoteApiServer(self._folder, self._plan.pods))
            self.player = DayPlayer(Day(self._plan), self._server, self.stand_ins, self._asked, self._pace.long)
            self.player.prepare()
            self.daemon = RunningDaemon(self._folder / "daemon", self._server, self._server, **self._settings)
            stack.callback(self.daemon.close)
            self.daemon.start()
            self.daemon.wait_for_line("applied")
            self._end = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._end.close()

    @contextmanager
    def asked(self) -> Iterator[Sequence[DayClient]]:
        """Give clients that ask while the block runs."""
        clients = [kind(self.daemon.port, self.player.targets) for kind in _CLIENTS]
        for one in clients:
            one.start()
        try:
            yield clients
        finally:
            for one in clients:
                one.over.set()
            for one in clients:
                one.join()

    def spend_day(self) -> Outcome:
        """Rest for a while, play the day, wait until all of it is served, and tell what it took."""
        with self.asked() as clients:
            begun = self._read_spent(clients)
            time.sleep(self._pace.rest)
            rested, reloads = self._read_spent(clients), self.read_metric("reloads_total")
            with watch_share(self._find_nginx, _PAUSE) as most:
                self.player.play(self._pace.step)
                self.daemon.wait_for(self._is_served, "the end of the day")
                ended, memory = self._read_spent(clients), most()
            self.player.settle()
            reloads = self.read_metric("reloads_total") - reloads
        return Outcome(
            self._plan.steps, self.player.changes, int(reloads), len(self._workers), rested - begun, ended - rested,
            (*self.player.waits,), self.player.unseen, count_lost(clients), memory, read_peak(self._pid),
        )  # fmt: skip

    def read_metric(self, name: str) -> float:
        """Read one of the daemon's metrics that have no labels."""
        connection = http.client.HTTPConnection("127.0.0.1", self.daemon.admin_port, timeout=10)
        try:
            connection.request("GET", "/metrics")
            families = text_string_to_metric_families(connection.getresponse().read().decode())
        finally:
            connection.close()
        return next(one.value for family in families for one in family.samples if one.name == f"dispatcher_{name}")

    @property
    def _pid(self) -> int:
        assert self.daemon.process
        return self.daemon.process.pid

    def _is_served(self) -> bool:
        """Tell whether the daemon serves the last state, and each Pod that waits for a request has had one."""
        waiting = self.player.targets.waiting.keys() - self.stand_ins.first.keys()
        served = self.read_metric("pods"), self.read_metric("hosts")
        return not waiting and served == (self.player.count_ready(), self.player.count_hosts())

    def _find_nginx(self) -> list[int]:
        """Find nginx's master and all its workers, those of former releases too."""
        master = self.daemon.master()
        workers = [one.pid for one in find_children(master)]
        self._workers.update(workers)
        return [master, *workers]

    def _read_spent(self, clients: Sequence[DayClient]) -> Spent:
        master, *workers = self._find_nginx()
        nginx = read_time(master) + read_children_time(master) + sum(map(read_time, workers))
        sent = sum(one.sent for one in clients)
        return Spent(read_time(self._pid), read_children_time(self._pid), nginx, sent, time.monotonic())
