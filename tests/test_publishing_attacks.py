"""Attacks on publishing: what a hostile tenant, a late publisher, a slow cache or an odd Lease must not come to."""

import io
import os
import threading
import time
from collections.abc import Callable

import pytest
from support import faults
from support.answers import write_answer, write_status
from support.authority import Authority
from support.faults import answer_with
from support.objects import namespace, pod, secret
from support.pods import DECLARED
from support.publishers import (
    PLACE,
    PUBLISHER,
    OnePublisher,
    OneReader,
    Site,
    add_pod,
    addresses,
    get_pointer,
    put_pointer,
    shards,
)

from reconciler.cluster.lease import LEASE
from reconciler.cluster.published_objects import POINTER
from reconciler.cluster.stored import Store
from reconciler.loop.events import Elected, Event, LeftOut, PublisherSeen, StoodBy
from reconciler.loop.ports import SourceError
from reconciler.loop.stages import Stages
from reconciler.objects import snapshot_packer
from reconciler.objects.published import Pointer, weigh, write_pointer
from reconciler.objects.snapshot import Snapshot
from reconciler.routing import references
from reconciler.settings import read_settings
from reconciler.status.health import Health, PublisherHealth
from reconciler.status.log import Log
from reconciler.status.serving import describe_serving
from reconciler.status.state import State

# For Lists of many megabytes, which a busy machine does not write and read in the two seconds of the other tests.
PATIENT = {"API_TIMEOUT": "60"}
# Before which request a publisher hangs, and whether it has read a change before that.
LATE = [(place, changes) for changes in (False, True) for place in range(8)]
EVIL = "\x1b[2Jx\nfake"


def interrupt(one: OnePublisher, place: int, then: Callable[[], None]) -> list[str]:
    """Let something else happen before a publisher's request with this number; give the requests that it sends."""
    store: Store = one.election._store
    send, seen = store._ask, list[str]()

    def ask(request: object) -> bytes | None:
        seen.append(f"{request.method} {request.kind.name} {request.name[:9]}")  # type: ignore[attr-defined]
        if len(seen) == place + 1:
            then()
        return send(request)  # type: ignore[arg-type]

    store._ask = ask  # type: ignore[method-assign]
    return seen


def write_lease(site: Site, **spec: object) -> None:
    """Write the Lease as somebody else, whatever was there."""
    metadata = {"name": LEASE, "namespace": PLACE}
    site.server.put(
        {"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": metadata, "spec": {**spec}},
    )


def find_missing(site: Site) -> set[str]:
    """Find the shards that the pointer names and that are not there."""
    return set(get_pointer(site)[1].shards) - {name.removeprefix("snapshot-") for name in shards(site)}


def write_log(events: list[Event]) -> str:
    """Give what the log says of events."""
    stream = io.StringIO()
    log = Log(stream, "text")
    for event in events:
        log.observe(event)
    return stream.getvalue()


def take_over(second: OnePublisher) -> None:
    """Let the second publisher take over; the first one does nothing meanwhile."""
    for _ in range(20):
        second.turn()


# Two publishers


@pytest.mark.parametrize(("place", "changes"), LATE)
def test_a_late_publisher(site: Site, place: int, changes: bool) -> None:
    """Whichever request a publisher hangs before, what another one has published since stays."""
    first, second = site.publisher("first"), site.publisher("second")
    for one in (first, second, first):
        one.turn()
    if changes:
        add_pod(site, "10.0.0.9")

    def change_and_publish() -> None:
        add_pod(site, "10.0.0.42", "newer")
        take_over(second)

    seen = interrupt(first, place, change_and_publish)
    first.turn(30)  # the Lease and what is stored are looked at
    if len(seen) > place:
        assert get_pointer(site)[1].digest == second.source.read().digest, seen[place]
        assert not find_missing(site)


