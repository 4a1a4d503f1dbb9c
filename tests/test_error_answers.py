"""Answers with an error status: who gives them and why. The pages docs/how-to/400-*.md to 504.md say the same."""

import socket
from collections.abc import Callable, Iterator
from contextlib import closing

import pytest
from support.authority import Authority
from support.handlers import QuietHandler, run_pod
from support.objects import namespace, pod, secret, tls, unready
from support.pods import DECLARED, HOST, entry
from support.ports import free_port, loopback, silent_address
from support.router import Answer, Router

Start = Callable[..., Router]
Address = tuple[str, int]


class Odd(QuietHandler):
    """Gives each kind of error that a Pod itself can give, and each answer that nginx cannot pass on."""

    def get(self) -> None:
        """Answer as the path says."""
        asked = self.path.strip("/")
        if asked.isdigit():
            self.answer(int(asked), b"the Pod says so")
        elif asked == "large-head":
            self.wfile.write(b"HTTP/1.1 200 OK\r\nX-Large: " + b"x" * 17_000 + b"\r\n\r\n")
            self.close_connection = True
        else:
            self.close_connection = True


@pytest.fixture
def odd() -> Iterator[Address]:
    """Run a Pod that answers oddly."""
    with run_pod(1, Odd) as where:
        yield where


@pytest.fixture
def silent() -> Iterator[Address]:
    """Give an address where connections are neither accepted nor refused."""
    with silent_address("10.244.9.7") as where:
        yield where


def serve(router: Start, where: Address, *, ready: bool = True, **settings: str) -> Router:
    """Serve `/` of a Pod on HOST, and nothing else."""
    here = router(**settings)
    one = pod("a", "web-0", where[0], [{"basePath": "/web", "containerPort": where[1]}], [{"containerPort": where[1]}])
    here.serve(namespace("a", {HOST: {}}), one if ready else unready(one))
    return here


def is_nginx_s(answer: Answer) -> bool:
    """Tell whether the body is nginx's own page, as the how-to pages describe it."""
    return b"<hr><center>nginx</center>" in answer.body


# The Pod's own errors are passed on


@pytest.mark.parametrize("status", [400, 403, 404, 421, 500, 502, 503, 504])
def test_pod_s_own_answer(router: Start, odd: Address, status: int) -> None:
    """An error status of a Pod reaches the client with the Pod's body, so the body tells who said it."""
    here = router()
    here.serve(
        namespace("a", {HOST: {}}),
        pod("a", "web-0", odd[0], [{"basePath": "/", "containerPort": odd[1]}], [{"containerPort": odd[1]}]),
    )
    answer = here.ask(HOST, f"/{status}")
    assert (answer.status, answer.body) == (status, b"the Pod says so")
    assert answer.headers["server"] == "nginx"


# nginx's


def test_404_is_a_path_that_nobody_has(router: Start, odd: Address) -> None:
    """On a known host a path that nobody has gets nginx's 404; an unknown host gets no answer at all."""
    here = serve(router, odd)
    for path in ("/", "/other", "/webs", "/WEB"):
        answer = here.ask(HOST, path)
        assert answer.status == 404
        assert is_nginx_s(answer)
    assert here.is_closed_on("unknown.test")


def test_404_can_be_another_status(router: Start, odd: Address) -> None:
    """DEFAULT_LOCATION_RETURN is what a path gets that nobody has."""
    assert serve(router, odd, DEFAULT_LOCATION_RETURN="418").ask(HOST, "/other").status == 418


def test_403_is_a_missing_key(router: Start, ips: list[str]) -> None:
    """Without its key, a request for a Namespace with an API key gets nginx's 403."""
    here = router()
    here.serve(
        namespace("a", {HOST: {}}), pod("a", "web-0", ips[0], [entry("/")], DECLARED), secret("a", api_key="secret")
    )
    for headers in ({}, {"X_ROUTING_API_KEY": "secret"}):  # the second one is not base64
        answer = here.ask(HOST, "/", **headers)
        assert answer.status == 403
        assert is_nginx_s(answer)
    assert here.ask(HOST, "/", X_ROUTING_API_KEY="c2VjcmV0").status == 200


def test_403_is_a_closed_path(router: Start, ips: list[str]) -> None:
    """With requireApiKey and without a key, a path gets nginx's 403 whatever the request has."""
    here = router()
    last = here.serve(
        namespace("a", {HOST: {"requireApiKey": True}}), pod("a", "web-0", ips[0], [entry("/")], DECLARED)
    )
    answer = here.ask(HOST, "/", X_ROUTING_API_KEY="c2VjcmV0")
    assert answer.status == 403
    assert is_nginx_s(answer)
    assert last.table.problems


