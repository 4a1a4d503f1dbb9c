"""Catalogue: all keys of a path's options, in the order in which a request meets them."""

from reconciler.routing.keys import (
    address_ranges,
    backup,
    load_balancing,
    max_request_body,
    redirect,
    retry,
    session_persistence,
    share,
    timeouts,
)
from reconciler.routing.keys.key import Key, Kind
from reconciler.routing.options import Options

_KEYS = (
    address_ranges.DENY,
    address_ranges.ALLOW,
    max_request_body.KEY,
    redirect.KEY,
    session_persistence.KEY,
    share.KEY,
    backup.KEY,
    load_balancing.KEY,
    timeouts.KEY,
    retry.KEY,
)
PATH_KEYS: dict[str, Key] = {key.name: key for key in _KEYS}


def filter_protections(options: Options) -> Options:
    """Give the options that decide who may use a path."""
    return tuple(option for option in options if PATH_KEYS[option.name].kind is Kind.PROTECTION)
