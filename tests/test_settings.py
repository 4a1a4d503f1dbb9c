"""Settings: every variable's default, what it accepts, and what it refuses with which message."""

from datetime import datetime
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import BestAvailableEncryption, Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

from reconciler.modes.setting_names import find_misspelt
from reconciler.settings import VARIABLES, SettingsError, read_settings
from reconciler.values.addresses import Cidr, find_cidr, parse_address, parse_cidrs
from reconciler.values.selector import parse_selector

QUALIFIED = "an optional DNS prefix and '/', then at most 63 letters, digits, '-', '_' or '.'"
SECRET_NAME = "lower-case letters, digits, '-' and '.', at most 253"
DATA_KEY = "at most 253 letters, digits, '-', '_' or '.', not beginning with '..'"
HEADER = "an HTTP token of letters, digits (nginx reads no other), and at most six '-' or '_'"
SELECTOR = "a label selector such as 'a=b,c!=d,e in (f,g),h notin (i),j,!k'"
RETURN = "a status 100-999, or an absolute http or https URI"
BOOLEAN = "true or false"
SIZE = "an nginx size such as 0, 512k or 10m, at most 1024g"
PATH = "an absolute path of URL characters, others percent-encoded, at most 1024 characters"
NO_PATH = "has a control character, '//', '/./' or '/../' in some spelling: no such request is served"
PORT, SSL_PORT = "1-65535", "1-65535, and not PORT"
HEALTH_PORT = "0-65535, and neither PORT nor SSL_PORT"
TIMES = "1s-168h, such as 90s, 30m or 24h"
OPTIONS = "names of options such as timeouts,access.basicAuth, each once"
ADMIN_PORT = "0-65535, and none of PORT, SSL_PORT and HEALTH_PORT"
ADMIN_HOSTS = "DNS names with commas between, each once"
DENIED = "ranges of IP addresses such as 10.0.0.0/8 with commas between, or none"
PROXIES = "ranges of IP addresses such as 10.0.0.0/8 with commas between"
NAMESPACES = "names of Namespaces with commas between, each once"
CERT = "a file with a PEM of certificates, together with SSL_KEY"
KEY = "a file with the PEM of SSL_CERT's private key"
FOLDER = "an absolute path of letters, digits and ._~@+:=,-"
PROTOCOLS = "TLSv1.2, TLSv1.3, or both with a blank between"
ADDRESSES = "IP addresses with commas between, each once"
BINARY = "nginx's file, or its name on the PATH"
TIME = "a number of seconds, or of ms, s, m, h or d"
VERSION = "a version such as 1.26.3"
BASE = 2**32 + 1  # the number of ::1: IPv6 addresses come after all IPv4 addresses
FIELDS = {name: field for field, variable in VARIABLES.items() for name in variable.names}


def read_one(variable, text):
    return getattr(read_settings({variable: text}), FIELDS[variable])


