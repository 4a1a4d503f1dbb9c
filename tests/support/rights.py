"""Who may do what on a test API server."""

from collections.abc import Iterable
from dataclasses import dataclass

from support.answers import Refused, write_forbidden
from support.store import Kind

_ALL = frozenset({"*"})


@dataclass(frozen=True)
class Right:
    """A right to names, verbs and a Namespace of a resource; `*` means all, and so does an empty Namespace."""

    names: frozenset[str] = _ALL
    verbs: frozenset[str] = _ALL
    namespace: str = ""

    def allows(self, verb: str, namespace: str, name: str) -> bool:
        """Tell whether this right is enough for a request. A request about all Namespaces has an empty one."""
        named = bool(self.names & {"*", name})
        return named and bool(self.verbs & {"*", verb}) and self.namespace in ("", namespace)


class Rights:
    """The rights of each user, by resource."""

    def __init__(self) -> None:
        self._given: dict[tuple[str, str], tuple[Right, ...]] = {}

    def give(self, user: str, resource: str, right: Right) -> None:
        """Give a right to all verbs and Namespaces instead of all former ones, and a limited one besides them."""
        limited = right.namespace or right.verbs != _ALL
        former = self._given.get((user, resource), ()) if limited else ()
        self._given[user, resource] = (*former, right)

    def check(self, user: str, verb: str, kind: Kind, namespace: str, name: str) -> None:
        """Refuse a request for which the user has no right."""
        given = self._given.get((user, kind.resource), ())
        if not any(right.allows(verb, namespace, name) for right in given):
            raise Refused(write_forbidden(user, verb, kind.full_resource, namespace, name))


def make_right(names: Iterable[str], verbs: Iterable[str], namespace: str) -> Right:
    """Make a right; no verbs means all verbs."""
    return Right(frozenset(names), frozenset(verbs) or _ALL, namespace)
