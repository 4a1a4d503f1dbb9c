"""How a test API server reads the parameters of a list request and answers it: selectors, pages, versions."""

import base64
import binascii
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass

from support import protobuf
from support.answers import (
    Answer,
    Refused,
    bad_request,
    bad_selector,
    invalid,
    refuse,
    write_expired,
    write_list,
    write_too_large,
)  # fmt: skip
from support.object_reader import check_version, wait_for_cache, write_metadata
from support.store import KINDS, Collection, Kind, State, Store, Stored

from reconciler.values.selector import Selector, parse_selector

METADATA_ONLY = "as=PartialObjectMetadataList"

_FIELD = re.compile(r"([\w./-]+?)(==|!=|=)(.*)")


@dataclass(frozen=True)
class FieldTerm:
    """One term of a field selector."""

    name: str
    negated: bool
    value: str

    def accepts(self, fields: Mapping[str, str]) -> bool:
        return (fields[self.name] == self.value) is not self.negated


@dataclass(frozen=True)
class Query:
    """The parameters of a list request."""

    kind: Kind
    namespace: str
    labels: Selector | None
    fields: tuple[FieldTerm, ...]
    limit: int
    token: str
    version: str
    match: str

    @property
    def name(self) -> str:
        """The name that the request selects, if it selects only one; a right to this name is then enough."""
        names = (term.value for term in self.fields if term.name == "metadata.name" and not term.negated)
        return next(names, "")

    @property
    def question(self) -> object:
        """The selectors, which decide which objects are found; versions and pages do not."""
        return self.labels, self.fields

    @property
    def prefix(self) -> str:
        """The beginning of the keys of all objects that can be found."""
        return f"{self.namespace}/" if self.namespace else ""

    @property
    def cached(self) -> bool:
        """Whether the cache answers. It answers no pages; at version 0 the limit is ignored."""
        limited = self.limit and self.version != "0"
        return bool(self.version) and not self.token and not limited and self.match != "Exact"

    def accepts(self, stored: Stored) -> bool:
        """Tell whether an object is selected."""
        chosen = all(term.accepts(stored.fields) for term in self.fields)
        return chosen and (self.labels is None or self.labels.accepts(stored.labels))


def parse_query(resource: str, namespace: str, given: Mapping[str, str]) -> Query:
    """Read a list's parameters, or refuse them."""
    kind, text = KINDS[resource], given.get("labelSelector", "").strip()
    try:
        labels = parse_selector(text) if text else None
    except ValueError as error:
        raise bad_selector(text, error) from None
    fields = tuple(_parse_field(kind, term) for term in given.get("fieldSelector", "").split(",") if term)
    version, match = given.get("resourceVersion", ""), given.get("resourceVersionMatch", "")
    token = given.get("continue", "")
    _check_versions(version, match, token)
    return Query(kind, namespace, labels, fields, int(given.get("limit") or 0), token, version, match)


def _parse_field(kind: Kind, text: str) -> FieldTerm:
    term = _FIELD.fullmatch(text)
    if not term:
        raise bad_request(f"invalid selector: '{text}'; can't understand '{text}'")
    if term[1] not in kind.fields:
        raise bad_request(f"field label not supported: {term[1]}")
    return FieldTerm(term[1], term[2] == "!=", term[3])


def _check_versions(version: str, match: str, token: str) -> None:
    if token and (version or match):
        raise bad_request("specifying resource version is not allowed when using continue")
    check_version(version)
    wrong = "is forbidden unless resourceVersion is provided" if match and not version else ""
    if match == "Exact" and version == "0":
        wrong = 'forbidden for resourceVersion "0"'
    if match not in ("", "Exact", "NotOlderThan"):
        wrong = "supported values: Exact, NotOlderThan"
    if wrong:
        raise invalid("ListOptions.meta.k8s.io", "", "resourceVersionMatch", f"Forbidden: resourceVersionMatch {wrong}")