def refuse(environment):
    with pytest.raises(SettingsError) as caught:
        read_settings(environment)
    assert str(caught.value) == "\n".join(caught.value.lines)
    return caught.value.lines


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("API_KEY_SECRET_NAME", "routing"),
        ("API_KEY_SECRET_FIELD", "api-key"),
        ("ROUTABLE_LABEL_SELECTOR", parse_selector("github.com/30x.dispatcher.routable=true")),
        ("HOSTS_ANNOTATION", "github.com/30x.dispatcher.hosts"),
        ("PATHS_ANNOTATION", "github.com/30x.dispatcher.paths"),
        ("ORG_LABEL", "github.com/30x.dispatcher.org"),
        ("ENV_LABEL", "github.com/30x.dispatcher.env"),
        ("APP_NAME_LABEL", "github.com/30x.dispatcher.app.name"),
        ("APP_REV_LABEL", "github.com/30x.dispatcher.app.rev"),
        ("API_KEY_HEADER", "X-ROUTING-API-KEY"),
        ("API_KEY_FORWARD", False),
        ("DEFAULT_LOCATION_RETURN", 404),
        ("NGINX_ENABLE_HEALTH_CHECKS", False),
        ("ENABLE_NGINX_UPSTREAM_CHECK", False),
        ("NGINX_MAX_CLIENT_BODY_SIZE", "0"),
        ("NGINX_CLIENT_BODY_BUFFER_SIZE", ""),
        ("NGINX_CLIENT_HEADER_TIMEOUT", 20),
        ("NGINX_CLIENT_BODY_TIMEOUT", 60),
        ("NGINX_STATUS_PATH", "/dispatcher/status"),
        ("PORT", 80),
        ("SSL_PORT", 443),
        ("SSL_CERT", b""),
        ("SSL_KEY", b""),
        ("SSL_CERT_DIR", ""),
        ("SSL_PROTOCOLS", ("TLSv1.2", "TLSv1.3")),
        ("NGINX_HTTP2", True),
        ("LISTEN_ADDRESSES", ("0.0.0.0",)),
        ("TRUSTED_PROXIES", ()),
        ("PROXY_PROTOCOL", False),
        ("ALLOW_REGEX_PATHS", False),
        ("HOST_SHARING", "owner"),
        ("REQUIRE_API_KEY", False),
        ("IGNORE_POD_READINESS", False),
        (
            "DENY_POD_CIDRS",
            parse_cidrs(
                "0.0.0.0/8,127.0.0.0/8,169.254.0.0/16,168.63.129.16,100.100.100.200,192.0.0.0/24,224.0.0.0/4,"
                "255.255.255.255,::/96,::ffff:0.0.0.0/96,::ffff:0:0:0/96,64:ff9b::/96,64:ff9b:1::/48,2001::/32,"
                "2002::/16,fe80::/10,fd00:ec2::/32,fd20:ce::254,ff00::/8"
            ),
        ),
        ("MAX_HOSTS_PER_NAMESPACE", 1000),
        ("MAX_LOCATIONS", 60000),
        ("MAX_LOCATIONS_PER_NAMESPACE", 4000),
        ("MAX_CERTIFICATES_PER_NAMESPACE", 2000),
        ("MAX_CHANGES_PER_NAMESPACE", 12),
        ("MAX_ENDPOINT_CHANGES_PER_NAMESPACE", 30),
        ("ENDPOINTS", "auto"),
        ("MAX_ZONES_PER_NAMESPACE", 20),
        ("MAX_RANGES_PER_NAMESPACE", 500),
        ("MAX_TIMEOUT", 86400),
        ("DENIED_OPTIONS", ()),
        ("NGINX_WORKER_PROCESSES", 0),
        ("NGINX_WORKER_CONNECTIONS", 16384),
        ("WORKER_SHUTDOWN_TIMEOUT", "240s"),
        ("RELOAD_TIMEOUT", 10),
        ("SHUTDOWN_TIMEOUT", 25),
        ("MIN_RELOAD_INTERVAL", 2),
        ("RECONCILE_INTERVAL", 2),
        ("API_TIMEOUT", 20),
        ("WATCH_NAMESPACES", ()),
        ("SNAPSHOT_FROM", "cluster"),
        ("SNAPSHOT_FALLBACK", "none"),
        ("PUBLISHED_NAMESPACE", "dispatcher-published"),
        ("PUBLISHED_MAX_AGE", 60),
        ("PUBLISHED_READY_AGE", 0),
        ("EVENTS", False),
        ("HEALTH_PORT", 0),
        ("ADMIN_PORT", 0),
        ("ADMIN_ADDRESS", "127.0.0.1"),
        ("ADMIN_HOSTS", ()),
        ("NGINX_BINARY", "nginx"),
        ("NGINX_VERSION", ()),
    ],
)
@pytest.mark.parametrize("environment", [{}, dict.fromkeys(FIELDS, "")], ids=["absent", "empty"])
def test_default(environment, variable, value):
    """A variable that is absent or empty has its default."""
    assert getattr(read_settings(environment), FIELDS[variable]) == value


def test_default_ciphers():
    """By default TLS 1.2 has only ciphers with forward secrecy and authenticated encryption."""
    ciphers = read_settings({}).ssl_ciphers.split(":")
    assert len(ciphers) == 6
    assert all(cipher.startswith("ECDHE-") and ("GCM" in cipher or "POLY1305" in cipher) for cipher in ciphers)


