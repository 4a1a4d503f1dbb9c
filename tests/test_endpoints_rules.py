"""If a path's rules and its Pods change at once, no request meets those of before and these of after."""

from collections.abc import Callable, Iterator
from functools import partial

import pytest
from support.backends import Backends
from support.checking_clients import Keyless, Ruled, RuledAndKept, make_ruled
from support.clients import busy
from support.mirrors import Mirrors
from support.objects import namespace, pod, secret
from support.ports import free_port, loopback, silent_address
from support.router import Router

Start = Callable[..., Router]
Place = tuple[str, int]

pytestmark = pytest.mark.usefixtures("has_lua")


@pytest.fixture
def mirrors() -> Iterator[Mirrors]:
    """Run Pods that tell what arrived."""
    with Mirrors() as running:
        yield running


def serve_rules(here: Router, turn: int, places: list[Place], silent: Place) -> None:
    """Serve the Pod of this turn under rules of its own; "/half" has a Pod more, which does not answer."""
    which = turn % len(places)
    rules = {"requestHeaders": {"set": {"X-Rules": str(which)}}, "timeouts": {"connect": "100ms"}}
    (ip, port), (dead, dead_port) = places[which], silent
    own = [{"basePath": path, "containerPort": port, **rules} for path in ("/", "/half")]
    lost = [{"basePath": "/half", "containerPort": dead_port, "weight": 1000, **rules}]
    key = [secret("a", api_key="sesame")] if which % 2 else []
    pods = [
        pod("a", f"web-{which}", ip, own, [{"containerPort": port}]),
        pod("a", "lost", dead, lost, [{"containerPort": dead_port}]),
    ]
    here.serve(namespace("a", {"plain.dev": {}}), *key, *pods)


def test_rules_and_pods_change_together(router: Start, mirrors: Mirrors, backends: Backends) -> None:
    """No request meets other rules than those of its Pod, nor one that an old worker tries again after the change."""
    here, number = router(ENDPOINTS="lua"), free_port()
    places = [(loopback(f"10.244.{place}.52"), number) for place in range(4)]
    for place in places:
        mirrors.listen(*place)
    make = partial(make_ruled, port=here.port, pods=tuple(f"{ip}:{number}" for ip, _ in places))
    often = [make(Ruled, "/"), make(RuledAndKept, "/"), make(Keyless, "/")]
    seldom = [make(Ruled, "/half") for _ in range(4)]
    with silent_address("10.244.9.52") as silent:
        serve_rules(here, 0, places, silent)
        with busy([*often, *seldom], backends):
            for turn in range(1, 24):
                serve_rules(here, turn, places, silent)
    assert [one.failures for one in (*often, *seldom)] == [[]] * 7
    assert all(one.sent > 5 for one in seldom)
    assert [sorted(one.seen) for one in often] == [["0", "1", "2", "3"]] * 2 + [["0", "2"]]
