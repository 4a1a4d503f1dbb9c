"""nginx's strings: quoted text is read back unchanged, and templates refuse text that is not quoted."""

import re
import subprocess
from pathlib import Path
from tempfile import TemporaryDirectory

import crossplane
import jinja2
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reconciler.rendering.quoting import Token, join, quote, quote_dollars, render, variable, words

# Within quotes crossplane decodes only the escape \"; nginx decodes \\ \t \r \n too.
ESCAPE = re.compile(r"\\([\\trn])")
UNESCAPED = {"\\": "\\", "t": "\t", "r": "\r", "n": "\n"}
# nginx ends at an unknown directive; its message holds the directive's name, as its own parser read it.
UNKNOWN = re.compile(rb'unknown directive "(.*)" in [^"]*nginx\.conf:1\n', re.DOTALL)

TEXT = st.text(st.characters(exclude_characters="\0$", exclude_categories=["Cs"]), max_size=200)
NASTY = st.text(st.sampled_from("\\\"'{};# \t\r\n$ntr*~=\u2028\u00a0é"), max_size=20)


def lex(text):
    with TemporaryDirectory() as folder:
        path = Path(folder, "nginx.conf")
        path.write_text(text, encoding="utf-8", newline="")
        return [token for token, _, _ in crossplane.lex(str(path))]


def read_back(token):
    directive, *parameters, end = lex(f"directive {token};")
    assert (directive, end) == ("directive", ";")
    return [ESCAPE.sub(lambda match: UNESCAPED[match[1]], parameter) for parameter in parameters]


def encode(text):
    return text.encode("utf-8", "surrogateescape")


def read_with_nginx(nginx_binary, token):
    with TemporaryDirectory() as folder:
        Path(folder, "nginx.conf").write_bytes(encode(f"{token};"))
        command = [nginx_binary, "-t", "-p", folder, "-c", "nginx.conf"]
        output = subprocess.run(command, capture_output=True, check=False).stderr
    return UNKNOWN.search(output)[1]


@given(TEXT)
def test_any_text_comes_back(text):
    """Any text is read back as one parameter that is exactly this text."""
    assert read_back(quote(text)) == [text]


@given(NASTY)
def test_syntax_comes_back(text):
    """Text that is syntax to nginx is read back as text; so is a dollar sign if nginx expands no variables."""
    assert read_back(quote(text, expands_variables=False)) == [text]


@settings(max_examples=50, deadline=None)
@given(text=st.one_of(TEXT, NASTY, st.binary(max_size=20).map(lambda data: data.decode("utf-8", "surrogateescape"))))
def test_nginx_reads_the_same_text(nginx_binary, text):
    """Any text is read back by nginx's own parser as exactly this text, byte for byte."""
    unknown = "-" + text.replace("\0", "")
    # Compare bytes: without the NUL between them, two broken halves may be one whole character.
    assert read_with_nginx(nginx_binary, quote(unknown, expands_variables=False)) == encode(unknown)


@pytest.mark.parametrize(
    ("text", "written"),
    [
        ("example.com", "example.com"),
        ("*.example.com", "*.example.com"),
        ("/a%20b/,@+~^=-_:", "/a%20b/,@+~^=-_:"),
        ("", '""'),
        ("a b", '"a b"'),
        ("a;", '"a;"'),
        ("{", '"{"'),
        ("#a", '"#a"'),
        ("'", '"\'"'),
        ('"', r'"\""'),
        ("\\", r'"\\"'),
        ("\\n", r'"\\n"'),
        ("\t\r\n", r'"\t\r\n"'),
        ("é", '"é"'),
    ],
)
def test_quote(text, written):
    """Only text that nginx reads as it stands is written without quotes; within quotes nginx's own escapes are used."""
    assert quote(text) == written


@pytest.mark.parametrize("text", ["$", "a$b", "${host}", "\\$", "\0", "a\0b"])
def test_quote_refuses(text):
    """A dollar sign, which nginx would expand, and NUL cannot be written."""
    with pytest.raises(ValueError, match="nginx cannot hold this text"):
        quote(text)


def test_quote_refuses_nul_everywhere():
    """NUL cannot be written, even if nginx expands no variables."""
    with pytest.raises(ValueError, match="nginx cannot hold this text"):
        quote("\0", expands_variables=False)


