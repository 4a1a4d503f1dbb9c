"""Full-match patterns: which texts they accept and which they refuse."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconciler.values import patterns
from reconciler.values.addresses import parse_address
from reconciler.values.messages import excerpt
from reconciler.values.patterns import decode_path

LONG_LABEL = "a" * 63
LONGEST_NAME = ".".join([LONG_LABEL, LONG_LABEL, LONG_LABEL, "a" * 61])

PATTERNS = [
    patterns.DNS_LABEL,
    patterns.DNS_SUBDOMAIN,
    patterns.QUALIFIED_NAME,
    patterns.LABEL_VALUE,
    patterns.DATA_KEY,
    patterns.HOST_NAME,
    patterns.HTTP_HEADER,
]


@pytest.mark.parametrize("pattern", PATTERNS)
def test_a_trailing_line_break_is_illegal(pattern):
    """A trailing line break is not part of a legal name."""
    assert pattern.accepts("a")
    assert not pattern.accepts("a\n")


@pytest.mark.parametrize(
    "host",
    [
        "example.com",
        "localhost",
        "EXAMPLE.com",
        "1.example.com",
        "123",
        "a--b.example.com",
        "*.example.com",
        "*.localhost",
        "xn--bcher-kva.example",
        LONG_LABEL + ".com",
        LONGEST_NAME,
    ],
)
def test_host_accepted(host):
    """A host is a DNS name of any legal length, or `*.` and such a name."""
    assert patterns.HOST_NAME.accepts(host)


@pytest.mark.parametrize(
    "host",
    [
        "",
        ".",
        "*",
        "*.",
        "**.example.com",
        "a.*.com",
        "*example.com",
        "*.*.example.com",
        ".example.com",
        "example.com.",
        "a..b",
        "-a.com",
        "a-.com",
        "a_b.com",
        "a b.com",
        "a.com;",
        "a.com\n",
        "\na.com",
        "a.com\0",
        "~^a$",
        "$host",
        "a.com:80",
        "bücher.example",
        "\u212a.com",  # the Kelvin sign, whose lower case is a plain k
        LONG_LABEL + "a.com",
        LONGEST_NAME + "a",
        "*." + LONGEST_NAME,
    ],
)
def test_host_refused(host):
    """A host with an empty label, an illegal character, a port or a character too many is refused."""
    assert not patterns.HOST_NAME.accepts(host)


@pytest.mark.parametrize("address", ["0.0.0.0", "10.1.2.3", "255.255.255.255"])
def test_ipv4_accepted(address):
    """An IPv4 address is four numbers from 0 to 255."""
    assert parse_address(address) == address


@pytest.mark.parametrize(
    "address", ["1.2.3", "1.2.3.4.5", "256.1.1.1", "01.2.3.4", "1.2.3.4\n", "1.2.3.x", "0x1.2.3.4"]
)
def test_ipv4_refused(address):
    """Too many or too few numbers, too large numbers and leading zeros are refused in an IPv4 address."""
    assert parse_address(address) is None


@pytest.mark.parametrize(
    "path",
    [
        "/",
        "/foo",
        "/foo/",
        "/foo/bar.html",
        "/-._~!$&'()*+,;=:@",
        "/%20",
        "/%c3%BC",
        "/a//b",
        "/" + "a" * 1023,
    ],
)
def test_url_path_accepted(path):
    """An absolute path of RFC 3986's path characters, percent-encoded or not, is legal up to 1024 characters."""
    assert patterns.URL_PATH.accepts(path)


@pytest.mark.parametrize(
    "path",
    [
        "",
        "foo",
        "foo/",
        "/foo\n",
        "/foo ",
        "/a b",
        '/a"b',
        "/a{b}",
        "/a\\b",
        "/a#b",
        "/a?b",
        "/a[b]",
        "/%",
        "/%2",
        "/%zz",
        "/ü",
        "/\0",
        "/" + "a" * 1024,
    ],
)
def test_url_path_refused(path):
    """A relative path, a bare special character, a broken percent-encoding or an overlong path is refused."""
    assert not patterns.URL_PATH.accepts(path)


@pytest.mark.parametrize(
    ("path", "legal"), [("=/foo", True), ("=/", True), ("=foo", False), ("/foo", False), ("=", False)]
)
def test_exact_path(path, legal):
    """An exact path is an equals sign and an absolute path."""
    assert patterns.EXACT_PATH.accepts(path) is legal


@pytest.mark.parametrize(
    ("path", "legal"), [("/a?b=/c?", True), ("/", True), ("?a", False), ("/a b", False), ("/a\r\n", False)]
)
def test_probe_path(path, legal):
    """A probe's path may hold a query, but no blank and no line break, which would end the path or its line."""
    assert patterns.PROBE_PATH.accepts(path) is legal


@pytest.mark.parametrize(
    "expression",
    ["~^/foo$", "~*\\.(?:png|jpg)$", "~/a+?", "~^/v[0-9]+/(a|b)$", "~^/[^/]+/x$", "~/\\d\\w\\s\\[\\]", "~" + "a" * 199],
)
def test_regex_path_accepted(expression):
    """A regular expression of literals, classes, groups and single quantifiers is legal, with or without case."""
    assert patterns.REGEX_PATH.accepts(expression)


@pytest.mark.parametrize(
    "expression",
    [
        "",
        "~",
        "^/foo",
        "~a{9}",
        "~(?=a)",
        "~(?<n>a)",
        "~(?i)a",
        "~(a)\\1",
        "~a++",
        "~a**",
        "~[[:alpha:]]",
        "~*+",
        "~(*ACCEPT)",
        '~"',
        "~a\n",
        "~\0",
        "~" + "a" * 200,
    ],
)
def test_regex_path_refused(expression):
    """A regular expression that Python and PCRE may read differently is refused."""
    assert not patterns.REGEX_PATH.accepts(expression)


