"""Sinks as the arguments ask for them: an artefact, nowhere, or a running nginx; which nginx there is."""

import argparse
import dataclasses
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

from reconciler.disk.artefact import Artefact, Nowhere
from reconciler.loop.reconcile import Sink
from reconciler.nginx.program import check_modules, check_tree, find_binary, find_version
from reconciler.nginx.sink import Nginx
from reconciler.objects.snapshot import NOTHING, Snapshot
from reconciler.settings import Settings
from reconciler.status.log import Report
from reconciler.values.files import Files

_DEFAULT_VERSION = (1, 26, 3)


class Printed:
    """A sink that prints the nginx.conf of each tree that another sink takes."""

    def __init__(self, sink: Sink) -> None:
        self._sink = sink

    def apply(self, files: Files, snapshot: Snapshot = NOTHING) -> str:
        """Hand a tree on, and print it once it was taken."""
        name = self._sink.apply(files, snapshot)
        sys.stdout.buffer.write(files["nginx.conf"].content)
        sys.stdout.flush()
        return name

    def check(self, files: Files) -> None:
        """Have a tree tested."""
        self._sink.check(files)


def prepare(
    given: argparse.Namespace, settings: Settings, report: Report, hidden: tuple[str, ...] = ()
) -> tuple[Settings, Sink]:
    """Find out what nginx there is, and make the sink that writes and tests trees.

    No nginx that is asked for that can read what lies in the folders `hidden`.
    """
    binary = find_binary(settings.nginx_binary)
    tester = None if given.no_validate else binary
    if not binary and not given.no_validate:
        report.tell_warning(f"{settings.nginx_binary} is not there, so the configuration is not tested")
    if tester and settings.ssl_cert_dir and not given.output:
        report.tell_warning("SSL_CERT_DIR lies outside of the tree, so the configuration is only tested with --output")
        tester = None
    if tester:
        check_modules(tester, settings, hidden)
    test = partial(check_tree, tester, hidden=hidden) if tester else None
    return _know_version(settings, binary, hidden), Artefact(given.output, test) if given.output else Nowhere(test)


def prepare_serving(
    folder: Path, settings: Settings, tell: Callable[[str], None] | None = None, hidden: tuple[str, ...] = ()
) -> tuple[Settings, Nginx]:
    """Make the sink that serves from `folder`, and cannot read what is `hidden`. It has to be stopped."""
    binary = find_binary(settings.nginx_binary) or settings.nginx_binary
    settings = dataclasses.replace(_know_version(settings, binary, hidden), nginx_binary=binary)
    return settings, Nginx(folder, settings, tell, hidden)


def _know_version(settings: Settings, binary: str | None, hidden: tuple[str, ...] = ()) -> Settings:
    """Take the version that the setting gives, else ask nginx, else assume one that most nginx read."""
    version = settings.nginx_version or (find_version(binary, hidden) if binary else _DEFAULT_VERSION)
    return dataclasses.replace(settings, nginx_version=version)
