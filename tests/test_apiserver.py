"""The test API server answers exactly as the recorded one, headers included, and fails on command."""

import gzip
import http.client
import json
import re
import socket
import ssl
from concurrent.futures import ThreadPoolExecutor

import pytest
from support import faults, objects
from support.apiserver import TOKEN, USER, ApiServer
from support.authority import Authority
from support.replay import Recording, find_recordings

RECORDINGS = find_recordings("api")
HELD = {"Namespace": "list-namespaces", "Pod": "list-pods-all", "Secret": "list-secrets-by-name"}
SEQUENCE = ("event-about-a-namespace", "event-create", "event-patch")  # in this order: each has the next version
TOKENS = {"forbidden": "another", "unauthorized": "wrong"}
PROBE = "?resourceVersion=0&fieldSelector=metadata.name%3Dno-such-pod"
POD = objects.pod("a", "p", "10.0.0.1", [], labels={"app": "x"})


def read_recording(name):
    return Recording(RECORDINGS[name], TOKENS.get(name, TOKEN))


def recorded_objects():
    lists = {kind: json.loads(read_recording(name).body)["items"] for kind, name in HELD.items()}
    return [{"kind": kind, "apiVersion": "v1", **item} for kind, items in lists.items() for item in items]


@pytest.fixture
def server(authority):
    """Start a server with the objects of the recorded one."""
    with ApiServer(authority) as running:
        running.load(recorded_objects(), 511)
        running.tokens["another"] = "other"
        yield running


@pytest.fixture
def connect(server, authority):
    """Open connections to the server; they are closed when the test ends."""
    opened = []

    def open_connection(client=None, timeout=30):
        context = authority.trust(client)
        opened.append(http.client.HTTPSConnection("127.0.0.1", server.port, context=context, timeout=timeout))
        return opened[-1]

    yield open_connection
    for each in opened:
        each.close()


@pytest.fixture
def ask(connect):
    """Send a GET request over a new connection; give the response and its decoded body."""

    def get(target="/api/v1/pods", token=TOKEN, client=None, **headers):
        connection = connect(client)
        connection.request("GET", target, headers=({"Authorization": f"Bearer {token}"} if token else {}) | headers)
        response = connection.getresponse()
        body = response.read()
        if response.headers["Content-Encoding"] == "gzip":
            body = gzip.decompress(body)
        is_json = response.headers["Content-Type"] == "application/json"
        return response, json.loads(body) if is_json else body.decode()

    return get


@pytest.fixture
def ask_aside(ask):
    """Send the request in another thread."""
    with ThreadPoolExecutor() as pool:
        yield lambda *arguments: pool.submit(ask, *arguments)


def names(answer):
    return [item["metadata"]["name"] for item in answer["items"]]


def without_generated(body):
    """Mask what Kubernetes generates for an Event: the end of its name, its uid, the times."""
    body = re.sub(r'"(uid|creationTimestamp|time)":"[^"]*"', r'"\1":"…"', body)
    return re.sub(r"\bx\.\w{5}\b", "x.…", body)


def in_order(body):
    """Give a body's length and its sorted items: a cache answers in no fixed order."""
    told = json.loads(body)
    told["items"].sort(key=lambda item: (item["metadata"].get("namespace"), item["metadata"]["name"]))
    return len(body), json.dumps(told)


def assert_same(recording, response, body, view=str):
    assert (response.version, f"{response.status} {response.reason}") == (11, recording.status)
    dated = [(name, "…" if name == "Date" else value) for name, value in response.getheaders()]
    assert dated == [(name, "…" if name == "Date" else value) for name, value in recording.answered]
    assert view(body) == view(recording.body)


VIEWS = {
    "list-pods-rv0": in_order,
    "list-pods-metadata-only": in_order,
    "event-about-a-namespace-in-the-wrong-place": without_generated,
}


def outlive(server):
    server.put(POD)
    server.compact()


def hold_event(server):
    server.put({"kind": "Event", "apiVersion": "v1", "metadata": {"name": "web.17a", "namespace": "test-namespace"}})


BEFORE = {
    "event-create-again": hold_event,
    "event-create-forbidden": lambda server: server.permit("events"),
    "continue-expired": outlive,
    "too-many-requests": lambda server: server.fail(faults.too_many_requests(), "*/secrets", 1),
}


