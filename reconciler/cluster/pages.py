"""Pages: Lists as an API server writes them, decoded piece by piece while they come, so that none is held whole."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Generic, TypeVar

import msgspec
from msgspec import Raw, Struct

from reconciler.objects.listing import Namespace, Pod, Secret
from reconciler.values.patterns import excerpt
from reconciler.values.value import Value

Item = TypeVar("Item", bound=Namespace | Pod | Secret)
# So two items meet in a List as Kubernetes writes it. No text can hold this, for a quotation mark in it has a
# backslash, and no other list in these kinds has members that begin with metadata. Not found, nothing is cut.
_MEETING = b'},{"metadata":{'


class PageError(ValueError):
    """What came is not such a List: one line."""


class Metadata(Struct, rename="camel"):
    """What a List tells of itself."""

    resource_version: str = ""
    continue_: str | None = msgspec.field(default=None, name="continue")


class Page(Value, Generic[Item], frozen=True):
    """A List of the API, or one page of it. `complaints` are of the items that cannot be read, a line each."""

    metadata: Metadata
    items: list[Item]
    complaints: list[str]


class _Part(Struct, Generic[Item], rename="camel"):
    """Some of a List's items; what else it tells stands before the first or after the last of them."""

    kind: str | None = None
    api_version: str | None = None
    metadata: Metadata | None = None
    items: list[Item] | None = None


class _RawPart(Struct, rename="camel"):
    """A part whose items are still to be read."""

    kind: str | None = None
    api_version: str | None = None
    metadata: Metadata | None = None
    items: list[Raw] | None = None


class Pages(Generic[Item]):
    """Reads pages of one kind."""

    def __init__(self, kind: type[Item]) -> None:
        self._kind = f"{kind.__name__}List"
        self._item = msgspec.json.Decoder(kind)
        self._part = msgspec.json.Decoder(_Part[kind])  # type: ignore[valid-type]

    def read(self, pieces: Iterable[bytes], known: Mapping[tuple[str | None, str], Item]) -> Page[Item]:
        """Read a page. PageError unless all but single items is right; an item as it is `known` is that very object."""
        told: dict[str, object] = {}
        items: list[Item] = []
        complaints: list[str] = []
        for text in _cut(pieces):
            part = self._decode(text, complaints, len(items) + len(complaints))
            for name in ("kind", "api_version", "metadata"):
                told[name] = getattr(part, name) or told.get(name)
            items += (_keep(item, known) for item in part.items or ())
        if told["kind"] != self._kind or told["api_version"] != "v1":
            raise PageError(f"the answer is a {excerpt(str(told['kind']))} and no {self._kind}")
        if not isinstance(told["metadata"], Metadata) or not told["metadata"].resource_version:
            raise PageError(f"the answer is no {self._kind}: it has no resourceVersion")
        return Page(told["metadata"], items, complaints)

    def _decode(self, text: bytearray, complaints: list[str], place: int) -> _Part[Item]:
        """Decode a part. An object that is not as it should be is left out alone."""
        try:
            return self._decode_whole(text, complaints, place)
        except RecursionError:
            raise PageError("the answer is nested too deeply") from None
        except (msgspec.DecodeError, UnicodeDecodeError):
            raise PageError(f"the answer is no JSON: {excerpt(text[:40].decode('latin-1'))}") from None

    def _decode_whole(self, text: bytearray, complaints: list[str], place: int) -> _Part[Item]:
        try:
            part: _Part[Item] = self._part.decode(text)
        except msgspec.ValidationError:
            return self._decode_each(text, complaints, place)
        return part

    def _decode_each(self, text: bytearray, complaints: list[str], place: int) -> _Part[Item]:
        try:
            raw = msgspec.json.decode(text, type=_RawPart)
        except msgspec.ValidationError as error:
            raise PageError(f"the answer is no {self._kind}: {error}") from None
        items: list[Item] = []
        for number, item in enumerate(raw.items or (), place):
            try:
                items.append(self._item.decode(item))
            except msgspec.ValidationError as error:
                complaints.append(f"items[{number}] is left out: {error}")
        return _Part(raw.kind, raw.api_version, raw.metadata, items)


def _cut(pieces: Iterable[bytes]) -> Iterator[bytearray]:
    """Cut the text of a List between its items, as far as it has come: each part is an object with some of them."""
    text = bytearray()
    for piece in pieces:
        seen = max(0, len(text) - len(_MEETING))
        text += piece
        if (end := text.rfind(_MEETING, seen)) >= 0:
            yield text[: end + 1] + b"]}"
            text[: end + 2] = b'{"items":['
    yield text


def _keep(item: Item, known: Mapping[tuple[str | None, str], Item]) -> Item:
    """Give the known object where it is the same: memory then holds it once, and comparing it is nothing."""
    same = known.get((item.metadata.namespace, item.metadata.name))
    return same if same == item else item
