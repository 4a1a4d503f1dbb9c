"""Recordings: a Listing as JSON or YAML on disk, as `kubectl get namespaces,pods,secrets -A -o json` prints it."""

import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import yaml
from msgspec import Raw, Struct

from reconciler.objects.listing import KINDS, Listing, Namespace, Pod, Secret
from reconciler.values.patterns import excerpt

STANDARD_INPUT = "-"
_ENDINGS = (".json", ".yaml", ".yml")
_DEEPEST = 200
_LISTS = ("List", *(f"{kind}List" for kind in KINDS))
_Object = Namespace | Pod | Secret


class RecordingError(Exception):
    """A file that is no recording: one line with the file, the place in it and the fault."""


class _Fault(Exception):
    """What is wrong within a file, and where."""


class _Header(Struct, rename="camel"):
    """What any object or List of the API begins with."""

    kind: str
    api_version: str = ""
    metadata: dict[str, Any] | None = None
    items: list[Raw] | None = None


class _ItemHeader(Struct, rename="camel"):
    """What an item of a List begins with: in a PodList the items name no kind."""

    kind: str = ""
    api_version: str = ""
    metadata: Any = None


class _Loader(yaml.CSafeLoader):
    """YAML as Kubernetes reads it: what looks like a date stays text."""

    yaml_implicit_resolvers = {
        first: [(tag, pattern) for tag, pattern in resolvers if tag != "tag:yaml.org,2002:timestamp"]
        for first, resolvers in yaml.CSafeLoader.yaml_implicit_resolvers.items()
    }


def find_recordings(paths: list[str]) -> list[str]:
    """Name the recordings of files and folders, a folder's sorted by name. RecordingError where there is none."""
    return [found for path in paths for found in ([path] if path == STANDARD_INPUT else _find(path))]


def _find(path: str) -> list[str]:
    try:
        if not Path(path).is_dir():
            return [path]
        files = sorted(str(file) for file in Path(path).iterdir() if file.suffix in _ENDINGS and file.is_file())
    except OSError as error:
        raise RecordingError(f"{path}: cannot be read: {error.strerror}") from None
    if not files:
        raise RecordingError(f"{path}: holds no file that ends with {', '.join(_ENDINGS)}")
    return files


def read_recordings(paths: list[str]) -> Listing:
    """Read files (`-`: standard input) and merge them into one Listing. RecordingError names file, place and fault."""
    objects: dict[tuple[str, str, str], _Object] = {}
    for path in paths:
        for place, item in _read_objects(path):
            name = (type(item).__name__, item.metadata.namespace or "", item.metadata.name)
            if objects.setdefault(name, item) != item:
                raise RecordingError(f"{path}: {place}: stands twice, and differently")
    items = objects.values()
    return Listing(
        tuple(item for item in items if isinstance(item, Namespace)),
        tuple(item for item in items if isinstance(item, Pod)),
        tuple(item for item in items if isinstance(item, Secret)),
    )


def _read_objects(path: str) -> Iterator[tuple[str, _Object]]:
    try:
        data = sys.stdin.buffer.read() if path == STANDARD_INPUT else Path(path).read_bytes()
        for document in _split(data):
            yield from _read_document(document)
    except OSError as error:
        raise RecordingError(f"{path}: cannot be read: {error.strerror}") from None
    except _Fault as fault:
        raise RecordingError(f"{path}: {fault}") from None


def _split(data: bytes) -> list[bytes]:
    """Split a file into its documents, as JSON."""
    if not data.strip():
        raise _Fault("is empty; a Listing without objects is a List without items")
    if not data.lstrip().startswith((b"{", b"[")):
        return _split_yaml(data)
    try:
        json.loads(data)
    except UnicodeDecodeError:
        raise _Fault("is not UTF-8") from None
    except json.JSONDecodeError as error:
        try:
            return _split_yaml(data)  # YAML may begin with a brace too
        except _Fault:
            raise _Fault(f"line {error.lineno}, column {error.colno}: is not JSON: {error.msg}") from None
    except (ValueError, RecursionError):
        raise _Fault("holds a number that is too long, or is nested too deeply") from None
    return [data]