@pytest.mark.parametrize("name", sorted(set(RECORDINGS) - set(SEQUENCE)))
def test_recorded(server, connect, name):
    """Status line, headers and body equal the recorded ones, except dates, generated values and a cache's order."""
    recording = read_recording(name)
    BEFORE.get(name, lambda _: None)(server)
    assert_same(recording, *recording.send(connect()), VIEWS.get(name, str))


def test_recorded_events(server, connect):
    """Events are created and patched as recorded, and each request raises the cluster's version."""
    body = ""
    for recording in map(read_recording, SEQUENCE):
        if recording.method == "PATCH":
            recording.target = recording.target.replace("x.xthg6", json.loads(body)["metadata"]["name"])
        response, body = recording.send(connect())
        assert_same(recording, response, body, without_generated)


def test_one_object(ask):
    """An object that is read by name equals the item of the list, plus kind and apiVersion."""
    one, two = ask("/api/v1/namespaces/secure/pods")[1]["items"]
    response, told = ask("/api/v1/namespaces/secure/pods/web-57bd5989f8-dqgdx")
    assert (response.status, told) == (200, {"kind": "Pod", "apiVersion": "v1", **one})
    assert ask("/api/v1/namespaces/secure")[1]["kind"] == "Namespace"
    assert two["metadata"]["name"] == "web-57bd5989f8-hsjhc"


def test_changes_move_versions(server, ask):
    """A change raises the version of the cluster and of the object; in the cache, only the version of its kind."""
    server.put(POD)
    assert ask(f"/api/v1/pods{PROBE}")[1]["metadata"] == {"resourceVersion": "512"}
    assert ask(f"/api/v1/namespaces{PROBE}")[1]["metadata"] == {"resourceVersion": "511"}
    assert ask("/api/v1/namespaces")[1]["metadata"] == {"resourceVersion": "512"}
    told = ask("/api/v1/namespaces/a/pods/p")[1]
    assert told["metadata"]["resourceVersion"] == "512"
    server.delete("Pod", "a", "p")
    assert ask("/api/v1/namespaces/a/pods/p")[0].status == 404
    assert ask("/api/v1/namespaces/a/pods")[1] == {
        "kind": "PodList", "apiVersion": "v1", "metadata": {"resourceVersion": "513"}, "items": [],
    }  # fmt: skip


@pytest.mark.parametrize(
    ("query", "found"),
    [
        (
            "pods?labelSelector=github.com/30x.dispatcher.app.rev+in+(1)&fieldSelector=metadata.namespace%3Dst-a",
            ["web-0"],
        ),
        ("pods?fieldSelector=metadata.name%3D%3Dweb-0,metadata.namespace!%3Dst-a", ["web-0"]),
        ("pods?fieldSelector=status.phase!%3DRunning", []),
        ("namespaces?fieldSelector=status.phase%3DActive,metadata.name%3Dv6", ["v6"]),
        ("namespaces/secure/secrets?fieldSelector=metadata.name%3Drouting,type%3DOpaque", ["routing"]),
        ("namespaces?labelSelector=!github.com/30x.dispatcher.routable", []),
    ],
)
def test_selectors(ask, query, found):
    """Only objects that match both the label and the field selector are listed."""
    assert names(ask(f"/api/v1/{query}")[1]) == found


@pytest.mark.parametrize(
    ("query", "status", "message"),
    [
        ("fieldSelector=spec.x%3D1", 400, "field label not supported: spec.x"),
        ("fieldSelector=x", 400, "invalid selector: 'x'; can't understand 'x'"),
        ("labelSelector=a+in+b", 400, "unable to parse requirement: '(' is missing"),
        ("continue=YQ&resourceVersion=1", 400, "specifying resource version is not allowed when using continue"),
        ("resourceVersion=0&resourceVersionMatch=Exact", 422, None),
        ("resourceVersionMatch=NotOlderThan", 422, None),
        ("resourceVersion=512&resourceVersionMatch=Exact", 504, None),
        ("resourceVersion=2&resourceVersionMatch=Exact", 410, "The resourceVersion for the provided list is too old."),
    ],
)  # fmt: skip
def test_wrong_parameters(ask, query, status, message):
    """An invalid parameter is refused with a Status that says why."""
    response, told = ask(f"/api/v1/pods?{query}")
    assert (response.status, told["code"], told["kind"]) == (status, status, "Status")
    assert told["message"] == message or message is None


