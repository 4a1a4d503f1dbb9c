"""Credentials: found as kubectl finds them, refused in one line if they are unusable, and renewed."""

import base64
import json
import sys
from contextlib import suppress
from pathlib import Path

import psutil
import pytest
import yaml
from support.running_daemon import wait_until

from reconciler.cluster.credentials import CredentialsError, find_credentials

V1 = "client.authentication.k8s.io/v1"
SECRET = "hunter2"
CONFIG = {
    "current-context": "x",
    "contexts": [{"name": "x", "context": {"cluster": "c", "user": "u"}}],
    "clusters": [{"name": "c", "cluster": {"server": "https://api.test:6443"}}],
    "users": [{"name": "u", "user": {"token": SECRET}}],
}


def encode(text):
    return base64.b64encode(text.encode()).decode()


@pytest.fixture
def write(tmp_path):
    """Write kubeconfig files below a folder, and give their path."""

    def write(config, name="config"):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(config if isinstance(config, str) else yaml.safe_dump(config))
        return str(path)

    return write


@pytest.fixture
def find(write):
    """Find the credentials of a kubeconfig with this user and cluster."""

    def find(user=None, cluster=None, **environment):
        config = {
            **CONFIG,
            "users": [{"name": "u", "user": {"token": SECRET} if user is None else user}],
            "clusters": [{"name": "c", "cluster": {"server": "https://api.test:6443", **(cluster or {})}}],
        }
        return find_credentials({"KUBECONFIG": write(config), "PATH": "/bin:/usr/bin", **environment}, 20)

    return find


@pytest.fixture
def plugin(tmp_path):
    """Make an exec plugin from its body in Python; give its entry for a kubeconfig."""

    def plugin(body, **entry):
        path = tmp_path / "plugin"
        path.write_text(f"#!{sys.executable}\nimport json, os, sys, time\n{body}\n")
        path.chmod(0o755)
        return {"exec": {"apiVersion": V1, "command": "./plugin", "interactiveMode": "Never", **entry}}

    return plugin


def printing(version=V1, **status):
    return f"print(json.dumps({{'apiVersion': {version!r}, 'kind': 'ExecCredential', 'status': {status!r}}}))"


def refuse(call):
    with pytest.raises(CredentialsError) as caught:
        call()
    line = str(caught.value)
    assert "\n" not in line
    assert SECRET not in line
    return line


def test_nothing_is_found(tmp_path):
    """Without a Pod and without a kubeconfig there are no credentials."""
    assert find_credentials({}) is None
    assert find_credentials({"HOME": str(tmp_path), "KUBERNETES_SERVICE_HOST": "10.0.0.1", "KUBECONFIG": ""}) is None


def test_home(tmp_path, write):
    """~/.kube/config is read from the folder that HOME names."""
    write(CONFIG, ".kube/config")
    found = find_credentials({"HOME": str(tmp_path)})
    assert found
    assert (found.server, found.in_cluster) == ("https://api.test:6443", False)
    assert found.access.authorization == f"Bearer {SECRET}"


@pytest.fixture
def pod(tmp_path):
    """Make a Pod's environment, with its service account."""
    folder = tmp_path / "account"
    folder.mkdir()
    (folder / "token").write_text("first\n")
    (folder / "ca.crt").write_text("authority")
    return {
        "KUBERNETES_SERVICE_HOST": "10.0.0.1",
        "KUBERNETES_SERVICE_PORT": "443",
        "DISPATCHER_SERVICE_ACCOUNT_DIR": str(folder),
        "HOME": str(tmp_path),
    }


def test_a_pod(pod, write):
    """A Pod uses its service account, even with a kubeconfig in its home folder, unless KUBECONFIG is set."""
    path = write(CONFIG, ".kube/config")
    found = find_credentials(pod)
    assert (found.server, found.in_cluster) == ("https://10.0.0.1:443", True)
    assert (found.access.authorization, found.access.ca.content) == ("Bearer first", b"authority")
    assert find_credentials({**pod, "KUBECONFIG": path}).in_cluster is False


def test_ipv6(pod):
    """An IPv6 address is put in brackets."""
    assert find_credentials({**pod, "KUBERNETES_SERVICE_HOST": "fd00::1"}).server == "https://[fd00::1]:443"


