"""From the claims to a host: its locations in serving order, and every conflict about them as a problem."""

from collections.abc import Iterable, Iterator
from functools import partial

from reconciler.routing.annotations import Refused
from reconciler.routing.authorisers import appoint
from reconciler.routing.grpc_clients import tell_unreachable
from reconciler.routing.host_wishes import drop_sub_domains, is_open
from reconciler.routing.keys import host_redirect, redirect
from reconciler.routing.model import Answer, ApiKey, Host, Location, Match, Path, Plain, Tenant, is_challenge
from reconciler.routing.options import Options, find_option
from reconciler.routing.problems import Problem, Reason, problem_of
from reconciler.routing.server_names import find_slots
from reconciler.routing.sharing import WELL_KNOWN, Claim, Contest
from reconciler.settings import Settings
from reconciler.values.messages import excerpt
from reconciler.values.value import Value

# A location's modifier and path, by which nginx tells the locations of a server apart.
_LocationName = tuple[str, str]


class BuiltHost(Value, frozen=True):
    """A host, None if it cannot be served, and the problems with it."""

    host: Host | None
    problems: tuple[Problem, ...]


class _Taken(Value, frozen=True):
    """The Tenant and path that have a location name. If not `served`, the name is only reserved for that path."""

    tenant: Tenant
    path: Path
    target: str | None
    served: bool


def build_host(contest: Contest, settings: Settings) -> BuiltHost:
    """Build a host of the claims to it, of which the first is the owner's."""
    if not contest.claims:
        return BuiltHost(None, contest.problems)
    owner, *guests = contest.claims
    name, wish = owner.wish.name, owner.wish
    problems = [*contest.problems, *wish.problems]
    if not wish.served:
        why = f"is left out: Namespace {owner.tenant.name}, which is older, has options that cannot be served"
        expected = "a host of this Namespace alone, or that Namespace corrected"
        problems += (problem_of(guest.tenant.name, f"host {name}", why, expected, Reason.HOST) for guest in guests)
        return BuiltHost(_build_waiting(owner), tuple(problems))
    problems += _tell_guests(owner, guests)
    taken = _take_locations(name, contest.claims, problems)
    # The owner decides for all, and a guest for its own paths.
    closed = {claim.tenant.name for claim in contest.claims if wish.require_api_key or claim.wish.require_api_key}
    problems += _tell_missing_keys(name, (one for one in taken.values() if one.tenant.name in closed))
    appointed = _appoint_authorisers(name, taken, problems)
    # What protects a path never falls away: if a guest's options are malformed, its paths keep their places.
    broken = {claim.tenant.name for claim in guests if claim.wish.broken}
    appointed |= {one.path.upstream.name: None for one in taken.values() if one.tenant.name in broken}
    locations = [
        _make_location(*item, appointed, item[1].tenant.name in closed) for item in taken.items() if item[1].served
    ]
    locations += _reserve_well_known(owner, taken)
    host = _write_host(owner, locations, _choose_host_options(contest, problems))
    problems += tell_unreachable(name, host.locations, settings, tls=wish.tls is not None)
    return BuiltHost(host if host.tls or host.is_plain else None, tuple(problems))


def _choose_host_options(contest: Contest, problems: list[Problem]) -> Options:
    """Choose which options of its owner a host has."""
    owner = contest.claims[0]
    options = drop_sub_domains(owner.wish.options) if contest.below else owner.wish.options
    if options != owner.wish.options:
        problems.append(_tell_sub_domains(owner, contest.below))
    # It would send requests for WELL_KNOWN away too, and who is asked for a certificate follows redirects.
    if not owner.entitled and find_option(options, host_redirect.KEY.name):
        why = "is left out: the host lies below a wildcard that is shared with all"
        what, expected = f"host {owner.wish.name} redirect", "the wildcard shared with this Namespace by name"
        problems.append(problem_of(owner.tenant.name, what, why, expected, Reason.OPTION))
        options = tuple(option for option in options if option.name != host_redirect.KEY.name)
    return options


