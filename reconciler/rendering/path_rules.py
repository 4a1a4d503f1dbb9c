"""Path rules: the paths of a host's locations, as tenants wrote them."""

from collections.abc import Iterable
from urllib.parse import quote

from reconciler.routing.model import Location, Match

_AS_WRITTEN = "/!$&'()*+,;=:@~"


class PathRules:
    """The rules of one host. The two locations of a prefix have one rule, which is the prefix."""

    def __init__(self, locations: Iterable[Location]) -> None:
        self._prefixes = {(one.path, one.upstream) for one in locations if one.match is Match.PREFIX}

    def is_second(self, location: Location) -> bool:
        """Tell whether a location is the exact one of a prefix, such as `= /api` of `/api/`."""
        return location.match is Match.EXACT and (location.path.rstrip("/") + "/", location.upstream) in self._prefixes

    def show(self, location: Location) -> str:
        """Give the rule of a location as a tenant writes it, percent-encoded."""
        if location.match is Match.PREFIX or self.is_second(location):
            return show_path(Match.PREFIX, location.path.rstrip("/") or "/")
        return show_path(location.match, location.path)


def show_path(match: Match, path: str) -> str:
    """Give a path as a tenant writes it, percent-encoded."""
    shown = path if match.is_regex else quote(path, safe=_AS_WRITTEN, errors="surrogateescape")
    return f"{match.value}{shown}"
