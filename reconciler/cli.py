"""The command line: reads arguments and settings, picks the mode, and gives the exit code."""

import argparse
import os
import signal
import sys
from collections.abc import Mapping
from pathlib import Path
from textwrap import indent
from types import FrameType
from typing import NoReturn

from reconciler import __version__
from reconciler.cluster.credentials import CredentialsError
from reconciler.disk.artefact import NotAnArtefactError
from reconciler.disk.recordings import RecordingError
from reconciler.loop.ports import SinkError, SourceError
from reconciler.modes import completion, explain, lint, publish, record, replay
from reconciler.modes.arguments import FAILED, WRONG_INPUT, Command, UsageError
from reconciler.modes.follow import follow
from reconciler.modes.once import PUBLISHED, run_once
from reconciler.modes.setting_names import find_misspelt
from reconciler.modes.signals import Stopped
from reconciler.nginx.sandbox import shield
from reconciler.settings import Settings, SettingsError, read_settings
from reconciler.status.log import Log
from reconciler.status.server import PortError
from reconciler.status.status_reader import RouterError

_COMMANDS = {
    "replay": replay.COMMAND,
    "record": record.COMMAND,
    "publish": publish.COMMAND,
    "lint": lint.COMMAND,
    "explain": explain.COMMAND,
    "completion": completion.COMMAND,
}
_EXAMPLES = """dispatcher                                          print the nginx.conf that would be served
dispatcher --serve --output /srv/router             serve it, with an nginx of its own
dispatcher --once --snapshot FILE --output router   write the tree as an artefact, as for CI"""
_NOTES = """Settings are environment variables; docs/settings.md lists them.
Exit codes: 0 done, 1 found what --diff, --strict or the command looks for, 2 wrong input, 3 failed."""


class _Parser(argparse.ArgumentParser):
    """A parser whose error message is one line."""

    def error(self, message: str) -> NoReturn:
        self.exit(WRONG_INPUT, f"dispatcher: error: {message} (see {self.prog} --help)\n")


def main(arguments: list[str] | None = None, environment: Mapping[str, str] = os.environ) -> int:
    """Run the command and give its exit code.

    It is 0, 1 (found what --diff, --strict or the command looks for), 2 (wrong input) or 3 (failed).
    """
    _open_missing()
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]
    parser = _build_parser()
    # Not by set_defaults: a command's parser would overwrite the arguments before the command with its defaults.
    defaults = {
        "output": None,
        "no_validate": False,
        "strict": False,
        "log_format": "text",
        "serve": False,
        "parser": parser,  # shell completion reads it
    }
    given = parser.parse_args(arguments, argparse.Namespace(**defaults))
    log = Log(sys.stderr, given.log_format)
    shield()
    _install()
    try:
        return _run(given, read_settings(environment), log, environment)
    except SettingsError as error:
        for line in error.lines:
            log.tell_error(line)
    except (RecordingError, NotAnArtefactError, CredentialsError, UsageError) as error:
        log.tell_error(str(error))
    except (SinkError, SourceError, PortError, RouterError) as error:
        log.tell_error(str(error))
        return FAILED
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return FAILED
    except Stopped as stopped:
        return 128 + stopped.number
    return WRONG_INPUT


def _open_missing() -> None:
    """Open /dev/null for a standard stream that is closed: else the next file that is opened would get its number."""
    for number, name, mode in ((0, "stdin", "r"), (1, "stdout", "w"), (2, "stderr", "w")):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)
            os.set_inheritable(number, True)
        if getattr(sys, name) is None:  # also if Python itself has taken the number for a file of its own
            setattr(sys, name, Path(os.devnull).open(mode))  # noqa: SIM115  it stays open


