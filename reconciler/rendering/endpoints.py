"""The Pods of each path as text that templates/lua/pods.lua reads: the whole state, and a change in parts.

docs/decisions/026-endpoints-without-a-reload.md describes the format.
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from ipaddress import IPv6Address

from reconciler.routing.model import Server
from reconciler.routing.path_entries import HEAVIEST
from reconciler.values.addresses import parse_address
from reconciler.values.value import Value

# Of the server that answers the release's name: there nginx takes changes.
LOCATION = "/endpoints"
# In a tree.
STATE_FILE = "lua/pods.state"
# What a worker reads in one piece keeps its requests waiting. It takes no body above 16 KiB.
LONGEST_PART = 15 * 1024
_LONGEST_NAME = 128
_NAME = re.compile(r"[0-9a-f]+\.[0-9a-z-]+")
_HEAD = re.compile(r"state 1 ([1-9][0-9]{0,11})")
_NEWLINE = "\n"
_PORT = re.compile(r"[1-9][0-9]{0,4}")
_MOST_PORTS = 65535

# The Pods of each set by its name, as text: a line for each, which `write_set` wrote.
Sets = Mapping[str, str]


class UnwritableError(ValueError):
    """A name, address, port or weight that must not reach nginx."""


class UnreadableError(ValueError):
    """A text that is no state."""


class Change(Value, frozen=True):
    """What differs between two states: the sets that are new or have other Pods, and the names of sets that are gone.

    A set without Pods is not gone: requests for it get 503.
    """

    sets: tuple[tuple[str, str], ...]
    gone: tuple[str, ...] = ()

    @property
    def is_empty(self) -> bool:
        """Whether nothing differs."""
        return not (self.sets or self.gone)


def name_pool(namespace: str) -> str:
    """Name the upstream of those Pods of a Namespace that Lua chooses. No host can have this name."""
    return f"_pods.{namespace}"


def find_change(old: Sets, new: Sets) -> Change:
    """Find what differs between two states."""
    sets = tuple((name, pods) for name, pods in sorted(new.items()) if old.get(name) != pods)
    return Change(sets, tuple(sorted(old.keys() - new.keys())))


def write_set(servers: Iterable[Server]) -> str:
    """Write the Pods of a set. UnwritableError if something in it is not legal."""
    return "".join(f"{_write_server(server)}\n" for server in servers)


def write_state(version: int, sets: Sets) -> str:
    """Write the state that nginx loads when it starts. UnwritableError if a name is not legal."""
    body = "".join([f"set {_check_name(name)}\n{sets[name]}" for name in sorted(sets)])
    return f"state 1 {version}\n{body}end {body.count(_NEWLINE)}\n"


def read_state(text: str) -> tuple[int, dict[str, str]]:
    """Read the version and the sets of a state that `write_state` wrote. UnreadableError if it is not whole."""
    head, _, rest = text.partition("\n")
    body, _, lines = rest.rpartition("end ")
    version = _HEAD.fullmatch(head)
    if not version or lines != f"{body.count(_NEWLINE)}\n":
        raise UnreadableError("this is no whole state")
    # No name and no Pod has a blank after these letters.
    named = (one.partition("\n") for one in body.split("set ")[1:])
    return int(version[1]), {name: pods for name, _, pods in named}


def write_parts(change: Change, base: int, version: int) -> tuple[str, ...]:
    """Write what makes `version` of version `base`, in parts that are sent one after the other; at least one.

    UnwritableError if a name is not legal.
    """
    bodies = list(_split(change))
    heads = (f"change 1 {base} {version} {place} {len(bodies)}" for place in range(1, len(bodies) + 1))
    return tuple(map(_frame, heads, bodies))


def _split(change: Change) -> Iterator[list[str]]:
    """Split a change into bodies that are not too long; a set that does not fit into one goes on in the next."""
    body: list[str] = []
    room = LONGEST_PART
    for name, lines in _list_sets(change):
        for line in lines:
            if len(line) + 1 > room:
                yield body
                body = [] if line is lines[0] else [f"more {name}"]
                room = LONGEST_PART - sum(len(each) + 1 for each in body)
            body.append(line)
            room -= len(line) + 1
    yield body


def _list_sets(change: Change) -> Iterator[tuple[str, list[str]]]:
    for name, pods in change.sets:
        yield name, [f"set {_check_name(name)}", *pods.splitlines()]
    for name in change.gone:
        yield name, [f"gone {_check_name(name)}"]


def _frame(head: str, lines: list[str]) -> str:
    return "\n".join((head, *lines, f"end {len(lines)}", ""))


def _check_name(name: str) -> str:
    if len(name) > _LONGEST_NAME or not _NAME.fullmatch(name):
        raise UnwritableError(f"{name!r} is no name of a set of Pods")
    return name


def _write_server(server: Server) -> str:
    """Write a Pod; of an IPv6 address all eight groups, so that nobody needs to find out where zeros were left out."""
    host, _, port = server.address.rpartition(":")
    bare = host.removeprefix("[").removesuffix("]")
    if parse_address(bare) != host or not _PORT.fullmatch(port) or int(port) > _MOST_PORTS:
        raise UnwritableError(f"{server.address!r} is no IP address with a port")
    if not 1 <= server.weight <= HEAVIEST:
        raise UnwritableError(f"{server.address} has weight {server.weight}, which is not from 1 to {HEAVIEST}")
    return f"{_write_host(bare)} {port} {server.weight}{' backup' if server.backup else ''}"


def _write_host(bare: str) -> str:
    if ":" not in bare:
        return bare
    return ":".join(f"{int(group, 16):x}" for group in IPv6Address(bare).exploded.split(":"))
