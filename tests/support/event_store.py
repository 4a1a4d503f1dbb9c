"""How a test API server accepts Events: POST and PATCH."""

import random
import time

import msgspec
from support.answers import Answer, bad_request, invalid, not_found, write_json
from support.objects import Object
from support.store import Store, Stored

_LETTERS = "bcdfghjklmnpqrstvwxz2456789"  # Kubernetes ends generated names with these letters
_DEFAULTS: Object = {"eventTime": None, "reportingComponent": "", "reportingInstance": ""}
_EVENT = (
    "metadata", "involvedObject", "reason", "message", "source", "firstTimestamp", "lastTimestamp", "count", "type",
)  # fmt: skip
_REFERENCE = ("kind", "namespace", "name", "uid", "apiVersion", "resourceVersion", "fieldPath")


def _read_body(body: bytes) -> Object:
    try:
        return msgspec.json.decode(body, type=dict)
    except msgspec.MsgspecError as error:
        raise bad_request(f"couldn't read the body: {error}") from None


def write_object(kind: str, stored: Stored, status: int = 200) -> Answer:
    """Write the answer to a request for a single object."""
    head = write_json({"kind": kind, "apiVersion": "v1"}).removesuffix(b"}")
    return Answer(status, (head + b",", stored.item.removeprefix(b"{"), b"\n"))


def create_event(store: Store, namespace: str, body: bytes, agent: str) -> Answer:
    """Store a new Event. It must be in its object's Namespace, or in "default" if its object is a Namespace."""
    given = _read_body(body)
    prefix = given["metadata"].get("generateName", "")
    name = given["metadata"].get("name") or prefix + "".join(random.choices(_LETTERS, k=5))
    about = given["involvedObject"].get("namespace", "")
    if (about or "default") != namespace:
        problem = f'Invalid value: "{about}": does not match event.namespace'
        raise invalid("Event", name, "involvedObject.namespace", problem)
    metadata = {**given["metadata"], "name": name, "namespace": namespace, "managedFields": [_manage(given, agent)]}
    reference = given["involvedObject"]
    event = {
        **{key: given[key] for key in _EVENT if key in given},
        "metadata": metadata,
        "involvedObject": {key: reference[key] for key in _REFERENCE if key in reference},
        **_DEFAULTS,
    }
    return write_object("Event", store.put({"kind": "Event", **event}), 201)


def patch_event(store: Store, namespace: str, name: str, body: bytes) -> Answer:
    """Merge new values into an Event."""
    stored = store.present.collections["Event"].objects.get(f"{namespace}/{name}")
    if not stored:
        raise not_found("events", name)
    event = msgspec.json.decode(stored.item) | _read_body(body)
    return write_object("Event", store.put({"kind": "Event", **event}))


def _manage(given: Object, agent: str) -> Object:
    named = {**given, "metadata": {"generateName": ""}}
    for key in ("kind", "apiVersion"):
        named.pop(key, None)
    return {
        "manager": agent.split("/")[0],
        "operation": "Update",
        "apiVersion": "v1",
        "time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "fieldsType": "FieldsV1",
        "fieldsV1": _name_fields(named),
    }


def _name_fields(given: Object) -> Object:
    return {f"f:{key}": _name_fields(given[key]) if isinstance(given[key], dict) else {} for key in sorted(given)}