def test_a_pod_s_token_changes(pod):
    """The next renewal takes a token or an authority that changed in its file."""
    found, folder = find_credentials(pod), Path(pod["DISPATCHER_SERVICE_ACCOUNT_DIR"])
    assert found.renew(refused=False) is False
    assert found.renew(refused=True) is False
    (folder / "token").write_text("second")
    assert found.renew(refused=False) is True
    assert found.access.authorization == "Bearer second"
    (folder / "ca.crt").write_text("other")
    assert found.renew(refused=False) is True


def test_a_pod_s_token_is_gone(pod):
    """A missing, empty or malformed token file is an error, and the old token is used until the file is right again."""
    found, token = find_credentials(pod), Path(pod["DISPATCHER_SERVICE_ACCOUNT_DIR"], "token")
    token.unlink()
    assert refuse(lambda: found.renew(refused=True)) == f"the Pod's service account: tokenFile {ABSENT}"
    for text in ("", "\n", f"{SECRET}\n{SECRET}", f"{SECRET}\x7f", "é"):
        token.write_text(text)
        assert refuse(lambda: found.renew(refused=False)) == f"{token}: is empty, or has characters that no token has"
    assert found.access.authorization == "Bearer first"
    token.write_text("first")
    assert found.renew(refused=False) is False


def test_files_are_merged(write, tmp_path):
    """For each entry and for current-context, the first file that has it wins; missing and empty files are skipped."""
    one = write({"clusters": [{"name": "c", "cluster": {"server": "https://one", "tls-server-name": "name"}}]}, "a/one")
    two = write({**CONFIG, "clusters": [{"name": "c", "cluster": {"server": "https://two"}}]}, "b/two")
    three = write({**CONFIG, "current-context": "y", "users": [{"name": "u", "user": {"token": "three"}}]}, "three")
    empty = write("", "empty")
    found = find_credentials({"KUBECONFIG": f"{tmp_path}/missing:{empty}::{one}:{two}:{three}"})
    assert (found.server, found.access.server_name) == ("https://one", "name")
    assert found.access.authorization == f"Bearer {SECRET}"
    assert find_credentials({"KUBECONFIG": f"{two}:{one}"}).server == "https://two"


def test_paths_are_relative_to_their_file(write, tmp_path, monkeypatch):
    """A path is relative to the file that names it, wherever the program was started."""
    for name in ("a/ca", "b/crt", "b/key", "b/token"):
        write(name, name)
    cluster = {"server": "https://one", "certificate-authority": "ca"}
    one = write({"clusters": [{"name": "c", "cluster": cluster}]}, "a/config")
    user = {"client-certificate": "crt", "client-key": "../b/key", "tokenFile": "./token", "token": "not this"}
    write({**CONFIG, "clusters": None, "users": [{"name": "u", "user": user}]}, "b/config")
    monkeypatch.chdir(tmp_path)
    access = find_credentials({"KUBECONFIG": f"{one}:b/config"}).access
    assert [pem.content for pem in (access.ca, access.certificate, access.key)] == [b"a/ca", b"b/crt", b"b/key"]
    assert access.authorization == "Bearer b/token"


def test_data_win_over_files(find):
    """Data in the kubeconfig win over a file that is named beside them; line breaks in the data do not matter."""
    user = {f"client-{name}": "/nonexistent" for name in ("certificate", "key")}
    user |= {
        "client-certificate-data": encode("crt"),
        "client-key-data": encode("key" * 50)[:60] + "\n" + encode("key" * 50)[60:],
    }
    access = find(user, {"certificate-authority": "/nonexistent", "certificate-authority-data": encode("ca")}).access
    assert [pem.content for pem in (access.ca, access.certificate, access.key)] == [b"ca", b"crt", b"key" * 50]


def test_what_else_a_cluster_says(find):
    """The server's path, tls-server-name, proxy and insecure flag are read; a slash at the URL's end is dropped."""
    access = find(None, {
        "server": "https://rancher.test/k8s/clusters/c-1/", "tls-server-name": "n", "insecure-skip-tls-verify": True,
        "proxy-url": "http://a:b@proxy.test:3128",
    }).access  # fmt: skip
    assert (access.server, access.server_name) == ("https://rancher.test/k8s/clusters/c-1", "n")
    assert (access.insecure, access.proxy) == (True, "http://a:b@proxy.test:3128")


@pytest.mark.parametrize(
    ("user", "authorization"),
    [
        ({}, ""),
        ({"token": "t"}, "Bearer t"),
        ({"username": "ü", "password": "p:w"}, f"Basic {encode('ü:p:w')}"),
        ({"username": "u"}, f"Basic {encode('u:')}"),
        ({"token": "t", "exec": {"apiVersion": V1, "command": "/nonexistent"}}, "Bearer t"),
    ],
)
def test_users(find, user, authorization):
    """A user is a token, or a name and a password; if the entry has one of them, its plugin is not run."""
    assert find(user).access.authorization == authorization


