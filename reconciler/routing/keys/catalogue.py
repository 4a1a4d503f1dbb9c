"""Catalogue: all keys of a host's and of a path's options, in the order in which a request meets them."""

from reconciler.routing.keys import (
    address_ranges,
    host_redirect,
    hsts,
    http,
    keep_paths,
    maintenance,
    max_request_body,
    timeouts,
)
from reconciler.routing.keys.key import Key, Kind
from reconciler.routing.options import Options

_KEYS = (
    address_ranges.DENY,
    address_ranges.ALLOW,
    max_request_body.KEY,
    timeouts.KEY,
)
PATH_KEYS: dict[str, Key] = {key.name: key for key in _KEYS}
_OF_HOSTS = (
    http.KEY,
    maintenance.KEY,
    host_redirect.KEY,
    keep_paths.KEY,
    hsts.KEY,
)
HOST_KEYS: dict[str, Key] = {key.name: key for key in _OF_HOSTS}


def filter_protections(options: Options) -> Options:
    """Give the options that decide who may use a path."""
    return tuple(option for option in options if PATH_KEYS[option.name].kind is Kind.PROTECTION)
