"""What the command line gives to modes, and what they give back: exit codes, and the error of arguments."""

OK, DIFFERENT, WRONG_INPUT, FAILED = 0, 1, 2, 3


class UsageError(Exception):
    """Arguments that do not fit together, or do not fit where the command runs. The message is one line."""
