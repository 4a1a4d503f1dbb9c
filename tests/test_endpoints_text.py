"""The text in which nginx gets its Pods: what is written, how a change is split, and what is never written."""

import re
from pathlib import Path

import pytest
import reconciler.templates
from hypothesis import given
from hypothesis import strategies as st

from reconciler.rendering.endpoints import (
    LONGEST_PART,
    STATE_FILE,
    Change,
    UnreadableError,
    UnwritableError,
    find_change,
    read_state,
    write_parts,
    write_set,
    write_state,
)
from reconciler.rendering.pods_conf import NO_PODS
from reconciler.routing.model import Server

CODE = Path(reconciler.templates.__path__[0], "lua")
WEB = Server("10.0.0.1:8080", 1, "web-1")
SPARE = Server("[2001:db8::1]:80", 3, "web-2", backup=True)


def test_state() -> None:
    """A state has a line for each set and for each Pod; of an IPv6 address all groups are written."""
    assert write_state(7, {"0b.b": "", "0a.a": write_set([WEB, SPARE])}).splitlines() == [
        "state 1 7",
        "set 0a.a",
        "10.0.0.1 8080 1",
        "2001:db8:0:0:0:0:0:1 80 3 backup",
        "set 0b.b",
        "end 4",
    ]


SERVERS = st.builds(
    Server,
    st.sampled_from(["10.0.0.1:8080", "255.255.255.255:1", "[2001:db8::1]:65535"]),
    st.sampled_from([1, 1_000_000]),
    st.just("web"),
    st.booleans(),
)


@given(st.integers(1, 10**12 - 1), st.dictionaries(st.from_regex(r"\A[0-9a-f]{1,9}\.[a-z-]{1,9}\Z"), st.lists(SERVERS)))
def test_state_is_read_back(version: int, sets: dict[str, list[Server]]) -> None:
    """A state is read as it was written; one that is not whole is not read."""
    texts = {name: write_set(servers) for name, servers in sets.items()}
    text = write_state(version, texts)
    assert read_state(text) == (version, texts)
    for wrong in ("", text[:-1], text.replace("state 1", "state 2"), text + "end 0\n", text.replace("end ", "\nend ")):
        with pytest.raises(UnreadableError):
            read_state(wrong)


def test_change() -> None:
    """A change has the sets that differ, whole, and the names of those that are gone; no Pods does not mean gone."""
    web, spare = write_set([WEB]), write_set([SPARE])
    old = {"0a.a": web, "0b.b": web, "0c.c": web}
    change = find_change(old, {"0a.a": web, "0b.b": "", "0d.d": spare})
    assert change == Change((("0b.b", ""), ("0d.d", spare)), ("0c.c",))
    (part,) = write_parts(change, 3, 5)
    assert part.splitlines() == [
        "change 1 3 5 1 1",
        "set 0b.b",
        "set 0d.d",
        "2001:db8:0:0:0:0:0:1 80 3 backup",
        "gone 0c.c",
        "end 4",
    ]
    assert write_parts(Change(()), 3, 4) == ("change 1 3 4 1 1\nend 0\n",)


@given(st.lists(st.integers(0, 1500), max_size=6), st.integers(0, 400))
def test_parts(sizes: list[int], gone: int) -> None:
    """No part is longer than a worker takes, and all together hold each line once and in order."""
    sets = {
        f"{place:02x}.a": write_set(Server(f"10.{place}.{n // 250}.{n % 250}:80", 1, "") for n in range(size))
        for place, size in enumerate(sizes)
    }
    change = Change(tuple(sets.items()), tuple(f"{n:x}.gone" for n in range(gone)))
    parts = write_parts(change, 1, 2)
    lines: list[str] = []
    for place, part in enumerate(parts, 1):
        assert len(part) <= LONGEST_PART + 100
        head, *body, end = part.splitlines()
        assert (head, end) == (f"change 1 1 2 {place} {len(parts)}", f"end {len(body)}")
        if body and body[0].startswith("more "):
            begun = [line for line in lines if line.startswith("set ")][-1]
            assert body.pop(0) == begun.replace("set ", "more ")
        lines += body
    whole = write_state(1, sets).splitlines()[1:-1]
    assert lines == [*whole, *(f"gone {n:x}.gone" for n in range(gone))]


@pytest.mark.parametrize(
    "address",
    [
        "unix:/run/docker.sock",
        "unix:80",
        "localhost:80",
        "10.0.0.1",
        "10.0.0.01:80",
        "10.0.0.256:80",
        "10.0.0.1:0",
        "10.0.0.1:65536",
        "10.0.0.1:080",
        "10.0.0.1:+80",
        "10.0.0.1:٨٠",
        "::1:80",
        "[::1]:",
        "[fe80::1%eth0]:80",
        "[::ffff:10.0.0.1]:80",
        "10.0.0.1 80 1\n10.0.0.2:80",
        "",
    ],
)
def test_addresses(address: str) -> None:
    """Only an IP address with a port is written."""
    with pytest.raises(UnwritableError, match=re.escape(repr(address))):
        write_set([Server(address, 1, "")])


@pytest.mark.parametrize("weight", [0, -1, 1_000_001])
def test_weights(weight: int) -> None:
    """A weight is from 1 to 1,000,000, as in annotations."""
    with pytest.raises(UnwritableError, match=f"weight {weight}"):
        write_set([Server("10.0.0.1:80", weight, "")])


@pytest.mark.parametrize(
    "name", ["", "0a", ".a", "0a.", "0a.a\nset 0b.b", "0a.A", ":version", "0a/1.a", f"0a.{'a' * 127}"]
)
def test_names(name: str) -> None:
    """Only a name as upstreams have it is written."""
    for change in (Change(((name, ""),)), Change((), (name,))):
        with pytest.raises(UnwritableError):
            write_parts(change, 1, 2)


def test_code() -> None:
    """The Lua code runs no text as code, opens one file, reads nothing else of the system, and throws no key away."""
    files = {path.name: re.sub(r"--.*", "", path.read_text()) for path in sorted(CODE.iterdir())}
    assert list(files) == ["pods.lua", "pods_store.lua", "pods_text.lua"]
    code = "\n".join(files.values())
    words = re.findall(r"[\w.:]+", code)
    unsafe = {"loadstring", "loadfile", "dofile", "setfenv", "getfenv", "ffi", "os", "debug", "jit", "_G", "pipe"}
    assert not {part for word in words for part in re.split("[.:]", word)} & unsafe
    assert {word for word in words if re.search(r"\bload\b", word)} == {"M.load", "store.load"}
    assert [word for word in words if word.startswith("io.")] == ["io.open"]
    assert set(re.findall(r"require\W+([\w.]+)", code)) == {"ngx.balancer", "pods_store", "pods_text"}
    assert not re.findall(r"dict:(?:set|add|replace|lpush|rpush|incr\([^,]+,[^,)]+,)", code)
    assert "ngx" not in files["pods_text.lua"]


def test_words_of_both_languages() -> None:
    """What Python and Lua both name is the same: the socket for paths without Pods, and the state."""
    assert f'"unix:{NO_PODS}"' in (CODE / "pods.lua").read_text()
    assert STATE_FILE.rpartition("/")[2] in (CODE / "pods.lua").read_text().replace("%.lua$", ".lua")
