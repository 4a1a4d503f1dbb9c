"""Limits: one Namespace's share of nginx's memory and time. What exceeds a limit is left out and is a problem."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import accumulate

from msgspec.structs import replace

from reconciler.routing import uses
from reconciler.routing.allowances import Allowance
from reconciler.routing.host_wishes import close_for_everyone
from reconciler.routing.keys import keep_paths, maintenance
from reconciler.routing.keys.catalogue import PATH_KEYS, filter_closing
from reconciler.routing.model import Path, TenantHost, Upstream
from reconciler.routing.options import Option
from reconciler.routing.problems import Problem, Reason, problem_of
from reconciler.values.messages import excerpt

_RANGES = "at most {} (MAX_RANGES_PER_NAMESPACE)"
_VARIABLES = "fewer different origins, ranges or cookies"
MOST_REGEXES = 20  # nginx tries them one after the other for each request


def limit_regexes(paths: tuple[Path, ...], namespace: str, problems: list[Problem]) -> tuple[Path, ...]:
    """Keep the first MOST_REGEXES regular expressions, and drop the others."""
    regexes = [path for path in paths if path.match.is_regex]
    if len(regexes) > MOST_REGEXES:
        why = f"are {len(regexes)}; the first {MOST_REGEXES} by name are served"
        problems.append(problem_of(namespace, "regular expressions", why, f"at most {MOST_REGEXES}", Reason.LIMIT))
    return (*(path for path in paths if not path.match.is_regex), *_keep_first(regexes, MOST_REGEXES))


def limit_certificates(hosts: tuple[TenantHost, ...], namespace: str, allowed: Allowance) -> Iterator[TenantHost]:
    """Refuse the last hosts by name if there are more certificates than a Namespace may have."""
    left = allowed.certificates
    for host in hosts:
        left -= host.tls.weight if host.tls else 0
        if host.tls and left < 0:
            why = "is left out: with the hosts before it, it has too many certificates"
            expected = f"at most {allowed.certificates} (MAX_CERTIFICATES_PER_NAMESPACE)"
            problem = problem_of(namespace, f"host {host.name}", why, expected, Reason.LIMIT)
            yield replace(host, served=False, tls=None, problems=(problem,))
        else:
            yield host


def fit_locations(
    hosts: tuple[TenantHost, ...], paths: tuple[Path, ...], allowed: Allowance
) -> tuple[tuple[TenantHost, ...], tuple[Path, ...]]:
    """Give the first hosts and paths that fit, with all their options, into what is left beside other Namespaces."""
    rises = accumulate(uses.count_paths(hosts, [paths[place]]) for place in _rank(paths))
    fitting = _keep_first(paths, sum(used <= allowed.locations // 2 for used in rises))
    most_hosts = min(allowed.hosts, allowed.locations // (2 * max(1, uses.count_paths(hosts, fitting))))
    return hosts[:most_hosts], tuple(fitting)


def limit_locations(
    hosts: tuple[TenantHost, ...], paths: tuple[Path, ...], namespace: str, allowed: Allowance, problems: list[Problem]
) -> tuple[tuple[TenantHost, ...], tuple[Path, ...]]:
    """Drop the hosts and paths that exceed the hosts and locations that a Namespace may have.

    Each path is two locations on each host.
    """
    again = uses.count_again(hosts, paths)
    most_paths = allowed.locations // 2 - min(again, allowed.locations // 4)
    used = min(len(paths), most_paths) + min(again, most_paths)
    most_hosts = min(allowed.hosts, allowed.locations // (2 * max(1, used)))
    for what, asked, most in (("paths", len(paths), most_paths), ("hosts", len(hosts), most_hosts)):
        if asked > most:
            expected = f"at most {allowed.hosts} hosts and {allowed.locations} locations, two for each path and host"
            why = f"are {asked}; the first {most} by name are served"
            problems.append(problem_of(namespace, what, why, expected, Reason.LIMIT))
    return hosts[:most_hosts], tuple(_keep_first(paths, most_paths))


def _keep_first(paths: Sequence[Path], most: int) -> list[Path]:
    """Keep the first paths, and before others those that are protected: a shorter path would take their requests."""
    return [paths[place] for place in sorted(_rank(paths)[:most])]


def _rank(paths: Sequence[Path]) -> list[int]:
    """Give the places of paths in the order in which they are kept."""
    upstreams = [path.upstream for path in paths]
    ranks = [(not one.closed and not filter_closing(one.options), place) for place, one in enumerate(upstreams)]
    return [place for _, place in sorted(ranks)]


class _Share:
    """A Namespace's share of something that options use."""

    def __init__(self, most: int, expected: str, count: Callable[[Option, Upstream], int]) -> None:
        self.expected = expected
        self._left = most
        self._count = count

    def take(self, option: Option, upstream: Upstream) -> bool:
        """Take what an option of an upstream uses; False if that is more than what is left."""
        used = self._count(option, upstream)
        self._left -= used
        return not used or self._left >= 0


