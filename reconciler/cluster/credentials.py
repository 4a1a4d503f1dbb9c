"""The API server's address and our credentials, found as kubectl or a Pod finds them."""

import base64
import binascii
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote

from msgspec.structs import replace

from reconciler.cluster.exec_plugin import PLUGIN_SECONDS, Issued, Plugin, run_plugin
from reconciler.cluster.kubeconfig import (
    Cluster,
    Context,
    CredentialsError,
    Exec,
    User,
    check_proxy,
    check_server,
    read_context,
)
from reconciler.cluster.proxies import find_proxy, hide_password
from reconciler.values.value import Value

__all__ = ["Access", "Credentials", "CredentialsError", "Pem", "find_credentials"]

# https://kubernetes.io/docs/tasks/run-application/access-api-from-pod/
SERVICE_ACCOUNT_DIR = "/var/run/secrets/kubernetes.io/serviceaccount"
_EXEC_EXTENSION = "client.authentication.k8s.io/exec"
_HEADER_CHARACTERS = "!#$%&'*+-.^_`|~"


class Pem(Value, frozen=True):
    """Certificates or a key, and where they come from."""

    content: bytes
    origin: str

    def __repr__(self) -> str:
        return f"Pem({self.origin})"


class Access(Value, frozen=True):
    """All that a request needs. No `ca` means the system's trust store; `proxy` and `headers` may be empty."""

    server: str
    ca: Pem | None
    certificate: Pem | None
    key: Pem | None
    server_name: str
    insecure: bool
    proxy: str
    authorization: str
    headers: tuple[tuple[str, str], ...]

    def __repr__(self) -> str:
        return f"Access({self.server})"


class Credentials:
    """Address and credentials of one API server: `renew` reads them again, and `access` holds what was read last."""

    def __init__(self, find: Callable[[str], Context], ask: Callable[[Context], Issued | None]) -> None:
        self._find = find
        self._ask = ask
        self._context = find("")
        self._issued = ask(self._context)
        self.access = _read_access(self._context, self._issued)

    def __repr__(self) -> str:
        return f"Credentials({self.server})"

    @property
    def in_cluster(self) -> bool:
        """Whether this process runs in a Pod of the cluster."""
        return not self._context.name

    @property
    def account_folder(self) -> str:
        """The folder of the Pod's service account; empty if this process does not run in a Pod."""
        return str(Path(self._context.user.token_file or "").parent) if self.in_cluster else ""

    @property
    def server(self) -> str:
        """The API server's URL."""
        return self.access.server

    @property
    def route(self) -> str:
        """The API server's URL and, without its password, the proxy in between."""
        through = f" through the proxy {hide_password(self.access.proxy)}" if self.access.proxy else ""
        return f"{self.access.server}{through}"

    def renew(self, refused: bool) -> bool:
        """Read the files again, run a plugin whose credentials have expired, and tell whether anything differs.

        `refused`: the API server answered 401. Then the kubeconfig is read again, and a plugin is run in any case. The
        context does not change, because nobody expects the routes of another cluster.
        CredentialsError leaves everything as it was.
        """
        context = self._find(self._context.name) if refused else self._context
        expired = self._issued is not None and self._issued.is_expired()
        issued = self._ask(context) if refused or expired else self._issued
        access = _read_access(context, issued)
        changed = access != self.access
        self._context, self._issued, self.access = context, issued, access
        return changed


