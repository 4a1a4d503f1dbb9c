"""How a test API server accepts Events: POST and PATCH."""

import msgspec
from support.answers import Answer, already_exists, conflict, invalid, not_found
from support.managed_fields import manage
from support.object_reader import read_body, write_object
from support.object_writer import check_place, choose_name
from support.objects import Object
from support.store import KINDS, Store

_KIND = KINDS["events"]
_DEFAULTS: Object = {"eventTime": None, "reportingComponent": "", "reportingInstance": ""}
_EVENT = (
    "metadata", "involvedObject", "reason", "message", "source", "firstTimestamp", "lastTimestamp", "count", "type",
    "eventTime", "reportingComponent", "reportingInstance",
)  # fmt: skip
_REFERENCE = ("kind", "namespace", "name", "uid", "apiVersion", "resourceVersion", "fieldPath")


def create_event(store: Store, namespace: str, body: bytes, agent: str) -> Answer:
    """Store a new Event. It must be in its object's Namespace, or in "default" if its object is a Namespace."""
    given = read_body(body)
    name = choose_name(given["metadata"])
    about = given["involvedObject"].get("namespace", "")
    if (about or "default") != namespace:
        problem = f'Invalid value: "{about}": does not match event.namespace'
        raise invalid("Event", name, "involvedObject.namespace", problem)
    check_place(store, _KIND, namespace, name)
    if _KIND.key(namespace, name) in store.present.collections["Event"].objects:
        raise already_exists("events", name)
    metadata = {
        **given["metadata"],
        "name": name,
        "namespace": namespace,
        "managedFields": [manage(given, agent, "v1")],
    }
    reference = given["involvedObject"]
    whole = _DEFAULTS | given
    event = {
        **{key: whole[key] for key in _EVENT if key in whole},
        "metadata": metadata,
        "involvedObject": {key: reference[key] for key in _REFERENCE if key in reference},
    }
    return write_object(_KIND, store.put({"kind": "Event", **event}), 201)


def patch_event(store: Store, namespace: str, name: str, body: bytes) -> Answer:
    """Merge new values into an Event."""
    stored = store.present.collections["Event"].objects.get(f"{namespace}/{name}")
    if not stored:
        raise not_found("events", name)
    event, change = msgspec.json.decode(stored.item), read_body(body)
    if change.get("metadata", {}).pop("resourceVersion", str(stored.version)) != str(stored.version):
        raise conflict("events", name)
    changed = event | change | {"metadata": event["metadata"] | change.get("metadata", {})}
    if changed == event:
        return write_object(_KIND, stored)  # nothing is stored, and the version stays
    return write_object(_KIND, store.put({"kind": "Event", **changed}))
