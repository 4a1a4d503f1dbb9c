"""The text of an nginx configuration: only this module writes its strings."""

import re
import textwrap
from pathlib import Path

import jinja2

from reconciler.values.value import Literal, Value

# Within double quotes nginx's parser knows \" \\ \t \r \n: https://nginx.org/en/docs/beginners_guide.html#conf_structure
_BARE = re.compile(r"[A-Za-z0-9_./:@+=~^*,%-]+")
_ESCAPES = str.maketrans({"\\": "\\\\", '"': '\\"', "\t": "\\t", "\r": "\\r", "\n": "\\n"})
_LONGEST = 4000  # nginx reads a configuration through a buffer of 4,096 bytes and takes no longer parameter


class Token(str):
    """Text that may stand in an nginx configuration as it is. Only this module makes one."""

    __slots__ = ()


def quote(text: str, *, expands_variables: bool = True) -> Token:
    """Write `text` as one parameter of a directive, which nginx reads back as exactly `text`.

    A `$` cannot be escaped in a parameter in which nginx expands variables. ValueError for such a `$`, for NUL, and for
    text that is too long.
    """
    if "\0" in text or (expands_variables and "$" in text):
        raise ValueError("nginx cannot hold this text")
    written = Token(text if _BARE.fullmatch(text) else f'"{text.translate(_ESCAPES)}"')
    if len(written) > _LONGEST // 4 and len(written.encode("utf-8", "surrogateescape")) > _LONGEST:
        raise ValueError("nginx takes no parameter of this length")
    return written


def quote_dollars(text: str, holder: Token) -> Token:
    """Write `text` as `quote` does, and each `$` in it as `holder`: the variable whose value is `$`."""
    written = quote(text, expands_variables=False)
    return Token(written.replace("$", f"${{{_finalize(holder)[1:]}}}"))


def words(*parameters: str) -> Token:
    """Write several parameters of a directive, each quoted."""
    return join(*map(quote, parameters))


def join(*tokens: Token) -> Token:
    """Join tokens with blanks between. TypeError for text that is not a token."""
    return Token(" ".join(map(_finalize, tokens)))


def indent(token: Token, blanks: int) -> Token:
    """Write blanks in front of each line of a token, which has no line break within a parameter."""
    return Token(textwrap.indent(_finalize(token), " " * blanks))


def variable(name: str) -> Token:
    """Write a variable. ValueError if nginx could not read the name."""
    if not re.fullmatch(r"[a-z0-9_]+", name):
        raise ValueError("nginx has no variable of this name")
    return Token(f"${name}")


class View:
    """A value as a template sees it: each text in it is quoted, each number is as it is, and None is nothing.

    A text in which nginx expands no variables is a Literal.
    """

    __slots__ = ("_value",)

    def __init__(self, value: Value) -> None:
        self._value = value

    def __getattr__(self, name: str) -> object:
        return _view(getattr(self._value, name))


def _view(value: object) -> object:
    if isinstance(value, Literal):
        return quote(value, expands_variables=False)
    if isinstance(value, str):
        return quote(value)
    if isinstance(value, tuple):
        return tuple(map(_view, value))
    if isinstance(value, Value):
        return View(value)
    return value  # a number; `_finalize` refuses everything else


def render_block(template: str, block: str, **values: object) -> Token:
    """Render one block of a template, as `render` does; nothing if the template has no such block."""
    found = _ENVIRONMENT.get_template(template)
    return Token("".join(found.blocks[block](found.new_context(values))) if block in found.blocks else "")


def render(template: str, **values: object) -> Token:
    """Render a template. It may write only tokens and numbers: TypeError for any other value, or a missing one."""
    return Token(_ENVIRONMENT.get_template(template).render(values))


def read(name: str) -> str:
    """Give a file that lies beside the templates, as it is."""
    return _LOADER.get_source(_ENVIRONMENT, name)[0]


def _finalize(value: object) -> str:
    """Refuse a value that this module did not write.

    The message names the type and never the value, which may be a secret.
    """
    if type(value) is Token or type(value) is int:
        return str(value)
    raise TypeError(f"a template may write tokens and numbers, not {type(value).__name__}")


# The templates lie in the package in a wheel, and beside the package in a checkout.
_PACKAGE = Path(__file__).parents[1]
_PLACES = [_PACKAGE / "templates", _PACKAGE.parent / "templates"]
_LOADER = jinja2.FileSystemLoader(_PLACES)
_ENVIRONMENT = jinja2.Environment(
    loader=_LOADER,
    undefined=jinja2.StrictUndefined,
    finalize=_finalize,
    autoescape=False,  # noqa: S701  nginx's strings are not HTML; `quote` escapes them
    trim_blocks=True,
    lstrip_blocks=True,
    keep_trailing_newline=True,
    auto_reload=False,
)
