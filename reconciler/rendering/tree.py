"""From routes to Files: the tree that `nginx -p DIR -c nginx.conf` can run as it is."""

from collections.abc import Container, Iterable, Iterator, Mapping
from functools import partial
from itertools import groupby
from operator import attrgetter

from msgspec.structs import replace

from reconciler.rendering import quoting
from reconciler.rendering.certificate_files import collect_certificates
from reconciler.rendering.endpoints import LOCATION, STATE_FILE, write_set
from reconciler.rendering.host_conf import Hosted, render_host
from reconciler.rendering.kept_connections import share_room
from reconciler.rendering.nginx_conf import render_main
from reconciler.rendering.option_files import collect_option_files
from reconciler.rendering.option_parts import write_host_options, write_options
from reconciler.rendering.pods_conf import collect_code, render_pods, write_first_state
from reconciler.rendering.quoting import Token, quote
from reconciler.rendering.routes_file import API_KEYS_FILE, ROUTES_FILE, RoutesWriter
from reconciler.rendering.set_names import SetNames
from reconciler.rendering.structure import fix_host
from reconciler.rendering.upstreams_conf import Group, render_upstreams
from reconciler.routing.keys import redirect
from reconciler.routing.keys.external_auth import list_asked
from reconciler.routing.model import Host, Routes, Upstream
from reconciler.routing.options import Options, find_option
from reconciler.settings import Settings
from reconciler.values.files import SECRET, File, Files
from reconciler.values.memo import Memo
from reconciler.values.value import Value


class _ApiKey(Value, frozen=True):
    namespace: Token
    value: Token

    def __repr__(self) -> str:
        return f"_ApiKey({self.namespace})"


class _Optioned(Value, frozen=True):
    """The options of the locations that go to one upstream; they are the same on all hosts."""

    upstream: str
    options: Options


