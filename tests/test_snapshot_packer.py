"""Packing: what is read is what was packed, and a change of one Namespace changes as few shards as it can."""

import base64
import random
from operator import attrgetter

import msgspec
import pytest
from clusters import make_listing, with_one_pod_gone_unready, with_options
from fleet import make_objects
from hypothesis import given, settings
from hypothesis import strategies as st
from support import hostile, objects
from support.objects import WALKTHROUGH
from support.publishing import change, make_namespace, make_pods, make_snapshot, pack, read, read_again

from reconciler.disk.recordings import read_recordings
from reconciler.objects.digests import digest_namespace, digest_snapshot, write_object
from reconciler.objects.published import (
    PACKED_SIZE,
    PART_SIZE,
    PIECE_SIZE,
    SHARD_SIZE,
    SHARD_WEIGHT,
    Part,
    PublishedError,
    write_pointer,
)
from reconciler.objects.snapshot import KeptPair, Namespace, PemPair, Pod, Secret, Snapshot
from reconciler.objects.snapshot_packer import SnapshotPacker
from reconciler.objects.snapshot_reader import SnapshotReader

EMPTY = Snapshot((), (), digest_snapshot((), ()))


def seal(*namespaces: Namespace, strays: tuple[str, ...] = ()) -> Snapshot:
    """Make a Snapshot of Namespaces, with the digest that a normaliser gives it."""
    namespaces = tuple(sorted(namespaces, key=attrgetter("name")))
    digests = (digest_namespace(write_object(namespace)) for namespace in namespaces)
    return Snapshot(namespaces, strays, digest_snapshot(digests, strays))


@pytest.fixture(scope="module")
def ten_thousand() -> Snapshot:
    """Make a cluster of 10,000 Pods with all options, which takes about twenty shards."""
    return make_snapshot(with_options(make_listing(10_000)))


@pytest.mark.parametrize("path", sorted(WALKTHROUGH.glob("*.json")), ids=lambda path: path.stem)
def test_recorded_clusters_come_back(path) -> None:
    """Each recorded state of a cluster is read as it was packed, with its digest."""
    snapshot = make_snapshot(read_recordings([str(path)]))
    assert read_again(pack(snapshot)) == snapshot


@pytest.mark.parametrize("pods", [2_000, 10_000])
def test_large_clusters_come_back(pods: int) -> None:
    """Clusters of 2,000 and 10,000 Pods are read as they were packed, and no shard is larger than allowed."""
    for listing in (objects.listing(list(make_objects(pods))), with_options(make_listing(pods))):
        snapshot = make_snapshot(listing)
        publication = pack(snapshot)
        assert len(snapshot.namespaces) == pods // 20
        assert read_again(publication) == snapshot
        assert max(map(len, publication.shards.values())) <= PACKED_SIZE < 1 << 20


@settings(max_examples=60, deadline=None)
@given(hostile.clusters)
def test_hostile_clusters_come_back(cluster) -> None:
    """Whatever tenants write is read as it was packed."""
    snapshot = make_snapshot(objects.listing(cluster))
    assert read_again(pack(snapshot)) == snapshot


def test_an_empty_cluster() -> None:
    """An empty cluster is a pointer without shards, which is read as an empty cluster."""
    publication = pack(EMPTY)
    assert not publication.shards
    assert read_again(publication) == EMPTY


def test_strays_and_what_is_kept() -> None:
    """Strays, lost keys and kept pairs come back; the digest is that of the content, whatever the Snapshot says."""
    kept = make_namespace("a", key_lost=True, kept=(KeptPair(("a.example",), PemPair(b"1", b"2")),))
    snapshot = seal(kept, make_namespace("c", created=float("inf"), terminating=True), strays=("b", "d"))
    assert read_again(pack(msgspec.structs.replace(snapshot, digest=b"of another"))) == snapshot


def test_the_digest_is_that_of_the_snapshot(ten_thousand: Snapshot) -> None:
    """The digest that is published is the one that the normaliser gave."""
    assert pack(ten_thousand).pointer.digest == ten_thousand.digest


def test_the_default_pair_is_not_published() -> None:
    """A certificate and key of the operator are refused: whoever reads what is published would have them."""
    with pytest.raises(PublishedError, match="the default server's certificate and key are not published"):
        pack(msgspec.structs.replace(EMPTY, default_pair=PemPair(b"1", b"2")))


def test_what_nobody_could_read_is_not_packed() -> None:
    """A Snapshot with a Namespace or Pod twice or out of order, or a Namespace that is a stray too, is refused."""
    one, other = make_namespace("a"), make_namespace("b")
    for namespaces, strays in (((one, one), ()), ((other, one), ()), ((one,), ("a",)), ((), ("b", "b"))):
        with pytest.raises(PublishedError, match="a Namespace is in the Snapshot twice, or not in order"):
            pack(Snapshot(namespaces, strays, b""))
    with pytest.raises(PublishedError, match="Namespace 'a' has a Pod twice, or not in order"):
        pack(seal(make_namespace("a", pods=make_pods("a", 3)[::-1])))


