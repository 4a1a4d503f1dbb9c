"""Options of hosts, on a running nginx: what the plain port answers, redirects, maintenance, kept paths, HSTS."""

import asyncio
import http.client
import json
import socket
from collections.abc import Callable
from contextlib import ExitStack
from functools import partial
from typing import Any

import pytest
from support.authority import Authority
from support.handlers import QuietHandler, run_pod
from support.objects import Object, namespace, pod, secret, tls, unready
from support.pods import DECLARED, HOST, LATER, PORT, entry
from support.router import Router
from websockets.asyncio.client import connect
from websockets.datastructures import Headers

Start = Callable[..., Router]
SECURE = "secure.dev"
ACME = "/.well-known/acme-challenge"
TRUSTED = {"TRUSTED_PROXIES": "127.0.0.1"}
HSTS = "strict-transport-security"


def team(name: str, ip: str, hosts: object, *paths: str, created: str = "2026-11-22T18:06:04Z") -> list[Object]:
    """Make a Namespace that names hosts, with one Pod that names paths."""
    return [namespace(name, hosts, created), pod(name, "web-0", ip, [entry(path) for path in paths], DECLARED)]


def pems(authority: Authority, name: str = SECURE) -> dict[str, bytes]:
    certificate, key = authority.issue(name)
    return {"ssl_crt": certificate, "ssl_key": key}


def told(here: Router) -> str:
    assert here.last
    return "\n".join(str(problem) for problem in here.last.table.problems)


def plainly(here: Router, host: str, uri: str = "/", **headers: str) -> int:
    """Request a host on the plain port: the status; 0 if the connection is closed."""
    try:
        return here.ask(host, uri, **headers).status
    except http.client.RemoteDisconnected:
        return 0


def securely(here: Router, host: str, uri: str = "/") -> int:
    """Request a host on the port for TLS, whatever its certificate: the status; 0 if the connection is closed."""
    try:
        return here.ask_tls(host, uri, context=here.trusting_all()).status
    except http.client.RemoteDisconnected:
        return 0


# http


@pytest.mark.parametrize("options", [{}, {"http": "redirect"}, {"http": None}])
def test_plain_port_of_a_tls_host_redirects(
    router: Start, ips: list[str], authority: Authority, options: dict[str, Any]
) -> None:
    """The plain port of a host with TLS sends every request to https, with its method, path and query."""
    here = router()
    here.serve(*team("a", ips[0], {SECURE: tls() | options}, "/"), secret("a", **pems(authority)))
    answer = here.ask(SECURE, "/a?b", method="POST", body=b"x" * 5000)
    assert (answer.status, answer.headers["location"]) == (308, f"https://{SECURE}/a?b")
    assert HSTS not in answer.headers
    assert here.ask("secure.DEV:81", "/a%2Fb?x=%0d%0aX:1").headers["location"] == f"https://{SECURE}/a%2Fb?x=%0d%0aX:1"
    assert [plainly(here, SECURE, uri) for uri in ("//evil.dev", "/../x", "/a#b")] == [400, 400, 400]
    assert plainly(here, "other.dev") == 0
    assert here.ask_tls(SECURE, "/x").status == 200
    assert told(here) == ""


def test_many_hosts_have_one_plain_server(router: Start, ips: list[str], authority: Authority) -> None:
    """All hosts with TLS are names of one plain server, wildcards and addresses too."""
    here = router()
    names = ["a.dev", "*.b.dev", "192.0.2.7", "2001:db8::7"]
    cycle = here.serve(*team("a", ips[0], dict.fromkeys(names, tls()), "/"), secret("a", **pems(authority, "a.dev")))
    asked = {"a.dev": "a.dev", "x.b.dev": "x.b.dev", "192.0.2.7": "192.0.2.7", "[2001:db8::7]": "[2001:db8::7]"}
    for host, location in asked.items():
        assert here.ask(host, "/").headers["location"] == f"https://{location}/"
    assert cycle.files["nginx.conf"].content.count(b"return 308") == 1


def test_redirect_of_odd_requests(router: Start, ips: list[str], authority: Authority) -> None:
    """However a request names its target, the redirect goes to the host that it named, or there is none."""
    here = router()
    here.serve(*team("a", ips[0], {SECURE: tls()}, "/"), secret("a", **pems(authority)))
    targets = ["http://secure.dev?x", "http://secure.dev", "http://secure.dev/y", "@evil.dev/", ".evil.dev",
               "\\evil.dev", "http://secure.dev@evil.dev/"]  # fmt: skip
    for line in [*(f"GET {one} HTTP/1.1" for one in targets), "OPTIONS * HTTP/1.1", "CONNECT evil.dev:443 HTTP/1.1"]:
        with socket.create_connection(("127.0.0.1", here.port), timeout=20) as raw:
            raw.sendall(f"{line}\r\nHost: {SECURE}\r\nConnection: close\r\n\r\n".encode())
            head = raw.makefile("rb").read().decode("latin-1").lower()
        locations = [one.partition(": ")[2] for one in head.splitlines() if one.startswith("location")]
        assert all(one.startswith((f"https://{SECURE}/", f"https://{SECURE}?")) for one in locations), (line, head)
        assert locations or not head or head.split()[1].startswith(("4", "2")), (line, head)