class _DistinctShare:
    """A Namespace's share of different things, which options that name the same share with each other."""

    def __init__(
        self, most: int, expected: str, list_named: Callable[[Option], Iterable[str]], taken: Iterable[str] = ()
    ) -> None:
        self.expected = expected
        self._most = most
        self._list = list_named
        self._taken = set(taken)

    def take(self, option: Option, _: Upstream | None = None) -> bool:
        """Take what an option names; False if that is more than what is left."""
        wanted = self._taken.union(self._list(option))
        if len(wanted) > max(self._most, len(self._taken)):
            return False
        self._taken = wanted
        return True


def limit_host_options(
    hosts: tuple[TenantHost, ...], namespace: str, allowed: Allowance, problems: list[Problem]
) -> Iterator[TenantHost]:
    """Keep the options of a Namespace's hosts within its shares of ranges of addresses and of variables.

    Beyond that, a host's maintenance is for everyone.
    """
    shares = (
        _DistinctShare(allowed.ranges, _RANGES.format(allowed.ranges), uses.list_host_ranges),
        _DistinctShare(allowed.variables, _VARIABLES, uses.list_host_variables),
    )
    for host in hosts:
        over = [share for share in shares for option in host.options if not share.take(option)]
        for share in over:
            why = "is beyond the Namespace's share: nobody is exempt"
            what = f"host {host.name} {maintenance.KEY.name}.allow"
            problems.append(problem_of(namespace, what, why, share.expected, Reason.LIMIT))
        yield replace(host, options=close_for_everyone(host.options)) if over else host


def limit_kept(
    hosts: tuple[TenantHost, ...], kept: dict[str, tuple[Path, ...]], paths: tuple[Path, ...], allowed: Allowance,
    problems: list[Problem],
) -> tuple[TenantHost, ...]:  # fmt: skip
    """Give hosts the paths that are kept on them, as far as the Namespace's locations leave room beside `paths`."""
    left = allowed.locations // 2 - len(hosts) * uses.count_paths(hosts, paths)
    limited = []
    for host in hosts:
        some = kept.get(host.name, ())[: max(0, left)]
        left -= len(some)
        limited.append(replace(host, kept=some) if some else host)
    if lost := sum(len(kept.get(host.name, ())) - len(host.kept) for host in limited):
        namespace = next(one.upstream.namespace for some in kept.values() for one in some)
        why = f"are more than there is room for: {lost} are left out"
        expected = "fewer paths or hosts (MAX_LOCATIONS_PER_NAMESPACE)"
        problems.append(problem_of(namespace, keep_paths.KEY.name, why, expected, Reason.LIMIT))
    return tuple(limited)


def limit_options(
    paths: tuple[Path, ...], hosts: tuple[TenantHost, ...], allowed: Allowance, problems: list[Problem]
) -> Iterator[Path]:
    """Keep the options of a Namespace within its shares of zones, ranges of addresses, locations and certificates.

    Beyond that, the paths that come last by name lose an option; if it closes the path, nobody may use it.
    """
    locations, again = 2 * max(1, len(hosts)), uses.count_again(hosts, paths)
    room = allowed.locations // locations - len(paths) - again
    ranges, variables = (
        {name for host in hosts for one in host.options for name in list_named(one)}
        for list_named in (uses.list_host_ranges, uses.list_host_variables)
    )
    # nginx loads the certificates of a path for each of its locations.
    certificates = allowed.certificates - sum(host.tls.weight for host in hosts if host.tls)
    few = f"at most {allowed.certificates} on all hosts and in all locations (MAX_CERTIFICATES_PER_NAMESPACE)"
    shares = (
        _Share(allowed.zones, f"at most {allowed.zones} (MAX_ZONES_PER_NAMESPACE)", uses.count_zones),
        _DistinctShare(allowed.ranges, _RANGES.format(allowed.ranges), uses.list_ranges, ranges),
        _Share(certificates // locations // (2 if again else 1), few, uses.count_certificates),
        _Share(room, "fewer paths or hosts (MAX_LOCATIONS_PER_NAMESPACE)", uses.count_further),
        _Share(allowed.weights, "fewer Pods, or smaller weights (MAX_LOCATIONS_PER_NAMESPACE)", uses.count_hashed),
        _DistinctShare(allowed.headers, f"at most {allowed.headers} different responseHeaders", uses.list_headers),
        _DistinctShare(allowed.variables, _VARIABLES, uses.list_variables, variables),
    )
    for path in paths:
        upstream = path.upstream
        over = {one: share for one in upstream.options for share in shares if not share.take(one, upstream)}
        for option, share in over.items():
            what = f"path {excerpt(upstream.match.value + upstream.path)} {option.name}"
            effect = "all requests get 403" if PATH_KEYS[option.name].kind.closes else "it is left out"
            why = f"is beyond the Namespace's share: {effect}"
            problems.append(problem_of(upstream.namespace, what, why, share.expected, Reason.LIMIT))
        kept = tuple(option for option in upstream.options if option not in over)
        closed = upstream.closed or any(PATH_KEYS[option.name].kind.closes for option in over)
        yield replace(path, upstream=replace(upstream, options=kept, closed=closed)) if over else path