@pytest.mark.parametrize("name", ["a", "A_b.c-d", "example.com/a", "x" * 63, LONGEST_NAME + "/" + "x" * 63])
def test_qualified_name_accepted(name):
    """A qualified name is at most 63 characters, with or without a DNS prefix."""
    assert patterns.QUALIFIED_NAME.accepts(name)


@pytest.mark.parametrize("name", ["", "/a", "a/", "a/b/c", "A.com/a", "-a", "a-", "a b", "x" * 64, "a_b/c", "a\t"])
def test_qualified_name_refused(name):
    """A qualified name has at most one slash, a lower-case prefix, and letters or digits at its ends."""
    assert not patterns.QUALIFIED_NAME.accepts(name)


@pytest.mark.parametrize(
    ("value", "legal"),
    [("", True), ("a", True), ("A.b_c-1", True), ("v" * 63, True), ("v" * 64, False), (".a", False), ("a/b", False)],
)
def test_label_value(value, legal):
    """A label's value is empty or at most 63 characters between letters or digits."""
    assert patterns.LABEL_VALUE.accepts(value) is legal


@pytest.mark.parametrize(
    ("key", "legal"),
    [
        ("tls.crt", True),
        ("_K-1", True),
        (".a", True),
        ("k" * 253, True),
        ("", False),
        ("..", False),
        ("..a", False),
        ("a/b", False),
        ("a b", False),
        ("a\n", False),
        ("k" * 254, False),
    ],
)
def test_data_key(key, legal):
    """A key of a Secret's data cannot lead out of a folder, and has at most 253 characters."""
    assert patterns.DATA_KEY.accepts(key) is legal


@pytest.mark.parametrize(
    ("uri", "legal"),
    [
        ("http://example.com", True),
        ("https://example.com:8443/a/b%20c", True),
        ("http://[::1]:80/", True),
        ("https://10.0.0.1/", True),
        ("ftp://example.com", False),
        ("//example.com", False),
        ("http://", False),
        ("http://a b", False),
        ("http://user@example.com/", False),
        ("http://example.com:0", False),
        ("http://example.com/$request_uri", False),
        ('http://example.com/";', False),
        ("http://example.com\n", False),
    ],
)
def test_http_uri(uri, legal):
    """A URI for DEFAULT_LOCATION_RETURN is absolute, http or https, and holds nothing that nginx would expand."""
    assert patterns.HTTP_URI.accepts(uri) is legal


@pytest.mark.parametrize(
    ("text", "decoded"),
    [
        ("/", "/"),
        ("/foo/bar", "/foo/bar"),
        ("/a%20b", "/a b"),
        ("/%C3%BC", "/ü"),
        ("/%22%7b%7D%24", '/"{}$'),
        ("/a%2Fb", "/a/b"),
        ("/100%25", "/100%"),
        ("/%2520", "/%20"),
        ("/a+b", "/a+b"),
        ("/...", "/..."),
        ("/.a/..b/c.", "/.a/..b/c."),
    ],
)
def test_decode_path(text, decoded):
    """A path is decoded once, as nginx decodes a request's."""
    assert decode_path(text) == decoded


def test_decode_path_keeps_bytes():
    """Bytes that are not UTF-8 come back as the same bytes."""
    assert decode_path("/%ff%C3").encode("utf-8", "surrogateescape") == b"/\xff\xc3"


@pytest.mark.parametrize(
    "text",
    [
        *("/%00", "/%0a", "/%1F", "/%7f", "//", "/a//b", "/a%2f/b", "/.", "/a/./b", "/a/..", "/%2e%2E/a", "/a/%2e"),
        *("/%5Ca", "/a/..;b", "/a/.;", "/a%5c..", "/a/..%3F", "/a/..%23"),
    ],
)
def test_decode_path_refuses(text):
    """A path that no request can have after nginx has normalised it is refused."""
    with pytest.raises(ValueError, match="in some spelling: no such request is served"):
        decode_path(text)


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("10.0.0.1", "10.0.0.1"),
        ("::", "[::]"),
        ("::1", "[::1]"),
        ("2001:DB8:0:0:0:0:0:1", "[2001:db8::1]"),
        ("fe80::1%eth0", None),
        ("::1%25", None),
        ("[::1]", None),
        ("::1/64", None),
        ("::1\n", None),
        (" 10.0.0.1", None),
        ("10.0.0.01", None),
        ("10.0.0", None),
        ("1:2", None),
        ("example.com", None),
        ("", None),
    ],
)
def test_parse_address(text, address):
    """An address is given in its shortest form, IPv6 in brackets; any other text gives None."""
    assert parse_address(text) == address


@given(st.ip_addresses(v=6).filter(lambda address: address.ipv4_mapped is None))
def test_parse_address_forgets_the_spelling(address):
    """All spellings of one IPv6 address give the same text."""
    assert parse_address(address.exploded.upper()) == parse_address(str(address)) == f"[{address.compressed}]"


@given(st.text())
def test_excerpt_is_one_short_ascii_line(text):
    """An excerpt is one line of ASCII, quoted, of at most 60 characters of the text."""
    shown = excerpt(text)
    assert shown.isascii()
    assert shown.isprintable()
    assert len(shown) <= 60 * len(r"\U0010ffff") + 2
    assert shown[0] == shown[-1]


@pytest.mark.parametrize(("length", "shown"), [(60, "a" * 60), (61, "a" * 57 + "...")])
def test_excerpt_ends_in_dots(length, shown):
    """A text of more than 60 characters is cut, and ends in three dots."""
    assert excerpt("a" * length) == f"'{shown}'"
