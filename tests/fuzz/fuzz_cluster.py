"""Whatever an API server answers, decoding it gives a page of objects that can be routed, or a PageError."""

from typing import Any

from fuzz_annotations import SETTINGS, check_tree
from support.stages import build_table, normalise

from reconciler.cluster.pages import PageError, Pages
from reconciler.cluster.protobuf_pages import ProtobufPages
from reconciler.objects.listing import Listing, Namespace, Pod, Secret, select

NOW = 1_797_600_000.0
KINDS = (Namespace, Pod, Secret)


def decode(data: bytes, kind: Any) -> tuple[Any, ...]:
    """Decode an answer as a List of this kind; give no objects if it is not such a List."""
    half = len(data) // 2  # an answer arrives in pieces
    try:
        pages = ProtobufPages(kind) if data.startswith(b"k8s") else Pages(kind)
        page = pages.read([data[:half], data[half:]], {})
    except PageError as error:
        assert "\n" not in str(error), error
        return ()
    assert all("\n" not in line for line in page.complaints)
    return tuple(page.items)


def check(data: bytes) -> None:
    """Decode an input as each kind, and run all stages on the result."""
    listing = Listing(*(decode(data, kind) for kind in KINDS))
    chosen = select(listing, SETTINGS.selector, SETTINGS.api_key_secret_name)
    table = build_table(normalise(chosen, SETTINGS), SETTINGS, NOW)
    if table.routes.upstreams:
        check_tree(table.routes, SETTINGS)