def _install() -> None:
    """Let signals that end a process end it in order: nginx is stopped, and folders with keys are removed."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGQUIT):
        signal.signal(number, _stop)
    if signal.getsignal(signal.SIGHUP) != signal.SIG_IGN:  # nohup sets SIG_IGN
        signal.signal(signal.SIGHUP, _stop)


def _stop(number: int, _: FrameType | None) -> NoReturn:
    raise Stopped(number)


def _build_parser() -> _Parser:
    told, rendering = _declare_common()
    parser = _Parser(
        prog="dispatcher",
        description="Route names and paths straight to Pods: annotations in, a running nginx out.",
        epilog=f"examples:\n{indent(_EXAMPLES, '  ')}\n\n{_NOTES}",
        parents=[told, rendering],
        allow_abbrev=False,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"dispatcher {__version__}")
    parser.add_argument("--once", action="store_true", help="reconcile once and end, as for CI")
    parser.add_argument(
        "--snapshot", metavar="PATH", nargs="+", action="extend", default=[],
        help="read recordings, merged, in place of a cluster: files or folders of Lists or manifests, - for stdin",
    )  # fmt: skip
    parser.add_argument(
        "--diff", metavar="DIR", help="compare with an artefact, or with what is `published`; exit 1 if routing differs"
    )
    parser.add_argument(
        "--serve", action="store_true", help="outside a cluster: run nginx too, its releases in --output"
    )
    commands = parser.add_subparsers(metavar="COMMAND", title="commands", dest="command")
    for name, command in _COMMANDS.items():
        one = commands.add_parser(
            name,
            parents=[told, rendering] if command.renders else [told],
            allow_abbrev=False,
            help=command.summary,
            description=command.description,
            epilog=f"examples:\n{indent(command.examples, '  ')}",
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        command.declare(one)
    return parser


def _declare_common() -> tuple[_Parser, _Parser]:
    """Declare the arguments that all commands have, and those of commands that render trees.

    They may stand before a command or after it.
    """
    told = _Parser(add_help=False, argument_default=argparse.SUPPRESS)
    told.add_argument("--log-format", choices=("text", "json"), help="text for people (the default), or lines of JSON")
    rendering = _Parser(add_help=False, argument_default=argparse.SUPPRESS)
    rendering.add_argument(
        "--output", metavar="DIR", type=Path, help="write the rendered tree, or the releases, to DIR"
    )
    rendering.add_argument("--no-validate", action="store_true", help="do not test the tree with nginx -t")
    rendering.add_argument("--strict", action="store_true", help="exit 1 when there is any problem in the objects")
    return told, rendering


def _run(given: argparse.Namespace, settings: Settings, log: Log, environment: Mapping[str, str]) -> int:
    """Pick the mode that the arguments ask for."""
    command = _COMMANDS.get(given.command)
    _check(given, command, settings)
    for slip in find_misspelt(environment):
        log.tell_warning(slip)
    run = command.run if command else run_once if given.once else follow
    return run(given, settings, log, environment)


def _check(given: argparse.Namespace, command: Command | None, settings: Settings) -> None:
    """Refuse arguments that do not go together."""
    wrong = {
        "--serve does not go with --once, which ends after one cycle": given.serve and given.once,
        "--serve needs --output DIR, where its releases lie": given.serve and not given.command and not given.output,
        "--no-validate does not go with --serve: what is served is tested": given.serve and given.no_validate,
        "--diff published does not go with SNAPSHOT_FROM=published: nothing would be compared": given.diff == PUBLISHED
        and not given.snapshot
        and settings.snapshot_from == "published",
        f"--once, --snapshot and --diff do not go with {given.command}": given.command
        and (given.once or given.snapshot or given.diff),
        f"--output, --serve, --strict and --no-validate do not go with {given.command}": command
        and not command.renders
        and (given.output or given.serve or given.strict or given.no_validate),
        "--snapshot, --diff and --strict go with --once": not given.command
        and not given.once
        and (given.snapshot or given.diff or given.strict),
    }
    for text in [text for text, is_wrong in wrong.items() if is_wrong]:
        raise UsageError(text)
