"""Requests to an API server: which certificates they trust, what they send, and that they end."""

import socket
from contextlib import contextmanager
from pathlib import Path

import msgspec
import pykube
import pytest
import requests
import yaml
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    PrivateFormat,
    load_pem_private_key,
)
from support.authority import Authority
from support.wire import OK, Wire, serve_tls, tunnel

from reconciler import __version__
from reconciler.cluster.connection import Connection
from reconciler.cluster.credentials import CredentialsError, find_credentials


@pytest.fixture(scope="session")
def other(tmp_path_factory) -> Authority:
    """Make an authority that no connection trusts by default."""
    return Authority(tmp_path_factory.mktemp("other"), "Others")


@pytest.fixture
def connect(tmp_path, authority):
    """Make connections from a kubeconfig in a file; they are closed when the test ends."""
    opened = []
    (tmp_path / "ca.crt").write_bytes(authority.pem)

    def connect(server, user=None, **cluster):
        cluster = {"server": server, "certificate-authority": "ca.crt", **cluster}
        config = {
            "clusters": [{"name": "c", "cluster": {key: value for key, value in cluster.items() if value is not None}}],
            "users": [{"name": "u", "user": user or {"token": "secret"}}],
            "contexts": [{"name": "x", "context": {"cluster": "c", "user": "u"}}],
            "current-context": "x",
        }
        (tmp_path / "config").write_text(yaml.safe_dump(config))
        found = find_credentials({"KUBECONFIG": str(tmp_path / "config")})
        assert found
        opened.append(Connection(found))
        return opened[-1]

    yield connect
    for connection in opened:
        connection.close()


def get(connection):
    return connection.api.get(url="pods")


def headers(head):
    return [line for line in head.split("\r\n")[1:] if line and not line.startswith(("Host:", "Connection:"))]


def test_what_a_request_says(connect, authority, tmp_path):
    """A request sends its token, its user agent and what it accepts, and nothing from the environment."""
    with Wire(tls=serve_tls(authority, tmp_path)) as server:
        assert get(connect(server.url)).json() == {}
    (head,) = server.heads
    assert head.startswith("GET /api/v1/pods HTTP/1.1\r\n")
    assert sorted(headers(head)) == [
        "Accept-Encoding: identity",
        "Accept: application/json",
        "Authorization: Bearer secret",
        f"User-Agent: dispatcher/{__version__}",
    ]


def test_pykube_lists(connect, authority, tmp_path):
    """Queries of pykube are sent over the connection, with their selectors."""
    body = b'{"kind":"PodList","apiVersion":"v1","metadata":{},"items":[]}'
    answer = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body)
    with Wire(answer, tls=serve_tls(authority, tmp_path)) as server:
        query = pykube.Pod.objects(connect(server.url).api, namespace=pykube.all).filter(selector="a=b")
        assert query.execute(params={"limit": "5"}).json()["items"] == []
    assert server.heads[0].startswith("GET /api/v1/pods?labelSelector=a%3Db&limit=5 HTTP/1.1\r\n")


def test_the_environment_has_no_say(connect, authority, tmp_path, monkeypatch):
    """Proxies, .netrc and certificate bundles from the environment do not change a request."""
    for name in ("HTTPS_PROXY", "HTTP_PROXY", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    (tmp_path / "netrc").write_text("machine 127.0.0.1 login a password b\n")
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    for name in ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "PYKUBE_SSL_CERTIFICATE_AUTHORITY"):
        monkeypatch.setenv(name, "/nonexistent")
    with Wire(tls=serve_tls(authority, tmp_path)) as server:
        assert get(connect(server.url)).ok
    assert "Authorization: Bearer secret" in headers(server.heads[0])


def test_a_certificate_of_another_authority_is_refused(connect, other, tmp_path, monkeypatch):
    """A server with a certificate of another authority is refused, even if the environment names that authority."""
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(tmp_path / "other.crt"))
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "other.crt"))
    (tmp_path / "other.crt").write_bytes(other.pem)
    with Wire(tls=serve_tls(other, tmp_path)) as server:
        for cluster in ({}, {"certificate-authority": None}):
            with pytest.raises(requests.exceptions.SSLError, match="certificate verify failed"):
                get(connect(server.url, **cluster))
    assert server.heads == []


def test_requests_own_bundle_is_not_added(connect, authority, tmp_path):
    """Only the cluster's authority is trusted, also after a request: no bundle of `requests` is added."""
    with Wire(tls=serve_tls(authority, tmp_path)) as server:
        connection = connect(server.url)
        assert get(connection).ok
    options = connection.api.session.get_adapter("https://").poolmanager.connection_pool_kw
    assert len(options["ssl_context"].get_ca_certs()) == 1


