"""How a test API server creates, updates, patches and deletes objects of a kind, in the order of Kubernetes' checks."""

import random
from collections.abc import Callable
from dataclasses import dataclass

import msgspec
from support.answers import (
    NOT_ALLOWED,
    Answer,
    Refused,
    already_exists,
    bad_request,
    conflict,
    invalid,
    name_object,
    not_found,
    over_quota,
    refuse,
    terminating,
    write_answer,
)
from support.managed_fields import manage
from support.object_reader import read_body, write_object
from support.objects import Object
from support.store import Kind, Store, Stored

MERGE_PATCH = "application/merge-patch+json"

_LETTERS = "bcdfghjklmnpqrstvwxz2456789"  # Kubernetes ends generated names with these letters
_METADATA = ("name", "generateName", "namespace", "labels", "annotations", "ownerReferences")  # the client's part
_FORMAT = f"the body of the request was in an unknown format - accepted media types include: {MERGE_PATCH}"
_MIGHT = {"UID": "deleted and then recreated", "ResourceVersion": "modified"}
_VERSIONED = "resourceVersion should not be set on objects to be created"


@dataclass(frozen=True)
class Rules:
    """What is special about a kind.

    `complete` gives the fields of a request's object that are stored, besides metadata, or refuses them as unreadable.
    `check` refuses a wrong object; it is given the object, and the stored one, which is empty when there is none.
    If `lenient` is true, an update needs no resourceVersion. If `born_by_update` is true, an update may create.
    """

    kind: Kind
    complete: Callable[[Object], Object]
    check: Callable[[Object, Object], None]
    lenient: bool = True
    born_by_update: bool = False


def choose_name(metadata: Object) -> str:
    """Give the name of a new object, or generate it."""
    return metadata.get("name") or metadata.get("generateName", "") + "".join(random.choices(_LETTERS, k=5))


def check_place(store: Store, kind: Kind, namespace: str, name: str) -> None:
    """Refuse a Namespace that does not exist or is being deleted. "default" always exists."""
    around = store.present.collections["Namespace"].objects.get(namespace)
    if not around and namespace != "default":
        raise not_found("namespaces", namespace)
    if around and around.fields["status.phase"] == "Terminating":
        raise terminating(kind.full_resource, name, namespace)


def merge(old: object, change: object) -> object:
    """Apply a merge patch (RFC 7386): null removes a field."""
    if not isinstance(change, dict):
        return change
    fields = old if isinstance(old, dict) else {}
    changed = {name: merge(fields.get(name), value) for name, value in change.items() if value is not None}
    return {name: value for name, value in fields.items() if name not in change} | changed