def _split_yaml(data: bytes) -> list[bytes]:
    try:
        _check_depth(data)
        documents = [document for document in yaml.load_all(data, _Loader) if document is not None]
        encoded = [msgspec.json.encode(document) for document in documents]
    except yaml.MarkedYAMLError as error:
        # Of a tag or an alias it tells the name, which is a value that somebody forgot to quote.
        problem = re.sub(r"['\"].{2,}['\"]", "...", error.problem or "", flags=re.DOTALL)
        raise _Fault(f"{_place(error.problem_mark)}is not YAML: {problem}") from None
    except (yaml.YAMLError, UnicodeError):
        raise _Fault("is not UTF-8 text") from None
    except (
        AttributeError,
        LookupError,
        TypeError,
        ValueError,
        RecursionError,
    ):  # of odd tags: PyYAML lets them through
        raise _Fault("holds YAML that JSON cannot hold") from None
    if not encoded:
        raise _Fault("is empty; a Listing without objects is a List without items")
    return encoded


def _place(mark: Any) -> str:
    return f"line {mark.line + 1}, column {mark.column + 1}: " if mark else ""


def _check_depth(data: bytes) -> None:
    """Refuse what is nested so deeply that libyaml's composer, which calls itself, would run out of stack."""
    depth = 0
    for event in yaml.parse(data, _Loader):
        depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        if depth > _DEEPEST:
            raise _Fault("is nested too deeply")
        if isinstance(event, yaml.AliasEvent):  # a few of them can stand for gigabytes
            raise _Fault(f"{_place(event.start_mark)}uses a YAML alias, which a recording must not")


def _read_document(document: bytes) -> Iterator[tuple[str, _Object]]:
    try:
        header = msgspec.json.decode(document, type=_Header)
    except msgspec.DecodeError as error:
        raise _Fault(f"is not a v1 List nor an object: {error}") from None
    if header.kind == "Status":
        raise _Fault("holds a Status, the answer to a request that failed, and no List")
    if header.kind not in _LISTS:
        yield from _read_item(Raw(document), None, header.kind)
        return
    if header.items is None:
        raise _Fault(f"{header.kind}: has no items")
    if (header.metadata or {}).get("continue"):
        raise _Fault(f"{header.kind}: is one page of several (metadata.continue is set)")
    for place, item in enumerate(header.items):
        yield from _read_item(item, header, f"items[{place}]")


def _read_item(item: Raw, around: _Header | None, place: str) -> Iterator[tuple[str, _Object]]:
    """Read an object; in a List such as a PodList it may leave its kind and version to the List around it."""
    try:
        header = msgspec.json.decode(item, type=_ItemHeader)
        kind = header.kind or (around.kind.removesuffix("List") if around else "")
        version = header.api_version or (around.api_version if around else "") or "v1"
        if not kind:
            raise _Fault(f"{place}: names no kind")
        if kind not in KINDS or version != "v1":
            return
        place = f"{place} ({kind}{_name_of(header.metadata)})"
        yield place, _place_in_namespace(msgspec.json.decode(item, type=KINDS[kind]))
    except msgspec.DecodeError as error:
        raise _Fault(f"{place}: {error}") from None


def _name_of(metadata: Any) -> str:
    if not isinstance(metadata, dict):
        return ""
    parts = [metadata[key] for key in ("namespace", "name") if isinstance(metadata.get(key), str)]
    return " " + excerpt("/".join(parts)).strip("'\"") if parts else ""


def _place_in_namespace(item: _Object) -> _Object:
    """Put what names no namespace into "default", as the API server does."""
    if isinstance(item, Namespace) or item.metadata.namespace:
        return item
    return msgspec.structs.replace(item, metadata=msgspec.structs.replace(item.metadata, namespace="default"))
