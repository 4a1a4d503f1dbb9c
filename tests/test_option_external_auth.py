"""access.externalAuth, on a running nginx: a Pod of the Namespace decides, and what nobody can decide is closed."""

import base64
import http.client
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from support.handlers import QuietHandler, run_pod
from support.objects import Object, namespace, pod, secret, unready
from support.passwords import BY_PASSWORD, basic, write_apr1
from support.pods import DECLARED, HOST, LATER, entry
from support.router import Answer, Router

Start = Callable[..., Router]
KEY = {"X_ROUTING_API_KEY": base64.b64encode(b"open").decode()}
ASK = {"path": "/auth", "responseHeaders": ["X-Auth-Request-User", "X-Team"]}


class Authoriser(QuietHandler):
    """Answers with the status that the request's X-Wish names, and with a user; `slow` stands for three seconds."""

    asked: list[dict[str, Any]] = []

    def get(self) -> None:
        """Note the request, and answer it."""
        wish = self.headers.get("X-Wish", "200")
        self.asked.append({"uri": self.path, "method": self.command, "headers": dict(self.headers.items())})
        if wish == "slow":
            time.sleep(3)
        self.send_response(200 if wish == "slow" else int(wish))
        self.send_header("X-Auth-Request-User", "alice")
        if wish == "401":
            self.send_header("WWW-Authenticate", 'Bearer realm="ours"')
        self.send_header("Location", "/elsewhere")
        self.send_header("Content-Length", "2")
        self.end_headers()
        self.wfile.write(b"ok")


@contextmanager
def authoriser(**more: object) -> Iterator[tuple[list[dict[str, Any]], Object]]:
    """Run an authoriser at /auth: give what it was asked, and its Pod."""
    Authoriser.asked.clear()
    with run_pod(7, Authoriser) as (ip, port):
        paths = [{"basePath": "/auth", "containerPort": port, **more}]
        yield Authoriser.asked, pod("a", "auth-0", ip, paths, [{"containerPort": port}])


def team(ip: str, *entries: object) -> list[Object]:
    return [namespace("a", {HOST: {}}), pod("a", "web-0", ip, list(entries), DECLARED)]


def protected(ip: str, base: str = "/app", **auth: object) -> list[Object]:
    return team(ip, entry(base, access={"externalAuth": {**ASK, **auth}}))


def told(here: Router) -> str:
    assert here.last
    return "\n".join(str(problem) for problem in here.last.table.problems)


def test_who_is_let_in(router: Start, ips: list[str]) -> None:
    """A request goes on with its body if the authoriser answers 2xx; a 401 or 403 of its reaches the client."""
    here = router()
    with authoriser() as (asked, one):
        here.serve(*protected(ips[0]), one)
        assert told(here) == ""
        let_in = here.ask(HOST, "/app/x?y=1", "POST", b"x" * 5000).told
        assert (let_in["method"], let_in["uri"], let_in["size"]) == ("POST", "/app/x?y=1", 5000)
        wishes = ["204", "401", "403"]
        assert [here.ask(HOST, "/app", X_Wish=wish).status for wish in wishes] == [200, 401, 403]
        assert here.ask(HOST, "/app", X_Wish="401").headers["www-authenticate"] == 'Bearer realm="ours"'
        assert here.ask(HOST, "/auth/x").status == 200
    assert len(asked) == 6


def test_what_an_authoriser_is_asked(router: Start, ips: list[str]) -> None:
    """It gets a GET without a body on its own path, the client's headers, and the request's method and URI."""
    here = router()
    forged = {"X_Original_Method": "GET", "X_Original_URI": "/", "X_Real_IP": "1.2.3.4", "Cookie": "a=b"}
    with authoriser() as (asked, one):
        here.serve(*protected(ips[0]), one)
        assert here.ask(HOST, "/app/x%2Fy?z=1", "POST", b"x" * 5000, **forged).status == 200
    (request,) = asked
    headers = {name.lower(): value for name, value in request["headers"].items()}
    assert (request["method"], request["uri"]) == ("GET", "/auth")
    assert (headers["x-original-method"], headers["x-original-uri"]) == ("POST", "/app/x%2Fy?z=1")
    assert (headers["host"], headers["x-real-ip"], headers["cookie"]) == (HOST, "127.0.0.1", "a=b")
    assert not headers.keys() & {"content-length", "transfer-encoding", "upgrade"}


