"""A real headless browser: Chromium of the system, driven by playwright. It loads nothing but what a test serves."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import resources
from typing import Any

from playwright.sync_api import Browser, Page, sync_playwright

ARGUMENTS = (
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)


def find_chromium() -> str | None:
    """Find the browser; `.ci/setup chromium` installs it."""
    return shutil.which("chromium") or shutil.which("chromium-browser")


@contextmanager
def start_browser(binary: str) -> Iterator[Browser]:
    """Run a browser with a new, empty profile until the block ends."""
    arguments = [*ARGUMENTS, *(["--no-sandbox"] if os.getuid() == 0 else [])]
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=binary, args=["--headless=new", *arguments], chromium_sandbox=os.getuid() != 0
        )
        try:
            yield browser
        finally:
            browser.close()


def find_violations(page: Page) -> list[str]:
    """Let axe-core look for what people with disabilities could not use. Give one line for each kind of violation.

    evaluate() goes through the debugger's protocol, so the page's Content-Security-Policy stays as it is.
    """
    page.evaluate((resources.files("axe_playwright_python") / "axe.min.js").read_text())
    found: dict[str, Any] = page.evaluate("axe.run({resultTypes: ['violations']})")
    return [
        f"{one['id']}: {one['help']}: {[node['target'] for node in one['nodes']][:3]}" for one in found["violations"]
    ]
