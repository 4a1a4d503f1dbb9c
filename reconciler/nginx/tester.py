"""Tests releases with `nginx -t`, and knows from that how long they may take to load."""

import time
from pathlib import Path

from reconciler.loop.ports import RefusedError
from reconciler.nginx.program import run_test
from reconciler.settings import Settings


class Tester:
    """Tests releases of nginx's folder. nginx cannot read anything in the folders `hidden`."""

    def __init__(self, settings: Settings, folder: Path, hidden: tuple[str, ...]) -> None:
        self._settings = settings
        self._folder = folder
        self._hidden = hidden
        self._took: dict[str, float] = {}  # seconds, by the release's name

    def test(self, name: str, tree: Path) -> None:
        """Test the release of a name, which lies in `tree`. RefusedError if nginx refuses it."""
        started = time.monotonic()
        refusals = run_test(self._settings.nginx_binary, self._folder, tree, self._hidden)
        self._took[name] = time.monotonic() - started
        if refusals:
            raise RefusedError(f"nginx refuses release {name}: {refusals[0]}", tested=True)

    def find_timeout(self, name: str) -> float:
        """Give the seconds that a reload may take. A release that takes long to test may take as long to load."""
        return self._settings.reload_timeout + 2 * self._took.get(name, 0.0)

    def forget(self, name: str) -> None:
        """Forget a release that was only tested."""
        self._took.pop(name, None)

    def forget_all_but(self, name: str) -> None:
        """Forget the releases that are gone."""
        self._took = {one: took for one, took in self._took.items() if one == name}
