"""Proxies of the environment: how the API server of a kubeconfig is reached, and that a Pod's is reached directly."""

import socket
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml
from support import command
from support.apiserver import TOKEN, ApiServer
from support.authority import Authority
from support.objects import namespace
from support.wire import Wire, tunnel

from reconciler.cluster.credentials import CredentialsError, find_credentials
from reconciler.cluster.proxies import find_proxy, find_variable

NAME = "api.example.com"
PROXY = "http://proxy.test:3128"


@pytest.fixture
def kubeconfig(tmp_path: Path, authority: Authority) -> Callable[..., str]:
    """Write kubeconfigs: give the path."""

    def write(server: str, **cluster: str) -> str:
        (tmp_path / "ca.crt").write_bytes(authority.pem)
        config = {
            "clusters": [{"name": "c", "cluster": {"server": server, "certificate-authority": "ca.crt", **cluster}}],
            "users": [{"name": "u", "user": {"token": TOKEN}}],
            "contexts": [{"name": "x", "context": {"cluster": "c", "user": "u"}}],
            "current-context": "x",
        }
        (tmp_path / "config").write_text(yaml.safe_dump(config))
        return str(tmp_path / "config")

    return write


@pytest.mark.parametrize(
    ("server", "environment", "proxy"),
    [
        (f"https://{NAME}:6443", {"HTTPS_PROXY": PROXY}, ("HTTPS_PROXY", PROXY)),
        (f"https://{NAME}:6443", {"https_proxy": PROXY}, ("https_proxy", PROXY)),
        (f"https://{NAME}:6443", {"HTTPS_PROXY": "proxy.test:3128"}, ("HTTPS_PROXY", PROXY)),
        (f"https://{NAME}:6443", {"HTTPS_PROXY": "https://u:p@proxy.test"}, ("HTTPS_PROXY", "https://u:p@proxy.test")),
        (f"https://{NAME}:6443", {"HTTP_PROXY": PROXY, "ALL_PROXY": PROXY}, None),
        (f"http://{NAME}", {"HTTP_PROXY": PROXY, "NO_PROXY": f"{NAME}:80"}, None),
        (f"http://{NAME}", {"HTTP_PROXY": PROXY, "HTTPS_PROXY": "http://other:1"}, ("HTTP_PROXY", PROXY)),
        ("https://localhost:6443", {"HTTPS_PROXY": PROXY}, None),
        ("https://127.8.0.1:6443", {"HTTPS_PROXY": PROXY}, None),
        ("https://[::1]:6443", {"HTTPS_PROXY": PROXY}, None),
        *[
            (server, {"HTTPS_PROXY": PROXY, variable: excepted}, None)
            for variable in ("NO_PROXY", "no_proxy")
            for server, excepted in [
                (f"https://{NAME}:6443", "*"),
                (f"https://{NAME}:6443", NAME),
                (f"https://{NAME}:6443", "a.test, EXAMPLE.com ,b.test"),
                (f"https://{NAME}:6443", ".example.com"),
                (f"https://{NAME}:6443", "*.example.com"),
                (f"https://{NAME}:6443", f"{NAME}:6443"),
                (f"https://{NAME}", f"{NAME}:443"),
                ("https://10.1.2.3:6443", "10.1.2.3"),
                ("https://10.1.2.3:6443", "10.0.0.0/8"),
                ("https://10.1.2.3:6443", "10.1.2.3:6443"),
                ("https://[fd00::1]:6443", "fd00::/8"),
                ("https://[fd00::1]:6443", "[fd00::1]:6443"),
            ]
        ],
        *[
            (server, {"HTTPS_PROXY": PROXY, "NO_PROXY": excepted}, ("HTTPS_PROXY", PROXY))
            for server, excepted in [
                (f"https://{NAME}:6443", "ample.com"),
                (f"https://{NAME}:6443", f".{NAME}"),
                (f"https://{NAME}:6443", f"{NAME}:443"),
                (f"https://{NAME}:6443", "a.api.example.com"),
                (f"https://{NAME}:6443", ",, "),
                (f"https://{NAME}:6443", "10.0.0.0/8"),
                ("https://10.1.2.3:6443", "10.1.2"),
                ("https://10.1.2.3:6443", "2.3"),
                ("https://10.1.2.3:6443", "10.1.2.3:80"),
                ("https://10.1.2.3:6443", "10.1.2.0/33"),
            ]
        ],
    ],
)
def test_which_proxy(server: str, environment: dict[str, str], proxy: tuple[str, str] | None) -> None:
    """Variables and exceptions mean what they mean to kubectl."""
    assert (find_variable(server, environment), find_proxy(server, environment)) == (proxy or ("", ""))


