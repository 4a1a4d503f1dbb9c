"""The answers of a test API server, with the Status bodies that Kubernetes writes into most failures."""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field

import msgspec

JSON = {"Cache-Control": "no-cache, private", "Content-Type": "application/json"}
NO_SNIFFING = {"X-Content-Type-Options": "nosniff"}

_TOO_OLD = (
    "The provided continue parameter is too old to display a consistent list result. You can start a new list without"
    " the continue parameter, or use the continue token in this response to retrieve the remainder of the results."
    " Continuing with the provided token results in an inconsistent list - objects that were created, modified, or"
    " deleted between the time the first chunk was returned and now may show up in the list."
)
_MODIFIED = "the object has been modified; please apply your changes to the latest version and try again"


@dataclass(frozen=True)
class Answer:
    """A status, headers (without Date and those about the body's length), and a body that is sent in pieces.

    The body of a list has three pieces; the second one holds the items.
    """

    status: int
    body: tuple[bytes, ...] = field(repr=False)
    headers: Mapping[str, str] = field(default_factory=lambda: JSON)


class Refused(Exception):
    """A request is refused with this answer."""

    def __init__(self, answer: Answer) -> None:
        super().__init__(answer)
        self.answer = answer


def write_json(value: object) -> bytes:
    """Write JSON as Go does: on one line, in the order given, safe in HTML."""
    written = msgspec.json.encode(value)
    for character in b"<>&":
        written = written.replace(bytes([character]), b"\\u00%x" % character)
    return written


def write_status(
    code: int, reason: str, message: str, details: object = None, headers: Mapping[str, str] | None = None
) -> Answer:
    """Write the Status of a failure; a reason that is empty and details that are None are left out."""
    status: dict[str, object] = {
        "kind": "Status",
        "apiVersion": "v1",
        "metadata": {},
        "status": "Failure",
        "message": message,
    }
    status |= ({"reason": reason} if reason else {}) | ({} if details is None else {"details": details})
    return Answer(code, (write_json(status | {"code": code}), b"\n"), JSON | dict(headers or {}))


def write_answer(value: object) -> Answer:
    """Write the answer to a request that succeeds."""
    return Answer(200, (write_json(value), b"\n"))


def write_list(kind: str, metadata: Mapping[str, object], items: bytes, api_version: str = "v1") -> Answer:
    """Write a list around its encoded items."""
    head = write_json({"kind": f"{kind}List", "apiVersion": api_version, "metadata": metadata, "items": []})
    return Answer(200, (head.removesuffix(b"]}"), items, b"]}\n"))


UNAUTHORIZED = write_status(401, "Unauthorized", "Unauthorized")
NO_SUCH_PATH = write_status(404, "NotFound", "the server could not find the requested resource", {})
NOT_ALLOWED = write_status(
    405, "MethodNotAllowed", "the server does not allow this method on the requested resource", {}
)
LIMIT = 3 << 20  # of a request's body, in bytes
BODY_TOO_LARGE = write_status(
    413, "RequestEntityTooLarge", f"Request entity too large: limit is {LIMIT}", headers={"Connection": "close"}
)
VERSION = Answer(
    200,
    (
        json.dumps(
            {
                "major": "1",
                "minor": "21",
                "gitVersion": "v1.21.2-k3s1",
                "gitCommit": "faffd6ecd237a32315a462a25c1cce1f24a9a506",
                "gitTreeState": "clean",
                "buildDate": "2021-06-18T03:51:40Z",
                "goVersion": "go1.19.8",
                "compiler": "gc",
                "platform": "linux/amd64",
            },
            indent=2,
        ).encode(),
    ),
)

_RESOURCES = (
    ("namespaces", "Namespace", False),
    ("pods", "Pod", True),
    ("secrets", "Secret", True),
    ("events", "Event", True),
)
# By path: what kubectl reads before its first request.
DISCOVERY = {
    "/api": write_answer({"kind": "APIVersions", "versions": ["v1"]}),
    "/apis": write_answer({"kind": "APIGroupList", "apiVersion": "v1", "groups": []}),
    "/api/v1": write_answer(
        {
            "kind": "APIResourceList",
            "groupVersion": "v1",
            "resources": [
                {
                    "name": name,
                    "singularName": kind.lower(),
                    "namespaced": inside,
                    "kind": kind,
                    "verbs": ["get", "list"],
                }
                for name, kind, inside in _RESOURCES
            ],
        }
    ),
}


