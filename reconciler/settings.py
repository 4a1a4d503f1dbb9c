"""The environment variables, parsed, checked, frozen."""

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from reconciler.setting_flaws import find_flaws
from reconciler.values import patterns
from reconciler.values.addresses import Cidr, parse_address, parse_cidrs
from reconciler.values.messages import excerpt
from reconciler.values.parsers import (
    match_pattern,
    parse_addresses,
    parse_boolean,
    parse_buffer,
    parse_choice,
    parse_ciphers,
    parse_denied,
    parse_duration,
    parse_hosts,
    parse_location,
    parse_namespaces,
    parse_number,
    parse_one_address,
    parse_option_names,
    parse_protocols,
    parse_return,
    parse_size,
    parse_version,
    parse_workers,
)
from reconciler.values.patterns import Pattern
from reconciler.values.selector import Selector, parse_selector
from reconciler.values.value import Value

# Mozilla's "intermediate" list without DHE, which needs parameters of its own: https://wiki.mozilla.org/Security/Server_Side_TLS
_CIPHERS = ":".join(
    f"ECDHE-{key}-{cipher}"
    for cipher in ("AES128-GCM-SHA256", "AES256-GCM-SHA384", "CHACHA20-POLY1305")
    for key in ("ECDSA", "RSA")
)
# OpenSSL reads a variable SSL_CERT_DIR too, and many machines set it for all programs: https://docs.openssl.org/master/man7/openssl-env/
_TRUST_STORES = ("/etc/ssl/certs", "/etc/pki/tls/certs", "/usr/lib/ssl/certs", "/usr/local/ssl/certs")
# Ranges that contain no Pod: this machine; link-local and other addresses at which clouds give out a node's
# credentials; broadcast and multicast; IPv6 addresses that lead to IPv4 ones. 240.0.0.0/4 is not in the list, because
# Pods can have such addresses: https://cloud.google.com/kubernetes-engine/docs/concepts/alias-ips
# IPv4 mapped into IPv6 is never a Pod's address.
_NO_POD = (
    "0.0.0.0/8,127.0.0.0/8,169.254.0.0/16,168.63.129.16,100.100.100.200,192.0.0.0/24,224.0.0.0/4,255.255.255.255,"
    "::/96,::ffff:0.0.0.0/96,::ffff:0:0:0/96,64:ff9b::/96,64:ff9b:1::/48,2001::/32,2002::/16,fe80::/10,"
    "fd00:ec2::/32,fd20:ce::254,ff00::/8"
)


class SettingsError(Exception):
    """Variables with values that are not allowed: a line for each in `lines`."""

    def __init__(self, lines: list[str]) -> None:
        super().__init__("\n".join(lines))
        self.lines = lines


@dataclass(frozen=True, slots=True)
class Variable:
    """An environment variable: its names (the first one that is set counts), default, parser, and what is allowed."""

    names: tuple[str, ...]
    default: str
    parse: Callable[[str], Any]
    allowed: str


class LuaModule(Value, frozen=True):
    """The nginx module with which Pods come and go without a reload.

    `loads` are the files of modules to load, `library` is the folder of lua-resty-core, and `tree` the folder of the
    tree that serves, below nginx's. If it `keeps` connections, nginx's own pool is not needed.
    """

    loads: tuple[str, ...]
    library: str
    tree: str
    keeps: bool


def _variable(names: str, default: str, parse: Callable[[str], Any] | Pattern, allowed: str = "") -> Any:
    if isinstance(parse, Pattern):
        allowed = allowed or parse.allowed
        parse = match_pattern(parse)
    variable = Variable(tuple(names.split()), default, parse, allowed)
    return field(repr=parse is not _parse_file, metadata={"variable": variable})


def _parse_directory(text: str) -> str:
    """Parse an absolute path. The system's trust store counts as not given: the variable is then meant for OpenSSL."""
    if text and not patterns.FILE_PATH.accepts(text):
        raise ValueError
    return "" if os.path.realpath(text) in _TRUST_STORES else text


def _parse_file(text: str) -> bytes:
    """Read the file that a path names; empty if the path is empty."""
    if not text:
        return b""
    try:
        return Path(text).read_bytes()
    except OSError as error:
        raise ValueError(f"cannot be read ({error.strerror})") from None


