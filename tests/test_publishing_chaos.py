"""Publishers and routers under random faults: what is served was true once, and in the end it is what is true."""

import os
import random
from collections.abc import Callable

import msgspec
import pytest
from support import faults
from support.objects import listing, pod
from support.pods import DECLARED, entry
from support.publishers import (
    PLACE,
    OnePublisher,
    OneReader,
    Site,
    restore,
)
from support.stages import normalise

from reconciler.cluster.lease import LEASE
from reconciler.loop.ports import SourceError
from reconciler.objects.snapshot import Snapshot
from reconciler.settings import read_settings

STEPS = int(os.environ.get("CHAOS_STEPS", "80"))
FAULTS = (
    faults.INTERNAL_ERROR, faults.FORBIDDEN, faults.CUT, faults.CLOSE, faults.HTML, faults.STATUS, faults.NOT_FOUND,
    faults.too_many_requests(1), faults.REFUSED_TOKEN, faults.WRONG_JSON,
)  # fmt: skip
PATHS = ("*secrets", "*secrets/snapshot", "*secrets/snapshot-*", "*leases*", "*pods*", "*")


class Chaos:
    """Two publishers, two routers, and all that may go wrong; `true` holds the digest of each state that there was."""

    def __init__(self, site: Site, seed: int) -> None:
        self.site, self.server = site, site.server
        self.random = random.Random(seed)
        self.publishers: list[OnePublisher] = [site.publisher(f"publisher-{number}") for number in range(2)]
        self.readers: list[OneReader] = [site.reader() for _ in range(2)]
        self.number = 0
        self.true = set[bytes]()
        self.served: list[bytes | None] = [None, None]
        self.look()

    def look(self) -> Snapshot:
        """Note and give what is true now."""
        collections = self.server.store.present.collections
        objects = [
            {"kind": kind, "apiVersion": "v1", **msgspec.json.decode(one.item)}
            for kind in ("Namespace", "Pod", "Secret")
            for one in collections[kind].objects.values()
            if PLACE not in one.key
        ]
        snapshot = normalise(listing(objects), read_settings({}))
        self.true.add(snapshot.digest)
        return snapshot

    def change(self) -> None:
        """Add a Pod, or remove one."""
        pods = [one for one in self.server.store.present.collections["Pod"].objects if one.startswith("a/extra")]
        if pods and self.random.random() < 0.4:
            self.server.delete("Pod", "a", self.random.choice(pods).partition("/")[2])
        else:
            self.number += 1
            address = f"10.2.{self.number // 200}.{self.number % 200 + 1}"
            self.server.put(pod("a", f"extra-{self.number}", address, [entry("/")], DECLARED))
        self.look()

    def break_something(self) -> None:
        """Begin a fault, for some requests."""
        self.server.fail(self.random.choice(FAULTS), self.random.choice(PATHS), self.random.randint(1, 12))

    def mend(self) -> None:
        """End all faults."""
        self.server.mend()

    def remove(self) -> None:
        """Delete a Secret of what is published, or the Lease."""
        stored = [one for one in self.server.store.present.collections["Secret"].objects if one.startswith(PLACE)]
        if stored and self.random.random() < 0.8:
            self.server.delete("Secret", PLACE, self.random.choice(stored).partition("/")[2])
        elif f"{PLACE}/{LEASE}" in self.server.store.present.collections["Lease"].objects:
            self.server.delete("Lease", PLACE, LEASE)

    def spoil(self) -> None:
        """Write rubbish into the pointer."""
        stored = self.server.store.present.collections["Secret"].objects.get(f"{PLACE}/snapshot")
        if stored:
            secret = {"kind": "Secret", **msgspec.json.decode(stored.item), "data": {"pointer": "cnViYmlzaA=="}}
            del secret["metadata"]["resourceVersion"]
            self.server.put(secret)

    def restore(self) -> None:
        """Restore an older state of everything.

        Versions go on at a higher number: else one that was seen before could come again with another content, and a
        collection with it would be taken for unchanged.
        """
        states = self.server.store._states
        old = [version for version, state in states.items() if PLACE in state.collections["Namespace"].objects]
        restore(self.site, self.random.choice(sorted(old)), self.server.store.present.version + 1000)
        self.look()

    def start_again(self) -> None:
        """Replace a publisher by a new process."""
        place = self.random.randrange(2)
        self.number += 1
        self.publishers[place] = self.site.publisher(f"publisher-{self.number}-again")

    def publish(self) -> None:
        """Let a publisher turn, after some time or a long time."""
        self.random.choice(self.publishers).turn(self.random.choice([0.5, 2.0, 2.0, 6.0, 20.0, 40.0]))

    def read(self) -> None:
        """Let a router read. What it gets was true once; an error leaves what it serves."""
        place = self.random.randrange(2)
        try:
            self.served[place] = self.readers[place].read(self.random.choice([0.5, 2.0, 2.0, 12.0])).digest
        except SourceError as error:
            assert "\n" not in str(error)
            return
        assert self.served[place] in self.true

    def settle(self) -> None:
        """Let everything work again for two minutes."""
        self.server.mend()
        for _ in range(60):
            for publisher in self.publishers:
                publisher.turn()
            for reader in self.readers:
                try:
                    reader.read()
                except SourceError:
                    continue


@pytest.mark.parametrize("seed", range(int(os.environ.get("CHAOS_SEEDS", "6"))))
def test_chaos(site: Site, seed: int) -> None:
    """Whatever happens in whatever order, a router serves only what was true once, and in the end what is true."""
    chaos = Chaos(site, seed)
    steps: list[Callable[[], None]] = [chaos.publish, chaos.read]
    rare = [
        chaos.change, chaos.change, chaos.break_something, chaos.mend, chaos.mend, chaos.remove, chaos.spoil,
        chaos.restore, chaos.start_again,
    ]  # fmt: skip
    for _ in range(STEPS):
        chaos.random.choice(steps if chaos.random.random() < 0.7 else rare)()
    chaos.settle()
    for reader in chaos.readers:
        assert reader.read() == chaos.look()
    leading = [one for one in chaos.publishers if one.election.stand()]
    assert len(leading) == 1
