"""Pages: Lists of an API server, decoded piece by piece as they arrive, so that no List is in memory as a whole."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Generic, TypeVar

import msgspec
from msgspec import Raw, Struct

from reconciler.objects.listing import ALLOWED, Namespace, Pod, Secret
from reconciler.values.decoding import describe_fault
from reconciler.values.messages import excerpt
from reconciler.values.value import Value

Item = TypeVar("Item", bound=Namespace | Pod | Secret)
# The text between two items of a List, as Kubernetes writes it. No string contains it, because a quotation mark in a
# string has a backslash. No other list in these kinds has members that begin with metadata. If the text is not found,
# nothing is cut.
_MEETING = b'},{"metadata":{'


class PageError(ValueError):
    """The answer is not a List that can be read: one line."""


class Metadata(Struct, rename="camel"):
    """The metadata of a List."""

    resource_version: str = ""
    continue_: str | None = msgspec.field(default=None, name="continue")


class Page(Value, Generic[Item], frozen=True):
    """A List of the API, or one page of it. `complaints` has a line for each item that cannot be read."""

    metadata: Metadata
    items: list[Item]
    complaints: list[str]


class _Part(Struct, Generic[Item], rename="camel"):
    """Some items of a List, and the List's own fields if they are before its first or after its last item."""

    kind: str | None = None
    api_version: str | None = None
    metadata: Metadata | None = None
    items: list[Item] | None = None


class _RawPart(Struct, rename="camel"):
    """A part whose items are not decoded yet."""

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
        """Read a page. An item that cannot be read becomes a complaint. PageError if anything else is wrong.

        An item that equals a `known` one is replaced by the known object.
        """
        own: dict[str, object] = {}
        items: list[Item] = []
        complaints: list[str] = []
        for text in _cut(pieces):
            part = self._decode(text, complaints, len(items) + len(complaints))
            for name in ("kind", "api_version", "metadata"):
                own[name] = getattr(part, name) or own.get(name)
            items += (keep(item, known) for item in part.items or ())
        if own["kind"] != self._kind or own["api_version"] != "v1":
            raise PageError(f"the answer is {excerpt(str(own['kind']))}, not {self._kind}")
        if not isinstance(own["metadata"], Metadata) or not own["metadata"].resource_version:
            raise PageError(f"the answer is not a {self._kind}: it has no resourceVersion")
        return Page(own["metadata"], items, complaints)

    def _decode(self, text: bytearray, complaints: list[str], first: int) -> _Part[Item]:
        """Decode a part; `first` is the number of its first item. Only items that cannot be read are left out."""
        try:
            return self._decode_whole(text, complaints, first)
        except RecursionError:
            raise PageError("the answer is nested too deeply") from None
        except (msgspec.DecodeError, UnicodeDecodeError):
            raise PageError(f"the answer is not JSON: {excerpt(text[:40].decode('latin-1'))}") from None

    def _decode_whole(self, text: bytearray, complaints: list[str], first: int) -> _Part[Item]:
        try:
            part: _Part[Item] = self._part.decode(text)
        except msgspec.ValidationError:
            return self._decode_each(text, complaints, first)
        return part

    def _decode_each(self, text: bytearray, complaints: list[str], first: int) -> _Part[Item]:
        try:
            raw = msgspec.json.decode(text, type=_RawPart)
        except msgspec.ValidationError as error:
            raise PageError(f"the answer is not a {self._kind}: {describe_fault(error)}") from None
        items: list[Item] = []
        for number, item in enumerate(raw.items or (), first):
            try:
                items.append(self._item.decode(item))
            except msgspec.ValidationError as error:
                complaints.append(f"items[{number}] is left out: {describe_fault(error, ALLOWED)}")
        return _Part(raw.kind, raw.api_version, raw.metadata, items)


def _cut(pieces: Iterable[bytes]) -> Iterator[bytearray]:
    """Cut a List between its items as its text arrives: each part is an object with some of the items."""
    text = bytearray()
    for piece in pieces:
        seen = max(0, len(text) - len(_MEETING))
        text += piece
        if (end := text.rfind(_MEETING, seen)) >= 0:
            yield text[: end + 1] + b"]}"
            text[: end + 2] = b'{"items":['
    yield text


def keep(item: Item, known: Mapping[tuple[str | None, str], Item]) -> Item:
    """Give the known object if it equals the item: memory then holds it once, and later comparisons cost nothing."""
    same = known.get((item.metadata.namespace, item.metadata.name))
    return same if same == item else item
