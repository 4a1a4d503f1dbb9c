"""tls: how nginx encrypts what it says to the Pods of a path, and how it knows them."""

from hashlib import blake2b
from typing import Any

from msgspec.structs import replace

from reconciler.routing.annotations import Refused, parse_boolean, parse_text
from reconciler.routing.keys.key import Key, Kind
from reconciler.routing.keys.secret_references import REFERENCE, parse_reference, read_chain
from reconciler.routing.keys.shapes import parse_object
from reconciler.routing.options import Options, find_option
from reconciler.routing.secret_fields import SecretFields
from reconciler.settings import Settings
from reconciler.values.certificates import Chain
from reconciler.values.patterns import DNS_NAME
from reconciler.values.value import Value

_CERTIFICATES = "a PEM of the root certificates of those who issue the Pods' certificates"
_SHAPE = f'{{"caCertificate": {REFERENCE}, "hostname": name}}, or {{"insecureSkipVerify": true}}'


class PodTls(Value, frozen=True):
    """TLS to Pods. `field` of the routing Secret holds the certificates of `chain`, which verify Pods.

    Without a field any certificate is good. An empty `hostname` is not sent.
    """

    hostname: str
    field: str
    chain: Chain | None = None

    def __str__(self) -> str:
        who = f" for {self.hostname}" if self.hostname else ""
        return f"verified by {self.field}{who}" if self.field else f"not verified{who}"

    @property
    def names(self) -> tuple[str, ...]:
        """The name that a Pod's certificate must have, and that a Pod is told, if there is one."""
        return (self.hostname,) if self.hostname else ()

    @property
    def digests(self) -> tuple[str, ...]:
        """The name of the file with the certificates that verify Pods, if there are some."""
        return (blake2b(self.chain.pem, digest_size=16).hexdigest(),) if self.chain else ()


def _parse(value: Any, what: str, _: Settings) -> PodTls:
    readers = {"caCertificate": parse_reference, "hostname": _parse_name, "insecureSkipVerify": parse_boolean}
    given = parse_object(value, what, readers)
    skips, verifies = given.get("insecureSkipVerify", False), "caCertificate" in given
    if skips and verifies:
        raise Refused(what, "has both caCertificate and insecureSkipVerify", _SHAPE)
    if not skips and not verifies:
        raise Refused(what, "has no caCertificate, by which Pods are verified", _SHAPE)
    if verifies and "hostname" not in given:
        raise Refused(what, "has no hostname, which a Pod's certificate must have", _SHAPE)
    return PodTls(given.get("hostname", ""), given.get("caCertificate", ""))


def _parse_name(value: object, what: str) -> str:
    return parse_text(value, what, DNS_NAME).lower()


def _resolve(value: Any, what: str, fields: SecretFields | None) -> PodTls:
    tls: PodTls = value
    if not tls.field:
        return tls
    place = f"{what}.caCertificate"
    chain = read_chain(fields, tls.field, place, _CERTIFICATES)
    if chain.client_flaws:
        why = f"refers to the field {tls.field}, which verifies no Pod: it has no root certificate that may sign others"
        raise Refused(place, why, _CERTIFICATES)
    return replace(tls, chain=chain)


def find_pod_tls(options: Options) -> PodTls | None:
    """Find how nginx encrypts what it says to the Pods of a path that has these options; None if it does not."""
    found = find_option(options, KEY.name)
    return found if isinstance(found, PodTls) else None


def _count(value: PodTls) -> int:
    return value.chain.weight if value.chain else 0


KEY = Key(
    name="tls",
    kind=Kind.WIRE,
    needs_upstream=lambda _: True,
    passing=True,
    parse=_parse,
    shape=_SHAPE,
    default="no TLS",
    does="Pods are asked over TLS 1.2 or 1.3, and told the hostname. One whose certificate is not for that name, or "
    "not signed by caCertificate, gets no request: the client gets 502. With insecureSkipVerify any certificate does.",
    # Each location loads its certificates for itself, and keeps 14 to 25 kB for TLS; a bare one has 7.
    weight=3,
    count_certificates=_count,
    resolve=_resolve,
)
