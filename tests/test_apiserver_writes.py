"""The test API server writes Secrets and Leases exactly as the recorded one did, and refuses what it refused."""

import http.client
import json
import re

import pytest
from support import faults
from support.apiserver import TOKEN, USER, ApiServer
from support.replay import Recording, find_recordings

RECORDINGS = find_recordings("api-1.36")
SECRETS = (
    "secret-create", "secret-create-again", "secret-get", "secret-get-rv0", "secret-get-metadata-only",
    "secret-get-missing", "secret-update-immutable", "secret-too-large", "request-too-large",
    "pointer-create", "pointer-update", "pointer-update-stale", "pointer-update-missing",
    "pointer-patch-merge", "pointer-patch-merge-stale",
)  # fmt: skip
LATER = (
    "secrets-list-by-label", "secrets-list-by-label-metadata-only", "secret-delete-stale", "secret-delete",
    "secret-delete-missing", "probe-secrets-unchanged",
)  # fmt: skip
LEASES = (
    "lease-get-missing", "lease-create", "lease-create-again", "lease-update", "lease-update-stale", "lease-get",
    "lease-bad-time",
)  # fmt: skip
OTHERS = ("Audit-Id", "X-Kubernetes-Pf-Flowschema-Uid", "X-Kubernetes-Pf-Prioritylevel-Uid")  # only 1.36 sends them
PLACE = "/api/v1/namespaces/dispatcher/secrets"
LEASE_PLACE = "/apis/coordination.k8s.io/v1/namespaces/dispatcher/leases"
MERGE = "application/merge-patch+json"


def namespace(name, phase="Active"):
    return {"kind": "Namespace", "apiVersion": "v1", "metadata": {"name": name}, "status": {"phase": phase}}


def secret(name="a", **fields):
    return {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}, "type": "x/y", **fields}


def lease(spec, **metadata):
    kind = {"apiVersion": "coordination.k8s.io/v1", "kind": "Lease"}
    return {**kind, "metadata": {"name": "l", **metadata}, "spec": {"holderIdentity": "p", **spec}}


@pytest.fixture
def server(authority):
    """Start a server at the version before the recorded writes."""
    with ApiServer(authority) as running:
        running.load([namespace("dispatcher"), namespace("ending", "Terminating")], 4740)
        running.permit("secrets", "*", namespace="dispatcher")
        running.permit("leases", "*", namespace="dispatcher")
        yield running


@pytest.fixture
def connect(server, authority):
    """Open connections to the server; they are closed when the test ends."""
    opened = []

    def open_connection():
        opened.append(http.client.HTTPSConnection("127.0.0.1", server.port, context=authority.trust(), timeout=30))
        return opened[-1]

    yield open_connection
    for each in opened:
        each.close()


@pytest.fixture
def ask(connect):
    """Send a request over a new connection; give the status and the decoded body."""

    def send(method, target, content=None, form="application/json"):
        connection = connect()
        headers = {"Authorization": f"Bearer {TOKEN}", "Content-Type": form, "User-Agent": "dispatcher/1.0"}
        connection.request(method, target, content and json.dumps(content), headers)
        response = connection.getresponse()
        return response.status, json.loads(response.read())

    return send


def view(body):
    """Mask what a server generates; sort a list, because a cache answers in no fixed order."""
    told = json.loads(re.sub(r'"(uid|creationTimestamp|time)":"[^"]*"', r'"\1":"…"', body))
    told.get("items", []).sort(key=lambda item: item["metadata"]["name"])
    return len(body), json.dumps(told)


def assert_replayed(connection, name):
    recording = Recording(RECORDINGS[name])
    response, body = recording.send(connection)
    assert (name, f"{response.status} {response.reason}") == (name, recording.status)
    expected = [(key, "…" if key == "Date" else value) for key, value in recording.answered if key not in OTHERS]
    assert [(key, "…" if key == "Date" else value) for key, value in response.getheaders()] == expected, name
    assert view(body) == view(recording.body)


