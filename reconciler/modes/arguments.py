"""What the command line gives to modes, and what they give back: exit codes, and the error of arguments."""

import argparse
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from reconciler.settings import Settings
from reconciler.status.log import Log

OK, DIFFERENT, WRONG_INPUT, FAILED = 0, 1, 2, 3

# Runs a mode with the arguments, the settings, the log of errors and the environment, and gives the exit code.
Run = Callable[[argparse.Namespace, Settings, Log, Mapping[str, str]], int]


class UsageError(Exception):
    """Arguments that do not fit together, or do not fit where the command runs. The message is one line."""


@dataclass(frozen=True, slots=True)
class Command:
    """A command of the command line: `declare` adds its own arguments to its parser.

    `summary` stands in the list of commands, `description` and `examples` in the command's own help.
    If it `renders`, it also has the arguments about trees, such as --output.
    """

    summary: str
    description: str
    examples: str
    declare: Callable[[argparse.ArgumentParser], None]
    run: Run
    renders: bool = False
