"""What differs between two trees, in routing terms: hosts, paths, Pods, keys, certificates and passwords."""

import re
from collections.abc import Iterator, Mapping
from typing import Any

import msgspec

from reconciler.rendering.certificate_files import CERTIFICATE, CLIENT_CERTIFICATE, DEFAULT_SERVER, KEY
from reconciler.rendering.routes_file import API_KEYS_FILE, ROUTES_FILE, RoutesError
from reconciler.values.files import PASSWORDS, Files
from reconciler.values.patterns import DNS_LABEL
from reconciler.values.value import Value

_PEM_FILES = (CERTIFICATE, KEY, CLIENT_CERTIFICATE)
_SECRETS = ("key", "certificate", "passwords")
_KEY_LINE = re.compile(rf'"?/({DNS_LABEL.expression})(/*)"? "?[A-Za-z0-9+/]+={{0,2}}"?;')
# An item's kind and name. The details of items are in _Items.
_Item = tuple[str, str]
_Items = dict[_Item, dict[str, Any]]


class RouteChange(Value, frozen=True, order=True):
    """One thing that changed in routing: a host, path, pod, key, certificate or passwords; `sign` is +, - or ~."""

    kind: str
    name: str
    sign: str
    detail: str

    def __str__(self) -> str:
        return f"{self.sign} {self.kind} {self.name}{f' ({self.detail})' if self.detail else ''}"


def compare(old: Files, new: Files) -> tuple[RouteChange, ...]:
    """List what differs between two trees in routing terms, sorted. Of a secret, show only that it changed.

    RoutesError if a tree cannot be read because this program did not make it.
    """
    return compare_first(old, new, None)[0]


def compare_first(old: Files, new: Files, most: int | None) -> tuple[tuple[RouteChange, ...], int]:
    """List the first `most` differences, and count the others. The others are not explained, which saves time."""
    before, after = ({*tree[ROUTES_FILE].content.splitlines()} if ROUTES_FILE in tree else set() for tree in (old, new))
    try:
        items = _read_items(before - after) | _read_secrets(old)
        others = _read_items(after - before) | _read_secrets(new)
        changed = sorted(item for item in items.keys() | others.keys() if items.get(item) != others.get(item))
        return tuple(_explain_items(items, others, changed[:most])), max(0, len(changed) - (most or len(changed)))
    except (ValueError, LookupError, TypeError, AttributeError):
        raise RoutesError(f"{ROUTES_FILE} or {API_KEYS_FILE} is malformed") from None


def _read_items(lines: set[bytes]) -> _Items:
    items: _Items = {}
    for line in lines:
        record = msgspec.json.decode(line)
        if "host" in record:
            items["host", record["host"]] = record["options"]
            items |= {("path", f"{record['host']}{path}"): about for path, about in record["paths"].items()}
        else:
            namespace, path = record["namespace"], record["path"]
            items |= {("pod", f"{namespace}/{pod} for {path}"): about for pod, about in record["pods"].items()}
            items |= {("check", f"{namespace}{path}"): record["check"]} if record["check"] else {}
    return items


def _read_secrets(tree: Files) -> _Items:
    """Read the secrets of a tree. Each value is only a hash, which no other process can compute."""
    keys = tree[API_KEYS_FILE].content.decode().splitlines() if API_KEYS_FILE in tree else []
    items: _Items = {}
    for line in keys:
        found = _KEY_LINE.fullmatch(line)
        if not found:
            raise RoutesError(f"{API_KEYS_FILE} is malformed")
        items.setdefault(("key", f"of Namespace {found[1]}"), {})[found[2]] = hash(line)
    for path, file in tree.items():
        folder, _, name = path.rpartition("/")
        if folder == PASSWORDS:
            digest, _, namespace = name.partition(".")
            items.setdefault(("passwords", f"of Namespace {namespace}"), {})[digest] = hash(file.content)
        if name in _PEM_FILES:
            host = folder.rpartition("/")[2]
            owner = "the default server" if host == DEFAULT_SERVER else f"host {host}"
            items.setdefault(("certificate", f"of {owner}"), {})[name] = hash(file.content)
    return items


def _explain_items(old: _Items, new: _Items, changed: list[_Item]) -> Iterator[RouteChange]:
    for item in changed:
        kind, name = item
        if item not in old or item not in new:
            detail = _describe(kind, new.get(item) or old[item])
            yield RouteChange(kind, name, "+" if item in new else "-", detail)
        else:
            yield RouteChange(kind, name, "~", _explain(kind, old[item], new[item]))


def _describe(kind: str, values: Mapping[str, Any]) -> str:
    told = {} if kind in _SECRETS else values
    return ", ".join(f"{name} {value}" for name, value in told.items() if name != "upstream" and value is not None)


def _explain(kind: str, old: Mapping[str, Any], new: Mapping[str, Any]) -> str:
    if kind in _SECRETS:
        return "changed"
    from deepdiff import DeepDiff  # as in objects/diff.py

    items = [item for items in DeepDiff(old, new, view="tree").values() for item in items]
    return ", ".join(
        sorted(f"{item.path(output_format='list')[0]} {_show(item.t1)} -> {_show(item.t2)}" for item in items)
    )


def _show(value: object) -> str:
    from deepdiff.helper import notpresent

    return "nothing" if value is None or value is notpresent else str(value)
