"""Path entries: a Pod's annotation -> the paths that it serves, by full-match patterns."""

import re
import warnings
from functools import partial
from typing import Any
from urllib.parse import unquote

from msgspec.structs import replace

from reconciler.routing.annotations import (
    Fault,
    Layout,
    Members,
    Refused,
    check_number,
    name_type,
    parse_text,
    read_json,
    show_value,
)
from reconciler.routing.base_paths import parse_path
from reconciler.routing.keys import redirect
from reconciler.routing.keys.catalogue import filter_closing
from reconciler.routing.keys.protocol import speaks_grpc
from reconciler.routing.keys.reading import NO_OPTIONS, OPTION_NAMES, OptionReader, is_option
from reconciler.routing.model import Match
from reconciler.routing.options import Options, find_option
from reconciler.settings import Settings
from reconciler.values.messages import excerpt
from reconciler.values.patterns import REGEX_PATH, URL_PATH
from reconciler.values.value import Value

HEAVIEST = 1_000_000
_KEYS = ("basePath", "containerPort", "targetPath", "weight")
_ENTRY = Layout((*_KEYS, *OPTION_NAMES), "an object with basePath and containerPort", is_option)
_PATH = "a string, an absolute path"
_PORT = "the number or the name of a port that a container of the Pod declares"
_MOST_UNBOUNDED = 2
# In how many ways PCRE may try an expression at one position of a path, not counting * and +.
_MOST_WAYS = 30


class PathEntry(Value, frozen=True):
    """One entry of a Pod's paths. `path` is decoded as nginx matches it, or a regular expression.

    `port` is a number or a port's name, and None if the entry is closed or the path redirects; `target` is sent as it
    is, and None leaves the request's URI as it is. The Pod of a `closed` entry must not serve the path, because what
    protects it cannot be honoured.
    """

    match: Match
    path: str
    port: int | str | None
    target: str | None
    weight: int
    options: Options = ()
    closed: bool = False


def parse_paths(
    text: str, settings: Settings, *, allow_regex: bool = False
) -> tuple[tuple[PathEntry, ...], tuple[Fault, ...]]:
    """Parse a paths annotation, a JSON array of entries. Give the good entries, in order, and the faults.

    If `allow_regex`, ALLOW_REGEX_PATHS makes no difference.
    """
    entries: dict[tuple[Match, str], PathEntry] = {}
    faults: list[Fault] = []
    try:
        for number, raw in enumerate(read_json(text, list, "array of entries")):
            what = f"[{number}]"
            try:
                members = Members(raw, what, _ENTRY)
            except Refused as refused:
                faults.append(refused.fault)
            else:
                if entry := _parse_entry(members, what, settings, allow_regex or settings.allow_regex_paths):
                    first = entries.setdefault((entry.match, entry.path), entry)
                    if first is not entry:
                        fault = Fault(f"{what}.basePath", "appears twice; the first one counts", "each basePath once")
                        members.faults.append(fault)
                        entries[entry.match, entry.path] = _close(first, entry)
                faults += members.faults
            check_number(faults)
    except Refused as refused:
        faults.append(refused.fault)
    return tuple(entries.values()), tuple(faults)


def _parse_entry(members: Members, what: str, settings: Settings, allow_regex: bool) -> PathEntry | None:
    """Parse an entry; None if any of its members is bad, except for options that leave the entry as it is.

    A bad entry with a protection is closed: if it were left out, a shorter path would take its requests.
    """
    base = members.require("basePath", partial(_parse_base, allow_regex=allow_regex), _PATH)
    redirects = members.value.get(redirect.KEY.name) is not None
    port = None if redirects else members.require("containerPort", _parse_port, _PORT)
    is_regex = base is not None and base[0].is_regex
    target = members.read("targetPath", partial(_parse_target, is_regex=is_regex), None)
    if target is not None and base == (Match.PREFIX, target):
        target = None  # nothing is replaced, so that nginx need not decode what follows
    weight = members.read("weight", _parse_weight, 1)
    read = OptionReader(what, settings).read(members.value) if members.value.keys() - _KEYS else NO_OPTIONS
    members.faults += read.faults
    closed = read.closed
    if redirects:
        _check_redirect(members, what, base, read.options)
    elif target is not None and speaks_grpc(read.options):
        why = "cannot go with protocol grpc: this Pod does not serve the path"
        members.faults.append(Fault(f"{what}.targetPath", why, "no targetPath: gRPC's paths name its methods"))
        closed = True
    if base is None:
        return None
    if members.sound and read.sound:
        return PathEntry(*base, port, target, weight, read.options, closed)
    if not closed and not filter_closing(read.options):
        return None
    why = "protects its path and cannot be used: this Pod does not serve the path"
    members.faults.append(Fault(what, why, "its other faults corrected"))
    return PathEntry(*base, None, None, 1, read.options, closed=True)


