"""What may happen between publishers and routers: what was served is served on, it is told once, and mends itself."""

import base64
import hashlib
import time
from itertools import pairwise

import msgspec
import pytest
from support import faults
from support.faults import Fault
from support.publishers import (
    PLACE,
    PUBLISHER,
    ROUTER,
    SECRETS,
    TEAMS,
    OnePublisher,
    OneReader,
    Site,
    add_pod,
    addresses,
    get_pointer,
    put_pointer,
    restore,
    shards,
)

from reconciler.cluster.lease import LEASE
from reconciler.cluster.published_objects import POINTER, PublishedObjects
from reconciler.loop.events import Applied, Failed, Idle, PublisherSeen, StoodBy
from reconciler.loop.ports import SinkError, SourceError
from reconciler.objects.published import VERSION, Pointer, read_pointer, write_pointer
from reconciler.objects.snapshot import Snapshot
from reconciler.objects.snapshot_packer import SnapshotPacker

Served = tuple[Site, OnePublisher, OneReader, Snapshot]


@pytest.fixture
def served(site: Site) -> Served:
    """Publish the two teams, and let a router read them."""
    publisher, reader = site.publisher(), site.reader()
    publisher.turn()
    return site, publisher, reader, reader.read()


def fails(reader: OneReader) -> str:
    """Read, and give the error."""
    with pytest.raises(SourceError) as raised:
        reader.read()
    return str(raised.value)


# What the API server does


WRONG_ANSWERS = {
    "403": (faults.FORBIDDEN, "403 Forbidden"),
    "429": (faults.too_many_requests(1), "429 Too Many Requests"),
    "500": (faults.INTERNAL_ERROR, "500 Internal Server Error"),
    "503": (faults.unavailable(1), "503 Service Unavailable"),
    "401": (faults.REFUSED_TOKEN, "401 Unauthorized"),
    "hangs": (faults.HANG, "no complete answer within 2 s"),
    "hangs inside a body": (faults.HANG_INSIDE, "no complete answer within 2 s"),
    "cuts a body": (faults.CUT, ""),
    "closes": (faults.CLOSE, ""),
    "a Status": (faults.STATUS, "is not what was asked for"),
    "HTML": (faults.HTML, "is not what was asked for"),
}


@pytest.mark.parametrize("fault", WRONG_ANSWERS)
@pytest.mark.parametrize("path", [f"{SECRETS}/snapshot*", f"{SECRETS}/snapshot-*"])
def test_wrong_answers_to_a_router(served: Served, fault: str, path: str) -> None:
    """Whatever the API server answers for the pointer or a shard, a router fails, and reads on when it is mended."""
    site, publisher, reader, _ = served
    wrong, text = WRONG_ANSWERS[fault]
    site.server.fail(wrong, path)
    add_pod(site, "10.0.0.9")
    site.server.mend() if path.endswith("t*") else None
    publisher.turn()
    site.server.fail(wrong, path)
    told = fails(reader)
    assert text in told
    assert PLACE in told
    assert "\n" not in told
    site.server.mend()
    assert "10.0.0.9" in addresses(reader.read())


@pytest.mark.parametrize("fault", WRONG_ANSWERS)
@pytest.mark.parametrize(("method", "path"), [("POST", SECRETS), ("PUT", f"{SECRETS}/{POINTER}"), ("GET", "*leases*")])
def test_wrong_answers_to_a_publisher(served: Served, fault: str, method: str, path: str) -> None:
    """Whatever the API server answers to a publisher, the last state stays, it tells why, and goes on later."""
    site, publisher, reader, before = served
    wrong, text = WRONG_ANSWERS[fault]
    publisher.election.doubt()
    add_pod(site, "10.0.0.9")
    site.server.fail(wrong, path, method=method)
    failed = publisher.turn()
    assert isinstance(failed, Failed)
    assert text in failed.why
    is_written = method == "PUT" and not wrong.instead  # only the answer is lost
    assert reader.read() == (publisher.source.read() if is_written else before)
    site.server.mend()
    while isinstance(publisher.turn(), Failed):
        pass
    assert "10.0.0.9" in addresses(reader.read())
    assert len({event.why for event in publisher.told(Failed)}) <= 2


