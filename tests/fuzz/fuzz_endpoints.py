"""Whatever stands for Pods is written as lines that nginx reads in one way, or not at all; a state is whole or refused.

The first byte of an input says what the rest is: a state, the name of a set, or the address of a Pod.
"""

import ipaddress
import re

from reconciler.rendering.endpoints import (
    Change,
    UnreadableError,
    UnwritableError,
    read_state,
    write_parts,
    write_set,
    write_state,
)
from reconciler.routing.model import Server

STATE, NAME, ADDRESS = range(3)
_LINE = re.compile(r"([0-9a-f.:]+) ([1-9][0-9]{0,4}) 1\n")


def check(data: bytes) -> None:
    """Read an input as what its first byte says."""
    kind, text = data[:1], data[1:].decode("utf-8", "surrogateescape")
    if kind == bytes([STATE]):
        _check_state(text)
    elif kind == bytes([NAME]):
        _check_name(text)
    elif kind == bytes([ADDRESS]):
        _check_address(text)


def _check_state(text: str) -> None:
    try:
        version, sets = read_state(text)
    except UnreadableError:
        return
    assert 0 < version < 10**12
    assert sum(pods.count("\n") + 1 for pods in sets.values()) <= text.count("\n")


def _check_name(name: str) -> None:
    try:
        (part,) = write_parts(Change(((name, ""),)), 1, 2)
        state = write_state(1, {name: ""})
    except UnwritableError:
        return
    assert re.fullmatch(r"[0-9a-f]+\.[0-9a-z-]+", name, re.ASCII)
    assert part.splitlines()[1:-1] == state.splitlines()[1:-1] == [f"set {name}"]


def _check_address(address: str) -> None:
    try:
        line = write_set([Server(address, 1, "")])
    except UnwritableError:
        return
    found = _LINE.fullmatch(line)
    assert found, line
    written = ipaddress.ip_address(found[1])
    assert int(found[2]) < 65536
    assert address == (f"[{written}]:{found[2]}" if written.version == 6 else f"{written}:{found[2]}")