@dataclass(frozen=True, slots=True)
class Settings:
    """All settings. Each field's metadata holds its environment variable; `read_settings` makes the value."""

    api_key_secret_name: str = _variable("API_KEY_SECRET_NAME", "routing", patterns.DNS_SUBDOMAIN)
    api_key_secret_field: str = _variable("API_KEY_SECRET_FIELD", "api-key", patterns.DATA_KEY)
    selector: Selector = _variable(
        "ROUTABLE_LABEL_SELECTOR",
        "github.com/30x.dispatcher.routable=true",
        parse_selector,
        "a label selector such as 'a=b,c!=d,e in (f,g),h notin (i),j,!k'",
    )
    hosts_annotation: str = _variable("HOSTS_ANNOTATION", "github.com/30x.dispatcher.hosts", patterns.QUALIFIED_NAME)
    paths_annotation: str = _variable("PATHS_ANNOTATION", "github.com/30x.dispatcher.paths", patterns.QUALIFIED_NAME)
    org_label: str = _variable("ORG_LABEL", "github.com/30x.dispatcher.org", patterns.QUALIFIED_NAME)
    env_label: str = _variable("ENV_LABEL", "github.com/30x.dispatcher.env", patterns.QUALIFIED_NAME)
    app_name_label: str = _variable("APP_NAME_LABEL", "github.com/30x.dispatcher.app.name", patterns.QUALIFIED_NAME)
    app_rev_label: str = _variable("APP_REV_LABEL", "github.com/30x.dispatcher.app.rev", patterns.QUALIFIED_NAME)
    api_key_header: str = _variable("API_KEY_HEADER", "X-ROUTING-API-KEY", patterns.HTTP_HEADER)
    api_key_forward: bool = _variable("API_KEY_FORWARD", "false", parse_boolean, "true or false")
    default_location_return: int | str = _variable(
        "DEFAULT_LOCATION_RETURN", "404", parse_return, "a status 100-999, or an absolute http or https URI"
    )
    health_checks: bool = _variable(
        "NGINX_ENABLE_HEALTH_CHECKS ENABLE_NGINX_UPSTREAM_CHECK", "false", parse_boolean, "true or false"
    )
    max_client_body_size: str = _variable(
        "NGINX_MAX_CLIENT_BODY_SIZE", "0", parse_size, "an nginx size such as 0, 512k or 10m, at most 1024g"
    )
    client_body_buffer_size: str = _variable(
        "NGINX_CLIENT_BODY_BUFFER_SIZE", "0", parse_buffer, "0, or an nginx size from 1k to 1m, such as 64k"
    )
    client_header_timeout: int = _variable("NGINX_CLIENT_HEADER_TIMEOUT", "20", parse_number(1, 3600), "1-3600 seconds")
    client_body_timeout: int = _variable("NGINX_CLIENT_BODY_TIMEOUT", "60", parse_number(1, 3600), "1-3600 seconds")
    status_path: str = _variable("NGINX_STATUS_PATH", "/dispatcher/status", parse_location, patterns.URL_PATH.allowed)
    port: int = _variable("PORT", "80", parse_number(1, 65535), "1-65535")
    ssl_port: int = _variable("SSL_PORT", "443", parse_number(1, 65535), "1-65535, and not PORT")
    ssl_cert: bytes = _variable("SSL_CERT", "", _parse_file, "a file with a PEM of certificates, together with SSL_KEY")
    ssl_key: bytes = _variable("SSL_KEY", "", _parse_file, "a file with the PEM of SSL_CERT's private key")
    ssl_cert_dir: str = _variable("SSL_CERT_DIR", "", _parse_directory, patterns.FILE_PATH.allowed)
    ssl_protocols: tuple[str, ...] = _variable(
        "SSL_PROTOCOLS", "TLSv1.2 TLSv1.3", parse_protocols, "TLSv1.2, TLSv1.3, or both with a blank between"
    )
    ssl_ciphers: str = _variable("SSL_CIPHERS", _CIPHERS, parse_ciphers, "an OpenSSL cipher list for TLS 1.2")
    http2: bool = _variable("NGINX_HTTP2", "true", parse_boolean, "true or false")
    listen_addresses: tuple[str, ...] = _variable(
        "LISTEN_ADDRESSES",
        "0.0.0.0",  # noqa: S104  a router listens on all addresses
        parse_addresses,
        "IP addresses with commas between, each once",
    )
    trusted_proxies: tuple[Cidr, ...] = _variable(
        "TRUSTED_PROXIES", "", parse_cidrs, "ranges of IP addresses such as 10.0.0.0/8 with commas between"
    )
    proxy_protocol: bool = _variable("PROXY_PROTOCOL", "false", parse_boolean, "true or false")
    allow_regex_paths: bool = _variable("ALLOW_REGEX_PATHS", "false", parse_boolean, "true or false")
    host_sharing: str = _variable("HOST_SHARING", "owner", parse_choice("owner", "any"), "owner or any")
    require_api_key: bool = _variable("REQUIRE_API_KEY", "false", parse_boolean, "true or false")
    ignore_pod_readiness: bool = _variable("IGNORE_POD_READINESS", "false", parse_boolean, "true or false")
    deny_pod_cidrs: tuple[Cidr, ...] = _variable(
        "DENY_POD_CIDRS",
        _NO_POD,
        parse_denied,
        "ranges of IP addresses such as 10.0.0.0/8 with commas between, or none",
    )
    max_hosts: int = _variable("MAX_HOSTS_PER_NAMESPACE", "1000", parse_number(1, 1000), "1-1000")
    max_all_locations: int = _variable("MAX_LOCATIONS", "60000", parse_number(2, 1_000_000), "2-1000000")
    max_locations: int = _variable("MAX_LOCATIONS_PER_NAMESPACE", "4000", parse_number(2, 100_000), "2-100000")
    max_certificates: int = _variable("MAX_CERTIFICATES_PER_NAMESPACE", "2000", parse_number(1, 100_000), "1-100000")
    max_changes: int = _variable("MAX_CHANGES_PER_NAMESPACE", "12", parse_number(0, 3600), "0-3600 a minute, 0 for any")
    max_endpoint_changes: int = _variable(
        "MAX_ENDPOINT_CHANGES_PER_NAMESPACE", "30", parse_number(0, 3600), "0-3600 a minute, 0 for any"
    )
    max_zones: int = _variable("MAX_ZONES_PER_NAMESPACE", "20", parse_number(0, 1000), "0-1000")
    max_ranges: int = _variable("MAX_RANGES_PER_NAMESPACE", "500", parse_number(0, 100_000), "0-100000")
    max_timeout: int = _variable("MAX_TIMEOUT", "24h", parse_duration(86400 * 7), "1s-168h, such as 90s, 30m or 24h")
    denied_options: tuple[str, ...] = _variable(
        "DENIED_OPTIONS", "", parse_option_names, "names of options such as timeouts,access.basicAuth, each once"
    )
    endpoints: str = _variable("ENDPOINTS", "auto", parse_choice("auto", "reload", "lua"), "auto, reload or lua")
    worker_processes: int = _variable("NGINX_WORKER_PROCESSES", "auto", parse_workers, "auto, or 1-512")
    worker_connections: int = _variable("NGINX_WORKER_CONNECTIONS", "16384", parse_number(64, 1_000_000), "64-1000000")
    worker_shutdown_timeout: str = _variable("WORKER_SHUTDOWN_TIMEOUT", "240s", patterns.NGINX_TIME)
    reload_timeout: int = _variable("RELOAD_TIMEOUT", "10", parse_number(1, 600), "1-600 seconds")
    shutdown_timeout: int = _variable("SHUTDOWN_TIMEOUT", "25", parse_number(0, 3600), "0-3600 seconds")
    min_reload_interval: int = _variable("MIN_RELOAD_INTERVAL", "2", parse_number(0, 3600), "0-3600 seconds")
    reconcile_interval: int = _variable("RECONCILE_INTERVAL", "2", parse_number(1, 3600), "1-3600 seconds")
    api_timeout: int = _variable("API_TIMEOUT", "20", parse_number(1, 600), "1-600 seconds")
    watch_namespaces: tuple[str, ...] = _variable(
        "WATCH_NAMESPACES", "", parse_namespaces, "names of Namespaces with commas between, each once"
    )
    snapshot_from: str = _variable(
        "SNAPSHOT_FROM", "cluster", parse_choice("cluster", "published"), "cluster or published"
    )
    snapshot_fallback: str = _variable(
        "SNAPSHOT_FALLBACK", "none", parse_choice("none", "cluster"), "none, or cluster with SNAPSHOT_FROM=published"
    )
    published_namespace: str = _variable("PUBLISHED_NAMESPACE", "dispatcher-published", patterns.DNS_LABEL)
    published_max_age: int = _variable("PUBLISHED_MAX_AGE", "60", parse_number(30, 86400), "30-86400 seconds")
    published_ready_age: int = _variable(
        "PUBLISHED_READY_AGE", "0", parse_number(0, 86400), "0-86400 seconds, 0 for any"
    )
    events: bool = _variable("EVENTS", "off", parse_boolean, "off or on")
    health_port: int = _variable("HEALTH_PORT", "0", parse_number(0, 65535), "0-65535, and neither PORT nor SSL_PORT")
    admin_port: int = _variable(
        "ADMIN_PORT", "0", parse_number(0, 65535), "0-65535, and none of PORT, SSL_PORT and HEALTH_PORT"
    )
    admin_address: str = _variable("ADMIN_ADDRESS", "127.0.0.1", parse_one_address, "an IP address")
    admin_hosts: tuple[str, ...] = _variable("ADMIN_HOSTS", "", parse_hosts, "DNS names with commas between, each once")
    access_log: str = _variable("ACCESS_LOG", "off", parse_choice("off", "json", "combined"), "off, json or combined")
    access_log_query: bool = _variable("ACCESS_LOG_QUERY", "false", parse_boolean, "true or false")
    request_metrics: bool = _variable("REQUEST_METRICS", "off", parse_boolean, "off or on")
    nginx_binary: str = _variable(
        "NGINX_BINARY", "nginx", Pattern(r"[A-Za-z0-9._~@+:=,/-]+", "nginx's file, or its name on the PATH", 1024)
    )
    nginx_version: tuple[int, ...] = _variable("NGINX_VERSION", "", parse_version, patterns.NGINX_VERSION.allowed)
    lua: LuaModule | None = None  # no variable: whoever serves sets it, and artefacts never use it


