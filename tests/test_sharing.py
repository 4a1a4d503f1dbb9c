"""Whose a host is, and who may add paths to it: the owner and those that it names, on a running nginx."""

import json
from collections.abc import Callable
from functools import partial
from http.client import RemoteDisconnected

import pytest
from support.authority import Authority
from support.objects import Object, namespace, pod, secret, tls
from support.pods import DECLARED, HOST, LATER, entry
from support.router import Router

from reconciler.loop.cycle import Cycle

Start = Callable[..., Router]
LATEST = "2026-11-24T00:00:00Z"
CHALLENGE = "/.well-known/acme-challenge/token"


def team(name: str, ip: str, hosts: object, *paths: str, created: str = "2026-11-22T18:06:04Z") -> list[Object]:
    """Make a Namespace that names hosts, with one Pod that names paths."""
    return [namespace(name, hosts, created), pod(name, "web-0", ip, [entry(path) for path in paths], DECLARED)]


def who(router: Router, host: str, uri: str) -> str | int:
    """Give the address of the Pod that answers, or else the status."""
    answer = router.ask(host, uri)
    return answer.told["pod"].split(":")[0] if answer.status == 200 else answer.status


def told(cycle: Cycle, of: str) -> list[str]:
    return [str(problem) for problem in cycle.table.problems if problem.namespace.name == of]


def test_stranger_adds_no_path(router: Start, ips: list[str]) -> None:
    """A Namespace that the owner does not name adds no path to the owner's host, and is told what would be right."""
    here = router()
    cycle = here.serve(
        *team("a", ips[0], {HOST: {}}, "/shop"), *team("b", ips[1], {HOST: {}}, "/login", "/", CHALLENGE, created=LATER)
    )
    assert [who(here, HOST, uri) for uri in ("/shop", "/login", "/", CHALLENGE)] == [ips[0], 404, 404, 404]
    (problem,) = told(cycle, "b")
    assert problem == (
        f"Namespace b: host {HOST} belongs to Namespace a, which is older and does not share it; "
        f'expected: "sharedWith": ["b"] in the options of {HOST} in Namespace a, or another host'
    )
    assert told(cycle, "a") == []


@pytest.mark.parametrize("shared", [["b"], ["a", "b", "z"], ["*"]])
def test_guest_adds_paths(router: Start, ips: list[str], shared: list[str]) -> None:
    """A Namespace that the owner names, or every Namespace with `*`, adds paths to the owner's host."""
    here = router()
    cycle = here.serve(
        *team("a", ips[0], {HOST: {"sharedWith": shared}}, "/shop"),
        *team("b", ips[1], {HOST: {}}, "/login", "/shop/sub", created=LATER),
    )
    uris = ("/shop", "/login", "/shop/sub/x")
    assert [who(here, HOST, uri) for uri in uris] == [ips[0], ips[1], ips[1]]
    assert told(cycle, "b") == []


def test_sharing_is_taken_back(router: Start, ips: list[str]) -> None:
    """When the owner shares no longer, the guest's paths go."""
    here = router()
    guest = team("b", ips[1], {HOST: {}}, "/login", created=LATER)
    for shared, answer in ((["b"], ips[1]), ([], 404), (["c"], 404)):
        here.serve(*team("a", ips[0], {HOST: {"sharedWith": shared}}, "/shop"), *guest)
        assert who(here, HOST, "/login") == answer


@pytest.mark.parametrize(
    ("shared", "fault"),
    [
        ("b", "sharedWith is a string"),
        ({"b": True}, "sharedWith is an object"),
        (["*", "b"], "sharedWith[0] is '*'"),
        (["b", "Not A Name"], "sharedWith[1] is 'Not A Name'"),
        (["b", 7], "sharedWith[1] is a number"),
        (["b", ["b"]], "sharedWith[1] is an array"),
        ([f"n{number}" for number in range(100)] + ["b"], "sharedWith has 101 names"),
    ],
)
def test_unusable_sharing_shares_with_nobody(router: Start, ips: list[str], shared: object, fault: str) -> None:
    """A sharedWith that cannot be read shares with nobody; the host itself is served."""
    here = router()
    cycle = here.serve(
        *team("a", ips[0], {HOST: {"sharedWith": shared}}, "/shop"),
        *team("b", ips[1], {HOST: {}}, "/login", created=LATER),
    )
    assert (who(here, HOST, "/shop"), who(here, HOST, "/login")) == (ips[0], 404)
    assert any(fault in problem for problem in told(cycle, "a"))


