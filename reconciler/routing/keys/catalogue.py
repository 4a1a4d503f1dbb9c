"""Catalogue: all keys of a path's options, in the order in which a request meets them."""

from reconciler.routing.keys import (
    address_ranges,
    buffering,
    max_request_body,
    max_response_headers,
    pod_tls,
    protocol,
    timeouts,
)
from reconciler.routing.keys.key import Key, Kind
from reconciler.routing.options import Options

_KEYS = (
    address_ranges.DENY,
    address_ranges.ALLOW,
    max_request_body.KEY,
    timeouts.KEY,
    max_response_headers.KEY,
    buffering.KEY,
    protocol.KEY,
    pod_tls.KEY,
)
PATH_KEYS: dict[str, Key] = {key.name: key for key in _KEYS}


def filter_protections(options: Options) -> Options:
    """Give the options that decide who may use a path."""
    return tuple(option for option in options if PATH_KEYS[option.name].kind is Kind.PROTECTION)


def filter_closing(options: Options) -> Options:
    """Give the options without which requests could go where they must not."""
    return tuple(option for option in options if PATH_KEYS[option.name].kind.closes)