VARIABLES = {item.name: item.metadata["variable"] for item in fields(Settings) if item.metadata}


def believes_proxies(settings: Settings) -> bool:
    """Tell whether headers of trusted proxies count. With the PROXY protocol all headers are a client's."""
    return bool(settings.trusted_proxies) and not settings.proxy_protocol


def read_settings(environment: Mapping[str, str]) -> Settings:
    """Read the environment variables; an empty one counts as not given. SettingsError names all that are wrong."""
    values: dict[str, Any] = {}
    lines: list[str] = []
    for name, variable in VARIABLES.items():
        given = next((known for known in variable.names if environment.get(known)), variable.names[0])
        text = environment.get(given) or variable.default
        try:
            values[name] = variable.parse(text)
        except ValueError as error:
            why = str(error) if type(error) is ValueError else ""
            # If the key itself was put into SSL_KEY or SSL_CERT_DIR by mistake, it must not appear in a log.
            is_path = variable.parse in (_parse_file, _parse_directory)
            shown = "..." if is_path and not patterns.FILE_PATH.accepts(text) else text
            lines.append(_refusal(given, shown, why, variable.allowed))
    for given, text, why, allowed in find_flaws(values, environment):
        lines.append(_refusal(given, text, why, allowed or VARIABLES[given.lower()].allowed))
    if values.get("deny_pod_cidrs"):
        values["deny_pod_cidrs"] += _find_api_server(environment)
    if lines:
        raise SettingsError(lines)
    return Settings(**values)


def describe_settings(environment: Mapping[str, str]) -> dict[str, str]:
    """Give the variables that are set, as they were written. None of them is a secret: keys are in files."""
    names = [name for variable in VARIABLES.values() for name in variable.names]
    return {name: excerpt(environment[name])[1:-1] for name in names if environment.get(name)}


def _find_api_server(environment: Mapping[str, str]) -> tuple[Cidr, ...]:
    """Give the API server's address, which Kubernetes gives to every Pod; nothing if it is a name."""
    address = parse_address(environment.get("KUBERNETES_SERVICE_HOST", ""))
    return parse_cidrs(address.strip("[]")) if address else ()


def _refusal(variable: str, text: str, why: str, allowed: str) -> str:
    return f"{variable}: {excerpt(text)} {why or 'is not allowed'}; allowed: {allowed}"