def test_recorded_secrets(server, connect):
    """Secrets are created, read, changed, listed and deleted as recorded, byte for byte but uids and times.

    Server-side apply is left out: what it made is put into the store.
    """
    for name in SECRETS:
        assert_replayed(connect(), name)
    server.put(json.loads(Recording(RECORDINGS["pointer-apply"]).body))
    for name in LATER:
        assert_replayed(connect(), name)


def test_recorded_leases(server, connect):
    """A Lease is created, renewed and read as recorded, and a late or malformed renewal is refused."""
    server.load([namespace("dispatcher")], 4746)
    for name in LEASES:
        assert_replayed(connect(), name)


def test_a_recorded_refusal(server, connect):
    """A user who may not read a Secret is told so as recorded."""
    server.permit("secrets", "routing")
    assert_replayed(connect(), "secret-get-forbidden")


def test_all_recordings_are_used():
    """Each recording of Secrets and Leases is replayed."""
    used = {*SECRETS, *LATER, *LEASES, "pointer-apply", "secret-get-forbidden"}
    assert used == set(RECORDINGS) - {"list-pods-rv0", "probe-unchanged"}


def test_an_update_that_changes_nothing(ask):
    """An update or a patch that changes nothing keeps the version; without a resourceVersion, an update is taken."""
    first = ask("POST", PLACE, secret(data={"k": "dg=="}))[1]
    assert ask("PUT", f"{PLACE}/a", secret(data={"k": "dg=="})) == (200, first)
    assert ask("PUT", f"{PLACE}/a", first) == (200, first)
    assert ask("PATCH", f"{PLACE}/a", {"data": {"k": "dg=="}}, MERGE) == (200, first)
    changed = ask("PUT", f"{PLACE}/a", secret(data={"k": "dw=="}))[1]
    assert (changed["data"], changed["metadata"]["uid"]) == ({"k": "dw=="}, first["metadata"]["uid"])
    assert int(changed["metadata"]["resourceVersion"]) == int(first["metadata"]["resourceVersion"]) + 1
    assert ask("GET", f"{PLACE}/a") == (200, changed)


def test_a_patch_merges(ask):
    """A merge patch adds, replaces and removes fields."""
    ask("POST", PLACE, secret(data={"a": "YQ==", "b": "Yg=="}))
    patch = {"metadata": {"labels": {"x": "y"}}, "data": {"a": None, "c": "Yw=="}}
    status, told = ask("PATCH", f"{PLACE}/a", patch, MERGE)
    assert (status, told["data"], told["metadata"]["labels"]) == (200, {"b": "Yg==", "c": "Yw=="}, {"x": "y"})
    assert ask("PATCH", f"{PLACE}/none", patch, MERGE)[0] == 404
    status, told = ask("PATCH", f"{PLACE}/a", patch, "application/apply-patch+yaml")
    assert (status, told["reason"]) == (415, "UnsupportedMediaType")


def test_an_immutable_secret(ask):
    """An immutable Secret's metadata may change, but not its data, nor that it is immutable; no Secret's type may."""
    ask("POST", PLACE, secret(immutable=True, data={"k": "dg=="}))
    assert ask("PATCH", f"{PLACE}/a", {"metadata": {"labels": {"x": "y"}}}, MERGE)[0] == 200
    for patch in ({"data": {"k": "dw=="}}, {"immutable": False}, {"immutable": None}, {"type": "Opaque"}):
        assert ask("PATCH", f"{PLACE}/a", patch, MERGE)[0] == 422


def test_readable_data(ask):
    """`stringData` becomes data, fields that are not known or empty are left out, and data must be base64."""
    status, told = ask("POST", PLACE, secret(stringData={"k": "v"}, other=1, data={"a": "YQ=="}, type=""))
    assert (status, told["data"], told["type"]) == (201, {"a": "YQ==", "k": "dg=="}, "Opaque")
    assert set(told) == {"kind", "apiVersion", "metadata", "data", "type"}
    assert ask("POST", PLACE, secret("b", data={"k": "…"}))[0] == 400


