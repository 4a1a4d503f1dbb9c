"""Faults: what is wrong in manifests, with file and line, for people and for the machines that read linters."""

from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from reconciler.advice.manifest_faults import judge_manifests
from reconciler.disk.manifests import Manifests
from reconciler.disk.recordings import STANDARD_INPUT
from reconciler.routing.problems import Problem
from reconciler.settings import Settings
from reconciler.values.value import Value


class PlacedProblem(Value, frozen=True, order=True):
    """A problem and its place. The file is relative to the current folder if it lies in it, and empty for stdin."""

    file: str
    line: int
    problem: Problem


def find_faults(manifests: Manifests, settings: Settings, now: float) -> list[PlacedProblem]:
    """Judge manifests, and give what is wrong by file and line. `now` is in seconds since the epoch."""
    return sorted(_place(manifests, settings, now))


def _place(manifests: Manifests, settings: Settings, now: float) -> Iterator[PlacedProblem]:
    for finding in judge_manifests(manifests.listing, manifests.workloads, manifests.others, settings, now):
        place = manifests.places.find(finding.resource, finding.path)
        file, line = (_name_file(place.file), place.line) if place else ("", 1)
        yield PlacedProblem(file, line, finding.problem)


def _name_file(path: str) -> str:
    if path == STANDARD_INPUT:
        return ""
    with suppress(OSError, ValueError):  # the current folder is gone, or the file lies elsewhere
        return str(Path(path).relative_to(Path.cwd()))
    return path