@pytest.mark.parametrize(("unit", "count"), [("a", 4000), (" ", 3998), ("é", 1999), ("\n", 1999), ("😀", 999)])
def test_longest_text(unit, count):
    """A written parameter has at most 4000 bytes, including quotes and escapes."""
    assert len(quote(unit * count).encode()) <= 4000
    with pytest.raises(ValueError, match="nginx takes no parameter of this length"):
        quote(unit * (count + 1))


@pytest.mark.parametrize(("unit", "count"), [("a", 3998), (" ", 3996), ("é", 1998), ('"', 1998), ("😀", 998)])
def test_nginx_takes_the_longest_text(nginx_binary, tmp_path, unit, count):
    """A parameter of the greatest length is accepted by nginx."""
    configuration = f"pid nginx.pid; error_log stderr; env {quote('A=' + unit * count)}; events {{}}"
    tmp_path.joinpath("nginx.conf").write_text(configuration, encoding="utf-8")
    command = [nginx_binary, "-t", "-p", tmp_path, "-c", "nginx.conf"]
    assert subprocess.run(command, capture_output=True, check=False).returncode == 0


@pytest.mark.parametrize("text", ["secret$", "secret\0", "secret" * 1000])
def test_no_refusal_holds_the_text(text):
    """The message of a refusal does not contain the refused text, which may be a key."""
    with pytest.raises(ValueError, match="nginx") as caught:
        quote(text)
    assert "secret" not in str(caught.value)


@given(st.lists(TEXT, min_size=1, max_size=4))
def test_words_come_back(parameters):
    """Several words are read back as the same number of parameters."""
    assert read_back(words(*parameters)) == parameters


def test_join():
    """Joined tokens are written unchanged, with a blank between them."""
    assert join(quote("a b"), variable("host"), quote("c")) == '"a b" $host c'


@pytest.mark.parametrize("made", [quote("a"), words("a", "b"), join(quote("a")), variable("a")])
def test_everything_written_is_a_token(made):
    """`quote`, `words`, `join` and `variable` return a Token."""
    assert type(made) is Token


@pytest.mark.parametrize("name", ["host", "http_x_routing_api_key", "arg_1"])
def test_variable(name):
    """A variable is written with its dollar sign."""
    assert variable(name) == f"${name}"


@pytest.mark.parametrize("name", ["", "Host", "a-b", "a\n", "a b", "{a}", "é", "a;"])
def test_variable_refuses(name):
    """A name that nginx would read differently is refused."""
    with pytest.raises(ValueError, match="nginx has no variable of this name"):
        variable(name)


def test_render():
    """A template writes tokens as they are."""
    keys = [{"namespace": quote("/a"), "value": quote("b c")}]
    assert render("api-keys.conf.j2", keys=keys) == '/a "b c";\n'
    assert type(render("api-keys.conf.j2", keys=keys)) is Token


def test_render_writes_numbers():
    """A template writes whole numbers as they are."""
    assert render("api-keys.conf.j2", keys=[{"namespace": quote("/a"), "value": 10}]) == "/a 10;\n"


class Text(str):
    __slots__ = ()


class Disguised(Token):
    __slots__ = ()


@pytest.mark.parametrize(
    "value", ["secret", Text("secret"), Disguised("secret"), b"secret", None, True, 1.5, ["secret"]]
)
def test_render_refuses_what_was_not_quoted(value):
    """A template writes only tokens and whole numbers; for all else the error names the type and hides the value."""
    with pytest.raises(TypeError) as caught:
        render("api-keys.conf.j2", keys=[{"namespace": quote("/a"), "value": value}])
    assert str(caught.value) == f"a template may write tokens and numbers, not {type(value).__name__}"


def test_render_refuses_a_missing_value():
    """A template fails if a value is missing."""
    with pytest.raises(jinja2.UndefinedError):
        render("api-keys.conf.j2")


def test_dollars() -> None:
    """A dollar sign becomes the variable that holds it, also in front of a name or of braces; the rest is as quoted."""
    assert quote_dollars("/a", variable("dollar")) == "/a"
    assert quote_dollars('$x{$$"', variable("dollar")) == '"${dollar}x{${dollar}${dollar}\\""'
    with pytest.raises(TypeError):
        quote_dollars("$", "dollar")  # type: ignore[arg-type]
