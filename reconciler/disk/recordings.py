"""Recordings: a Listing as JSON or YAML on disk, as `kubectl get namespaces,pods,secrets -A -o json` prints it.

Errors have our own messages, because the messages of a YAML or JSON library change with its version.
"""

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import yaml
from msgspec import Raw, Struct

from reconciler.disk.yaml_events import DEEPEST, TOO_DEEP, YamlRefused, check_events
from reconciler.loop.ports import SourceError
from reconciler.objects.listing import ALLOWED, KINDS, Listing, Namespace, Pod, Secret
from reconciler.values.decoding import describe_fault, find_repeated
from reconciler.values.messages import excerpt

STANDARD_INPUT = "-"
_ENDINGS = (".json", ".yaml", ".yml")
_LISTS = ("List", *(f"{kind}List" for kind in KINDS))
_EMPTY = "is empty; a Listing without objects is a List without items"
_Object = Namespace | Pod | Secret


class RecordingError(SourceError):
    """A file that is not a recording: one line with the file, the place in it and the fault."""


class _Fault(Exception):
    """What is wrong within a file, and where."""


class _Header(Struct, rename="camel"):
    """The header of any object or List of the API."""

    kind: str
    api_version: str = ""
    metadata: dict[str, Any] | None = None
    items: list[Raw] | None = None


class _ItemHeader(Struct, rename="camel"):
    """The header of an item of a List. In a PodList the items have no kind."""

    kind: str = ""
    api_version: str = ""
    metadata: Any = None


class _Loader(yaml.CSafeLoader):
    """Reads YAML as Kubernetes does: text that looks like a date stays text."""

    yaml_implicit_resolvers = {
        first: [(tag, pattern) for tag, pattern in resolvers if tag != "tag:yaml.org,2002:timestamp"]
        for first, resolvers in yaml.CSafeLoader.yaml_implicit_resolvers.items()
    }


def find_recordings(paths: list[str]) -> list[str]:
    """List the recordings in files and folders, a folder's sorted by name. RecordingError if a folder has none."""
    return [found for path in paths for found in ([path] if path == STANDARD_INPUT else _find(path))]


def _find(path: str) -> list[str]:
    try:
        if not Path(path).is_dir():
            return [path]
        files = sorted(str(file) for file in Path(path).iterdir() if file.suffix in _ENDINGS and file.is_file())
    except OSError as error:
        raise RecordingError(f"{path}: cannot be read: {error.strerror}") from None
    if not files:
        raise RecordingError(f"{path}: has no file that ends with {', '.join(_ENDINGS)}")
    return files


def read_recordings(paths: list[str]) -> Listing:
    """Read files (`-`: standard input) and merge them into one Listing. RecordingError names file, place and fault."""
    objects: dict[tuple[str, str, str], _Object] = {}
    for path in paths:
        for where, item in _read_objects(path):
            name = (type(item).__name__, item.metadata.namespace or "", item.metadata.name)
            if objects.setdefault(name, item) != item:
                raise RecordingError(f"{path}: {where}: appears twice, and differently")
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
    """Split a file into its documents, each as JSON."""
    if not data.strip():
        raise _Fault(_EMPTY)
    if not data.lstrip().startswith((b"{", b"[")):
        return _split_yaml(data)
    try:
        json.loads(data, object_pairs_hook=_check_pairs)
    except UnicodeDecodeError:
        raise _Fault("is not UTF-8 text") from None
    except json.JSONDecodeError as error:
        try:
            return _split_yaml(data)  # YAML may begin with a brace too
        except _Fault:
            raise _Fault(f"line {error.lineno}, column {error.colno}: is not JSON") from None
    except (ValueError, RecursionError):
        raise _Fault("has a number that is too long, or is nested too deeply") from None
    return [data]