def test_target_of_an_authoriser(router: Start, ips: list[str]) -> None:
    """The authoriser's targetPath counts for it too."""
    here = router()
    with authoriser(targetPath="/v1/check$x") as (asked, one):
        here.serve(*protected(ips[0]), one)
        assert here.ask(HOST, "/app").status == 200
    assert asked[0]["uri"] == "/v1/check%24x"


def test_headers_of_the_authoriser(router: Start, ips: list[str]) -> None:
    """The Pod gets the headers that the authoriser answered, and never what a client forged."""
    here = router()
    forged = {"X_Auth_Request_User": "eve", "x_team": "admins", "X_Other": "1"}
    with authoriser() as (_, one):
        here.serve(*protected(ips[0]), one)
        headers = here.ask(HOST, "/app", X_SSL_Client_Verify="SUCCESS", **forged).told["headers"]
    assert headers["x-auth-request-user"] == "alice"
    assert headers["x-other"] == "1"
    assert not headers.keys() & {"x-team", "x-ssl-client-verify"}


def test_underscores_forge_nothing(router: Start, ips: list[str]) -> None:
    """Where nginx takes headers with underscores, another spelling of a header reaches neither Pod nor authoriser."""
    here = router(API_KEY_HEADER="X_KEY")
    with authoriser() as (asked, one):
        here.serve(*protected(ips[0]), one)
        connection = http.client.HTTPConnection("127.0.0.1", here.port, timeout=20)
        forged = {"X_Auth-Request_User": "eve", "X_TEAM": "eve", "X_Original_Method": "eve", "X_Fine": "1"}
        connection.request("GET", "/app", headers={"Host": HOST, **forged})
        response = connection.getresponse()
        got = Answer(response.status, {}, response.read()).told["headers"]
        connection.close()
    assert (got["x-auth-request-user"], got["x_fine"]) == ("alice", "1")
    # The names by which an authoriser is told about a request mean nothing to the Pods of a path, and the other way.
    assert [name for name, value in got.items() if value == "eve"] == ["x_original_method"]
    forgeries = {name.lower() for name, value in asked[0]["headers"].items() if value == "eve"}
    assert forgeries == {"x_auth-request_user", "x_team"}


@pytest.mark.parametrize("wish", ["302", "404", "500", "503", "slow"])
def test_an_authoriser_that_does_not_decide(router: Start, ips: list[str], wish: str) -> None:
    """An authoriser that answers something else, or not in the time of its path, lets nobody in: 500."""
    here = router()
    with authoriser(timeouts={"read": "1s"}) as (_, one):
        here.serve(*protected(ips[0]), one)
        assert here.ask(HOST, "/app", X_Wish=wish).status == 500
        assert here.ask(HOST, "/app").status == 200


def test_a_dead_authoriser(router: Start, ips: list[str]) -> None:
    """An authoriser whose port is closed, or that has no ready Pod, lets nobody in: 500."""
    here = router()
    with authoriser() as (_, one):
        here.serve(*protected(ips[0]), one)
    assert here.ask(HOST, "/app").status == 500
    here.serve(*protected(ips[0]), unready(one))
    assert [here.ask(HOST, uri).status for uri in ("/app", "/auth")] == [500, 503]


def test_a_path_without_ready_pods(router: Start, ips: list[str]) -> None:
    """Only who is let in learns that no Pod is ready."""
    here = router()
    host, web = protected(ips[0])
    with authoriser() as (_, one):
        here.serve(host, unready(web), one)
        assert [here.ask(HOST, "/app", X_Wish=wish).status for wish in ("200", "401")] == [503, 401]