def find_credentials(environment: Mapping[str, str], plugin_seconds: float = PLUGIN_SECONDS) -> Credentials | None:
    """Find credentials in KUBECONFIG's files, else in a Pod's service account, else in ~/.kube/config; else give None.

    This process runs in a Pod if KUBERNETES_SERVICE_HOST and KUBERNETES_SERVICE_PORT are set. The service account is in
    SERVICE_ACCOUNT_DIR. For tests, the variable DISPATCHER_SERVICE_ACCOUNT_DIR names another folder.
    CredentialsError says what is wrong with the credentials that were found.
    """

    def ask(context: Context) -> Issued | None:
        entry = _find_exec(context.user)
        plugin = entry and Plugin(entry, context.user_origin, environment, plugin_seconds)
        return run_plugin(plugin, _describe_cluster(context)) if plugin else None

    host, port = (environment.get(f"KUBERNETES_SERVICE_{part}", "") for part in ("HOST", "PORT"))
    default = Path(environment.get("HOME") or "/nonexistent", ".kube/config")
    if named := environment.get("KUBECONFIG"):
        return Credentials(lambda name: _read_context(named.split(":"), name, environment), ask)
    if host and port:
        return Credentials(lambda _: _read_service_account(host, port, _account_folder(environment)), ask)
    if default.is_file():
        return Credentials(lambda name: _read_context([str(default)], name, environment), ask)
    return None


def _read_context(paths: list[str], name: str, environment: Mapping[str, str]) -> Context:
    """Read a context of kubeconfigs, and the proxy that the environment names for its cluster."""
    context = read_context(paths, name)
    if context.cluster.proxy_url:
        return context
    server = check_server(context.cluster.server, context.cluster_origin)
    return replace(context, environment_proxy=find_proxy(server, environment))


def find_account_folders(environment: Mapping[str, str]) -> tuple[str, ...]:
    """Give the folder of a Pod's service account, which no nginx needs; nothing if it does not exist."""
    folder = _account_folder(environment)
    return (str(folder),) if folder.is_dir() else ()


def _account_folder(environment: Mapping[str, str]) -> Path:
    return Path(environment.get("DISPATCHER_SERVICE_ACCOUNT_DIR") or SERVICE_ACCOUNT_DIR)


def _read_service_account(host: str, port: str, folder: Path) -> Context:
    server = f"https://[{host}]:{port}" if ":" in host else f"https://{host}:{port}"
    cluster = Cluster(server, certificate_authority=str(folder / "ca.crt"))
    return Context(
        "", cluster, "KUBERNETES_SERVICE_HOST", User(token_file=str(folder / "token")), "the Pod's service account"
    )  # fmt: skip


def _read_access(context: Context, issued: Issued | None) -> Access:
    cluster, user, origin = context.cluster, context.user, context.cluster_origin
    certificate, key = _read_pair(user, issued, context.user_origin)
    return Access(
        server=check_server(cluster.server, origin),
        ca=_read_ca(context),
        certificate=certificate,
        key=key,
        server_name=cluster.tls_server_name or "",
        insecure=bool(cluster.insecure_skip_tls_verify),
        proxy=check_proxy(cluster.proxy_url, f"{origin}: proxy-url") or context.environment_proxy,
        authorization=_authorize(user, issued, context.user_origin),
        headers=_impersonate(user, context.user_origin),
    )


def _read_ca(context: Context) -> Pem | None:
    cluster, origin = context.cluster, context.cluster_origin
    ca = _read_pem(cluster, "certificate_authority", origin)
    if ca and cluster.insecure_skip_tls_verify:
        raise CredentialsError(
            f"{origin}: insecure-skip-tls-verify and certificate-authority are both set; allowed: one of them"
        )
    return ca


def _read_pair(user: User, issued: Issued | None, origin: str) -> tuple[Pem | None, Pem | None]:
    """Read the client certificate and its key: the entry's own, else those that a plugin gave."""
    certificate, key = (_read_pem(user, name, origin) for name in ("client_certificate", "client_key"))
    if bool(certificate) != bool(key):
        missing = "client-key" if certificate else "client-certificate"
        raise CredentialsError(f"{origin}: {missing} is missing")
    if issued and not key and issued.client_certificate_data and issued.client_key_data:
        where = f"{origin}: exec: "
        return (
            Pem(issued.client_certificate_data.encode(), where + "clientCertificateData"),
            Pem(issued.client_key_data.encode(), where + "clientKeyData"),
        )
    return certificate, key


