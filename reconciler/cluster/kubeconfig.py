"""Kubeconfig files: read, merged as in kubectl, and reduced to the cluster and the user of one context."""

import os
from collections.abc import Iterable
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import msgspec
import yaml
from urllib3.exceptions import LocationParseError
from urllib3.util import parse_url

from reconciler.values.decoding import describe_fault
from reconciler.values.messages import excerpt
from reconciler.values.patterns import FILE_PATH
from reconciler.values.value import Value


class CredentialsError(Exception):
    """The API server cannot be accessed: one line with the file, variable or entry and the fault; never a secret."""


class _Entry(Value, frozen=True, rename="kebab"):
    """A part of a kubeconfig; the names are those of https://kubernetes.io/docs/reference/config-api/kubeconfig.v1/."""


class Extension(_Entry, frozen=True):
    """Additional data of a cluster, for programs that know the name of the extension."""

    name: str
    extension: Any = None


class Cluster(_Entry, frozen=True):
    """An API server's address and how to verify it; paths are absolute."""

    server: str | None = None
    certificate_authority: str | None = None
    certificate_authority_data: str | None = None
    insecure_skip_tls_verify: bool | None = None
    tls_server_name: str | None = None
    proxy_url: str | None = None
    extensions: list[Extension] | None = None

    def __repr__(self) -> str:
        return "Cluster(...)"


class Variable(_Entry, frozen=True):
    """An environment variable of an exec plugin."""

    name: str
    value: str

    def __repr__(self) -> str:
        return f"Variable({self.name})"


class Exec(_Entry, frozen=True, rename="camel"):
    """A command that prints credentials."""

    command: str
    api_version: str
    args: list[str] | None = None
    env: list[Variable] | None = None
    install_hint: str | None = None
    provide_cluster_info: bool | None = None
    interactive_mode: str | None = None

    def __repr__(self) -> str:
        return f"Exec({self.command})"


class User(_Entry, frozen=True):
    """The credentials of a user; paths are absolute."""

    token: str | None = None
    token_file: str | None = msgspec.field(default=None, name="tokenFile")
    username: str | None = None
    password: str | None = None
    client_certificate: str | None = None
    client_certificate_data: str | None = None
    client_key: str | None = None
    client_key_data: str | None = None
    impersonate: str | None = msgspec.field(default=None, name="as")
    impersonate_uid: str | None = msgspec.field(default=None, name="as-uid")
    impersonate_groups: list[str] | None = msgspec.field(default=None, name="as-groups")
    impersonate_extra: dict[str, list[str]] | None = msgspec.field(default=None, name="as-user-extra")
    exec: Exec | None = None
    auth_provider: Any = None

    def __repr__(self) -> str:
        return "User(...)"


class _Pair(_Entry, frozen=True):
    cluster: str = ""
    user: str = ""


class _Named(_Entry, frozen=True):
    name: str
    cluster: Cluster | None = None
    user: User | None = None
    context: _Pair | None = None


class _File(_Entry, frozen=True):
    current_context: str | None = None
    contexts: list[_Named] | None = None
    clusters: list[_Named] | None = None
    users: list[_Named] | None = None


class Context(Value, frozen=True):
    """A cluster and a user of it; the origins name the files and entries from which they were read.

    `environment_proxy` is the proxy that the environment names for the cluster, which counts if it names none itself.
    """

    name: str
    cluster: Cluster
    cluster_origin: str
    user: User
    user_origin: str
    environment_proxy: str = ""


_PATHS = ("certificate_authority", "client_certificate", "client_key", "token_file")
_Files = dict[str, _File]


def read_context(paths: Iterable[str], name: str = "") -> Context:
    """Read a context, by default the current one, from the files that exist. CredentialsError says what is wrong."""
    files = {path: file for path in paths if path and (file := _read_file(Path(path)))}
    if not files:
        # A person may have put the content itself into the variable, and it must not be logged.
        shown = excerpt(":".join(paths)) if all(map(FILE_PATH.accepts, paths)) else "..."
        raise CredentialsError(f"KUBECONFIG: {shown} names no file that exists")
    name = name or next((file.current_context for file in files.values() if file.current_context), "")
    if not name:
        raise CredentialsError(f"{':'.join(files)}: current-context is missing; `kubectl config use-context` sets it")
    origin, entry = _find(files, "context", name)
    pair = entry.context or _Pair()
    if not pair.cluster:
        raise CredentialsError(f"{origin}: cluster is missing")
    cluster_origin, cluster = _find(files, "cluster", pair.cluster)
    user_origin, user = _find(files, "user", pair.user) if pair.user else (origin, None)
    return Context(
        name, cluster.cluster or Cluster(), cluster_origin, (user and user.user) or User(), user_origin
    )  # fmt: skip


