"""What is wanted: a path on a host, and the Namespaces that may answer it, or that would if they were let."""

from collections.abc import Iterable, Mapping

from reconciler.advice.evidence import Evidence
from reconciler.advice.matching import encode_path, fits
from reconciler.advice.near_miss import Miss
from reconciler.routing.host_options import parse_hosts
from reconciler.routing.model import Match
from reconciler.routing.path_entries import PathEntry
from reconciler.routing.sharing import list_wildcards
from reconciler.settings import Settings
from reconciler.values.messages import excerpt
from reconciler.values.value import Value


class Refusal(Value, frozen=True):
    """Why the paths of a Namespace are not on a host that it names, and what is expected."""

    kind: Miss
    why: str
    expected: str


class Wanted(Value, frozen=True):
    """A decoded path, the basePath that takes it now, and whether Pods answer there.

    `namespaces` are those that name the host, each with why its paths are not served there, or None.
    """

    path: bytes
    taken: tuple[Match, str] | None
    answered: bool
    namespaces: Mapping[str, Refusal | None]

    @property
    def first_segment(self) -> str:
        """The path's first segment with its slash; empty if the path is `/`."""
        segment = self.path.decode("utf-8", "replace").split("/")[1]
        return f"/{segment}" if segment else ""

    def choose(self, entries: Iterable[PathEntry]) -> PathEntry | None:
        """Choose the entry that would take the path and that comes before the basePath that takes it now."""
        fitting = [one for one in entries if covers(one.match, one.path, self.path) and self._precedes(one)]
        return max(fitting, key=lambda one: _rank(one.match, one.path), default=None)

    def _precedes(self, entry: PathEntry) -> bool:
        if self.taken is None:
            return True
        new, old = _rank(entry.match, entry.path), _rank(*self.taken)
        return new > old or (new == old and not self.answered)


def covers(match: Match, text: str, path: bytes) -> bool:
    """Tell whether a basePath takes a decoded path."""
    if match is not Match.PREFIX:
        return fits(match, text, path)
    return path == encode_path(text) or fits(Match.PREFIX, text.rstrip("/") + "/", path)


def _rank(match: Match, text: str) -> tuple[int, int]:
    """Rank basePaths that take the same path: exact ones first, then regular expressions, then the longest."""
    return (2 if match is Match.EXACT else int(match.is_regex), len(encode_path(text)))


def find_wanting(hosts: set[str], evidence: Evidence, settings: Settings) -> dict[str, Refusal | None]:
    """Find the Namespaces that name one of these hosts: those that may have paths there, and those that may not."""
    found: dict[str, Refusal | None] = {}
    for namespace in evidence.listing.namespaces:
        metadata = namespace.metadata
        text = (metadata.annotations or {}).get(settings.hosts_annotation)
        if not text or not names_any(text, hosts):
            continue
        if not settings.selector.accepts(metadata.labels or {}):
            why = f"does not match ROUTABLE_LABEL_SELECTOR ({settings.selector})"
            found[metadata.name] = Refusal(Miss.NOT_SELECTED, why, "these labels on the Namespace")
        elif settings.watch_namespaces and metadata.name not in settings.watch_namespaces:
            why = "is not in WATCH_NAMESPACES"
            found[metadata.name] = Refusal(Miss.NOT_WATCHED, why, "a router that watches this Namespace")
        elif any(one.name in hosts for one in parse_hosts(text)[0]):
            found[metadata.name] = None
    for host in sorted(hosts):
        contest = (evidence.contests or {}).get(host)
        for problem in contest.problems if contest else ():
            why = f"may not have the host: it {problem.why}"
            found[problem.namespace.name] = Refusal(Miss.NOT_SHARED, why, problem.expected)
    return found


def names_any(text: str, hosts: Iterable[str]) -> bool:
    """Tell whether an annotation names one of these hosts, itself or by a wildcard above it."""
    names = {one.name for one in parse_hosts(text)[0]}
    return any(not names.isdisjoint((host, *list_wildcards(host))) for host in hosts)


def show_entry(entry: PathEntry) -> str:
    """Show the path of an entry, with its modifier."""
    return excerpt(entry.match.value + entry.path)
