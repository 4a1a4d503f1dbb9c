"""What a test API server accepts as a Lease."""

import re
from datetime import UTC, datetime

from support.answers import Refused, bad_request, invalid
from support.object_writer import Rules
from support.objects import Object
from support.store import KINDS

_SPEC = ("holderIdentity", "leaseDurationSeconds", "acquireTime", "renewTime", "leaseTransitions")
_TIMES = ("acquireTime", "renewTime")
# The parts of a MicroTime, each with its name in Go's layout of times.
_PARTS = (
    (re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d"), "2006-01-02T15:04:05"),
    (re.compile(r"\.\d{6}"), ".000000"),
    (re.compile(r"Z|[+-]\d\d:\d\d"), "Z07:00"),
)
_LAYOUT = "".join(name for _, name in _PARTS)
_LEAST = {"leaseDurationSeconds": (1, "must be greater than 0"), "leaseTransitions": (0, "must be non-negative")}


def _complete(given: Object) -> Object:
    """Give the spec of a Lease, with its times in UTC."""
    given = given.get("spec") or {}
    spec = {name: given[name] for name in _SPEC if given.get(name) is not None}
    return {"spec": spec | {name: _read_time(spec[name]) for name in _TIMES if name in spec}}


def _read_time(text: str) -> str:
    """Read a MicroTime, which has six digits after the point."""
    rest = text
    for pattern, name in _PARTS:
        found = pattern.match(rest)
        if not found:
            raise _refuse_time(text, f' as "{_LAYOUT}": cannot parse "{rest}" as "{name}"')
        rest = rest[found.end() :]
    if rest:
        raise _refuse_time(text, f': extra text: "{rest}"')
    return datetime.fromisoformat(text).astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def _refuse_time(text: str, problem: str) -> Refused:
    return bad_request(f'Lease in version "v1" cannot be handled as a Lease: parsing time "{text}"{problem}')


def _check(made: Object, former: Object) -> None:
    for field, (least, problem) in _LEAST.items():
        value = made["spec"].get(field, least)
        if value < least:
            name = made["metadata"]["name"]
            raise invalid(LEASES.kind.full_name, name, f"spec.{field}", f"Invalid value: {value}: {problem}")


LEASES = Rules(KINDS["leases"], _complete, _check, lenient=False, born_by_update=True)
