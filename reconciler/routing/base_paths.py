"""Base paths: an absolute path, or `=` and one, as a tenant writes it -> the path as nginx matches it."""

from reconciler.routing.annotations import Refused, parse_text
from reconciler.routing.model import Match
from reconciler.values.messages import excerpt
from reconciler.values.patterns import EXACT_PATH, LONGEST_LOCATION, URL_PATH, decode_path


def parse_path(value: str, what: str) -> tuple[Match, str]:
    """Parse a basePath that is no regular expression."""
    exact = value.startswith("=")
    text = parse_text(value, what, EXACT_PATH if exact else URL_PATH)
    try:
        path = decode_path(text.removeprefix("="))
    except ValueError as error:
        expected = f"a path as nginx sees it: decoded at most {LONGEST_LOCATION} bytes, without '//' and dot segments"
        raise Refused(what, f"{excerpt(text)} {error}", expected) from None
    return (Match.EXACT, path) if exact else (Match.PREFIX, path.rstrip("/") or "/")