@dataclass(frozen=True)
class ObjectWriter:
    """Writes the objects of one kind in one Namespace for one client; at most `quota` of them may be created."""

    store: Store
    rules: Rules
    namespace: str
    agent: str
    quota: int | None = None

    def answer(self, method: str, name: str, body: bytes, form: str) -> Answer:
        """Do what a request wants; `form` is the type of its body."""
        if method == "POST" and not name:
            return self._create(body)
        if method == "PUT" and name:
            return self._update(name, body)
        if method == "PATCH" and name:
            return self._patch(name, body, form)
        if method == "DELETE" and name:
            return self._delete(name, body)
        raise Refused(NOT_ALLOWED)

    def _create(self, body: bytes) -> Answer:
        given = self._read(read_body(body))
        return self._add(choose_name(given["metadata"]), given)

    def _update(self, name: str, body: bytes) -> Answer:
        given, stored = self._read(read_body(body), name), self._find(name)
        if stored:
            return self._replace(stored, given)
        if not self.rules.born_by_update:
            raise not_found(self.rules.kind.full_resource, name)
        self._check_uid(name, given, "")
        given["metadata"].pop("resourceVersion", None)
        return self._add(name, given)

    def _patch(self, name: str, body: bytes, form: str) -> Answer:
        if form != MERGE_PATCH:
            raise refuse(415, "UnsupportedMediaType", _FORMAT)
        stored = self._find(name)
        if not stored:
            raise not_found(self.rules.kind.full_resource, name)
        return self._replace(stored, self._read(merge(msgspec.json.decode(stored.item), read_body(body)), name))

    def _delete(self, name: str, body: bytes) -> Answer:
        kind, stored = self.rules.kind, self._find(name)
        if not stored:
            raise not_found(kind.full_resource, name)
        wanted = (read_body(body).get("preconditions") if body else None) or {}
        uid = stored.born["uid"]
        self._check_precondition(name, "UID", wanted.get("uid"), uid)
        self._check_precondition(name, "ResourceVersion", wanted.get("resourceVersion"), str(stored.version))
        self.store.delete(kind.name, self.namespace, name)
        details = name_object(kind.full_resource, name) | {"uid": uid}
        status = {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "details": details}
        return write_answer(status)

    def _find(self, name: str) -> Stored | None:
        kind = self.rules.kind
        return self.store.present.collections[kind.name].objects.get(kind.key(self.namespace, name))

    def _read(self, given: object, name: str = "") -> Object:
        """Give what the client decides about an object, in the order of Kubernetes; `name` is that of the path."""
        assert isinstance(given, dict)
        version, metadata = given.get("apiVersion", self.rules.kind.version), given.get("metadata") or {}
        if version != self.rules.kind.version:
            expected = f"the expected API version ({self.rules.kind.version})"
            raise bad_request(f"the API version in the data ({version}) does not match {expected}")
        own = metadata.get("name", "")
        if name and own != name:
            raise bad_request(f"the name of the object ({own}) does not match the name on the URL ({name})")
        if metadata.get("namespace") not in (None, "", self.namespace):
            raise bad_request("the namespace of the provided object does not match the namespace sent on the request")
        return {"metadata": metadata, **self.rules.complete(given)}

    def _add(self, name: str, given: Object) -> Answer:
        kind = self.rules.kind
        check_place(self.store, kind, self.namespace, name)
        made = self._make(name, given)
        self.rules.check(made, {})
        self._check_quota(name)
        if given["metadata"].get("resourceVersion"):
            raise refuse(500, "", _VERSIONED)
        if self._find(name):
            raise already_exists(kind.full_resource, name)
        return self._store(made, [], 201)

    def _replace(self, stored: Stored, given: Object) -> Answer:
        """Store another state of an object; if it equals the present one, nothing is stored and the version stays."""
        former = msgspec.json.decode(stored.item)
        name, managed = former["metadata"]["name"], former["metadata"].get("managedFields", [])
        self._check_uid(name, given, stored.born["uid"])
        self._check_version(name, given["metadata"].get("resourceVersion"), str(stored.version))
        made = self._make(name, given)
        self.rules.check(made, former)
        if made == self._make(name, former):
            return write_object(self.rules.kind, stored)
        return self._store(made, managed)

    def _make(self, name: str, given: Object) -> Object:
        """Make an object of what a client decides about it."""
        metadata = {key: given["metadata"][key] for key in _METADATA if given["metadata"].get(key)}
        maps = {key: dict(sorted(metadata[key].items())) for key in ("labels", "annotations") if key in metadata}
        metadata |= maps | {"name": name, "namespace": self.namespace}
        return {**given, "kind": self.rules.kind.name, "metadata": metadata}

    def _store(self, made: Object, managed: list[Object], status: int = 200) -> Answer:
        kind = self.rules.kind
        entry = manage(made, self.agent, kind.version)
        others = [each for each in managed if any(each[key] != entry[key] for key in ("manager", "operation"))]
        made["metadata"]["managedFields"] = [*others, entry]
        return write_object(kind, self.store.put(made), status)

    def _check_uid(self, name: str, given: Object, uid: str) -> None:
        wanted = given["metadata"].get("uid") or uid
        if wanted != uid:
            why = f"Precondition failed: UID in precondition: {wanted}, UID in object meta: {uid}"
            raise conflict(self.rules.kind.full_resource, name, why)

    def _check_version(self, name: str, wanted: str | None, version: str) -> None:
        if not wanted and not self.rules.lenient:
            problem = "Invalid value: 0x0: must be specified for an update"
            raise invalid(self.rules.kind.full_resource, name, "metadata.resourceVersion", problem)
        if wanted and wanted != version:
            raise conflict(self.rules.kind.full_resource, name)

    def _check_precondition(self, name: str, what: str, wanted: str | None, found: str) -> None:
        if wanted not in (None, found):
            why = f"the {what} in the precondition ({wanted}) does not match the {what} in record ({found})"
            raise conflict(self.rules.kind.full_name, name, f"{why}. The object might have been {_MIGHT[what]}")

    def _check_quota(self, name: str) -> None:
        kind = self.rules.kind
        keys = self.store.present.collections[kind.name].objects
        count = sum(key.startswith(f"{self.namespace}/") for key in keys)
        if self.quota is not None and count >= self.quota:
            raise over_quota(kind.full_resource, name, count, self.quota)