def test_pages_show_one_moment(server, ask):
    """All pages show the state of the first one; without a selector, remainingItemCount counts the rest."""
    first = ask("/api/v1/pods?limit=6")[1]
    assert first["metadata"]["remainingItemCount"] == 5
    server.delete("Pod", "v6", "six-855f59d6c5-zsr5q")
    second = ask(f"/api/v1/pods?limit=6&continue={first['metadata']['continue']}")[1]
    assert second["metadata"] == {"resourceVersion": "511"}
    assert len({*names(first), *names(second)}) == 10  # web-0 is in two Namespaces
    assert "six-855f59d6c5-zsr5q" in names(second)


def test_an_expired_page_goes_on_with_another_token(server, ask):
    """The token in a 410 answer continues where the expired one stopped, but in the present state."""
    token = ask("/api/v1/pods?limit=10")[1]["metadata"]["continue"]
    outlive(server)
    response, told = ask(f"/api/v1/pods?limit=10&continue={token}")
    assert (response.status, told["reason"]) == (410, "Expired")
    rest = ask(f"/api/v1/pods?limit=10&continue={told['metadata']['continue']}")[1]
    assert (names(rest), rest["metadata"]) == (["six-855f59d6c5-zsr5q"], {"resourceVersion": "512"})


def test_a_page_may_be_the_last_and_empty(ask):
    """With a selector, a page that a continue token announced can be empty."""
    first = ask("/api/v1/pods?limit=2&labelSelector=app%3Dapi")[1]
    last = ask(f"/api/v1/pods?limit=2&labelSelector=app%3Dapi&continue={first['metadata']['continue']}")[1]
    assert (len(names(first)), last["items"], last["metadata"]) == (2, [], {"resourceVersion": "511"})


def test_a_limit_does_not_count_in_the_cache(ask):
    """A list with resourceVersion=0 is complete, whatever its limit is."""
    assert len(names(ask("/api/v1/pods?limit=2&resourceVersion=0")[1])) == 11


def test_an_older_cache(server, ask):
    """A held cache shows its old state, a consistent list the present one; a newer version is answered with 504."""
    server.hold_cache()
    server.put(POD)
    assert ask(f"/api/v1/pods{PROBE}")[1]["metadata"] == {"resourceVersion": "511"}
    assert "p" not in names(ask("/api/v1/pods?resourceVersion=0")[1])
    assert "p" in names(ask("/api/v1/pods")[1])
    newer = "/api/v1/pods?resourceVersion=512&resourceVersionMatch=NotOlderThan"
    assert ask(newer)[0].status == 504
    server.follow()
    assert "p" in names(ask(newer)[1])
    server.hold_cache(511)
    assert "p" not in names(ask("/api/v1/pods?resourceVersion=0")[1])
    assert ask("/api/v1/pods?resourceVersion=511&resourceVersionMatch=Exact")[1]["metadata"]["resourceVersion"] == "511"


def test_an_empty_cache(server, ask):
    """An empty cache answers with no items, but with the current version."""
    server.hold_cache(empty=True)
    told = ask("/api/v1/pods?resourceVersion=0")[1]
    assert (told["items"], told["metadata"]) == ([], {"resourceVersion": "511"})
    assert len(names(ask()[1])) == 11


def test_a_cache_that_catches_up_in_time(server, ask_aside):
    """The server waits until its cache reaches the requested version."""
    server.patience = 30
    server.hold_cache()
    server.put(POD)
    answer = ask_aside("/api/v1/pods?resourceVersion=512&resourceVersionMatch=NotOlderThan")
    server.wait_for(lambda server: len(server.requests) == 1)
    server.follow()
    assert "p" in names(answer.result()[1])


def test_secrets_by_name_alone(server, ask):
    """Secrets are listed only by a name that the user may list, in one Namespace or in all."""
    assert ask("/api/v1/secrets")[1]["message"] == (
        f'secrets is forbidden: User "{USER}" cannot list resource "secrets" in API group "" at the cluster scope'
    )
    denied = ask("/api/v1/namespaces/a/secrets?fieldSelector=metadata.name%3Dother")
    assert (denied[0].status, denied[1]["details"]) == (403, {"name": "other", "kind": "secrets"})
    assert denied[1]["message"].endswith('in the namespace "a"')
    assert ask("/api/v1/secrets?fieldSelector=metadata.name!%3Drouting")[0].status == 403
    server.permit("secrets", "other")
    assert ask("/api/v1/secrets?fieldSelector=metadata.name%3Drouting")[0].status == 403
    server.permit("secrets", "*")
    assert names(ask("/api/v1/secrets")[1]) == ["routing", "routing"]


