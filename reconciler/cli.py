"""The command: arguments and environment to settings; picks source and sink; signals; exit codes."""

import argparse
import dataclasses
import os
import signal
import sys
import tempfile
import time
from collections.abc import Mapping
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from types import FrameType
from typing import NoReturn

from reconciler import __version__
from reconciler.artefact import Artefact, ArtefactError, NotAnArtefactError, Nowhere, read_artefact
from reconciler.listing import Listing, select
from reconciler.loop import Sink, reconcile
from reconciler.nginx import Nginx, NginxError, check_modules, check_tree, find_binary, find_version
from reconciler.recording import STANDARD_INPUT, RecordingError, find_recordings, read_recordings
from reconciler.report import Report
from reconciler.routes import RoutesError, compare
from reconciler.settings import Settings, SettingsError, read_settings

OK, DIFFERENT, WRONG_INPUT, FAILED = 0, 1, 2, 3
_DEFAULT_VERSION = (1, 26, 3)


class _Stopped(BaseException):
    """SIGINT or SIGTERM came; like KeyboardInterrupt it is nobody's error."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number


class _Parser(argparse.ArgumentParser):
    """A parser whose refusal is one line."""

    def error(self, message: str) -> NoReturn:
        self.exit(WRONG_INPUT, f"dispatcher: error: {message} (see {self.prog} --help)\n")


def main(arguments: list[str] | None = None, environment: Mapping[str, str] = os.environ) -> int:
    """Run the command and give its exit code: 0, 1 (found what was asked for), 2 (wrong input) or 3 (failed)."""
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]
    parser = _build_parser()
    given = parser.parse_args(arguments)
    report = Report(sys.stderr, given.log_format)
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _stop)
    try:
        settings = read_settings(environment)
        if given.command == "replay":
            return _replay(given, settings, report)
        return _run_once(given, settings, report, environment)
    except SettingsError as error:
        for line in error.lines:
            report.tell_error(line)
    except (RecordingError, NotAnArtefactError, _UsageError) as error:
        report.tell_error(str(error))
    except (ArtefactError, NginxError) as error:
        report.tell_error(str(error))
        return FAILED
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return FAILED
    except _Stopped as stopped:
        return 128 + stopped.number
    return WRONG_INPUT


class _UsageError(Exception):
    """Arguments that do not go together."""


def _stop(number: int, _: FrameType | None) -> NoReturn:
    raise _Stopped(number)


def _build_parser() -> argparse.ArgumentParser:
    common = _Parser(add_help=False, argument_default=argparse.SUPPRESS)
    common.add_argument("--output", metavar="DIR", type=Path, help="write the rendered tree, or the releases, to DIR")
    common.add_argument("--no-validate", action="store_true", help="do not test the tree with nginx -t")
    common.add_argument("--strict", action="store_true", help="exit 1 when there is any problem in the objects")
    common.add_argument(
        "--log-format", choices=("text", "json"), help="text for people (the default), or lines of JSON"
    )
    parser = _Parser(
        prog="dispatcher",
        description="Route names and paths straight to Pods: annotations in, a running nginx out.",
        epilog="Settings are environment variables; the README lists them. Exit codes: 0 done, 1 found what --diff or "
        "--strict looks for, 2 wrong input, 3 failed.",
        parents=[common],
        allow_abbrev=False,
    )
    parser.set_defaults(output=None, no_validate=False, strict=False, log_format="text", command=None)
    parser.add_argument("--version", action="version", version=f"dispatcher {__version__}")
    parser.add_argument("--once", action="store_true", help="reconcile once and end, as for CI")
    parser.add_argument(
        "--snapshot", metavar="PATH", nargs="+", action="extend", default=[],
        help="read recordings, merged, in place of a cluster: files or folders of Lists or manifests, - for stdin",
    )  # fmt: skip
    parser.add_argument(
        "--diff", metavar="DIR", type=Path, help="compare with an artefact; exit 1 when routing differs"
    )
    commands = parser.add_subparsers(metavar="replay", title="commands", dest="command")
    replay = commands.add_parser(
        "replay", parents=[common], allow_abbrev=False, help="run recordings in order through the loop",
        description="Run recordings in order, and tell for each what the loop did.",
    )  # fmt: skip
    replay.add_argument(
        "paths", metavar="PATH", nargs="+", help="a recording, a folder of them, or - for standard input"
    )
    replay.add_argument("--serve", action="store_true", help="serve each release with a real nginx")
    replay.add_argument("--keep", action="store_true", help="with --serve: go on serving until a signal comes")
    return parser


def _run_once(given: argparse.Namespace, settings: Settings, report: Report, environment: Mapping[str, str]) -> int:
    if not given.once and (given.snapshot or given.output or given.diff or given.strict or given.no_validate):
        raise _UsageError("--snapshot, --output, --diff, --strict and --no-validate go with --once")
    if not given.snapshot:
        raise _UsageError(_no_cluster(environment))
    listing = _read(find_recordings(given.snapshot), settings)
    settings, sink = _prepare(given, settings, report)
    cycle = reconcile(listing, settings, Nowhere() if given.diff else sink, None, time.time())
    for problem in cycle.table.problems:
        report.tell_problem(problem)
    found = given.strict and bool(cycle.table.problems)
    if given.diff:
        outside = [path for path in cycle.files if path.startswith("/")]
        try:
            changes = compare(read_artefact(given.diff, outside), cycle.files)
        except RoutesError as error:
            raise NotAnArtefactError(f"{given.diff}: is no artefact of this version: {error}") from None
        Report(sys.stdout, given.log_format).tell_changes(changes)
        found = found or bool(changes)
        sink.apply(cycle.files)
    elif not given.output:
        sys.stdout.buffer.write(cycle.files["nginx.conf"].content)
        sys.stdout.flush()
    return DIFFERENT if found else OK


def _replay(given: argparse.Namespace, settings: Settings, report: Report) -> int:
    if given.keep and not given.serve:
        raise _UsageError("--keep goes with --serve")
    if given.once or given.snapshot or given.diff:
        raise _UsageError("--once, --snapshot and --diff do not go with replay")
    if given.serve and given.no_validate:
        raise _UsageError("--no-validate does not go with --serve: what is served is tested")
    paths = find_recordings(given.paths)
    told, last, failed, found = Report(sys.stdout, given.log_format), None, False, False
    with ExitStack() as stack:
        settings, sink = _prepare_serving(given, settings, stack) if given.serve else _prepare(given, settings, report)
        for path in paths:
            listing = _read([path], settings)
            try:
                cycle = reconcile(listing, settings, sink, last, time.time())
            except (ArtefactError, NginxError) as error:
                report.tell_error(f"{_label(path)}: {error}")
                failed = True
                continue
            told.tell_cycle(_label(path), cycle, last)
            last, found = cycle, found or bool(given.strict and cycle.table.problems)
        if given.keep and last:
            _serve_on(settings, told)
    return FAILED if failed else DIFFERENT if found else OK


def _serve_on(settings: Settings, told: Report) -> None:
    """Go on serving until a signal comes, which is how this ends well."""
    try:
        told.tell_serving(settings.port)
        while True:
            signal.pause()
    except _Stopped:
        return


def _label(path: str) -> str:
    return "standard input" if path == STANDARD_INPUT else Path(path).name


def _read(paths: list[str], settings: Settings) -> Listing:
    return select(read_recordings(paths), settings.selector, settings.api_key_secret_name)


def _prepare(given: argparse.Namespace, settings: Settings, report: Report) -> tuple[Settings, Sink]:
    """Find out what nginx there is, and make the sink that writes and tests trees."""
    binary = find_binary(settings.nginx_binary)
    tester = None if given.no_validate else binary
    if not binary and not given.no_validate:
        report.tell_warning(f"{settings.nginx_binary} is not there, so the configuration is not tested")
    if tester and settings.ssl_cert_dir and not given.output:
        report.tell_warning("SSL_CERT_DIR lies outside of the tree, so the configuration is only tested with --output")
        tester = None
    if tester:
        check_modules(tester, settings)
    test = partial(check_tree, tester) if tester else None
    return _know_version(settings, binary), Artefact(given.output, test) if given.output else Nowhere(test)


def _prepare_serving(given: argparse.Namespace, settings: Settings, stack: ExitStack) -> tuple[Settings, Sink]:
    """Make the sink that serves; it ends with the stack."""
    folder = given.output or stack.enter_context(tempfile.TemporaryDirectory(prefix="dispatcher-"))
    binary = find_binary(settings.nginx_binary) or settings.nginx_binary
    settings = dataclasses.replace(_know_version(settings, binary), nginx_binary=binary)
    nginx = Nginx(Path(folder), settings)
    stack.callback(nginx.stop)
    return settings, nginx


def _know_version(settings: Settings, binary: str | None) -> Settings:
    """Take the version that the setting gives, else ask nginx, else assume one that most nginx read."""
    version = settings.nginx_version or (find_version(binary) if binary else _DEFAULT_VERSION)
    return dataclasses.replace(settings, nginx_version=version)


def _no_cluster(environment: Mapping[str, str]) -> str:
    configured = environment.get("KUBECONFIG") or os.path.exists(f"{environment.get('HOME', '')}/.kube/config")
    if configured or environment.get("KUBERNETES_SERVICE_HOST"):
        return "this version cannot read a cluster yet; give recordings: --once --snapshot PATH, or replay PATH"
    return (
        "there is no cluster: this is no Pod (KUBERNETES_SERVICE_HOST is not set), and neither KUBECONFIG nor "
        "~/.kube/config is there (nor can this version read one yet); --once --snapshot PATH and replay PATH need none"
    )