def test_hundred_guests(router: Start, ips: list[str]) -> None:
    """A hundred Namespaces may be named."""
    here = router()
    shared = [f"n{number}" for number in range(99)] + ["b"]
    here.serve(
        *team("a", ips[0], {HOST: {"sharedWith": shared}}, "/shop"),
        *team("b", ips[1], {HOST: {}}, "/login", created=LATER),
    )
    assert who(here, HOST, "/login") == ips[1]


@pytest.mark.parametrize("how", ["sharedWith", "*", "any"])
@pytest.mark.parametrize("path", ["/.well-known", "/.well-known/acme-challenge", "=" + CHALLENGE, "/%2ewell-known/x"])
def test_well_known_is_the_owner_s(router: Start, ips: list[str], how: str, path: str) -> None:
    """Nobody but the owner has a path at or below /.well-known; the `/` of a guest does not reach there."""
    here = router(HOST_SHARING="any" if how == "any" else "owner")
    options = {"any": {}, "*": {"sharedWith": ["*"]}, "sharedWith": {"sharedWith": ["b"]}}[how]
    guest = team("b", ips[1], {HOST: {}}, path, "/", created=LATER)
    for own, answer in (((), 404), (("/.well-known/acme-challenge",), ips[0])):
        cycle = here.serve(*team("a", ips[0], {HOST: options}, "/shop", *own), *guest)
        assert who(here, HOST, CHALLENGE) == answer
        assert who(here, HOST, "/.well-known/") == who(here, HOST, "/.well-known") == who(here, HOST, "/.well-known/x")
        assert who(here, HOST, "/.well-known/x") == 404
        assert who(here, HOST, "/.well-knownx") == who(here, HOST, "/other") == ips[1]
        (problem,) = told(cycle, "b")
        assert "is reserved for the owner of the host" in problem


def test_owner_s_root_answers_below_well_known(router: Start, ips: list[str]) -> None:
    """The owner's own `/` answers below /.well-known like any other path of its host."""
    here = router()
    here.serve(
        *team("a", ips[0], {HOST: {"sharedWith": ["b"]}}, "/"), *team("b", ips[1], {HOST: {}}, "/b", created=LATER)
    )
    assert (who(here, HOST, CHALLENGE), who(here, HOST, "/b")) == (ips[0], ips[1])


def test_reserved_path_answers_the_default(router: Start, ips: list[str]) -> None:
    """A reserved path answers as a path that nobody has, also where that is another server, path included."""
    here = router(DEFAULT_LOCATION_RETURN="http://127.0.0.1:1/base/")
    here.serve(
        *team("a", ips[0], {HOST: {"sharedWith": ["b"]}}, "/a"), *team("b", ips[1], {HOST: {}}, "/", created=LATER)
    )
    text = (here.folder / "current" / "nginx.conf").read_text()
    assert "location /.well-known/ {\n            proxy_pass http://127.0.0.1:1/base/.well-known/;" in text
    assert who(here, HOST, CHALLENGE) == 502


WILDCARD = "*.shop.example.com"


@pytest.mark.parametrize("host", ["a.shop.example.com", "a.b.shop.example.com", "*.b.shop.example.com"])
def test_name_below_anothers_wildcard(router: Start, ips: list[str], host: str) -> None:
    """A name below another's older wildcard takes part of its traffic: the wildcard's owner must share."""
    here = router()
    asked = host.replace("*", "x")
    younger = team("b", ips[1], {host: {}}, "/", created=LATER)
    cycle = here.serve(*team("a", ips[0], {WILDCARD: {}}, "/"), *younger)
    assert who(here, asked, "/") == ips[0]
    (problem,) = told(cycle, "b")
    assert f"host {host} is below {WILDCARD} of Namespace a, which is older and does not share it" in problem
    cycle = here.serve(*team("a", ips[0], {WILDCARD: {"sharedWith": ["b"]}}, "/"), *younger)
    assert who(here, asked, "/") == ips[1]
    assert told(cycle, "b") == []


def test_nearest_older_wildcard_decides(router: Start, ips: list[str]) -> None:
    """Of several wildcards above a name the nearest one that is older than the name's Namespace has to share."""
    here = router()
    outer = {"*.example.com": {"sharedWith": ["b", "c"]}}
    name = team("c", ips[2], {"x.shop.example.com": {}}, "/", created=LATEST)
    here.serve(*team("a", ips[0], outer, "/"), *team("b", ips[1], {WILDCARD: {}}, "/", created=LATER), *name)
    assert who(here, "x.shop.example.com", "/") == ips[1]
    inner = {WILDCARD: {"sharedWith": ["c"]}}
    here.serve(*team("a", ips[0], outer, "/"), *team("b", ips[1], inner, "/", created=LATER), *name)
    assert who(here, "x.shop.example.com", "/") == ips[2]


