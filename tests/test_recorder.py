"""How recordings are written: their content, their names, and that they replay as what was recorded."""

import base64
import json
import os
import ssl
import stat
from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import msgspec
import pytest
from support.authority import Authority
from support.objects import HOSTS, PATHS, WALKTHROUGH, Object, listing, namespace, pod, secret, tls
from support.router import Router
from support.stages import build_table, normalise, render

from reconciler.disk.recorder import Recorder
from reconciler.disk.recordings import RecordingError, find_recordings, read_recordings
from reconciler.disk.trees import write_files
from reconciler.nginx.program import check_tree, find_version
from reconciler.objects.listing import Listing, select
from reconciler.routing.model import RoutingTable
from reconciler.settings import read_settings

NOW, LATER = 1_797_600_000.0, 2_200_000_000.0  # the recorded certificates are valid at NOW, and expired LATER
STEPS = sorted(WALKTHROUGH.glob("*.json"))
TLS = {"SSL_CERT": str(WALKTHROUGH / "default.crt"), "SSL_KEY": str(WALKTHROUGH / "default.key")}
SETTINGS = read_settings(TLS)
APPLIED = "kubectl.kubernetes.io/last-applied-configuration"
OBJECTS = [
    namespace("b", {"b.dev": {}}),
    namespace("a", {"a.dev": {}}),
    pod("a", "web-1", "10.0.0.2", [{"basePath": "/", "containerPort": 3000}]),
    pod("a", "web-0", "10.0.0.1", [{"basePath": "/", "containerPort": 3000}]),
    secret("a", api_key="supersecret"),
]

PLAIN = """\
{
 "apiVersion": "v1",
 "kind": "List",
 "metadata": {},
 "items": [
  {
   "apiVersion": "v1",
   "kind": "Pod",
   "metadata": {
    "name": "web-0",
    "namespace": "a",
    "labels": {
     "app": "shop",
     "zone": "1"
    },
    "annotations": {
     "github.com/30x.dispatcher.paths": "[]"
    },
    "creationTimestamp": "2026-11-22T18:06:04Z"
   },
   "spec": {
    "containers": [
     {
      "ports": [
       {
        "containerPort": 80
       }
      ],
      "readinessProbe": {
       "httpGet": {
        "port": "http"
       },
       "periodSeconds": 0
      }
     }
    ]
   },
   "status": {
    "podIP": "10.0.0.1"
   }
  },
  {
   "apiVersion": "v1",
   "kind": "Secret",
   "metadata": {
    "name": "routing",
    "namespace": "a"
   },
   "data": {
    "api-key": "c2VjcmV0"
   }
  }
 ]
}
"""

Record = Callable[..., Recorder]


@pytest.fixture
def record(tmp_path: Path) -> Record:
    """Make recorders that write into one folder, which does not exist yet."""

    def make(*, with_secrets: bool = False, **settings: str) -> Recorder:
        return Recorder(tmp_path / "new" / "folder", read_settings({**TLS, **settings}), with_secrets=with_secrets)

    return make


def written(path: Path | None) -> Path:
    assert path
    return path


def read_step(path: Path) -> Listing:
    return select(read_recordings([str(path)]), SETTINGS.selector, SETTINGS.api_key_secret_name)


def build(read: Listing, now: float = NOW) -> RoutingTable:
    return build_table(normalise(read, SETTINGS), SETTINGS, now)


def show(table: RoutingTable) -> object:
    """Show all that a table routes, without the secrets in it."""
    hosts = [
        (host.name, host.namespace, host.locations, host.tls and (host.tls.chain.not_before, host.tls.client is None))
        for host in table.routes.hosts
    ]
    keys = [(name, len(key.values)) for name, key in table.routes.api_keys]
    return hosts, table.routes.upstreams, keys, table.problems


@pytest.mark.parametrize("path", STEPS, ids=lambda path: path.stem)
def test_round_trip(record: Record, path: Path) -> None:
    """A recording with its secrets is read as the same Snapshot that was recorded."""
    original = read_step(path)
    again = read_recordings([str(record(with_secrets=True).write(original))])
    assert normalise(again, SETTINGS).digest == normalise(original, SETTINGS).digest