@pytest.mark.parametrize(
    ("variable", "text", "value"),
    [
        ("API_KEY_SECRET_NAME", "a.b-c.0", "a.b-c.0"),
        ("API_KEY_SECRET_FIELD", "_Api.Key", "_Api.Key"),
        ("ROUTABLE_LABEL_SELECTOR", " !a , b in (,c) ", parse_selector(" !a , b in (,c) ")),
        ("HOSTS_ANNOTATION", "hosts", "hosts"),
        ("PATHS_ANNOTATION", "x.io/P_a.t-hs", "x.io/P_a.t-hs"),
        ("ORG_LABEL", "o" * 63, "o" * 63),
        ("ENV_LABEL", "0", "0"),
        ("APP_NAME_LABEL", "a.b/c.d", "a.b/c.d"),
        ("APP_REV_LABEL", "a.b/c.d", "a.b/c.d"),
        ("API_KEY_HEADER", "x_key-1", "x_key-1"),
        ("API_KEY_HEADER", "-a--b_-_", "-a--b_-_"),
        ("API_KEY_FORWARD", "true", True),
        ("DEFAULT_LOCATION_RETURN", "100", 100),
        ("DEFAULT_LOCATION_RETURN", "999", 999),
        ("DEFAULT_LOCATION_RETURN", "https://[::1]:8443/a%20b", "https://[::1]:8443/a%20b"),
        ("NGINX_ENABLE_HEALTH_CHECKS", "TRUE", True),
        ("NGINX_ENABLE_HEALTH_CHECKS", "0", False),
        ("NGINX_MAX_CLIENT_BODY_SIZE", "1024G", "1024G"),
        ("NGINX_MAX_CLIENT_BODY_SIZE", "00k", "00k"),
        ("NGINX_CLIENT_BODY_BUFFER_SIZE", "1k", "1k"),
        ("NGINX_CLIENT_BODY_BUFFER_SIZE", "1048576", "1048576"),
        ("NGINX_CLIENT_BODY_BUFFER_SIZE", "0k", ""),
        ("NGINX_CLIENT_HEADER_TIMEOUT", "1", 1),
        ("NGINX_CLIENT_BODY_TIMEOUT", "3600", 3600),
        ("NGINX_STATUS_PATH", "/", "/"),
        ("NGINX_STATUS_PATH", "/a%20%22", '/a "'),
        ("PORT", "1", 1),
        ("PORT", "65535", 65535),
        ("SSL_PORT", "08443", 8443),
        ("SSL_CERT_DIR", "/", "/"),
        ("SSL_CERT_DIR", "/srv/tls=@+:,~_1/", "/srv/tls=@+:,~_1/"),
        ("SSL_PROTOCOLS", " TLSv1.3 ", ("TLSv1.3",)),
        ("SSL_CIPHERS", "HIGH:!aNULL:@STRENGTH", "HIGH:!aNULL:@STRENGTH"),
        ("NGINX_HTTP2", "off", False),
        ("LISTEN_ADDRESSES", "127.0.0.1, ::1", ("127.0.0.1", "[::1]")),
        ("TRUSTED_PROXIES", "0.0.0.0/0,::1", (Cidr("0.0.0.0/0", 0, 2**32 - 1), Cidr("::1/128", BASE, BASE))),
        ("PROXY_PROTOCOL", "1", True),
        ("ALLOW_REGEX_PATHS", "yes", True),
        ("IGNORE_POD_READINESS", "On", True),
        ("DENY_POD_CIDRS", "none", ()),
        ("DENY_POD_CIDRS", "10.0.0.0/08, ::1", (Cidr("10.0.0.0/8", 167772160, 184549375), Cidr("::1/128", BASE, BASE))),
        ("MAX_HOSTS_PER_NAMESPACE", "1", 1),
        ("MAX_LOCATIONS", "1000000", 1_000_000),
        ("MAX_LOCATIONS_PER_NAMESPACE", "100000", 100_000),
        ("MAX_CERTIFICATES_PER_NAMESPACE", "1", 1),
        ("MAX_CHANGES_PER_NAMESPACE", "0", 0),
        ("MAX_ENDPOINT_CHANGES_PER_NAMESPACE", "3600", 3600),
        ("ENDPOINTS", "lua", "lua"),
        ("MAX_ZONES_PER_NAMESPACE", "0", 0),
        ("MAX_RANGES_PER_NAMESPACE", "100000", 100_000),
        ("MAX_TIMEOUT", "90", 90),
        ("MAX_TIMEOUT", "30m", 1800),
        ("MAX_TIMEOUT", "168h", 604_800),
        ("DENIED_OPTIONS", "timeouts, access.basicAuth", ("timeouts", "access.basicAuth")),
        ("NGINX_WORKER_PROCESSES", "512", 512),
        ("NGINX_WORKER_CONNECTIONS", "1000000", 1_000_000),
        ("WORKER_SHUTDOWN_TIMEOUT", "500ms", "500ms"),
        ("RELOAD_TIMEOUT", "600", 600),
        ("SHUTDOWN_TIMEOUT", "0", 0),
        ("MIN_RELOAD_INTERVAL", "0", 0),
        ("RECONCILE_INTERVAL", "3600", 3600),
        ("API_TIMEOUT", "1", 1),
        ("WATCH_NAMESPACES", "team-b, team-a", ("team-a", "team-b")),
        ("SNAPSHOT_FROM", "published", "published"),
        ("PUBLISHED_NAMESPACE", "routing-state", "routing-state"),
        ("PUBLISHED_MAX_AGE", "30", 30),
        ("PUBLISHED_READY_AGE", "86400", 86400),
        ("EVENTS", "on", True),
        ("HEALTH_PORT", "8081", 8081),
        ("ADMIN_PORT", "9900", 9900),
        ("ADMIN_ADDRESS", "::", "[::]"),
        ("ADMIN_HOSTS", "Router.internal, a", ("router.internal", "a")),
        ("NGINX_BINARY", "/usr/sbin/nginx-1.26", "/usr/sbin/nginx-1.26"),
        ("NGINX_VERSION", "1.30", (1, 30)),
        ("NGINX_VERSION", "1.26.3", (1, 26, 3)),
    ],
)
def test_accepted(variable, text, value):
    """A legal text is accepted and parsed, even if it is odd."""
    assert read_one(variable, text) == value


