"""The tests and files that the documentation names exist."""

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PAGES = ("security.md", "reliability.md", "routing.md", "deploying.md", "benchmarks.md", "explain.md")


def find_tests(path: Path) -> set[str]:
    return {node.name for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.FunctionDef)}


@pytest.mark.parametrize("page", PAGES)
def test_named_tests_are_there(page: str) -> None:
    """Each test that a page names exists under this name."""
    text = (ROOT / "docs" / page).read_text()
    named = re.findall(r"(tests/[\w/]+\.py)::(\w+)", text)
    assert [one for one in named if not (ROOT / one[0]).is_file() or one[1] not in find_tests(ROOT / one[0])] == []
    files = re.findall(r"`(?:tests/)?(test_\w+\.py)`", text)
    assert [name for name in files if not (ROOT / "tests" / name).is_file()] == []
    assert named or files or page not in ("security.md", "reliability.md")


@pytest.mark.parametrize("page", PAGES)
def test_links_lead_somewhere(page: str) -> None:
    """Each file that a page links to exists."""
    links = re.findall(r"\]\((?!https?:)([^)#]+)\)", (ROOT / "docs" / page).read_text())
    assert [link for link in links if not (ROOT / "docs" / link).exists()] == []