def test_https_that_ends_before_the_router_is_not_redirected(
    router: Start, ips: list[str], authority: Authority
) -> None:
    """What came to a trusted proxy by https, and from it to the plain port, is closed: a redirect would loop."""
    here = router(**TRUSTED)
    for paths in (("/",), ("/", ACME)):
        here.serve(*team("a", ips[0], {SECURE: tls()}, *paths), secret("a", **pems(authority)))
        assert plainly(here, SECURE, X_Forwarded_Proto="http") == 308
        assert plainly(here, SECURE, X_Forwarded_Proto="https") == 0


def test_serve_on_both_ports(router: Start, ips: list[str], authority: Authority) -> None:
    """With `serve` a host with TLS answers on both ports."""
    here = router()
    here.serve(*team("a", ips[0], {SECURE: tls() | {"http": "serve"}}, "/"), secret("a", **pems(authority)))
    assert here.ask(SECURE, "/x").told["headers"]["x-forwarded-proto"] == "http"
    assert here.ask_tls(SECURE, "/x").told["headers"]["x-forwarded-proto"] == "https"


def test_serve_never_avoids_client_certificates(router: Start, ips: list[str], authority: Authority) -> None:
    """A host that verifies clients serves nobody on the plain port, and `serve` there is a problem."""
    here = router()
    files = pems(authority) | {"client_crt": authority.pem}
    options = tls(client="client.crt") | {"http": "serve"}
    here.serve(*team("a", ips[0], {SECURE: options}, "/", ACME), secret("a", **files))
    assert (plainly(here, SECURE), plainly(here, SECURE, f"{ACME}/x")) == (0, 200)
    assert f"host {SECURE} http is serve, and clients must bring a certificate: PORT is closed" in told(here)
    here.serve(*team("a", ips[0], {SECURE: tls(client="client.crt")}, "/"), secret("a", **files))
    assert plainly(here, SECURE) == 308
    assert here.ask_tls(SECURE, "/").status == 400


BAD_HTTP = ["Redirect", "off", "", True, 1, {}, ["serve"]]


@pytest.mark.parametrize("value", BAD_HTTP)
def test_bad_http(router: Start, ips: list[str], authority: Authority, value: object) -> None:
    """A bad `http` closes the plain port of a host with TLS, and a host without is served as without it."""
    here = router()
    hosts = {SECURE: tls() | {"http": value}, "plain.dev": {"http": value}}
    here.serve(*team("a", ips[0], hosts, "/"), secret("a", **pems(authority)))
    assert (plainly(here, SECURE), securely(here, SECURE), plainly(here, "plain.dev")) == (0, 200, 200)
    assert told(here).count("it counts as close, or as serve without ssl") == 2


def test_repeated_and_denied_http_is_bad(router: Start, ips: list[str], authority: Authority) -> None:
    """An `http` that appears twice, or that the operator denies, counts as a bad one."""
    here = router()
    text = json.dumps({SECURE: tls() | {"http": "serve"}}).replace('"http"', '"http": "serve", "http"')
    here.serve(*team("a", ips[0], text, "/"), secret("a", **pems(authority)))
    assert (plainly(here, SECURE), securely(here, SECURE)) == (0, 200)
    assert f"'{SECURE}'.http appears twice" in told(here)
    here = router(DENIED_OPTIONS="http,hsts")
    options = {"http": "serve", "hsts": {"maxAge": "1h"}}
    here.serve(*team("a", ips[0], {SECURE: tls() | options}, "/"), secret("a", **pems(authority)))
    assert (plainly(here, SECURE), securely(here, SECURE)) == (0, 200)
    assert HSTS not in here.ask_tls(SECURE, "/").headers
    assert "hsts is turned off by DENIED_OPTIONS: the key is left out" in told(here)


def test_plain_host_redirects_behind_a_trusted_proxy(router: Start, ips: list[str]) -> None:
    """A host whose TLS ends at a trusted proxy redirects what came there by http, and serves what came by https."""
    options = {"http": "redirect", "hsts": {"maxAge": "8760h"}}
    here = router(**TRUSTED)
    here.serve(*team("a", ips[0], {HOST: options}, "/", ACME))
    answer = here.ask(HOST, "/a?b", X_Forwarded_Proto="http")
    assert (answer.status, answer.headers["location"]) == (308, f"https://{HOST}/a?b")
    assert HSTS not in answer.headers
    answer = here.ask(HOST, "/", X_Forwarded_Proto="https")
    assert (answer.status, answer.headers[HSTS]) == (200, "max-age=31536000")
    assert here.ask(HOST, "/").status == 308
    assert here.ask(HOST, f"{ACME}/x", X_Forwarded_Proto="http").status == 200
    assert here.ask(HOST, f"{ACME}x", X_Forwarded_Proto="http").status == 308
    assert here.ask(HOST, f"{ACME}/%2e%2e/%2e%2e/x", X_Forwarded_Proto="http").status == 400
    assert here.ask(HOST, "/%2ewell-known/acme-challenge/x", X_Forwarded_Proto="http").status == 200
    assert told(here) == ""
    here = router(TRUSTED_PROXIES="203.0.113.1")
    here.serve(*team("a", ips[0], {HOST: options}, "/"))
    assert here.ask(HOST, "/", X_Forwarded_Proto="https").status == 308


