"""A tenant's annotations -> hosts and paths. Text from outside becomes a typed value here, by full-match patterns."""

import re
import warnings
from collections.abc import Iterator
from itertools import islice
from typing import Any

import msgspec

from reconciler.objects.snapshot import Resource
from reconciler.routing.model import Match
from reconciler.routing.problems import Problem
from reconciler.values.addresses import parse_address
from reconciler.values.decoding import locate_json_fault
from reconciler.values.messages import excerpt
from reconciler.values.patterns import (
    DATA_KEY,
    EXACT_PATH,
    HOST_NAME,
    LONGEST_LOCATION,
    REGEX_PATH,
    URL_PATH,
    Pattern,
    decode_path,
)
from reconciler.values.value import Value

HEAVIEST = 1_000_000
_MOST_UNBOUNDED = 2
# The number of ways in which PCRE may try an expression at one position of a path, not counting * and +.
_MOST_WAYS = 30
# An annotation full of faults must not take much time from other Namespaces. Reading a fault takes longer than reading
# a good entry.
_MOST_FAULTS = 200
_SSL_FIELDS = ("certificate", "certificateKey", "clientCertificate")


class Fault(Value, frozen=True, order=True):
    """One thing in an annotation that is left out: what, why, and what is expected there."""

    what: str
    why: str
    expected: str

    def as_problem(self, resource: Resource, annotation: str) -> Problem:
        """Make it a problem of the object that has the annotation."""
        return Problem(resource, f"{annotation} {self.what}".rstrip(), self.why, self.expected)


class TlsFields(Value, frozen=True):
    """The fields of the routing Secret that hold a host's PEM texts. Without `client`, clients are not verified."""

    certificate: str
    key: str
    client: str | None


class HostOptions(Value, frozen=True):
    """A host that a Namespace names. A `broken` host has malformed options: it is claimed, but cannot be served."""

    name: str
    tls: TlsFields | None = None
    broken: bool = False


class PathEntry(Value, frozen=True):
    """One entry of a Pod's paths. `path` is decoded as nginx matches it, or is a regular expression.

    `port` is a number or a port's name; `target` is sent as it is, and None leaves the request's URI as it is.
    """

    match: Match
    path: str
    port: int | str
    target: str | None
    weight: int


class _Refused(Exception):
    """Something in an annotation that cannot be used."""

    def __init__(self, what: str, why: str, expected: str) -> None:
        super().__init__(what)
        self.fault = Fault(what, why, expected)


def parse_hosts(text: str) -> tuple[tuple[HostOptions, ...], tuple[Fault, ...]]:
    """Parse a hosts annotation, a JSON object of host to options. Give the hosts, sorted, and the faults."""
    hosts: dict[str, HostOptions] = {}
    faults: list[Fault] = []
    try:
        for name, options in _decode(text, dict, "object of hosts and their options").items():
            try:
                host = _parse_host(name)
                if host in hosts:
                    raise _Refused(excerpt(name), "appears twice", "each host once, whatever its case")
                hosts[host] = HostOptions(host, broken=True)
                hosts[host] = HostOptions(host, _parse_options(name, options, faults))
            except _Refused as refused:
                faults.append(refused.fault)
            _check_number(faults)
    except _Refused as refused:
        faults.append(refused.fault)
    return tuple(sorted(hosts.values(), key=lambda host: host.name)), tuple(faults)


def parse_paths(text: str, allow_regex: bool) -> tuple[tuple[PathEntry, ...], tuple[Fault, ...]]:
    """Parse a paths annotation, a JSON array of entries. Give the good entries, in order, and the faults."""
    entries: dict[tuple[Match, str], PathEntry] = {}
    faults: list[Fault] = []
    try:
        for number, raw in enumerate(_decode(text, list, "array of entries")):
            try:
                entry = _parse_entry(raw, f"[{number}]", allow_regex)
                if (entry.match, entry.path) in entries:
                    raise _Refused(f"[{number}].basePath", "appears twice; the first one counts", "each basePath once")
                entries[entry.match, entry.path] = entry
                faults += _unknown_keys(raw, ("basePath", "containerPort", "targetPath", "weight"), f"[{number}]")
            except _Refused as refused:
                faults.append(refused.fault)
            _check_number(faults)
    except _Refused as refused:
        faults.append(refused.fault)
    return tuple(entries.values()), tuple(faults)


