"""Paths: the annotations of one Namespace's Pods -> its paths, each with the Pods behind it."""

from collections.abc import Iterable, Iterator
from hashlib import blake2b

from msgspec.structs import replace

from reconciler.objects.snapshot import Pod, Port, Probe
from reconciler.routing.agreement import Agreement, PodClaim, agree, resolve
from reconciler.routing.annotations import Fault
from reconciler.routing.balancing import balance
from reconciler.routing.combinations import combine, find_useless
from reconciler.routing.keys import share
from reconciler.routing.keys.catalogue import PATH_KEYS, filter_closing
from reconciler.routing.model import Match, Path, Server, Upstream
from reconciler.routing.options import Option, Options
from reconciler.routing.path_entries import PathEntry, parse_paths
from reconciler.routing.problems import Problem, Reason
from reconciler.routing.redirects import choose_course
from reconciler.routing.secret_fields import SecretFields
from reconciler.routing.slips import find_path_slips
from reconciler.settings import Settings
from reconciler.values.addresses import find_cidr, parse_address
from reconciler.values.messages import excerpt
from reconciler.values.patterns import PROBE_PATH

LONGEST_PROBE = 86400


def read_paths(
    pods: tuple[Pod, ...], fields: SecretFields | None, most_servers: int, settings: Settings, problems: list[Problem]
) -> Iterator[Path]:
    """Read the paths that the Pods of one Namespace name, sorted. What cannot be used is left out and is a problem.

    `fields` are those of the Namespace's routing Secret. All paths together have at most `most_servers` Pods, each
    counted once for each of its paths.
    """
    claims: dict[tuple[Match, str], list[PodClaim]] = {}
    for pod, entries in _parse_entries(pods, most_servers, settings, problems):
        for claim in _claim(pod, entries, settings, problems):
            claims.setdefault((claim.entry.match, claim.entry.path), []).append(claim)
    for (match, path), agreed in sorted(claims.items(), key=lambda item: (item[0][0].value, item[0][1])):
        what = f"{settings.paths_annotation} {excerpt(path)}"
        course = choose_course(tuple(agreed), what)
        agreement = resolve(agree(course.claims, what), fields)
        problems += (*course.problems, *agreement.problems)
        given = replace(agreement, options=(*agreement.options, *course.redirects))
        yield _build_path(match, path, given, settings, problems)


def _build_path(match: Match, path: str, agreement: Agreement, settings: Settings, problems: list[Problem]) -> Path:
    """Build a path from what all Pods that name it agree on."""
    claims = agreement.claims
    serving = [claim for claim in claims if claim.server]
    oldest = serving[0] if serving else claims[0]
    _tell_disagreements(serving, settings, problems)
    namespace = oldest.pod.namespace
    hashed = any(PATH_KEYS[option.name].hashes for option in agreement.options)
    balanced = balance(claims, agreement.what, hashed=hashed, checked=oldest.check is not None)
    problems += balanced.problems
    shares = (Option(share.KEY.name, balanced.shares),) if balanced.shares else ()
    options = (*agreement.options, *shares)
    problems += _tell_useless(options, oldest.pod, agreement.what)
    upstream = Upstream(
        name_upstream(namespace, match, path),
        namespace,
        match,
        path,
        balanced.servers,
        oldest.check,
        combine(options, match, path),
        agreement.closed,
    )
    return Path(oldest.entry.target, upstream)


def _tell_useless(options: Options, pod: Pod, what: str) -> Iterator[Problem]:
    """Tell which options have no effect beside another one."""
    for name, other in find_useless(options):
        why, expected = f"has no effect beside {other}", f"no {name}, or no {other}"
        yield Problem(pod.resource, f"{what} {name}", why, expected, Reason.OPTION)


def _parse_entries(
    pods: Iterable[Pod], most_servers: int, settings: Settings, problems: list[Problem]
) -> Iterator[tuple[Pod, tuple[PathEntry, ...]]]:
    """Parse each Pod's annotation, oldest Pod first; Pods beyond the Namespace's share of servers are left out."""
    parsed: dict[str, tuple[tuple[PathEntry, ...], tuple[Fault, ...]]] = {}
    left = most_servers
    for pod in sorted(pods, key=lambda pod: (pod.created, pod.name)):
        if pod.paths not in parsed and left > 0:
            parsed[pod.paths] = _parse(pod.paths, settings)
        entries, faults = parsed.get(pod.paths, ((), ()))
        left -= len(entries)
        if left < 0:
            why = "is left out: older Pods of the Namespace have too many entries"
            what, expected = settings.paths_annotation, "fewer Pods, or fewer paths"
            problems.append(Problem(pod.resource, what, why, expected, Reason.LIMIT))
            continue
        problems += (fault.as_problem(pod.resource, settings.paths_annotation) for fault in faults)
        yield pod, entries


def _parse(text: str, settings: Settings) -> tuple[tuple[PathEntry, ...], tuple[Fault, ...]]:
    """Parse an annotation of paths; its slips are faults too."""
    entries, faults = parse_paths(text, settings)
    return entries, (*faults, *(fault for entry in entries for fault in find_path_slips(entry)))