@pytest.mark.parametrize("environment", [{}, TRUSTED | {"PROXY_PROTOCOL": "true"}])
def test_plain_redirect_that_would_loop(router: Start, ips: list[str], environment: dict[str, str]) -> None:
    """Without a trusted proxy that tells the scheme, a redirect without TLS is left out, and is a problem."""
    here = router(**environment)
    cycle = here.serve(*team("a", ips[0], {HOST: {"http": "redirect"}}, "/"))
    assert f"host {HOST} http is redirect on a host without ssl, and no trusted proxy tells the scheme" in told(here)
    assert b"return 308" not in cycle.files["nginx.conf"].content
    if not environment:
        assert here.ask(HOST, "/", X_Forwarded_Proto="http").status == 200


def test_redirect_behind_the_proxy_protocol(router: Start, ips: list[str], authority: Authority) -> None:
    """The plain port of a host with TLS redirects behind a proxy that uses the PROXY protocol, whatever headers say."""
    here = router(PROXY_PROTOCOL="true", **TRUSTED)
    here.serve(*team("a", ips[0], {SECURE: tls()}, "/", ACME), secret("a", **pems(authority)))
    for uri, status in (("/", b"308"), (f"{ACME}/x", b"200")):
        with socket.create_connection(("127.0.0.1", here.port), timeout=20) as raw:
            head = f"GET {uri} HTTP/1.1\r\nHost: {SECURE}\r\nX-Forwarded-Proto: https\r\nConnection: close\r\n\r\n"
            raw.sendall(b"PROXY TCP4 203.0.113.7 127.0.0.1 1 2\r\n" + head.encode())
            assert raw.makefile("rb").readline().split()[1] == status


def test_closed_plain_host(router: Start, ips: list[str]) -> None:
    """`close` without TLS closes the host; only challenges are answered."""
    here = router()
    for paths, challenge in ((("/",), 0), (("/", ACME), 200)):
        here.serve(*team("a", ips[0], {HOST: {"http": "close"}}, *paths))
        assert [plainly(here, HOST, uri) for uri in ("/", "/x", f"{ACME}/x")] == [0, 0, challenge]
        assert "is close on a host without ssl: nothing serves it" in told(here)


# Challenges


@pytest.mark.parametrize("mode", ["redirect", "close", "serve"])
def test_challenges_on_the_plain_port(router: Start, ips: list[str], authority: Authority, mode: str) -> None:
    """The owner's challenges are answered on the plain port, whatever `http` says, and without its API key."""
    here = router()
    rest = {"redirect": 308, "close": 0, "serve": 403}[mode]
    here.serve(
        *team("a", ips[0], {SECURE: tls() | {"http": mode}}, "/", ACME),
        secret("a", api_key="key", **pems(authority)),
    )
    answer = here.ask(SECURE, f"{ACME}/token")
    assert (answer.status, answer.told["pod"].split(":")[0]) == (200, ips[0])
    assert [plainly(here, SECURE, uri) for uri in (ACME, "/", "/x", f"{ACME}x", "/.well-known/")] == [200, *[rest] * 4]
    assert plainly(here, SECURE, f"/{ACME}/x") == 400
    assert (securely(here, SECURE), securely(here, SECURE, f"{ACME}/token")) == (403, 200)


@pytest.mark.parametrize(
    "secrets",
    [
        {},
        {"ssl_crt": b"", "ssl_key": b""},
        {"ssl_crt": b"no PEM", "ssl_key": b"no PEM"},
    ],
)
def test_challenge_before_the_first_certificate(
    router: Start, ips: list[str], authority: Authority, secrets: dict[str, bytes]
) -> None:
    """While a host's certificate is missing or cannot be used, its challenges are answered, and all else gets 503."""
    here = router()
    names = {SECURE: tls() | {"redirect": {"hostname": "other.dev"}}}
    here.serve(*team("a", ips[0], names, "/", ACME), *([secret("a", **secrets)] if secrets else []))
    assert [plainly(here, SECURE, uri) for uri in (f"{ACME}/x", "/", "/x", "//x")] == [200, 503, 503, 400]
    assert securely(here, SECURE) == 0
    assert "is left out: it" in told(here)
    here.serve(*team("a", ips[0], {SECURE: tls()}, "/", ACME), secret("a", **pems(authority)))
    assert (plainly(here, SECURE), plainly(here, SECURE, f"{ACME}/x"), securely(here, SECURE)) == (308, 200, 200)


def test_waiting_host_without_a_challenge_is_left_out(router: Start, ips: list[str]) -> None:
    """A host without a certificate and without a path for challenges is left out, and so is one with bad options."""
    here = router()
    here.serve(*team("a", ips[0], {SECURE: tls(), "*.dev": {}}, "/", "/.well-known"))
    assert (plainly(here, SECURE), plainly(here, "other.dev")) == (0, 200)
    here.serve(*team("a", ips[0], {SECURE: {"ssl": 1}}, "/", ACME))
    assert plainly(here, SECURE, f"{ACME}/x") == 0
    here = router(SSL_CERT="", SSL_KEY="")
    here.serve(*team("a", ips[0], {SECURE: tls()}, "/", ACME))
    assert plainly(here, SECURE, f"{ACME}/x") == 0


def test_nobody_else_answers_challenges(router: Start, ips: list[str], authority: Authority) -> None:
    """A guest has no challenges on the plain port, before the first certificate or after it."""
    here = router()
    guest = team("b", ips[1], {SECURE: {"http": "serve"}}, "/", ACME, created=LATER)
    for files in ({}, pems(authority)):
        owner = team("a", ips[0], {SECURE: tls() | {"sharedWith": ["*"]}}, "/a")
        here.serve(*owner, *guest, *([secret("a", **files)] if files else []))
        assert plainly(here, SECURE, f"{ACME}/x") == (308 if files else 0)
        assert plainly(here, SECURE) == (308 if files else 0)
    assert securely(here, SECURE, f"{ACME}/x") == 404