def refuse(code: int, reason: str, message: str, details: object = None) -> Refused:
    """Make a refusal with a Status."""
    return Refused(write_status(code, reason, message, details))


def bad_request(message: str) -> Refused:
    """Make the refusal of a parameter or a body that cannot be read."""
    return refuse(400, "BadRequest", message)


def name_object(resource: str, name: str) -> dict[str, object]:
    """Name an object, or no object, of a resource like `leases.coordination.k8s.io` in the details of a Status."""
    plural, _, group = resource.partition(".")
    return ({"name": name} if name else {}) | ({"group": group} if group else {}) | {"kind": plural}


def not_found(resource: str, name: str) -> Refused:
    """Make the refusal of a name that no object has."""
    return refuse(404, "NotFound", f'{resource} "{name}" not found', name_object(resource, name))


def already_exists(resource: str, name: str) -> Refused:
    """Make the refusal of a new object whose name another object has."""
    return refuse(409, "AlreadyExists", f'{resource} "{name}" already exists', name_object(resource, name))


def conflict(resource: str, name: str, why: str = _MODIFIED) -> Refused:
    """Make the refusal of a change to another version of an object, or to another object of the name."""
    message = f'Operation cannot be fulfilled on {resource} "{name}": {why}'
    return refuse(409, "Conflict", message, name_object(resource, name))


def over_quota(resource: str, name: str, count: int, limit: int) -> Refused:
    """Make the refusal of a new object in a Namespace whose quota is used up."""
    used = f"requested: {resource}=1, used: {resource}={count}, limited: {resource}={limit}"
    message = f'{resource} "{name}" is forbidden: exceeded quota: q, {used}'
    return refuse(403, "Forbidden", message, name_object(resource, name))


def terminating(resource: str, name: str, namespace: str) -> Refused:
    """Make the refusal of a new object in a Namespace that is being deleted."""
    why = "because it is being terminated"
    message = f'{resource} "{name}" is forbidden: unable to create new content in namespace {namespace} {why}'
    cause = {"reason": "NamespaceTerminating", "message": f"namespace {namespace} is being terminated"}
    details = name_object(resource, name) | {"causes": [cause | {"field": "metadata.namespace"}]}
    return refuse(403, "Forbidden", message, details)


def invalid(kind: str, name: str, place: str, problem: str, reason: str = "FieldValueInvalid") -> Refused:
    """Make the refusal of an object with a wrong value."""
    cause = {"reason": reason, "message": problem, "field": place}
    details = name_object(kind, name) | {"causes": [cause]}
    return refuse(422, "Invalid", f'{kind} "{name}" is invalid: {place}: {problem}', details)


def write_forbidden(user: str, verb: str, resource: str, namespace: str, name: str) -> Answer:
    """Write the answer to a user without a right; an empty Namespace means a right in the whole cluster."""
    place = f'in the namespace "{namespace}"' if namespace else "at the cluster scope"
    what = f'{resource} "{name}"' if name else resource
    plural, _, group = resource.partition(".")
    message = f'{what} is forbidden: User "{user}" cannot {verb} resource "{plural}" in API group "{group}" {place}'
    return write_status(403, "Forbidden", message, name_object(resource, name), NO_SNIFFING)


def write_expired(token: str) -> Answer:
    """Write the answer to a continue token that is too old; it holds a new token that continues the list."""
    answer = write_status(410, "Expired", _TOO_OLD)
    body = answer.body[0].replace(b'"metadata":{}', b'"metadata":' + write_json({"continue": token}), 1)
    return Answer(410, (body, b"\n"))


def write_too_large(wanted: int, current: int) -> Answer:
    """Write the answer to a resourceVersion that the cache has not reached."""
    cause = {"reason": "ResourceVersionTooLarge", "message": "Too large resource version"}
    message = f"Timeout: Too large resource version: {wanted}, current: {current}"
    return write_status(504, "Timeout", message, {"causes": [cause], "retryAfterSeconds": 1}, {"Retry-After": "1"})


def bad_selector(text: str, problem: ValueError) -> Refused:
    """Make the refusal of a label selector, in Kubernetes' words if a term goes on after its value."""
    extra = re.search(r"=[^=!,()]*([=!()])", text)
    if extra and str(problem) == "',' is missing":
        return bad_request(f"found '{extra[1]}', expected: ',' or 'end of string'")
    return bad_request(f"unable to parse requirement: {problem}")
