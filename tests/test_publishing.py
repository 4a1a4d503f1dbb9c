"""Publishing: one reads the cluster, others read what it published; over real requests to a test API server."""

import pytest
from support.authority import Authority
from support.objects import namespace, pod, secret, tls
from support.pods import DECLARED, entry
from support.publishers import (
    HOME,
    LEASES,
    SECRETS,
    Site,
    addresses,
    shards,
    team,
)

from reconciler.cluster.lease import LEASE
from reconciler.cluster.published_objects import POINTER
from reconciler.loop.events import Applied, Elected, Failed, Idle, Published, PublisherSeen, StoodBy
from reconciler.loop.ports import SourceError
from reconciler.rendering.comparison import compare


def test_what_is_published_is_read(site: Site) -> None:
    """A router that may only get Secrets of one Namespace reads what a publisher read of the whole cluster."""
    publisher, reader = site.publisher(), site.reader()
    assert isinstance(publisher.turn(), Applied)
    snapshot = reader.read()
    assert snapshot == publisher.source.read()
    assert [one.secret and one.secret.data for one in snapshot.namespaces] == [
        (("api-key", b"key-of-a"),),
        (("api-key", b"key-of-b"),),
    ]
    assert not reader.told(Failed)


def test_nothing_is_published(site: Site) -> None:
    """Before anything is published, a router says so, and does not take it for an empty cluster."""
    reader = site.reader()
    with pytest.raises(
        SourceError, match=r"Namespace dispatcher-published cannot be used: nothing is there; does `dis"
    ):
        reader.read()


def test_an_empty_cluster_is_published(site: Site) -> None:
    """An empty cluster is published as such, without any shard."""
    site.server.load([HOME])
    site.publisher().turn()
    assert site.reader().read().namespaces == ()
    assert not shards(site)


def test_shards_are_written_before_the_pointer(site: Site) -> None:
    """The pointer is written last, and only if something changed."""
    publisher = site.publisher()
    publisher.turn()
    assert site.writes() == [("POST", "shard"), ("POST", "shard")]  # the second one is the pointer, as a new Secret
    site.server.requests.clear()
    assert isinstance(publisher.turn(), Idle)
    assert not site.writes()
    site.server.put(pod("a", "web-1", "10.0.0.9", [entry("/")], DECLARED))
    assert isinstance(publisher.turn(), Applied)
    assert site.writes() == [("POST", "shard"), ("PUT", "pointer")]


def test_what_a_look_costs(site: Site) -> None:
    """While nothing changes, a router sends one GET each time, and one of the Lease every ten seconds.

    After a change it gets the shards that it does not have.
    """
    publisher, reader = site.publisher(), site.reader()
    publisher.turn()
    first = reader.read()
    with site.watching() as seen:
        assert all(reader.read() is first for _ in range(10))
    assert seen.count(("GET", POINTER)) == 10
    assert seen.count(("GET", LEASE)) == 2
    assert len(seen) == 12
    assert all(one.query == {"resourceVersion": "0"} for one in site.server.requests[-12:])
    site.server.put(pod("a", "web-1", "10.0.0.9", [entry("/")], DECLARED))
    publisher.turn()
    with site.watching() as seen:
        assert "10.0.0.9" in addresses(reader.read())
    assert [name[:9] for _, name in seen] == [POINTER, "snapshot-"]


def test_one_namespace_is_one_shard(site: Site) -> None:
    """In a large cluster, one change is one new shard, for the publisher and for routers."""
    many = [one for number in range(400) for one in team(f"team-{number:03}", "10.1.0.1", note="x" * 2000)]
    site.server.load([*many, HOME])
    publisher, reader = site.publisher(), site.reader()
    publisher.turn()
    reader.read()
    number = len(shards(site))
    assert number > 1
    site.server.put(pod("team-007", "web-0", "10.1.0.2", [entry("/")], DECLARED))
    publisher.turn()
    told = publisher.told(Published)[-1]
    assert (told.shards, told.written) == (number, 1)
    with site.watching() as seen:
        assert "10.1.0.2" in addresses(reader.read())
    assert [name[:9] for _, name in seen] == ["snapshot", "snapshot-"]


def test_a_change_without_routes_is_published_later(site: Site) -> None:
    """What changes no route, such as a new problem, is published after ten seconds, and then once."""
    publisher, reader = site.publisher(), site.reader()
    publisher.turn()
    site.server.put(pod("a", "web-9", "10.0.0.8", "not JSON", DECLARED))
    assert isinstance(publisher.turn(), Idle)
    assert len(reader.read().namespaces[0].pods) == 1
    for _ in range(10):
        publisher.turn()
    assert len(publisher.told(Published)) == 2
    assert len(reader.read().namespaces[0].pods) == 2