def test_challenges_of_an_unready_solver(router: Start, ips: list[str], authority: Authority) -> None:
    """While no solver is ready a challenge gets 503, and not the redirect."""
    here = router()
    only = pod("a", "solver", ips[0], [entry(ACME)], DECLARED)
    here.serve(namespace("a", {SECURE: tls()}), unready(only), secret("a", **pems(authority)))
    answer = here.ask(SECURE, f"{ACME}/x")
    assert (answer.status, answer.headers["retry-after"]) == (503, "5")


class Solver(QuietHandler):
    """Answers the one challenge that it was made for, as a solver of cert-manager does."""

    def get(self) -> None:
        """Answer 200 for the token that is this Pod's address, else 404."""
        own = self.server.server_address[0]
        self.answer(200 if self.path == f"{ACME}/{own}" else 404, b"")


def test_challenges_of_several_solvers(router: Start) -> None:
    """Four solvers answer for one path, each for its own challenge, if `retry` asks the others after a 404."""
    here = router()
    with ExitStack() as pods:
        places = [pods.enter_context(run_pod(number, Solver)) for number in range(1, 5)]
        solvers = [
            pod("a", f"solver-{port}", ip, [{"basePath": ACME, "containerPort": port,
                "retry": {"attempts": 3, "codes": [404]}}], [{"containerPort": port}])
            for ip, port in places
        ]  # fmt: skip
        here.serve(namespace("a", {SECURE: tls()}), *solvers)
        assert [plainly(here, SECURE, f"{ACME}/{ip}") for ip, _ in places * 5] == [200] * 20
        assert plainly(here, SECURE, f"{ACME}/other") == 404


# Wildcards


@pytest.mark.parametrize(("mode", "plain"), [("redirect", 308), ("serve", 200), ("close", 0)])
@pytest.mark.parametrize("above", ["TLS", "plain", "redirected"])
def test_host_below_a_wildcard(
    router: Start, ips: list[str], authority: Authority, mode: str, plain: int, above: str
) -> None:
    """A wildcard takes nothing on the plain port from a host below it: that one redirects, serves or closes there."""
    here = router(**TRUSTED)
    options = {"TLS": tls(), "plain": {}, "redirected": {"redirect": {"hostname": "else.dev"}}}[above]
    here.serve(
        *team("a", ips[0], {"x.b.dev": tls() | {"http": mode}}, "/"),
        secret("a", **pems(authority, "x.b.dev")),
        *team("b", ips[1], {"*.b.dev": options}, "/", created=LATER),
        secret("b", **pems(authority, "*.b.dev")),
    )
    assert plainly(here, "x.b.dev") == plain
    assert securely(here, "x.b.dev") == 200
    assert plainly(here, "y.b.dev") == {"TLS": 308, "plain": 200, "redirected": 302}[above]


def test_left_out_host_below_a_redirecting_wildcard(router: Start, ips: list[str], authority: Authority) -> None:
    """A host that is left out, or waits for its certificate, gets nothing from a wildcard above it."""
    here = router()
    for options, paths, plain in (({"ssl": 1}, ["/"], 0), (tls(), ["/"], 0), (tls(), ["/", ACME], 503)):
        here.serve(
            *team("a", ips[0], {"x.b.dev": options}, *paths),
            *team("b", ips[1], {"*.b.dev": tls()}, "/", created=LATER),
            secret("b", **pems(authority, "*.b.dev")),
        )
        assert (plainly(here, "x.b.dev"), securely(here, "x.b.dev")) == (plain, 0)
    assert (plainly(here, "y.b.dev"), securely(here, "y.b.dev")) == (308, 200)


# redirect


@pytest.mark.parametrize(
    ("wanted", "status", "location"),
    [
        ({"hostname": "www.example.com"}, 302, "http://www.example.com/a?b"),
        ({"hostname": "WWW.example.com", "statusCode": 301}, 301, "http://www.example.com/a?b"),
        ({"hostname": "x.dev", "scheme": "https", "statusCode": 303}, 303, "https://x.dev/a?b"),
        ({"hostname": "x.dev", "scheme": "https", "port": 443, "statusCode": 307}, 307, "https://x.dev/a?b"),
        ({"hostname": "x.dev", "scheme": "https", "port": 8443, "statusCode": 308}, 308, "https://x.dev:8443/a?b"),
        ({"hostname": "x.dev", "port": 8080}, 302, "http://x.dev:8080/a?b"),
        ({"hostname": "x.dev", "path": "/new'(a;b)"}, 302, "http://x.dev/new'(a;b)"),
        ({"port": 8080}, 302, f"http://{HOST}:8080/a?b"),
        ({"port": 8080, "path": "/%24"}, 302, f"http://{HOST}:8080/%24"),
    ],
)
def test_redirect(router: Start, ips: list[str], wanted: dict[str, Any], status: int, location: str) -> None:
    """All paths of a host lead to the other place; what is not given stays as the request has it."""
    here = router()
    here.serve(*team("a", ips[0], {HOST: {"redirect": wanted}}, "/", "/a"))
    answer = here.ask(HOST, "/a?b")
    assert (answer.status, answer.headers["location"]) == (status, location)
    assert [plainly(here, HOST, uri) for uri in ("//x", "/%2e%2e/x", "/other")] == [400, 400, status]
    assert told(here) == ""


