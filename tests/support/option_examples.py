"""Legal values of each option, as tenants write them in JSON. A new key needs a line here."""

from typing import Any

EXAMPLES: dict[str, list[Any]] = {
    "access.allow": [["10.0.0.0/8"], ["203.0.113.7", "2001:db8::/32"]],
    "access.deny": [["0.0.0.0/0"], ["198.51.100.0/24", "::1"]],
    "backup": [True, False],
    "loadBalancing": ["least_conn", "round_robin"],
    "maxRequestBody": ["1", "10Mi", "1k"],
    "redirect": [{"path": "/elsewhere"}, {"path": "/a'b;c%22", "statusCode": 308}],
    "retry": [{"attempts": 0}, {"attempts": 3, "codes": [503, 429]}, {"codes": [500, 502, 504]}],
    "sessionPersistence": [
        {"type": "ClientIP"},
        {"type": "Cookie"},
        {"type": "Cookie", "sessionName": "my.app_sid-1", "absoluteTimeout": "1h30m"},
    ],
    "share": [0, 1, 20, 100],
    "timeouts": [{"read": "1h30m"}, {"connect": "10ms", "send": "24h"}, {"connect": "75s", "read": "1s", "send": "1s"}],
}

# What options write into a location, as crossplane reads it. Nothing else may stand there because of an option.
LINES = (
    r"if \$allowed_[0-9a-f]{16} = ",
    r"if \$denied_[0-9a-f]{16}",
    r"client_max_body_size [0-9]+",
    r"proxy_(connect|read|send)_timeout [0-9]+ms",
    r"proxy_next_upstream (off|error( timeout)?( http_(429|500|502|503|504))*)",
    r"proxy_next_upstream_tries [2-4]",
    r"add_header Upgrade \$switched_protocol always",
    r"add_header Set-Cookie \$new_session_[0-9a-f]{16} always",
)