@pytest.mark.parametrize("fault", [faults.INTERNAL_ERROR, faults.FORBIDDEN, faults.HANG])
def test_a_lease_that_cannot_be_read(served: Served, fault: Fault) -> None:
    """If a router cannot read the Lease, it reads what is published, and says that it does not know how old it is."""
    site, publisher, reader, _ = served
    site.server.fail(fault, "*leases*")
    add_pod(site, "10.0.0.9")
    site.server.mend()
    publisher.turn()
    site.server.fail(fault, "*leases*")
    assert "10.0.0.9" in addresses(reader.read(10))
    (complaint,) = reader.source.complaints
    assert complaint.startswith(
        "it is not known whether the publisher lives: get Lease dispatcher-published/dispatcher-"
    )
    site.server.mend()
    reader.read(10)
    assert not reader.source.complaints


def test_a_lost_answer(served: Served) -> None:
    """If the pointer was written and only the answer was lost, the publisher takes it for its own."""
    site, publisher, reader, _ = served
    add_pod(site, "10.0.0.9")
    site.server.fail(faults.CUT, f"{SECRETS}/{POINTER}", method="PUT")
    assert isinstance(publisher.turn(), Failed)
    assert "10.0.0.9" in addresses(reader.read())
    site.server.mend()
    assert isinstance(publisher.turn(), Applied)
    assert len(publisher.told(Failed)) == 1


def test_a_quota(served: Served) -> None:
    """If the Namespace may hold no more Secrets, the last state stays, and the line says so."""
    site, publisher, reader, before = served
    site.server.quota[PLACE] = 2
    add_pod(site, "10.0.0.9")
    failed = publisher.turn()
    assert isinstance(failed, Failed)
    assert "exceeded quota" in failed.why
    assert "Role" not in failed.why
    assert reader.read() == before
    site.server.quota.clear()
    publisher.turn()
    assert "10.0.0.9" in addresses(reader.read())


def test_missing_rights_are_named(served: Served) -> None:
    """If a right is missing, the line names the rule that a Role needs."""
    site, publisher, reader, _ = served
    site.server.permit("secrets", user=PUBLISHER)
    site.server.permit("secrets", "routing", user=PUBLISHER, verbs=["list"])
    site.server.permit("secrets", user=ROUTER)
    add_pod(site, "10.0.0.9")
    failed = publisher.turn()
    assert isinstance(failed, Failed)
    rule = (
        'a Role in Namespace dispatcher-published needs the rule {apiGroups: [""], resources: [secrets], verbs: [%s]}'
    )
    assert rule % "create" in failed.why
    assert rule % "get" in fails(reader)


def test_the_namespace_is_missing(site: Site) -> None:
    """If nobody made the Namespace, the publisher says so."""
    site.server.load(TEAMS)
    failed = site.publisher().turn()
    assert isinstance(failed, Failed)
    assert "create Lease dispatcher-published/dispatcher-publisher: 404 Not Found" in failed.why


# Publishers


def test_both_publishers_are_dead(served: Served) -> None:
    """Without a publisher a router serves on what was published, and says how old it is, once."""
    site, _, reader, before = served
    add_pod(site, "10.0.0.9")
    for _ in range(60):
        assert reader.read() is before
    old = [event.old for event in reader.told(PublisherSeen)]
    assert old == sorted(old)
    assert old[-1]
    site.publisher("third").turn(20)
    later = site.publisher("fourth")
    later.turn()
    while isinstance(later.turn(), StoodBy):
        pass
    assert "10.0.0.9" in addresses(reader.read())
    reader.read(10)
    assert not reader.told(PublisherSeen)[-1].old


def test_a_publisher_that_hung(served: Served) -> None:
    """A publisher that hung, and comes back with the Lease in its belief, changes nothing: the pointer is not its own.

    It read the cluster before it hung, and another one has published since.
    """
    site, first, reader, _ = served
    second = site.publisher("second")
    add_pod(site, "10.0.0.8", "late")
    stale = first.source.read()  # what it is about to publish when it hangs
    site.server.delete("Pod", "a", "late")
    second.turn()
    while isinstance(second.turn(), StoodBy):
        pass
    now = reader.read()
    assert "10.0.0.8" not in addresses(now)
    with pytest.raises(SinkError, match="another publisher has published since"):
        first.publisher.apply({}, stale)
    assert reader.read() is now
    assert isinstance(second.turn(), Idle)


