"""Legal values of each option, as tenants write them in JSON. A new key needs a line here."""

from typing import Any

EXAMPLES: dict[str, list[Any]] = {
    "access.allow": [["10.0.0.0/8"], ["203.0.113.7", "2001:db8::/32"]],
    "access.deny": [["0.0.0.0/0"], ["198.51.100.0/24", "::1"]],
    "buffering": [True, False],
    "maxRequestBody": ["1", "10Mi", "1k"],
    "maxResponseHeaders": ["4Ki", "16Ki", "20001", "64Ki"],
    "protocol": ["http", "grpc", "grpc"],
    "tls": [
        {"caCertificate": {"valueFrom": {"secretKeyRef": {"key": "ca.crt"}}}, "hostname": "Web.internal"},
        {"insecureSkipVerify": True, "hostname": "web.internal"},
        {"insecureSkipVerify": True},
    ],
    "timeouts": [{"read": "1h30m"}, {"connect": "10ms", "send": "24h"}, {"connect": "75s", "read": "1s", "send": "1s"}],
}

# What options write into a location, as crossplane reads it. Nothing else may stand there because of an option.
LINES = (
    r"if \$allowed_[0-9a-f]{16} = ",
    r"if \$denied_[0-9a-f]{16}",
    r"client_max_body_size [0-9]+",
    r"(proxy|grpc)_(connect|read|send)_timeout [0-9]+ms",
    r"(proxy|grpc)_next_upstream error",
    r"(proxy|grpc)_buffer_size [0-9]+",
    r"proxy_(buffers 8|busy_buffers_size) [0-9]+",
    r"client_body_timeout [0-9]+ms",
    r"(proxy|grpc)_ssl_(name [a-z0-9.-]+|server_name on|verify on|verify_depth 4)",
    r"(proxy|grpc)_ssl_trusted_certificate ssl/_pods/[0-9a-f]{32}\.crt",
    r"proxy_buffering off",
)