def check_server(server: str | None, origin: str) -> str:
    """Give an API server's URL without a slash at its end. CredentialsError if it is not usable."""
    try:
        parts = urlsplit(server or "")
        good = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
    except ValueError:
        good = False
    # requests would use a password in the URL, and messages would show it.
    if not good or "@" in parts.netloc or parts.query or not (server or "").isprintable():
        raise CredentialsError(f"{origin}: server is not usable; allowed: an http or https URL without a password")
    return (server or "").rstrip("/")


def check_proxy(proxy: str | None, where: str) -> str:
    """Give a proxy's URL as requests needs it; empty without a proxy. CredentialsError if it is not usable.

    `where` names the place from which it was read.
    """
    if not proxy:
        return ""
    try:
        parts = urlsplit(proxy)
        good = parts.scheme in ("http", "https", "socks5", "socks5h") and parts.hostname and parts.port != 0
        # For urllib3 a backslash ends the host too. It would report a piece of a password as a port.
        good = good and "\\" not in proxy and bool(parse_url(proxy).host)
    except (ValueError, LocationParseError):
        good = False
    if not good:
        raise CredentialsError(f"{where} is not usable; allowed: an http, https or socks5 URL")
    if not parts.scheme.startswith("socks"):
        return proxy
    if not find_spec("socks"):
        raise CredentialsError(f"{where} is socks5, for which the package PySocks has to be installed")
    return proxy.replace("socks5:", "socks5h:", 1)  # as in kubectl, the proxy resolves the name


def _find(files: _Files, kind: str, name: str) -> tuple[str, _Named]:
    """Find an entry and its place; the first file that has an entry of that name wins."""
    for path, file in files.items():
        for entry in getattr(file, f"{kind}s") or ():
            if entry.name == name:
                return f"{path}: {kind} {excerpt(name)}", entry
    raise CredentialsError(f"{':'.join(files)}: {kind} {excerpt(name)} is named, but does not exist")


def _read_file(path: Path) -> _File | None:
    """Read one file; None if it does not exist."""
    try:
        # Errors name only the line: libyaml's message may hold a piece of a password.
        document = yaml.load(path.read_bytes(), yaml.CSafeLoader)
        file = msgspec.convert({} if document is None else document, _File)
    except FileNotFoundError:
        return None
    except OSError as error:
        shown = f"{path}:" if os.path.exists(path) else "KUBECONFIG: ..."
        raise CredentialsError(f"{shown} cannot be read: {error.strerror}") from None
    except yaml.MarkedYAMLError as error:
        line = f"line {error.problem_mark.line + 1}: " if error.problem_mark else ""
        raise CredentialsError(f"{path}: {line}is not YAML") from None
    except msgspec.ValidationError as error:
        raise CredentialsError(f"{path}: is not a kubeconfig: {describe_fault(error)}") from None
    except (yaml.YAMLError, ValueError, TypeError, LookupError, AttributeError, RecursionError):
        raise CredentialsError(f"{path}: is not YAML") from None
    folder = path.absolute().parent
    return msgspec.structs.replace(
        file,
        clusters=[_resolve(entry, "cluster", folder) for entry in file.clusters or ()],
        users=[_resolve(entry, "user", folder) for entry in file.users or ()],
    )


def _resolve(entry: _Named, kind: str, folder: Path) -> _Named:
    """Make an entry's paths absolute, except a command without a slash: it is searched on the PATH."""
    part = getattr(entry, kind) or {"cluster": Cluster, "user": User}[kind]()
    paths = {name: str(folder / path) for name in _PATHS if (path := getattr(part, name, None))}
    part = msgspec.structs.replace(part, **paths)
    if isinstance(part, User) and part.exec and "/" in part.exec.command:
        command = msgspec.structs.replace(part.exec, command=str(folder / part.exec.command))
        part = msgspec.structs.replace(part, exec=command)
    return msgspec.structs.replace(entry, **{kind: part})
