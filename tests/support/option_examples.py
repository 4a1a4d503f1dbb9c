"""Legal values of each option, as tenants write them in JSON. A new key needs a line here."""

from typing import Any

EXAMPLES: dict[str, list[Any]] = {
    "access.allow": [["10.0.0.0/8"], ["203.0.113.7", "2001:db8::/32"]],
    "access.deny": [["0.0.0.0/0"], ["198.51.100.0/24", "::1"]],
    "maxRequestBody": ["1", "10Mi", "1k"],
    "timeouts": [{"read": "1h30m"}, {"connect": "10ms", "send": "24h"}, {"connect": "75s", "read": "1s", "send": "1s"}],
}

# The same for options of hosts.
HOST_EXAMPLES: dict[str, list[Any]] = {
    "http": ["redirect", "serve", "close"],
    "maintenance": [True, {"retryAfter": "1m"}, {"allow": ["10.0.0.0/8", "::1"]}],
    "redirect": [
        {"hostname": "www.example.com", "statusCode": 301},
        {"scheme": "https", "hostname": "b.example.com", "port": 8443, "path": "/a'b;c"},
        {"port": 8080},
    ],
    "keepPaths": [["/a", "=/foo"], ["/kept/caf%C3%A9", "/", "/.well-known"]],
    "hsts": [{"maxAge": "17520h", "includeSubDomains": True, "preload": True}, {"maxAge": "0s"}],
}

# What options write into a location, as crossplane reads it. Nothing else may stand there because of an option.
LINES = (
    r"if \$rest_after",
    r"add_header Retry-After \$rest_retry always",
    r"proxy_hide_header Strict-Transport-Security",
    r"add_header Strict-Transport-Security \$hsts always",
    r"if \$allowed_[0-9a-f]{16} = ",
    r"if \$denied_[0-9a-f]{16}",
    r"client_max_body_size [0-9]+",
    r"proxy_(connect|read|send)_timeout [0-9]+ms",
    r"proxy_next_upstream error",
)
