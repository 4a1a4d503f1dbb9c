"""Uses: what hosts, paths and their options use of what is limited."""

from collections.abc import Callable, Iterable, Sequence

from reconciler.routing.allowances import Allowance
from reconciler.routing.keys.catalogue import HOST_KEYS, PATH_KEYS
from reconciler.routing.model import Path, TenantHost, Upstream, is_challenge
from reconciler.routing.options import Option


def measure(hosts: Iterable[TenantHost], paths: Sequence[Path]) -> Allowance:
    """Measure what the hosts and paths of one Namespace use."""
    served = [host for host in hosts if host.served or host.waits]
    locations = 2 * len(served)
    options = [(option, path.upstream) for path in paths for option in path.upstream.options if served]
    of_hosts = [option for host in served for option in host.options]
    again = 2 if count_again(served, paths) else 1
    certificates = sum(host.tls.weight for host in served if host.tls)
    return Allowance(
        hosts=len(served),
        # A host without paths has locations too.
        locations=locations * max(1, count_paths(served, paths)) + 2 * sum(len(host.kept) for host in served),
        servers=sum(len(path.upstream.servers) for path in paths) if served else 0,
        weights=sum(count_hashed(*one) for one in options),
        certificates=certificates + locations * again * sum(count_certificates(*one) for one in options),
        zones=sum(count_zones(*one) for one in options),
        ranges=_count_distinct(options, list_ranges, of_hosts, list_host_ranges),
        variables=_count_distinct(options, list_variables, of_hosts, list_host_variables),
        headers=_count_distinct(options, list_headers),
    )


_List = Callable[[Option], Iterable[str]]


def _count_distinct(
    options: Iterable[tuple[Option, Upstream]],
    listed: _List,
    of_hosts: Iterable[Option] = (),
    of_host: _List = lambda _: (),
) -> int:
    names = {name for option, _ in options for name in listed(option)}
    return len(names.union(name for option in of_hosts for name in of_host(option)))


def count_again(hosts: Iterable[TenantHost], paths: Iterable[Path]) -> int:
    """Count the paths that a host with TLS has once more on the plain port: those for challenges."""
    return sum(is_challenge(path.path) for path in paths) if any(host.tls for host in hosts) else 0


def count_paths(hosts: Iterable[TenantHost], paths: Iterable[Path]) -> int:
    """Count the paths of each host: those for challenges again, and what options count as."""
    paths = tuple(paths)
    further = sum(count_further(option) for path in paths for option in path.upstream.options)
    return len(paths) + count_again(hosts, paths) + further


def count_further(option: Option, _: Upstream | None = None) -> int:
    """Count the further locations that an option of a path counts as."""
    return PATH_KEYS[option.name].weight


def count_zones(option: Option, _: Upstream) -> int:
    """Count the zones that an option of a path needs."""
    return PATH_KEYS[option.name].zones


def list_ranges(option: Option) -> Iterable[str]:
    """Name the ranges of addresses in an option of a path, and what each list costs."""
    return PATH_KEYS[option.name].list_ranges(option.value)


def list_headers(option: Option) -> Iterable[str]:
    """Name the headers of authorisers in an option of a path."""
    return PATH_KEYS[option.name].list_headers(option.value)


def list_variables(option: Option) -> Iterable[str]:
    """Name the variables that an option of a path declares."""
    return PATH_KEYS[option.name].list_variables(option.value)


def list_host_ranges(option: Option) -> Iterable[str]:
    """Name the ranges of addresses in an option of a host, and what each list costs."""
    return HOST_KEYS[option.name].list_ranges(option.value)


def list_host_variables(option: Option) -> Iterable[str]:
    """Name the variables that an option of a host declares."""
    return HOST_KEYS[option.name].list_variables(option.value)


def count_certificates(option: Option, _: Upstream) -> int:
    """Count the certificates that nginx loads for each location with an option."""
    return PATH_KEYS[option.name].count_certificates(option.value)


def count_hashed(option: Option, upstream: Upstream) -> int:
    """Count the weights for which nginx has 160 points each in memory, which are about 4 kB."""
    return sum(server.weight for server in upstream.servers) if PATH_KEYS[option.name].hashes else 0