def test_younger_wildcard_takes_nothing(router: Start, ips: list[str]) -> None:
    """A younger wildcard takes nothing from an older exact name."""
    here = router()
    cycle = here.serve(
        *team("a", ips[0], {"a.shop.example.com": {}}, "/a"), *team("b", ips[1], {WILDCARD: {}}, "/", created=LATER)
    )
    assert [who(here, "a.shop.example.com", uri) for uri in ("/a", "/", "/x")] == [ips[0], 404, 404]
    assert who(here, "b.shop.example.com", "/") == ips[1]
    assert cycle.table.problems == ()


def test_own_names_below_an_own_wildcard(router: Start, ips: list[str]) -> None:
    """A Namespace names hosts below its own wildcard as it likes."""
    here = router()
    cycle = here.serve(*team("a", ips[0], {WILDCARD: {}, "a.shop.example.com": {}}, "/", CHALLENGE))
    assert who(here, "a.shop.example.com", CHALLENGE) == ips[0]
    assert cycle.table.problems == ()


@pytest.mark.parametrize(("how", "answer"), [("name", 1), ("*", 404), ("any", 404)])
def test_well_known_below_anothers_wildcard(router: Start, ips: list[str], how: str, answer: int) -> None:
    """Below another's wildcard, /.well-known is for the wildcard's owner, or for a Namespace that it names by name."""
    here = router(HOST_SHARING="any" if how == "any" else "owner")
    options = {"any": {}, "*": {"sharedWith": ["*"]}, "name": {"sharedWith": ["b"]}}[how]
    here.serve(
        *team("a", ips[0], {WILDCARD: options}, "/"),
        *team("b", ips[1], {"a.shop.example.com": {}}, "/", "/.well-known/acme-challenge", created=LATER),
    )
    assert who(here, "a.shop.example.com", "/") == ips[1]
    assert who(here, "a.shop.example.com", CHALLENGE) == (ips[1] if answer == 1 else answer)


def test_regular_expressions_below_anothers_wildcard(router: Start, ips: list[str]) -> None:
    """Below a wildcard that is everybody's, a regular expression cannot take /.well-known either."""
    here = router(ALLOW_REGEX_PATHS="true")
    cycle = here.serve(
        *team("a", ips[0], {WILDCARD: {"sharedWith": ["*"]}}, "/"),
        *team("b", ips[1], {"a.shop.example.com": {}}, "/", "~^/.well", created=LATER),
    )
    assert (who(here, "a.shop.example.com", CHALLENGE), who(here, "a.shop.example.com", "/x")) == (404, ips[1])
    assert "is a regular expression" in told(cycle, "b")[0]


def test_everybody_shares(router: Start, ips: list[str]) -> None:
    """With HOST_SHARING=any every Namespace adds paths to every host, as in the original dispatcher."""
    here = router(HOST_SHARING="any")
    cycle = here.serve(
        *team("a", ips[0], {HOST: {}, WILDCARD: {}}, "/shop"),
        *team("b", ips[1], {HOST: {}, "b.shop.example.com": {}}, "/login", created=LATER),
    )
    assert (who(here, HOST, "/shop"), who(here, HOST, "/login")) == (ips[0], ips[1])
    assert who(here, "b.shop.example.com", "/login") == ips[1]
    assert cycle.table.problems == ()


def test_owner_goes_and_comes_back(router: Start, ips: list[str]) -> None:
    """When the owner goes, the next oldest Namespace that names the host owns it; one that comes back is younger."""
    here = router()
    owner = team("a", ips[0], {HOST: {"sharedWith": ["b"]}}, "/a", "/both")
    guest = team("b", ips[1], {HOST: {}}, "/b", "/both", created=LATER)
    other = team("c", ips[2], {HOST: {}}, "/c", created=LATEST)
    uris = ("/a", "/b", "/c", "/both")
    here.serve(*owner, *guest, *other)
    assert [who(here, HOST, uri) for uri in uris] == [ips[0], ips[1], 404, ips[0]]
    here.serve(*guest, *other)
    assert [who(here, HOST, uri) for uri in uris] == [404, ips[1], 404, ips[1]]
    back = team("a", ips[0], {HOST: {"sharedWith": ["b"]}}, "/a", "/both", created="2026-11-25T00:00:00Z")
    cycle = here.serve(*back, *guest, *other)
    assert [who(here, HOST, uri) for uri in uris] == [404, ips[1], 404, ips[1]]
    assert "belongs to Namespace b" in told(cycle, "a")[0]


