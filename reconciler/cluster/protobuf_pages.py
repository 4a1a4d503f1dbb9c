"""Pages in protobuf: Lists cut into their items as they arrive. An item that is byte for byte known is not decoded."""

import base64
from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime
from hashlib import sha256
from typing import Any, Generic

import msgspec
from google.protobuf.message import DecodeError, Message

from reconciler.cluster.pages import Item, Metadata, Page, PageError, keep
from reconciler.cluster.protobuf_messages import FIELDS, make_messages
from reconciler.objects.listing import ALLOWED
from reconciler.values.decoding import describe_fault
from reconciler.values.messages import excerpt

# https://kubernetes.io/docs/reference/using-api/api-concepts/#protobuf-encoding
_MAGIC = b"k8s\x00"
_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
_TYPE, _RAW, _ENCODING = 1, 2, 3  # the fields of runtime.Unknown
_METADATA, _ITEM = 1, 2  # the fields of each List
_LONGEST_VARINT = 10
_LONGEST = 1 << 26  # bytes of an item; etcd stores no object that is as long


class ProtobufPages(Generic[Item]):
    """Reads pages of one kind. It knows the items of the last whole List by their digests.

    `decoded` counts the items that it did not know.
    """

    def __init__(self, kind: type[Item]) -> None:
        self._type: type[Item] = kind
        self._name = kind.__name__
        self._messages = make_messages()
        self.decoded = 0
        self._known: dict[bytes, Item] = {}
        self._seen: dict[bytes, Item] = {}

    def begin(self) -> None:
        """Begin a List."""
        self._seen = {}

    def end(self) -> None:
        """End a List whose pages were all read: its items are known from now on."""
        self._known = self._seen

    def read(self, pieces: Iterable[bytes], known: Mapping[tuple[str | None, str], Item]) -> Page[Item]:
        """Read a page, as `Pages.read` does."""
        stream = _Stream(pieces)
        page: Page[Item] = Page(Metadata(), [], [])
        if stream.take(len(_MAGIC)) != _MAGIC:
            raise PageError(f"the answer is not a {self._name}List in protobuf")
        named = self._messages["TypeMeta"]()
        while not stream.ended:
            number, length = stream.take_field()
            if number == _RAW:
                page = self._read_list(stream, length, known)
                continue
            content = stream.take(length)
            if number == _TYPE:
                named = _decode(self._messages["TypeMeta"], content)
            if number == _ENCODING and content:
                raise PageError("the answer has an encoding inside protobuf that is not known")
        self._check(named, page.metadata)
        return page

    def _read_list(self, stream: "_Stream", length: int, known: Mapping[tuple[str | None, str], Item]) -> Page[Item]:
        page: Page[Item] = Page(Metadata(), [], [])
        metadata = page.metadata
        end = stream.place + length
        while stream.place < end:
            number, size = stream.take_field()
            content = stream.take(size)
            if number == _METADATA:
                built = _build("ListMeta", _decode(self._messages["ListMeta"], content))
                metadata = Metadata(built.get("resourceVersion") or "", built.get("continue"))
            elif number == _ITEM:
                digest = sha256(content).digest()
                item = self._known.get(digest) or self._read_item(content, known, page)
                if item:
                    self._seen[digest] = item
                    page.items.append(item)
        if stream.place != end:
            raise PageError("the answer is cut off")
        return msgspec.structs.replace(page, metadata=metadata)

    def _read_item(self, content: bytes, known: Mapping[tuple[str | None, str], Item], page: Page[Item]) -> Item | None:
        """Read one item. One that cannot be read is a complaint."""
        number = len(page.items) + len(page.complaints)
        self.decoded += 1
        try:
            item = msgspec.convert(_build(self._name, _decode(self._messages[self._name], content)), self._type)
        except msgspec.ValidationError as error:
            page.complaints.append(f"items[{number}] is left out: {describe_fault(error, ALLOWED)}")
        except PageError:
            page.complaints.append(f"items[{number}] is left out: is not a {self._name} in protobuf")
        else:
            return keep(item, known)
        return None

    def _check(self, named: Message, metadata: Metadata) -> None:
        told = _build("TypeMeta", named)
        if told != {"apiVersion": "v1", "kind": f"{self._name}List"}:
            raise PageError(f"the answer is {excerpt(str(told.get('kind')))}, not {self._name}List")
        if not metadata.resource_version:
            raise PageError(f"the answer is not a {self._name}List: it has no resourceVersion")