@pytest.mark.parametrize("place", range(4))
def test_a_shard_that_is_used_again_is_not_deleted(site: Site, place: int) -> None:
    """A shard that the other publisher has just marked and named stays, also if the late one lists after that."""
    first, second = site.publisher("first"), site.publisher("second")
    for one in (first, second):
        one.turn()
    add_pod(site, "10.0.0.9")
    for _ in range(19):
        first.turn(30)
    while not any(first.clock.now - since > 575 for since in first.publisher._unneeded.values()):
        first.turn(5)

    def need_again() -> None:
        site.server.delete("Pod", "a", "web-1")  # so that the former shard is needed again
        take_over(second)
        assert not find_missing(site)

    seen = interrupt(first, place, need_again)
    first.turn(30)
    assert len(seen) > place
    assert not find_missing(site)


def test_a_shard_that_cannot_be_read(site: Site) -> None:
    """A shard that the API server cannot read, as if its key of encryption is lost, stops no new publisher."""
    first = site.publisher("first")
    first.turn()
    first.election.release()
    site.server.fail(faults.INTERNAL_ERROR, f"*{shards(site)[0]}")
    second, reader = site.publisher("second"), site.reader()
    add_pod(site, "10.0.0.9")
    for _ in range(60):
        second.turn()
    assert "10.0.0.9" in addresses(reader.read())


def test_nobody_gets_the_lease(site: Site) -> None:
    """If the Lease can be read but never written, because of 409, a publisher is not ready, and says why."""
    site.server.fail(answer_with(write_status(409, "Conflict", "no")), "*leases*", method="POST")
    publisher, health = site.publisher(), PublisherHealth(10)
    for _ in range(30):
        publisher.turn()
    for event in publisher.events:
        health.observe(event)
    assert health.judge("/readyz")[0] == 503


def test_a_missing_right_to_list_is_told_once(site: Site) -> None:
    """If a publisher may not list its shards, that is one line, not two lines each half minute."""
    site.server.permit("secrets", user=PUBLISHER)
    site.server.permit("secrets", "routing", user=PUBLISHER, verbs=["list"])
    for name, verbs in (("*", ["create", "get", "patch", "delete"]), (POINTER, ["update"])):
        site.server.permit("secrets", name, user=PUBLISHER, verbs=verbs, namespace=PLACE)
    publisher = site.publisher()
    for _ in range(90):
        publisher.turn()
    assert write_log(publisher.events).count("needs the rule") == 1


# Hostile tenants


def test_changes_of_a_small_namespace_cost_little(site: Site) -> None:
    """A tenant that changes what changes no route costs each router six shards a minute."""
    assert measure(site, 1000) <= 6


def test_changes_of_a_large_secret_cost_little(site: Site) -> None:
    """A tenant that writes a Secret of 1 MiB all the time costs each router one request in ten seconds (decision 025).

    Without a bound: 98 requests and 8 MB a minute for each router, and 83 MB in etcd after ten minutes.
    """
    assert measure(site, 1_000_000) <= 6


def measure(site: Site, size: int) -> int:
    """Change a field of a Secret that routing does not read for a minute; count the shards that a router fetches."""
    publisher, reader = site.publisher(MAX_CHANGES_PER_NAMESPACE="12", **PATIENT), site.reader(**PATIENT)
    publisher.turn()
    reader.read()
    with site.watching() as seen:
        for _ in range(30):
            site.server.put(secret("a", api_key="key-of-a", note=os.urandom(size)))
            publisher.turn()
            reader.read()
    return sum(method == "GET" and name.startswith("snapshot-") for method, name in seen)


def test_one_tenant_does_not_stop_publishing(site: Site) -> None:
    """If one Namespace is too large to be published, it loses its Pods, and others' changes are published."""
    publisher, reader = site.publisher(**PATIENT), site.reader(**PATIENT)
    publisher.turn()
    for number in range(90):
        site.server.put(pod("b", f"large-{number}", "", os.urandom(100_000).hex(), DECLARED))
    add_pod(site, "10.0.0.9")
    publisher.turn()
    assert "10.0.0.9" in addresses(reader.read())
    assert [one.complaints for one in publisher.told(LeftOut)] == [
        ("Namespace b: too large to be published, so its Pods are left out (docs/published.md)",),
    ]