def test_nobody(write):
    """A context without a user, or a user without credentials, sends no authorization."""
    for config in (
        {"contexts": [{"name": "x", "context": {"cluster": "c"}}], "users": None},
        {"users": [{"name": "u"}]},
    ):
        assert find_credentials({"KUBECONFIG": write({**CONFIG, **config})}).access.authorization == ""


FAULTY = [
    (
        {"users": [{"name": "u", "user": {"token": 7}}]},
        "is not a kubeconfig: users[0].user.token is an integer; expected: a string or null",
    ),
    ([], "is not a kubeconfig: is an array; expected: an object"),
    ({"current-context": ""}, "current-context is missing; `kubectl config use-context` sets it"),
    ({"current-context": "y"}, "context 'y' is named, but does not exist"),
    ({"contexts": [{"name": "x", "context": {"user": "u"}}]}, "context 'x': cluster is missing"),
    ({"clusters": None}, "cluster 'c' is named, but does not exist"),
    ({"users": []}, "user 'u' is named, but does not exist"),
    (f"users:\n- name: u\n  user: {{token: {SECRET}", "line 4: is not YAML"),
    (f"users: *{SECRET}", "line 1: is not YAML"),
    (f"users: !{SECRET} x", "line 1: is not YAML"),
    ("a: 1\n---\nb: 1\n", "line 2: is not YAML"),
    ("\0", "is not YAML"),
    ("{[]: 1}", "line 1: is not YAML"),
]  # fmt: skip


@pytest.mark.parametrize(("config", "told"), FAULTY)
def test_faulty_kubeconfigs(write, config, told):
    """A fault in a kubeconfig is reported in one line that names the file."""
    path = write({**CONFIG, **config} if isinstance(config, dict) else config if isinstance(config, str) else "[]")
    assert refuse(lambda: find_credentials({"KUBECONFIG": path})).startswith(f"{path}: {told}")


def test_unreadable_kubeconfigs(tmp_path):
    """A KUBECONFIG that names no existing file is an error, and so is a file that cannot be read."""
    assert refuse(lambda: find_credentials({"KUBECONFIG": "/nonexistent/a:/nonexistent/b"})) == (
        "KUBECONFIG: '/nonexistent/a:/nonexistent/b' names no file that exists"
    )
    assert (
        refuse(lambda: find_credentials({"KUBECONFIG": str(tmp_path)})) == f"{tmp_path}: cannot be read: Is a directory"
    )
    for content in (SECRET, f"token={SECRET}", SECRET * 99, f"{SECRET * 99}/x", f"{__file__}/{SECRET}"):
        assert refuse(lambda: find_credentials({"KUBECONFIG": content})).startswith("KUBECONFIG: ... ")  # noqa: B023


URL = "allowed: an http or https URL without a password"
PROXY = "allowed: an http, https or socks5 URL"
SERVERS = (
    *(None, "", "api.test", "ftp://a", "https://", "https://a:x", "https://a:0"),
    *(f"https://a:{SECRET}@b", "https://[a", "https://a\n"),
)
ABSENT = "cannot be read: No such file or directory"
INSECURE = {"insecure-skip-tls-verify": True, "certificate-authority-data": encode("x")}


@pytest.mark.parametrize(
    ("cluster", "told"),
    [
        *[({"server": server}, f"server is not usable; {URL}") for server in SERVERS],
        *[
            ({"proxy-url": proxy}, f"proxy-url is not usable; {PROXY}")
            for proxy in (
                "proxy:1",
                "ftp://a",
                f"http://{SECRET}@",
                f"http://u:{SECRET}\\x@proxy:1",
                "http://[",
                "http://a:99999",
            )
        ],
        ({"proxy-url": "socks5://a:1"}, "proxy-url is socks5, for which the package PySocks has to be installed"),
        ({"certificate-authority": "/nonexistent"}, f"certificate-authority {ABSENT}"),
        ({"certificate-authority-data": SECRET}, "certificate-authority-data is not base64"),
        (INSECURE, "insecure-skip-tls-verify and certificate-authority are both set; allowed: one of them"),
    ],
)
def test_faulty_clusters(find, cluster, told, tmp_path):
    """A fault in a cluster's entry is reported in one line that names the file and the entry."""
    assert refuse(lambda: find(None, cluster)) == f"{tmp_path}/config: cluster 'c': {told}"