REFUSALS = [
    *[
        ("API_KEY_SECRET_NAME", text, "", SECRET_NAME)
        for text in ("Routing", "a_b", "a/b", "-a", "a..b", "a" * 254, "a\n")
    ],
    *[("API_KEY_SECRET_FIELD", text, "", DATA_KEY) for text in ("a b", "a/b", "..", "..a", "k" * 254, "a\n")],
    ("ROUTABLE_LABEL_SELECTOR", "a=b=c", "',' is missing", SELECTOR),
    ("ROUTABLE_LABEL_SELECTOR", "a in b", "'(' is missing", SELECTOR),
    ("ROUTABLE_LABEL_SELECTOR", " ", "a label key is missing", SELECTOR),
    ("ROUTABLE_LABEL_SELECTOR", "a=b/c", "'b/c' is not a label value", SELECTOR),
    *[
        (variable, text, "", QUALIFIED)
        for variable in (
            "HOSTS_ANNOTATION",
            "PATHS_ANNOTATION",
            "ORG_LABEL",
            "ENV_LABEL",
            "APP_NAME_LABEL",
            "APP_REV_LABEL",
        )
        for text in ("a/b/c", "A.io/b", "/b", "a/", "-a", "a b", "é", "n" * 64, "a\n")
    ],
    *[
        ("API_KEY_HEADER", text, "", HEADER)
        for text in ("X KEY", "X:KEY", "X.KEY", "X-KEY\r\n", "é", "X" * 129, "a-b-c-d-e-f-g-h")
    ],
    *[
        ("DEFAULT_LOCATION_RETURN", text, "", RETURN)
        for text in (
            "99",
            "099",
            "1000",
            "4O4",
            "-404",
            "404\n",
            "/login",
            "ftp://a",
            "http://",
            "http://a/$uri",
            "http://a b",
        )
    ],
    *[
        (variable, text, "", BOOLEAN)
        for variable in (
            "NGINX_ENABLE_HEALTH_CHECKS",
            "ENABLE_NGINX_UPSTREAM_CHECK",
            "API_KEY_FORWARD",
            "NGINX_HTTP2",
            "PROXY_PROTOCOL",
            "ALLOW_REGEX_PATHS",
            "REQUIRE_API_KEY",
            "IGNORE_POD_READINESS",
        )
        for text in ("maybe", "2", "true ", "truetrue")
    ],
    *[("SNAPSHOT_FROM", text, "", "cluster or published") for text in ("file", "published ", "1")],
    *[("SNAPSHOT_FALLBACK", text, "", "none, or cluster with SNAPSHOT_FROM=published") for text in ("on", "published")],
    *[
        ("PUBLISHED_NAMESPACE", text, "", "lower-case letters, digits and '-', at most 63")
        for text in ("a/b", "A", "a.b", "a" * 64, "../x")
    ],
    *[("PUBLISHED_MAX_AGE", text, "", "30-86400 seconds") for text in ("29", "0", "1m", "86401")],
    *[("PUBLISHED_READY_AGE", text, "", "0-86400 seconds, 0 for any") for text in ("-1", "86401", "x")],
    *[("EVENTS", text, "", "off or on") for text in ("maybe", "on ", "2")],
    *[("HOST_SHARING", text, "", "owner or any") for text in ("all", "Owner", "any ", "owner,any")],
    *[
        ("NGINX_MAX_CLIENT_BODY_SIZE", text, "", SIZE)
        for text in ("k", "-1", "1t", "1.5m", "10 m", "10mb", "1" * 10, "1\n")
    ],
    *[("NGINX_MAX_CLIENT_BODY_SIZE", text, "is more than 1024g", SIZE) for text in ("1025g", "1048577m", "999999999G")],
    *[
        ("NGINX_CLIENT_BODY_BUFFER_SIZE", text, "", "0, or an nginx size from 1k to 1m, such as 64k")
        for text in ("1023", "1025k", "2m", "64kb", "off", "1g")
    ],
    *[
        (variable, text, "", "1-3600 seconds")
        for variable in ("NGINX_CLIENT_HEADER_TIMEOUT", "NGINX_CLIENT_BODY_TIMEOUT")
        for text in ("0", "3601", "20s")
    ],
    *[
        ("NGINX_STATUS_PATH", text, "", PATH)
        for text in ("status", "/a b", "/a?b", "/%", "/é", "/a\n", "/" + "a" * 1024)
    ],
    *[("NGINX_STATUS_PATH", text, NO_PATH, PATH) for text in ("//", "/a/../b", "/a/%2e", "/%0a", "/%00")],
    *[
        (variable, text, "", allowed)
        for variable, allowed in (("PORT", PORT), ("SSL_PORT", SSL_PORT))
        for text in ("0", "65536", "-1", "+80", "80.0", "http", "8_0", " 80", "80\n", "\u0663", "1" * 5000)
    ],
    *[("SSL_CERT_DIR", text, "", FOLDER) for text in ("tls", "./tls", "/a b", "/a//b", "/$a", "/a;", "/a\n", "/é")],
    *[
        ("SSL_PROTOCOLS", text, "", PROTOCOLS)
        for text in ("TLSv1.1", "TLSv1.2,TLSv1.3", "TLSv1.3 TLSv1.3", "tlsv1.3", "SSLv3 TLSv1.3", " ")
    ],
    *[
        ("SSL_CIPHERS", text, "", "an OpenSSL cipher list for TLS 1.2")
        for text in ("A B", "A;B", "A\n", "$A", "A" * 2001)
    ],
    ("SSL_CIPHERS", "NOCIPHER", "selects no cipher", "an OpenSSL cipher list for TLS 1.2"),
    *[
        ("LISTEN_ADDRESSES", text, "", ADDRESSES)
        for text in (
            "localhost",
            "10.0.0.1:80",
            "10.0.0.1 ::1",
            "::1,",
            ",",
            "*",
            "::1,0::1",
            "fe80::1%eth0",
            "0.0.0.0/0",
        )
    ],
    *[
        ("DENY_POD_CIDRS", text, "", DENIED)
        for text in ("None", "10.0.0.0/33", "10.0.0/8", "10.0.0.0/255.0.0.0", "::1%eth0", "10.0.0.0/8,", "a", "1\n")
    ],
    ("DENY_POD_CIDRS", "10.0.0.1/8", "has bits set behind its prefix", DENIED),
    *[
        ("TRUSTED_PROXIES", text, "", PROXIES)
        for text in ("all", "none", "10.0.0.0/33", "unix:", "10.0.0.1;", " ", ",")
    ],
    ("TRUSTED_PROXIES", "fd00::1/64", "has bits set behind its prefix", PROXIES),
    *[("MAX_HOSTS_PER_NAMESPACE", text, "", "1-1000") for text in ("0", "1001", "all")],
    *[("MAX_LOCATIONS", text, "", "2-1000000") for text in ("1", "1000001", "all")],
    *[("MAX_LOCATIONS_PER_NAMESPACE", text, "", "2-100000") for text in ("1", "100001", "1e3")],
    *[("MAX_CERTIFICATES_PER_NAMESPACE", text, "", "1-100000") for text in ("0", "100001", "-1")],
    *[
        (f"MAX_{what}CHANGES_PER_NAMESPACE", text, "", "0-3600 a minute, 0 for any")
        for what in ("", "ENDPOINT_")
        for text in ("3601", "-1", "any")
    ],
    ("ENDPOINTS", "njs", "", "auto, reload or lua"),
    *[("MAX_ZONES_PER_NAMESPACE", text, "", "0-1000") for text in ("1001", "-1", "all")],
    *[("MAX_RANGES_PER_NAMESPACE", text, "", "0-100000") for text in ("100001", "-1", "1e3")],
    *[("MAX_TIMEOUT", text, "", TIMES) for text in ("0", "169h", "500ms", "1d", "1 h", "-1s", "1h30m", "1s\n")],
    *[("DENIED_OPTIONS", text, "", OPTIONS) for text in ("a,", "a,a", "a b", "a.b.c", "a;b", "a" * 41)],
    *[("NGINX_WORKER_CONNECTIONS", text, "", "64-1000000") for text in ("63", "1000001", "auto")],
    *[("NGINX_WORKER_PROCESSES", text, "", "auto, or 1-512") for text in ("0", "513", "Auto", "2.5")],
    *[("WORKER_SHUTDOWN_TIMEOUT", text, "", TIME) for text in ("s", "-1", "1w", "1 s", "1.5s", "1m30s", "1s\n")],
    *[("RELOAD_TIMEOUT", text, "", "1-600 seconds") for text in ("0", "601", "10s")],
    *[
        (variable, text, "", "0-3600 seconds")
        for variable in ("SHUTDOWN_TIMEOUT", "MIN_RELOAD_INTERVAL")
        for text in ("3601", "-1", "2s")
    ],
    *[("RECONCILE_INTERVAL", text, "", "1-3600 seconds") for text in ("0", "3601", "0.5")],
    *[("API_TIMEOUT", text, "", "1-600 seconds") for text in ("0", "601")],
    *[("WATCH_NAMESPACES", text, "", NAMESPACES) for text in ("A", "a,", ",", "a b", "a,a", "a/b", "-a", "a\n,b\0")],
    ("HEALTH_PORT", "80", "is PORT too", HEALTH_PORT),
    *[("HEALTH_PORT", text, "", HEALTH_PORT) for text in ("65536", "-1", "http")],
    *[("ACCESS_LOG", text, "", "off, json or combined") for text in ("on", "JSON", "json; }", "true")],
    *[("ACCESS_LOG_QUERY", text, "", "true or false") for text in ("maybe", "json", "2")],
    ("REQUEST_METRICS", "on", "needs ADMIN_PORT, where the counts are read", "off, or on with ADMIN_PORT"),
    *[("REQUEST_METRICS", text, "", "off or on") for text in ("maybe", "json", "2")],
    ("ADMIN_PORT", "443", "is SSL_PORT too", ADMIN_PORT),
    *[("ADMIN_PORT", text, "", ADMIN_PORT) for text in ("65536", "-1", "http")],
    *[("ADMIN_ADDRESS", text, "", "an IP address") for text in ("localhost", "1.2.3", "1.2.3.4,::1", "::1%eth0")],
    *[("ADMIN_HOSTS", text, "", ADMIN_HOSTS) for text in ("a,", "a b", "a,A", "a:80", "*.a")],
    *[("NGINX_BINARY", text, "", BINARY) for text in ("a b", "a;b", "$a", "a\n", "a" * 1025)],
    *[("NGINX_VERSION", text, "", VERSION) for text in ("1", "1.26.3.4", "1.26-alpine", "v1.26", "1.26\n", "1.2600")],
]


