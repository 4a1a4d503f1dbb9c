"""Recordings: a Listing as JSON or YAML on disk, as `kubectl get namespaces,pods,secrets -A -o json` prints it.

`read_items` reads any manifests; a recording is what routing reads of them.
"""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import msgspec
from msgspec import Raw, Struct

from reconciler.disk.documents import Malformed, split_documents
from reconciler.loop.ports import SourceError
from reconciler.objects.listing import ALLOWED, KINDS, Listing, Namespace, Pod, Secret
from reconciler.objects.workloads import WORKLOADS
from reconciler.values.decoding import describe_fault
from reconciler.values.messages import escape, excerpt
from reconciler.values.value import Value

STANDARD_INPUT = "-"
_ENDINGS = (".json", ".yaml", ".yml")
_LISTS = ("List", *(f"{kind}List" for kind in (*KINDS, *WORKLOADS)))
KindObject = Namespace | Pod | Secret
Decoded = TypeVar("Decoded")


class RecordingError(SourceError):
    """A file that is not a recording: one line with the file, the place in it and the fault."""


class Item(Value, frozen=True):
    """One object of a file: what its header says, its JSON, and where it stands.

    `where` is for messages. `document` counts the documents of the file, `number` the items of a List in it.
    """

    where: str
    kind: str
    version: str
    metadata: Any
    raw: Raw
    document: int = 0
    number: int | None = None

    def decode(self, kind: type[Decoded]) -> Decoded:
        """Read the object as a value of this type. Malformed says what is wrong in it."""
        try:
            return msgspec.json.decode(self.raw, type=kind)
        except msgspec.DecodeError as error:
            raise Malformed(f"{self.where}: {describe_fault(error, ALLOWED)}") from None

    def refuse_second(self) -> Malformed:
        """Make the error of an object that was read before, and differs."""
        return Malformed(f"{self.where}: appears twice, and differently")


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
    merged = Merged()
    for path in paths:
        with naming(path):
            for item in read_items(read_data(path)):
                if is_routed(item):
                    merged.take(item, put_in_namespace(item.decode(KINDS[item.kind])))
    return merged.listing()


class Merged:
    """Objects of several files, each once, in the order in which they were read."""

    def __init__(self) -> None:
        self._objects: dict[tuple[str, str, str], KindObject] = {}

    def take(self, item: Item, found: KindObject) -> bool:
        """Add an object, and tell whether it is new. Malformed if another one has its name."""
        name = (item.kind, found.metadata.namespace or "", found.metadata.name)
        is_new = name not in self._objects
        if self._objects.setdefault(name, found) != found:
            raise item.refuse_second()
        return is_new

    def listing(self) -> Listing:
        """Give all objects."""
        items = self._objects.values()
        return Listing(
            tuple(item for item in items if isinstance(item, Namespace)),
            tuple(item for item in items if isinstance(item, Pod)),
            tuple(item for item in items if isinstance(item, Secret)),
        )


@contextmanager
def naming(path: str) -> Iterator[None]:
    """Name the file in the error of what is wrong within it: RecordingError in place of Malformed."""
    try:
        yield
    except Malformed as malformed:
        raise RecordingError(f"{path}: {malformed}") from None


def read_data(path: str) -> bytes:
    """Read a file, or standard input. RecordingError if it cannot be read."""
    try:
        return sys.stdin.buffer.read() if path == STANDARD_INPUT else Path(path).read_bytes()
    except OSError as error:
        raise RecordingError(f"{path}: cannot be read: {error.strerror}") from None


def is_routed(item: Item) -> bool:
    """Tell whether routing reads objects of this kind."""
    return item.kind in KINDS and item.version == "v1"


def read_items(data: bytes) -> Iterator[Item]:
    """Read the objects of a file, of any kind: manifests, and the items of Lists. Malformed says what is wrong."""
    for document, text in enumerate(split_documents(data)):
        for number, item in _read_document(text):
            yield msgspec.structs.replace(item, document=document, number=number)


def _read_document(document: bytes) -> Iterator[tuple[int | None, Item]]:
    try:
        header = msgspec.json.decode(document, type=_Header)
    except msgspec.DecodeError as error:
        raise Malformed(f"is neither a v1 List nor an object: {describe_fault(error)}") from None
    if header.kind == "Status":
        raise Malformed("is a Status, the answer to a request that failed, and not a List")
    if header.kind not in _LISTS:
        yield None, _read_header(Raw(document), None, header.kind)
        return
    # An old API server writes null for no items, but never without the version of the List.
    if header.items is None and not (header.kind != "List" and (header.metadata or {}).get("resourceVersion")):
        raise Malformed(f"{header.kind}: has no items")
    if (header.metadata or {}).get("continue"):
        raise Malformed(f"{header.kind}: is one page of several (metadata.continue is set)")
    for number, item in enumerate(header.items or ()):
        yield number, _read_header(item, header, f"items[{number}]")


def _read_header(raw: Raw, around: _Header | None, where: str) -> Item:
    """Read an object's header. An item without kind or version, as in a PodList, gets those of the List around it."""
    try:
        header = msgspec.json.decode(raw, type=_ItemHeader)
    except msgspec.DecodeError as error:
        raise Malformed(f"{where}: {describe_fault(error, ALLOWED)}") from None
    kind = header.kind or (around.kind.removesuffix("List") if around else "")
    version = header.api_version or (around.api_version if around else "") or "v1"
    if not kind:
        raise Malformed(f"{where}: names no kind")
    return Item(f"{escape(where)} ({escape(kind)}{_name_of(header.metadata)})", kind, version, header.metadata, raw)


def _name_of(metadata: Any) -> str:
    if not isinstance(metadata, dict):
        return ""
    parts = [metadata[key] for key in ("namespace", "name") if isinstance(metadata.get(key), str)]
    return " " + excerpt("/".join(parts)).strip("'\"") if parts else ""


def put_in_namespace(item: KindObject) -> KindObject:
    """Put an object without a Namespace into "default", as the API server does. No recording has a use for its uid."""
    metadata = item.metadata
    namespace = metadata.namespace if isinstance(item, Namespace) else metadata.namespace or "default"
    if namespace == metadata.namespace and metadata.uid is None:
        return item
    return msgspec.structs.replace(item, metadata=msgspec.structs.replace(metadata, namespace=namespace, uid=None))