def test_redirect_writes_no_header(router: Start, ips: list[str]) -> None:
    """What a client sends ends no header of a redirect, on a wildcard either."""
    here = router()
    here.serve(*team("a", ips[0], {"*.b.dev": {"redirect": {"port": 8080}}}, "/"))
    answer = here.ask("x.b.dev", "/%0d%0aSet-Cookie:%20a?%0d%0aX:1")
    assert answer.headers["location"] == "http://x.b.dev:8080/%0d%0aSet-Cookie:%20a?%0d%0aX:1"
    assert not answer.headers.keys() & {"set-cookie", "x"}


def test_redirect_keeps_the_scheme(router: Start, ips: list[str], authority: Authority) -> None:
    """Without a scheme the client's own is kept, as a trusted proxy tells it; TLS needs the host's certificate."""
    here = router(**TRUSTED)
    options = {"redirect": {"hostname": "x.dev"}}
    here.serve(*team("a", ips[0], {HOST: options, SECURE: tls() | options}, "/", ACME), secret("a", **pems(authority)))
    answer = partial(here.ask, HOST, "/")
    assert answer(X_Forwarded_Proto="https").headers["location"] == "https://x.dev/"
    assert answer(X_Forwarded_Proto="http").headers["location"] == "http://x.dev/"
    assert here.ask_tls(SECURE, "/").headers["location"] == "https://x.dev/"
    assert here.ask(SECURE, "/").headers["location"] == f"https://{SECURE}/"
    assert [here.ask(host, f"{ACME}/x").status for host in (HOST, SECURE)] == [200, 200]


BAD_REDIRECTS: list[tuple[object, str]] = [
    ({"statusCode": 301}, "says only how"),
    ({}, "is empty"),
    ("https://x.dev", "is a string"),
    ({"hostname": "*.x.dev"}, "redirect.hostname is '*.x.dev'"),
    ({"hostname": "x.dev/$uri"}, "redirect.hostname is"),
    ({"hostname": "x.dev; }"}, "redirect.hostname is"),
    ({"hostname": "x.dev", "path": "/$uri"}, "redirect.path has a '$'"),
    ({"hostname": "x.dev", "path": "x"}, "redirect.path is 'x'"),
    ({"hostname": "x.dev", "path": "/\r\nX: y"}, "redirect.path is"),
    ({"hostname": "x.dev", "scheme": "ftp"}, "redirect.scheme is 'ftp'"),
    ({"hostname": "x.dev", "port": "443"}, "redirect.port is '443'"),
    ({"hostname": "x.dev", "port": 0}, "redirect.port is 0"),
    ({"hostname": "x.dev", "statusCode": 300}, "redirect.statusCode is no status"),
    ({"hostname": "x.dev", "statusCode": True}, "redirect.statusCode is no status"),
    ({"hostname": "x.dev", "to": "y"}, "redirect.'to' is an unknown key"),
    ({"hostname": HOST}, "leads to the host itself"),
    ({"hostname": HOST.upper(), "scheme": "https"}, "leads to the host itself"),
    ({"scheme": "https"}, "leads to the host itself"),
    ({"path": "/x"}, "leads to the host itself"),
    ({"port": 443}, "leads to the host itself"),
]


@pytest.mark.parametrize(("wanted", "problem"), BAD_REDIRECTS)
def test_bad_redirect(router: Start, ips: list[str], wanted: object, problem: str) -> None:
    """A bad redirect, or one to the host itself, is left out and told: the host is served."""
    here = router()
    here.serve(*team("a", ips[0], {HOST: {"redirect": wanted}}, "/"))
    assert here.ask(HOST, "/").status == 200
    assert problem in told(here)
    assert "left out" in told(here)


def test_redirect_of_a_wildcard(router: Start, ips: list[str]) -> None:
    """A wildcard may lead to a name below it only if its Namespace has a host of that name."""
    here = router()
    wildcard = {"*.b.dev": {"redirect": {"hostname": "www.b.dev"}}}
    here.serve(*team("a", ips[0], wildcard, "/"))
    assert here.ask("x.b.dev", "/").status == 200
    assert "leads to the host itself" in told(here)
    here.serve(*team("a", ips[0], wildcard | {"www.b.dev": {}}, "/"))
    assert here.ask("x.b.dev", "/").headers["location"] == "http://www.b.dev/"
    assert here.ask("www.b.dev", "/").status == 200


# maintenance


BAD_MAINTENANCE = ["true", 1, {}, [], {"allow": []}, {"allow": ["10.0.0.0/33"]}, {"retryAfter": "0s"},
                   {"retryAfter": "25h"}, {"retryAfter": 5}, {"until": "x"}]  # fmt: skip


@pytest.mark.parametrize("value", [True, *BAD_MAINTENANCE])
def test_maintenance_for_everyone(router: Start, ips: list[str], value: object) -> None:
    """In maintenance a host answers 503 to everyone, and so it does if the value is bad."""
    here = router(TRUSTED_PROXIES="127.0.0.1")
    here.serve(*team("a", ips[0], {HOST: {"maintenance": value}, "other.dev": {}}, "/", "/a", "=/b", ACME))
    for uri in ("/", "/a", "/a/x", "/b", "/other"):
        answer = here.ask(HOST, uri)
        assert (answer.status, answer.headers["retry-after"]) == (503, "300")
    assert (plainly(here, HOST, "//x"), plainly(here, HOST, f"{ACME}/x"), plainly(here, "other.dev")) == (400, 200, 200)
    assert ("it counts as on, retry after 5m" in told(here)) is (value is not True)


