"""Pages of the documentation: the fenced blocks that tests run, found by their language and title."""

import re
from dataclasses import dataclass
from pathlib import Path
from textwrap import dedent

DOCS = Path(__file__).parents[2] / "docs"
_FENCE = re.compile(
    r'^(?P<indent> *)```(?P<language>\w+)(?: title="(?P<title>[^"]+)")?\n(?P<text>.*?)^(?P=indent)```$',
    re.MULTILINE | re.DOTALL,
)


@dataclass(frozen=True)
class Block:
    """A fenced block of a page."""

    language: str
    title: str
    text: str


def read_blocks(page: str) -> list[Block]:
    """Read the fenced blocks of a page, without the indentation that tabs and lists give them."""
    found = _FENCE.finditer((DOCS / page).read_text())
    return [Block(one["language"], one["title"] or "", dedent(one["text"])) for one in found]


def read_block(page: str, title: str) -> str:
    """Read the text of the block with this title."""
    (text,) = (block.text for block in read_blocks(page) if block.title == title)
    return text