@pytest.mark.parametrize(
    ("user", "told"),
    [
        ({"client-key-data": f"{SECRET}!"}, "client-key-data is not base64"),
        ({"client-key-data": encode("x")}, "client-certificate is missing"),
        ({"client-certificate-data": encode("x")}, "client-key is missing"),
        ({"client-key": f"-----BEGIN\n{SECRET}/{SECRET}\n"}, f"client-key {ABSENT}"),
        ({"tokenFile": SECRET}, f"tokenFile {ABSENT}"),
        ({"token": f"{SECRET}\nX: y"}, "token: is empty, or has characters that no token has"),
        ({"auth-provider": {"name": "gcp"}}, "auth-provider was removed in Kubernetes 1.26; allowed: exec"),
        ({"token": "t", "as-groups": ["a"]}, "as is missing; as-uid, as-groups and as-user-extra need it"),
        ({"as": "a\r\nb"}, "as, as-uid, as-groups and as-user-extra: allowed: printable ASCII"),
    ],
)
def test_faulty_users(find, user, told, tmp_path):
    """A fault in a user's entry is reported in one line that names the file and the entry."""
    assert refuse(lambda: find(user)) == f"{tmp_path}/config: user 'u': {told}"


@pytest.mark.parametrize("version", ["v1", "v1beta1"])
def test_a_plugin_s_token(find, plugin, version):
    """A plugin gets its arguments and variables and gives a token, in the API version that the kubeconfig names."""
    version = f"client.authentication.k8s.io/{version}"
    body = "told = sys.argv[1:] + [os.environ[name] for name in ('A', 'B')] + [sys.stdin.read()]\n"
    body += printing(version, token="").replace("''", "'-'.join(told)")
    user = plugin(body, apiVersion=version, args=["get", "token"], env=[{"name": "A", "value": "1"}])
    assert find(user, A="0", B="2").access.authorization == "Bearer get-token-1-2-"


def test_a_plugin_on_the_path(find, plugin, tmp_path):
    """A command without a slash is searched for on the PATH."""
    user = plugin(printing(token="t"), command="plugin")
    assert find(user, PATH=str(tmp_path)).access.authorization == "Bearer t"


@pytest.mark.parametrize("wanted", [True, False])
def test_what_a_plugin_is_told(find, plugin, tmp_path, wanted):
    """KUBERNETES_EXEC_INFO says that the call is not interactive, and names the cluster if the plugin wants that."""
    write = f"open({str(tmp_path / 'info')!r}, 'w').write(os.environ['KUBERNETES_EXEC_INFO'])\n"
    extension = {"name": "client.authentication.k8s.io/exec", "extension": {"audience": "a"}}
    cluster = {"certificate-authority-data": encode("ca"), "tls-server-name": "n", "extensions": [extension]}
    find(plugin(write + printing(token="t"), provideClusterInfo=wanted), cluster)
    told = {
        "server": "https://api.test:6443",
        "certificate-authority-data": encode("ca"),
        "tls-server-name": "n",
        "config": {"audience": "a"},
    }
    assert json.loads((tmp_path / "info").read_text()) == {
        "apiVersion": V1,
        "kind": "ExecCredential",
        "spec": {"interactive": False, **({"cluster": told} if wanted else {})},
    }


def test_a_plugin_s_certificate(find, plugin):
    """A plugin may give a client certificate and its key instead of a token."""
    access = find(plugin(printing(clientCertificateData="crt", clientKeyData="key"))).access
    assert (access.certificate.content, access.key.content, access.authorization) == (b"crt", b"key", "")


def test_when_a_plugin_is_asked_again(find, plugin, tmp_path):
    """A plugin is run again only if the API server refused its token or the token has expired."""
    count = f"path = {str(tmp_path / 'count')!r}\nopen(path, 'a').write('x')\nn = os.path.getsize(path)\n"
    answer = printing(token="", expirationTimestamp=None).replace("''", "f't{n}'")
    found = find(plugin(count + answer))
    assert (found.access.authorization, found.renew(refused=False)) == ("Bearer t1", False)
    assert (found.renew(refused=True), found.access.authorization) == (True, "Bearer t2")
    plugin(count + answer.replace("None", "'2000-01-01T00:00:00Z'"))
    assert (found.renew(refused=False), found.access.authorization) == (False, "Bearer t2")
    assert (found.renew(refused=True), found.access.authorization) == (True, "Bearer t3")
    plugin(count + answer.replace("None", "'2999-01-01T00:00:00+01:00'"))
    assert (found.renew(refused=False), found.access.authorization) == (True, "Bearer t4")
    assert (found.renew(refused=False), found.access.authorization) == (False, "Bearer t4")