@pytest.mark.parametrize("value", [False, None])
def test_no_maintenance(router: Start, ips: list[str], value: object) -> None:
    """`false` is as good as no such key."""
    here = router()
    here.serve(*team("a", ips[0], {HOST: {"maintenance": value}}, "/"))
    assert here.ask(HOST, "/").status == 200
    assert told(here) == ""


def test_maintenance_with_exemptions(router: Start, ips: list[str]) -> None:
    """Clients with the allowed addresses are served as ever; others get 503 before any key or other check."""
    here = router(**TRUSTED)
    value = {"allow": ["203.0.113.0/24", "2001:db8::/32"], "retryAfter": "90s"}
    here.serve(
        *team("a", ips[0], {HOST: {"maintenance": value}}, "/a", "/.well-known/acme-challenge"),
        pod("a", "web-1", ips[1], [entry("/shut", access={"allow": ["oops"]})], DECLARED),
        unready(pod("a", "web-2", ips[2], [entry("/late")], DECLARED)),
        secret("a", api_key="key"),
    )
    for uri in ("/a", "/a/x", "/shut", "/late", "/nobody"):
        answer = here.ask(HOST, uri, X_Forwarded_For="1.2.3.4")
        assert (answer.status, answer.headers["retry-after"]) == (503, "90"), uri
    mine = {"X_Forwarded_For": "203.0.113.7", "X_ROUTING_API_KEY": "a2V5"}
    assert [plainly(here, HOST, uri, **mine) for uri in ("/a", "/a/x", "/shut", "/late", "/nobody")] == [
        200, 200, 403, 503, 404,
    ]  # fmt: skip
    assert "retry-after" not in here.ask(HOST, "/nobody", **mine).headers
    assert plainly(here, HOST, "/a", X_Forwarded_For="2001:db8::1") == 403
    assert plainly(here, HOST, "/a", X_Forwarded_For="203.0.113.7, 1.2.3.4") == 503
    assert plainly(here, HOST, f"{ACME}/x", X_Forwarded_For="1.2.3.4") == 200
    refused = here.ask(HOST, "//x", X_Forwarded_For="1.2.3.4")
    assert (refused.status, "retry-after" in refused.headers) == (400, False)


@pytest.mark.parametrize("endpoints", ["reload", "lua"])
def test_maintenance_without_a_ready_pod(
    router: Start, ips: list[str], endpoints: str, request: pytest.FixtureRequest
) -> None:
    """A challenge that a host in maintenance lets in, and for which no Pod is ready, is told once when to try again."""
    if endpoints == "lua":
        request.getfixturevalue("has_lua")
    here = router(ENDPOINTS=endpoints)
    host, only = team("a", ips[0], {HOST: {"maintenance": {"retryAfter": "1m"}}}, ACME)
    here.serve(host, unready(only))
    answer = here.ask(HOST, f"{ACME}/x")
    assert (answer.status, len(answer.find("retry-after"))) == (503, 1)


def test_maintenance_comes_before_redirect(router: Start, ips: list[str], authority: Authority) -> None:
    """A host in maintenance redirects nobody but those that are exempt; the plain port leads to https first."""
    here = router(**TRUSTED)
    options = {"maintenance": {"allow": ["203.0.113.0/24"]}, "redirect": {"hostname": "x.dev"}}
    here.serve(*team("a", ips[0], {HOST: options, SECURE: tls() | {"maintenance": True}}, "/"),
               secret("a", **pems(authority)))  # fmt: skip
    assert [plainly(here, HOST, "/", X_Forwarded_For=one) for one in ("203.0.113.7", "1.2.3.4")] == [302, 503]
    assert (plainly(here, SECURE), securely(here, SECURE)) == (308, 503)


def test_too_many_ranges_of_maintenance(router: Start, ips: list[str]) -> None:
    """Ranges of hosts and of paths are one share of a Namespace; equal ones of hosts count once."""
    here = router(MAX_RANGES_PER_NAMESPACE="21")  # a list counts for nine more
    two, other = {"allow": ["127.0.0.1", "10.0.0.0/8"]}, {"allow": ["127.0.0.1", "10.0.0.0/9"]}
    hosts = {"a.dev": {"maintenance": two}, "b.dev": {"maintenance": two}, "c.dev": {"maintenance": other}, HOST: {}}
    paths = [entry("/"), entry("/one", access={"allow": ["127.0.0.1"]}), entry("/two", access={"deny": ["::1"]})]
    here.serve(namespace("a", hosts), pod("a", "web-0", ips[0], paths, DECLARED))
    assert [plainly(here, host) for host in ("a.dev", "b.dev", "c.dev", HOST)] == [200, 200, 503, 200]
    assert [plainly(here, HOST, uri) for uri in ("/one", "/two")] == [200, 403]
    assert "host c.dev maintenance.allow is beyond the Namespace's share: nobody is exempt" in told(here)


def test_too_many_lists_of_maintenance(router: Start, ips: list[str]) -> None:
    """Each list of ranges is a variable of nginx, of which a Namespace has 150."""
    here = router(MAX_RANGES_PER_NAMESPACE="5000")
    hosts = {
        f"h{number:03}.dev": {"maintenance": {"allow": [f"127.0.0.{number}", "127.0.0.1"]}} for number in range(151)
    }
    here.serve(*team("a", ips[0], hosts, "/"))
    assert [plainly(here, host) for host in ("h000.dev", "h149.dev", "h150.dev")] == [200, 200, 503]
    expected = "nobody is exempt; expected: fewer different origins, ranges or cookies"
    assert f"host h150.dev maintenance.allow is beyond the Namespace's share: {expected}" in told(here)