def _check_pairs(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Refuse a JSON object with a repeated key: readers differ in which value counts."""
    if repeated := find_repeated(pairs):
        raise _Fault(f"has the key {excerpt(repeated[0])} twice in one object")
    return dict(pairs)


def _split_yaml(data: bytes) -> list[bytes]:
    try:
        check_events(yaml.parse(data, _Loader))
        documents = [document for document in yaml.load_all(data, _Loader) if document is not None]
        encoded = [msgspec.json.encode(document) for document in documents]
    except YamlRefused as refused:
        raise _Fault(f"{_show_place(refused.mark)}{refused.why}") from None
    except yaml.constructor.ConstructorError as error:
        raise _Fault(f"{_show_place(error.problem_mark)}has a YAML tag that JSON cannot hold") from None
    except yaml.MarkedYAMLError as error:
        # Newer libraries refuse deep nesting themselves, before check_events sees it.
        nested = _is_nested_deeply(data, error.problem_mark)
        raise _Fault(TOO_DEEP if nested else f"{_show_place(error.problem_mark)}is not YAML") from None
    except (yaml.YAMLError, UnicodeError):
        raise _Fault("is not UTF-8 text") from None
    except (AttributeError, LookupError, TypeError, ValueError, RecursionError):  # PyYAML raises these too
        raise _Fault("has YAML that JSON cannot hold") from None
    if not encoded:
        raise _Fault(_EMPTY)
    return encoded


def _show_place(mark: Any) -> str:
    return f"line {mark.line + 1}, column {mark.column + 1}: " if mark else ""


def _is_nested_deeply(data: bytes, mark: Any) -> bool:
    """Tell whether more than DEEPEST brackets are open at a place. Only the brackets of its line count."""
    lines = data.decode("utf-8", "replace").splitlines() if mark else []
    text = lines[mark.line][: mark.column] if mark and mark.line < len(lines) else ""
    opened = sum(text.count(bracket) for bracket in "[{") - sum(text.count(bracket) for bracket in "]}")
    return opened > DEEPEST


def _read_document(document: bytes) -> Iterator[tuple[str, _Object]]:
    try:
        header = msgspec.json.decode(document, type=_Header)
    except msgspec.DecodeError as error:
        raise _Fault(f"is neither a v1 List nor an object: {describe_fault(error)}") from None
    if header.kind == "Status":
        raise _Fault("is a Status, the answer to a request that failed, and not a List")
    if header.kind not in _LISTS:
        yield from _read_item(Raw(document), None, header.kind)
        return
    # An old API server writes null for no items, but never without the version of the List.
    if header.items is None and not (header.kind != "List" and (header.metadata or {}).get("resourceVersion")):
        raise _Fault(f"{header.kind}: has no items")
    if (header.metadata or {}).get("continue"):
        raise _Fault(f"{header.kind}: is one page of several (metadata.continue is set)")
    for number, item in enumerate(header.items or ()):
        yield from _read_item(item, header, f"items[{number}]")


def _read_item(item: Raw, around: _Header | None, where: str) -> Iterator[tuple[str, _Object]]:
    """Read an object. An item without kind or version, as in a PodList, gets those of the List around it."""
    try:
        header = msgspec.json.decode(item, type=_ItemHeader)
        kind = header.kind or (around.kind.removesuffix("List") if around else "")
        version = header.api_version or (around.api_version if around else "") or "v1"
        if not kind:
            raise _Fault(f"{where}: names no kind")
        if kind not in KINDS or version != "v1":
            return
        where = f"{where} ({kind}{_name_of(header.metadata)})"
        yield where, _place(msgspec.json.decode(item, type=KINDS[kind]))
    except msgspec.DecodeError as error:
        raise _Fault(f"{where}: {describe_fault(error, ALLOWED)}") from None


def _name_of(metadata: Any) -> str:
    if not isinstance(metadata, dict):
        return ""
    parts = [metadata[key] for key in ("namespace", "name") if isinstance(metadata.get(key), str)]
    return " " + excerpt("/".join(parts)).strip("'\"") if parts else ""


def _place(item: _Object) -> _Object:
    """Put an object without a Namespace into "default", as the API server does. No recording has a use for its uid."""
    metadata = item.metadata
    namespace = metadata.namespace if isinstance(item, Namespace) else metadata.namespace or "default"
    if namespace == metadata.namespace and metadata.uid is None:
        return item
    return msgspec.structs.replace(item, metadata=msgspec.structs.replace(metadata, namespace=namespace, uid=None))
