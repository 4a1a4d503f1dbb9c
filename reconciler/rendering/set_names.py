"""The names of sets of Pods, by which a location says which Pods answer it."""

from collections.abc import Collection, Iterable, Mapping
from hashlib import blake2b

from msgspec.structs import replace

from reconciler.rendering.structure import find_dynamic
from reconciler.routing.model import Answer, ApiKey, Host, Location, Routes
from reconciler.values.memo import Memo

# Of a digest that goes before an upstream's name. A Namespace could only make two of its own names equal.
_DIGEST_BYTES = 8
# So many API keys are remembered of each Namespace.
_MOST_KEYS = 20


class SetNames:
    """Names sets for one loop. It works only for what changed since the last time."""

    def __init__(self) -> None:
        self._hosts: tuple[Host, ...] = ()
        self._api_keys: tuple[tuple[str, ApiKey], ...] = ()
        self._dynamic = frozenset[str]()
        self._digests = Memo(_digest_paths)
        self._numbers = _KeyNumbers()
        self._names: Mapping[str, str] = {}

    def find(self, routes: Routes) -> Mapping[str, str]:
        """Give the name of the set of each upstream whose Pods Lua can choose, by the upstream's name.

        The name changes with all that nginx does with requests to the path. So if a path's rules and its Pods change at
        once, no request meets the new Pods under the old rules, nor the old Pods under the new ones, while old workers
        still serve.
        """
        dynamic = find_dynamic(routes)
        if (routes.hosts, routes.api_keys, dynamic) != (self._hosts, self._api_keys, self._dynamic):
            digests = self._digests.round({host.name: host for host in routes.hosts})
            about = _join(dynamic, (each for digest in digests.values() for each in digest))
            keys = {namespace: b"%d" % self._numbers.number(namespace, key) for namespace, key in routes.api_keys}
            self._names = {
                one.name: f"{_digest(*sorted(about[one.name]), keys.get(one.namespace, b'')).hex()}{one.name}"
                for one in routes.upstreams
                if one.name in about
            }
            self._hosts, self._api_keys, self._dynamic = routes.hosts, routes.api_keys, dynamic
        return self._names


class _KeyNumbers:
    """Numbers the API keys of each Namespace: a digest would tell something about them to who reads nginx.conf.

    A Namespace that is gone keeps its numbers, because it may come back while old workers still know its first ones.
    """

    def __init__(self) -> None:
        self._known: dict[str, dict[ApiKey, int]] = {}

    def number(self, namespace: str, key: ApiKey) -> int:
        known = self._known.setdefault(namespace, {})
        if key not in known:
            known[key] = max(known.values(), default=-1) + 1
            if len(known) > _MOST_KEYS:
                del known[next(iter(known))]
        return known[key]


def _digest_paths(host: Host) -> tuple[tuple[str, bytes], ...]:
    """Give, for each path of a host, its upstream and a digest of what nginx does with requests to it there."""
    client = host.tls.client.pem if host.tls and host.tls.client else host.tls is not None
    about_host = _write((replace(host, tls=None, slots=(), locations=()), client))
    return tuple((one.upstream, _digest(about_host, _write(_strip(one)))) for one in host.locations)


def _strip(location: Location) -> Location:
    """Leave out whether a Pod is ready: the rules are the same."""
    return replace(location, answer=Answer.PODS) if location.answer is Answer.UNAVAILABLE else location


def _join(dynamic: Collection[str], digests: Iterable[tuple[str, bytes]]) -> dict[str, list[bytes]]:
    """Give the digests of all hosts' paths by their upstream."""
    about: dict[str, list[bytes]] = {name: [] for name in dynamic}
    for name, digest in digests:
        if name in about:
            about[name].append(digest)
    return about


def _write(value: object) -> bytes:
    # Of all that is in a location, only passwords leave themselves out here. All workers read the present ones anyway.
    return repr(value).encode("utf-8", "backslashreplace")


def _digest(*parts: bytes) -> bytes:
    return blake2b(b"".join(parts), digest_size=_DIGEST_BYTES).digest()