def _write_host(owner: Claim, locations: Iterable[Location], options: Options) -> Host:
    """Make the host of an owner; if nobody gets its paths, only those for challenges are left."""
    wish = owner.wish
    plain = Plain.WAITS if wish.waits else wish.plain
    opened = not wish.waits and is_open(plain, wish.tls, options)
    served = tuple(sorted((one for one in locations if opened or one.is_challenge), key=_serving_order))
    return Host(
        wish.name,
        find_slots(wish.name),
        owner.tenant.name,
        wish.tls,
        served,
        plain,
        () if wish.waits else options,
        opened,
    )


def _build_waiting(owner: Claim) -> Host | None:
    """Build a host that waits for its certificate, if its owner has a path for the challenge by which it gets one."""
    if not owner.wish.waits:
        return None
    problems: list[Problem] = []  # its paths are not served: nothing is to be told of them
    taken = _take_locations(owner.wish.name, (owner,), problems)
    appointed = _appoint_authorisers(owner.wish.name, taken, problems)
    host = _write_host(owner, [_make_location(*item, appointed, False) for item in taken.items() if item[1].served], ())
    return host if host.locations else None


def _tell_guests(owner: Claim, guests: Iterable[Claim]) -> Iterator[Problem]:
    """Tell which options of guests do not count."""
    for guest in guests:
        asked = ("ssl",) if guest.wish.tls or not (guest.wish.served or guest.wish.broken) else ()
        for option in (*asked, *guest.wish.asked):
            why = f"has its options from Namespace {owner.tenant.name}, which is older"
            what = f"host {owner.wish.name} {option}"
            yield problem_of(guest.tenant.name, what, why, f"no {option} here", Reason.HOST)


def _tell_sub_domains(owner: Claim, below: str) -> Problem:
    what = f"host {owner.wish.name} hsts.includeSubDomains"
    why = f"is left out, with preload: another Namespace has {below}"
    return problem_of(owner.tenant.name, what, why, "hsts without it", Reason.OPTION)


def _take_locations(host: str, claims: tuple[Claim, ...], problems: list[Problem]) -> dict[_LocationName, _Taken]:
    """Give each location of a host to the oldest Tenant that claims it.

    Within one Tenant `=/a` comes before the exact location that `/a` implies.
    """
    taken: dict[_LocationName, _Taken] = {}
    for claim in claims:
        tenant = claim.tenant
        for path in sorted((*tenant.paths, *claim.wish.kept), key=lambda path: path.match is not Match.EXACT):
            what = f"host {host} path {excerpt(path.match.value + path.path)}"
            if refused := _refuse_guest(claim, path, claims[0].tenant.name):
                problems.append(problem_of(tenant.name, what, *refused, Reason.PATH))
                continue
            wanted = list(_list_locations(tenant, path))
            holders = [taken.setdefault(name, location).tenant.name for name, location in wanted]
            others = [holder for holder in holders if holder != tenant.name]
            if others:
                part = "" if len(others) == len(holders) else "in part "
                why = f"is {part}taken by Namespace {others[0]}, which is older"
                problems.append(problem_of(tenant.name, what, why, "another path", Reason.PATH))
    return taken


def _refuse_guest(claim: Claim, path: Path, owner: str) -> tuple[str, str] | None:
    """Say why a Namespace may not have a path on a host that is not its own alone, and what is expected; else None."""
    if claim.entitled:
        return None
    if path.match.is_regex:
        # nginx tries regular expressions before prefixes: one of another Namespace could take all paths.
        why = f"is a regular expression, and the host is not this Namespace's alone; Namespace {owner} has it"
        return why, "an absolute path, or a host of this Namespace alone"
    if f"{path.path}/".startswith(f"{WELL_KNOWN}/"):
        why = f"is reserved for the owner of the host, or of the wildcard above it: {WELL_KNOWN} proves who has a host"
        return why, "another path"
    return None


def _reserve_well_known(owner: Claim, taken: dict[_LocationName, _Taken]) -> Iterator[Location]:
    """Keep WELL_KNOWN from a path around it that is not its owner's: it answers as a path that nobody has."""
    around = taken.get(("", "/"))
    if not around or (owner.entitled and around.tenant.name == owner.tenant.name):
        return
    for match, path in ((Match.EXACT, WELL_KNOWN), (Match.PREFIX, f"{WELL_KNOWN}/")):
        if (match.value, path) not in taken:
            yield Location(match, path, around.tenant.name, "", None, Answer.RESERVED, api_key=False, more_keys=0)


