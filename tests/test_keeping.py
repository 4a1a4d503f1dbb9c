"""What the last good state still counts for, on a running nginx: a key that is gone, a pair that does not fit."""

from collections.abc import Callable

import pytest
from support.authority import Authority
from support.objects import Object, namespace, pod, secret, tls
from support.pods import DECLARED, HOST, LATER, entry
from support.router import Router

from reconciler.loop.cycle import Cycle

Start = Callable[..., Router]
SECURE = "secure.dev"
LOST = "its API key is gone, and its paths are open to everyone"


def told(cycle: Cycle, of: str = "a") -> list[str]:
    return [str(problem) for problem in cycle.table.problems if problem.namespace.name == of]


def team(ip: str, hosts: object, *more: Object, paths: tuple[str, ...] = ("/",)) -> list[Object]:
    return [namespace("a", hosts), pod("a", "web-0", ip, [entry(path) for path in paths], DECLARED), *more]


# A key that is gone


@pytest.mark.parametrize("left", [[], [secret("a", other="x")]])
def test_lost_key_is_a_problem(router: Start, ips: list[str], left: list[Object]) -> None:
    """While the paths of a Namespace stand without the API key that they had, this is a problem, also after a restart.

    It ends when the key is back.
    """
    here = router()
    guarded = team(ips[0], {HOST: {}}, secret("a", api_key="open"))
    assert told(here.serve(*guarded)) == []
    assert here.ask(HOST, "/").status == 403
    for _ in range(2):
        (problem,) = told(here.serve(*team(ips[0], {HOST: {}}, *left)))
        assert problem == (
            f"Namespace a: {LOST}; expected: the field api-key of Secret routing, "
            'or "requireApiKey" true or false for each host'
        )
        assert here.ask(HOST, "/").status == 200
    # Other changes of the same Namespace and of others do not end it.
    assert len(told(here.serve(*team(ips[1], {HOST: {}, "b.dev": {}}, *left)))) == 1
    assert len(told(here.serve(*team(ips[1], {HOST: {}}, *left), namespace("b", {"c.dev": {}})))) == 1
    here.restart()
    assert len(told(here.serve(*team(ips[1], {HOST: {}}, *left)))) == 1
    assert told(here.serve(*guarded)) == []
    assert here.ask(HOST, "/").status == 403


def test_lost_key_is_told_again_after_it_was_there_once_more(router: Start, ips: list[str]) -> None:
    """A release that is served for the second time, with another history, remembers the second one."""
    here = router()
    plain, guarded = team(ips[0], {HOST: {}}), team(ips[0], {HOST: {}}, secret("a", api_key="open"))
    assert [len(told(here.serve(*step))) for step in (plain, guarded, plain)] == [0, 0, 1]
    here.restart()
    assert len(told(here.serve(*plain))) == 1


@pytest.mark.parametrize(
    ("options", "count"),
    [({"requireApiKey": False}, 0), ({"requireApiKey": True}, 1), ({"requireApiKey": None}, 1)],
)
def test_who_says_what_is_to_be_is_not_told(router: Start, ips: list[str], options: object, count: int) -> None:
    """If each host says whether a key is required, a lost key is no problem of its own."""
    here = router()
    here.serve(*team(ips[0], {HOST: options}, secret("a", api_key="open")))
    problems = told(here.serve(*team(ips[0], {HOST: options})))
    assert len(problems) == count
    assert any(LOST in problem for problem in problems) == (options == {"requireApiKey": None})


def test_without_paths_nothing_is_lost(router: Start, ips: list[str]) -> None:
    """When the paths go, or the Namespace does, the lost key is forgotten."""
    here = router()
    guarded, plain = team(ips[0], {HOST: {}}, secret("a", api_key="open")), team(ips[0], {HOST: {}})
    for without in ([namespace("a", {HOST: {}})], []):
        steps = (guarded, plain, without, plain)
        assert [len(told(here.serve(*step))) for step in steps] == [0, 1, 0, 0]


# A pair that does not fit


@pytest.mark.parametrize("broken", ["key first", "certificate first", "no PEM", "empty"])
def test_last_good_pair_is_served(router: Start, ips: list[str], authority: Authority, broken: str) -> None:
    """While a certificate and its key do not fit, the pair that was served is served on, also after a restart."""
    here = router()
    old, old_key = authority.issue(SECURE)
    new, new_key = authority.issue(SECURE)
    hosts = {SECURE: tls()}
    between = {
        "key first": (old, new_key),
        "certificate first": (new, old_key),
        "no PEM": (b"x", old_key),
        "empty": (b"", b""),
    }[broken]
    steps = [(old, old_key), between, (new, new_key)]
    for number, (certificate, key) in enumerate(steps):
        objects = team(ips[0], hosts, secret("a", ssl_crt=certificate, ssl_key=key))
        for restarts in (False, True):
            if restarts:
                here.restart()
            # A change of another Namespace makes a new release while the pair is kept.
            cycle = here.serve(*objects, namespace("b", {f"x{number}{restarts}.dev": {}}, LATER))
            assert here.peer(SECURE) == (new if number == 2 else old)
            assert here.ask_tls(SECURE, "/").status == 200
            problems = told(cycle)
            assert len(problems) == (number == 1)
            assert all("its last good certificate and key are served until 20" in problem for problem in problems)