@pytest.mark.parametrize("rotation", [False, True])
def test_keys_are_checked_first(router: Start, ips: list[str], rotation: bool) -> None:
    """Who asks an authoriser's location needs the API key too, each one that is valid; without it nobody is asked."""
    here = router()
    more = {"api-key.next": "later"} if rotation else {}
    other = {"X_ROUTING_API_KEY": base64.b64encode(b"later").decode()}
    with authoriser() as (asked, one):
        here.serve(*protected(ips[0]), one, secret("a", api_key="open", **more))
        assert [here.ask(HOST, "/app", **given).status for given in ({}, {"X_ROUTING_API_KEY": "no"})] == [403, 403]
        assert asked == []
        assert here.ask(HOST, "/app", "POST", b"x" * 5000, **KEY).told["size"] == 5000
        assert here.ask(HOST, "/app", **other).status == (200 if rotation else 403)
        assert here.ask(HOST, "/app", X_Wish="401", **KEY).status == 401
    assert [request["uri"] for request in asked] == ["/auth"] * (3 if rotation else 2)
    assert not [name for request in asked for name in request["headers"] if name.lower() == "x-routing-api-key"]


def test_large_bodies(router: Start, ips: list[str]) -> None:
    """The limit of a body is the path's own, whatever the operator's is; a larger one gets 413."""
    here = router(NGINX_MAX_CLIENT_BODY_SIZE="64k")
    with authoriser() as (_, one):
        here.serve(*protected(ips[0]), one)
        assert here.ask(HOST, "/app", "POST", b"x" * 60_000).told["size"] == 60_000
        assert here.ask(HOST, "/app", "POST", b"x" * 70_000).status == 413


def test_sign_in(router: Start, ips: list[str]) -> None:
    """With a page to sign in, a 401 of the authoriser becomes a redirect to it; one of the Pod stays as it is."""
    here = router()
    with authoriser() as (_, one), run_pod(8, Strict) as (ip, port):
        page = entry("/log%20in")
        access = {"externalAuth": {**ASK, "signInPath": "/log%20in"}}
        paths = [{"basePath": "/strict", "containerPort": port, "access": access}]
        strict = pod("a", "strict-0", ip, paths, [{"containerPort": port}])
        here.serve(*team(ips[0], page), one, strict)
        assert told(here) == ""
        sent = here.ask(HOST, "/strict/x?y=1", X_Wish="401")
        assert (sent.status, sent.headers["location"]) == (302, "/log%20in?rd=/strict/x?y=1")
        assert here.ask(HOST, "/strict/%0d%0aX-A:%20b", X_Wish="401").headers["location"].endswith("%0d%0aX-A:%20b")
        own = here.ask(HOST, "/strict")
        assert (own.status, own.headers["www-authenticate"]) == (401, "Own")
        assert [here.ask(HOST, "/strict", X_Wish=wish).status for wish in ("403", "500")] == [403, 500]


class Strict(QuietHandler):
    """A Pod that answers 401 itself."""

    def get(self) -> None:
        """Refuse."""
        self.send_response(401)
        self.send_header("WWW-Authenticate", "Own")
        self.send_header("Content-Length", "0")
        self.end_headers()


def test_with_a_password(router: Start, ips: list[str]) -> None:
    """A wrong password's 401 goes to no page to sign in, and comes before the authoriser is asked."""
    with tempfile.TemporaryDirectory() as folder, authoriser() as (asked, one):
        Path(folder).chmod(0o755)
        here = router(Path(folder))
        access = {**BY_PASSWORD, "externalAuth": {**ASK, "signInPath": "/page"}}
        here.serve(
            *team(ips[0], entry("/app", access=access), entry("/page")), one,
            secret("a", htpasswd=write_apr1(alice="right")),
        )  # fmt: skip
        wrong = here.ask(HOST, "/app", Authorization=basic("alice", "wrong"))
        assert (wrong.status, wrong.headers["www-authenticate"]) == (401, 'Basic realm="protected"')
        assert asked == []
        right = basic("alice", "right")
        assert here.ask(HOST, "/app", Authorization=right).status == 200
        assert here.ask(HOST, "/app", Authorization=right, X_Wish="401").status == 302
        here.nginx.stop()