@pytest.mark.parametrize("path", STEPS, ids=lambda path: path.stem)
def test_stand_ins_route_alike(record: Record, path: Path) -> None:
    """A recording with stand-ins gives the same hosts, paths, Pods and problems, whatever the time."""
    original = read_step(path)
    again = read_recordings([str(record().write(original))])
    assert show(build(again)) == show(build(original))
    assert show(build(again, LATER)) == show(build(original, LATER))


def test_stand_ins_replay_alike(record: Record) -> None:
    """In the recorded story, routes and keys change at the same steps with stand-ins as without."""
    recorder, tables = record(), []
    for path in STEPS:
        original = read_step(path)
        made = recorder.write(original)
        again = read_recordings([str(made)]) if made else None
        tables.append((build(original).routes, build(again).routes if again else tables[-1][1]))
    changes = [(old[0] != new[0], old[1] != new[1]) for old, new in pairwise(tables)]
    assert all(original is stand_in for original, stand_in in changes)


@pytest.mark.parametrize("path", STEPS[11:], ids=lambda path: path.stem)
def test_stand_ins_in_nginx(record: Record, path: Path, tmp_path: Path, nginx_binary: str) -> None:
    """Nginx accepts what is rendered from a recording with stand-ins, including its certificates and keys."""
    settings = replace(SETTINGS, nginx_version=find_version(nginx_binary))
    table = build(read_recordings([str(record().write(read_step(path)))]))
    write_files(render(table.routes, settings), tmp_path / "tree")
    assert any(host.tls and host.tls.client for host in table.routes.hosts)
    check_tree(nginx_binary, tmp_path / "tree")


def test_form(record: Record) -> None:
    """A recording is indented JSON of only what routing reads, with the names and times of Kubernetes."""
    probe = {"httpGet": {"port": "http", "httpHeaders": []}, "periodSeconds": 0}
    container = {"name": "web", "env": [{"name": "K", "value": "V"}], "ports": [{"containerPort": 80}]}
    metadata = {"name": "web-0", "namespace": "a", "uid": "1", "managedFields": [{}], "resourceVersion": "1"}
    metadata |= {"labels": {"zone": "1", "app": "shop"}, "annotations": {"x": "y", PATHS: "[]"}}
    whole = {
        "kind": "Pod",
        "metadata": metadata | {"creationTimestamp": "2026-11-22T20:06:04+02:00", "deletionTimestamp": None},
        "spec": {"nodeName": "n", "containers": [container | {"readinessProbe": probe}]},
        "status": {"podIP": "10.0.0.1", "hostIP": "10.0.0.9"},
    }
    kept = {"kind": "Secret", "metadata": {"name": "routing", "namespace": "a"}, "data": {"api-key": "c2VjcmV0"}}
    assert written(record(with_secrets=True).write(listing([kept, whole]))).read_text() == PLAIN


def test_an_empty_cluster(record: Record) -> None:
    """A cluster without objects is recorded as a List without items."""
    assert read_recordings([str(record().write(Listing()))]) == Listing()


@pytest.mark.parametrize("with_secrets", [False, True])
def test_annotations(record: Record, with_secrets: bool) -> None:
    """Only the two annotations that the settings name are recorded; kubectl's, which holds a whole Secret, never is."""
    applied = {APPLIED: json.dumps({"data": {"api-key": "c3VwZXJzZWNyZXQ="}}), "custom/hosts": "{}"}
    objects = [*OBJECTS[:1], *OBJECTS[4:]]
    for item in objects:
        item["metadata"]["annotations"] = {**item["metadata"].get("annotations", {}), **applied}
    made = written(record(with_secrets=with_secrets, HOSTS_ANNOTATION="custom/hosts").write(listing(objects)))
    kept = [item["metadata"].get("annotations") for item in json.loads(made.read_text())["items"]]
    assert kept == [{"custom/hosts": "{}"}, {"custom/hosts": "{}"}]
    for item in objects:
        del item["metadata"]["annotations"]["custom/hosts"], item["metadata"]["annotations"][APPLIED]
    made = written(record().write(listing(objects)))
    assert set(json.loads(made.read_text())["items"][0]["metadata"]["annotations"]) == {HOSTS}