def test_kept_pair_ends_with_its_time(router: Start, ips: list[str], authority: Authority) -> None:
    """A pair that is kept is served until it expires; then the host is left out."""
    here = router()
    certificate, key = authority.issue(SECURE)
    other = authority.issue(SECURE)[1]
    here.serve(*team(ips[0], {SECURE: tls()}, secret("a", ssl_crt=certificate, ssl_key=key)))
    broken = team(ips[0], {SECURE: tls()}, secret("a", ssl_crt=certificate, ssl_key=other))
    for days, count in ((0, 1), (20, 1), (31, 0), (32, 0)):
        cycle = here.serve(*broken, days=days)
        assert len(cycle.table.routes.hosts) == count
        assert any("is left out: it has a key that does not belong" in problem for problem in told(cycle)) != count


def test_what_is_not_there_is_not_kept(router: Start, ips: list[str], authority: Authority) -> None:
    """If the Secret, its field or the option goes, the pair goes too; so does another host's."""
    here = router()
    certificate, key = authority.issue(SECURE)
    good = team(ips[0], {SECURE: tls()}, secret("a", ssl_crt=certificate, ssl_key=key))
    gone = [
        team(ips[0], {SECURE: tls()}),
        team(ips[0], {SECURE: tls()}, secret("a", ssl_crt=certificate)),
        team(ips[0], {SECURE: tls(key="other")}, secret("a", ssl_crt=certificate, ssl_key=key)),
        team(ips[0], {"other.dev": tls()}, secret("a", ssl_crt=certificate, ssl_key=b"x")),
        team(ips[0], {SECURE: {"ssl": 7}}, secret("a", ssl_crt=certificate, ssl_key=key)),
    ]
    for step in gone:
        assert here.serve(*good).table.routes.hosts
        assert here.serve(*step).table.routes.hosts == ()


def test_clients_are_verified_by_what_is_there(router: Start, ips: list[str], authority: Authority) -> None:
    """A kept pair does not keep the authority of clients: if that cannot be used, the host is left out."""
    here = router()
    certificate, key = authority.issue(SECURE)
    hosts = {SECURE: tls(client="ca.crt")}
    here.serve(*team(ips[0], hosts, secret("a", ssl_crt=certificate, ssl_key=key, ca_crt=authority.pem)))
    cycle = here.serve(*team(ips[0], hosts, secret("a", ssl_crt=certificate, ssl_key=b"x", ca_crt=authority.pem)))
    assert here.ask_tls(SECURE, "/").status == 400
    assert "its last good certificate" in told(cycle)[0]
    cycle = here.serve(*team(ips[0], hosts, secret("a", ssl_crt=certificate, ssl_key=b"x", ca_crt=b"x")))
    assert cycle.table.routes.hosts == ()


def test_kept_pair_of_many_hosts(router: Start, ips: list[str], authority: Authority) -> None:
    """A pair that several hosts share is kept once; a host with a pair of its own is not touched."""
    here = router()
    certificate, key = authority.issue("a.dev")
    own, own_key = authority.issue("own.dev")
    hosts = {"a.dev": tls(), "b.dev": tls(), "own.dev": tls("own.crt", "own.key")}
    more = {"own_crt": own, "own_key": own_key}
    here.serve(*team(ips[0], hosts, secret("a", ssl_crt=certificate, ssl_key=key, **more)))
    cycle = here.serve(*team(ips[0], hosts, secret("a", ssl_crt=b"x", ssl_key=key, **more)))
    (pair,) = cycle.snapshot.namespaces[0].kept
    assert pair.hosts == ("a.dev", "b.dev")
    assert repr(pair) == "KeptPair(a.dev, b.dev)"
    assert len(cycle.table.routes.hosts) == 3
    assert cycle.applied is False


# A Namespace that was made anew


@pytest.mark.parametrize("restarts", [False, True])
def test_namespace_made_anew_inherits_nothing(
    router: Start, ips: list[str], authority: Authority, restarts: bool
) -> None:
    """A Namespace of the same name that was made later is another one: it gets neither pair nor lost key."""
    here = router()
    certificate, key = authority.issue(SECURE)
    here.serve(*team(ips[0], {SECURE: tls()}, secret("a", ssl_crt=certificate, ssl_key=key, api_key="open")))
    if restarts:
        here.restart()
    anew = [
        namespace("a", {SECURE: tls(), HOST: {}}, LATER),
        *team(ips[1], {}, secret("a", ssl_crt=b"x", ssl_key=key))[1:],
    ]
    lines = told(here.serve(*anew))
    assert [line for line in lines if "last good" in line or LOST in line] == []
    assert "is left out" in lines[0]
    assert here.peer(SECURE) != certificate
    assert here.ask(HOST, "/").status == 200


def test_pair_that_is_longer_when_it_is_written_anew(router: Start, ips: list[str], authority: Authority) -> None:
    """What is kept can be read again, also if it came in fewer and longer lines; and others' changes go live."""
    here = router()
    certificate, key = authority.issue(SECURE)
    body = b"".join(certificate.splitlines()[1:-1])
    one = b"-----BEGIN CERTIFICATE-----\n" + body + b"\n-----END CERTIFICATE-----\n"
    for number in range(1, 17):
        here.serve(*team(ips[0], {SECURE: tls()}, secret("a", ssl_crt=certificate + one * (number - 1), ssl_key=key)))
        assert here.peer(SECURE) == certificate
        kept = here.serve(*team(ips[0], {SECURE: tls()}, secret("a", ssl_crt=b"x", ssl_key=key)))
        assert "its last good certificate and key are served" in told(kept)[0]
