"""The names of sets of Pods, by which a location says which Pods answer it."""

from collections.abc import Collection, Iterator, Mapping
from hashlib import blake2b

import msgspec

from reconciler.rendering.routes_file import tell_host
from reconciler.rendering.structure import find_dynamic
from reconciler.routing.model import Host, Routes
from reconciler.values.memo import Memo

# Of a digest that goes before an upstream's name. A Namespace could only make two of its own names equal.
_DIGEST_BYTES = 8


class SetNames:
    """Names sets for one loop. It works only for what changed since the last time."""

    def __init__(self) -> None:
        self._hosts: tuple[Host, ...] = ()
        self._dynamic = frozenset[str]()
        self._digests = Memo(_digest_paths)
        self._names: Mapping[str, str] = {}

    def find(self, routes: Routes) -> Mapping[str, str]:
        """Give the name of the set of each upstream whose Pods Lua can choose, by the upstream's name."""
        dynamic = find_dynamic(routes)
        if routes.hosts != self._hosts or dynamic != self._dynamic:
            digests = self._digests.round({host.name: host for host in routes.hosts})
            self._names = _name_sets(dynamic, (each for digest in digests.values() for each in digest))
            self._hosts, self._dynamic = routes.hosts, dynamic
        return self._names


def _digest_paths(host: Host) -> tuple[tuple[str, bytes], ...]:
    """Give, for each path of a host, its upstream and a digest of what is said about the path there."""
    told = tell_host(host)
    about_host = msgspec.json.encode([told["host"], told["options"]])
    return tuple(
        (about["upstream"], _digest(about_host, msgspec.json.encode([path, about])))
        for path, about in told["paths"].items()
    )


def _name_sets(dynamic: Collection[str], digests: Iterator[tuple[str, bytes]]) -> dict[str, str]:
    """Name the set of Pods of each dynamic upstream, by what `_digest_paths` gives of all hosts.

    The name changes with what is said about the path. So if a path's rules and its Pods change at once, no request
    meets the new Pods under the old rules, nor the old Pods under the new ones, while old workers still serve.
    """
    about: dict[str, list[bytes]] = {name: [] for name in dynamic}
    for name, digest in digests:
        if name in about:
            about[name].append(digest)
    return {name: f"{_digest(*sorted(all_of_it)).hex()}{name}" for name, all_of_it in about.items()}


def _digest(*parts: bytes) -> bytes:
    return blake2b(b"".join(parts), digest_size=_DIGEST_BYTES).digest()