def test_websocket(router: Start, ips: list[str]) -> None:
    """An upgrade goes to the Pod alone: the authoriser is asked by a plain request."""
    here = router()
    upgrade = {
        "Connection": "Upgrade", "Upgrade": "websocket", "Sec_WebSocket_Version": "13",
        "Sec_WebSocket_Key": "dGhlIHNhbXBsZSBub25jZQ==",
    }  # fmt: skip
    with authoriser() as (asked, one):
        here.serve(*protected(ips[0]), one)
        connection = http.client.HTTPConnection("127.0.0.1", here.port, timeout=20)
        connection.request("GET", "/app", headers={"Host": HOST} | {k.replace("_", "-"): v for k, v in upgrade.items()})
        assert connection.getresponse().status == 101
        connection.close()
    assert not {name.lower() for name in asked[0]["headers"]} & {"upgrade", "connection"}


BAD: dict[str, tuple[object, str]] = {
    "a URL": ({"path": "http://169.254.169.254/"}, "[1].access.externalAuth.path is 'http://169.254.169.254/'"),
    "no path": ({"responseHeaders": ["X-A"]}, "[1].access.externalAuth.path is missing"),
    "a text": ("/auth", "[1].access.externalAuth is a string: this Pod does not serve the path"),
    "an unknown key": ({"path": "/auth", "url": "x"}, "[1].access.externalAuth.'url' is an unknown key"),
    "dots": ({"path": "/auth/%2e%2e/x"}, "/../"),
    "a query": ({"path": "/auth?x=1"}, "[1].access.externalAuth.path is '/auth?x=1'"),
    "nine headers": ({"path": "/auth", "responseHeaders": [f"X-{n}" for n in range(9)]}, "has 9 members"),
    "a header twice": ({"path": "/auth", "responseHeaders": ["X-A", "x-a"]}, "names a header twice"),
    "our header": ({"path": "/auth", "responseHeaders": ["X-Real-IP"]}, "names 'X-Real-IP', which the router alone"),
    "the key's header": ({"path": "/auth", "responseHeaders": ["X-Routing-API-Key"]}, "which the router alone"),
    "Host": ({"path": "/auth", "responseHeaders": ["Host"]}, "names 'Host', which the router alone"),
    "a variable": ({"path": "/auth", "responseHeaders": ["X-$host"]}, "is 'X-$host'"),
    "no such path": (
        {"path": "/other"},
        f"host {HOST} path '/app' access.externalAuth.path is '/other', which the Namespace does not serve here: all "
        "requests get 403; expected: a basePath of the Namespace on the same host, no regular expression",
    ),
    "below a path": ({"path": "/auth/x"}, "which the Namespace does not serve here"),
    "the path itself": ({"path": "/app"}, "access.externalAuth.path is the path itself: all requests get 403"),
    "no such page": ({"path": "/auth", "signInPath": "/page"}, "access.externalAuth.signInPath is '/page', which"),
    "a page behind itself": ({"path": "/auth", "signInPath": "/app"}, "nobody could sign in: all requests get 403"),
    "a closed path": ({"path": "/shut"}, "access.externalAuth.path is '/shut', which is closed"),
}


@pytest.mark.parametrize("name", BAD)
def test_what_cannot_be_honoured_closes(router: Start, ips: list[str], name: str) -> None:
    """Without somebody who can decide, the path is closed: it answers 403, and never falls to a shorter path's Pod."""
    auth, problem = BAD[name]
    here = router()
    shut = entry("/shut", access={"allow": ["oops"]})
    with authoriser() as (asked, one):
        here.serve(*team(ips[0], entry("/"), entry("/app", access={"externalAuth": auth}), shut), one)
        assert [here.ask(HOST, uri).status for uri in ("/app", "/app/x", "/x")] == [403, 403, 200]
    assert problem in told(here)
    assert asked == []