def test_null_is_kept(record: Record) -> None:
    """A null in a tenant's own map is recorded as it is."""
    odd = namespace("a", {"a.dev": {}})
    odd["metadata"]["labels"] = {"x": None}
    assert read_recordings([str(record().write(listing([odd])))]).namespaces[0].metadata.labels == {"x": None}


def test_secrets_do_not_show(record: Record) -> None:
    """With stand-ins no value of a Secret is in the file, neither plain nor in base64."""
    text = written(record().write(listing(OBJECTS))).read_text()
    assert "supersecret" not in text
    assert secret("a", api_key="supersecret")["data"]["api-key"] not in text
    assert (
        secret("a", api_key="supersecret")["data"]["api-key"]
        in written(record(with_secrets=True).write(listing(OBJECTS))).read_text()
    )


@pytest.mark.parametrize(("with_secrets", "mode"), [(False, 0o644), (True, 0o600)])
def test_mode(record: Record, with_secrets: bool, mode: int) -> None:
    """Only the owner can read a recording with secrets; everybody can read one with stand-ins, whatever the umask."""
    before = os.umask(0o027)
    try:
        path = written(record(with_secrets=with_secrets).write(listing(OBJECTS)))
    finally:
        os.umask(before)
    assert stat.S_IMODE(path.stat().st_mode) == mode


def test_each_change_is_a_file(record: Record) -> None:
    """Recordings are numbered; each change makes one, and no change makes none."""
    recorder, changed = record(), [*OBJECTS[:4], secret("a", api_key="rotated")]
    paths = [recorder.write(listing(objects)) for objects in (OBJECTS, OBJECTS, changed, changed, OBJECTS)]
    assert [path and path.name for path in paths] == ["0001.json", None, "0002.json", None, "0003.json"]
    contents = [path.read_bytes() for path in paths if path]
    assert contents[0] == contents[2] != contents[1]
    folder = written(paths[0]).parent
    assert find_recordings([str(folder)]) == [str(path) for path in paths if path]
    assert len(list(folder.iterdir())) == 3


def test_order_does_not_show(record: Record) -> None:
    """The same objects in another order give the same recording, sorted by kind, Namespace and name."""
    recorder = record()
    made = written(recorder.write(listing(OBJECTS)))
    assert recorder.write(listing(OBJECTS[::-1])) is None
    items = json.loads(made.read_text())["items"]
    names = [(item["kind"], item["metadata"]["name"]) for item in items]
    assert names[:4] == [("Namespace", "a"), ("Namespace", "b"), ("Pod", "web-0"), ("Pod", "web-1")]
    assert names[4:] == [("Secret", "routing")]


def test_noise_is_no_change(record: Record) -> None:
    """A change in what routing does not read makes no recording."""
    recorder = record()
    noisy = [{**item, "metadata": {**item["metadata"], "resourceVersion": "99"}} for item in OBJECTS]
    assert recorder.write(listing(OBJECTS))
    assert recorder.write(listing(noisy)) is None


def test_an_object_listed_twice(record: Record) -> None:
    """If pages of a list show an object twice, its later state is recorded, because that state is routed."""
    changed: Object = pod("a", "web-0", "10.0.0.7", [])
    twice = listing([*OBJECTS, changed])
    again = read_recordings([str(record(with_secrets=True).write(twice))])
    assert normalise(again, SETTINGS).digest == normalise(twice, SETTINGS).digest


def test_numbers_go_on(record: Record, tmp_path: Path) -> None:
    """Numbers go on after the highest one in the folder, whichever process wrote it; other files do not count."""
    folder = tmp_path / "new" / "folder"
    folder.mkdir(parents=True)
    for name in ("0007.json", "0003.json", "00012.json", "0013.yaml", "x0014.json", "0015.json.bak"):
        (folder / name).write_text("")
    assert written(record().write(Listing())).name == "0008.json"
    assert written(record().write(Listing())).name == "0009.json"