def shorten(text):
    return ascii(text if len(text) <= 60 else text[:57] + "...")


@pytest.mark.parametrize(("variable", "text", "why", "allowed"), REFUSALS)
def test_refused(variable, text, why, allowed):
    """A wrong text is refused in one line: the variable, the text, what is wrong if that is known, what is allowed.

    The text of SSL_CERT_DIR, a folder for keys, is not shown, because it could be a key.
    """
    shown = "..." if variable == "SSL_CERT_DIR" else text
    assert refuse({variable: text}) == [f"{variable}: {shorten(shown)} {why or 'is not allowed'}; allowed: {allowed}"]


def test_every_variable_is_refused_something():
    """Every variable refuses some text."""
    with_files = {"SSL_CERT", "SSL_KEY"}
    assert {variable for variable, *_ in REFUSALS} | with_files == set(FIELDS)


def test_all_wrong_ones_are_told_at_once():
    """All wrong variables are reported at once, one printable line each, in the order of the settings."""
    wrong = {variable: text for variable, text, *_ in REFUSALS if variable != "ENABLE_NGINX_UPSTREAM_CHECK"}
    lines = refuse({**wrong, "SSL_CERT": "/absent/a", "SSL_KEY": "/absent/b"})
    assert [line.split(":")[0] for line in lines] == [variable.names[0] for variable in VARIABLES.values()]
    assert all(line.isprintable() for line in lines)