def test_fields_that_nobody_names_are_not_published(site: Site, authority: Authority) -> None:
    """A router gets the fields of a Secret that are API keys or that an annotation names, and no others."""
    certificate, key = authority.issue("a.dev")
    fields = {"ssl.crt": certificate, "ssl.key": key, "password": "x", "api-key.old": "former"}
    site.server.put(secret("a", api_key="key-of-a", **fields))
    site.server.put(namespace("a", '{"a.dev": {"ssl": {"certificate": "ssl.crt", "key": "\\u0073sl.key"}}}'))
    site.publisher().turn()
    published = site.reader().read().namespaces[0].secret
    assert published
    assert [name for name, _ in published.data] == ["api-key", "api-key.old", "ssl.crt", "ssl.key"]


# Odd Leases and pointers


def test_the_holder_is_not_trusted(site: Site) -> None:
    """The holder of the Lease is shown escaped and cut, wherever it is shown."""
    write_lease(site, holderIdentity=EVIL + "A" * 10_000, leaseDurationSeconds=15)
    publisher, state, health = site.publisher(), State(), PublisherHealth(10)
    event = publisher.turn()
    assert isinstance(event, StoodBy)
    state.observe(event)
    health.observe(event)
    for text in (write_log([event])[:-1], health.judge("/readyz")[1], describe_serving(state.seen, 0.0)["text"]):
        assert "\x1b" not in text
        assert "\n" not in text
        assert len(text) < 500


def test_a_renewal_in_the_year_one(site: Site) -> None:
    """A Lease with a time at the edge of what can be written does not end routers."""
    site.publisher().turn()
    write_lease(site, holderIdentity="x", renewTime="0001-01-01T00:00:00.000001Z")
    reader, state = site.reader(), State()
    for _ in range(3):
        reader.read()
    for event in reader.events:
        state.observe(event)
    assert "no publisher has confirmed" in write_log(reader.events)
    assert describe_serving(state.seen, time.time())


def test_the_most_transitions(site: Site) -> None:
    """The number of transitions stays what Kubernetes can read: an int32."""
    write_lease(site, holderIdentity="x", leaseDurationSeconds=1, leaseTransitions=2**31 - 1)
    publisher = site.publisher()
    for _ in range(5):
        publisher.turn()
    assert publisher.election.holder == "first"
    assert (publisher.election._spec.lease_transitions or 0) < 2**31


def test_the_largest_sequence(site: Site) -> None:
    """After a pointer with the largest sequence, a publisher writes one that routers can read, and it mends."""
    publisher, reader = site.publisher(), site.reader()
    publisher.turn()
    pointer = get_pointer(site)[1]
    put_pointer(site, write_pointer(Pointer(pointer.digest, pointer.shards, 2**63 - 1, pointer.settings)))
    with pytest.raises(SourceError, match="the pointer cannot be decoded"):
        reader.read()
    publisher.turn(40)
    publisher.turn()
    last = reader.read()
    add_pod(site, "10.0.0.9")
    for _ in range(100):
        publisher.turn()
        try:
            last = reader.read()
        except SourceError:
            continue
    assert "10.0.0.9" in addresses(last)


# Ages, and the fallback


def test_caches_that_differ_confirm_nothing(site: Site) -> None:
    """Two API servers, one of whose caches stands still: a dead publisher is old, although two times come in turn."""
    publisher = site.publisher()
    publisher.turn()
    version = site.server.store.present.version
    for _ in range(5):
        publisher.turn()
    reader = site.reader(PUBLISHED_MAX_AGE="30")
    for number in range(40):
        site.server.hold_cache(version) if number % 2 else site.server.follow()
        reader.read(10.5)
    assert reader.told(PublisherSeen)[-1].old


