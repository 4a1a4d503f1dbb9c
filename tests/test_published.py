"""Reading what is published: whatever is wrong with it is one error of one line, and never a part of a Snapshot."""

import hashlib
import tracemalloc
import zlib
from collections.abc import Callable
from contextlib import suppress

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support import hostile, objects
from support.objects import WALKTHROUGH
from support.publishing import make_namespace, make_pods, make_snapshot, pack, read, read_again

from reconciler.disk.recordings import read_recordings
from reconciler.objects.digests import write_object
from reconciler.objects.published import (
    MAX_SHARDS,
    PACKED_SIZE,
    SHARD_SIZE,
    VERSION,
    Part,
    Pointer,
    PublishedError,
    name_shard,
    pack_shard,
    read_pointer,
    write_pointer,
)
from reconciler.objects.snapshot import KeptPair, Namespace, PemPair, Pod, Port, Probe, Secret, Snapshot
from reconciler.objects.snapshot_reader import SnapshotReader

(RECORDED,) = WALKTHROUGH.glob("008-*.json")
DIGEST = bytes(32)
POD = Pod("a", "web", 1.0, "10.0.0.1", "[]", (Port(80, "web", Probe("/", 80, 10, 1, 1, 3)),), "web", "1")
FULL = Namespace(
    "a",
    1.0,
    "{}",
    "o",
    "e",
    Secret("a", "routing", (("k", b"1"), ("n", None))),
    (POD,),
    kept=(KeptPair(("h",), PemPair(b"", b"")),),
)


def refuse(pointer: bytes, *shards: bytes) -> str:
    """Read what has to be refused, and give the error's text."""
    reader = SnapshotReader()
    with pytest.raises(PublishedError) as caught:
        read(pointer, {name_shard(shard): shard for shard in shards}, reader)
    text = str(caught.value)
    assert text.isprintable()
    assert len(text) < 250
    return text


def point_to(*shards: bytes, digest: bytes = DIGEST) -> bytes:
    return write_pointer(Pointer(digest, tuple(map(name_shard, shards))))


def shard_of(*parts: object) -> bytes:
    return zlib.compress(msgspec.msgpack.encode(parts))


def part_of(name: str, value: Namespace | Pod | None = None, **fields: object) -> Part:
    part = Part(name, "", 0, 1, write_object(value) if value else b"")
    return msgspec.structs.replace(part, **fields)


def sign(body: bytes) -> bytes:
    """Give a body the digest that a pointer begins with."""
    return hashlib.blake2b(body, digest_size=32, person=b"pointer").digest() + body


def refuse_shard(packed: bytes) -> str:
    """Read a shard that is named as it should be and is wrong inside."""
    return refuse(point_to(packed), packed)


@pytest.fixture(scope="module")
def recorded() -> Snapshot:
    return make_snapshot(read_recordings([str(RECORDED)]))


def flip(content: bytes, place: int, bits: int) -> bytes:
    return content[:place] + bytes([content[place] ^ bits]) + content[place + 1 :]


@pytest.mark.parametrize("bits", [0x01, 0x80, 0xFF])
def test_each_byte_of_a_pointer_counts(recorded: Snapshot, bits: int) -> None:
    """A pointer with any one byte changed is refused."""
    publication = pack(recorded)
    for place in range(len(write_pointer(publication.pointer))):
        with pytest.raises(PublishedError, match="the pointer is damaged"):
            read_pointer(flip(write_pointer(publication.pointer), place, bits))


@pytest.mark.parametrize("bits", [0x01, 0x80, 0xFF])
def test_each_byte_of_a_shard_counts(recorded: Snapshot, bits: int) -> None:
    """A shard with any one byte changed is refused under its old name, before it is unpacked."""
    publication = pack(recorded)
    ((name, shard),) = publication.shards.items()
    for place in range(len(shard)):
        with pytest.raises(PublishedError, match="is damaged: its digest is another one"):
            SnapshotReader().add(name, flip(shard, place, bits))


@pytest.mark.parametrize("bits", [0x01, 0x80, 0xFF])
def test_each_byte_of_a_pointer_that_is_signed(recorded: Snapshot, bits: int) -> None:
    """A publisher that writes a pointer with any one byte wrong, and its digest over it, is refused too.

    The byte before the last is the sequence, which may be another one.
    """
    publication = pack(recorded)
    body = write_pointer(publication.pointer)[32:]
    for place in range(len(body)):
        wrong = sign(flip(body, place, bits))
        if place == len(body) - 2 and bits == 0x01:
            assert read_pointer(wrong) == msgspec.structs.replace(publication.pointer, sequence=1)
        else:
            refuse(wrong, *publication.shards.values())