def test_right_ones_beside_a_wrong_one():
    """Only the wrong variables are reported."""
    assert len(refuse({"PORT": "8080", "SSL_PORT": "x", "API_KEY_HEADER": "X-KEY", "NGINX_VERSION": "x"})) == 2


@pytest.mark.parametrize(
    ("environment", "value"),
    [
        ({"NGINX_ENABLE_HEALTH_CHECKS": "true"}, True),
        ({"ENABLE_NGINX_UPSTREAM_CHECK": "true"}, True),
        ({"NGINX_ENABLE_HEALTH_CHECKS": "true", "ENABLE_NGINX_UPSTREAM_CHECK": "false"}, True),
        ({"NGINX_ENABLE_HEALTH_CHECKS": "false", "ENABLE_NGINX_UPSTREAM_CHECK": "true"}, False),
        ({"NGINX_ENABLE_HEALTH_CHECKS": "", "ENABLE_NGINX_UPSTREAM_CHECK": "true"}, True),
        ({"NGINX_ENABLE_HEALTH_CHECKS": "true", "ENABLE_NGINX_UPSTREAM_CHECK": ""}, True),
    ],
)
def test_health_checks_have_two_names(environment, value):
    """Either name turns health checks on; if both are set, the first name wins."""
    assert read_settings(environment).health_checks is value