def _check_number(faults: list[Fault]) -> None:
    if len(faults) > _MOST_FAULTS:
        raise _Refused("", "has too many faults; what comes after them is left out", f"fewer than {_MOST_FAULTS}")


def _decode(text: str, kind: type, expected: str) -> Any:
    try:
        value = msgspec.json.decode(text)
    except RecursionError:
        raise _Refused("", "is nested too deeply", f"a JSON {expected}") from None
    except msgspec.DecodeError:
        where = locate_json_fault(text)
        raise _Refused("", f"is not JSON{where and ' at ' + where}", f"a JSON {expected}") from None
    if not isinstance(value, kind):
        raise _Refused("", f"is JSON, but {_type_name(value)}", f"a JSON {expected}")
    return value


def _type_name(value: object) -> str:
    names = {dict: "an object", list: "an array", str: "a string", bool: "a boolean", type(None): "null"}
    return names.get(type(value), "a number")


def _show(value: object) -> str:
    if isinstance(value, str):
        return excerpt(value)
    return str(value) if type(value) is int and abs(value) < 10**18 else _type_name(value)


def _unknown_keys(value: dict[str, Any], known: tuple[str, ...], what: str) -> Iterator[Fault]:
    for key in islice((key for key in value if key not in known), _MOST_FAULTS + 1):
        yield Fault(f"{what}.{excerpt(key)}", "is an unknown key and is ignored", f"one of {', '.join(known)}")


def _parse_host(name: str) -> str:
    address = parse_address(name)
    if address is None and not HOST_NAME.accepts(name):
        raise _Refused(excerpt(name), "is not a host", HOST_NAME.allowed)
    return address or name.lower()


def _parse_options(name: str, options: Any, faults: list[Fault]) -> TlsFields | None:
    what = excerpt(name)
    if options is None:
        return None
    if not isinstance(options, dict):
        raise _Refused(what, f"has options that are {_type_name(options)}", "an object, such as {}")
    faults += _unknown_keys(options, ("ssl",), what)
    ssl = options.get("ssl")
    if ssl is None:
        return None
    if not isinstance(ssl, dict):
        raise _Refused(f"{what}.ssl", f"is {_type_name(ssl)}", f"an object with {', '.join(_SSL_FIELDS)}")
    faults += _unknown_keys(ssl, _SSL_FIELDS, f"{what}.ssl")
    certificate, key, client = (_parse_reference(ssl.get(part), f"{what}.ssl.{part}", faults) for part in _SSL_FIELDS)
    if certificate is None or key is None:
        missing = _SSL_FIELDS[certificate is not None]
        raise _Refused(f"{what}.ssl.{missing}", "is missing", "both certificate and certificateKey")
    return TlsFields(certificate, key, client)


def _parse_reference(reference: Any, what: str, faults: list[Fault]) -> str | None:
    if reference is None:
        return None
    value = reference
    for step in ("valueFrom", "secretKeyRef", "key"):
        faults += _unknown_keys(value, (step,), what) if isinstance(value, dict) else ()
        value = value.get(step) if isinstance(value, dict) else None
    if not isinstance(value, str) or not DATA_KEY.accepts(value):
        expected = '{"valueFrom": {"secretKeyRef": {"key": K}}}, where K is a field of the routing Secret'
        raise _Refused(what, "does not refer to a field of a Secret", expected)
    return value


