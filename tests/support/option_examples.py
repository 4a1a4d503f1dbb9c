"""Legal values of each option, as tenants write them in JSON. A new key needs a line here."""

from typing import Any

REFERENCE = {"valueFrom": {"secretKeyRef": {"key": "htpasswd"}}}
EXAMPLES: dict[str, list[Any]] = {
    "access.allow": [["10.0.0.0/8"], ["203.0.113.7", "2001:db8::/32"]],
    "access.basicAuth": [REFERENCE],
    "access.deny": [["0.0.0.0/0"], ["198.51.100.0/24", "::1"]],
    "access.externalAuth": [
        {"path": "/"},
        {"path": "/a", "responseHeaders": ["Authorization"]},
        {"path": "/", "signInPath": "/", "responseHeaders": ["X-Auth-Request-User", "X-Team"]},
    ],
    "maxRequestBody": ["1", "10Mi", "1k"],
    "timeouts": [{"read": "1h30m"}, {"connect": "10ms", "send": "24h"}, {"connect": "75s", "read": "1s", "send": "1s"}],
}

# What options write into a location, as crossplane reads it. Nothing else may stand there because of an option.
LINES = (
    r"if \$allowed_[0-9a-f]{16} = ",
    r"if \$denied_[0-9a-f]{16}",
    r"if \$long_credentials",
    r"auth_basic protected",
    r"auth_basic_user_file passwords/[0-9a-f]{32}\.[a-z0-9-]{1,63}",
    r"error_log stderr crit",
    r"error_page 401 = @sign-in-[0-9a-f]{32}\.[a-z0-9-]{1,63}",
    r"auth_request_set \$(authoriser_status|identity_[1-8]) \$upstream_(status|http_[a-z0-9_]{1,64})",
    # Each family of headers is whole. Retry-After is no option.
    r"proxy_set_header [A-Za-z0-9-]+ (\$[a-z0-9_]+)?",
    r"proxy_hide_header [A-Za-z-]+",
    r"add_header (?!Retry-After )[A-Za-z-]+ \$[a-z0-9_]+ always",
    r"client_max_body_size [0-9]+",
    r"proxy_(connect|read|send)_timeout [0-9]+ms",
    r"proxy_next_upstream error",
)
