"""What the status page costs a browser at 10,000 Pods: until an update is shown, and until what one looks for is."""

from collections.abc import Iterator

import pytest

pytest.importorskip("playwright", reason="playwright is not installed; `make test` installs it")

from playwright.sync_api import Page
from pytest_benchmark.fixture import BenchmarkFixture
from support import reports
from support.browser import find_chromium, start_browser
from support.page_server import PageServer

CHROMIUM = find_chromium()
ROUNDS = 25
pytestmark = pytest.mark.skipif(not CHROMIUM, reason="no Chromium: `.ci/setup chromium` installs it")

# offsetHeight makes the browser lay the page out, so that this is counted too.
UPDATE = "async () => { router.tag = ''; await ask(); render(); return document.body.offsetHeight; }"
FIND = "text => { setWords(readWords(text)); render(); return document.body.offsetHeight; }"


@pytest.fixture(scope="module")
def page() -> Iterator[Page]:
    """Show the report of 1,000 hosts, 2,000 paths and 10,000 Pods."""
    server = PageServer(reports.make_large())
    with start_browser(CHROMIUM or "") as browser:
        page = browser.new_page(viewport={"width": 1280, "height": 900})
        page.goto(server.url)
        page.wait_for_selector("#facts dl")
        yield page
    server.stop()


def test_update(benchmark: BenchmarkFixture, page: Page) -> None:
    """A whole new report: fetched, parsed, and shown."""
    benchmark.pedantic(page.evaluate, (UPDATE,), rounds=ROUNDS, warmup_rounds=3)


@pytest.mark.parametrize("text", ["host-77", "web-777-p1-3", "10.244.3.7", "nothing"])
def test_find(benchmark: BenchmarkFixture, page: Page, text: str) -> None:
    """A word is looked for in all routes, and what is found is shown."""
    benchmark.pedantic(page.evaluate, (FIND, text), rounds=ROUNDS, warmup_rounds=3)
