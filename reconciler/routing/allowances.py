"""Allowances: what each Namespace may use of nginx's time and memory, alone and beside all others."""

from collections.abc import Iterator, Mapping

from msgspec.structs import asdict, replace

from reconciler.routing.problems import Problem, Reason, problem_of
from reconciler.settings import Settings
from reconciler.values.value import Value

# Each Pod of a path is a server of an upstream. 20,000 servers take 20 MiB of a router's memory, and each generation of
# nginx's workers takes that again.
_SERVERS_A_LOCATION = 5
# nginx compares each variable that it declares with all others when it loads: 1,000 take 0.2 s, and 10,000 take 10 s.
_MOST_VARIABLES = 150
_MOST_HEADERS = 20  # nginx has a variable for each, which takes memory in all requests


class Allowance(Value, frozen=True):
    """An amount of each thing that is limited: what is allowed, what is used, or what there is for all.

    `weights` are those of Pods that nginx chooses by a hash, `ranges` those of addresses, and `headers` those of
    authorisers' answers.
    """

    hosts: int
    locations: int
    servers: int
    weights: int
    certificates: int
    zones: int
    ranges: int
    variables: int
    headers: int


def read_allowance(settings: Settings) -> Allowance:
    """Give what one Namespace may use while there is room for all."""
    return Allowance(
        settings.max_hosts,
        settings.max_locations,
        settings.max_locations * _SERVERS_A_LOCATION,
        settings.max_locations,
        settings.max_certificates,
        settings.max_zones,
        settings.max_ranges,
        _MOST_VARIABLES,
        _MOST_HEADERS,
    )


def read_room(settings: Settings) -> Allowance:
    """Give what all Namespaces together may use: at least what one of them may."""
    one = asdict(read_allowance(settings))
    locations = settings.max_all_locations
    # nginx compares each upstream's name with all others too. docs/decisions/024-room-for-all.md has the time that it
    # needs for each of these numbers.
    servers = locations * _SERVERS_A_LOCATION
    room = Allowance(locations // 2, locations, servers, locations, 20_000, 2_000, 200_000, 7_500, 1_000)
    return Allowance(**{name: max(most, one[name]) for name, most in asdict(room).items()})


def divide(asked: Mapping[str, int], room: int) -> dict[str, int]:
    """Divide room among those who ask, the oldest first, and give what those get who get less than they ask for.

    Everyone gets half of an equal part first, if they ask for it. What is left goes to those who ask for least, and
    among those of about the same size, up to twice as much, to the oldest.
    """
    if sum(asked.values()) <= room:
        return {}
    part = room // (2 * sum(amount > 0 for amount in asked.values()))
    given = {name: min(amount, part) for name, amount in asked.items()}
    left = room - sum(given.values())
    for name in sorted(asked, key=lambda name: asked[name].bit_length()):
        more = min(asked[name] - given[name], left)
        given[name] += more
        left -= more
    return {name: amount for name, amount in given.items() if amount < asked[name]}


def find_cut(used: Mapping[str, Allowance], room: Allowance, full: Allowance) -> dict[str, Allowance]:
    """Give the allowances of those Namespaces that cannot have all of what they use, beside others; oldest first."""
    allowances: dict[str, Allowance] = {}
    for thing, most in asdict(room).items():
        for name, amount in divide({name: getattr(one, thing) for name, one in used.items()}, most).items():
            allowances[name] = replace(allowances.get(name, full), **{thing: amount})
    return allowances


def tell_cut(namespace: str, allowed: Allowance, settings: Settings) -> Iterator[Problem]:
    """Tell of what a Namespace gets less than it asks for, because there is less than all ask for."""
    room, full = asdict(read_room(settings)), asdict(read_allowance(settings))
    for thing, most in asdict(allowed).items():
        if most < full[thing]:
            why = "are not all served: all Namespaces together ask for more than there is room for"
            # These four follow from one setting.
            setting = " (MAX_LOCATIONS)" if thing in ("hosts", "locations", "servers", "weights") else ""
            expected = f"at most {most} beside the others, or at most {room[thing]} of all together{setting}"
            yield problem_of(namespace, thing, why, expected, Reason.LIMIT)