class TreeRenderer:
    """Renders trees for one loop. An upstream or host that did not change is not rendered again."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._upstreams = Memo(partial(render_upstreams, settings=settings))
        self._hosts = Memo(partial(render_host, settings=settings))
        self._shared = Memo(partial(_write_shared, settings=settings))
        self._shared_of_hosts = Memo(partial(_write_shared_of_host, settings=settings))
        self._routes = RoutesWriter()
        self._names = SetNames()
        self._sets = Memo(write_set)

    def render(self, routes: Routes) -> Files:
        """Render the tree of a routing table's routes. Equal routes give equal bytes.

        With Lua, the names of sets also depend on the API keys that this renderer has seen.
        """
        names = self._names.find(routes) if self._settings.lua else {}
        hosted = {host.name: _attach(host, names) for host in routes.hosts}
        optioned = _list_optioned(one.host for one in hosted.values())
        hosts_with_options = {host.name: host for host in routes.hosts if host.options}
        needed = (*self._shared_of_hosts.round(hosts_with_options).values(), *self._shared.round(optioned).values())
        shared = dict.fromkeys(part for parts in needed for part in parts)
        upstreams = self._upstreams.round(_group(routes, names, optioned, self._settings))
        hosts = self._hosts.round(hosted)
        groups = (*render_pods(self._settings), *upstreams.values())
        main = render_main(routes, self._settings, shared, groups, hosts.values())
        keys = quoting.render("api-keys.conf.j2", keys=list(_view_api_keys(routes)))
        files = {
            "nginx.conf": File(_encode(main)),
            API_KEYS_FILE: File(_encode(keys), SECRET),
        }
        more = collect_certificates(routes, self._settings) | collect_option_files(routes.upstreams)
        code = collect_code() if self._settings.lua else {}
        return dict(sorted({**files, **more, **code, **self._write_endpoints(routes, names)}.items()))

    def render_endpoints(self, routes: Routes, files: Files) -> Files:
        """Render the tree of routes that have the structure of those whose tree is `files`."""
        return {**files, **self._write_endpoints(routes, self._names.find(routes))}

    def _write_endpoints(self, routes: Routes, names: Mapping[str, str]) -> Files:
        """Write what changes with Pods alone, if Lua chooses them."""
        written = {ROUTES_FILE: File(self._routes.write(routes))}
        if not self._settings.lua:
            return written
        chosen = {names[one.name]: one.servers for one in routes.upstreams if one.name in names and _asks_pods(one)}
        return {**written, STATE_FILE: write_first_state(self._sets.round(chosen))}


def render_release(name: str, socket: str, *, counts: bool = False, lua: bool = False) -> File:
    """Render the server with which a running nginx answers its release's name on a unix socket.

    If it `counts`, it answers the numbers of its connections too; with `lua`, it takes changes of Pods.
    """
    paths = [quote("/connections")] if counts else []
    given = {"name": quote(name), "socket": quote(socket), "connections": paths}
    given |= {"endpoints": [quote(LOCATION)] if lua else []}
    return File(_encode(quoting.render("release.conf.j2", **given)))


def _attach(host: Host, names: Mapping[str, str]) -> Hosted:
    used = {location.upstream for location in host.locations} & names.keys() if names else ()
    return Hosted(fix_host(host, names), tuple((name, names[name]) for name in sorted(used)))


def _asks_pods(upstream: Upstream) -> bool:
    """Tell whether requests go to Pods, now or as soon as one is ready: those of a redirect never do."""
    return bool(upstream.servers) or not find_option(upstream.options, redirect.KEY.name)


def _group(routes: Routes, names: Container[str], optioned: Container[str], settings: Settings) -> dict[str, Group]:
    """Give each Namespace's upstreams; nginx has none without servers. `names` has those whose Pods Lua chooses.

    What Lua chooses counts without a Pod too, so that all is the same when one comes.
    Options of what no location opens declare no variables, so that an upstream must not use them either.
    """
    served = [
        replace(upstream, options=()) if upstream.options and upstream.name not in optioned else upstream
        for upstream in routes.upstreams
        if upstream.servers or (upstream.name in names and _asks_pods(upstream))
    ]
    groups = {namespace: tuple(group) for namespace, group in groupby(served, key=attrgetter("namespace"))}
    kept = share_room({namespace: len(group) for namespace, group in groups.items()}, settings.worker_connections)
    own = {namespace: tuple(one for one in group if one.name not in names) for namespace, group in groups.items()}
    return {
        namespace: Group(namespace, own[namespace], kept[namespace], len(group) - len(own[namespace]))
        for namespace, group in groups.items()
    }


def _list_optioned(hosts: Iterable[Host]) -> dict[str, _Optioned]:
    """Give the options that some location has, or what such a location asks. What all hosts close declares nothing."""
    located = [location for host in hosts for location in host.locations if location.options]
    asked = (one for location in located for one in list_asked(location.options) if one.options)
    needed = {one.upstream: _Optioned(one.upstream, one.options) for one in asked}
    return needed | {one.upstream: _Optioned(one.upstream, one.options) for one in located}


def _write_shared(one: _Optioned, settings: Settings) -> tuple[Token, ...]:
    """Write what the options of an upstream need outside of servers. Equal options share it."""
    parts = (write_options(place, one.options, one.upstream, settings) for place in ("shared", "http"))
    return tuple(part for some in parts for part in some)


def _write_shared_of_host(host: Host, settings: Settings) -> tuple[Token, ...]:
    """Write what the options of a host need outside of servers."""
    return write_host_options("http", host.options, settings)


def _encode(text: Token) -> bytes:
    return text.encode("utf-8", "surrogateescape")


def _view_api_keys(routes: Routes) -> Iterator[_ApiKey]:
    for namespace, key in routes.api_keys:
        for number, value in enumerate(key.values):
            yield _ApiKey(quote(f"/{namespace}{'/' * number}"), quote(value))
