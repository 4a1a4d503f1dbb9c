"""redirect: a path that sends clients to another path, in place of Pods that answer."""

from typing import Any

from reconciler.routing.annotations import Refused, parse_text, show_value
from reconciler.routing.keys.key import Key, Kind
from reconciler.routing.keys.shapes import parse_object
from reconciler.settings import Settings
from reconciler.values.patterns import URL_PATH, Pattern
from reconciler.values.value import Value

_CODES = (301, 302, 303, 307, 308)
# Clients would take two slashes in front for another host, and nginx a `$` for a variable.
TARGET = Pattern(
    rf"(?!//)(?!.*\$){URL_PATH.expression}", f"{URL_PATH.allowed}, without '$' and '//' in front", URL_PATH.longest
)


class Redirect(Value, frozen=True):
    """The path to which clients are sent, and the status of the answer."""

    path: str
    status: int = 302

    def __str__(self) -> str:
        return f"{self.status} {self.path}"


def _parse_code(value: object, what: str) -> int:
    if type(value) is not int or value not in _CODES:
        raise Refused(what, f"is {show_value(value)}", f"one of {', '.join(map(str, _CODES))}")
    return value


def _parse(value: Any, what: str, _: Settings) -> Redirect:
    readers = {"path": lambda path, where: parse_text(path, where, TARGET), "statusCode": _parse_code}
    given = parse_object(value, what, readers)
    if "path" not in given:
        raise Refused(f"{what}.path", "is missing", TARGET.allowed)
    return Redirect(given["path"], given.get("statusCode", 302))


KEY = Key(
    name="redirect",
    kind=Kind.ENTRY,
    parse=_parse,
    shape=f'{{"path": path, "statusCode": {", ".join(map(str, _CODES))}}}',
    default="none; the status is 302",
    does="Clients are sent to another path of the host. No Pod is asked, and containerPort must be absent.",
)