def test_the_last_number(record: Record, tmp_path: Path) -> None:
    """After the last number of four digits nothing is written, because names give the order of recordings."""
    folder = tmp_path / "new" / "folder"
    folder.mkdir(parents=True)
    (folder / "9998.json").write_text("")
    recorder = record()
    assert written(recorder.write(Listing())).name == "9999.json"
    with pytest.raises(RecordingError, match="has as many recordings as a folder can have; begin another"):
        recorder.write(listing(OBJECTS))
    assert len(list(folder.iterdir())) == 2


def test_a_folder_that_cannot_be(tmp_path: Path) -> None:
    """A recording that cannot be written is an error of one line; it is written once that is possible."""
    (tmp_path / "file").write_text("")
    for folder, why in ((tmp_path / "file", "File exists"), (tmp_path / "file" / "below", "Not a directory")):
        recorder = Recorder(folder, SETTINGS, with_secrets=True)
        with pytest.raises(RecordingError) as caught:
            recorder.write(listing(OBJECTS))
        assert str(caught.value) == f"{folder}: cannot be written: {why}"
    (tmp_path / "file").unlink()
    assert written(recorder.write(listing(OBJECTS))).name == "0001.json"


def test_recorders_share_no_stand_ins(record: Record) -> None:
    """Two recorders make different stand-ins, so that a guessed value cannot be recorded and compared."""
    contents = [written(record().write(listing(OBJECTS))).read_bytes() for _ in range(2)]
    assert contents[0] != contents[1]


def test_ten_thousand_pods(record: Record) -> None:
    """A cluster of ten thousand Pods is recorded as a whole."""
    some = listing(OBJECTS)
    pods = tuple(
        msgspec.structs.replace(
            some.pods[0], metadata=msgspec.structs.replace(some.pods[0].metadata, name=f"p{number}")
        )
        for number in range(10_000)
    )
    made = record().write(msgspec.structs.replace(some, pods=pods))
    assert len(read_recordings([str(made)]).pods) == 10_000


def test_the_field_of_the_api_key(record: Record) -> None:
    """A PEM in the API key's field, which the settings name, has a stand-in that is too long for an API key too."""
    name = {"API_KEY_SECRET_FIELD": "ssl.crt"}
    objects = [*OBJECTS[1:4], secret("a", ssl_crt="-----BEGIN" + "x" * 3000)]
    settings = read_settings(name)
    again = read_recordings([str(record(**name).write(listing(objects)))])
    tables = [build_table(normalise(each, settings), settings, NOW) for each in (listing(objects), again)]
    assert tables[0].problems == tables[1].problems
    assert "field ssl.crt is too long" in str(tables[1].problems[0])


def test_stand_ins_are_served(
    record: Record, router: Callable[..., Router], authority: Authority, tmp_path: Path
) -> None:
    """Clients that trust an authority's stand-in accept the host's; clients with a client's stand-in are served."""
    (chain, key), (ann, ann_key) = (authority.issue(each) for each in ("secure.dev", "ann"))
    pems = {"ssl_crt": chain + authority.pem, "ssl_key": key, "ann_crt": ann + authority.pem, "ann_key": ann_key}
    objects = [namespace("a", {"secure.dev": tls(client="ca.crt")}), secret("a", ca_crt=authority.pem, **pems)]
    items = json.loads(written(record().write(listing(objects))).read_text())["items"]
    here = router()
    assert here.serve(*items).table.problems == ()
    made = {field: base64.b64decode(value) for field, value in items[1]["data"].items()}
    context = ssl.create_default_context(cadata=made["ca.crt"].decode())
    context.verify_flags |= ssl.VERIFY_X509_STRICT  # Python 3.13 sets this flag by default
    assert here.ask_tls("secure.dev", "/", context=context).status == 400
    for field in ("ann.crt", "ann.key"):
        (tmp_path / field).write_bytes(made[field])
    context.load_cert_chain(tmp_path / "ann.crt", tmp_path / "ann.key")
    assert here.ask_tls("secure.dev", "/", context=context).status == 404
    with pytest.raises(ssl.SSLCertVerificationError):
        here.ask_tls("secure.dev", "/")
