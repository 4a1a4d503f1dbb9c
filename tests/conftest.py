"""Fixtures for all tests: nginx, backends behind it, routers and daemons, an API server, certificates."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import settings
from support.apiserver import TOKEN, ApiServer
from support.authority import Authority
from support.backends import Backends
from support.lua_nginx import LuaNginx, explain_missing
from support.pods import listen
from support.ports import free_port
from support.publishers import HOME, TEAMS, Site
from support.router import Router
from support.running_daemon import RunningDaemon

from reconciler.nginx.program import find_binary
from reconciler.routing.model import Server

# Files that take longest. They begin first: one of them alone at the end would leave processors without work.
LONGEST = (
    "faults", "canary", "connections", "cli", "k8s", "kills", "daemon", "page", "explain", "published_routers",
    "properties", "snapshot_packer", "publishing_faults", "access_log", "isolation", "explain_admin", "requests",
    "nginx_logs", "default_pair", "matching",
)  # fmt: skip


# A machine that stands still for a moment fails no test.
settings.register_profile("without-deadline", deadline=None)
settings.load_profile("without-deadline")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--rewrite", action="store_true", help="write the fixtures' expectations anew")
    parser.addoption("--batches", type=int, default=25, help="how many batches of hostile tenants nginx meets")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the tests of the longest files first."""
    places = {f"test_{name}": place for place, name in enumerate(LONGEST)}
    items.sort(key=lambda item: places.get(item.path.stem, len(places)))


@pytest.fixture(scope="session")
def nginx_binary() -> str:
    binary = find_binary("nginx")
    assert binary, "these tests need nginx; `make test` installs it"
    return binary


@pytest.fixture(scope="session")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    """Make a certificate authority for the tests."""
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture(scope="session")
def backends() -> Iterator[Backends]:
    """Run real HTTP and WebSocket servers on loopback addresses, in place of Pods."""
    with Backends() as running:
        yield running


@pytest.fixture
def router(
    tmp_path: Path, nginx_binary: str, authority: Authority, backends: Backends
) -> Iterator[Callable[..., Router]]:
    """Start routers, each with its own nginx; they stop when the test ends."""
    started: list[Router] = []

    def start(folder: Path = tmp_path, **environment: str) -> Router:
        started.append(Router(folder / f"router-{len(started)}", nginx_binary, authority, environment))
        return started[-1]

    yield start
    for one in started:
        one.stop()


@pytest.fixture(scope="session")
def has_lua(nginx_binary: str) -> None:
    """Skip what needs nginx's Lua module where that is missing."""
    if missing := explain_missing(nginx_binary):
        pytest.skip(missing)


@pytest.fixture
def lua_router(has_lua: None, router: Callable[..., Router]) -> Router:
    """Give a router whose Pods change without a reload."""
    return router(ENDPOINTS="lua")


@pytest.fixture
def lua(has_lua: None, tmp_path: Path, nginx_binary: str) -> Iterator[Callable[..., LuaNginx]]:
    """Start an nginx whose Pods change without a reload; it ends with the test."""
    started: list[LuaNginx] = []

    def start(sets: dict[str, tuple[Server, ...]], **given: object) -> LuaNginx:
        started.append(LuaNginx(tmp_path / f"lua-{len(started)}", nginx_binary, sets, **given))
        started[-1].load()
        return started[-1]

    yield start
    for one in started:
        one.stop()


@pytest.fixture
def server(authority: Authority) -> Iterator[ApiServer]:
    """Run a test API server that holds no objects yet."""
    with ApiServer(authority) as running:
        yield running


@pytest.fixture
def launch(
    tmp_path: Path, server: ApiServer, authority: Authority, nginx_binary: str
) -> Iterator[Callable[..., RunningDaemon]]:
    """Start daemons that follow the server; they stop when the test ends."""
    started: list[RunningDaemon] = []

    def start(*arguments: object, folder: str = "daemon", token: str = TOKEN, **settings: str) -> RunningDaemon:
        daemon = RunningDaemon(tmp_path / folder, server, authority, **settings)
        daemon.token.write_text(token)
        started.append(daemon)
        daemon.start(*arguments)
        return daemon

    yield start
    for daemon in started:
        daemon.close()


@pytest.fixture
def site(server: ApiServer, authority: Authority, tmp_path: Path) -> Iterator[Site]:
    """Give an API server with two teams, and the Namespace for what is published."""
    server.load([*TEAMS, HOME])
    site = Site(server, authority, tmp_path)
    yield site
    site.close()


@pytest.fixture
def ips(backends: Backends) -> list[str]:
    """Give the addresses of three Pods, each with a server."""
    return listen(backends)


@pytest.fixture(scope="module")
def port(backends: Backends) -> int:
    """Give a port on which Pods at 127.0.0.2 to 127.0.0.6 answer."""
    number = free_port()
    for last in range(2, 7):
        backends.listen(f"127.0.0.{last}", number)
    return number