def test_the_cache(server, ask):
    """A held cache gives the old object, or none, at resourceVersion=0; without it the present object is given."""
    server.hold_cache()
    ask("POST", PLACE, secret())
    ask("POST", LEASE_PLACE, lease({}))
    for path in (f"{PLACE}/a", f"{LEASE_PLACE}/l"):
        assert [ask("GET", f"{path}{query}")[0] for query in ("?resourceVersion=0", "")] == [404, 200]
    assert ask("GET", f"{PLACE}/a?resourceVersion=9999")[0] == 504
    server.follow()
    for path in (f"{PLACE}/a", f"{LEASE_PLACE}/l"):
        assert ask("GET", f"{path}?resourceVersion=0")[0] == 200


def test_what_tests_put_may_be_written(server, ask):
    """An object that a test put into the store is updated and deleted like another, and the store has the result."""
    server.put({**secret(), "metadata": {"name": "a", "namespace": "dispatcher"}})
    ask("PUT", f"{PLACE}/a", secret(data={"k": "dg=="}))
    assert b'"k":"dg=="' in server.store.present.collections["Secret"].objects["dispatcher/a"].item
    ask("DELETE", f"{PLACE}/a")
    assert not server.store.present.collections["Secret"].objects


def test_preconditions(ask):
    """A delete or an update that names another object of the name is refused, and one that names this is done."""
    uid = ask("POST", PLACE, secret())[1]["metadata"]["uid"]
    status, told = ask("DELETE", f"{PLACE}/a", {"preconditions": {"uid": "x"}})
    assert (status, told["reason"]) == (409, "Conflict")
    assert told["message"].endswith("The object might have been deleted and then recreated")
    assert ask("PUT", f"{PLACE}/a", secret(metadata={"name": "a", "uid": "x"}))[0] == 409
    assert ask("DELETE", f"{PLACE}/a", {"preconditions": {"uid": uid}})[0] == 200


def test_where_objects_are_created(server, ask):
    """A Namespace must exist and not be in deletion, and the path and the body must name the same one and name."""
    server.permit("secrets", "*")
    status, told = ask("POST", "/api/v1/namespaces/none/secrets", secret())
    assert (status, told["message"]) == (404, 'namespaces "none" not found')
    status, told = ask("POST", "/api/v1/namespaces/ending/secrets", secret())
    assert (status, told["details"]["causes"][0]["reason"]) == (403, "NamespaceTerminating")
    assert ask("POST", PLACE, secret(metadata={"name": "a", "namespace": "other"}))[0] == 400
    assert ask("PUT", f"{PLACE}/b", secret())[0] == 400
    assert ask("POST", PLACE, {**secret(), "apiVersion": "v2"})[0] == 400
    assert ask("POST", PLACE, secret(metadata={"name": "a", "resourceVersion": "1"}))[0] == 500


def test_a_quota(server, ask):
    """When a Namespace's quota is used up, a create is refused, an update is not, and a delete makes room."""
    server.quota["dispatcher"] = 1
    ask("POST", PLACE, secret())
    status, told = ask("POST", PLACE, secret("x"))
    problem = "exceeded quota: q, requested: secrets=1, used: secrets=1, limited: secrets=1"
    assert (status, told["message"]) == (403, f'secrets "x" is forbidden: {problem}')
    assert ask("PUT", f"{PLACE}/a", secret(data={"k": "dg=="}))[0] == 200
    assert ask("POST", LEASE_PLACE, lease({}))[0] == 201
    ask("DELETE", f"{PLACE}/a")
    assert ask("POST", PLACE, secret("x"))[0] == 201


def test_limited_rights(server, ask):
    """A right may be limited to verbs and to a Namespace; it is added to others until a whole one replaces them."""
    server.permit("secrets", "routing")
    server.permit("secrets", "a", verbs={"get", "update"}, namespace="dispatcher")
    server.permit("secrets", "*", verbs={"create"}, namespace="dispatcher")
    assert ask("POST", PLACE, secret())[0] == 201
    assert [ask(method, f"{PLACE}/a", secret())[0] for method in ("PUT", "GET", "DELETE")] == [200, 200, 403]
    assert ask("GET", "/api/v1/namespaces/other/secrets/a")[0] == 403
    assert ask("GET", "/api/v1/secrets?fieldSelector=metadata.name%3Drouting")[0] == 200
    assert ask("GET", PLACE)[0] == 403
    server.permit("secrets")
    assert ask("GET", f"{PLACE}/a")[0] == 403