def test_two_believe(served: Served) -> None:
    """If two publishers believe that they have the Lease, one of them is refused, and learns who has it."""
    site, first, reader, _ = served
    second = site.publisher("second")
    second.turn()
    while isinstance(second.turn(), StoodBy):
        pass  # the clock of the first one stands meanwhile
    add_pod(site, "10.0.0.9")
    failed = first.turn()
    assert isinstance(failed, Failed)
    assert failed.why.startswith("another publisher has published since, or somebody has changed what is published")
    assert isinstance(first.turn(), StoodBy)
    assert isinstance(second.turn(), Applied)
    assert "10.0.0.9" in addresses(reader.read())
    assert not second.told(Failed)


def test_two_without_a_lease(served: Served) -> None:
    """Two publishers that both write, as if the Lease were lost, never publish a part of something."""
    site, first, reader, _ = served
    second = site.publisher("second")
    second.turn()
    for number in range(10):
        site.server.delete("Lease", PLACE, LEASE)
        add_pod(site, f"10.0.1.{number}", f"web-{number}")
        for one in (first, second):
            one.election.doubt()
            one.turn(0.5)
        reader.read()
    for _ in range(20):
        first.turn()
        second.turn()
    assert reader.read() == first.source.read() == second.source.read()


def test_a_publisher_that_cannot_read_the_cluster(served: Served) -> None:
    """A publisher that lives but cannot read the cluster loses the Lease to one that can."""
    site, first, reader, _ = served
    second = site.publisher("second")
    site.server.permit("pods", user=PUBLISHER)
    assert isinstance(first.turn(), Failed)
    for _ in range(10):
        assert isinstance(second.turn(), StoodBy | Failed)
    assert isinstance(first.turn(20), StoodBy | Failed)
    site.server.permit("pods", "*", user=PUBLISHER, verbs=["list"])
    add_pod(site, "10.0.0.9")
    for _ in range(12):
        first.turn()
        second.turn()
    assert "10.0.0.9" in addresses(reader.read())
    assert sum(isinstance(one.turn(), Idle) for one in (first, second)) == 1


@pytest.mark.parametrize("wrong", [-86_400.0, 86_400.0])
def test_clocks_that_differ(site: Site, monkeypatch: pytest.MonkeyPatch, wrong: float) -> None:
    """A publisher whose clock is a day wrong takes over, and is read."""
    first, reader = site.publisher("first"), site.reader()
    first.turn()
    reader.read()
    first.election.release()
    true_time = time.time
    monkeypatch.setattr(time, "time", lambda: true_time() + wrong)
    add_pod(site, "10.0.0.9")
    second = site.publisher("second")
    second.turn()
    assert "10.0.0.9" in addresses(reader.read())


# What is stored


@pytest.mark.parametrize(
    "content",
    [b"", b"rubbish", bytes(1000), write_pointer(Pointer(bytes(32), (), 1 << 62))[:-1]],
)
def test_a_pointer_that_is_rubbish(served: Served, content: bytes) -> None:
    """A router refuses rubbish and serves on; the publisher sees within half a minute that it is not its own."""
    site, publisher, reader, before = served
    put_pointer(site, content)
    assert "what is published in Namespace dispatcher-published cannot be used" in fails(reader)
    publisher.turn(40)
    publisher.turn()
    assert reader.read() is before


@pytest.mark.parametrize("version", [0, VERSION + 1])
def test_another_version(served: Served, version: int) -> None:
    """A pointer of another version of the format is refused by its version, until the publisher has written its own."""
    site, publisher, reader, before = served
    body = msgspec.msgpack.encode([version, "something else"])
    put_pointer(site, hashlib.blake2b(body, digest_size=32, person=b"pointer").digest() + body)
    assert f"the pointer has version {version} of the format; expected: {VERSION}" in fails(reader)
    publisher.turn(40)
    publisher.turn()
    assert reader.read() is before


def test_a_pointer_to_what_is_not_there(served: Served) -> None:
    """A pointer to shards that do not exist is refused, and what was read last is served."""
    site, publisher, reader, before = served
    _, pointer = get_pointer(site)
    wrong = Pointer(pointer.digest, (*pointer.shards, "ab" * 32), pointer.sequence + 1)
    put_pointer(site, write_pointer(wrong))
    assert "1 of 2 shards are missing: abababababab" in fails(reader)
    publisher.turn(40)
    publisher.turn()
    assert reader.read() is before