def test_another_name_is_refused(connect, authority, tmp_path):
    """A certificate for another name is refused, unless tls-server-name is that name."""
    with Wire(tls=serve_tls(authority, tmp_path, "kubernetes.test")) as server:
        with pytest.raises(requests.exceptions.SSLError, match="IP address mismatch"):
            get(connect(server.url))
        assert get(connect(server.url, **{"tls-server-name": "kubernetes.test"})).ok
        with pytest.raises(requests.exceptions.SSLError, match="Hostname mismatch"):
            get(connect(server.url, **{"tls-server-name": "other.test"}))


def test_insecure(connect, other, tmp_path):
    """With insecure-skip-tls-verify, any certificate is accepted, without a warning at each request."""
    with Wire(tls=serve_tls(other, tmp_path, "x.test")) as server:
        assert get(connect(server.url, **{"certificate-authority": None, "insecure-skip-tls-verify": True})).ok


def test_old_tls_is_refused(connect):
    """TLS 1.1 is not used."""
    context = connect("https://127.0.0.1:9").api.session.get_adapter("https://").poolmanager.connection_pool_kw
    assert context["ssl_context"].minimum_version.name == "TLSv1_2"


def test_client_certificate(connect, authority, tmp_path, monkeypatch):
    """A client certificate is sent, and its key is in no other file than its own."""
    (tmp_path / "temporary").mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "temporary"))
    certificate, key = authority.issue("somebody")
    (tmp_path / "me.crt").write_bytes(certificate)
    (tmp_path / "me.key").write_bytes(key)
    user = {"client-certificate": "me.crt", "client-key": "me.key"}
    with Wire(tls=serve_tls(authority, tmp_path, clients=authority)) as server:
        with pytest.raises(requests.RequestException):
            get(connect(server.url))
        assert get(connect(server.url, user)).ok
    assert not any("Authorization" in head for head in server.heads)
    assert not list((tmp_path / "temporary").iterdir())


@pytest.mark.parametrize(
    ("user", "cluster", "told"),
    [
        ({"client-certificate": "ca.crt", "client-key": "garbage"}, {}, "client-key {0}/garbage: is not a PEM of"),
        ({"client-certificate": "ca.crt", "client-key": "strange"}, {}, "client-key {0}/strange: is not a PEM of"),
        ({"client-certificate": "ca.crt", "client-key": "locked"}, {}, "client-key {0}/locked: is not a PEM of"),
        ({}, {"certificate-authority": "garbage"}, "certificate-authority {0}/garbage: is not a PEM of certificates"),
        ({}, {"certificate-authority": "empty"}, "certificate-authority {0}/empty: is not a PEM of certificates"),
    ],
)
def test_unusable_certificates(connect, authority, tmp_path, user, cluster, told):
    """An unusable certificate or key is reported with its entry and file, and OpenSSL requests no passphrase."""
    key = authority.issue("x")[1]
    locked = load_pem_private_key(key, None).private_bytes(
        Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"passphrase")
    )
    for name, content in {"garbage": b"x", "empty": b"", "strange": key, "locked": locked}.items():
        (tmp_path / name).write_bytes(content)
    with pytest.raises(CredentialsError) as caught:
        connect("https://127.0.0.1:9", {"token": "t", **user}, **cluster)
    assert told.format(tmp_path) in str(caught.value)


def test_impersonation(connect, authority, tmp_path):
    """Each impersonated group has its own header."""
    user = {
        "token": "t",
        "as": "system:serviceaccount:a:b",
        "as-uid": "7",
        "as-groups": ["one", "two"],
        "as-user-extra": {"a/b": ["x", "y"]},
    }
    with Wire(tls=serve_tls(authority, tmp_path)) as server:
        assert get(connect(server.url, user)).ok
    assert [line for line in headers(server.heads[0]) if line.startswith("Impersonate")] == [
        "Impersonate-User: system:serviceaccount:a:b",
        "Impersonate-Uid: 7",
        "Impersonate-Group: one",
        "Impersonate-Group: two",
        "Impersonate-Extra-a%2Fb: x",
        "Impersonate-Extra-a%2Fb: y",
    ]


def test_redirects_are_failures(connect, authority, tmp_path):
    """A redirect is not followed, so that no other server sees the token."""
    with Wire(tls=serve_tls(authority, tmp_path)) as elsewhere:
        answer = f"HTTP/1.1 302 Found\r\nLocation: {elsewhere.url}/\r\nContent-Length: 0\r\n\r\n".encode()
        server = Wire(answer, tls=serve_tls(authority, tmp_path))
        with server, pytest.raises(requests.TooManyRedirects, match="302"):
            get(connect(server.url))
    assert (len(server.heads), elsewhere.heads) == (1, [])


