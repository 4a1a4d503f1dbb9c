"""Validity: what is told of a certificate as time passes."""

from collections.abc import Iterator

from reconciler.routing.keys.pod_tls import find_pod_tls
from reconciler.routing.model import Host, Upstream
from reconciler.routing.problems import Problem, Reason, problem_of
from reconciler.values.certificates import Chain
from reconciler.values.messages import excerpt, write_time

_DAY = 86400.0
_SOON = 14 * _DAY


def tell_validity(
    chain: Chain, now: float, late: str = "; it is still served", early: str = "; it is served"
) -> tuple[str, str] | None:
    """Say what is wrong with a certificate's dates at a time, in seconds since the epoch, and what is expected.

    `late` and `early` say what follows if it is too late, or too early.
    """
    if now >= chain.not_after:
        return f"has expired{late}", "a certificate that is valid today"
    if now < chain.not_before:
        return f"is not valid yet{early}", "a certificate that is valid today"
    if now >= _find_late(chain):
        return f"ends at {write_time(chain.not_after)}", "a new certificate before that time"
    return None


def tell_expiry(host: Host, now: float) -> Iterator[Problem]:
    """Tell what is wrong with the dates of a host's certificates at a time, in seconds since the epoch."""
    if not host.tls:
        return
    for part, chain in (("certificate", host.tls.chain), ("clientCertificate", host.tls.client)):
        if chain and (trouble := tell_validity(chain, now)):
            yield problem_of(host.namespace, f"host {host.name} ssl.{part}", *trouble, Reason.EXPIRY)


def tell_pods_expiry(upstream: Upstream, now: float) -> Iterator[Problem]:
    """Tell what is wrong, at a time, with the dates of the certificates that verify the Pods of a path."""
    tls = find_pod_tls(upstream.options)
    unverified = ": no Pod is verified by it"
    if tls and tls.chain and (trouble := tell_validity(tls.chain, now, unverified, unverified)):
        what = f"path {excerpt(upstream.match.value + upstream.path)} tls.caCertificate"
        yield problem_of(upstream.namespace, what, *trouble, Reason.EXPIRY)


def list_moments(chain: Chain) -> tuple[float, float, float]:
    """List the moments at which `tell_validity` changes what it says."""
    return chain.not_before, _find_late(chain), chain.not_after


def _find_late(chain: Chain) -> float:
    """Find when a renewal is late: 14 days before the end, or in the last third of a short life.

    Certificates are usually renewed after two thirds of their life.
    """
    return chain.not_after - min(_SOON, (chain.not_after - chain.not_before) / 3)
