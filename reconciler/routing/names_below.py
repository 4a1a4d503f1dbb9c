"""Names below: which hosts of other Namespaces lie below a host that asks something of all names below it."""

from collections.abc import Iterator, Mapping

from msgspec.structs import replace

from reconciler.routing.host_wishes import asks_sub_domains
from reconciler.routing.sharing import Contest, list_wildcards


def mark_below(contests: Mapping[str, Contest]) -> Iterator[tuple[str, Contest]]:
    """Give the contests; those of hosts with HSTS for all names below have the first such name of another Namespace.

    A host below is its owner's: guests there do not count.
    """
    owners = {name: contest.claims[0] for name, contest in contests.items() if contest.claims}
    asking = {name: _bare(name) for name, claim in owners.items() if asks_sub_domains(claim.wish.options)}
    below: dict[str, dict[str, str]] = {bare: {} for bare in asking.values()}
    for name, claim in owners.items() if asking else ():
        for above in _list_above(name):
            # Of two Namespaces at least one is another one.
            if above in below and len(below[above]) < 2:
                below[above].setdefault(claim.tenant.name, name)
    for name, contest in contests.items():
        found = below[asking[name]] if name in asking else {}
        others = [one for owner, one in found.items() if owner != owners[name].tenant.name]
        # A wildcard above serves the names below that nobody names.
        covers = [one for one in list_wildcards(name) if one in owners] if name in asking else []
        others += [one for one in covers if owners[one].tenant.name != owners[name].tenant.name]
        yield name, replace(contest, below=others[0]) if others else contest


def _bare(name: str) -> str:
    return name.removeprefix("*.")


def _list_above(name: str) -> Iterator[str]:
    """List the names above a host; that of a wildcard is the name behind its star."""
    _, _, above = name.partition(".")
    while above:
        yield above
        _, _, above = above.partition(".")
