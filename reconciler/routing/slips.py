"""Slips: what is legal in an annotation, is served, and never does what the person who wrote it will have meant."""

import re
from collections.abc import Iterator

from reconciler.routing.annotations import Fault
from reconciler.routing.path_entries import PathEntry
from reconciler.values.addresses import parse_address
from reconciler.values.messages import excerpt
from reconciler.values.patterns import HOST_NAME

# What other routers take for a wildcard or a parameter: a segment of a path.
_PLACEHOLDER = re.compile(r":.*|\{.*\}|<.*>", re.DOTALL)
# What other routers take for a group of a regular expression; `parse_paths` has written `$` as %24.
_GROUP = re.compile(r"%24(?=[0-9])")


def find_path_slips(entry: PathEntry) -> Iterator[Fault]:
    """Find the slips in an entry of paths."""
    if entry.match.is_regex:
        return
    segments = (one for one in entry.path.split("/") if "*" in one or _PLACEHOLDER.fullmatch(one))
    if (found := next(segments, None)) is not None:
        why = f"has {excerpt(found)}, which stands only for itself"
        yield Fault(f"basePath {excerpt(entry.path)}", why, "a path: it covers everything below it too")
    if entry.target and _GROUP.search(entry.target):
        why = "has a '$', which stands for nothing and is sent as %24"
        yield Fault(
            f"targetPath of {excerpt(entry.path)}",
            why,
            "the path that replaces basePath; the rest of the request's path follows",
        )


def find_host_slips(host: str) -> Iterator[Fault]:
    """Find the slips in a host's name."""
    if host.rpartition(".")[2].isdigit() and not parse_address(host):
        yield Fault(host, "ends in a number and is no IP address, so that most clients refuse it", HOST_NAME.allowed)
