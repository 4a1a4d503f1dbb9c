"""What the path of a request to a test API server names."""

import re
from dataclasses import dataclass

from support.store import KINDS, Kind

_PATH = re.compile(
    r"/(?:api|apis/(?P<group>[^/]+))/v1(?:/namespaces/(?P<namespace>[^/]+))?/(?P<resource>[^/]+)(?:/(?P<name>[^/]+))?"
)
_VERBS = {"POST": "create", "PUT": "update", "PATCH": "patch", "DELETE": "delete"}


@dataclass(frozen=True)
class Target:
    """A kind, and the Namespace and the name of an object; these are empty when the path has none."""

    kind: Kind
    namespace: str
    name: str

    def find_verb(self, method: str) -> str:
        """Give the verb that a user needs a right to."""
        return _VERBS.get(method) or ("get" if self.name else "list")


def read_path(path: str) -> Target | None:
    """Read a path; None if the server has no such resource."""
    found = _PATH.fullmatch(path)
    kind = KINDS.get(found["resource"]) if found else None
    if not found or not kind or kind.group != (found["group"] or ""):
        return None
    return Target(kind, found["namespace"] or "", found["name"] or "")