def _list_locations(tenant: Tenant, path: Path) -> Iterator[tuple[_LocationName, _Taken]]:
    """List the locations that a path needs.

    A prefix takes its own path and all paths below it. `=/a/` lies below `/a`: it needs no location of its own, but it
    is reserved, because otherwise another Namespace could claim it.
    """
    if path.match is not Match.PREFIX:
        yield (path.match.value, path.path), _Taken(tenant, path, path.target, served=True)
        return
    below = path.path.rstrip("/") + "/"
    yield ("=", path.path), _Taken(tenant, path, path.target, served=True)
    if below != path.path:
        yield ("=", below), _Taken(tenant, path, None, served=False)
    target = path.target if path.target is None else path.target.rstrip("/") + "/"
    yield ("", below), _Taken(tenant, path, target, served=True)


def _serving_order(location: Location) -> tuple[bool, str, str]:
    """Sort by path; regular expressions, which nginx tries in order, come last."""
    return location.match.is_regex, location.path, location.match.value


def _appoint_authorisers(
    host: str, taken: dict[_LocationName, _Taken], problems: list[Problem]
) -> dict[str, Options | None]:
    """Give the options of each upstream on a host, with the authorisers of its paths; None if it is closed."""
    appointed: dict[str, Options | None] = {}
    for one in taken.values():
        upstream = one.path.upstream
        if upstream.name in appointed:
            continue
        try:
            appointed[upstream.name] = appoint(upstream.options, one.path, partial(_find_path, taken, one.tenant.name))
        except Refused as refused:
            appointed[upstream.name] = None
            fault = refused.fault
            what = f"host {host} path {excerpt(upstream.match.value + upstream.path)} {fault.what}"
            why = f"{fault.why}: all requests get 403"
            problems.append(problem_of(one.tenant.name, what, why, fault.expected, Reason.OPTION))
    return appointed


def _find_path(taken: dict[_LocationName, _Taken], namespace: str, path: str) -> Path | None:
    """Find the path of a Namespace with this basePath among the locations of a host."""
    found = taken.get(("=", path))
    return found.path if found and found.tenant.name == namespace and found.path.path == path else None


def _make_location(
    name: _LocationName, taken: _Taken, appointed: dict[str, Options | None], needs_key: bool
) -> Location:
    modifier, path = name
    # Whoever sends a challenge has no key. What lies below is public, but nothing of a Pod that lies elsewhere.
    public = not taken.path.match.is_regex and is_challenge(path) and taken.target is None
    key = None if public else taken.tenant.api_key
    options = appointed[taken.path.upstream.name]
    answer = Answer.CLOSED if options is None else _choose_answer(taken, key, needs_key and not public)
    return Location(
        match=Match(modifier),
        path=path,
        namespace=taken.tenant.name,
        upstream=taken.path.upstream.name,
        target=taken.target,
        answer=answer,
        api_key=key is not None,
        more_keys=len(key.values[1:]) if key else 0,
        # Of a closed one nobody gets more than a 403.
        options=options if options and answer is not Answer.CLOSED else (),
    )


def _choose_answer(taken: _Taken, key: ApiKey | None, needs_key: bool) -> Answer:
    if (key is None and needs_key) or (key is not None and not key.values) or taken.path.upstream.closed:
        return Answer.CLOSED
    if find_option(taken.path.upstream.options, redirect.KEY.name):
        return Answer.REDIRECT
    return Answer.PODS if taken.path.upstream.servers else Answer.UNAVAILABLE


def _tell_missing_keys(host: str, taken: Iterable[_Taken]) -> Iterator[Problem]:
    """Tell which Namespaces have paths on a host that needs an API key, and none."""
    for namespace in sorted({one.tenant.name for one in taken if one.tenant.api_key is None}):
        why = "needs an API key, and the Namespace has none: its paths answer 403"
        yield problem_of(namespace, f"host {host}", why, "a routing Secret with an API key", Reason.API_KEY)