def test_equal_snapshots_give_equal_bytes(ten_thousand: Snapshot) -> None:
    """A publisher that takes over writes the same bytes as one that has followed the cluster from its beginning."""
    follower = SnapshotPacker()
    for part in (0, 1, 77, 350, 500):
        follower.pack(seal(*ten_thousand.namespaces[:part]))
    again = make_snapshot(with_options(make_listing(10_000)))
    assert follower.pack(ten_thousand) == pack(again)


def test_one_change_is_one_shard(ten_thousand: Snapshot) -> None:
    """A change of any one Namespace changes one shard; all others are the very bytes that were packed before."""
    packer, snapshot = SnapshotPacker(), ten_thousand
    before = packer.pack(snapshot)
    assert len(before.shards) > 10
    for place in range(0, 500, 9):
        snapshot = change(snapshot, place, environment="other")
        after = packer.pack(snapshot)
        same = after.shards.keys() & before.shards.keys()
        assert len(same) == len(after.shards) - 1 == len(before.shards) - 1
        assert all(after.shards[name] is before.shards[name] for name in same)
        before = after


def test_a_reader_needs_what_changed(ten_thousand: Snapshot) -> None:
    """After one Pod has changed, a reader needs one shard and gets the Snapshot."""
    states = [make_snapshot(make_listing(2_000)), make_snapshot(with_one_pod_gone_unready(make_listing(2_000)))]
    packer, reader = SnapshotPacker(), SnapshotReader()
    first, second = map(packer.pack, states)
    assert read(write_pointer(first.pointer), first.shards, reader) == states[0]
    new = {name: second.shards[name] for name in second.shards.keys() - first.shards.keys()}
    assert len(new) == 1
    assert read(write_pointer(second.pointer), new, reader) == states[1]


def test_growing_and_shrinking() -> None:
    """While Namespaces come and go one by one, one of them writes two new shards at most, and two hundred few more."""
    namespaces = [make_namespace(f"team-{number:03}", hosts="x" * 9_000) for number in range(200)]
    packer, written, most = SnapshotPacker(), 0, 0
    known = set()
    for count in (*range(201), *range(199, -1, -1)):
        shards = packer.pack(seal(*namespaces[:count])).shards.keys()
        written, most, known = written + len(shards - known), max(most, len(shards - known)), set(shards)
    assert most == 2
    assert written < 420
    assert not known


def test_a_shard_that_is_full_to_the_last_byte() -> None:
    """Wherever the sizes of three Namespaces lie around the limit, they are packed and read."""
    shards = set()
    for more in range(130):
        sizes = (170_000, 170_000, SHARD_SIZE - 340_000 - 500 + 4 * more)
        snapshot = seal(*(make_namespace(name, hosts="x" * size) for name, size in zip("abc", sizes, strict=True)))
        publication = pack(snapshot)
        assert publication.pointer.digest == snapshot.digest
        shards.add(len(publication.shards))
    assert read_again(publication) == snapshot
    assert shards == {1, 2}


def test_shards_are_filled() -> None:
    """Namespaces of many sizes fill their shards to half or more on average, and no shard is too full."""
    sizes = random.Random(13)
    names = sorted({f"team-{sizes.random()}" for _ in range(1_000)})
    publication = pack(seal(*(make_namespace(name, hosts="x" * int(sizes.expovariate(1 / 9_000))) for name in names)))
    filled = sum(len(write_object(one)) for one in read_again(publication).namespaces)
    assert filled / len(publication.shards) > SHARD_SIZE / 2


def test_a_large_namespace_is_split_by_its_pods() -> None:
    """A Namespace that outgrows a shard is split over several. A change of one of its Pods changes one of them."""
    small = [make_namespace(f"small-{number}", hosts="x" * 2_000) for number in range(50)]
    large = make_namespace("large", pods=make_pods("large", 3_000, size=900))
    before = seal(large, *small)
    publication = pack(before)
    assert len(publication.shards) >= 6
    assert read_again(publication) == before
    pods = list(large.pods)
    pods[1_234] = msgspec.structs.replace(pods[1_234], ip="")
    after = seal(msgspec.structs.replace(large, pods=tuple(pods)), *small)
    changed = pack(after)
    assert len(changed.shards.keys() - publication.shards.keys()) == 1
    assert read_again(changed) == after


def test_outgrowing_changes_the_shard_that_grew(ten_thousand: Snapshot) -> None:
    """When a Namespace outgrows its shard, no shard of others is written anew."""
    before = pack(ten_thousand)
    namespace = ten_thousand.namespaces[250]
    grown = change(ten_thousand, 250, pods=make_pods(namespace.name, 3_000, size=900))
    after = pack(grown)
    assert len(before.shards.keys() - after.shards.keys()) == 1
    assert read_again(after).namespaces == grown.namespaces


