"""Lint: judge manifests before they are deployed, and tell what is wrong with file and line."""

import argparse
import sys
import time
from collections.abc import Mapping

from reconciler.modes.arguments import DIFFERENT, OK, Command
from reconciler.modes.fault_formats import FORMATS
from reconciler.modes.faults import find_faults
from reconciler.modes.sources import read_files
from reconciler.settings import Settings
from reconciler.status.log import Log


def _lint(given: argparse.Namespace, settings: Settings, log: Log, _: Mapping[str, str]) -> int:
    """Judge manifests, and print what is wrong with them."""
    manifests = read_files(given.paths, given.log_format)
    faults = find_faults(manifests, settings, time.time())
    sys.stdout.write(FORMATS[given.format](faults, manifests))
    sys.stdout.flush()
    log.tell_notice(manifests.tell_size())
    return DIFFERENT if faults else OK


def _declare(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "paths", metavar="FILE", nargs="+", help="manifests: files of YAML or JSON, folders, or - for standard input"
    )
    parser.add_argument("--format", choices=tuple(FORMATS), default="text", help="how faults are printed")


COMMAND = Command(
    summary="judge manifests before they are deployed",
    description="Tell what the router would leave out of manifests, with file and line. Exit code 1 if there is "
    "anything.",
    examples="dispatcher lint k8s/\n"
    "kustomize build overlays/production | dispatcher lint -\n"
    "helm template chart | dispatcher lint --format github -",
    declare=_declare,
    run=_lint,
)