def test_back_from_the_fallback(site: Site) -> None:
    """If the Lease's cache is ahead of the pointer's when a publisher is back, a router keeps what it has listed."""
    publisher, reader = site.publisher(), site.reader(fallback=True, PUBLISHED_MAX_AGE="30")
    publisher.turn()
    reader.read()
    add_pod(site, "10.0.0.9")
    for _ in range(60):
        listed = reader.read()
    assert "10.0.0.9" in addresses(listed)
    before = answer_with(write_answer(get_pointer(site)[0]))
    publisher.turn(20)
    publisher.turn(20)
    site.server.fail(before, f"*/{POINTER}", 1, "GET")  # the cache of Secrets is behind for one look
    assert "10.0.0.9" in addresses(reader.read(12))
    assert "10.0.0.9" in addresses(reader.read(12))


def test_a_router_that_reads_alone_is_ready(site: Site) -> None:
    """A router that lists the cluster itself is up to date, so PUBLISHED_READY_AGE does not make it unready."""
    site.publisher().turn()
    reader, health = site.reader(fallback=True, PUBLISHED_MAX_AGE="30"), Health(10, 60)
    health._runs, health._release = True, "x"
    for _ in range(100):
        reader.read()
    for event in reader.events:
        health.observe(event)
    assert reader.told(PublisherSeen)[-1].alone
    assert health.judge("/readyz")[0] == 200


