"""Whatever a file holds, reading it as a recording gives objects that can be routed, or a RecordingError."""

import tempfile
from pathlib import Path

from fuzz_annotations import SETTINGS, check_tree
from support.stages import build_table, normalise

from reconciler.disk.recordings import RecordingError, read_recordings
from reconciler.objects.listing import select

NOW = 1_797_600_000.0


def check(data: bytes) -> None:
    """Read an input, and run all stages on the result."""
    with tempfile.NamedTemporaryFile(suffix=".json") as file:
        Path(file.name).write_bytes(data)
        try:
            listing = read_recordings([file.name])
        except RecordingError as error:
            assert "\n" not in str(error), error
            return
    chosen = select(listing, SETTINGS.selector, SETTINGS.api_key_secret_name)
    table = build_table(normalise(chosen, SETTINGS), SETTINGS, NOW)
    if table.routes.upstreams:
        check_tree(table.routes, SETTINGS)
