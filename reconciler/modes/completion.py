"""Shell completion: print the script with which a shell completes this command's arguments."""

import argparse
import sys
from collections.abc import Mapping

import shtab

from reconciler.modes.arguments import OK, Command
from reconciler.settings import Settings
from reconciler.status.log import Log

# What shells offer for an argument, by its name in --help. Paths may be files or folders.
_OFFERS = {"DIR": shtab.DIRECTORY, "FILE": shtab.FILE, "PATH": shtab.FILE}


def _complete(given: argparse.Namespace, _: Settings, __: Log, ___: Mapping[str, str]) -> int:
    """Print the script of one shell."""
    _offer_paths(given.parser)
    sys.stdout.write(shtab.complete(given.parser, given.shell) + "\n")
    return OK


def _offer_paths(parser: argparse.ArgumentParser) -> None:
    """Let shells offer files or folders where a parser, or one of its commands' parsers, wants a path."""
    for action in parser._actions:
        if isinstance(action.metavar, str) and action.metavar in _OFFERS:
            action.complete = _OFFERS[action.metavar]  # type: ignore[attr-defined]
        if isinstance(action, argparse._SubParsersAction):
            for one in action.choices.values():
                _offer_paths(one)


def _declare(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("shell", choices=("bash", "zsh", "fish"), help="the shell that is to complete")


COMMAND = Command(
    summary="print a script for bash, zsh or fish that completes arguments",
    description="Print a script with which a shell completes the arguments of dispatcher.",
    examples='eval "$(dispatcher completion bash)"                  # in ~/.bashrc\n'
    'dispatcher completion zsh >"${fpath[1]}/_dispatcher"\n'
    "dispatcher completion fish >~/.config/fish/completions/dispatcher.fish",
    declare=_declare,
    run=_complete,
)
