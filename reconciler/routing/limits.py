"""Limits: one Namespace's share of nginx's memory and time. What exceeds a limit is left out and is a problem."""

from collections.abc import Iterator

from msgspec.structs import replace

from reconciler.routing.model import Path, TenantHost
from reconciler.routing.problems import Problem, Reason, problem_of
from reconciler.settings import Settings

MOST_REGEXES = 20  # nginx tries them one after the other for each request


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
