"""What nginx logs about requests: the lines of the access log, and those from which requests are counted."""

from collections.abc import Iterator

from reconciler.rendering import quoting
from reconciler.rendering.quoting import Token, join, quote, words
from reconciler.settings import Settings
from reconciler.values.value import Value

# Relative to nginx's folder. Where dispatcher serves, both are pipes that it reads. Elsewhere nginx creates a file.
ACCESS_FILE, REQUESTS_FILE = "access.log", "requests.log"
# Linux writes up to 4 KiB into a pipe in one piece: lines of several workers do not mix.
# https://man7.org/linux/man-pages/man7/pipe.7.html
_BUFFER = ("buffer=4k", "flush=1s")
_DOLLAR = quoting.variable("dollar")
_JSON = (
    '"time":"$time_iso8601"', '"request_id":"$request_id"', '"client":"$remote_addr"', '"method":"$request_method"',
    '"host":"$host"', '"path":"$sent_path"', '"protocol":"$server_protocol"', '"namespace":"$namespace"',
    '"rule":"$path_rule"', '"status":$status', '"bytes":$bytes_sent', '"received":$request_length',
    '"seconds":$request_time', '"upstream":"$upstream_addr"', '"upstream_status":"$upstream_status"',
    '"upstream_seconds":"$upstream_response_time"', '"tls":"$ssl_protocol"',
)  # fmt: skip
# A Referer can hold paths and queries of other sites, and the name of a person is part of credentials.
_COMBINED = (
    "$remote_addr", "-", "-", "[$time_local]", '"$request_method $sent_path{query} $server_protocol"', "$status",
    "$body_bytes_sent", '"-"', '"{agent}"', "$request_id", '"$host"', '"$namespace"', '"$path_rule"',
    '"$upstream_addr"', '"$upstream_status"', '"$upstream_response_time"', "$request_time", '"$ssl_protocol"',
    "$request_length",
)  # fmt: skip
_REQUESTS = "$namespace $status $request_time"
# Where Lua chooses Pods, a server of ours answers for paths without any. Variables of pods.conf.j2 tell of Pods alone.
_OF_PODS = {
    "$upstream_addr": "$pod_addr",
    "$upstream_status": "$pod_status",
    "$upstream_response_time": "$pod_response_time",
}


class Logging(Value, frozen=True):
    """The directives about logs: parameters of log_format and access_log, and what only some logs need.

    `labels` are the variables that locations set, without values, for requests that no location takes. If there is an
    access log, `answers` holds the header in which the client gets the request's id.
    """

    formats: tuple[Token, ...]
    targets: tuple[Token, ...]
    labels: tuple[Token, ...]
    answers: tuple[Token, ...]
    hidden: tuple[Token, ...]
    quiet: tuple[Token, ...]


def view_logging(settings: Settings) -> Logging:
    """Give the directives about logs; without a log, only the one that turns nginx's own log off."""
    targets = []
    if settings.access_log != "off":
        targets.append(words(ACCESS_FILE, "access", *_BUFFER))
    if settings.request_metrics:
        targets.append(words(REQUESTS_FILE, "requests", *_BUFFER))
    return Logging(
        formats=tuple(_write_formats(settings)),
        targets=tuple(targets) or (quote("off"),),
        labels=view_labels("", "", settings),
        answers=view_request_id(settings),
        hidden=(quote("X-Request-ID"),) if settings.access_log != "off" else (),
        # With TLS this directive is there already.
        quiet=(quote("off"),) if targets and not settings.ssl_cert else (),
    )


def view_request_id(settings: Settings) -> tuple[Token, ...]:
    """Give the header in which a client gets its request's id, to be found in the access log."""
    return (join(quote("X-Request-ID"), quoting.variable("request_id")),) if settings.access_log != "off" else ()


def view_labels(namespace: str, rule: str, settings: Settings) -> tuple[Token, ...]:
    """Give the variables that a location sets, with their values, and only those that some log reads.

    `rule` is the path as its tenant wrote it.
    """
    labels = []
    if settings.access_log != "off" or settings.request_metrics:
        labels.append(join(quoting.variable("namespace"), quote(namespace)))
    if settings.access_log != "off":
        labels.append(join(quoting.variable("path_rule"), quoting.quote_dollars(rule, _DOLLAR)))
    return tuple(labels)


def view_podless(settings: Settings) -> tuple[Token, ...]:
    """Give what the access log has in place of a Pod if no Pod was asked."""
    nothing = {"combined": "-", "json": ""}  # as nginx writes a variable without a value
    return tuple(quote(text) for format_, text in nothing.items() if format_ == settings.access_log)


def _write_formats(settings: Settings) -> Iterator[Token]:
    # A client whose key is in this header must not find it in the log.
    agent = "" if settings.api_key_header.lower().replace("_", "-") == "user-agent" else "$http_user_agent"
    if settings.access_log == "json":
        more = ('"query":"$args"',) if settings.access_log_query else ()
        fields = (*_JSON[:6], *more, *_JSON[6:], f'"agent":"{agent}"')
        yield _write_format("access", "json", _name_pods(f"{{{','.join(fields)}}}", settings))
    elif settings.access_log == "combined":
        query = "$is_args$args" if settings.access_log_query else ""
        line = " ".join(_COMBINED).format(query=query, agent=agent)
        yield _write_format("access", "default", _name_pods(line, settings))
    if settings.request_metrics:
        yield _write_format("requests", "none", _REQUESTS)


def _name_pods(line: str, settings: Settings) -> str:
    for source, name in _OF_PODS.items() if settings.lua else ():
        line = line.replace(source, name)
    return line


def _write_format(name: str, escape: str, line: str) -> Token:
    return join(words(name, f"escape={escape}"), quote(line, expands_variables=False))
