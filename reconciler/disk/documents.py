"""Documents: what a file of JSON or YAML is made of, each as JSON.

Errors have our own messages, because the messages of a YAML or JSON library change with its version.
"""

import json
import re
from typing import Any

import msgspec
import yaml

from reconciler.disk.yaml_events import DEEPEST, TOO_DEEP, YamlRefused, check_events
from reconciler.values.decoding import find_repeated
from reconciler.values.messages import excerpt

_EMPTY = "is empty; a Listing without objects is a List without items"


class Malformed(Exception):
    """What is wrong within a file, and where."""


_TAG = "tag:yaml.org,2002:"
# Numbers as PyYAML has them, without those to the base 60, such as 1:30.
_NUMBERS = {
    f"{_TAG}int": re.compile(r"(?:[-+]?0b[01_]+|[-+]?0[0-7_]+|[-+]?(?:0|[1-9][0-9_]*)|[-+]?0x[0-9a-fA-F_]+)\Z"),
    f"{_TAG}float": re.compile(
        r"(?:[-+]?[0-9][0-9_]*\.[0-9_]*(?:[eE][-+][0-9]+)?|\.[0-9][0-9_]*(?:[eE][-+][0-9]+)?"
        r"|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN))\Z"
    ),
}


class Loader(yaml.CSafeLoader):
    """Reads YAML as Kubernetes does: text that looks like a date, or like a number to the base 60, stays text."""

    yaml_implicit_resolvers = {
        first: [(tag, _NUMBERS.get(tag, pattern)) for tag, pattern in resolvers if tag != f"{_TAG}timestamp"]
        for first, resolvers in yaml.CSafeLoader.yaml_implicit_resolvers.items()
    }


def _refuse_base_60(loader: Loader, node: Any) -> Any:
    """Construct a number, unless a tag asks for the base 60: that takes time quadratic in its length."""
    if ":" in node.value:
        raise yaml.constructor.ConstructorError(None, None, "a number to the base 60", node.start_mark)
    return yaml.CSafeLoader.yaml_constructors[node.tag](loader, node)


for _tag in _NUMBERS:
    Loader.add_constructor(_tag, _refuse_base_60)


def split_documents(data: bytes) -> list[bytes]:
    """Split a file into its documents that are not empty, each as JSON. Malformed says what is wrong, and where."""
    if not data.strip():
        raise Malformed(_EMPTY)
    if not data.lstrip().startswith((b"{", b"[")):
        return _split_yaml(data)
    try:
        json.loads(data, object_pairs_hook=_check_pairs)
    except UnicodeDecodeError:
        raise Malformed("is not UTF-8 text") from None
    except json.JSONDecodeError as error:
        try:
            return _split_yaml(data)  # YAML may begin with a brace too
        except Malformed:
            raise Malformed(f"line {error.lineno}, column {error.colno}: is not JSON") from None
    except (ValueError, RecursionError):
        raise Malformed("has a number that is too long, or is nested too deeply") from None
    return [data]


def _check_pairs(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Refuse a JSON object with a repeated key: readers differ in which value counts."""
    if repeated := find_repeated(pairs):
        raise Malformed(f"has the key {excerpt(repeated[0])} twice in one object")
    return dict(pairs)


def _split_yaml(data: bytes) -> list[bytes]:
    try:
        check_events(yaml.parse(data, Loader))
        documents = [document for document in yaml.load_all(data, Loader) if document is not None]
        encoded = [msgspec.json.encode(document) for document in documents]
    except YamlRefused as refused:
        raise Malformed(f"{_show_place(refused.mark)}{refused.why}") from None
    except yaml.constructor.ConstructorError as error:
        raise Malformed(f"{_show_place(error.problem_mark)}has a YAML tag that JSON cannot hold") from None
    except yaml.MarkedYAMLError as error:
        # Newer libraries refuse deep nesting themselves, before check_events sees it.
        nested = _is_nested_deeply(data, error.problem_mark)
        raise Malformed(TOO_DEEP if nested else f"{_show_place(error.problem_mark)}is not YAML") from None
    except (yaml.YAMLError, UnicodeError):
        raise Malformed("is not UTF-8 text") from None
    except (
        ArithmeticError,
        AttributeError,
        LookupError,
        TypeError,
        ValueError,
        RecursionError,
    ):  # PyYAML raises these too
        raise Malformed("has YAML that JSON cannot hold") from None
    if not encoded:
        raise Malformed(_EMPTY)
    return encoded


def _show_place(mark: Any) -> str:
    return f"line {mark.line + 1}, column {mark.column + 1}: " if mark else ""


def _is_nested_deeply(data: bytes, mark: Any) -> bool:
    """Tell whether more than DEEPEST brackets are open at a place. Only the brackets of its line count."""
    lines = data.decode("utf-8", "replace").splitlines() if mark else []
    text = lines[mark.line][: mark.column] if mark and mark.line < len(lines) else ""
    opened = sum(text.count(bracket) for bracket in "[{") - sum(text.count(bracket) for bracket in "]}")
    return opened > DEEPEST
