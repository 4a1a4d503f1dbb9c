"""Rules: why a host and a path belong to the Namespaces that have them, as sentences, and who wanted them in vain."""

from collections.abc import Iterator

from reconciler.advice.evidence import Evidence
from reconciler.routing.host_options import EVERYONE
from reconciler.routing.model import Host, Location, Match, Upstream
from reconciler.routing.problems import Reason
from reconciler.routing.sharing import Contest, list_wildcards
from reconciler.settings import Settings
from reconciler.values.value import Value


class Loser(Value, frozen=True, order=True):
    """A Namespace that names the host too, and may not have it; or has a part of it, as `why` says."""

    namespace: str
    why: str
    expected: str


def tell_host_rule(host: Host, asked: str, evidence: Evidence, settings: Settings) -> str:
    """Say why a host takes a request, and why its Namespace owns the host."""
    wildcard = f"no exact name is {asked}, and this is the nearest wildcard; " if host.name != asked else ""
    contest = (evidence.contests or {}).get(host.name)
    if not contest:
        return f"{wildcard}the router says that this Namespace owns it"
    return f"{wildcard}{_tell_ownership(host, contest, evidence)}{_tell_guests(contest, settings)}"


def _tell_ownership(host: Host, contest: Contest, evidence: Evidence) -> str:
    number = len(contest.claims) + len(contest.problems)
    rule = "the only Namespace that names it" if number == 1 else f"the oldest of {number} Namespaces that name it"
    if any(problem.why.startswith("is below ") for problem in contest.problems):
        rule = f"the oldest that may have it, of {number} Namespaces that name it"
    above = next((one for one in list_wildcards(host.name) if _owns(one, evidence)), "")
    if above:
        claim = (evidence.contests or {})[above].claims[0]
        if claim.tenant.name != host.namespace and claim.tenant.age <= contest.claims[0].tenant.age:
            rule += f"; Namespace {claim.tenant.name}, which is older and has {above}, shares that with it"
    return rule


def _owns(wildcard: str, evidence: Evidence) -> bool:
    contest = (evidence.contests or {}).get(wildcard)
    return contest is not None and bool(contest.claims)


def _tell_guests(contest: Contest, settings: Settings) -> str:
    guests = [claim.tenant.name for claim in contest.claims[1:]]
    if not guests:
        return ""
    how = "HOST_SHARING=any" if settings.host_sharing == "any" else "its sharedWith"
    return f"; {', '.join(guests[:5])}{' and others' if len(guests) > 5 else ''} may add paths, by {how}"


def tell_path_rule(location: Location, host: Host, upstream: Upstream | None, evidence: Evidence) -> str:
    """Say why a path takes a request, and why its Namespace may have it."""
    if upstream is None:
        return "kept for the host's owner, which does not serve it: what is below /.well-known proves who has a host"
    rule = {
        Match.EXACT: "equals the request's path",
        Match.PREFIX: "the longest path that the request's path begins with",
        Match.REGEX: "the first regular expression that matches",
        Match.IREGEX: "the first regular expression that matches, in any case of letters",
    }[upstream.match]
    if location.namespace == host.namespace:
        return rule
    return f"{rule}; {_tell_sharing(host, location.namespace, evidence)}"


def _tell_sharing(host: Host, guest: str, evidence: Evidence) -> str:
    """Say by which option a Namespace has paths on another's host."""
    contest = (evidence.contests or {}).get(host.name)
    shared = contest.claims[0].wish.shared_with if contest and contest.claims else ()
    if guest in shared:
        return f"Namespace {host.namespace}, which owns the host, shares it with this Namespace by name"
    if EVERYONE in shared:
        return f"Namespace {host.namespace}, which owns the host, shares it with every Namespace"
    return f"the host of Namespace {host.namespace} is shared with this Namespace"


def find_losers(host: str, evidence: Evidence) -> Iterator[Loser]:
    """Find the Namespaces that name a host, or want a path on it, and do not get it."""
    for problem in evidence.table.problems:
        if problem.host == host and problem.reason in (Reason.HOST, Reason.PATH):
            what = problem.what.removeprefix(f"host {host}").strip()
            yield Loser(problem.namespace.name, f"{what} {problem.why}".strip(), problem.expected)