@pytest.mark.parametrize("bits", [0x01, 0x80, 0xFF])
def test_each_byte_of_a_shard_that_is_named(recorded: Snapshot, bits: int) -> None:
    """A publisher that writes a shard with any one byte wrong, packed or before, and names it so is refused too.

    There are bytes of zlib's frame that may be others: what is unpacked is the same then.
    """
    ((_, shard),) = pack(recorded).shards.items()
    content = zlib.decompress(shard)
    for place in range(len(shard)):
        wrong = flip(shard, place, bits)
        with suppress(zlib.error):
            if zlib.decompress(wrong) == content:
                assert read(point_to(wrong, digest=recorded.digest), {name_shard(wrong): wrong}) == recorded
                continue
        refuse(point_to(wrong, digest=recorded.digest), wrong)
    for place in range(len(content)):
        wrong = zlib.compress(flip(content, place, bits), 1)
        refuse(point_to(wrong, digest=recorded.digest), wrong)


def test_each_place_to_cut(recorded: Snapshot) -> None:
    """A pointer or shard that is cut off anywhere is refused, also by who takes the rest for the whole."""
    publication = pack(recorded)
    ((_, shard),) = publication.shards.items()
    for place in range(len(write_pointer(publication.pointer))):
        refuse(write_pointer(publication.pointer)[:place], shard)
        refuse(sign(write_pointer(publication.pointer)[32:place]), shard)
    for place in range(len(shard)):
        cut = shard[:place]
        refuse(write_pointer(publication.pointer), cut)
        refuse(point_to(cut, digest=recorded.digest), cut)


@settings(deadline=None)
@given(hostile.clusters, st.data())
def test_any_bytes_wrong(cluster: list[objects.Object], data: st.DataObject) -> None:
    """Whatever is changed in what tenants' objects became gives an error or the same Snapshot."""
    snapshot = make_snapshot(objects.listing(cluster))
    publication = pack(snapshot)
    for shard in publication.shards.values():
        content = bytearray(zlib.decompress(shard))
        for _ in range(data.draw(st.integers(1, 4))):
            place = data.draw(st.integers(0, len(content) - 1))
            content[place : place + data.draw(st.integers(0, 3))] = data.draw(st.binary(max_size=3))
        wrong = zlib.compress(content)
        try:
            assert read(point_to(wrong, digest=snapshot.digest), {name_shard(wrong): wrong}) == snapshot
        except PublishedError as error:
            assert str(error).isprintable()


@given(st.binary(max_size=200))
def test_rubbish(rubbish: bytes) -> None:
    """Any bytes as a pointer or shard, with digests that fit, are refused."""
    for pointer in (rubbish, sign(rubbish)):
        refuse(pointer)
    refuse_shard(rubbish)
    refuse_shard(zlib.compress(rubbish))


@pytest.mark.parametrize("size", [SHARD_SIZE + 1, 1 << 28])
def test_bombs(size: int) -> None:
    """A small shard that unpacks to more than a shard may hold is refused, and not unpacked further."""
    packer = zlib.compressobj(9)
    bomb = b"".join(packer.compress(bytes(1 << 20)) for _ in range(size >> 20)) + packer.compress(
        bytes(size % (1 << 20))
    )
    bomb += packer.flush()
    assert len(bomb) < PACKED_SIZE
    tracemalloc.start()
    assert refuse_shard(bomb) == f"the shard {name_shard(bomb)[:12]} unpacks to more than {SHARD_SIZE} bytes"
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 4 * SHARD_SIZE


@pytest.mark.parametrize(
    "start", [b"\xdd\xff\xff\xff\xff", b"\xdf\xff\xff\xff\xff", b"\xc6\xff\xff\xff\xff", b"\xdb\xff\xff\xff\xff"]
)
def test_lengths_that_are_not_there(start: bytes) -> None:
    """An array, map, binary or text that claims four billion elements is refused without room for them."""
    assert "cannot be decoded" in refuse_shard(zlib.compress(start))
    part = msgspec.msgpack.encode(part_of("a", FULL))
    assert "cannot be decoded" in refuse_shard(zlib.compress(b"\x91" + part[:1] + start))
    assert "cannot be decoded" in refuse(sign(start))
    assert "cannot be decoded" in refuse_shard(shard_of(part_of("a", content=start)))


def test_nested_without_end() -> None:
    """Arrays in arrays without end are refused, wherever they are."""
    deep = b"\x91" * 100_000
    assert "cannot be decoded" in refuse(sign(b"\x92\x01" + deep))
    assert "cannot be decoded" in refuse_shard(zlib.compress(deep))
    assert "cannot be decoded" in refuse_shard(zlib.compress(b"\x91\x96\xa0\xa0\x00\x01\xa0" + deep))


