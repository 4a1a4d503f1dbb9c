"""Bodies: an answer's content in pieces, unpacked as it arrives."""

import zlib
from collections.abc import Iterator
from functools import partial

import urllib3

from reconciler.cluster.pages import PageError

# Bytes of content that are held at a time. The memory of larger pieces would go back to the kernel each time, which
# takes a third of the time of a whole List.
_PIECE = 1 << 18
# Bytes that are read at a time of what is packed; a List unpacks to more than twenty times as many.
_PACKED = 1 << 16
_GZIP = 31  # the window of zlib for gzip: https://docs.python.org/3/library/zlib.html#zlib.decompressobj


def read_pieces(answer: urllib3.BaseHTTPResponse) -> Iterator[bytes]:
    """Read a body in pieces of at most 256 KiB. PageError if it is packed, and cannot be unpacked to its end."""
    if answer.headers.get("Content-Encoding", "").lower() != "gzip":
        yield from iter(partial(answer.read, _PIECE, decode_content=True), b"")
        return
    # urllib3 would unpack all that it reads at once, and copy it once more to cut it into pieces.
    unpacker = zlib.decompressobj(_GZIP)
    try:
        for packed in iter(partial(answer.read, _PACKED, decode_content=False), b""):
            yield from _unpack(unpacker, packed)
        if rest := unpacker.flush():
            yield rest
    except zlib.error as error:
        raise PageError(f"the answer is no gzip: {error}") from None
    if not unpacker.eof:
        raise PageError("the answer is cut off")


def _unpack(unpacker: "zlib._Decompress", packed: bytes) -> Iterator[bytes]:
    while packed:
        if unpacker.eof:
            raise PageError("the answer has more behind its end")
        if piece := unpacker.decompress(packed, _PIECE):
            yield piece
        packed = unpacker.unconsumed_tail
