"""Reading a live cluster: no change is missed, and every fault is an error of one line and not a crash."""

import json
import re
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import yaml
from support.answers import JSON, Answer
from support.apiserver import TOKEN, USER, ApiServer
from support.authority import Authority
from support.faults import INTERNAL_ERROR, answer_with
from support.objects import FIXTURES, namespace, pod, secret

from reconciler.cluster.collection import ClusterError
from reconciler.cluster.connection import Connection
from reconciler.cluster.credentials import find_credentials
from reconciler.cluster.source import ClusterSource
from reconciler.objects.listing import Secret
from reconciler.settings import read_settings

Read = Callable[..., ClusterSource]
_HEAD = b'{"kind":"PodList","apiVersion":"v1","metadata":{"resourceVersion":"5"},"items":['


@pytest.fixture
def server(authority: Authority) -> Iterator[ApiServer]:
    """Start a test API server with one Namespace and one Pod."""
    with ApiServer(authority) as running:
        running.load([namespace("a", {"a.dev": {}}), pod("a", "web", "127.9.9.9", [{"basePath": "/"}])])
        yield running


@pytest.fixture
def cluster(tmp_path: Path, authority: Authority) -> Iterator[Read]:
    """Make cluster sources from a server's URL; their connections are closed when the test ends."""
    opened: list[Connection] = []
    (tmp_path / "ca.crt").write_bytes(authority.pem)

    def start(url: str, **settings: str) -> ClusterSource:
        config = {
            "clusters": [{"name": "c", "cluster": {"server": url, "certificate-authority": "ca.crt"}}],
            "users": [{"name": "u", "user": {"token": TOKEN}}],
            "contexts": [{"name": "x", "context": {"cluster": "c", "user": "u"}}],
            "current-context": "x",
        }
        (tmp_path / "config").write_text(yaml.safe_dump(config))
        credentials = find_credentials({"KUBECONFIG": str(tmp_path / "config")})
        assert credentials
        opened.append(Connection(credentials))
        return ClusterSource(opened[-1], read_settings({"API_TIMEOUT": "5", **settings}))

    yield start
    for connection in opened:
        connection.close()


@contextmanager
def answering(answer: bytes) -> Iterator[str]:
    """Answer each request over plain HTTP with these bytes and close the connection; give the URL."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            while True:
                try:
                    connection, _ = listener.accept()
                except OSError:
                    return
                with connection:
                    connection.recv(65536)
                    connection.sendall(answer)

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        finally:
            listener.shutdown(socket.SHUT_RDWR)
            thread.join()


def test_change_around_a_failure(server: ApiServer, cluster: Read) -> None:
    """A change before or after a failed reading is seen by the next one, wherever new objects are in memory."""
    reader = cluster(server.url)
    for number in range(100):
        before = reader.read()
        server.put(namespace("a", {f"between{number}.dev": {}}))
        server.fail(INTERNAL_ERROR, "/api/v1/*pods")
        with pytest.raises(ClusterError):
            reader.read()
        server.mend()
        server.put(namespace("a", {f"after{number}.dev": {}}))
        assert reader.read() is not before


def test_version_of_a_list_in_one_namespace() -> None:
    """A List of one Namespace from an API server's cache has the version of all Pods, as a recorded one shows."""
    in_one, in_all = (
        json.loads((FIXTURES / "api-1.36" / f"{name}.http").read_text().split("\n\n")[2])
        for name in ("list-pods-rv0", "probe-unchanged")
    )
    newest = max(int(item["metadata"]["resourceVersion"]) for item in in_one["items"])
    assert int(in_one["metadata"]["resourceVersion"]) == int(in_all["metadata"]["resourceVersion"]) > newest


def test_questions_between_lists(server: ApiServer, cluster: Read) -> None:
    """Of a List in which one Pod changed only that one is decoded, whatever else was asked before."""
    server.load(
        [namespace("a", {"a.dev": {}}), *(pod("a", f"p-{n}", "127.9.9.9", [{"basePath": "/"}]) for n in range(50))]
    )
    reader = cluster(server.url)
    reader.read()
    (pods,) = reader._pods
    assert pods._protobuf_pages.decoded == 50
    for number in range(3):
        server.put(pod("a", "p-7", f"127.9.9.{number}", [{"basePath": "/"}]))
        reader.read()
        reader.read()
    assert pods._protobuf_pages.decoded == 50 + 3


def test_change_in_another_namespace(server: ApiServer, cluster: Read) -> None:
    """A change in any Namespace is seen, although the version of all Pods is requested in one Namespace alone."""
    server.load([namespace("a", {"a.dev": {}}), namespace("default", {})])
    reader = cluster(server.url)
    before = reader.read()
    assert reader.read() is before
    for number, home in enumerate(("a", "default", "a")):
        server.put(pod(home, f"new-{number}", "127.9.9.9", [{"basePath": f"/{number}"}]))
        after = reader.read()
        assert sum(len(one.pods) for one in after.namespaces) == number + 1


