"""The picture of the page in the README: the walkthrough in a real router, up to the step with most problems.

ENDPOINTS=lua PYTHONPATH=tests .venv/bin/python tests/support/status_picture.py writes docs/status-page.png anew, as a
router of the image shows it.
"""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from playwright.sync_api import expect
from support import command
from support.browser import find_chromium, start_browser
from support.ports import free_port

TOP = Path(__file__).parent.parent.parent
WALKTHROUGH = TOP / "fixtures" / "walkthrough"
# The step after it deletes the Namespace that has most problems.
LAST = "017"
WIDTH, HEIGHT = 1280, 860


@contextmanager
def serve_walkthrough() -> Iterator[str]:
    """Replay the walkthrough through a real nginx until the block ends; give the address of the page."""
    recordings = sorted(path for path in WALKTHROUGH.glob("*.json") if path.name[: len(LAST)] <= LAST)
    admin = free_port()
    settings = {
        "PORT": str(free_port()),
        "SSL_PORT": str(free_port()),
        "SSL_CERT": str(WALKTHROUGH / "default.crt"),
        "SSL_KEY": str(WALKTHROUGH / "default.key"),
        "NGINX_WORKER_CONNECTIONS": "256",
        "ADMIN_PORT": str(admin),
        "ENDPOINTS": os.environ.get("ENDPOINTS", "auto"),
    }
    with command.start("replay", *recordings, "--serve", "--keep", **settings) as process:
        assert process.stdout
        assert any(line.startswith("serving on port") for line in process.stdout), "the replay ended"
        yield f"http://127.0.0.1:{admin}/"


def take_picture(url: str, binary: str, path: Path) -> None:
    """Write the upper part of the page, in light colours."""
    with start_browser(binary) as browser:
        page = browser.new_page(viewport={"width": WIDTH, "height": HEIGHT}, color_scheme="light")
        page.goto(url)
        expect(page.locator("#facts dl")).to_be_visible()
        page.screenshot(path=path)


def main() -> None:
    """Take the picture."""
    binary = find_chromium()
    if not binary:
        sys.exit("dispatcher: error: Chromium is missing")
    with serve_walkthrough() as url:
        take_picture(url, binary, TOP / "docs" / "status-page.png")


if __name__ == "__main__":
    main()