@pytest.mark.parametrize("path", ["/web/../x", "/web/%2e%2e/x", "//web", "/web#part"])
def test_400_is_a_misleading_path(router: Start, odd: Address, path: str) -> None:
    """A path that a Pod could read differently gets nginx's 400."""
    answer = serve(router, odd).ask(HOST, path)
    assert answer.status == 400
    assert is_nginx_s(answer)


def test_400_is_a_head_that_is_too_large(router: Start, odd: Address) -> None:
    """A header above 8 KiB gets nginx's 400, a path above 8 KiB 414."""
    here = serve(router, odd)
    assert here.ask(HOST, "/web/404", Cookie="x" * 9000).status == 400
    assert here.ask(HOST, "/web/" + "x" * 9000).status == 414


def test_400_is_plain_http_on_the_port_for_tls(router: Start, odd: Address) -> None:
    """A plain request to the port for TLS gets nginx's 400, which says so."""
    here = serve(router, odd)
    with closing(socket.create_connection(("127.0.0.1", here.ssl_port), timeout=20)) as connection:
        connection.sendall(f"GET / HTTP/1.1\r\nHost: {HOST}\r\nConnection: close\r\n\r\n".encode())
        answer = b"".join(iter(lambda: connection.recv(65536), b""))
    assert answer.startswith(b"HTTP/1.1 400 ")
    assert b"plain HTTP request was sent to HTTPS port" in answer


def serve_verifying(router: Start, ip: str, authority: Authority) -> Router:
    here = router()
    (one, one_key), (two, two_key) = authority.issue("secure.dev"), authority.issue("other.dev")
    here.serve(
        namespace("a", {"secure.dev": tls(client="client.crt"), "other.dev": tls("other.crt", "other.key")}),
        pod("a", "web-0", ip, [entry("/")], DECLARED),
        secret("a", ssl_crt=one, ssl_key=one_key, client_crt=authority.pem, other_crt=two, other_key=two_key),
    )
    return here


def test_400_is_a_missing_client_certificate(router: Start, ips: list[str], authority: Authority) -> None:
    """A host that verifies clients answers a client without a certificate with nginx's 400, which says so."""
    answer = serve_verifying(router, ips[0], authority).ask_tls("secure.dev", "/")
    assert answer.status == 400
    assert b"No required SSL certificate was sent" in answer.body


def test_421_is_a_connection_for_another_host(router: Start, ips: list[str], authority: Authority) -> None:
    """A connection made for one host, and a request on it for a host that verifies clients, gets nginx's 421."""
    answer = serve_verifying(router, ips[0], authority).ask_tls("secure.dev", "/", sni="other.dev")
    assert answer.status == 421
    assert is_nginx_s(answer)


@pytest.mark.parametrize("path", ["/web/drop", "/web/large-head"])
def test_502_is_an_answer_that_is_none(router: Start, odd: Address, path: str) -> None:
    """A Pod that drops the request, or sends a head above 16 KiB, gives nginx's 502."""
    here = router()
    here.serve(
        namespace("a", {HOST: {}}),
        pod(
            "a", "web-0", odd[0], [{"basePath": "/web", "containerPort": odd[1], "targetPath": "/"}],
            [{"containerPort": odd[1]}],
        ),
    )  # fmt: skip
    answer = here.ask(HOST, path)
    assert answer.status == 502
    assert is_nginx_s(answer)


def test_502_is_a_port_where_nobody_listens(router: Start) -> None:
    """A Pod that is ready and does not listen on its port gives nginx's 502."""
    answer = serve(router, (loopback("10.244.9.8"), free_port())).ask(HOST, "/web")
    assert answer.status == 502
    assert is_nginx_s(answer)


def test_503_is_a_path_without_a_ready_pod(router: Start, odd: Address) -> None:
    """A path whose Pods are not ready gets nginx's 503, with Retry-After."""
    answer = serve(router, odd, ready=False).ask(HOST, "/web")
    assert (answer.status, answer.headers["retry-after"]) == (503, "5")
    assert is_nginx_s(answer)


def test_504_is_an_address_without_an_answer(router: Start, silent: Address) -> None:
    """A Pod's address that takes no connection, as on a dead node, gives nginx's 504."""
    answer = serve(router, silent).ask(HOST, "/web")
    assert answer.status == 504
    assert is_nginx_s(answer)


def test_413_is_a_body_above_the_limit(router: Start, odd: Address) -> None:
    """A body above NGINX_MAX_CLIENT_BODY_SIZE gets nginx's 413."""
    here = serve(router, odd, NGINX_MAX_CLIENT_BODY_SIZE="10")
    answer = here.ask(HOST, "/web", method="POST", body=b"more than ten bytes")
    assert answer.status == 413
    assert is_nginx_s(answer)