def test_no_retries(connect, authority, tmp_path):
    """If the server closes the connection instead of answering, the request is not sent again."""
    server = Wire(lambda _, connection: connection.close(), tls=serve_tls(authority, tmp_path))
    with server, pytest.raises(requests.ConnectionError):
        get(connect(server.url))
    assert len(server.heads) == 1


@pytest.mark.parametrize("with_tls", [False, True])
def test_proxy(connect, authority, tmp_path, with_tls):
    """Requests go through a tunnel of the kubeconfig's proxy, and only the proxy gets its password."""
    tls = serve_tls(authority, tmp_path)
    with Wire(tls=tls) as server, Wire(tunnel(server.port), tls=tls if with_tls else None) as proxy:
        url = proxy.url.replace("//", "//me:pw@")
        connection = connect(server.url, **{"proxy-url": url})
        with connection.deadline(20):
            assert get(connection).ok
        connection.close()
    assert proxy.heads[0].startswith(f"CONNECT 127.0.0.1:{server.port} ")
    assert "Proxy-Authorization: Basic bWU6cHc=" in proxy.heads[0]
    assert "secret" not in proxy.heads[0]
    assert "Proxy-Authorization" not in server.heads[0]


def test_plain_http(connect):
    """A server without TLS, such as `kubectl proxy`, is reached too."""
    with Wire() as server:
        assert get(connect(server.url)).ok


def test_a_name_with_several_addresses(connect):
    """If the first address of a name refuses the connection, the next one is tried."""
    with Wire() as server:
        connection = connect(f"http://localhost:{server.port}")
        with connection.deadline(20):
            assert get(connection).ok


def drip(piece, start=b""):
    def answer(wire, connection):
        connection.sendall(start)
        while not wire.ended.wait(0.02):
            connection.sendall(piece)

    return answer


HEAD = b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n"
CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
NASTY = {
    "before the headers": lambda wire, _: wire.ended.wait(),
    "dripping the status": drip(b"H"),
    "dripping headers": drip(b"X", b"HTTP/1.1 200 OK\r\n"),
    "never ending 100 Continue": drip(b"HTTP/1.1 100 Continue\r\n\r\n"),
    "inside the body": drip(b"", HEAD + b"{"),
    "dripping the body": drip(b" ", HEAD),
    "dripping chunks": drip(b"1\r\n \r\n", CHUNKED),
    "dripping a chunk's length": drip(b"0", CHUNKED),
    "a body until it closes": drip(b" ", b"HTTP/1.1 200 OK\r\n\r\n"),
}


@pytest.mark.parametrize("tls", [True, False], ids=["tls", "plain"])
@pytest.mark.parametrize("answer", NASTY.values(), ids=NASTY)
def test_a_server_that_hangs(connect, authority, tmp_path, answer, tls):
    """The deadline ends a request that a server holds back or drips, and the next request is answered."""
    with Wire(answer, tls=serve_tls(authority, tmp_path) if tls else None) as server:
        connection = connect(server.url)
        with pytest.raises(TimeoutError, match=r"no complete answer in 0\.3 seconds"), connection.deadline(0.3):
            get(connection)
        server.answer = OK
        with connection.deadline(20):
            assert get(connection).ok


def test_a_server_that_does_not_shake_hands(connect, authority, tmp_path):
    """The deadline ends the wait for a TLS handshake."""
    with Wire(tls=serve_tls(authority, tmp_path), handshake=False) as server:
        connection = connect(server.url)
        with pytest.raises(TimeoutError), connection.deadline(0.3):
            get(connection)


@contextmanager
def black_hole():
    """Listen with a full queue, so that the kernel drops new connections; give the port."""
    with socket.socket() as listener, socket.socket() as one, socket.socket() as two, socket.socket() as three:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        for each in (one, two, three):
            each.setblocking(False)
            each.connect_ex(listener.getsockname())
        yield listener.getsockname()[1]


def test_a_server_that_does_not_connect(connect):
    """The deadline ends the wait for a TCP connection."""
    with black_hole() as port:
        connection = connect(f"https://127.0.0.1:{port}")
        with pytest.raises(TimeoutError), connection.deadline(0.3):
            get(connection)