def test_who_asks(server, ask):
    """A token or a client certificate names the user; without both, a request is anonymous or answered with 401."""
    assert ask(token=None, client=USER)[0].status == 200
    assert 'User "x"' in ask(token=None, client="x")[1]["message"]
    assert ask(token=None)[0].status == 403
    server.anonymous = False
    assert ask(token=None)[0].status == 401


def test_a_token_that_changes(server, ask):
    """A revoked token is answered with 401, and its replacement with 200."""
    server.tokens = {"new": USER}
    assert [ask(token=token)[0].status for token in (TOKEN, "new")] == [401, 200]


def test_requests_are_kept(server, ask):
    """Each request is kept with path, query, user agent and status."""
    ask(f"/api/v1/pods{PROBE}", **{"User-Agent": "x/1"})
    ask("/version")
    kept = [(each.method, each.path, each.agent, each.status) for each in server.requests]
    assert kept == [("GET", "/api/v1/pods", "x/1", 200), ("GET", "/version", "", 200)]
    assert server.requests[0].query == {"resourceVersion": "0", "fieldSelector": "metadata.name=no-such-pod"}


def test_large_lists_may_be_compressed(server, ask):
    """If `gzip` is set, a list of more than 128 KiB is compressed for clients that accept gzip."""
    server.gzip = True
    for number in range(100):
        server.put(objects.pod("many", f"p-{number}", "10.0.0.1", [], labels={"x": "y" * 63}))
    response, told = ask("/api/v1/namespaces/many/pods", **{"Accept-Encoding": "gzip"})
    assert response.getheader("Content-Encoding") == "gzip"
    assert len(names(told)) == 100
    assert ask("/api/v1/namespaces/many/pods")[0].getheader("Content-Encoding") is None
    assert ask("/api/v1/namespaces/secure/pods", **{"Accept-Encoding": "gzip"})[0].getheader("Vary") is None


def test_faults_are_few_or_last(server, ask):
    """A fault affects requests with a matching path, for the given number of times or until `mend`."""
    server.fail(faults.INTERNAL_ERROR, "*/pods", 2)
    server.fail(faults.GONE, "*/namespaces?*resourceVersion=0*")
    assert [ask()[0].status for _ in range(3)] == [500, 500, 200]
    paths = ["/api/v1/namespaces", "/api/v1/namespaces?resourceVersion=0"]
    assert [ask(path)[0].status for path in paths] == [200, 410]
    server.mend()
    assert ask(paths[1])[0].status == 200


@pytest.mark.parametrize(
    ("fault", "status", "retry", "reason"),
    [
        (faults.REFUSED_TOKEN, 401, None, "Unauthorized"),
        (faults.FORBIDDEN, 403, None, "Forbidden"),
        (faults.GONE, 410, None, "Expired"),
        (faults.too_many_requests(7), 429, "7", None),
        (faults.INTERNAL_ERROR, 500, None, None),
        (faults.unavailable(), 503, None, "ServiceUnavailable"),
        (faults.unavailable(5), 503, "5", "ServiceUnavailable"),
    ],
)
def test_refusals(server, ask, fault, status, retry, reason):
    """A refusal has its status, its reason and, if the fault sets it, Retry-After in seconds."""
    server.fail(fault)
    response, told = ask()
    assert (response.status, response.headers["Retry-After"]) == (status, retry)
    assert told == "Too many requests, please try again later.\n" if status == 429 else told.get("reason") == reason


def test_wrong_answers_with_200(server, ask):
    """A 200 answer can hold a Status, an empty list, a list of another kind or a list with a malformed Pod."""
    told = {}
    for name in ("STATUS", "EMPTY", "OTHER_KIND", "MALFORMED"):
        server.fail(getattr(faults, name), times=1)
        response, told[name] = ask()
        assert response.status == 200
    assert (told["STATUS"]["kind"], told["STATUS"]["status"]) == ("Status", "Failure")
    assert (told["EMPTY"]["kind"], told["EMPTY"]["items"]) == ("PodList", [])
    assert (told["OTHER_KIND"]["kind"], len(told["OTHER_KIND"]["items"])) == ("EndpointsList", 11)
    assert [type(item["status"]["podIP"]) for item in told["MALFORMED"]["items"]] == [int, *[str] * 10]


