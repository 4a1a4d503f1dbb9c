"""How many examples property tests draw."""

import os


def examples(number: int) -> int:
    """Give so many times the number as EXAMPLES in the tests' environment says; by default once."""
    return number * int(os.environ.get("EXAMPLES", "1"))