def test_a_plugin_that_fails_later(find, plugin):
    """A plugin that fails when it is run again is an error, and its former token stays in use."""
    found = find(plugin(printing(token="t")))
    plugin("sys.exit(3)")
    assert refuse(lambda: found.renew(refused=True)).endswith("plugin': failed with 3")
    assert found.access.authorization == "Bearer t"


@pytest.mark.parametrize(
    ("body", "entry", "told"),
    [
        ("", {"command": "./absent", "installHint": "get it:\n  x y\n"}, "does not exist; get it: x y"),
        ("", {"command": "absent"}, "does not exist"),
        ("", {"command": "/"}, "cannot be run: Permission denied"),
        ("", {"apiVersion": "v1"}, f"apiVersion 'v1' is not known; allowed: {V1} and {V1}beta1"),
        ("", {"interactiveMode": "Always"}, "interactiveMode 'Always' is not allowed: there is no terminal to ask at"),
        ("", {}, "printed no ExecCredential: is not JSON"),
        (f"print('{SECRET}')", {}, "printed no ExecCredential: is not JSON"),
        ("os.write(1, b'\"\\xff')", {}, "printed no ExecCredential: is not JSON"),
        ("print('[]')", {}, "printed no ExecCredential: is an array; expected: an object"),
        (printing(token=7), {}, "printed no ExecCredential: status.token is an integer; expected: a string or null"),
        (
            *(printing(token="t", expirationTimestamp=SECRET), {}),
            "printed no ExecCredential: status.expirationTimestamp is not a time; expected: RFC 3339 with a time zone",
        ),
        (printing(f"{V1}beta1", token="t"), {}, f"printed something else than an ExecCredential of {V1}"),
        (printing(), {}, "printed neither a token nor a client certificate"),
        (printing(clientKeyData="x"), {}, "printed only one of clientCertificateData and clientKeyData"),
        ("os.kill(os.getpid(), 9)", {}, "failed with -9"),
    ],
)
def test_faulty_plugins(find, plugin, tmp_path, body, entry, told):
    """A fault of a plugin is reported in one line that names its entry and its command."""
    line = refuse(lambda: find(plugin(body, **entry)))
    assert line.startswith(f"{tmp_path}/config: user 'u': exec ")
    assert line.endswith(f"': {told}")


def test_a_plugin_that_hangs(write, plugin, tmp_path):
    """A plugin that does not end is killed with the children that hold its output."""
    write_child = f"open({str(tmp_path / 'child')!r}, 'w').write(str(os.getpid()))"
    body = f"child = os.fork()\nif not child: {write_child}\ntime.sleep(1000)"
    path = write({**CONFIG, "users": [{"name": "u", "user": plugin(body)}]})
    assert refuse(lambda: find_credentials({"KUBECONFIG": path}, 1)).endswith("took longer than 1 seconds")
    child = int((tmp_path / "child").read_text())
    wait_until(lambda: is_over(child))


def is_over(pid: int) -> bool:
    """Tell whether a process has ended, even if it is not reaped yet."""
    with suppress(psutil.NoSuchProcess):
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    return True


def test_what_a_plugin_says(find, plugin, capfd):
    """A plugin's standard error appears on the standard error of our process."""
    find(plugin("print('look here', file=sys.stderr)\n" + printing(token="t")))
    assert "look here" in capfd.readouterr().err


def test_a_refused_token_is_looked_for_in_the_kubeconfig(write):
    """After a refusal, the kubeconfig is read again, but the context of the start stays in use."""
    found = find_credentials({"KUBECONFIG": write(CONFIG)})
    other = {
        "contexts": [*CONFIG["contexts"], {"name": "y", "context": {"cluster": "d", "user": "u"}}],
        "current-context": "y",
    }
    write({**CONFIG, **other, "users": [{"name": "u", "user": {"token": "new"}}]})
    assert found.renew(refused=False) is False
    assert found.renew(refused=True) is True
    assert (found.server, found.access.authorization) == ("https://api.test:6443", "Bearer new")
    write("{")
    refuse(lambda: found.renew(refused=True))
    assert found.access.authorization == "Bearer new"