def test_a_shard_that_was_deleted(served: Served) -> None:
    """If somebody deletes a shard, routers that have it do not notice; the publisher stores it again."""
    site, publisher, reader, before = served
    (name,) = shards(site)
    site.server.delete("Secret", PLACE, name)
    assert reader.read() is before
    new = site.reader()
    assert "1 of 1 shards are missing" in fails(new)
    publisher.turn(40)
    assert new.read() == before


def test_everything_was_deleted(served: Served) -> None:
    """If somebody deletes all Secrets, routers serve on, and the publisher publishes everything again."""
    site, publisher, reader, before = served
    for name in [POINTER, *shards(site)]:
        site.server.delete("Secret", PLACE, name)
    assert "nothing is there" in fails(reader)
    publisher.turn(40)
    publisher.turn()
    assert reader.read() is before
    assert site.reader().read() == before


def test_a_shard_with_another_content(site: Site) -> None:
    """If a Secret with a shard's name holds something else, it is replaced."""
    publisher = site.publisher()
    packed = SnapshotPacker().pack(publisher.source.read()).shards
    ((name, _),) = packed.items()
    labels = {"app.kubernetes.io/name": "dispatcher", "app.kubernetes.io/component": "snapshot"}
    site.server.put(
        {
            "kind": "Secret",
            "metadata": {"name": f"snapshot-{name}", "namespace": PLACE, "labels": labels},
            "type": "dispatcher/shard",
            "immutable": True,
            "data": {"shard": base64.b64encode(b"rubbish").decode()},
        }
    )
    assert isinstance(publisher.turn(), Applied)
    assert site.reader().read() == publisher.source.read()


def test_a_shard_goes_while_it_is_read(served: Served) -> None:
    """A router that finds a shard gone reads the pointer again, past the cache, and goes on with the newest."""
    site, publisher, reader, _ = served
    add_pod(site, "10.0.0.8", "first")
    publisher.turn()
    between = site.server.store.present.version
    add_pod(site, "10.0.0.9", "second")
    publisher.turn()
    (gone,) = get_pointer_at(site, between).shards
    site.server.hold_cache(between)
    site.server.fail(faults.NOT_FOUND, f"{SECRETS}/snapshot-{gone}")
    assert {"10.0.0.8", "10.0.0.9"} <= set(addresses(reader.read()))


def get_pointer_at(site: Site, version: int) -> Pointer:
    """Give the pointer as it was."""
    state = site.server.store.at(version)
    assert state
    secret = msgspec.json.decode(state.collections["Secret"].objects[f"{PLACE}/{POINTER}"].item)
    return read_pointer(base64.b64decode(secret["data"]["pointer"]))


def test_a_cache_that_is_behind(served: Served) -> None:
    """A router never goes back because another API server's cache is behind."""
    site, publisher, reader, _ = served
    old = site.server.store.present.version
    add_pod(site, "10.0.0.9")
    publisher.turn()
    now = reader.read()
    site.server.hold_cache(old)
    with site.watching() as seen:
        assert all(reader.read() is now for _ in range(10))
    assert seen.count(("GET", POINTER)) == 12, "every ten seconds it looks past the cache"
    assert not reader.source.complaints


def test_yesterdays_etcd(served: Served) -> None:
    """If etcd is restored, routers serve on, and the publisher publishes the present state within half a minute."""
    site, publisher, reader, _ = served
    yesterday = site.server.store.present.version
    for number in range(5):
        add_pod(site, f"10.0.1.{number}", f"web-{number}")
        publisher.turn()
    now = reader.read()
    restore(site, yesterday)
    assert reader.read() is now
    assert reader.source.complaints == (
        "what is published is older than what was read last, which is served until it rises",
    )
    for number in range(5):
        add_pod(site, f"10.0.1.{number}", f"web-{number}")  # who made the Pods makes them again
    publisher.turn(40)
    publisher.turn()
    assert addresses(reader.read()) == addresses(now)
    assert not reader.source.complaints
    assert addresses(site.reader().read()) == addresses(now)