def _read_pem(entry: Cluster | User, name: str, origin: str) -> Pem | None:
    """Read the data in an entry itself, or else the file that the entry names."""
    shown = name.replace("_", "-")
    if data := getattr(entry, f"{name}_data"):
        try:
            return Pem(base64.b64decode("".join(data.split()), validate=True), f"{origin}: {shown}-data")
        except (binascii.Error, ValueError):
            raise CredentialsError(f"{origin}: {shown}-data is not base64") from None
    path = getattr(entry, name)
    return Pem(_read_file(path, f"{origin}: {shown}"), f"{origin}: {shown} {path}") if path else None


def _read_file(path: str, origin: str) -> bytes:
    """Read a file. The message of an error does not contain its path.

    A person may have put the secret itself into the field, and it must not be logged.
    """
    try:
        return Path(path).read_bytes()
    except (OSError, ValueError) as error:
        raise CredentialsError(f"{origin} cannot be read: {getattr(error, 'strerror', error)}") from None


def _authorize(user: User, issued: Issued | None, origin: str) -> str:
    """Give the value of the header Authorization. A token's file wins over the token, as in kubectl."""
    if user.auth_provider is not None:
        raise CredentialsError(f"{origin}: auth-provider was removed in Kubernetes 1.26; allowed: exec")
    if user.token_file:
        token, origin = _read_file(user.token_file, f"{origin}: tokenFile").decode("latin-1"), user.token_file
    elif user.token:
        token, origin = user.token, f"{origin}: token"
    elif user.username:
        pair = f"{user.username}:{user.password or ''}"
        return f"Basic {base64.b64encode(pair.encode()).decode()}"
    elif issued and issued.token:
        token, origin = issued.token, f"{origin}: exec: token"
    else:
        return ""
    # Checked here, because the message of requests shows a header that requests refuses.
    if not re.fullmatch(r"[!-~]+", token.strip()):
        raise CredentialsError(f"{origin}: is empty, or has characters that no token has")
    return f"Bearer {token.strip()}"


def _impersonate(user: User, origin: str) -> tuple[tuple[str, str], ...]:
    """Make the headers of https://kubernetes.io/docs/reference/access-authn-authz/user-impersonation/."""
    headers = [("Impersonate-Uid", user.impersonate_uid)] if user.impersonate_uid else []
    headers += [("Impersonate-Group", group) for group in user.impersonate_groups or ()]
    for key, values in sorted((user.impersonate_extra or {}).items()):
        headers += [(f"Impersonate-Extra-{quote(key, safe=_HEADER_CHARACTERS)}", value) for value in values]
    if headers and not user.impersonate:
        raise CredentialsError(f"{origin}: as is missing; as-uid, as-groups and as-user-extra need it")
    if user.impersonate:
        headers.insert(0, ("Impersonate-User", user.impersonate))
    if not all(re.fullmatch(r"[!-~](?:[ -~]*[!-~])?", value) for _, value in headers):
        raise CredentialsError(f"{origin}: as, as-uid, as-groups and as-user-extra: allowed: printable ASCII")
    return tuple(headers)


def _find_exec(user: User) -> Exec | None:
    """Find the plugin to run, unless the user has something that kubectl prefers to a plugin."""
    return None if user.token or user.token_file or user.username or user.auth_provider is not None else user.exec


def _describe_cluster(context: Context) -> dict[str, Any]:
    """Collect what a plugin may know about the cluster."""
    cluster, ca = context.cluster, _read_ca(context)
    extension = next((each.extension for each in cluster.extensions or () if each.name == _EXEC_EXTENSION), None)
    told: dict[str, Any] = {
        "server": cluster.server,
        "tls-server-name": cluster.tls_server_name,
        "insecure-skip-tls-verify": cluster.insecure_skip_tls_verify,
        "certificate-authority-data": base64.b64encode(ca.content).decode() if ca else None,
        "proxy-url": cluster.proxy_url,
        "config": extension,
    }
    return {name: value for name, value in told.items() if value}