# keepPaths


def test_kept_paths(router: Start, ips: list[str]) -> None:
    """A kept path answers 503 while no Pod names it, and belongs to its Namespace; one with Pods is served."""
    here = router()
    kept = {"keepPaths": ["/a", "=/b", "/caf%C3%A9/", "/a"]}
    owner = namespace("a", {HOST: kept | {"sharedWith": ["b"]}, "other.dev": {}})
    guest = team("b", ips[1], {HOST: {}}, "/", "/a/b", "=/b", created=LATER)
    here.serve(owner, *guest)
    for uri in ("/a", "/a/", "/a/x", "/b", "/caf%C3%A9/x"):
        answer = here.ask(HOST, uri)
        assert (answer.status, answer.headers["retry-after"]) == (503, "5"), uri
    assert [plainly(here, HOST, uri) for uri in ("/a/b", "/b/", "/")] == [200, 200, 200]
    assert plainly(here, "other.dev", "/a") == 404
    assert "path '=/b' is taken by Namespace a, which is older" in told(here)
    here.serve(owner, *guest, pod("a", "web-0", ips[0], [entry("/a")], DECLARED))
    assert here.ask(HOST, "/a/x").told["pod"].startswith(ips[0])
    assert plainly(here, HOST, "/b") == 503


def test_kept_paths_of_a_guest(router: Start, ips: list[str], authority: Authority) -> None:
    """A guest keeps paths of its own, never the owner's nor those for challenges; its other options do not count."""
    here = router()
    asked = {"keepPaths": ["/b", "/a", ACME], "maintenance": True, "http": "close", "hsts": {"maxAge": "1h"}}
    here.serve(
        *team("a", ips[0], {SECURE: tls() | {"sharedWith": ["b"]}}, "/a"),
        secret("a", **pems(authority)),
        namespace("b", {SECURE: asked | {"redirect": {"hostname": "evil.dev"}}}, LATER),
        secret("b", api_key="key"),
    )
    assert [securely(here, SECURE, uri) for uri in ("/a", "/b", "/c", f"{ACME}/x")] == [200, 403, 404, 404]
    assert plainly(here, SECURE, "/b") == 308
    assert HSTS not in here.ask_tls(SECURE, "/a").headers
    for option in ("maintenance", "http", "hsts", "redirect"):
        assert f"Namespace b: host {SECURE} {option} has its options from Namespace a, which is older" in told(here)
    assert "keepPaths has" not in told(here)


def test_stranger_keeps_nothing(router: Start, ips: list[str]) -> None:
    """A Namespace that may not add paths keeps none either."""
    here = router()
    here.serve(*team("a", ips[0], {HOST: {}}, "/a"), namespace("b", {HOST: {"keepPaths": ["/b"]}}, LATER))
    assert plainly(here, HOST, "/b") == 404


@pytest.mark.parametrize(
    ("value", "problem"),
    [
        (["a"], "keepPaths[0] is 'a'"),
        (["~^/a"], "keepPaths[0] is a regular expression"),
        (["/a", "/x/../y"], "keepPaths[1]"),
        ([7], "keepPaths[0] is a number"),
        ("/a", "keepPaths is a string"),
        ([], "keepPaths has 0 members"),
        ([f"/{number}" for number in range(101)], "keepPaths has 101 members"),
    ],
)
def test_bad_kept_paths(router: Start, ips: list[str], value: object, problem: str) -> None:
    """A bad keepPaths is left out and told."""
    here = router()
    here.serve(*team("a", ips[0], {HOST: {"keepPaths": value}}, "/p"))
    assert [plainly(here, HOST, uri) for uri in ("/p", "/a")] == [200, 404]
    assert problem in told(here)


def test_kept_paths_share_the_locations(router: Start, ips: list[str]) -> None:
    """Kept paths beyond a Namespace's share of locations are left out, those of the last hosts first."""
    here = router(MAX_LOCATIONS_PER_NAMESPACE="10")
    kept = {"keepPaths": ["/k", "/l"]}
    here.serve(*team("a", ips[0], {"a.dev": kept, "b.dev": kept}, "/p"))
    asked = [(host, uri) for host in ("a.dev", "b.dev") for uri in ("/p", "/k", "/l")]
    assert [plainly(here, *one) for one in asked] == [200, 503, 503, 200, 503, 404]
    assert "keepPaths are more than there is room for: 1 are left out" in told(here)


# hsts


def test_hsts(router: Start, ips: list[str], authority: Authority) -> None:
    """Every answer over https has the header once, whatever Pods say, and none over http has it."""
    here = router()
    value = {"maxAge": "17520h", "includeSubDomains": True, "preload": True}
    paths = [entry("/"), entry("/shut", access={"allow": ["oops"]})]
    here.serve(
        namespace("a", {SECURE: tls() | {"hsts": value, "http": "serve"}}),
        pod("a", "web-0", ips[0], paths, DECLARED),
        unready(pod("a", "web-1", ips[1], [entry("/late")], DECLARED)),
        secret("a", **pems(authority)),
    )
    for uri, status in (("/", 200), ("/shut", 403), ("/late", 503), ("//x", 400)):
        answer = here.ask_tls(SECURE, uri)
        assert (answer.status, answer.headers[HSTS]) == (status, "max-age=63072000; includeSubDomains; preload")
        answer = here.ask(SECURE, uri)
        assert (answer.status, HSTS in answer.headers) == (status, False)
    assert "hsts" not in told(here)
    assert here.last
    assert b'"hsts":"17520h, includeSubDomains, preload"' in here.last.files["routes.jsonl"].content


