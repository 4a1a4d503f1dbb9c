"""The documentation: its links, the tests that it names, and the site that is built from it."""

import ast
import html
import os
import re
import shutil
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest
from support.pages import DOCS

ROOT = DOCS.parent
PAGES = sorted(str(path.relative_to(ROOT)) for path in [*DOCS.rglob("*.md"), *ROOT.glob("*.md")])
NAMING_TESTS = ("docs/security.md", "docs/reliability.md")
# What a browser loads by itself. A link (`<a href>`) is followed only by a person.
_LOADED = re.compile(
    r'<(?:script|img|iframe|source|video|audio|embed)\b[^>]*?\bsrc="([^"]*)"|<link\b[^>]*?\bhref="([^"]*)"'
)


@cache
def find_tests(path: Path) -> set[str]:
    return {node.name for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.FunctionDef)}


@pytest.mark.parametrize("page", PAGES)
def test_named_tests_are_there(page: str) -> None:
    """Each test that a page names exists under this name."""
    text = (ROOT / page).read_text()
    named = re.findall(r"(tests/[\w/]+\.py)::(\w+)", text)
    assert [one for one in named if not (ROOT / one[0]).is_file() or one[1] not in find_tests(ROOT / one[0])] == []
    files = re.findall(r"`(?:tests/)?(test_\w+\.py)`", text)
    assert [name for name in files if not (ROOT / "tests" / name).is_file()] == []
    assert named or files or page not in NAMING_TESTS


@pytest.mark.parametrize("page", PAGES)
def test_links_lead_somewhere(page: str) -> None:
    """Each file that a page links to exists."""
    links = re.findall(r"\]\((?!https?:)([^)#\s]+)", (ROOT / page).read_text())
    assert [link for link in links if not ((ROOT / page).parent / link).exists()] == []


def test_readme_leads_to_the_pages() -> None:
    """The README links to one page of each kind, and has both commands that a newcomer runs."""
    readme = (ROOT / "README.md").read_text()
    for page in ("tutorial", "how-to/", "settings", "annotations", "explanation/alternatives", "deploying", "security"):
        assert f"](docs/{page}" in readme, page
    assert re.search(r"^make demo ", readme, re.MULTILINE)
    assert re.search(r"^make test ", readme, re.MULTILINE)


def build_site(top: Path, folder: Path) -> subprocess.CompletedProcess[str]:
    """Build the site of the repository at `top` as `make docs` does."""
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--config-file", top / ".ci/mkdocs.yml"]
    return subprocess.run(
        [*command, "--site-dir", folder],
        env={**os.environ, "NO_MKDOCS_2_WARNING": "1"}, capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build the site once."""
    folder = tmp_path_factory.mktemp("docs") / "site"
    built = build_site(ROOT, folder)
    assert built.returncode == 0, built.stderr
    return folder


def test_site_has_every_page(site: Path) -> None:
    """The strict build succeeds: links and anchors lead somewhere, every page is in the menu."""
    pages = [page for page in PAGES if page.startswith("docs/")]
    assert [page for page in pages if not (site / page.removeprefix("docs/")).with_suffix(".html").is_file()] == []


def test_site_loads_nothing_from_a_network(site: Path) -> None:
    """No page of the site loads a script, style, font or picture that is not a file of the site."""
    for page in site.rglob("*.html"):
        loaded = [html.unescape(script or link) for script, link in _LOADED.findall(page.read_text())]
        assert loaded
        for address in loaded:
            target = address.partition("?")[0].partition("#")[0]
            assert not re.match(r"[a-z]+:|//", target), (page, address)
            where = site / target.lstrip("/") if target.startswith("/") else page.parent / target
            assert where.exists(), (page, address)
    for style in site.rglob("*.css"):
        assert re.findall(r"(?:url\(\s*[\"']?|@import\s+[\"']?)(?:https?:)?//", style.read_text()) == []


def test_site_s_search_needs_no_server(site: Path) -> None:
    """The index of the search is a script that a page can load from a disk, and knows all pages."""
    index = (site / "search/search_index.js").read_text()
    assert index.startswith("var __index = ")
    assert all(word in index for word in ("MAX_CHANGES_PER_NAMESPACE", "how-to/403.html", "tutorial.html"))
    assert 'src="assets/iframe-worker.js"' in (site / "index.html").read_text()


def test_search_finds_in_a_browser(site: Path, tmp_path: Path) -> None:
    """A real browser without a network finds a page by a word, from a file on the disk."""
    browser = shutil.which("chromium") or shutil.which("chromium-browser")
    if not browser:
        pytest.skip("chromium is not installed")
    flags = (
        "--headless=new --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking "
        "--disable-component-update --disable-sync --virtual-time-budget=20000 --dump-dom"
    )
    shown = subprocess.run(
        [
            browser, *flags.split(), "--host-resolver-rules=MAP * ~NOTFOUND", f"--user-data-dir={tmp_path}",
            f"{(site / 'how-to/404.html').as_uri()}?q=rotate",
        ],
        env={**os.environ, "HOME": str(tmp_path)}, capture_output=True, text=True, timeout=120, check=True,
    ).stdout  # fmt: skip
    found = re.findall(
        r'class="md-search-result__link"[^>]*href="([^"]*)"|href="([^"]*)" class="md-search-result__link"', shown
    )
    assert any("how-to/api-keys.html" in one + other for one, other in found), found


def test_site_has_no_diagram_that_is_loaded_later(site: Path) -> None:
    """No page has a mermaid diagram: its program would be loaded from a network."""
    assert [page for page in site.rglob("*.html") if 'class="mermaid"' in page.read_text()] == []


@pytest.mark.parametrize("link", ["nowhere.md", "settings.md#nowhere", "../nowhere.md"])
def test_a_broken_link_is_found(tmp_path: Path, link: str) -> None:
    """The build fails if a link, an anchor or a link out of docs/ leads nowhere; other links out of docs/ are text."""
    (tmp_path / "docs/decisions").mkdir(parents=True)
    (tmp_path / ".ci").mkdir()
    (tmp_path / "README.md").touch()
    (tmp_path / "docs/settings.md").write_text("# Settings\n")
    (tmp_path / "docs/index.md").write_text(f"# Home\n\n[one]({link}) [other](../README.md)\n")
    (tmp_path / ".ci/site.py").write_text((ROOT / ".ci/site.py").read_text())
    config, _, _ = (ROOT / ".ci/mkdocs.yml").read_text().partition("\nnav:")
    (tmp_path / ".ci/mkdocs.yml").write_text(f"{config}\nnav: [index.md, settings.md]\n")
    built = build_site(tmp_path, tmp_path / "site")
    assert built.returncode != 0
    assert built.stderr.count("WARNING ") == 1
