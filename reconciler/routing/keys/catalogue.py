"""Catalogue: all keys of a host's and of a path's options, in the order in which a request meets them."""

from reconciler.routing.keys import (
    address_ranges,
    backup,
    basic_auth,
    buffering,
    cors,
    external_auth,
    host_redirect,
    hsts,
    http,
    keep_paths,
    load_balancing,
    maintenance,
    max_request_body,
    max_response_headers,
    pod_tls,
    protocol,
    rate_limit,
    redirect,
    request_headers,
    response_headers,
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
    cors.KEY,
    rate_limit.KEY,
    basic_auth.KEY,
    external_auth.KEY,
    max_request_body.KEY,
    redirect.KEY,
    session_persistence.KEY,
    share.KEY,
    backup.KEY,
    load_balancing.KEY,
    timeouts.KEY,
    request_headers.KEY,
    response_headers.KEY,
    max_response_headers.KEY,
    buffering.KEY,
    protocol.KEY,
    pod_tls.KEY,
    retry.KEY,
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

_PROTECTING = frozenset(key.name for key in _KEYS if key.kind is Kind.PROTECTION)


def filter_protections(options: Options) -> Options:
    """Give the options that decide who may use a path."""
    return tuple(option for option in options if option.name in _PROTECTING)


def filter_podless(options: Options) -> Options:
    """Give the options that count on a path without a ready Pod too: who may use it, and what its answers say."""
    return tuple(option for option in options if not PATH_KEYS[option.name].needs_pods)


def list_upstream_keys(options: Options) -> list[str]:
    """List the keys among a path's options that need an upstream of nginx's own."""
    return [option.name for option in options if PATH_KEYS[option.name].needs_upstream(option.value)]


def filter_closing(options: Options) -> Options:
    """Give the options without which requests could go where they must not."""
    return tuple(option for option in options if PATH_KEYS[option.name].kind.closes)


def filter_passing(options: Options) -> Options:
    """Give the options that say how nginx talks to the Pods."""
    return tuple(option for option in options if PATH_KEYS[option.name].passing)
