"""Sharing: who owns a host, and which other Namespaces may add paths to it."""

from collections.abc import Iterable, Iterator, Mapping

from reconciler.routing.host_options import EVERYONE
from reconciler.routing.model import Tenant, TenantHost
from reconciler.routing.problems import Problem, Reason, problem_of
from reconciler.values.value import Value

# Whoever answers below this path proves that it has the host, and gets certificates for it:
# https://www.rfc-editor.org/rfc/rfc8555#section-8.3
WELL_KNOWN = "/.well-known"


class Claim(Value, frozen=True):
    """A Tenant that may serve a host, and its options for it. WELL_KNOWN is its own only if it is `entitled`."""

    tenant: Tenant
    wish: TenantHost
    entitled: bool


class Contest(Value, frozen=True):
    """Who serves a host: the owner first, then guests, oldest first. The others' claims are problems.

    If the owner asks something of all names below, `below` is such a name that another Namespace owns.
    """

    claims: tuple[Claim, ...]
    problems: tuple[Problem, ...]
    below: str = ""


def settle(tenants: Iterable[Tenant], *, shared_by_all: bool) -> dict[str, Contest]:
    """Settle who serves each host that Tenants name, sorted by host; `tenants` are sorted oldest first.

    The oldest Tenant that names a host owns it. If `shared_by_all`, every other one may add paths; else those that the
    owner names. A host below an older Tenant's wildcard takes part of its traffic, so the wildcard's owner must share.
    """
    named: dict[str, list[tuple[Tenant, TenantHost]]] = {}
    for tenant in tenants:
        for wish in tenant.hosts:
            named.setdefault(wish.name, []).append((tenant, wish))
    owners: dict[str, tuple[Tenant, TenantHost]] = {}
    contests: dict[str, Contest] = {}
    # A wildcard is settled before what lies below it.
    for host in sorted(named, key=lambda host: (host.count("."), not host.startswith("*"), host)):
        contest = _settle_host(host, named[host], list(_find_covers(host, owners)), shared_by_all)
        contests[host] = contest
        if contest.claims and host.startswith("*."):
            owners[host] = (contest.claims[0].tenant, contest.claims[0].wish)
    return {host: contests[host] for host in sorted(contests)}


def _find_covers(host: str, owners: Mapping[str, tuple[Tenant, TenantHost]]) -> Iterator[tuple[Tenant, TenantHost]]:
    """Find the owners of the wildcards above a host, the nearest first."""
    for wildcard in list_wildcards(host) if owners else ():
        if owner := owners.get(wildcard):
            yield owner


def list_wildcards(host: str) -> Iterator[str]:
    """List the wildcards above a host, the nearest first."""
    above = host.removeprefix("*.")
    while "." in above:
        _, _, above = above.partition(".")
        yield f"*.{above}"


def _settle_host(
    host: str,
    named: list[tuple[Tenant, TenantHost]],
    covers: list[tuple[Tenant, TenantHost]],
    shared_by_all: bool,
) -> Contest:
    claims: list[Claim] = []
    problems: list[Problem] = []
    for tenant, wish in named:
        cover = next((one for one in covers if one[0].age <= tenant.age), None)
        if cover and cover[0].name != tenant.name and not shared_by_all and not _shares(cover[1], tenant.name):
            owner = cover[0].name
            why = f"is below {cover[1].name} of Namespace {owner}, which is older and does not share it"
            problems.append(_tell(tenant, host, why, owner, cover[1].name))
        elif claims and not shared_by_all and not _shares(claims[0].wish, tenant.name):
            owner = claims[0].tenant.name
            why = f"belongs to Namespace {owner}, which is older and does not share it"
            problems.append(_tell(tenant, host, why, owner, host))
        else:
            by_name = not cover or cover[0].name == tenant.name or tenant.name in cover[1].shared_with
            claims.append(Claim(tenant, wish, entitled=not claims and by_name))
    return Contest(tuple(claims), tuple(problems))


def _shares(wish: TenantHost, namespace: str) -> bool:
    """Tell whether a host's owner lets a Namespace add paths."""
    return namespace in wish.shared_with or EVERYONE in wish.shared_with


def _tell(tenant: Tenant, host: str, why: str, owner: str, shared: str) -> Problem:
    expected = f'"sharedWith": ["{tenant.name}"] in the options of {shared} in Namespace {owner}, or another host'
    return problem_of(tenant.name, f"host {host}", why, expected, Reason.HOST)