def test_leases_name_their_group(server, ask):
    """The refusal of a Lease names the group of its API."""
    server.permit("leases")
    status, told = ask("GET", f"{LEASE_PLACE}/l")
    assert (status, told["details"]) == (403, {"name": "l", "group": "coordination.k8s.io", "kind": "leases"})
    what = 'cannot get resource "leases" in API group "coordination.k8s.io" in the namespace "dispatcher"'
    assert told["message"] == f'leases.coordination.k8s.io "l" is forbidden: User "{USER}" {what}'
    assert ask("GET", "/api/v1/namespaces/dispatcher/leases/l")[1]["message"].startswith("the server could not find")


def test_a_lease_is_never_overwritten_by_chance(ask):
    """An update of a Lease needs a resourceVersion; one of a missing Lease creates it, but not of a former uid."""
    path = f"{LEASE_PLACE}/l"
    assert ask("PUT", path, lease({}, uid="x"))[0] == 409
    assert ask("PUT", path, lease({}, resourceVersion="1"))[0] == 201
    status, told = ask("PUT", path, lease({}))
    assert (status, told["details"]["causes"][0]["field"]) == (422, "metadata.resourceVersion")
    assert ask("PATCH", path, {"spec": {"holderIdentity": "q"}}, MERGE)[1]["spec"] == {"holderIdentity": "q"}
    assert ask("DELETE", path)[1]["details"]["group"] == "coordination.k8s.io"


@pytest.mark.parametrize(
    ("spec", "status"),
    [
        ({"renewTime": "2026-11-25T01:00:00.000000+01:00"}, 201),
        ({"renewTime": "2026-11-25T00:00:00Z"}, 400),
        ({"renewTime": "2026-11-25T00:00:00.123Z"}, 400),
        ({"acquireTime": "2026-11-25T00:00:00.000000Zx"}, 400),
        ({"leaseDurationSeconds": 0}, 422),
        ({"leaseTransitions": -1}, 422),
    ],
)
def test_what_a_lease_holds(ask, spec, status):
    """Times have six digits after the point and are given in UTC; a duration is positive."""
    found, told = ask("POST", LEASE_PLACE, lease(spec))
    assert found == status
    if status == 201:
        assert told["spec"]["renewTime"] == "2026-11-25T00:00:00.000000Z"


def test_other_methods(server, ask):
    """A method that the server does not know for a resource is refused, and changes nothing."""
    server.permit("secrets", "*")
    for method, path in (("DELETE", "/api/v1/namespaces/dispatcher/pods/p"), ("PUT", PLACE), ("POST", f"{PLACE}/a")):
        assert ask(method, path, secret())[0] == 405
    assert server.store.present.version == 4740


def test_faults_of_writes(server, ask):
    """A write that a fault refuses is not done; one whose answer is lost is done. A fault may be of one method."""
    server.fail(faults.INTERNAL_ERROR, f"{PLACE}*", method="P*")
    assert ask("POST", PLACE, secret())[0] == 500
    assert ask("GET", f"{PLACE}/a")[0] == 404
    server.mend()
    server.fail(faults.CLOSE, PLACE, method="POST")
    with pytest.raises(http.client.RemoteDisconnected):
        ask("POST", PLACE, secret())
    assert ask("GET", f"{PLACE}/a")[0] == 200


def test_requests_are_kept(server, ask):
    """Requests that write are kept with their method and status."""
    ask("POST", PLACE, secret())
    ask("DELETE", f"{PLACE}/a")
    assert [(each.method, each.path, each.status) for each in server.requests] == [
        ("POST", PLACE, 201), ("DELETE", f"{PLACE}/a", 200),
    ]  # fmt: skip
