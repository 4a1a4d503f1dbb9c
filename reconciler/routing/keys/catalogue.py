"""Catalogue: all keys of a path's options, in the order in which a request meets them."""

from reconciler.routing.keys import address_ranges, basic_auth, external_auth, max_request_body, timeouts
from reconciler.routing.keys.key import Key, Kind
from reconciler.routing.options import Options

_KEYS = (
    address_ranges.DENY,
    address_ranges.ALLOW,
    basic_auth.KEY,
    external_auth.KEY,
    max_request_body.KEY,
    timeouts.KEY,
)
PATH_KEYS: dict[str, Key] = {key.name: key for key in _KEYS}


def filter_protections(options: Options) -> Options:
    """Give the options that decide who may use a path."""
    return tuple(option for option in options if PATH_KEYS[option.name].kind is Kind.PROTECTION)


def filter_passing(options: Options) -> Options:
    """Give the options that say how nginx talks to the Pods."""
    return tuple(option for option in options if PATH_KEYS[option.name].passing)