def _parse_entry(raw: Any, what: str, allow_regex: bool) -> PathEntry:
    if not isinstance(raw, dict):
        raise _Refused(what, f"is {_type_name(raw)}", "an object with basePath and containerPort")
    match, path = _parse_base(_text(raw, "basePath", what), f"{what}.basePath", allow_regex)
    target = raw.get("targetPath")
    if target is not None:
        target = _parse_target(_text(raw, "targetPath", what), match, f"{what}.targetPath")
    weight = raw.get("weight", 1)
    if type(weight) is not int or not 1 <= weight <= HEAVIEST:
        raise _Refused(f"{what}.weight", f"is {_show(weight)}", f"an integer from 1 to {HEAVIEST}")
    return PathEntry(match, path, _parse_port(raw, f"{what}.containerPort"), target, weight)


def _text(raw: dict[str, Any], key: str, what: str) -> str:
    value = raw.get(key)
    if not isinstance(value, str):
        why = "is missing" if key not in raw else f"is {_type_name(value)}"
        raise _Refused(f"{what}.{key}", why, "a string, an absolute path")
    return value


def _accept(pattern: Pattern, text: str, what: str) -> None:
    if not pattern.accepts(text):
        raise _Refused(what, f"is {excerpt(text)}", pattern.allowed)


def _parse_base(text: str, what: str, allow_regex: bool) -> tuple[Match, str]:
    if text.startswith("~"):
        return _parse_regex(text, what, allow_regex)
    exact = text.startswith("=")
    _accept(EXACT_PATH if exact else URL_PATH, text, what)
    try:
        path = decode_path(text.removeprefix("="))
    except ValueError as error:
        expected = f"a path as nginx sees it: decoded at most {LONGEST_LOCATION} bytes, without '//' and dot segments"
        raise _Refused(what, f"{excerpt(text)} {error}", expected) from None
    return (Match.EXACT, path) if exact else (Match.PREFIX, path.rstrip("/") or "/")


def _parse_regex(text: str, what: str, allow_regex: bool) -> tuple[Match, str]:
    if not allow_regex:
        raise _Refused(what, "is a regular expression, which is turned off", "an absolute path")
    _accept(REGEX_PATH, text, what)
    match = Match.IREGEX if text.startswith("~*") else Match.REGEX
    pattern = text.removeprefix(match.value)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            re.compile(pattern)
    except (re.error, FutureWarning) as error:
        raise _Refused(what, f"{excerpt(text)} is not a regular expression ({error})", REGEX_PATH.allowed) from None
    if not _is_cheap(pattern):
        raise _Refused(what, f"{excerpt(text)} can be tried in too many ways", REGEX_PATH.allowed)
    return match, pattern


def _is_cheap(pattern: str) -> bool:
    """Tell whether a regular expression is quick for every path that a client can send.

    Without a leading '^', PCRE tries it at each position of a path; `*` and `+` would then take time quadratic in the
    path's length, so they are allowed only after '^'.
    """
    bare = re.sub(r"\\.|\[[^]]*\]|(?<=\()\?", "", pattern)
    ways, alternatives = 2 ** bare.count("?"), [1]
    for sign in bare:
        if sign == "(":
            alternatives.append(1)
        elif sign == "|":
            alternatives[-1] += 1
        elif sign == ")":
            ways *= alternatives.pop()
    anchored = pattern.startswith("^") and alternatives[0] == 1
    unbounded = bare.count("*") + bare.count("+")
    return ways * alternatives[0] <= _MOST_WAYS and unbounded <= (_MOST_UNBOUNDED if anchored else 0)


def _parse_target(text: str, match: Match, what: str) -> str:
    if match.is_regex:
        raise _Refused(what, "cannot go with a regular expression", "no targetPath, or a basePath that is a path")
    _accept(URL_PATH, text, what)
    return text.replace("$", "%24")  # nginx would expand a variable there


def _parse_port(raw: dict[str, Any], what: str) -> int | str:
    port = raw.get("containerPort")
    if type(port) is int:
        return port
    if isinstance(port, str) and port:
        return int(port) if re.fullmatch(r"[1-9][0-9]{0,4}", port) else port
    why = "is missing" if port is None else f"is {_type_name(port)}"
    raise _Refused(what, why, "the number or the name of a port that a container of the Pod declares")
