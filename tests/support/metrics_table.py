"""The table of docs/metrics.md."""

import re
from pathlib import Path

_ROW = re.compile(r"^\| `(\w+)` \| (counter|gauge|histogram) \| ([^|]*) \|", re.MULTILINE)


def read_table() -> dict[str, tuple[str, frozenset[str]]]:
    """Read the table of docs/metrics.md: each metric with its type and labels."""
    text = (Path(__file__).parents[2] / "docs" / "metrics.md").read_text()
    return {name: (kind, frozenset(re.findall(r"`(\w+)`", labels))) for name, kind, labels in _ROW.findall(text)}
