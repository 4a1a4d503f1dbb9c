"""Writes recordings: a Listing as a numbered file in a folder, and a new file for each change."""

import re
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from secrets import token_bytes
from typing import Any

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from reconciler.disk.recordings import RecordingError
from reconciler.disk.redaction import StandIns
from reconciler.disk.trees import replace_file
from reconciler.objects.listing import Listing, Namespace, Pod
from reconciler.objects.listing import Secret as ListedSecret
from reconciler.settings import Settings
from reconciler.values.files import SECRET, File

_SALT_SIZE = 32
_DIGITS = 4  # the same in all names, because recordings are read in the order of their names
_NAME = rf"([0-9]{{{_DIGITS}}})\.json"
_Object = Namespace | Pod | ListedSecret


class Recorder:
    """Writes a Listing if it differs from the last one. Without `with_secrets`, values of Secrets are replaced."""

    def __init__(self, folder: Path, settings: Settings, *, with_secrets: bool) -> None:
        self._folder = folder
        self._annotations = (settings.hosts_annotation, settings.paths_annotation)
        self._stand_ins = None if with_secrets else StandIns(token_bytes(_SALT_SIZE), settings.api_key_secret_field)
        self._listing: Listing | None = None
        self._content = b""

    def write(self, listing: Listing) -> Path | None:
        """Write the next recording and give its path; None if nothing changed. RecordingError if writing fails."""
        if listing == self._listing:
            return None
        content = self._format(listing)
        path = self._write(content) if content != self._content else None
        self._listing, self._content = listing, content
        return path

    def _write(self, content: bytes) -> Path:
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            path = _next_path(self._folder)
            replace_file(path, File(content) if self._stand_ins else File(content, SECRET))
        except OSError as error:
            raise RecordingError(f"{self._folder}: cannot be written: {error.strerror}") from None
        return path

    def _format(self, listing: Listing) -> bytes:
        """Format a Listing as a List in JSON. The order of its objects makes no difference."""
        objects = {
            (kind, item.metadata.namespace or "", item.metadata.name): item for kind, item in _name_kinds(listing)
        }
        items = [self._convert(name[0], item) for name, item in sorted(objects.items(), key=lambda pair: pair[0])]
        whole = {"apiVersion": "v1", "kind": "List", "metadata": {}, "items": items}
        return msgspec.json.format(msgspec.json.encode(whole), indent=1) + b"\n"

    def _convert(self, kind: str, item: _Object) -> dict[str, Any]:
        metadata = item.metadata
        # Other annotations can hold secrets: kubectl's last-applied-configuration of a Secret holds the Secret.
        kept = {name: text for name, text in (metadata.annotations or {}).items() if name in self._annotations}
        item = replace(item, metadata=replace(metadata, annotations=kept or None, uid=None))
        if self._stand_ins and isinstance(item, ListedSecret):
            item = self._stand_ins.replace(replace(item, metadata=replace(item.metadata, labels=None)))
        return {"apiVersion": "v1", "kind": kind, **_drop_absent(item)}


def _next_path(folder: Path) -> Path:
    taken = (re.fullmatch(_NAME, path.name) for path in folder.iterdir())
    number = max((int(match[1]) for match in taken if match), default=0) + 1
    if number >= 10**_DIGITS:
        raise RecordingError(f"{folder}: has as many recordings as a folder can have; begin another")
    return folder / f"{number:0{_DIGITS}}.json"


def _name_kinds(listing: Listing) -> Iterator[tuple[str, _Object]]:
    """Give each object with its kind."""
    for kind in (listing.namespaces, listing.pods, listing.secrets):
        for item in kind:
            yield type(item).__name__, item


def _drop_absent(value: Any) -> Any:
    """Turn structs into JSON types, without the fields that are None. A null in a tenant's own map is kept."""
    if isinstance(value, Struct):
        pairs = zip(value.__struct_encode_fields__, value.__struct_fields__, strict=True)
        return {name: _drop_absent(part) for name, field in pairs if (part := getattr(value, field)) is not None}
    if isinstance(value, dict):
        return dict(sorted(value.items()))
    if isinstance(value, list):
        return [_drop_absent(part) for part in value]
    return value.astimezone(UTC) if isinstance(value, datetime) else value
