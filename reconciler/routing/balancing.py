"""Balancing: which Pods of a path get requests, and how many of them each, by weights, shares and backups."""

from collections.abc import Iterable, Iterator
from itertools import starmap
from math import gcd, lcm

from msgspec.structs import replace

from reconciler.routing.agreement import PodClaim, tell
from reconciler.routing.keys import backup, share
from reconciler.routing.keys.share import Share, Shares
from reconciler.routing.model import Server
from reconciler.routing.options import find_option
from reconciler.routing.path_entries import HEAVIEST
from reconciler.routing.problems import Problem, Reason
from reconciler.values.messages import excerpt
from reconciler.values.value import Value

# For consistent hashing nginx keeps 160 points for each unit of weight: two servers of 100,000 took 1 GB and 17 s.
_HEAVIEST_HASHED = 100
_FINEST = 10**12  # bounds what a Namespace with many revisions may cost
_WHOLE = 100
# An app and its revision; None stands for all that have no share.
_Group = tuple[str, str] | None
_Percents = dict[_Group, int]


class Balance(Value, frozen=True):
    """The servers of a path, sorted by address, and its shares if it has some."""

    servers: tuple[Server, ...]
    shares: Shares | None
    problems: tuple[Problem, ...]


class _Place(Value, frozen=True):
    """A Pod that may get requests: its server, its revision, and whether its entry is a backup."""

    server: Server
    group: _Group
    backup: bool


def balance(claims: tuple[PodClaim, ...], what: str, *, hashed: bool, checked: bool) -> Balance:
    """Find the servers of a path; `claims` are sorted oldest Pod first.

    If nginx finds Pods by a hash, it knows no backups, and weights cost memory. If it checks Pods, it must not draw
    them at random: nginx_upstream_check_module does not take Pods that fail their checks out of that method.
    """
    serving = {server.address: (claim, server) for claim in reversed(claims) if (server := claim.server)}.values()
    named = {option.name for claim in claims for option in claim.entry.options}
    if not hashed and not named & {share.KEY.name, backup.KEY.name}:
        return Balance(tuple(sorted(server for _, server in serving)), None, ())
    percents, problems = _read_percents([claim for claim in claims if not claim.entry.closed], what)
    places = [place for place in starmap(_place, serving) if percents.get(place.group) != 0]
    first = [place for place in places if not place.backup]
    if percents or hashed or not first:
        # nginx refuses backups beside these methods, and an upstream of backups alone.
        places = first or [replace(place, backup=False) for place in places]
    shares = None
    if percents:
        places, parts = _share(places, percents)
        at_random = len(parts) > 1 and not hashed and not checked
        shares = Shares(tuple(_tell_parts(parts)), at_random=at_random) if parts else None
    if percents or hashed:
        places = _lighten(places, _HEAVIEST_HASHED if hashed else HEAVIEST)
    return Balance(tuple(sorted(replace(one.server, backup=one.backup) for one in places)), shares, tuple(problems))


def _place(claim: PodClaim, server: Server) -> _Place:
    return _Place(server, _find_group(claim), find_option(claim.entry.options, backup.KEY.name) is not None)


def _find_group(claim: PodClaim) -> _Group:
    return claim.pod.app, claim.pod.revision


def _read_percents(claims: list[PodClaim], what: str) -> tuple[_Percents, list[Problem]]:
    """Read the share of each revision, which is that of its oldest Pod. A ready Pod counts more."""
    groups: dict[_Group, list[PodClaim]] = {}
    for claim in claims:
        groups.setdefault(_find_group(claim), []).append(claim)
    percents: _Percents = {}
    problems: list[Problem] = []
    for group, members in groups.items():
        holder = next((claim for claim in members if claim.server), members[0])
        wanted = find_option(holder.entry.options, share.KEY.name)
        others = (claim for claim in members if find_option(claim.entry.options, share.KEY.name) != wanted)
        problems += tell(share.KEY, holder, others, what)
        if isinstance(wanted, Share):
            percents[group] = wanted.percent
    total = sum(percents.values())
    if percents and (total > _WHOLE or (total < _WHOLE and percents.keys() == groups.keys())):
        why = f"has shares of all revisions that add up to {total} %: " + (
            "they count in proportion" if total else "no Pod gets a request"
        )
        expected = f"{_WHOLE} %, or less and a revision without share"
        problems.append(Problem(claims[0].pod.resource, what, why, expected, Reason.OPTION))
    return percents, problems


def _share(places: list[_Place], percents: _Percents) -> tuple[list[_Place], _Percents]:
    """Give the Pods of each revision its share of the requests, by their own weights, and the others what is left."""
    places = [place if place.group in percents else replace(place, group=None) for place in places]
    given = {group: percents[group] for group in dict.fromkeys(place.group for place in places) if group in percents}
    parts: _Percents = {**given, None: max(0, _WHOLE - sum(given.values()))}
    sums: dict[_Group, int] = {}
    for place in places:
        sums[place.group] = sums.get(place.group, 0) + place.server.weight
    finest = min(lcm(*sums.values()), _FINEST)
    shared: list[_Place] = []
    for place in places:
        if part := parts[place.group]:
            weight = part * place.server.weight * finest // sums[place.group]
            shared.append(replace(place, server=_weigh(place.server, weight)))
    return shared, {group: percent for group, percent in parts.items() if percent and group in sums}


def _weigh(server: Server, weight: int) -> Server:
    return replace(server, weight=max(1, weight))


def _lighten(places: list[_Place], heaviest: int) -> list[_Place]:
    """Make weights as small as they can be, and none of them heavier than `heaviest`."""
    common = gcd(*(place.server.weight for place in places))
    most = max((place.server.weight for place in places), default=0)
    if most <= heaviest * common:
        return [replace(place, server=_weigh(place.server, place.server.weight // common)) for place in places]
    return [
        replace(place, server=_weigh(place.server, (2 * place.server.weight * heaviest + most) // (2 * most)))
        for place in places
    ]


def _tell_parts(parts: _Percents) -> Iterator[str]:
    """Say for people which part of the requests each revision has now."""
    total = sum(parts.values())
    for group in sorted(parts, key=lambda group: (group is None, group or ())):
        name = "others" if group is None else _show_group(group)
        yield f"{name} {100 * parts[group] / total:.3g} %"


def _show_group(group: Iterable[str]) -> str:
    return excerpt(" ".join(part for part in group if part))