@pytest.mark.parametrize("header", ["Host", "Referer", "connection", "X-Forwarded-For", "X_Real_IP", "Content-Length"])
def test_headers_of_nginxs_own(header):
    """The key's header cannot be one that nginx reads or writes itself."""
    told = f"API_KEY_HEADER: '{header}' is a header that nginx reads or writes; allowed: another one"
    assert refuse({"API_KEY_HEADER": header}) == [told]


def test_underscores_and_trusted_proxies():
    """A header with '_' is refused if proxies' headers are trusted; with the PROXY protocol none are trusted."""
    both = {"API_KEY_HEADER": "X_KEY", "TRUSTED_PROXIES": "10.0.0.0/8"}
    why = "has a '_', and TRUSTED_PROXIES is set"
    assert refuse(both) == [f"API_KEY_HEADER: 'X_KEY' {why}; allowed: a header without '_' if TRUSTED_PROXIES is set"]
    assert read_settings({**both, "PROXY_PROTOCOL": "true"}).api_key_header == "X_KEY"


@pytest.mark.parametrize(
    ("environment", "text"),
    [
        ({"PORT": "443"}, "443"),
        ({"SSL_PORT": "80"}, "80"),
        ({"PORT": "8080", "SSL_PORT": "08080"}, "8080"),
    ],
)
def test_one_port_for_both(environment, text):
    """PORT and SSL_PORT must not be the same port, even if one of them is the default."""
    assert refuse(environment) == [f"SSL_PORT: '{text}' is PORT too; allowed: {SSL_PORT}"]


def test_ports_may_change_places():
    """The ports may be any two different ports, even each other's default."""
    settings = read_settings({"PORT": "443", "SSL_PORT": "80"})
    assert (settings.port, settings.ssl_port) == (443, 80)


@pytest.mark.parametrize("folder", ["/etc/ssl/certs", "/etc/pki/tls/certs"])
def test_the_trust_store_is_no_folder_to_write_to(folder):
    """SSL_CERT_DIR counts as not set if it names the system's trust store, because OpenSSL uses the variable too."""
    assert read_one("SSL_CERT_DIR", folder) == ""


@pytest.mark.parametrize("host", ["10.96.0.1", "fd00:10:96::1", "2001:DB8::0:1"])
@pytest.mark.parametrize("ranges", ["", "10.244.0.0/16"])
def test_the_api_server_is_denied(host, ranges):
    """The API server's address, which Kubernetes sets, is always denied to Pods, unless DENY_POD_CIDRS is `none`."""
    environment = {"KUBERNETES_SERVICE_HOST": host, "DENY_POD_CIDRS": ranges}
    assert find_cidr(parse_address(host), read_settings(environment).deny_pod_cidrs)
    assert read_settings({**environment, "DENY_POD_CIDRS": "none"}).deny_pod_cidrs == ()


@pytest.mark.parametrize("host", ["kubernetes.default", "", "10.96.0.1/0", "0.0.0.0/0"])
def test_an_api_server_with_a_name_is_not_denied(host):
    """An API server that is not given as an address changes nothing."""
    assert read_settings({"KUBERNETES_SERVICE_HOST": host}) == read_settings({})


@pytest.mark.parametrize(
    ("given", "meant"),
    [
        ("API_KEY_SECRET_NAM", "API_KEY_SECRET_NAME"),
        ("API_KEY_SECRETNAME", "API_KEY_SECRET_NAME"),
        ("WATCH_NAMESPACE", "WATCH_NAMESPACES"),
        ("SSL_CERTS", "SSL_CERT"),
        ("NGINX_WORKER_CONECTIONS", "NGINX_WORKER_CONNECTIONS"),
        ("host_sharing", "HOST_SHARING"),
        ("ENABLE_NGINX_UPSTREAM_CHECKS", "ENABLE_NGINX_UPSTREAM_CHECK"),
    ],
)
def test_slips(given, meant):
    """A variable whose name is nearly a setting's is reported with that name, and without its value."""
    assert find_misspelt({given: "x", "PORT": "81"}) == [
        f"{given} is not a setting and is ignored; {meant} may be meant"
    ]


