"""Documents: what a file of JSON or YAML is made of, each as JSON.

Errors have our own messages, because the messages of a YAML or JSON library change with its version.
"""

import json
from typing import Any

import msgspec
import yaml

from reconciler.disk.yaml_events import DEEPEST, TOO_DEEP, YamlRefused, check_events
from reconciler.values.decoding import find_repeated
from reconciler.values.messages import excerpt

_EMPTY = "is empty; a Listing without objects is a List without items"


class Malformed(Exception):
    """What is wrong within a file, and where."""


class Loader(yaml.CSafeLoader):
    """Reads YAML as Kubernetes does: text that looks like a date stays text."""

    yaml_implicit_resolvers = {
        first: [(tag, pattern) for tag, pattern in resolvers if tag != "tag:yaml.org,2002:timestamp"]
        for first, resolvers in yaml.CSafeLoader.yaml_implicit_resolvers.items()
    }


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
    except (AttributeError, LookupError, TypeError, ValueError, RecursionError):  # PyYAML raises these too
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