async def answer_list(store: Store, query: Query, accept: str, patience: float) -> Answer:
    """Answer a list request; wait at most `patience` seconds until the cache has reached the version."""
    if query.cached:
        collection = await wait_for_cache(store, query.kind, query.version, patience)
        found = collection.find(query.question, query.prefix, query.accepts)
        return _write(query, collection, found, {"resourceVersion": str(collection.version)}, accept)
    state, start = _choose_state(store, query)
    collection = state.collections[query.kind.name]
    found = collection.find(query.question, query.prefix, query.accepts)
    page = [each for each in found if each.key.removeprefix(query.prefix) >= start]
    metadata: dict[str, object] = {"resourceVersion": str(state.version)}
    if query.limit and len(page) >= query.limit:
        page = page[: query.limit]
        metadata |= _go_on(query, collection, page[-1].key, state.version)
    return _write(query, collection, tuple(page) if query.limit or start else found, metadata, accept)


def _choose_state(store: Store, query: Query) -> tuple[State, str]:
    """Choose the state for an uncached list, and the key, without its prefix, at which the list begins."""
    if query.token:
        version, start = _read_token(query.token)
        state = store.present if version < 0 else store.at(version)
        if not state:
            raise Refused(write_expired(_write_token(-1, start)))
        return state, start
    if query.match == "NotOlderThan" or query.version in ("", "0"):
        return store.present, ""
    if int(query.version) > store.present.version:
        raise Refused(write_too_large(int(query.version), store.present.version))
    state = store.at(int(query.version))
    if not state:
        raise refuse(410, "Expired", "The resourceVersion for the provided list is too old.")
    return state, ""


def _go_on(query: Query, collection: Collection, last: str, version: int) -> dict[str, object]:
    """Write how a list goes on, if any object comes after the last one, even an object that is not selected."""
    after = sum(key > last for key in collection.objects if key.startswith(query.prefix))
    if not after:
        return {}
    token = _write_token(version, last.removeprefix(query.prefix) + "\0")
    selected = query.labels or query.fields
    return {"continue": token} | ({} if selected else {"remainingItemCount": after})


def _write_token(version: int, start: str) -> str:
    text = json.dumps({"v": "meta.k8s.io/v1", "rv": version, "start": start}, separators=(",", ":"))
    return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")


def _read_token(token: str) -> tuple[int, str]:
    try:
        text = base64.urlsafe_b64decode(token + "=" * (-len(token) % 4))
        told = json.loads(text)
        return int(told["rv"]), str(told["start"])
    except binascii.Error:
        problem = "illegal base64 data at input byte 0"
    except (ValueError, LookupError, TypeError):
        problem = f"invalid character '{chr(text[0]) if text else ''}' looking for beginning of value"
    raise bad_request(f"invalid continue token: continue key is not valid: {problem}")


def _write(
    query: Query, collection: Collection, found: tuple[Stored, ...], metadata: dict[str, object], accept: str
) -> Answer:
    if accept.startswith(protobuf.CONTENT_TYPE) and (answer := _write_protobuf(query, collection, found, metadata)):
        return answer
    if METADATA_ONLY in accept:
        items = b",".join(write_metadata(each) for each in found)
        return write_list("PartialObjectMetadata", metadata, items, "meta.k8s.io/v1")
    return write_list(
        query.kind.name,
        metadata,
        collection.join((query.question, query.prefix, query.limit, query.token), found, query.cached),
        query.kind.version,
    )


def _write_protobuf(
    query: Query, collection: Collection, found: tuple[Stored, ...], metadata: dict[str, object]
) -> Answer | None:
    """Write a List in protobuf; None if a test put an object there that protobuf cannot hold."""
    key = (query.question, query.prefix, query.limit, query.token)
    pieces = collection.written.get(key)
    if not pieces:
        try:
            pieces = protobuf.write_list(query.kind.name, metadata, (each.item for each in found))
        except (LookupError, AttributeError, TypeError, ValueError):
            return None
        collection.written[key] = pieces
    return Answer(200, pieces, protobuf.HEADERS)
