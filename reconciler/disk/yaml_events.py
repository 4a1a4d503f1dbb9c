"""YAML events: what a file would become is checked before any object is made of it.

Messages never quote the file: what is malformed can be a secret.
"""

from collections.abc import Iterable
from typing import Any

import yaml

DEEPEST = 200  # PyYAML's composer for libyaml is recursive
TOO_DEEP = "is nested too deeply"
# A few aliases can expand to gigabytes. This is more than all manifests of a large cluster share.
_MOST_EXPANDED = 2**24
_NODE = 16  # bytes that count for each node beside its text


class YamlRefused(Exception):
    """YAML that is not read: why, and where in the file."""

    def __init__(self, why: str, mark: Any = None) -> None:
        super().__init__(why)
        self.why = why
        self.mark = mark


class _Open:
    """A collection that has begun: its size in bytes so far and, if it is a mapping, its keys."""

    def __init__(self, event: Any) -> None:
        self.anchor = event.anchor
        self.size = _NODE
        self.keys: set[str] | None = set() if isinstance(event, yaml.MappingStartEvent) else None
        self.wants_key = self.keys is not None

    def take(self, event: Any, size: int) -> None:
        """Take a node of this size; in a mapping, keys and values come in turn. YamlRefused for a repeated key."""
        if self.wants_key and isinstance(event, yaml.AliasEvent):
            raise YamlRefused("uses an alias for a key", event.start_mark)
        if self.wants_key and self.keys is not None and isinstance(event, yaml.ScalarEvent):
            if event.value in self.keys:
                raise YamlRefused("has a key that appears before in the same object", event.start_mark)
            self.keys.add(event.value)
        self.wants_key = self.keys is not None and not self.wants_key
        self.size += size


def check_events(events: Iterable[Any]) -> None:
    """Refuse repeated keys, deep nesting, and aliases that are recursive or expand to more than 16 MiB in all."""
    around: list[_Open] = []
    sizes: dict[str, int] = {}
    expanded = 0
    for event in events:
        if isinstance(event, yaml.DocumentStartEvent):
            sizes = {}
        elif isinstance(event, yaml.CollectionStartEvent):
            around.append(_Open(event))
            if len(around) > DEEPEST:
                raise YamlRefused(TOO_DEEP)
            if event.anchor:
                sizes.pop(event.anchor, None)  # an alias to what is still open is recursive
        else:
            size, done = _measure(event, sizes, around)
            expanded += size if isinstance(event, yaml.AliasEvent) else 0
            if expanded > _MOST_EXPANDED:
                raise YamlRefused("has aliases that expand to more than 16 MiB", event.start_mark)
            if done and around:
                around[-1].take(event, size)


def _measure(event: Any, sizes: dict[str, int], around: list[_Open]) -> tuple[int, bool]:
    """Give the size of the node that an event ends, and whether it ends one."""
    if isinstance(event, yaml.AliasEvent):
        name = event.anchor or ""
        if name not in sizes:
            raise YamlRefused("uses an alias that names nothing before it", event.start_mark)
        return sizes[name], True
    if isinstance(event, yaml.ScalarEvent):
        size, anchor = _NODE + len(event.value), event.anchor
    elif isinstance(event, yaml.CollectionEndEvent):
        ended = around.pop()
        size, anchor = ended.size, ended.anchor
    else:
        return 0, False
    if anchor:
        sizes[anchor] = size
    return size, True