@pytest.mark.parametrize("resource", ["namespaces", "pods", "secrets"])
@pytest.mark.parametrize("watched", ["", "a"])
def test_forbidden(server: ApiServer, cluster: Read, resource: str, watched: str) -> None:
    """If a right is missing, the error names the rule that a ClusterRole needs."""
    server.permit(resource)
    with pytest.raises(ClusterError, match=rf'^list {resource}: 403 Forbidden: .*apiGroups: \[""\], resources: \['):
        cluster(server.url, WATCH_NAMESPACES=watched).read()


@pytest.mark.parametrize("watched", ["", "a"])
def test_a_namespace_loses_its_secret_when_it_is_deleted(server: ApiServer, cluster: Read, watched: str) -> None:
    """If a Secret is gone, its Namespace is read again: one that is being deleted must not seem to be in use."""
    home = namespace("a", {"a.dev": {}})
    server.load([home, secret("a", api_key="open")])
    reader = cluster(server.url, WATCH_NAMESPACES=watched)
    (one,) = reader.read().namespaces
    assert (one.terminating, one.secret is None) == (False, False)

    def delete() -> None:
        if server.store.present.collections["Secret"].objects:
            server.put({**home, "metadata": {**home["metadata"], "deletionTimestamp": "2026-11-22T18:07:00Z"}})
            server.delete("Secret", "a", "routing")

    (secrets,) = reader._secrets
    read_secrets = secrets.read

    def read_late(consistently: bool) -> tuple[Secret, ...]:
        delete()
        return read_secrets(consistently)

    secrets.read = read_late  # type: ignore[method-assign]
    (one,) = reader.read().namespaces
    assert (one.terminating, one.secret) == (True, None)


@pytest.mark.parametrize("watched", ["", "a,b"])
def test_all_missing_rights_at_once(server: ApiServer, cluster: Read, watched: str) -> None:
    """If several rights are missing, one error names all rules, and the whole account that needs them."""
    for resource in ("namespaces", "pods", "secrets"):
        server.permit(resource)
    with pytest.raises(ClusterError) as caught:
        cluster(server.url, WATCH_NAMESPACES=watched).read()
    told = str(caught.value)
    assert told.startswith("list namespaces, pods, secrets: 403 Forbidden: 'namespaces ")
    assert f'User "{USER}" cannot list resource' in told
    assert told.count("apiGroups") == told.count("resources: [") == (4 if watched else 3)
    assert "resources: [secrets], resourceNames: [routing], verbs: [list]}" in told


@pytest.mark.parametrize(
    "body",
    [
        _HEAD + b'{"metadata":1},nonsense]}',
        _HEAD + b'{"metadata":1},',
        _HEAD + b'{"metadata":1},{"metadata":{"name":"\xff\xfe"}}]}',
        _HEAD + b'{"metadata":1},{"metadata":{"name":"\\ud800"}}]}',
        b'{"other":' + 100_000 * b"[",
    ],
    ids=["nonsense", "cut", "not UTF-8", "half a character", "deep"],
)
def test_malformed_behind_what_is_left_out(server: ApiServer, cluster: Read, body: bytes) -> None:
    """Malformed JSON is a failure of the whole list, also after an object that is left out alone."""
    server.fail(answer_with(Answer(200, (body,), JSON)), "/api/v1/*pods")
    with pytest.raises(ClusterError, match=r"^list pods: the answer is (not JSON: '|nested too deeply)"):
        cluster(server.url).read()


@pytest.mark.parametrize(
    ("answer", "told"),
    [
        (b"HTTP/1.1 500 \x1b[31mred\x07\r\nContent-Length: 0\r\n\r\n", r"500 \x1b[31mred\x07"),
        (b"HTTP/1.1 500 " + 1000 * b"x" + b"\r\nContent-Length: 0\r\n\r\n", f"500 {57 * 'x'}..."),
        (b"HTTP/1.1 500 X\r\n\r\n" + 60_000 * b"[", "500 X"),
        (b"HTTP/1.1 403 X\r\nContent-Length: 2\r\n\r\n[]", "403 X; a ClusterRole needs the rule"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n-5\r\n", "'read length must be"),
    ],
    ids=["escapes", "long", "deep", "no Status", "negative chunk"],
)
def test_odd_answers(cluster: Read, answer: bytes, told: str) -> None:
    """An answer that no real API server gives is an error of one short line without control characters."""
    with answering(answer) as url, pytest.raises(ClusterError) as caught:
        cluster(url).read()
    assert re.match(r"list namespaces(, pods)?(, secrets)?: ", str(caught.value))
    assert told in str(caught.value)
    assert str(caught.value).isprintable()
