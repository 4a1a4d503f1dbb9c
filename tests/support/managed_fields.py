"""How a test API server notes in an object which program wrote which fields."""

import time

from support.objects import Object

_MAPS = frozenset({"annotations", "data", "labels"})  # a program owns such a map, and each key in it
# What metadata holds besides these belongs to the server.
_METADATA = ("annotations", "generateName", "labels", "ownerReferences")


def manage(given: Object, agent: str, version: str) -> Object:
    """Write the entry of a program that wrote the whole object, in `version` of its API."""
    metadata = {name: given["metadata"][name] for name in _METADATA if name in given["metadata"]}
    fields = {name: value for name, value in given.items() if name not in ("kind", "apiVersion", "metadata")}
    fields |= {"metadata": metadata} if metadata else {}
    return {
        "manager": agent.split("/")[0],
        "operation": "Update",
        "apiVersion": version,
        "time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "fieldsType": "FieldsV1",
        "fieldsV1": _name_fields(fields),
    }


def _name_fields(given: Object, owned: bool = False) -> Object:
    fields = {f"f:{name}": _name_value(name, given[name]) for name in sorted(given)}
    return {".": {}} | fields if owned else fields


def _name_value(name: str, value: object) -> Object:
    return _name_fields(value, name in _MAPS) if isinstance(value, dict) else {}
