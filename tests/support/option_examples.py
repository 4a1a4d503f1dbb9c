"""Legal values of each option, as tenants write them in JSON. A new key needs a line here."""

from typing import Any

REFERENCE = {"valueFrom": {"secretKeyRef": {"key": "htpasswd"}}}
EXAMPLES: dict[str, list[Any]] = {
    "access.allow": [["10.0.0.0/8"], ["203.0.113.7", "2001:db8::/32"]],
    "access.basicAuth": [REFERENCE],
    "access.deny": [["0.0.0.0/0"], ["198.51.100.0/24", "::1"]],
    "access.rateLimit": [{"requests": 1, "unit": "minute"}, {"requests": 10000, "unit": "second", "burst": 0}],
    "cors": [
        {"allowOrigins": ["*"], "maxAge": 0},
        {
            "allowOrigins": ["https://*.example.net:8443", "http://localhost:3000"],
            "allowMethods": ["GET", "M-SEARCH"],
            "allowHeaders": ["X-A"],
            "exposeHeaders": ["X-B"],
            "allowCredentials": True,
        },
        {"allowOrigins": [f"https://{'a' * 60}.{'b' * 60}.example.org"]},
    ],
    "access.externalAuth": [
        {"path": "/"},
        {"path": "/a", "responseHeaders": ["Authorization"]},
        {"path": "/", "signInPath": "/", "responseHeaders": ["X-Auth-Request-User", "X-Team"]},
    ],
    "maxRequestBody": ["1", "10Mi", "1k"],
    "requestHeaders": [
        {"set": {"X-Team": "a", "X-Odd": "{}; # ' \" \\"}},
        {"remove": ["Cookie", "X-A-B"]},
        {"set": {"Content-Type": "text/plain"}, "remove": ["X-Debug"]},
    ],
    "responseHeaders": [
        {"set": {"X-Frame-Options": "DENY", "Content-Security-Policy": "default-src 'self'; img-src *"}},
        {"add": {"Set-Cookie": 'a="b\\c"; Path=/'}, "remove": ["X-Powered-By", "Via"]},
        {"set": {"X-Odd": "{}; # ' \\"}},
    ],
    "buffering": [True, False],
    "maxResponseHeaders": ["4Ki", "16Ki", "20001", "64Ki"],
    "protocol": ["http", "grpc", "grpc"],
    "tls": [
        {"caCertificate": {"valueFrom": {"secretKeyRef": {"key": "ca.crt"}}}, "hostname": "Web.internal"},
        {"insecureSkipVerify": True, "hostname": "web.internal"},
        {"insecureSkipVerify": True},
    ],
    "backup": [True, False],
    "loadBalancing": ["least_conn", "round_robin"],
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

# What options of hosts write into a server and its locations.
HOST_LINES = (
    r"if \$rest_after",
    r"add_header Retry-After \$rest_retry always",
    r"(proxy|grpc)_hide_header Strict-Transport-Security",
    r"add_header Strict-Transport-Security \$hsts always",
)
# What options write into a location, as crossplane reads it. Nothing else may stand there because of an option.
LINES = (
    *HOST_LINES,
    # A family of headers is written whole as soon as an option adds to it.
    r"add_header (?!Retry-After \$retry_after ).* always",
    r"(proxy|grpc)_(set|hide)_header .*",
    r"if \$allowed_[0-9a-f]{16} = ",
    r"if \$denied_[0-9a-f]{16}",
    r"limit_req zone=limit1_[-0-9a-z.]+( burst=[0-9]+)? nodelay",
    r"set \$limit_wait [0-9]+",
    r"set \$cors_[a-z]+ .*",
    r"uninitialized_variable_warn off",
    r"if \$preflight",
    r"if \$long_credentials",
    r"auth_basic protected",
    r"auth_basic_user_file passwords/[0-9a-f]{32}\.[a-z0-9-]{1,63}",
    r"error_log stderr crit",
    r"error_page 401 = @sign-in-[0-9a-f]{32}\.[a-z0-9-]{1,63}",
    r"auth_request_set \$(authoriser_status|identity_[1-8]) \$upstream_(status|http_[a-z0-9_]{1,64})",
    r"client_max_body_size [1-9][0-9]*",
    r"(proxy|grpc)_(connect|read|send)_timeout [0-9]+ms",
    r"(proxy|grpc)_next_upstream error",
    r"(proxy|grpc)_buffer_size [0-9]+",
    r"proxy_(buffers 8|busy_buffers_size) [0-9]+",
    r"client_body_timeout [0-9]+ms",
    r"(proxy|grpc)_ssl_(name [a-z0-9.-]+|server_name on|verify on|verify_depth 4)",
    r"(proxy|grpc)_ssl_trusted_certificate ssl/_pods/[0-9a-f]{32}\.crt",
    r"proxy_buffering off",
    r"client_max_body_size [0-9]+",
    r"proxy_(connect|read|send)_timeout [0-9]+ms",
    r"(proxy|grpc)_next_upstream (off|error( timeout)?( http_(429|500|502|503|504))*)",
    r"(proxy|grpc)_next_upstream_tries [2-4]",
    r"add_header Upgrade \$switched_protocol always",
    r"add_header Set-Cookie \$new_session_[0-9a-f]{16} always",
)