def read_message(body: bytes) -> str:
    """Read the message of a Status, with which an API server refuses a request; empty if it has none.

    PageError if the body is none.
    """
    stream = _Stream([body])
    stream.take(len(_MAGIC))
    while not stream.ended:
        number, length = stream.take_field()
        content = stream.take(length)
        if number == _RAW:
            return str(_build("Status", _decode(make_messages()["Status"], content)).get("message") or "")
    return ""


class _Stream:
    """Takes fields from pieces of a body. PageError if the body ends too early, or is not protobuf."""

    def __init__(self, pieces: Iterable[bytes]) -> None:
        self._pieces: Iterator[bytes] = iter(pieces)
        self._held = b""
        self._start = 0  # of what is not taken yet in `_held`
        self.place = 0

    @property
    def ended(self) -> bool:
        """Whether nothing is left."""
        return not self._fill(1)

    def take(self, size: int) -> bytes:
        """Take so many bytes."""
        if size > _LONGEST or not self._fill(size):
            raise PageError("the answer is cut off")
        taken = self._held[self._start : self._start + size]
        self._start += size
        self.place += size
        return taken

    def take_field(self) -> tuple[int, int]:
        """Take the head of a field that holds bytes: its number and length. Other fields are skipped as empty ones."""
        tag = self._take_varint()
        number, wire = tag >> 3, tag & 7
        if wire == _BYTES:
            return number, self._take_varint()
        if wire == _VARINT:
            self._take_varint()
        elif wire in (_FIXED64, _FIXED32):
            self.take(8 if wire == _FIXED64 else 4)
        else:
            raise PageError("the answer is not protobuf")
        return 0, 0

    def _take_varint(self) -> int:
        """Take a number: seven bits a byte, the lowest first."""
        self._fill(_LONGEST_VARINT)
        value = 0
        for number, byte in enumerate(self._held[self._start : self._start + _LONGEST_VARINT]):
            value |= (byte & 127) << 7 * number
            if byte < 128:
                self._start += number + 1
                self.place += number + 1
                return value
        raise PageError("the answer is cut off")

    def _fill(self, size: int) -> bool:
        """Hold at least so many bytes that are not taken yet; False if the body has fewer."""
        if len(self._held) - self._start >= size:
            return True
        parts = [self._held[self._start :]]
        missing = size - len(parts[0])
        for piece in self._pieces:
            parts.append(piece)
            missing -= len(piece)
            if missing <= 0:
                break
        self._held, self._start = b"".join(parts), 0
        return missing <= 0


def _decode(kind: type[Message], content: bytes) -> Message:
    try:
        return kind.FromString(content)
    except DecodeError:
        raise PageError(f"the answer has a {kind.DESCRIPTOR.name} that is malformed") from None


def _build(name: str, message: Message) -> dict[str, Any]:
    """Give a message in the form that its JSON has. PageError if a text in it is not UTF-8."""
    try:
        built = {field.name: _convert(FIELDS[name][field.name][1], value) for field, value in message.ListFields()}
    except UnicodeDecodeError:
        raise PageError(f"the answer has text in {name} that is not UTF-8") from None
    # Protobuf has an object of its own around a probe's action, and JSON has not.
    built |= built.pop("handler", None) or {}
    return built


def _convert(kind: str, value: Any) -> Any:
    """Convert a field's value. Kubernetes writes texts that are not set as empty ones."""
    if kind == "map bytes":
        return {name: base64.b64encode(content).decode() for name, content in value.items()}
    if kind == "map string":
        return dict(value)
    if kind.startswith("repeated "):
        return [_build(kind.removeprefix("repeated "), one) for one in value]
    if kind == "Time":
        return _convert_time(value)
    if kind == "IntOrString":
        return value.strVal if value.type else value.intVal
    return _build(kind, value) if kind in FIELDS else None if value == "" else value


def _convert_time(value: Any) -> datetime | None:
    """Convert a time. One that no calendar has becomes the latest one: it is as wrong, and sorts last."""
    if not value.HasField("seconds"):
        return None
    try:
        return datetime.fromtimestamp(value.seconds, UTC)
    except (OverflowError, ValueError, OSError):
        return datetime.max.replace(tzinfo=UTC)