def test_html(server, ask):
    """A 200 answer can be an HTML page of something that is not an API server."""
    server.fail(faults.HTML)
    response, told = ask()
    assert (response.status, response.headers["Content-Type"], told[:6]) == (200, "text/html", "<html>")


def test_wrong_json(server, ask):
    """A 200 answer can hold JSON that is cut short, although the HTTP body is complete."""
    server.fail(faults.WRONG_JSON)
    with pytest.raises(json.JSONDecodeError):
        ask()


def test_refused_connections(server, ask):
    """A server that refuses connections comes back on the same port."""
    for _ in range(2):
        server.refuse()
        with pytest.raises(ConnectionRefusedError):
            ask()
        server.accept()
        assert ask()[0].status == 200


def test_refusing_breaks_open_connections(server, connect):
    """When the server begins to refuse connections, the open ones are broken."""
    connection = connect()
    connection.request("GET", "/version")
    connection.getresponse().read()
    server.refuse()
    with pytest.raises((ConnectionError, http.client.RemoteDisconnected)):
        connection.request("GET", "/version")
        connection.getresponse()


def test_a_handshake_that_waits(server, authority):
    """A connection can wait for its TLS handshake until the server takes connections again."""
    server.stall()
    with socket.create_connection(("127.0.0.1", server.port), 30) as waiting:
        server.accept()
        with authority.trust().wrap_socket(waiting, server_hostname="127.0.0.1") as secured:
            assert secured.version() == "TLSv1.3"


def test_a_certificate_that_changes(server, authority, ask, tmp_path):
    """Clients refuse a certificate of another authority, and accept one of the first authority again."""
    server.present(Authority(tmp_path, "Others"))
    with pytest.raises(ssl.SSLCertVerificationError):
        ask()
    server.present(authority)
    assert ask()[0].status == 200


def test_hanging_before_the_headers(server, ask_aside):
    """A request that hangs has no status until the fault is mended."""
    server.fail(faults.HANG)
    answer = ask_aside()
    server.wait_for(lambda server: server.requests)
    assert server.requests[0].status is None
    assert not answer.done()
    server.mend()
    assert answer.result()[0].status == 200


def test_the_server_ends_whatever_hangs(authority, caplog):
    """A server ends without a log message while a request hangs, a client has left and a handshake waits."""
    with ApiServer(authority) as server:
        server.fail(faults.HANG)
        context = authority.trust()
        asking = [http.client.HTTPSConnection("127.0.0.1", server.port, context=context) for _ in range(2)]
        for each in asking:
            each.request("GET", "/version")
        server.wait_for(lambda server: len(server.requests) == 2)
        asking[0].close()
        waiting = socket.create_connection(("127.0.0.1", server.port))
        assert server.requests[1].status is None
    asking[1].close()
    waiting.close()
    assert not caplog.records


@pytest.mark.parametrize(("fault", "some"), [(faults.HANG_INSIDE, 27922), (faults.DRIP, 1)])
def test_hanging_inside_the_body(server, connect, fault, some):
    """A body begins, and its rest is sent when the fault is mended."""
    server.fail(fault)
    connection = connect()
    connection.request("GET", "/api/v1/pods", headers={"Authorization": f"Bearer {TOKEN}"})
    response = connection.getresponse()
    begun = response.read(some)
    server.mend()
    assert len(json.loads(begun + response.read())["items"]) == 11


@pytest.mark.parametrize("path", ["/api/v1/pods", f"/api/v1/pods{PROBE}"])
def test_a_body_that_is_cut(server, ask, path):
    """A body can be cut in its middle, whether it is chunked or has a Content-Length."""
    server.fail(faults.CUT, times=1)
    with pytest.raises(http.client.IncompleteRead) as caught:
        ask(path)
    assert caught.value.partial
    assert ask(path)[0].status == 200


def test_no_answer(server, ask):
    """The server can close a connection instead of answering."""
    server.fail(faults.CLOSE, times=1)
    with pytest.raises(http.client.RemoteDisconnected):
        ask()
    assert ask()[0].status == 200


def test_a_wait_in_vain_fails(server):
    """`wait_for` fails the test if its condition does not become true in time."""
    with pytest.raises(AssertionError, match="in vain"):
        server.wait_for(lambda _: False, 0)
