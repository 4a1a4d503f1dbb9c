"""Host options: a Namespace's annotation -> the hosts that it names and what it wants for each."""

from functools import partial
from typing import Any

from reconciler.routing.annotations import (
    Ambiguous,
    Fault,
    Layout,
    Members,
    Refused,
    check_number,
    name_type,
    parse_boolean,
    parse_text,
    read_json,
)
from reconciler.routing.keys.catalogue import HOST_KEYS
from reconciler.routing.keys.reading import HOST_OPTION_NAMES, OptionReader
from reconciler.routing.keys.slips import find_meant_of_host, find_meant_of_ssl
from reconciler.routing.options import Options
from reconciler.settings import Settings
from reconciler.values.addresses import parse_address
from reconciler.values.messages import excerpt
from reconciler.values.patterns import DATA_KEY, DNS_LABEL, HOST_NAME
from reconciler.values.value import Value

_KEYS = ("ssl", "sharedWith", "requireApiKey")
_SSL_KEYS = ("certificate", "certificateKey", "clientCertificate")
_HOST = Layout(
    (*_KEYS, *HOST_OPTION_NAMES), "an object, such as {}", HOST_OPTION_NAMES.__contains__, find_meant_of_host
)
_SSL = Layout(_SSL_KEYS, f"an object with {', '.join(_SSL_KEYS)}", find_meant=find_meant_of_ssl)
EVERYONE = "*"
MOST_SHARED = 100
_SHARED = f'an array of at most {MOST_SHARED} names of Namespaces, or ["{EVERYONE}"]'
_REFERENCE = '{"valueFrom": {"secretKeyRef": {"key": K}}}, where K is a field of the routing Secret'


class TlsFields(Value, frozen=True):
    """The fields of the routing Secret that hold a host's PEM texts. Without `client` clients are not verified."""

    certificate: str
    key: str
    client: str | None


class HostOptions(Value, frozen=True):
    """A host that a Namespace names. A `broken` host has malformed options: it is claimed, but cannot be served.

    `shared_with` names the Namespaces that may add paths, or EVERYONE. If `require_api_key`, a path of a Namespace
    without a key is closed; None if the options do not say.
    """

    name: str
    tls: TlsFields | None = None
    shared_with: tuple[str, ...] = ()
    require_api_key: bool | None = None
    broken: bool = False
    options: Options = ()


def parse_hosts(text: str, settings: Settings | None = None) -> tuple[tuple[HostOptions, ...], tuple[Fault, ...]]:
    """Parse a hosts annotation, a JSON object of host to options. Give the hosts, sorted, and the faults.

    Without `settings`, the options in HOST_KEYS are not read.
    """
    hosts: dict[str, HostOptions] = {}
    faults: list[Fault] = []
    try:
        named = read_json(text, dict, "object of hosts and their options")
        repeated = frozenset(named.repeated if isinstance(named, Ambiguous) else ())
        for name, options in named.items():
            try:
                host = _parse_host(name)
            except Refused as refused:
                faults.append(refused.fault)
            else:
                if name in repeated or host in hosts:
                    # None of them counts: who wins would depend on the order of a text.
                    hosts[host] = HostOptions(host, broken=True)
                    faults.append(Fault(excerpt(name), "appears twice", "each host once, whatever its case"))
                else:
                    hosts[host] = _parse_options(host, excerpt(name), options, settings, faults)
            check_number(faults)
    except Refused as refused:
        faults.append(refused.fault)
    return tuple(sorted(hosts.values(), key=lambda host: host.name)), tuple(faults)


def _parse_host(name: str) -> str:
    address = parse_address(name)
    if address is None and not HOST_NAME.accepts(name):
        raise Refused(excerpt(name), "is not a host", HOST_NAME.allowed)
    return address or name.lower()


def _parse_options(host: str, what: str, options: Any, settings: Settings | None, faults: list[Fault]) -> HostOptions:
    """Parse the options of a host. What protects it never falls away: at worst the host is broken."""
    try:
        members = Members({} if options is None else options, what, _HOST)
    except Refused as refused:
        faults.append(refused.fault)
        return HostOptions(host, broken=True)
    tls = members.read("ssl", partial(_parse_ssl, outer=members), None)
    nobody: tuple[str, ...] = ()
    shared_with = members.read_alone("sharedWith", _parse_shared, nobody, bad=nobody)
    require_api_key = members.read_alone("requireApiKey", parse_boolean, None, bad=True)
    faults += members.faults
    wanted: Options = ()
    if settings:
        read = OptionReader(what, settings, HOST_KEYS, lambda _: None).read(members.value)
        faults += read.faults
        wanted = read.options
    return HostOptions(host, tls, shared_with, require_api_key, not members.sound, wanted)


def _parse_ssl(value: Any, what: str, outer: Members) -> TlsFields | None:
    """Parse the references of `ssl`. All faults in it are those of the object around it."""
    members = Members(value, what, _SSL)
    parse = partial(_parse_reference, outer=members)
    certificate = members.require("certificate", parse, "both certificate and certificateKey")
    key = members.require("certificateKey", parse, "both certificate and certificateKey")
    client = members.read("clientCertificate", parse, None)
    outer.take_over(members)
    return TlsFields(certificate, key, client) if certificate and key else None


def _parse_reference(value: Any, what: str, outer: Members) -> str:
    """Parse a reference. Kubernetes' own have more keys, such as `name`: these are faults, but spoil nothing."""
    found: Any = value
    for step in ("valueFrom", "secretKeyRef", "key"):
        if not isinstance(found, dict):
            found = None
            break
        members = Members(found, what, Layout((step,), _REFERENCE))
        outer.take_over(members)
        found = found.get(step)
    if not isinstance(found, str) or not DATA_KEY.accepts(found):
        raise Refused(what, "does not refer to a field of a Secret", _REFERENCE)
    return found


def _parse_shared(value: Any, what: str) -> tuple[str, ...]:
    if not isinstance(value, list):
        raise Refused(what, f"is {name_type(value)}", _SHARED)
    if value == [EVERYONE]:
        return (EVERYONE,)
    if len(value) > MOST_SHARED:
        raise Refused(what, f"has {len(value)} names", _SHARED)
    return tuple(sorted({parse_text(name, f"{what}[{number}]", DNS_LABEL) for number, name in enumerate(value)}))
