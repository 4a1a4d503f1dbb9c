"""Bodies: what comes of an answer that is packed, cut off, or no gzip at all."""

import gzip
import io

import pytest
import urllib3
from hypothesis import given
from hypothesis import strategies as st

from reconciler.cluster.bodies import read_pieces
from reconciler.cluster.pages import PageError

MIB = 1 << 20


def answer(body: bytes, encoding: str = "gzip") -> urllib3.HTTPResponse:
    return urllib3.HTTPResponse(io.BytesIO(body), {"Content-Encoding": encoding}, preload_content=False)


@given(st.binary(max_size=5000))
def test_whole_bodies(content: bytes) -> None:
    assert b"".join(read_pieces(answer(gzip.compress(content)))) == content
    assert b"".join(read_pieces(answer(gzip.compress(content), "GZIP"))) == content
    assert b"".join(read_pieces(answer(content, ""))) == content


def test_large_bodies_come_in_small_pieces() -> None:
    """A body that packs a thousandfold is never held whole."""
    sizes = [len(piece) for piece in read_pieces(answer(gzip.compress(bytes(40 * MIB))))]
    assert sum(sizes) == 40 * MIB
    assert max(sizes) <= MIB / 4


@given(st.data())
def test_bodies_that_are_cut_off(data: st.DataObject) -> None:
    body = gzip.compress(data.draw(st.binary(min_size=1, max_size=3000)))
    end = data.draw(st.integers(0, len(body) - 1))
    with pytest.raises(PageError, match="the answer is cut off"):
        list(read_pieces(answer(body[:end])))


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"{}", "the answer is no gzip: "),
        (gzip.compress(b"x" * 9000)[:-8] + bytes(8), "the answer is no gzip: .*check"),
        (gzip.compress(b"x") + b"y" * (1 << 17), "the answer has more behind its end"),
    ],
    ids=["JSON", "a wrong sum", "more"],
)
def test_bodies_that_are_wrong(body: bytes, message: str) -> None:
    with pytest.raises(PageError, match=message):
        list(read_pieces(answer(body)))