def test_sizes() -> None:
    """A pointer or a shard that is too large is refused before it is looked at."""
    assert "the pointer has 1048576 bytes; expected: at most" in refuse(bytes(1 << 20))
    large = bytes(PACKED_SIZE + 1)
    assert f"has {len(large)} bytes; expected: at most {PACKED_SIZE}" in refuse_shard(large)
    with pytest.raises(PublishedError, match=r"a shard has 600006 bytes, packed [0-9]+; expected: at most"):
        pack_shard([msgspec.msgpack.encode(bytes(600_000))])
    names = tuple(f"{number:064x}" for number in range(MAX_SHARDS + 1))
    assert len(read_pointer(write_pointer(Pointer(DIGEST, names[1:]))).shards) == MAX_SHARDS
    with pytest.raises(PublishedError, match="the Snapshot takes 4097 shards; expected: at most 4096"):
        write_pointer(Pointer(DIGEST, names))


@pytest.mark.parametrize("version", [0, VERSION + 1, -1, 1 << 63])
def test_versions(version: int) -> None:
    """A pointer of another version is refused by its version, whatever else it holds."""
    for more in ((), (DIGEST, b""), ({"shards": 3}, None, "x")):
        text = refuse(sign(msgspec.msgpack.encode((version, *more))))
        assert text == f"the pointer has version {version} of the format; expected: {VERSION}"


def test_pointers_that_are_not_as_written() -> None:
    """A pointer with a short digest, half a name, a field too much or a shard twice is refused."""
    name = bytes(range(32))
    rest = (0, ())
    for body in ((VERSION, b"", name, *rest), (VERSION, DIGEST, name[1:], *rest), (VERSION, DIGEST, name, *rest, 0)):
        assert refuse(sign(msgspec.msgpack.encode(body))) == "the pointer is not as it is written"
    twice = sign(msgspec.msgpack.encode((VERSION, DIGEST, name + name, *rest)))
    assert refuse(twice) == "the pointer names a shard twice"


def test_missing_shards() -> None:
    """If any shard is missing there is no Snapshot; when it comes, the others need not be fetched again."""
    snapshot = make_snapshot(objects.listing([objects.namespace(f"n-{one}", "x" * 9_000) for one in range(200)]))
    publication = pack(snapshot)
    reader, pointer = SnapshotReader(), read_pointer(write_pointer(publication.pointer))
    first, *rest = publication.shards
    assert len(rest) >= 2
    assert reader.find_missing(pointer) == (first, *rest)
    for name in rest:
        reader.add(name, publication.shards[name])
    with pytest.raises(PublishedError, match=f"1 of {len(rest) + 1} shards are missing: {first[:12]}"):
        reader.assemble(pointer)
    assert reader.find_missing(pointer) == (first,)
    reader.add(first, publication.shards[first])
    assert reader.assemble(pointer) == snapshot


def test_no_shard_of_another_pointer_is_kept() -> None:
    """A reader remembers the shards of the last good pointer and of the newest, and no others."""
    states = [pack(make_snapshot(objects.listing([objects.namespace(name, "{}")]))) for name in "abc"]
    pointers = [read_pointer(write_pointer(state.pointer)) for state in states]
    reader = SnapshotReader()
    read(write_pointer(states[0].pointer), states[0].shards, reader)
    assert reader.find_missing(pointers[1]) == tuple(states[1].shards)
    reader.add(*next(iter(states[1].shards.items())))
    assert reader.find_missing(pointers[2]) == tuple(states[2].shards)
    assert reader.find_missing(pointers[1]) == tuple(states[1].shards)
    assert not reader.find_missing(pointers[0])


def test_swapped_and_foreign_shards() -> None:
    """Shards in another order, one left out, or one of another state are refused: the whole has another digest."""
    snapshots = [
        make_snapshot(objects.listing([objects.namespace(f"n-{one}", text * 9_000) for one in range(200)]))
        for text in "xy"
    ]
    old, new = map(pack, snapshots)
    names, shards = tuple(new.shards), {**old.shards, **new.shards}
    assert "is not at its place" in refuse(write_pointer(Pointer(new.pointer.digest, names[::-1])), *shards.values())
    for wrong in (names[1:], (), (next(iter(old.shards)), *names[1:])):
        assert "are not the Snapshot that was published" in refuse(
            write_pointer(Pointer(new.pointer.digest, wrong)), *shards.values()
        )


def test_the_empty_cluster_has_its_digest() -> None:
    """A pointer without shards is read only with the digest of the empty Snapshot."""
    assert "are not the Snapshot that was published" in refuse(point_to())
    assert read_again(pack(make_snapshot(objects.listing([])))).namespaces == ()


