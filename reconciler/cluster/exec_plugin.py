"""Exec plugins: commands that print credentials. They run as in kubectl, but never interactively."""

import os
import signal
import subprocess
import time
from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, Any

import msgspec

from reconciler.cluster.kubeconfig import CredentialsError, Exec
from reconciler.values.decoding import describe_fault
from reconciler.values.messages import excerpt
from reconciler.values.value import Value

PLUGIN_SECONDS = 30.0
_VERSIONS = tuple(f"client.authentication.k8s.io/{version}" for version in ("v1", "v1beta1"))
_MODES = ("Never", "IfAvailable")


class Issued(Value, frozen=True, rename="camel"):
    """What a plugin printed: a token, or a client certificate and its key as PEM."""

    token: str | None = None
    client_certificate_data: str | None = None
    client_key_data: str | None = None
    expiration_timestamp: Annotated[datetime, msgspec.Meta(tz=True)] | None = None

    def __repr__(self) -> str:
        return f"Issued(expiration_timestamp={self.expiration_timestamp})"

    def is_expired(self) -> bool:
        """Tell whether it has expired."""
        return self.expiration_timestamp is not None and self.expiration_timestamp.timestamp() <= time.time()


class _ExecCredential(Value, frozen=True, rename="camel"):
    """https://kubernetes.io/docs/reference/config-api/client-authentication.v1/."""

    kind: str
    api_version: str
    status: Issued

    def __repr__(self) -> str:
        return "_ExecCredential(...)"


class Plugin(Value, frozen=True):
    """A plugin: the entry that names it, its environment, and the seconds that it may take."""

    entry: Exec
    origin: str
    environment: Mapping[str, str]
    seconds: float

    def __repr__(self) -> str:
        return f"Plugin({self.origin})"


def run_plugin(plugin: Plugin, cluster: Mapping[str, Any] | None) -> Issued:
    """Run a plugin and give the credentials that it prints. CredentialsError says why it gives none.

    The plugin gets `cluster` if its entry sets provideClusterInfo.
    """
    entry, where = plugin.entry, f"{plugin.origin}: exec {plugin.entry.command!a}"
    if entry.api_version not in _VERSIONS:
        raise CredentialsError(
            f"{where}: apiVersion {excerpt(entry.api_version)} is not known; allowed: {' and '.join(_VERSIONS)}"
        )
    if entry.interactive_mode and entry.interactive_mode not in _MODES:
        mode = excerpt(entry.interactive_mode)
        raise CredentialsError(f"{where}: interactiveMode {mode} is not allowed: there is no terminal to ask at")
    return _parse(_run(plugin, where, _describe(entry, cluster)), entry, where)


def _describe(entry: Exec, cluster: Mapping[str, Any] | None) -> str:
    """Make the text of KUBERNETES_EXEC_INFO."""
    spec: dict[str, Any] = {"interactive": False}
    if entry.provide_cluster_info and cluster is not None:
        spec["cluster"] = cluster
    return msgspec.json.encode({"apiVersion": entry.api_version, "kind": "ExecCredential", "spec": spec}).decode()


def _run(plugin: Plugin, where: str, info: str) -> bytes:
    """Run the command in its own session: it has no terminal there, and all its children can be killed."""
    variables = {each.name: each.value for each in plugin.entry.env or ()}
    try:
        with subprocess.Popen(  # noqa: S603  the author of the kubeconfig decides what is run
            [plugin.entry.command, *(plugin.entry.args or ())],
            env={**plugin.environment, **variables, "KUBERNETES_EXEC_INFO": info},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            start_new_session=True,
        ) as process:
            output = _collect(process, plugin.seconds, where)
    except FileNotFoundError:
        hint = " ".join((plugin.entry.install_hint or "").split())
        raise CredentialsError(f"{where}: does not exist{hint and '; ' + hint}") from None
    except (OSError, ValueError) as error:
        raise CredentialsError(f"{where}: cannot be run: {getattr(error, 'strerror', error)}") from None
    if process.returncode:
        raise CredentialsError(f"{where}: failed with {process.returncode}")
    return output


def _collect(process: subprocess.Popen[bytes], seconds: float, where: str) -> bytes:
    """Read what a plugin prints until it ends. Kill it and all its children after `seconds`."""
    try:
        return process.communicate(timeout=seconds)[0]
    except subprocess.TimeoutExpired:
        raise CredentialsError(f"{where}: took longer than {seconds:g} seconds") from None
    finally:
        if process.returncode is None:
            os.killpg(process.pid, signal.SIGKILL)


def _parse(output: bytes, entry: Exec, where: str) -> Issued:
    try:
        answer = msgspec.json.decode(output, type=_ExecCredential)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        why = describe_fault(error) if isinstance(error, msgspec.DecodeError) else "is not UTF-8 text"
        raise CredentialsError(f"{where}: printed no ExecCredential: {why}") from None
    if (answer.kind, answer.api_version) != ("ExecCredential", entry.api_version):
        raise CredentialsError(f"{where}: printed something else than an ExecCredential of {entry.api_version}")
    status = answer.status
    if bool(status.client_certificate_data) != bool(status.client_key_data):
        raise CredentialsError(f"{where}: printed only one of clientCertificateData and clientKeyData")
    if not (status.token or status.client_key_data):
        raise CredentialsError(f"{where}: printed neither a token nor a client certificate")
    return status
