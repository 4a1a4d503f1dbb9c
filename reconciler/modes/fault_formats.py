"""Formats of faults: text, JSON, SARIF, and workflow commands of GitHub. All text from manifests is made harmless."""

import json
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote

from reconciler import __version__
from reconciler.disk.manifests import Manifests
from reconciler.modes.faults import PlacedProblem
from reconciler.values.messages import defuse, defuse_json, escape

Format = Callable[[list[PlacedProblem], Manifests], str]
_STANDARD_INPUT = "<stdin>"
_SARIF = "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json"
# https://docs.github.com/en/actions/reference/workflows-and-actions/workflow-commands
_IN_MESSAGE = {"%": "%25", "\r": "%0D", "\n": "%0A"}
_IN_PROPERTY = {**_IN_MESSAGE, ":": "%3A", ",": "%2C"}


def write_text(faults: list[PlacedProblem], _: Manifests) -> str:
    """Write a line for each fault, as compilers do."""
    return "".join(f"{_show_file(fault)}:{fault.line}: {_show(fault)}\n" for fault in faults)


def write_json(faults: list[PlacedProblem], manifests: Manifests) -> str:
    """Write one document; docs/lint.schema.json describes it."""
    document = {
        "version": 1,
        "faults": [
            {
                "file": fault.file or None,
                "line": fault.line,
                **fault.problem.as_record(),
            }
            for fault in faults
        ],
        "read": dict(sorted(manifests.read.items())),
        "unread": dict(sorted(manifests.unread.items())),
    }
    return json.dumps(document, indent=2) + "\n"


def write_sarif(faults: list[PlacedProblem], _: Manifests) -> str:
    """Write a log of SARIF 2.1.0: https://docs.oasis-open.org/sarif/sarif/v2.1.0/."""
    reasons = sorted({fault.problem.reason for fault in faults})
    driver = {"name": "dispatcher", "version": __version__, "rules": [{"id": reason} for reason in reasons]}
    run = {"tool": {"driver": driver}, "results": [_write_result(fault, reasons.index) for fault in faults]}
    return json.dumps({"$schema": _SARIF, "version": "2.1.0", "runs": [run]}, indent=2) + "\n"


def write_github(faults: list[PlacedProblem], _: Manifests) -> str:
    """Write a workflow command for each fault, which GitHub shows beside the line of the file."""
    return "".join(_write_command(fault) for fault in faults)


FORMATS: Mapping[str, Format] = {
    "text": lambda faults, manifests: defuse(write_text(faults, manifests)),
    "json": lambda faults, manifests: defuse_json(write_json(faults, manifests)),
    "sarif": lambda faults, manifests: defuse_json(write_sarif(faults, manifests)),
    "github": lambda faults, manifests: defuse(write_github(faults, manifests)),
}


def _show(fault: PlacedProblem) -> str:
    return escape(str(fault.problem))


def _show_file(fault: PlacedProblem) -> str:
    # A line that begins with "::", also after blanks, would be a command to GitHub.
    return escape(f"./{fault.file}" if fault.file.lstrip().startswith(":") else fault.file or _STANDARD_INPUT)


def _write_result(fault: PlacedProblem, number: Callable[[Any], int]) -> dict[str, Any]:
    location: dict[str, Any] = {"logicalLocations": [{"fullyQualifiedName": str(fault.problem.resource)}]}
    if fault.file:
        location["physicalLocation"] = {
            "artifactLocation": {"uri": _write_uri(fault.file)},
            "region": {"startLine": fault.line},
        }
    return {
        "ruleId": fault.problem.reason,
        "ruleIndex": number(fault.problem.reason),
        "level": "error",
        "message": {"text": _show(fault)},
        "locations": [location],
    }


def _write_uri(file: str) -> str:
    return Path(file).as_uri() if Path(file).is_absolute() else quote(os.fsencode(file))


def _write_command(fault: PlacedProblem) -> str:
    place = f"file={_replace(fault.file, _IN_PROPERTY)},line={fault.line}," if fault.file else ""
    message = _replace(_show(fault), _IN_MESSAGE)
    return f"::error {place}title={_replace(fault.problem.reason, _IN_PROPERTY)}::{message}\n"


def _replace(text: str, signs: Mapping[str, str]) -> str:
    return "".join(signs.get(sign, sign) for sign in escape(text))
