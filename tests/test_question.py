"""What a person may ask explain about."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconciler.advice.question import Question, QuestionError, parse_question


@pytest.mark.parametrize(
    ("text", "question"),
    [
        ("shop.example.com", Question("shop.example.com", "/")),
        ("Shop.EXAMPLE.com./API?x=1", Question("shop.example.com", "/API?x=1")),
        ("https://shop.example.com:8443/api?x=1#top", Question("shop.example.com", "/api?x=1", tls=True)),
        ("HTTP://shop.example.com?x=/", Question("shop.example.com", "/?x=/", tls=False)),
        ("wss://shop.example.com/ws", Question("shop.example.com", "/ws", tls=True)),
        ("shop.example.com/a#b", Question("shop.example.com", "/a#b")),
        ("shop.example.com/caf\u00e9 x", Question("shop.example.com", "/caf%C3%A9%20x")),
        ("shop.example.com/a\n\x1b[31m", Question("shop.example.com", "/a%0A%1B[31m")),
        ("10.1.2.3:80/x", Question("10.1.2.3", "/x")),
        ("[FD00::0001]:80/x", Question("[fd00::1]", "/x")),
        ("fd00::1/x", Question("[fd00::1]", "/x")),
        ("*.example.com/a", Question("*.example.com", "/a")),
        ("localhost:8080", Question("localhost", "/")),
    ],
)
def test_forms(text: str, question: Question) -> None:
    """Hosts, paths and URLs are accepted as people copy them: the port and a URL's fragment do not count."""
    assert parse_question(text) == question


@pytest.mark.parametrize(
    "text",
    ["", "/api", "https://", "ftp://shop.example.com", "a b", "bad host/x", "user@shop.example.com", "shop_1.dev",
     "\x1b[31m", "x" * 300, f"a.dev/{'x' * 9000}", "http://[::1", "a..b", "\udcff.dev"],
)  # fmt: skip
def test_refused(text: str) -> None:
    """A text that names no host is refused in one line without its control characters."""
    with pytest.raises(QuestionError) as refused:
        parse_question(text)
    assert str(refused.value).isprintable()


@given(st.text())
def test_any_text(text: str) -> None:
    """Any text is a question or is refused; what is sent of it has only what a client sends."""
    try:
        question = parse_question(text)
    except QuestionError:
        return
    assert question.uri.isascii()
    assert question.uri.isprintable()
    assert " " not in question.uri
    assert question.host == question.host.lower()