def test_a_clock_that_is_slewed(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """That no publisher lives is told once, also if the wall clock is set or runs a little faster."""
    publisher, reader = site.publisher(), site.reader(PUBLISHED_MAX_AGE="30")
    publisher.turn()
    reader.read()
    publisher.turn()
    publisher.turn(20)
    reader.read(10)
    begun, started = time.time(), reader.clock.now
    monkeypatch.setattr(time, "time", lambda: begun + (reader.clock.now - started) * 1.0005)  # 500 ppm, as NTP may
    for _ in range(4000):
        reader.clock.now += 2
        reader.source._published.tell_age()  # type: ignore[attr-defined]
    assert write_log(reader.events).count("no publisher has confirmed") == 1


# Settings


def test_the_field_of_the_api_key_has_to_agree(site: Site) -> None:
    """Whether a Namespace has lost its API key is published, and depends on API_KEY_SECRET_FIELD: it has to agree."""
    site.publisher().turn()
    reader: OneReader = site.reader(API_KEY_SECRET_FIELD="token")
    with pytest.raises(SourceError, match="API_KEY_SECRET_FIELD"):
        reader.read()


def test_routers_agree_about_a_lost_key(site: Site) -> None:
    """What a Namespace's last good state counts for is decided at the publisher: a router that missed one agrees."""
    publisher, reader = site.publisher(), site.reader()
    publisher.turn()
    before = reader.read()
    site.server.delete("Secret", "a", "routing")
    site.server.delete("Pod", "a", "web-0")
    publisher.turn()
    add_pod(site, "10.0.0.9")
    publisher.turn()
    after = reader.source.read()
    assert after.namespaces[0].pods
    assert Stages(read_settings({})).keep_last_good(before, after, time.time()) is after


# Many routers


def test_missing_shards_cost_little(site: Site) -> None:
    """If all shards are gone, a router that starts asks for one of them each time, and not for all of them twice."""
    for number in range(10):
        site.server.put(namespace(f"more-{number}", {}))
        site.server.put(secret(f"more-{number}", blob=os.urandom(50_000)))
    site.publisher().turn()
    for name in shards(site):
        site.server.delete("Secret", PLACE, name)
    reader = site.reader()
    with site.watching() as seen, pytest.raises(SourceError):
        reader.read()
    assert len(seen) <= 6, f"for {len(get_pointer(site)[1].shards)} shards"


# A slow API server


class Turns:
    """Lets publishers turn in threads, one at a time: the one whose clock is behind. `read` are seconds of a List."""

    def __init__(self, publishers: list[OnePublisher], read: float) -> None:
        self._publishers, self._read = publishers, read
        self.renewals = set[str | None]()
        self._moved = threading.Condition()
        self._at = {id(one): one.clock.now for one in publishers}

    def run(self, until: float) -> None:
        """Turn every two seconds until this time."""
        threads = [threading.Thread(target=self._turn, args=(one, until)) for one in self._publishers]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    def _turn(self, one: OnePublisher, until: float) -> None:
        read = one.source.read

        def read_slowly(*, consistently: bool = False) -> Snapshot:
            snapshot = read(consistently=consistently)
            for _ in range(3):  # Lists, after each of which a publisher keeps its Lease
                self._spend(one, self._read / 3)
                one.election.keep()
            return snapshot

        one.source.read = read_slowly  # type: ignore[method-assign]
        while one.clock.now < until:
            one.turn(0)
            self.renewals.add(one.election._spec.renew_time)
            self._spend(one, 2)
        with self._moved:
            del self._at[id(one)]
            self._moved.notify_all()

    def _spend(self, one: OnePublisher, seconds: float) -> None:
        with self._moved:
            one.clock.now += seconds
            self._at[id(one)] = one.clock.now
            self._moved.notify_all()
            self._moved.wait_for(lambda: min(self._at.values()) == one.clock.now)


@pytest.mark.parametrize("seconds", [5.0, 16.0, 30.0, 55.0])
def test_slow_lists(site: Site, seconds: float) -> None:
    """While Lists take longer than the Lease, but not longer than API_TIMEOUT each, one publisher goes on and confirms.

    Else nobody confirms for a thousand seconds, although all is published: routers take it for old, leave their load
    balancers if PUBLISHED_READY_AGE is set, and with the fallback all list the API server that is slow already.
    """
    publishers = [site.publisher(name, API_TIMEOUT="20") for name in ("first", "second")]
    publishers[1].clock.now += 0.3
    turns = Turns(publishers, seconds)
    turns.run(2000)
    assert len(turns.renewals - {None}) >= 10
    assert sum(len(one.told(Elected)) for one in publishers) <= 2


# What one tenant writes


@pytest.mark.parametrize("end", ["", '"', "\\", "x"])
def test_texts_of_quotes_are_read_once(end: str) -> None:
    """Strings that do not end are read in one go: no text makes the search begin anew at each of its quotes."""
    text = '"' + '\\"' * 1000 + end
    assert [found.span() for found in references._STRING.finditer(text)] == [(0, len(text))]


def test_a_namespace_that_is_too_large_is_not_weighed(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """A Namespace that is too large by its annotations alone costs no packing of them."""
    weighed = list[int]()
    monkeypatch.setattr(snapshot_packer, "weigh", lambda content: weighed.append(len(content)) or weigh(content))
    for number in range(90):
        site.server.put(pod("b", f"large-{number:02}", "", "x" * 200_000, DECLARED))
    publisher = site.publisher(**PATIENT)
    publisher.turn()
    assert publisher.told(LeftOut)
    assert max(weighed) < 10_000
    assert "10.0.0.1" in addresses(site.reader().read())


def test_a_loss_that_cannot_be_confirmed(site: Site) -> None:
    """A router that lists the cluster itself does not take a loss for confirmed if the second List fails."""
    site.publisher().turn()
    reader = site.reader(fallback=True, PUBLISHED_MAX_AGE="30")
    while not reader.told(PublisherSeen) or not reader.told(PublisherSeen)[-1].alone:
        reader.read()
    site.server.fail(faults.INTERNAL_ERROR, "/api/v1/pods*")
    site.server.fail(faults.INTERNAL_ERROR, "/api/v1/namespaces/default/pods*")
    with pytest.raises(SourceError, match="list pods: 500"):
        reader.read(consistently=True)
    assert addresses(reader.read())
