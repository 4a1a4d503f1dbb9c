"""cors in a real Chromium: what a page of another origin can read, and what it cannot."""

from collections.abc import Callable, Iterator

import pytest
from support.objects import namespace, pod, secret
from support.pods import DECLARED, entry
from support.router import Router

pytest.importorskip("playwright", reason="playwright is not installed; `make test` installs it")

from playwright.sync_api import Browser
from support.browser import find_chromium, start_browser

CHROMIUM = find_chromium()
pytestmark = pytest.mark.skipif(
    not CHROMIUM, reason="no Chromium: `.ci/setup chromium` installs it, as root or by sudo"
)
Start = Callable[..., Router]
# A browser knows by itself that names below localhost are this machine.
API, APP, EVIL = "api.localhost", "app.localhost", "evil.localhost"
FETCH = """
async ([url, options]) => {
    try {
        const answer = await fetch(url, options);
        return [answer.status, answer.headers.get('x-total'), answer.headers.get('x-hidden')];
    } catch (error) {
        return error.name;
    }
}
"""
WITH_KEY = {"method": "PUT", "credentials": "include", "headers": {"X-Routing-Api-Key": "b3Blbg=="}}


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Run one browser for all tests of this file."""
    with start_browser(CHROMIUM or "") as running:
        yield running


def fetch(browser: Browser, here: Router, page_host: str, path: str, options: dict[str, object]) -> object:
    """Let a page of one host ask another host: give what it can read."""
    with browser.new_context() as context:
        page = context.new_page()
        page.goto(f"http://{page_host}:{here.port}/")
        return page.evaluate(FETCH, [f"http://{API}:{here.port}{path}", options])


def test_pages_of_other_origins(router: Start, ips: list[str], browser: Browser) -> None:
    """A page of the allowed origin gets through its preflight and reads answers and refusals; another one nothing."""
    here = router()
    policy = {
        "allowOrigins": [f"http://{APP}:{here.port}"], "allowMethods": ["PUT"], "allowHeaders": ["X-Routing-Api-Key"],
        "exposeHeaders": ["X-Total"], "allowCredentials": True,
    }  # fmt: skip
    once = {"rateLimit": {"requests": 1, "unit": "minute", "burst": 0}}
    more = {"cors": policy, "responseHeaders": {"set": {"X-Total": "7", "X-Hidden": "8"}}}
    entries = [entry("/", **more), entry("/limited", access=once, **more)]
    here.serve(
        namespace("a", {API: {}}), pod("a", "api-0", ips[0], entries, DECLARED), secret("a", api_key="open"),
        namespace("b", {APP: {}, EVIL: {}}), pod("b", "app-0", ips[1], [entry("/")], DECLARED),
    )  # fmt: skip
    assert fetch(browser, here, APP, "/", WITH_KEY) == [200, "7", None]
    assert fetch(browser, here, APP, "/", {"credentials": "include"}) == [403, "7", None]
    assert [fetch(browser, here, APP, "/limited", WITH_KEY) for _ in range(2)] == [[200, "7", None], [429, "7", None]]
    assert fetch(browser, here, APP, "/", {**WITH_KEY, "method": "DELETE"}) == "TypeError"
    assert [fetch(browser, here, EVIL, "/", options) for options in (WITH_KEY, {})] == ["TypeError"] * 2
