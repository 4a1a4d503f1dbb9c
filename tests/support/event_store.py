"""How a test API server accepts Events: POST and PATCH."""

import random
import time

import msgspec
from support.answers import (
    Answer,
    already_exists,
    bad_request,
    conflict,
    invalid,
    not_found,
    terminating,
    write_json,
)
from support.objects import Object
from support.store import Store, Stored

_LETTERS = "bcdfghjklmnpqrstvwxz2456789"  # Kubernetes ends generated names with these letters
_DEFAULTS: Object = {"eventTime": None, "reportingComponent": "", "reportingInstance": ""}
_EVENT = (
    "metadata", "involvedObject", "reason", "message", "source", "firstTimestamp", "lastTimestamp", "count", "type",
    "eventTime", "reportingComponent", "reportingInstance",
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
    _check_place(store, namespace, name)
    metadata = {**given["metadata"], "name": name, "namespace": namespace, "managedFields": [_manage(given, agent)]}
    reference = given["involvedObject"]
    whole = _DEFAULTS | given
    event = {
        **{key: whole[key] for key in _EVENT if key in whole},
        "metadata": metadata,
        "involvedObject": {key: reference[key] for key in _REFERENCE if key in reference},
    }
    return write_object("Event", store.put({"kind": "Event", **event}), 201)


def patch_event(store: Store, namespace: str, name: str, body: bytes) -> Answer:
    """Merge new values into an Event."""
    stored = store.present.collections["Event"].objects.get(f"{namespace}/{name}")
    if not stored:
        raise not_found("events", name)
    event, change = msgspec.json.decode(stored.item), _read_body(body)
    if change.get("metadata", {}).pop("resourceVersion", str(stored.version)) != str(stored.version):
        raise conflict("events", name)
    changed = event | change | {"metadata": event["metadata"] | change.get("metadata", {})}
    if changed == event:
        return write_object("Event", stored)  # nothing is stored, and the version stays
    return write_object("Event", store.put({"kind": "Event", **changed}))


def _check_place(store: Store, namespace: str, name: str) -> None:
    """Refuse a name that is taken, and a Namespace that does not exist or is being deleted. "default" always exists."""
    objects = {kind: each.objects for kind, each in store.present.collections.items()}
    around = objects["Namespace"].get(namespace)
    if not around and namespace != "default":
        raise not_found("namespaces", namespace)
    if around and around.fields["status.phase"] == "Terminating":
        raise terminating("events", name, namespace)
    if f"{namespace}/{name}" in objects["Event"]:
        raise already_exists("events", name)


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