@pytest.mark.parametrize(
    ("parts", "why"),
    [
        ((), "is not as it is written"),
        ((part_of("a", FULL), part_of("a", FULL)), "Namespace 'a' is there twice"),
        ((part_of("a"), part_of("a", FULL)), "Namespace 'a' is there twice"),
        ((part_of("b", FULL),), "Namespace 'b' holds an object of another name or Namespace"),
        ((part_of("b", make_namespace("b", pods=(POD,))),), "holds an object of another name or Namespace"),
        ((part_of("b", make_namespace("b", secret=FULL.secret)),), "holds an object of another name or Namespace"),
        ((part_of("a", POD, pod="other"),), "Pod 'other' of Namespace 'a' holds an object of another name"),
        ((part_of("a", POD, pod="web"),), "Pod 'web' of Namespace 'a' is there without its Namespace"),
        ((part_of("a", FULL, count=2),), "Namespace 'a' is not complete"),
        ((part_of("a", FULL, number=1, count=2),), "Namespace 'a' is not complete"),
        ((part_of("a", FULL, number=1),), "Namespace 'a' has piece 1 of 1"),
        ((part_of("a", FULL, number=-1),), "Namespace 'a' has piece -1 of 1"),
        ((part_of("a", FULL, number=1 << 40, count=1 << 41),), "Namespace 'a' has piece"),
        ((part_of("a"), part_of("a", POD, pod="web")), "Namespace 'a' cannot be decoded"),
        ((part_of("a", FULL), part_of("a", POD, pod="web")), "are not the Snapshot that was published"),
        ((part_of("a", content=b"\xc0"),), "Namespace 'a' cannot be decoded"),
        ((part_of("a", content=write_object(FULL) + b"\xc0"),), "Namespace 'a' cannot be decoded"),
        (
            (
                part_of(
                    "a",
                    content=msgspec.msgpack.encode({**msgspec.to_builtins(FULL, builtin_types=(bytes,)), "more": 1}),
                ),
            ),
            "'a' is not as it is",
        ),
        ((part_of("x" * 5_000, content=b"\xc0"),), "cannot be decoded"),
        ((part_of("a\n\x1b[0m", content=b"\xc0"),), "cannot be decoded"),
        (((*msgspec.structs.astuple(part_of("a", FULL)), 1),), "is not as it is written"),
        (("a",), "cannot be decoded"),
    ],
)
def test_shards_of_a_faulty_publisher(parts: tuple[object, ...], why: str) -> None:
    """A shard that is packed well and holds what no publisher writes is refused, and the error says why."""
    assert why in refuse_shard(shard_of(*parts))


def test_more_behind_the_end() -> None:
    """A shard with more behind its end is refused."""
    assert "has more behind its end" in refuse_shard(shard_of(part_of("a", FULL)) + b"x")


def test_a_piece_is_missing() -> None:
    """A Namespace that is in pieces is refused if one of them is left out."""
    large = make_namespace("a", pods=make_pods("a", 1, size=1 << 20))
    snapshot = Snapshot((large,), (), b"")
    publication = pack(snapshot)
    names = tuple(publication.shards)
    assert len(names) >= 3
    for place in range(len(names)):
        pointer = write_pointer(Pointer(publication.pointer.digest, names[:place] + names[place + 1 :]))
        assert refuse(pointer, *publication.shards.values())


def test_the_reader_recovers() -> None:
    """After an error of any kind the reader reads the next good state."""
    good = pack(Snapshot((FULL,), (), b""))
    reader = SnapshotReader()
    bad: list[Callable[[], object]] = [
        lambda: read(b"", {}, reader),
        lambda: reader.add("0" * 64, b"rubbish"),
        lambda: read(point_to(b"x"), {name_shard(b"x"): b"x"}, reader),
        lambda: read(write_pointer(Pointer(DIGEST, tuple(good.shards))), good.shards, reader),
    ]
    for attempt in bad:
        with pytest.raises(PublishedError):
            attempt()
        assert read(write_pointer(good.pointer), good.shards, reader).namespaces == (FULL,)


def test_a_change_of_the_format_changes_its_version() -> None:
    """What is written for one value of each kind is known: if this fails, raise VERSION in published.py."""
    publication = pack(Snapshot((FULL,), ("stray",), b""))
    ((name, shard),) = publication.shards.items()
    assert VERSION == 1
    assert (
        hashlib.sha256(zlib.decompress(shard)).hexdigest()
        == "8837014d97bdff07be0fb237ed0157b8158ce57d870a6a896600c2431b4cb88b"
    )
    assert publication.pointer.digest.hex() == "0adca6e53874b8aa18ad88111152b948199c44e9b7cefbb2c5b9eb53a57e4c74"
    pointer = Pointer(publication.pointer.digest, (name,), 258, (("HEALTH_CHECKS", "on"),))
    head, settings = b"\x95\x01\xc4\x20", b"\xcd\x01\x02\x91\x92\xadHEALTH_CHECKS\xa2on"
    assert write_pointer(pointer)[32:] == head + pointer.digest + b"\xc4\x20" + bytes.fromhex(name) + settings
