"""Limits: one Namespace's share of nginx's memory and time. What exceeds a limit is left out and is a problem."""

from collections.abc import Callable, Iterator

from msgspec.structs import replace

from reconciler.routing.host_wishes import close_for_everyone
from reconciler.routing.keys import keep_paths, maintenance
from reconciler.routing.keys.catalogue import HOST_KEYS, PATH_KEYS
from reconciler.routing.model import Path, TenantHost, Upstream
from reconciler.routing.options import Option
from reconciler.routing.problems import Problem, Reason, problem_of
from reconciler.settings import Settings
from reconciler.values.messages import excerpt

_RANGES = "at most {} (MAX_RANGES_PER_NAMESPACE)"
MOST_REGEXES = 20  # nginx tries them one after the other for each request
MOST_HEADERS = 20  # nginx has a variable for each, which takes memory in all requests


def limit_regexes(paths: tuple[Path, ...], namespace: str, problems: list[Problem]) -> tuple[Path, ...]:
    """Keep the first MOST_REGEXES regular expressions, and drop the others."""
    regexes = [path for path in paths if path.match.is_regex]
    if len(regexes) > MOST_REGEXES:
        why = f"are {len(regexes)}; the first {MOST_REGEXES} by name are served"
        problems.append(problem_of(namespace, "regular expressions", why, f"at most {MOST_REGEXES}", Reason.LIMIT))
    return (*(path for path in paths if not path.match.is_regex), *regexes[:MOST_REGEXES])


def limit_certificates(hosts: tuple[TenantHost, ...], namespace: str, settings: Settings) -> Iterator[TenantHost]:
    """Refuse the last hosts by name if there are more certificates than MAX_CERTIFICATES_PER_NAMESPACE."""
    left = settings.max_certificates
    for host in hosts:
        left -= host.tls.weight if host.tls else 0
        if host.tls and left < 0:
            why = "is left out: with the hosts before it, it has too many certificates"
            expected = f"at most {settings.max_certificates} (MAX_CERTIFICATES_PER_NAMESPACE)"
            problem = problem_of(namespace, f"host {host.name}", why, expected, Reason.LIMIT)
            yield replace(host, served=False, tls=None, problems=(problem,))
        else:
            yield host


def limit_locations(
    hosts: tuple[TenantHost, ...], paths: tuple[Path, ...], namespace: str, settings: Settings, problems: list[Problem]
) -> tuple[tuple[TenantHost, ...], tuple[Path, ...]]:
    """Drop the hosts and paths that exceed MAX_HOSTS_PER_NAMESPACE and MAX_LOCATIONS_PER_NAMESPACE.

    Each path is two locations on each host.
    """
    most_paths = settings.max_locations // 2
    most_hosts = min(settings.max_hosts, settings.max_locations // (2 * max(1, min(len(paths), most_paths))))
    for what, asked, most in (("paths", len(paths), most_paths), ("hosts", len(hosts), most_hosts)):
        if asked > most:
            expected = (
                f"at most {settings.max_hosts} hosts and {settings.max_locations} locations, two for each path and host"
            )
            why = f"are {asked}; the first {most} by name are served"
            problems.append(problem_of(namespace, what, why, expected, Reason.LIMIT))
    return hosts[:most_hosts], paths[:most_paths]


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


class _HeaderShare(_Share):
    """A Namespace's share of different headers."""

    def __init__(self) -> None:
        super().__init__(MOST_HEADERS, f"at most {MOST_HEADERS} different responseHeaders", lambda *_: 0)
        self._taken: set[str] = set()

    def take(self, option: Option, _: Upstream) -> bool:
        """Take the headers that an option names; False if they are more than what is left."""
        wanted = self._taken.union(PATH_KEYS[option.name].list_headers(option.value))
        if len(wanted) > MOST_HEADERS:
            return False
        self._taken = wanted
        return True


def limit_host_ranges(
    hosts: tuple[TenantHost, ...], namespace: str, settings: Settings, problems: list[Problem]
) -> tuple[TenantHost, ...]:
    """Keep the ranges of addresses in hosts' options within MAX_RANGES_PER_NAMESPACE; equal ones are there once.

    Beyond that, a host's maintenance is for everyone.
    """
    used: set[Option] = set()
    limited = []
    for host in hosts:
        new = used | {option for option in host.options if _count_host_ranges(option)}
        if sum(map(_count_host_ranges, new)) > settings.max_ranges:
            what, expected = f"host {host.name} {maintenance.KEY.name}.allow", _RANGES.format(settings.max_ranges)
            why = "is beyond the Namespace's share: nobody is exempt"
            problems.append(problem_of(namespace, what, why, expected, Reason.LIMIT))
            limited.append(replace(host, options=close_for_everyone(host.options)))
        else:
            used = new
            limited.append(host)
    return tuple(limited)


def limit_kept(
    hosts: tuple[TenantHost, ...], kept: dict[str, tuple[Path, ...]], paths: int, settings: Settings,
    problems: list[Problem],
) -> tuple[TenantHost, ...]:  # fmt: skip
    """Give hosts the paths that are kept on them, as far as MAX_LOCATIONS_PER_NAMESPACE leaves room beside `paths`."""
    left = settings.max_locations // 2 - len(hosts) * paths
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
    paths: tuple[Path, ...], hosts: tuple[TenantHost, ...], settings: Settings, problems: list[Problem]
) -> Iterator[Path]:
    """Keep the options of a Namespace within its shares of zones, ranges of addresses, locations and certificates.

    Beyond that, the paths that come last by name lose an option; if it closes the path, nobody may use it.
    """
    locations = 2 * max(1, len(hosts))
    room = settings.max_locations // locations - len(paths)
    ranges = settings.max_ranges - sum(map(_count_host_ranges, {one for host in hosts for one in host.options}))
    # nginx loads the certificates of a path for each of its locations.
    certificates = settings.max_certificates - sum(host.tls.weight for host in hosts if host.tls)
    few = f"at most {settings.max_certificates} on all hosts and in all locations (MAX_CERTIFICATES_PER_NAMESPACE)"
    shares = (
        _Share(settings.max_zones, f"at most {settings.max_zones} (MAX_ZONES_PER_NAMESPACE)", _count_zones),
        _Share(ranges, _RANGES.format(settings.max_ranges), _count_ranges),
        _Share(certificates // locations, few, _count_certificates),
        _Share(room, "fewer paths or hosts (MAX_LOCATIONS_PER_NAMESPACE)", lambda one, _: PATH_KEYS[one.name].weight),
        _Share(settings.max_locations, "fewer Pods, or smaller weights (MAX_LOCATIONS_PER_NAMESPACE)", _count_hashed),
        _HeaderShare(),
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


def _count_zones(option: Option, _: Upstream) -> int:
    return PATH_KEYS[option.name].zones


def _count_ranges(option: Option, _: Upstream) -> int:
    return PATH_KEYS[option.name].count_ranges(option.value)


def _count_host_ranges(option: Option) -> int:
    return HOST_KEYS[option.name].count_ranges(option.value)


def _count_certificates(option: Option, _: Upstream) -> int:
    return PATH_KEYS[option.name].count_certificates(option.value)


def _count_hashed(option: Option, upstream: Upstream) -> int:
    """Count the weights for which nginx has 160 points each in memory, which are about 4 kB."""
    return sum(server.weight for server in upstream.servers) if PATH_KEYS[option.name].hashes else 0
