"""Sinks that the arguments choose: an artefact, nowhere, or a running nginx. Also finds out nginx's version."""

import argparse
import dataclasses
import sys
from datetime import datetime
from functools import partial
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

from reconciler.disk.artefact import Artefact, Nowhere
from reconciler.loop.events import EndpointsChosen, NginxSized
from reconciler.loop.ports import Sink, Tell
from reconciler.nginx.lua_module import LuaError, find_lua
from reconciler.nginx.machine import count_processors, fit_connections, raise_descriptors
from reconciler.nginx.program import NginxError, check_modules, check_tree, find_binary, find_version
from reconciler.nginx.sink import NginxSink
from reconciler.objects.snapshot import NOTHING, Snapshot
from reconciler.rendering.kept_connections import count_room
from reconciler.settings import Settings
from reconciler.status.log import Log
from reconciler.values.files import Files

_DEFAULT_VERSION = (1, 26, 3)


class Printed:
    """A sink that prints the nginx.conf of each tree that another sink takes."""

    def __init__(self, sink: Sink) -> None:
        self._sink = sink

    def apply(self, files: Files, snapshot: Snapshot = NOTHING) -> str:
        """Pass a tree to the sink, and print its nginx.conf if the sink took it."""
        name = self._sink.apply(files, snapshot)
        sys.stdout.buffer.write(files["nginx.conf"].content)
        sys.stdout.flush()
        return name

    def check(self, files: Files) -> None:
        """Let the sink test a tree."""
        self._sink.check(files)


def prepare(
    given: argparse.Namespace, settings: Settings, log: Log, hidden: tuple[str, ...] = ()
) -> tuple[Settings, Sink]:
    """Find out nginx's version, and make the sink that writes and tests trees.

    nginx cannot read what lies in the folders `hidden`.
    """
    binary = find_binary(settings.nginx_binary)
    tester = None if given.no_validate else binary
    if not binary and not given.no_validate:
        log.tell_warning(f"{settings.nginx_binary} does not exist, so the configuration is not tested")
    if tester and settings.ssl_cert_dir and not given.output:
        log.tell_warning("SSL_CERT_DIR lies outside of the tree, so the configuration is only tested with --output")
        tester = None
    if tester:
        check_modules(tester, settings, hidden)
    test = partial(check_tree, tester, hidden=hidden) if tester else None
    # Elsewhere nobody would read the file with requests, which would only grow.
    settings = dataclasses.replace(_know_version(settings, binary, hidden), request_metrics=False)
    return settings, Artefact(given.output, test) if given.output else Nowhere(test)


def prepare_serving(
    folder: Path, settings: Settings, tell: Tell, hidden: tuple[str, ...] = ()
) -> tuple[Settings, NginxSink]:
    """Make the sink that serves from `folder`. The caller has to stop it. nginx cannot read what lies in `hidden`."""
    binary = find_binary(settings.nginx_binary) or settings.nginx_binary
    settings = dataclasses.replace(_know_version(settings, binary, hidden), nginx_binary=binary)
    wanted, descriptors = settings.worker_connections, raise_descriptors(settings.worker_connections)
    settings = _know_machine(settings, descriptors)
    workers, connections = settings.worker_processes, settings.worker_connections
    settings, chosen = _choose_endpoints(folder, settings, hidden)
    sink = NginxSink(folder, settings, tell, hidden)
    tell(NginxSized(workers, connections, wanted, count_room(connections), descriptors))
    tell(chosen)
    return settings, sink


def _choose_endpoints(folder: Path, settings: Settings, hidden: tuple[str, ...]) -> tuple[Settings, EndpointsChosen]:
    """Choose how Pods come and go in nginx. NginxError if a person chose Lua, and it does not work here."""
    if settings.endpoints == "reload":
        return settings, EndpointsChosen("reload")
    try:
        if {*str(folder.resolve())} & {";", "?"}:
            raise LuaError(f"{folder} has a character to which Lua's search path gives a meaning: ; or ?")
        lua = find_lua(settings, hidden, old_too=settings.endpoints == "lua")
    except LuaError as error:
        if settings.endpoints == "lua":
            raise NginxError(f"ENDPOINTS=lua cannot be used: {error}") from None
        return settings, EndpointsChosen("reload", str(error))
    return dataclasses.replace(settings, lua=lua), EndpointsChosen("lua")


def _know_machine(settings: Settings, descriptors: int) -> Settings:
    """Size nginx by what this machine gives it."""
    files = bool(settings.client_body_buffer_size)
    return dataclasses.replace(
        settings,
        worker_processes=settings.worker_processes or count_processors(),
        worker_connections=fit_connections(settings.worker_connections, descriptors, files=files),
    )


def assume_version(settings: Settings) -> Settings:
    """Assume a version of nginx where none runs: nobody tests or serves what is rendered."""
    return dataclasses.replace(settings, nginx_version=settings.nginx_version or _DEFAULT_VERSION)


def assume_tls(settings: Settings) -> Settings:
    """Assume that there is TLS where nobody serves: whoever does may have it. Its default pair is a stand-in."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "nobody serves this")])
    builder = x509.CertificateBuilder(name, name, key.public_key(), 1, datetime(2020, 1, 1), datetime(2120, 1, 1))
    certificate = builder.sign(key, hashes.SHA256()).public_bytes(Encoding.PEM)
    private = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    return dataclasses.replace(settings, ssl_cert=certificate, ssl_key=private)


def _know_version(settings: Settings, binary: str | None, hidden: tuple[str, ...] = ()) -> Settings:
    """Take the version of NGINX_VERSION, else ask nginx, else assume one whose configuration most versions can read."""
    version = settings.nginx_version or (find_version(binary, hidden) if binary else _DEFAULT_VERSION)
    return dataclasses.replace(settings, nginx_version=version)
