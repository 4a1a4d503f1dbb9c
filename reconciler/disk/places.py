"""Places: in which file and line an object stands, or one of its labels or annotations."""

import re
from collections.abc import Iterator
from typing import Any

import yaml

from reconciler.disk.documents import Loader
from reconciler.disk.recordings import Item
from reconciler.objects.snapshot import Resource
from reconciler.values.value import Value

# YAML knows no surrogates, which JSON writes for a character beyond U+FFFF. What replaces them has the same length.
_SURROGATE = re.compile(rb"\\u[dD][89a-fA-F][0-9a-fA-F]{2}")
_NULL = "tag:yaml.org,2002:null"


class Place(Value, frozen=True, order=True):
    """A file and a line of it, which begins at 1."""

    file: str
    line: int


class Places:
    """Where objects stand. A file's lines are only looked up if one of its objects is asked for."""

    def __init__(self) -> None:
        self._data: dict[str, bytes] = {}
        self._objects: dict[Resource, tuple[str, Item]] = {}
        self._trees: dict[str, list[Any]] = {}

    def add_file(self, file: str, data: bytes) -> None:
        """Note the content of a file."""
        self._data[file] = data

    def add(self, resource: Resource, file: str, item: Item) -> None:
        """Note in which file an object stands; if it stands in several, the first one counts."""
        self._objects.setdefault(resource, (file, item))

    def find(self, resource: Resource, path: tuple[str, ...] = ()) -> Place | None:
        """Find an object, or the key in it to which `path` leads, else the last key of the path that is there.

        None if no object of this name was read.
        """
        if resource not in self._objects:
            return None
        file, item = self._objects[resource]
        trees = self._trees.get(file)
        if trees is None:
            trees = self._trees[file] = list(_compose(self._data[file]))
        if item.document >= len(trees):
            return Place(file, 1)
        node = trees[item.document]
        if item.number is not None:
            node = _find_item(node, item.number)
        return Place(file, _find_line(node, path))


def _compose(data: bytes) -> Iterator[Any]:
    """Give the tree of each document that is not empty. What cannot be composed has no tree."""
    try:
        text = _SURROGATE.sub(rb"\\u0020", data) if data.lstrip().startswith((b"{", b"[")) else data
        for tree in yaml.compose_all(text, Loader):
            if getattr(tree, "tag", "") != _NULL:
                yield tree
    except (yaml.YAMLError, UnicodeError, ValueError, RecursionError):
        return


def _find_item(node: Any, number: int) -> Any:
    _, items = _find_member(node, "items")
    listed = items.value if isinstance(items, yaml.SequenceNode) else []
    return listed[number] if number < len(listed) else node


def _find_line(node: Any, path: tuple[str, ...]) -> int:
    first = node.value[0][0] if isinstance(node, yaml.MappingNode) and node.value else node  # not its anchor
    line = first.start_mark.line + 1
    for key in path:
        found, node = _find_member(node, key)
        if found is None:
            break
        line = found.start_mark.line + 1
    return int(line)


def _find_member(node: Any, key: str) -> tuple[Any, Any]:
    """Find the key and the value of a member of a mapping; None if it has none of this name."""
    for name, value in node.value if isinstance(node, yaml.MappingNode) else ():
        if name.value == key:
            return name, value
    return None, None
