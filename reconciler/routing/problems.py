"""Problems: what is left out of routing or cannot work, and why, for people; at most some for each tenant."""

from collections.abc import Callable, Iterable, Iterator
from enum import StrEnum
from itertools import groupby
from operator import attrgetter

from reconciler.objects.snapshot import Resource
from reconciler.values.value import Value

# One tenant must not fill the log that all tenants share.
_MOST_OF_AN_OBJECT, _MOST_OF_A_NAMESPACE = 20, 200


class Reason(StrEnum):
    """The class of a problem: for metrics, and the `reason` of Kubernetes Events."""

    ANNOTATION = "InvalidAnnotation"
    NOT_SELECTED = "NotSelected"
    MISPLACED = "MisplacedAnnotation"
    MISSPELT = "MisspeltName"
    OPTION = "InvalidOption"
    PORT = "UndeclaredPort"
    ADDRESS = "InvalidAddress"
    PROBE = "InvalidProbe"
    DISAGREEMENT = "PodsDisagree"
    HOST = "HostConflict"
    PATH = "PathConflict"
    LIMIT = "LimitExceeded"
    TLS = "InvalidTLS"
    EXPIRY = "CertificateExpiry"
    API_KEY = "InvalidAPIKey"
    HELD = "ChangeHeldBack"
    SETTING = "InvalidSetting"
    MORE = "MoreProblems"


class Problem(Value, frozen=True, order=True):
    """One thing that is left out, or is served and cannot work as it is: its object, what, why, what is expected.

    It never holds a secret.
    """

    resource: Resource
    what: str
    why: str
    expected: str
    reason: Reason

    @property
    def namespace(self) -> Resource:
        """The Namespace that the problem belongs to."""
        return Resource("Namespace", "", self.resource.namespace or self.resource.name)

    @property
    def host(self) -> str:
        """The host that the problem is about; empty if it is about something else. `what` then begins with it."""
        first, _, rest = self.what.partition(" ")
        return rest.partition(" ")[0] if first == "host" else ""

    def as_record(self) -> dict[str, str]:
        """Give the fields of its JSON, wherever it is written."""
        resource = {"kind": self.resource.kind, "namespace": self.resource.namespace, "name": self.resource.name}
        told = {"what": self.what, "why": self.why, "expected": self.expected}
        return resource | told | {"reason": self.reason.value}

    def __str__(self) -> str:
        return f"{self.resource}: {self.what} {self.why}; expected: {self.expected}"


def problem_of(namespace: str, what: str, why: str, expected: str, reason: Reason) -> Problem:
    """Make a problem of a Namespace itself."""
    return Problem(Resource("Namespace", "", namespace), what, why, expected, reason)


def cut_problems(problems: Iterable[Problem]) -> list[Problem]:
    """Sort problems, and keep the first ones of each object and of each Namespace. Only count the others."""
    of_objects = _keep_first(set(problems), _MOST_OF_AN_OBJECT, attrgetter("resource"))
    return sorted(_keep_first(of_objects, _MOST_OF_A_NAMESPACE, attrgetter("namespace")))


def _keep_first(problems: Iterable[Problem], most: int, find: Callable[[Problem], Resource]) -> Iterator[Problem]:
    for resource, group in groupby(sorted(problems, key=lambda problem: (find(problem), problem)), key=find):
        found = tuple(group)
        yield from found[:most]
        if len(found) > most:
            why = f"are {len(found) - most} more problems"
            yield Problem(resource, "there", why, "the listed ones corrected first", Reason.MORE)
