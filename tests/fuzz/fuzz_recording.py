"""Whatever a file holds, reading it gives objects that can be routed and faults with lines, or a RecordingError."""

import tempfile
from contextlib import suppress
from pathlib import Path

from fuzz_annotations import SETTINGS, check_tree
from support.stages import build_table, normalise

from reconciler.disk.manifests import read_manifests
from reconciler.disk.recordings import RecordingError, read_recordings
from reconciler.modes.fault_formats import FORMATS
from reconciler.modes.faults import find_faults
from reconciler.objects.listing import select

NOW = 1_797_600_000.0


def check(data: bytes) -> None:
    """Read an input, and run all stages on the result."""
    with tempfile.NamedTemporaryFile(suffix=".json") as file:
        Path(file.name).write_bytes(data)
        try:
            listing = read_recordings([file.name])
            with suppress(RecordingError):  # workloads may be malformed
                check_manifests(file.name)
        except RecordingError as error:
            assert "\n" not in str(error), error
            return
    chosen = select(listing, SETTINGS.selector, SETTINGS.api_key_secret_name)
    table = build_table(normalise(chosen, SETTINGS), SETTINGS, NOW)
    if table.routes.upstreams:
        check_tree(table.routes, SETTINGS)


def check_manifests(path: str) -> None:
    """Judge a file as manifests."""
    manifests = read_manifests([path])
    faults = find_faults(manifests, SETTINGS, NOW)
    assert all(fault.file == path and fault.line > 0 for fault in faults), faults
    for form, write in FORMATS.items():
        text = write(faults, manifests)
        assert text.replace("\n", "").isprintable(), form
        assert form not in ("text", "github") or text.count("\n") == len(faults), form
