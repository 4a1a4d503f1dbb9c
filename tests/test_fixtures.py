"""Scenarios: recordings in, trees and outcomes out. `make fixtures` rewrites the expected results.

A scenario is a folder with `settings.env` and recordings in order. Beside `<step>.json` or `.yaml` is
`<step>.outcome`, which holds what replay prints for the step. If the step makes a release, the folder `<step>.tree`
holds its files.
"""

import io
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from support.objects import FIXTURES
from support.stages import render

from reconciler.disk.recordings import find_recordings, read_recordings
from reconciler.disk.trees import read_files, write_files
from reconciler.loop.cycle import Cycle
from reconciler.loop.reconcile import reconcile
from reconciler.loop.stages import Stages
from reconciler.nginx.program import check_tree, find_version
from reconciler.objects.listing import select
from reconciler.objects.normaliser import Normaliser
from reconciler.objects.snapshot import Snapshot
from reconciler.settings import Settings, read_settings
from reconciler.status.log import Log
from reconciler.values.files import Files, name_release

SCENARIOS = sorted(path.parent for path in FIXTURES.glob("*/settings.env"))
NOW = 1_797_600_000.0  # in December 2026, when the recorded certificates are valid


class Kept:
    """A sink that keeps the trees that it gets."""

    def __init__(self) -> None:
        self.trees: list[Files] = []

    def apply(self, files: Files, _: Snapshot) -> str:
        self.trees.append(files)
        return name_release(files, b"the same in every run")


def read_scenario_settings(scenario: Path) -> Settings:
    lines = (scenario / "settings.env").read_text().splitlines()
    environment = dict(line.split("=", 1) for line in lines if not line.startswith("#"))
    for name in ("SSL_CERT", "SSL_KEY"):
        if name in environment:
            environment[name] = str(scenario / environment[name])
    return read_settings(environment)


def replay(scenario: Path) -> list[tuple[Path, str, Cycle]]:
    """Run a scenario through the loop; give the path, outcome and cycle of each step."""
    settings, sink, last = read_scenario_settings(scenario), Kept(), None
    normaliser, stages = Normaliser(settings), Stages(settings)
    steps = []
    for path in find_recordings([str(scenario)]):
        listing = select(read_recordings([path]), settings.selector, settings.api_key_secret_name)
        cycle = reconcile(normaliser.normalise(listing), stages, sink, last, NOW)
        told = io.StringIO()
        Log(told, "text").tell_recording(Path(path).name, cycle, last)
        steps.append((Path(path), told.getvalue(), cycle))
        last = cycle
    return steps


@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda path: path.name)
def test_scenario(scenario: Path, request: pytest.FixtureRequest) -> None:
    """The outcome and tree of each step equal the files beside it."""
    for path, told, cycle in replay(scenario):
        outcome, tree = path.with_suffix(".outcome"), path.with_suffix(".tree")
        if request.config.getoption("--rewrite"):
            outcome.write_text(told)
            shutil.rmtree(tree, ignore_errors=True)
            if cycle.applied:
                write_files(cycle.files, tree)
        assert told == outcome.read_text()
        assert tree.is_dir() is cycle.applied
        if cycle.applied:
            expected = read_files(tree)
            assert {name: file.content for name, file in cycle.files.items()} == {
                name: file.content for name, file in expected.items()
            }


@pytest.mark.parametrize("scenario", [path for path in SCENARIOS if path.name != "health-checks"], ids=lambda p: p.name)
def test_scenario_in_nginx(scenario: Path, tmp_path: Path, nginx_binary: str) -> None:
    """The installed nginx accepts every tree of a scenario, rendered for its version."""
    settings = replace(read_scenario_settings(scenario), nginx_version=find_version(nginx_binary))
    for place, (_, _, cycle) in enumerate(replay(scenario)):
        if cycle.applied:
            tree = tmp_path / str(place)
            write_files(render(cycle.table.routes, settings), tree)
            check_tree(nginx_binary, tree)


def test_noise_causes_no_release() -> None:
    """In the recorded walkthrough, the steps that change nothing that routing reads make no release."""
    idle = [path.name[:3] for path, _, cycle in replay(FIXTURES / "walkthrough") if not cycle.applied]
    assert idle == ["004", "006", "017"]