def test_one_publishes_and_one_stands_by(site: Site) -> None:
    """Of two publishers one has the Lease; the other one asks nobody but the Lease, and goes on when it ends."""
    first, second, reader = site.publisher("first"), site.publisher("second"), site.reader()
    first.turn()
    with site.watching() as seen:
        assert second.turn() == StoodBy("first")
    assert seen == [("GET", LEASE)]
    for _ in range(20):  # the Lease is renewed, and ends for nobody
        first.turn()
        assert second.turn() == StoodBy("first")
    site.server.put(pod("a", "web-1", "10.0.0.9", [entry("/")], DECLARED))
    turns = 0
    while not isinstance(second.turn(), Applied):
        turns += 1
    assert 2 <= turns <= 5, "API_TIMEOUT and ten seconds after the last renewal, which it saw some turns before"
    assert second.told(Elected)
    assert "10.0.0.9" in addresses(reader.read())
    assert not second.told(Failed)


def test_a_publisher_that_ends_gives_the_lease_back(site: Site) -> None:
    """When a publisher ends in order, the next one publishes at its next turn."""
    first, second = site.publisher("first"), site.publisher("second")
    first.turn()
    second.turn()
    first.election.release()
    assert isinstance(second.turn(), Applied)


def test_who_takes_over_writes_the_same_shards(site: Site) -> None:
    """A publisher that takes over writes the pointer alone, because all shards are there already."""
    first, second = site.publisher("first"), site.publisher("second")
    first.turn()
    first.election.release()
    with site.watching() as seen:
        second.turn()
    assert [one for one in seen if one[0] != "GET"] == [
        ("PUT", LEASE), ("POST", "secrets"), ("PATCH", f"snapshot-{shards(site)[0][9:]}"), ("PUT", POINTER),
        ("PUT", LEASE),
    ]  # fmt: skip
    assert len(shards(site)) == 1


def test_how_old_it_is(site: Site) -> None:
    """A router says when the publisher last confirmed what is published, and when that is too long ago."""
    publisher, reader = site.publisher(), site.reader(PUBLISHED_MAX_AGE="30")
    publisher.turn()
    for _ in range(30):
        publisher.turn()
        reader.read()
    assert not any(event.old for event in reader.told(PublisherSeen))
    ages = [reader.clock.now - reader.confirmation.last] if reader.confirmation.last else []
    assert ages and ages[0] <= 12.0
    for _ in range(21):
        reader.read()
    assert reader.told(PublisherSeen)[-1].old
    publisher.turn(44)
    for _ in range(6):
        reader.read()
    assert not reader.told(PublisherSeen)[-1].old


def test_settings_that_differ(site: Site) -> None:
    """A router whose settings read other objects than the publisher's refuses what is published, and says why."""
    site.publisher().turn()
    with pytest.raises(
        SourceError, match=r"it was read with HOSTS_ANNOTATION='github.*hosts', and this router has 'x'"
    ):
        site.reader(HOSTS_ANNOTATION="x").read()
    assert site.reader(PORT="8080").read().namespaces


def test_what_a_router_asks(site: Site) -> None:
    """A router sends nothing but GETs of Secrets and of the Lease in the Namespace for what is published."""
    site.publisher().turn()
    before = len(site.server.requests)
    site.reader().read()
    asked = site.server.requests[before:]
    assert {one.method for one in asked} == {"GET"}
    assert all(one.path.startswith((f"{SECRETS}/", f"{LEASES}/")) for one in asked)


def test_old_shards_are_removed(site: Site) -> None:
    """A shard that no pointer names stays for ten minutes, for routers that are late; then it is removed."""
    publisher = site.publisher()
    publisher.turn()
    site.server.put(pod("a", "web-1", "10.0.0.9", [entry("/")], DECLARED))
    publisher.turn()
    assert len(shards(site)) == 2
    for _ in range(19):
        publisher.turn(30)
    assert len(shards(site)) == 2
    for _ in range(3):
        publisher.turn(30)
    assert len(shards(site)) == 1


def test_hosts_with_tls(site: Site, authority: Authority) -> None:
    """A publisher judges hosts with TLS as a router with TLS does, and its change is published at once."""
    publisher, reader = site.publisher(), site.reader()
    publisher.turn()
    certificate, key = authority.issue("a.dev")
    site.server.put(namespace("a", {"a.dev": tls()}))
    site.server.put(secret("a", api_key="key-of-a", **{"ssl.crt": certificate, "ssl.key": key}))
    applied = publisher.turn()
    assert isinstance(applied, Applied)
    assert not applied.cycle.table.problems
    first = reader.read()
    other = authority.issue("a.dev")
    site.server.put(secret("a", api_key="key-of-a", **{"ssl.crt": other[0], "ssl.key": other[1]}))
    assert isinstance(publisher.turn(), Applied)
    assert reader.read() != first
    assert first.default_pair is None


def test_what_is_told_after_taking_over(site: Site) -> None:
    """A publisher that goes on from what is published tells only what differs."""
    first, second = site.publisher("first"), site.publisher("second")
    first.turn()
    first.election.release()
    site.server.put(pod("a", "web-1", "10.0.0.9", [entry("/")], DECLARED))
    applied = second.turn()
    assert isinstance(applied, Applied)
    assert applied.last
    (change,) = compare(applied.last.files, applied.cycle.files)
    assert str(change).startswith("+ pod a/web-1 for / (address 10.0.0.9:")