def _claim(pod: Pod, entries: tuple[PathEntry, ...], settings: Settings, problems: list[Problem]) -> Iterator[PodClaim]:
    """Give a claim for each entry of a Pod, with address and port if it gets traffic.

    An entry whose port is not declared is left out, or closed if it protects its path. A redirect needs none.
    """
    declared: dict[int | str, Port] = {}
    for port in pod.ports:
        if 1 <= port.number <= 65535:
            declared.setdefault(port.number, port)
            declared.setdefault(port.name or port.number, port)
    undeclared = [entry for entry in entries if entry.port is not None and entry.port not in declared]
    _tell_undeclared(pod, undeclared, settings, problems)
    address = _read_address(pod, settings, problems) if pod.ip else None
    for entry in entries:
        if entry.port is None:
            yield PodClaim(pod, entry, None, None)
        elif entry.port in declared:
            port = declared[entry.port]
            server = Server(f"{address}:{port.number}", entry.weight, pod.name) if address else None
            yield PodClaim(pod, entry, server, _read_check(pod, port, problems) if server else None)
        elif entry.closed or filter_closing(entry.options):
            yield PodClaim(pod, replace(entry, closed=True), None, None)


def _tell_undeclared(pod: Pod, entries: list[PathEntry], settings: Settings, problems: list[Problem]) -> None:
    """Tell which entries name a port that no container declares."""
    numbers = ", ".join(map(str, sorted({port.number for port in pod.ports})[:8])) if entries else ""
    for entry in entries:
        what = f"{settings.paths_annotation} {excerpt(entry.path)} containerPort"
        why = f"{excerpt(str(entry.port))} is not a TCP port that a container declares"
        expected = f"one of those declared: {numbers or 'none'}"
        problems.append(Problem(pod.resource, what, why, expected, Reason.PORT))


def _read_address(pod: Pod, settings: Settings, problems: list[Problem]) -> str | None:
    """Read a Pod's address; None if it is not an IP address, or if DENY_POD_CIDRS forbids it."""
    address = parse_address(pod.ip)
    if address is None:
        why = f"{excerpt(pod.ip)} is not an IP address"
        problems.append(Problem(pod.resource, "podIP", why, "an IPv4 or IPv6 address", Reason.ADDRESS))
    elif denied := find_cidr(address, settings.deny_pod_cidrs):
        why = f"{address} lies in {denied.text}, which DENY_POD_CIDRS forbids"
        problems.append(Problem(pod.resource, "podIP", why, "an address of the Pods' network", Reason.ADDRESS))
        return None
    return address


def _read_check(pod: Pod, port: Port, problems: list[Problem]) -> Probe | None:
    """Make a health check from a port's probe. None if the port has no probe, or one that cannot be used."""
    probe = port.probe
    if not probe:
        return None
    if probe.path is not None and not PROBE_PATH.accepts(probe.path):
        why = f"{excerpt(probe.path)} is not a path"
        problems.append(Problem(pod.resource, "probe path", why, PROBE_PATH.allowed, Reason.PROBE))
        return None
    if not all(1 <= number <= LONGEST_PROBE for number in (probe.period, probe.timeout, probe.rise, probe.fall)):
        why = "has a number out of range"
        problems.append(Problem(pod.resource, "probe", why, f"1 to {LONGEST_PROBE}", Reason.PROBE))
        return None
    # The probe may name a port that the container does not declare; the nginx module needs a port in any case.
    return replace(probe, port=probe.port if 1 <= probe.port <= 65535 else port.number)


def _tell_disagreements(claims: list[PodClaim], settings: Settings, problems: list[Problem]) -> None:
    """Report where the Pods of one path disagree about it: what the older Pod has is used."""
    seen: dict[str, str] = {}
    for claim in claims:
        oldest = claims[0]
        what = f"{settings.paths_annotation} {excerpt(claim.entry.path)}"
        if claim.entry.target != oldest.entry.target:
            why = f"has another targetPath than {oldest.pod.resource.kind} {oldest.pod.name}, which is older and counts"
            expected = "the same targetPath in all Pods"
            problems.append(Problem(claim.pod.resource, what, why, expected, Reason.DISAGREEMENT))
        if claim.check != oldest.check:
            why = (
                f"has another health check than {oldest.pod.resource.kind} {oldest.pod.name}, which is older and counts"
            )
            problems.append(Problem(claim.pod.resource, what, why, "the same probe in all Pods", Reason.DISAGREEMENT))
        address = claim.server.address if claim.server else ""
        holder = seen.setdefault(address, claim.pod.name)
        if holder != claim.pod.name:
            why = f"has the address {address} of Pod {holder}, which is older and counts"
            expected = "an address and port of its own"
            problems.append(Problem(claim.pod.resource, what, why, expected, Reason.ADDRESS))


def name_upstream(namespace: str, match: Match, path: str) -> str:
    """Name an upstream after its Namespace and path only: names never collide, and never change between renders.

    The digest comes first because nginx compares each name with all others, from the front: digests differ early.
    """
    digest = blake2b(f"{namespace} {match.value} {path}".encode("utf-8", "surrogateescape"), digest_size=16)
    return f"{digest.hexdigest()}.{namespace}"
