"""Combinations: options of one path that know of each other, or of the path."""

from collections.abc import Iterator

from msgspec.structs import replace

from reconciler.routing.keys import load_balancing, redirect, retry, session_persistence, share, timeouts
from reconciler.routing.keys.retry import Retry
from reconciler.routing.keys.session_persistence import SessionPersistence, find_cookie_path
from reconciler.routing.keys.timeouts import Timeouts
from reconciler.routing.model import Match
from reconciler.routing.options import Option, Options, find_option
from reconciler.values.value import Value

# Keys that have no effect beside another one.
_USELESS = {
    redirect.KEY.name: (session_persistence.KEY, load_balancing.KEY, timeouts.KEY, retry.KEY),
    session_persistence.KEY.name: (load_balancing.KEY,),
    share.KEY.name: (load_balancing.KEY,),
}


def find_useless(options: Options) -> Iterator[tuple[str, str]]:
    """Find the names of options that have no effect, each with the name of the option that takes it."""
    names = {option.name for option in options}
    seen: set[str] = set()
    for stronger, weaker in _USELESS.items():
        if stronger in names:
            found = [key.name for key in weaker if key.name in names - seen]
            seen.update(found)
            yield from ((name, stronger) for name in found)


def combine(options: Options, match: Match, path: str) -> Options:
    """Leave out the options that have no effect, and let the others know what they need of each other."""
    useless = {name for name, _ in find_useless(options)}
    kept = tuple(option for option in options if option.name not in useless)
    return tuple(Option(option.name, _adapt(option, kept, match, path)) for option in kept)


def _adapt(option: Option, options: Options, match: Match, path: str) -> Value:
    value = option.value
    if isinstance(value, SessionPersistence) and value.cookie:
        return replace(value, path="/" if match.is_regex else find_cookie_path(path))
    if isinstance(value, Timeouts) and find_option(options, retry.KEY.name):
        return replace(value, retried=True)
    if isinstance(value, Retry):
        times = find_option(options, timeouts.KEY.name)
        return replace(value, waits_once=isinstance(times, Timeouts) and times.is_short)
    return value