def test_the_kubeconfig_wins(kubeconfig: Callable[..., str]) -> None:
    """A kubeconfig's own proxy-url wins over the environment, whatever that says."""
    path = kubeconfig(f"https://{NAME}:6443", **{"proxy-url": "http://own.test:1"})
    for variable in (PROXY, "gopher://a"):
        found = find_credentials({"KUBECONFIG": path, "HTTPS_PROXY": variable})
        assert found
        assert found.access.proxy == "http://own.test:1"


def test_a_proxy_that_is_not_usable(kubeconfig: Callable[..., str]) -> None:
    """A variable that names no proxy is refused by name, without its value, which can hold a password."""
    environment = {"KUBECONFIG": kubeconfig(f"https://{NAME}:6443"), "HTTPS_PROXY": "gopher://me:hunter2@proxy:1"}
    with pytest.raises(CredentialsError, match=r"^HTTPS_PROXY is not usable; allowed: an http, https or socks5 URL$"):
        find_credentials(environment)


def test_requests_go_through_the_proxy(
    kubeconfig: Callable[..., str], server: ApiServer, authority: Authority, tmp_path: Path
) -> None:
    """The command reaches a kubeconfig's cluster through HTTPS_PROXY; the proxy sees only where to, and no token."""
    server.load([namespace("a", {"a.dev": {}})])
    with Wire(tunnel(server.port)) as proxy:
        path = kubeconfig(f"https://{NAME}:{server.port}", **{"tls-server-name": "127.0.0.1"})
        shown = command.run("--once", "--no-validate", KUBECONFIG=path, HTTPS_PROXY=proxy.url.replace("//", "//me:pw@"))
    assert (shown.returncode, shown.stderr) == (0, "")
    assert "server_name a.dev;" in shown.stdout
    assert {head.split()[1] for head in proxy.heads} == {f"{NAME}:{server.port}"}
    assert TOKEN not in "".join(proxy.heads)


def test_a_pod_uses_no_proxy(tmp_path: Path, authority: Authority) -> None:
    """In a Pod the token goes to the Pod's API server alone, whatever the environment says; a line tells it."""
    account = tmp_path / "account"
    account.mkdir()
    (account / "token").write_text("secret-of-the-pod")
    (account / "ca.crt").write_bytes(authority.pem)
    with Wire() as proxy, socket.create_server(("127.0.0.1", 0)) as unused:
        pod = {
            "KUBERNETES_SERVICE_HOST": "192.0.2.1", "KUBERNETES_SERVICE_PORT": str(unused.getsockname()[1]),
            "DISPATCHER_SERVICE_ACCOUNT_DIR": str(account), "API_TIMEOUT": "1",
        }  # fmt: skip
        failed = command.run("--once", "--no-validate", HTTPS_PROXY=proxy.url, **pod)
        assert failed.returncode == 3
        assert failed.stderr.splitlines()[0] == (
            "dispatcher: warning: HTTPS_PROXY is set, and not used: a Pod reaches its API server directly"
        )
        assert proxy.heads == []
        odd = command.run("--once", "--no-validate", HTTPS_PROXY="gopher://a", **pod)
        assert (odd.returncode, "HTTPS_PROXY is set, and not used" in odd.stderr) == (3, True)
        quiet = command.run("--once", "--no-validate", HTTPS_PROXY=proxy.url, NO_PROXY="192.0.2.0/24", **pod)
        assert "HTTPS_PROXY" not in quiet.stderr