def _check_redirect(members: Members, what: str, base: tuple[Match, str] | None, options: Options) -> None:
    """Spoil an entry that redirects to itself, or that says what only Pods need."""
    for key in ("containerPort", "targetPath"):
        if members.value.get(key) is not None:
            members.spoil(Fault(f"{what}.{key}", "cannot go with a redirect", "one of them"))
    wanted = find_option(options, redirect.KEY.name)
    if base and isinstance(wanted, redirect.Redirect) and _covers_itself(*base, wanted.path):
        members.spoil(Fault(f"{what}.redirect.path", f"{excerpt(wanted.path)} is the path itself", "another path"))


def _covers_itself(match: Match, path: str, target: str) -> bool:
    decoded = unquote(target, errors="surrogateescape")
    return not match.is_regex and (decoded if match is Match.EXACT else decoded.rstrip("/") or "/") == path


def _close(first: PathEntry, other: PathEntry) -> PathEntry:
    """Close the first of two entries of one basePath if the other one would be protected or spoken to otherwise."""
    protected, others = filter_closing(first.options), filter_closing(other.options)
    return replace(first, closed=True) if other.closed or protected != others else first


def _parse_base(value: Any, what: str, allow_regex: bool) -> tuple[Match, str]:
    if not isinstance(value, str):
        raise Refused(what, f"is {name_type(value)}", _PATH)
    if value.startswith("~"):
        return _parse_regex(value, what, allow_regex)
    return parse_path(value, what)


def _parse_regex(text: str, what: str, allow_regex: bool) -> tuple[Match, str]:
    if not allow_regex:
        raise Refused(what, "is a regular expression, which is turned off", "an absolute path")
    parse_text(text, what, REGEX_PATH)
    match = Match.IREGEX if text.startswith("~*") else Match.REGEX
    pattern = text.removeprefix(match.value)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            re.compile(pattern)
    except (re.error, FutureWarning) as error:
        raise Refused(what, f"{excerpt(text)} is not a regular expression ({error})", REGEX_PATH.allowed) from None
    if not _is_cheap(pattern):
        raise Refused(what, f"{excerpt(text)} can be tried in too many ways", REGEX_PATH.allowed)
    return match, pattern


def _is_cheap(pattern: str) -> bool:
    """Tell whether a regular expression is quick for every path that a client can send.

    Without a leading '^', PCRE tries it at each position of a path; `*` and `+` would then take time quadratic in the
    path's length, so they are allowed only after '^'.
    """
    bare = re.sub(r"\\.|\[[^]]*\]|(?<=\()\?", "", pattern)
    ways, alternatives = 2 ** bare.count("?"), [1]
    for sign in bare:
        if sign == "(":
            alternatives.append(1)
        elif sign == "|":
            alternatives[-1] += 1
        elif sign == ")":
            ways *= alternatives.pop()
    anchored = pattern.startswith("^") and alternatives[0] == 1
    unbounded = bare.count("*") + bare.count("+")
    return ways * alternatives[0] <= _MOST_WAYS and unbounded <= (_MOST_UNBOUNDED if anchored else 0)


def _parse_target(value: Any, what: str, is_regex: bool) -> str:
    if is_regex:
        raise Refused(what, "cannot go with a regular expression", "no targetPath, or a basePath that is a path")
    if not isinstance(value, str):
        raise Refused(what, f"is {name_type(value)}", _PATH)
    return parse_text(value, what, URL_PATH).replace("$", "%24")  # nginx would expand a variable there


def _parse_weight(value: Any, what: str) -> int:
    if type(value) is not int or not 1 <= value <= HEAVIEST:
        raise Refused(what, f"is {show_value(value)}", f"an integer from 1 to {HEAVIEST}")
    return value


def _parse_port(value: Any, what: str) -> int | str:
    if type(value) is int:
        return value
    if isinstance(value, str) and value:
        return int(value) if re.fullmatch(r"[1-9][0-9]{0,4}", value) else value
    raise Refused(what, f"is {show_value(value)}", _PORT)