@pytest.mark.parametrize("with_tls", [False, True])
def test_a_proxy_that_hangs(connect, authority, tmp_path, with_tls):
    """The deadline ends a request if the proxy drips its answer, or if a server behind a proxy does."""
    tls = serve_tls(authority, tmp_path)
    with Wire(drip(b"X", b"HTTP/1.1 200 OK\r\n"), tls=tls if with_tls else None) as proxy:
        connection = connect("https://127.0.0.1:9", **{"proxy-url": proxy.url})
        with pytest.raises(TimeoutError), connection.deadline(0.3):
            get(connection)
    with Wire(drip(b" ", HEAD), tls=tls) as server, Wire(tunnel(server.port), tls=tls if with_tls else None) as proxy:
        connection = connect(server.url, **{"proxy-url": proxy.url})
        with pytest.raises(TimeoutError), connection.deadline(0.5):
            get(connection)
    assert proxy.heads


def test_all_requests_share_a_deadline(connect, authority, tmp_path):
    """A deadline is for all requests together, even if each one is fast enough."""
    with Wire(tls=serve_tls(authority, tmp_path)) as server:
        connection = connect(server.url)
        with pytest.raises(TimeoutError), connection.deadline(0.3):
            while True:
                get(connection)
    assert len(server.heads) > 1
    assert server.connections == 1


def test_other_errors_stay_what_they_are(connect):
    """An error before the deadline is not a TimeoutError, and an inner deadline does not extend the outer one."""
    connection = connect("https://127.0.0.1:9")
    with pytest.raises(requests.ConnectionError, match=r"no connection: .*refused"), connection.deadline(20):
        get(connection)
    with black_hole() as port:
        connection = connect(f"https://127.0.0.1:{port}")
        with pytest.raises(TimeoutError), connection.deadline(0.3), connection.deadline(20):
            get(connection)


def test_connections_are_kept_and_none_is_left(connect, authority, tmp_path):
    """Thousands of requests share one connection; neither they nor failed ones leave a file descriptor open."""

    def opened():
        return len(list(Path("/proc/self/fd").iterdir()))

    tls = serve_tls(authority, tmp_path)
    with Wire(tls=tls) as server:
        connection = connect(server.url)
        get(connection)
        before = opened()
        for _ in range(2000):
            get(connection)
        assert (opened(), server.connections) == (before, 1)
    connection.close()
    with Wire(drip(b" ", HEAD), tls=tls) as server:
        before = opened()
        connection = connect(server.url)
        for _ in range(20):
            with pytest.raises(TimeoutError), connection.deadline(0.05):
                get(connection)
        connection.close()
    assert opened() <= before


def test_renew(connect, authority, tmp_path):
    """The next request sends a new token on the same connection; a client certificate needs a new connection."""
    (tmp_path / "token").write_text("one\n")
    with Wire(tls=serve_tls(authority, tmp_path)) as server:
        connection = connect(server.url, {"tokenFile": "token"})
        get(connection)
        assert connection.renew() is False
        (tmp_path / "token").write_text("two")
        assert connection.renew() is True
        get(connection)
        assert server.connections == 1
        certificate, key = authority.issue("me")
        (tmp_path / "pair").write_bytes(certificate + key)
        change(tmp_path / "config", {"client-certificate": "pair", "client-key": "pair"})
        assert connection.renew() is False
        assert connection.renew(refused=True) is True
        get(connection)
        assert server.connections == 2
    tokens = [line for head in server.heads for line in headers(head) if line.startswith("Authorization")]
    assert tokens == ["Authorization: Bearer one", "Authorization: Bearer two"]


def change(path, user):
    config = yaml.safe_load(path.read_text())
    config["users"][0]["user"] = user
    path.write_text(yaml.safe_dump(config))


def test_a_new_authority(connect, authority, other, tmp_path):
    """A server with a new authority is refused until the CA file is renewed; a malformed file is an error each time."""
    with Wire(tls=serve_tls(other, tmp_path)) as server:
        connection = connect(server.url)
        with pytest.raises(requests.exceptions.SSLError):
            get(connection)
        for _ in range(2):
            (tmp_path / "ca.crt").write_bytes(b"half a certificate")
            with pytest.raises(CredentialsError, match="is not a PEM"):
                connection.renew()
        (tmp_path / "ca.crt").write_bytes(other.pem)
        assert connection.renew() is True
        assert get(connection).ok


def test_nothing_shows_a_secret(connect, authority):
    """Neither the repr of connection and credentials nor an error shows a token or a password."""
    connection = connect("https://127.0.0.1:9", {"token": "hunter2"}, **{"proxy-url": "http://a:hunter2@127.0.0.1:9"})
    access = connection._access
    shown = [repr(connection), repr(access), repr(connection._credentials), repr(connection._credentials._context)]
    assert not any("hunter2" in text for text in shown)
    assert "hunter2" in str(msgspec.structs.asdict(access))
    with pytest.raises(requests.ConnectionError) as caught:
        get(connection)
    assert "hunter2" not in str(caught.value)