def test_names_that_are_no_slips():
    """Settings themselves, empty variables, and those of other programs are not reported."""
    others = "SSL_CERT_FILE HTTP_PORT HTTPS_PROXY NO_PROXY NJS_VERSION KUBERNETES_PORT HOSTNAME EXPORT PKG_RELEASE"
    assert find_misspelt(dict.fromkeys([*FIELDS, *others.split()], "x") | {"SSL_CERTS": ""}) == []


def test_other_variables_are_nobodys_business():
    """Variables of other names change nothing."""
    assert read_settings({"PATH": "/bin", "port": "x", "PORT ": "x"}) == read_settings({})


def make_pair():
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "router.example")])
    start, end = datetime(2024, 1, 1), datetime(2034, 1, 1)
    return key, x509.CertificateBuilder(name, name, key.public_key(), 7, start, end).sign(key, hashes.SHA256())


def write_key(key, encryption=None):
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, encryption or NoEncryption())


@pytest.fixture(scope="session")
def files(tmp_path_factory):
    """Give the paths of a certificate, of its key, and of other things that may be named instead."""
    folder = tmp_path_factory.mktemp("tls")
    (key, certificate), (other_key, _) = make_pair(), make_pair()
    contents = {
        "cert": certificate.public_bytes(Encoding.PEM),
        "key": write_key(key),
        "other key": write_key(other_key),
        "encrypted": write_key(key, BestAvailableEncryption(b"passphrase")),
        "noisy": b"noise\n" + certificate.public_bytes(Encoding.PEM) + b"noise\n",
        "garbage": b"garbage",
    }
    for name, content in contents.items():
        folder.joinpath(name).write_bytes(content)
    return {name: str(folder / name) for name in (*contents, "absent")} | {"folder": str(folder), "none": ""}


@pytest.mark.parametrize("cert", ["cert", "noisy"])
def test_certificate_and_key(files, cert):
    """A certificate and its key are read from their files, without the text around them."""
    settings = read_settings({"SSL_CERT": files[cert], "SSL_KEY": files["key"]})
    assert (settings.ssl_cert, settings.ssl_key) == (Path(files["cert"]).read_bytes(), Path(files["key"]).read_bytes())


@pytest.mark.parametrize(
    ("cert", "key", "wrong", "why"),
    [
        ("cert", "none", "SSL_KEY", "is missing beside SSL_CERT"),
        ("none", "key", "SSL_CERT", "is missing beside SSL_KEY"),
        ("absent", "key", "SSL_CERT", "cannot be read (No such file or directory)"),
        ("cert", "absent", "SSL_KEY", "cannot be read (No such file or directory)"),
        ("folder", "key", "SSL_CERT", "cannot be read (Is a directory)"),
        ("cert", "folder", "SSL_KEY", "cannot be read (Is a directory)"),
        ("garbage", "key", "SSL_CERT", "is not a PEM of certificates"),
        ("key", "key", "SSL_CERT", "is not a PEM of certificates"),
        ("cert", "garbage", "SSL_KEY", "is not a PEM of a private key"),
        ("cert", "cert", "SSL_KEY", "is not a PEM of a private key"),
        ("cert", "encrypted", "SSL_KEY", "is encrypted; a key without a passphrase is needed"),
        ("cert", "other key", "SSL_KEY", "does not belong to the certificate"),
    ],
)
def test_certificate_and_key_refused(files, cert, key, wrong, why):
    """A certificate or key that is missing, unreadable, malformed or another's is refused, with its file's name."""
    environment = {"SSL_CERT": files[cert], "SSL_KEY": files[key]}
    allowed = CERT if wrong == "SSL_CERT" else KEY
    assert refuse(environment) == [f"{wrong}: {shorten(environment[wrong])} {why}; allowed: {allowed}"]


def test_settings_show_no_pem(files):
    """The settings' representation holds neither certificate nor key."""
    shown = repr(read_settings({"SSL_CERT": files["cert"], "SSL_KEY": files["key"]}))
    assert "port=80" in shown
    assert "PRIVATE" not in shown
    assert "CERTIFICATE" not in shown
