"""Likeness: whether the name of an annotation or a label is one that was misspelt."""

import re
from difflib import SequenceMatcher

# How alike two names are, by difflib, in all and in their last part: with the default names, paths and path are 0.99
# and 0.89, paths and pods 0.93 and 0.44. Of a name without its prefix only the rest is compared, unless it is short.
_LIKENESS, _LIKENESS_OF_LAST, _SHORTEST = 0.88, 0.7, 10
_LONGEST = 317


def is_near(key: str, name: str) -> bool:
    """Tell whether a key is probably a name that was misspelt."""
    if len(key) > _LONGEST:
        return False
    key, name = key.lower(), name.lower()
    rest = name.rpartition("/")[2]
    if len(rest) >= _SHORTEST and key.rpartition("/")[2] == rest:
        return True
    last, last_of_name = (re.split(r"[./]", one)[-1] for one in (key, name))
    return (
        SequenceMatcher(None, last, last_of_name).ratio() >= _LIKENESS_OF_LAST
        and SequenceMatcher(None, key, name).ratio() >= _LIKENESS
    )
