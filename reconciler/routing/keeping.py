"""Keeping: what a Namespace's last good state still counts for, after an object of it has changed or gone."""

from collections.abc import Iterator
from contextlib import suppress

from msgspec.structs import replace

from reconciler.objects.snapshot import KeptPair, Namespace, PemPair
from reconciler.routing.api_keys import is_key_field
from reconciler.routing.host_options import parse_hosts
from reconciler.routing.secret_fields import SecretFields
from reconciler.routing.tls import TlsRefused, read_pair
from reconciler.settings import Settings
from reconciler.values.certificates import CertificateError, PemCache


def keep_last_good(
    before: Namespace | None, after: Namespace, settings: Settings, pems: PemCache, now: float
) -> Namespace:
    """Give a Namespace as it is to be read, after it was served as `before`; `now` is in seconds since the epoch.

    If it had an API key and has none, the key counts as lost while it has Pods. If a host's certificate and key cannot
    be used, the pair that was served is kept until it expires. A Namespace that is being deleted keeps its Secret: the
    objects in it go in any order, and Pods can outlive the API key that protects them. If nobody knows whether it had
    a key, it counts as lost. One of the same name that was made anew is another Namespace, and keeps nothing.
    """
    if before is None or before.created != after.created:
        return replace(after, key_lost=True) if after.terminating and after.secret is None else after
    if after.terminating and after.secret is None:
        after = replace(after, secret=before.secret)
    had_key = before.key_lost or _has_key(before, settings)
    key_lost = had_key and bool(after.pods) and not _has_key(after, settings)
    if (before.hosts, before.secret) == (after.hosts, after.secret):
        kept = tuple(_drop_expired(before.kept, pems, now))
    else:
        kept = tuple(_drop_expired(_find_pairs(before, after, settings, pems), pems, now))
    return replace(after, key_lost=key_lost, kept=kept) if key_lost or kept else after


def _has_key(namespace: Namespace, settings: Settings) -> bool:
    names = (name for name, _ in namespace.secret.data) if namespace.secret else ()
    return any(is_key_field(name, settings.api_key_secret_field) for name in names)


def _drop_expired(pairs: tuple[KeptPair, ...], pems: PemCache, now: float) -> Iterator[KeptPair]:
    """Drop pairs that have expired, and those that a former version of this program accepted."""
    for kept in pairs:
        with suppress(CertificateError):
            if pems.parse_chain(kept.pair.certificate).not_after > now:
                yield kept


def _find_pairs(before: Namespace, after: Namespace, settings: Settings, pems: PemCache) -> tuple[KeptPair, ...]:
    """Find the pairs that were served for hosts whose present pair is there but cannot be used."""
    _, broken = _sort_hosts(after, settings, pems)
    if not broken:
        return ()
    served, _ = _sort_hosts(before, settings, pems)
    served |= {host: kept.pair for kept in before.kept for host in kept.hosts}
    hosts: dict[PemPair, list[str]] = {}
    for host in sorted(broken & served.keys()):
        hosts.setdefault(served[host], []).append(host)
    return tuple(KeptPair(tuple(names), pair) for pair, names in hosts.items())


def _sort_hosts(namespace: Namespace, settings: Settings, pems: PemCache) -> tuple[dict[str, PemPair], set[str]]:
    """Give the pairs of a Namespace's hosts, and name the hosts whose pair is there but cannot be used."""
    hosts = parse_hosts(namespace.hosts)[0] if namespace.hosts is not None else ()
    fields = SecretFields(namespace.secret.data, namespace.name, pems) if namespace.secret else None
    good: dict[str, PemPair] = {}
    broken: set[str] = set()
    for host in hosts:
        if not host.tls or host.broken:
            continue
        try:
            chain, key = read_pair(host.tls, fields, settings, pems)
            good[host.name] = PemPair(chain.pem, key)
        except TlsRefused as refused:
            if not refused.missing:
                broken.add(host.name)
    return good, broken