BAD_HSTS: list[tuple[object, str]] = [
    ({"includeSubDomains": True}, "hsts.maxAge is missing"),
    ({"maxAge": "17521h"}, "hsts.maxAge is '17521h'"),
    ({"maxAge": 300}, "hsts.maxAge is a number"),
    ({"maxAge": "1h; x"}, "hsts.maxAge is"),
    ({"maxAge": "8760h", "preload": True}, "hsts.preload needs more"),
    ({"maxAge": "8759h", "includeSubDomains": True, "preload": True}, "hsts.preload needs more"),
    ({"maxAge": "1h", "includeSubDomains": "yes"}, "hsts.includeSubDomains is 'yes'"),
    ({"maxAge": "1h", "max-age": "1h"}, "hsts.'max-age' is an unknown key"),
    (True, "hsts is a boolean"),
]


@pytest.mark.parametrize(("value", "problem"), BAD_HSTS)
def test_bad_hsts(router: Start, ips: list[str], authority: Authority, value: object, problem: str) -> None:
    """A bad hsts is left out and told."""
    here = router()
    here.serve(*team("a", ips[0], {SECURE: tls() | {"hsts": value}}, "/"), secret("a", **pems(authority)))
    answer = here.ask_tls(SECURE, "/")
    assert (answer.status, HSTS in answer.headers) == (200, False)
    assert problem in told(here)


@pytest.mark.parametrize(
    ("mine", "other", "kept"),
    [
        (SECURE, "x.secure.dev", False),
        (SECURE, "*.x.secure.dev", False),
        (SECURE, "xsecure.dev", True),
        (SECURE, "dev", True),
        ("*.b.dev", "b.dev", True),
        ("*.b.dev", "x.y.b.dev", False),
    ],
)
def test_hsts_reaches_no_host_of_others(
    router: Start, ips: list[str], authority: Authority, mine: str, other: str, kept: bool
) -> None:
    """IncludeSubDomains falls away, with preload, where another Namespace has a host below; its own do not count."""
    here = router()
    value = {"maxAge": "8760h", "includeSubDomains": True, "preload": True}
    owner = team("a", ips[0], {mine: tls() | {"hsts": value, "sharedWith": ["b"]}, f"own.{SECURE}": {}}, "/")
    files = secret("a", **pems(authority, mine))
    here.serve(*owner, files, *team("b", ips[1], {other: {}}, "/", created=LATER))
    got = here.ask_tls(mine.replace("*", "q"), "/", context=here.trusting_all()).headers[HSTS]
    assert got == ("max-age=31536000; includeSubDomains; preload" if kept else "max-age=31536000")
    problem = f"host {mine} hsts.includeSubDomains is left out, with preload: another Namespace has {other}"
    assert (problem in told(here)) is not kept
    here.serve(*owner, files)
    assert "includeSubDomains" in here.ask_tls(mine.replace("*", "q"), "/", context=here.trusting_all()).headers[HSTS]


def test_hsts_and_websockets(router: Start, ips: list[str], authority: Authority) -> None:
    """A WebSocket's 101 keeps Upgrade, and has the host's header."""
    here = router(ACCESS_LOG="json")
    options = tls() | {"hsts": {"maxAge": "1h"}, "maintenance": {"allow": ["127.0.0.1"]}}
    here.serve(*team("a", ips[0], {SECURE: options}, "/"), secret("a", **pems(authority)))

    # Without threads: the library's other client reads and writes at the same time, for which OpenSSL is not made.
    async def greet() -> Headers:
        raw = socket.create_connection(("127.0.0.1", here.ssl_port), timeout=20)
        async with asyncio.timeout(20), connect(f"wss://{SECURE}/ws", sock=raw, ssl=authority.trust()) as websocket:
            await websocket.send("hello")
            assert await websocket.recv() == f"{ips[0]}:{PORT} hello"
            assert websocket.response
            return websocket.response.headers

    seen = asyncio.run(greet())
    assert (seen["Upgrade"], seen[HSTS], seen.get_all("Retry-After")) == ("websocket", "max-age=3600", [])
    assert len(seen.get_all("X-Request-ID")) == 1


class Own(QuietHandler):
    """Answers with a header of its own."""

    def get(self) -> None:
        """Send it."""
        self.send_response(200)
        self.send_header("Strict-Transport-Security", "max-age=1")
        self.send_header("Content-Length", "0")
        self.end_headers()


def test_hsts_hides_the_pod_s_own(router: Start, authority: Authority) -> None:
    """A Pod's own header is hidden where the host has one."""
    here = router()
    with run_pod(1, Own) as (ip, port):
        paths = [{"basePath": "/", "containerPort": port}]
        declared = [{"containerPort": port}]
        for options, seen in (({"hsts": {"maxAge": "1h"}}, "max-age=3600"), ({}, "max-age=1")):
            here.serve(
                namespace("a", {SECURE: tls() | options}), pod("a", "w", ip, paths, declared),
                secret("a", **pems(authority)),
            )  # fmt: skip
            assert here.ask_tls(SECURE, "/").headers[HSTS] == seen