def test_stranger_s_key_and_options_do_not_count(router: Start, ips: list[str]) -> None:
    """What a Namespace that may not add paths has else, such as a key, changes nothing for the host."""
    here = router()
    here.serve(
        *team("a", ips[0], {HOST: {}}, "/"),
        *team("b", ips[1], {HOST: {"requireApiKey": True, "sharedWith": ["*"]}}, "/x", created=LATER),
        secret("b", api_key="b's"),
    )
    assert (who(here, HOST, "/"), who(here, HOST, "/x")) == (ips[0], ips[0])


def test_annotation_as_kubectl_writes_it(router: Start, ips: list[str]) -> None:
    """The option is read from the text of an annotation."""
    here = router()
    text = json.dumps({HOST: {"sharedWith": ["b"]}}, indent=2)
    here.serve(*team("a", ips[0], text, "/a"), *team("b", ips[1], {HOST: {}}, "/b", created=LATER))
    assert who(here, HOST, "/b") == ips[1]


# Ports


def ask_everywhere(router: Router, host: str) -> list[str | int]:
    """Request a host on the plain port and on that for TLS: who answers; 0 if the connection is closed."""
    found: list[str | int] = []
    for ask in (router.ask, partial(router.ask_tls, context=router.trusting_all())):
        try:
            answer = ask(host, CHALLENGE)
            found.append(answer.told["pod"].split(":")[0] if answer.status == 200 else answer.status)
        except RemoteDisconnected:
            found.append(0)
    return found


@pytest.mark.parametrize("wildcard", ["*.example.com", "*.com"])
@pytest.mark.parametrize("mine", ["shop.example.com", "*.shop.example.com"])
@pytest.mark.parametrize("owner", ["TLS", "TLS alone", "plain", "left out", "broken"])
@pytest.mark.parametrize("stranger", ["TLS", "plain"])
def test_wildcard_takes_nothing_on_another_port(
    router: Start, ips: list[str], authority: Authority, wildcard: str, mine: str, owner: str, stranger: str
) -> None:
    """A host answers on each port as its own options say, and not at all if left out: no wildcard takes its place.

    Else the wildcard's Pods would get the requests of the other port, and a certificate for the host.
    """
    here = router()
    certificate, key = authority.issue(mine)
    pems = {"ssl_crt": b"x" if owner == "left out" else certificate, "ssl_key": key}
    alone = tls() | {"http": "close"}
    options = {"TLS": tls(), "TLS alone": alone, "left out": tls(), "broken": {"ssl": 1}, "plain": {}}
    objects = [
        *team("a", ips[0], {mine: options[owner]}, "/"), secret("a", **pems),
        *team("b", ips[1], {wildcard: tls() if stranger == "TLS" else {}}, "/", created=LATER),
        secret("b", **dict(zip(("ssl_crt", "ssl_key"), authority.issue(wildcard), strict=True))),
    ]  # fmt: skip
    here.serve(*objects)
    served = {"TLS": [308, ips[0]], "TLS alone": [0, ips[0]], "plain": [ips[0], 0]}.get(owner, [0, 0])
    assert ask_everywhere(here, mine.replace("*", "a")) == served
    others = {"TLS": [308, ips[1]], "plain": [ips[1], 0]}[stranger]
    assert ask_everywhere(here, f"other{wildcard.removeprefix('*')}") == others


def test_owner_s_wildcard_takes_nothing_on_another_port(router: Start, ips: list[str], authority: Authority) -> None:
    """The same holds for the owner's own wildcard."""
    here = router()
    certificate, key = authority.issue("shop.example.com")
    hosts = {"shop.example.com": tls(), "*.example.com": {}}
    here.serve(*team("a", ips[0], hosts, "/"), secret("a", ssl_crt=certificate, ssl_key=key))
    assert ask_everywhere(here, "shop.example.com") == [308, ips[0]]
    assert ask_everywhere(here, "other.example.com") == [ips[0], 0]


def test_refused_claim_leaves_the_wildcard_alone(router: Start, ips: list[str]) -> None:
    """A host that a Namespace may not have below another's wildcard stays the wildcard's."""
    here = router()
    here.serve(
        *team("a", ips[0], {"*.example.com": {}}, "/"),
        *team("b", ips[1], {"shop.example.com": {}}, "/", created=LATER),
    )
    assert ask_everywhere(here, "shop.example.com") == [ips[0], 0]