@pytest.mark.parametrize("size", [PIECE_SIZE - 500, PIECE_SIZE, SHARD_WEIGHT, PART_SIZE, 1 << 20, 3 << 19])
def test_what_does_not_shrink(size: int) -> None:
    """Secrets and Pods of random bytes come back, also those that are larger than a shard; no shard is too large."""
    noise = random.Random(size)
    secret = Secret("a", "routing", (("api-key", noise.randbytes(size)), ("none", None)))
    pod = Pod("a", "web", 1.0, "", noise.randbytes(size).hex(), (), "", "")
    snapshot = seal(make_namespace("a", secret=secret, pods=(pod,)), make_namespace("b", pods=make_pods("b", 3)))
    publication = pack(snapshot)
    assert max(map(len, publication.shards.values())) <= SHARD_WEIGHT < PACKED_SIZE < 1 << 20
    assert read_again(publication) == snapshot


def test_a_namespace_that_is_too_large() -> None:
    """A Namespace that takes more than one may is published without its Pods, and no other one is touched."""
    noise = random.Random(5)
    secret = Secret("a", "routing", (("api-key", noise.randbytes(1 << 20)),))
    pods = [Pod("a", f"web-{number:02}", 1.0, "", noise.randbytes(1 << 18).hex(), (), "", "") for number in range(20)]
    small = make_namespace("b", pods=make_pods("b", 3))
    large = make_namespace("a", secret=secret, pods=tuple(pods))
    publication = pack(seal(large, small))
    assert publication.bare == ("a",)
    assert read_again(publication).namespaces == (msgspec.structs.replace(large, pods=()), small)
    fits = msgspec.structs.replace(large, pods=tuple(pods[:5]))
    assert pack(seal(fits, small)).bare == ()


def test_more_than_all_may_take(monkeypatch: pytest.MonkeyPatch) -> None:
    """If all Namespaces together take too much, the heaviest ones are published without their Pods."""
    monkeypatch.setattr("reconciler.objects.snapshot_packer.TOTAL_WEIGHT", 7 << 18)
    noise = random.Random(6)

    def make(name: str, size: int) -> Namespace:
        return make_namespace(name, pods=(Pod(name, "web", 1.0, "", noise.randbytes(size).hex(), (), "", ""),))

    snapshot = seal(*(make(f"n-{number}", (number + 1) << 16) for number in range(8)))
    publication = pack(snapshot)
    assert publication.bare == ("n-6", "n-7")
    assert read_again(publication).namespaces[:6] == snapshot.namespaces[:6]


def test_keys_and_certificates() -> None:
    """Shards of Namespaces with keys and certificates of their own are small too, and half full or more on average."""
    noise = random.Random(13)
    fields = ("api-key", "tls.crt", "tls.key")
    secrets = [
        Secret(f"n-{number}", "routing", tuple((field, base64.encodebytes(noise.randbytes(1_500))) for field in fields))
        for number in range(300)
    ]
    snapshot = seal(*(make_namespace(secret.namespace, secret=secret) for secret in secrets))
    publication = pack(snapshot)
    sizes = list(map(len, publication.shards.values()))
    assert max(sizes) <= SHARD_WEIGHT
    assert sum(sizes) / len(sizes) > SHARD_WEIGHT / 2
    assert read_again(publication) == snapshot


def test_chosen_names() -> None:
    """Namespaces whose names fall together, as a tenant may choose them, take no more shards than others."""
    names = sorted(f"team-{number}" for number in range(20_000))
    chosen = [name for name in names if make_key(name) < 1 << 5][:150]
    snapshot = seal(*(make_namespace(name, hosts="x" * 9_000) for name in chosen))
    publication = pack(snapshot)
    assert len(chosen) > 100
    assert len(publication.shards) <= 2 + len(chosen) * 9_200 // (SHARD_SIZE // 2)
    assert read_again(publication) == snapshot


def make_key(name: str) -> int:
    """Give the first twelve bits of where a Namespace lies."""
    return int.from_bytes(Part(name, "", 0, 1, b"").key[:2]) >> 4


@settings(deadline=None)  # some draws are megabytes
@given(st.data())
def test_any_history(data: st.DataObject) -> None:
    """After any changes a packer that followed them gives what a new one gives, and the reader reads it."""
    packer, reader = SnapshotPacker(), SnapshotReader()
    sizes = st.dictionaries(st.sampled_from("abcdefgh"), st.sampled_from([0, 90_000, 200_000, 300_000, 600_000]))
    for state in data.draw(st.lists(sizes, min_size=1, max_size=5)):
        snapshot = seal(
            *(make_namespace(name, pods=make_pods(name, 3, size // 3)) for name, size in sorted(state.items()))
        )
        publication = packer.pack(snapshot)
        assert publication == pack(snapshot)
        assert read(write_pointer(publication.pointer), publication.shards, reader) == snapshot