def test_yesterdays_etcd_and_a_new_publisher(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    """If no publisher knows of the newest pointer, and clocks are wrong, routers follow after a minute of its life."""
    site, first, reader, _ = served
    yesterday = site.server.store.present.version
    for number in range(5):
        add_pod(site, f"10.0.1.{number}", f"web-{number}")
        first.turn()
    now = reader.read()
    restore(site, yesterday)
    true_time = time.time
    monkeypatch.setattr(time, "time", lambda: true_time() - 86_400)
    second = site.publisher("second")
    for turn in range(60):
        second.turn()
        assert (reader.read() is now) or turn > 30
    assert reader.read() == second.source.read()
    assert not reader.source.complaints


def test_a_shard_that_is_used_again_is_not_deleted(served: Served) -> None:
    """A late publisher cannot delete a shard that another one has used again since it looked."""
    site, first, reader, before = served
    add_pod(site, "10.0.0.9")
    first.turn()
    objects = PublishedObjects(first.publisher._objects.store)
    listed = objects.list_shards()
    (unneeded,) = listed.keys() - set(get_pointer(site)[1].shards)
    second = site.publisher("second")
    first.election.release()
    site.server.delete("Pod", "a", "web-1")
    second.turn()
    assert get_pointer(site)[1].shards == (unneeded,)
    objects.delete_shard(unneeded, listed[unneeded])
    assert site.reader().read() == before
    assert reader.read() == before


def test_much_is_lost_at_once(served: Served) -> None:
    """An empty cluster is published only after it was read past the cache, and read in the same way by routers."""
    site, publisher, reader, before = served
    site.server.hold_cache(empty=True)
    publisher.turn()
    assert "nothing is there" in fails(reader)
    site.server.follow()
    assert reader.read() == before
    assert publisher.turn().cycle.served == before
    for one in TEAMS:
        site.server.delete(one["kind"], one["metadata"].get("namespace", ""), one["metadata"]["name"])
    publisher.turn()
    assert reader.read(consistently=True).namespaces == ()
    assert site.server.requests[-1].query != {"resourceVersion": "0"}


# The fallback


def test_the_fallback(served: Served) -> None:
    """A router that may list the cluster does so once a minute while no publisher confirms, at a moment of its own."""
    site, _, _, before = served
    reader = site.reader(fallback=True)
    assert reader.read() == before
    add_pod(site, "10.0.0.9")
    begun, lists = reader.clock.now, []
    for _ in range(120):
        asked = site.count("GET", "/api/v1/pods")
        snapshot = reader.read()
        if site.count("GET", "/api/v1/pods") > asked:
            lists.append(reader.clock.now - begun)
    assert 60 <= lists[0] <= 124
    assert all(58 <= after - before <= 62 for before, after in pairwise(lists))
    assert "10.0.0.9" in addresses(snapshot)
    assert reader.told(PublisherSeen)[-1].alone
    publisher = site.publisher("second")
    for _ in range(12):
        publisher.turn()
        reader.read()
    asked = site.count("GET", "/api/v1/pods")
    publisher_asks = 1
    assert "10.0.0.9" in addresses(reader.read())
    assert not reader.told(PublisherSeen)[-1].alone
    del asked, publisher_asks


def test_the_moments_of_a_fleet(served: Served) -> None:
    """Routers that fall back together list at moments that are spread over a minute."""
    site = served[0]
    readers = [site.reader(fallback=True) for _ in range(20)]
    moments = []
    for one in readers:
        one.read()
        while not one.told(PublisherSeen)[-1].alone:
            one.read(1.0)
        moments.append(one.clock.now)
    assert max(moments) - min(moments) > 20
    assert len(set(moments)) > 10


def test_the_fallback_fails_too(served: Served) -> None:
    """If the cluster cannot be listed either, what was published last is served, and it is told why."""
    site, _, _, before = served
    reader = site.reader(fallback=True)
    reader.read()
    site.server.fail(faults.INTERNAL_ERROR, "/api/v1/namespaces*")
    site.server.mend()
    site.server.fail(faults.INTERNAL_ERROR, "/api/v1/pods*")
    for _ in range(70):
        assert reader.read() == before
    assert any("list pods: 500" in complaint for complaint in reader.source.complaints)