def test_a_regular_expression_decides_nothing(router: Start, ips: list[str]) -> None:
    """A regular expression has no URI that could be asked; but it may itself ask."""
    here = router(ALLOW_REGEX_PATHS="true")
    access = {"externalAuth": {"path": "/auth"}}
    with authoriser() as (_, one):
        here.serve(*team(ips[0], entry("~^/r", access=access), entry("/app", access=access)), one)
        assert [here.ask(HOST, uri, X_Wish="403").status for uri in ("/r1", "/app")] == [403, 403]
        assert [here.ask(HOST, uri).status for uri in ("/r1", "/app")] == [200, 200]
    here.serve(*team(ips[0], entry("~^/auth"), entry("/app", access=access)))
    assert here.ask(HOST, "/app").status == 403


def test_an_authoriser_of_another_namespace(router: Start, ips: list[str]) -> None:
    """Only the Namespace's own Pods decide: another one's path on the host closes, and a host of its own does not."""
    here = router()
    with authoriser() as (asked, theirs):
        ours = pod("b", "web-0", ips[0], [entry("/app", access={"externalAuth": {"path": "/auth"}})], DECLARED)
        own = pod("b", "auth-0", ips[1], [entry("/auth")], DECLARED)
        hosts = namespace("a", {HOST: {"sharedWith": ["b"]}}), namespace("b", {HOST: {}, "own.dev": {}}, LATER)
        here.serve(*hosts, theirs, ours, own)
        assert here.ask(HOST, "/app").status == 403
        assert here.ask("own.dev", "/app").status == 200
        assert f"host {HOST} path '/app' access.externalAuth.path is '/auth', which the Namespace does not" in told(
            here
        )
        assert asked == []


def test_an_authoriser_that_is_protected_itself(router: Start, ips: list[str]) -> None:
    """Nginx itself asks, so that what protects the authoriser from clients does not keep it from deciding."""
    here = router()
    with authoriser(access={"allow": ["203.0.113.1"], "externalAuth": {"path": "/app"}}) as (_, one):
        here.serve(*protected(ips[0]), one)
        assert [here.ask(HOST, "/app", X_Wish=wish).status for wish in ("200", "403")] == [200, 403]
        assert here.ask(HOST, "/auth").status == 403


def test_pods_that_disagree(router: Start, ips: list[str]) -> None:
    """As soon as one Pod of a path wants an authoriser, it decides for all of them."""
    here = router()
    host, old = team(ips[0], entry("/app"))
    _, new = protected(ips[1])
    new["metadata"] |= {"name": "web-1"}
    with authoriser() as (_, one):
        here.serve(host, old, new, one)
        assert [here.ask(HOST, "/app", X_Wish=wish).status for wish in ("200", "403")] == [200, 403]
    assert "has no access.externalAuth, other than Pod web-1, which protects the path" in told(here)


def test_nobody_reaches_the_inner_locations(router: Start, ips: list[str]) -> None:
    """A client cannot ask for the locations that ask an authoriser, in any spelling."""
    here = router()
    with authoriser() as (asked, one):
        cycle = here.serve(*protected(ips[0], signInPath="/auth"), one)
        name = next(one.upstream for host in cycle.table.routes.hosts for one in host.locations if one.path == "/auth")
        for uri in (f"/external-{name}", f"/@sign-in-{name}", f"http://{HOST}/external-{name}"):
            assert here.ask(HOST, uri).status == 404
        for uri in (f"external-{name}", f"@sign-in-{name}"):
            assert here.ask(HOST, uri).status == 400
    assert asked == []


def test_too_many_headers(router: Start, ips: list[str]) -> None:
    """Different headers beyond a Namespace's share close the paths that come last; known ones cost nothing."""
    here = router()
    asks = {name: [f"X-{name}-{number}" for number in range(8)] for name in "abc"} | {"d": ["x-a-0", "X-B-7"]}
    entries = [
        entry(f"/{name}", access={"externalAuth": {"path": "/auth", "responseHeaders": headers}})
        for name, headers in asks.items()
    ]
    with authoriser() as (_, one):
        here.serve(*team(ips[0], *entries), one)
        assert [here.ask(HOST, f"/{name}").status for name in asks] == [200, 200, 403, 200]
    assert "path '/c' access.externalAuth is beyond the Namespace's share: all requests get 403" in told(here)
