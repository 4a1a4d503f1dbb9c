"""Headers: which headers of a request nginx passes on to a Pod."""

from collections.abc import Iterator

from reconciler.settings import Settings
from reconciler.values.header_names import IDENTITY, NEVER_SENT, WRITTEN, spell


def find_hidden(settings: Settings) -> Iterator[str]:
    """List the headers that nginx does not pass on to a Pod, in each spelling that nginx accepts."""
    key = settings.api_key_header
    hidden = (*NEVER_SENT, *(() if settings.ssl_cert else IDENTITY), *(() if settings.api_key_forward else (key,)))
    if "_" in key:
        spelled = {spelling: None for header in (*hidden, *WRITTEN) for spelling in spell(header)}
        hidden = tuple(spelling for spelling in spelled if spelling in hidden or spelling not in WRITTEN)
    yield from (header for header in hidden if not settings.api_key_forward or header.lower() != key.lower())
