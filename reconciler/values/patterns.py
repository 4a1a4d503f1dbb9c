"""What a legal text is: text from outside is accepted only if the whole of it matches a pattern."""

import re
from dataclasses import dataclass, field
from urllib.parse import unquote


@dataclass(frozen=True, slots=True)
class Pattern:
    """A set of legal texts, and the words that describe it in messages."""

    expression: str
    allowed: str
    longest: int = 253
    _compiled: re.Pattern[str] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_compiled", re.compile(self.expression))

    def accepts(self, text: str) -> bool:
        """Tell whether the whole of `text` is legal: a trailing line break is not."""
        return len(text) <= self.longest and self._compiled.fullmatch(text) is not None


_LABEL = r"[a-z0-9](?:[-a-z0-9]{0,61}[a-z0-9])?"
_NAME = r"[A-Za-z0-9](?:[-_.A-Za-z0-9]{0,61}[A-Za-z0-9])?"
# A character of a URL's path as RFC 3986 has it: unreserved, sub-delims, ":" and "@", or percent-encoded.
_PCHAR = r"(?:[A-Za-z0-9\-._~!$&'()*+,;=:@]|%[0-9A-Fa-f]{2})"
_HOST_LABEL = r"[A-Za-z0-9](?:[-A-Za-z0-9]{0,61}[A-Za-z0-9])?"

# https://kubernetes.io/docs/concepts/overview/working-with-objects/names/
DNS_LABEL = Pattern(_LABEL, "lower-case letters, digits and '-', at most 63", longest=63)
_LONG_LABEL = r"[a-z0-9](?:[-a-z0-9]*[a-z0-9])?"  # an object's name may hold a label of more than 63 characters
DNS_SUBDOMAIN = Pattern(rf"{_LONG_LABEL}(?:\.{_LONG_LABEL})*", "lower-case letters, digits, '-' and '.', at most 253")
QUALIFIED_NAME = Pattern(
    rf"(?:(?=[^/]{{1,253}}/){_LONG_LABEL}(?:\.{_LONG_LABEL})*/)?{_NAME}",
    "an optional DNS prefix and '/', then at most 63 letters, digits, '-', '_' or '.'",
    longest=317,
)
LABEL_VALUE = Pattern(rf"(?:{_NAME})?", "at most 63 letters, digits, '-', '_' or '.', or nothing", longest=63)
DATA_KEY = Pattern(
    r"(?!\.\.|\.\Z)[-._a-zA-Z0-9]+", "at most 253 letters, digits, '-', '_' or '.', not beginning with '..'"
)

HOST_NAME = Pattern(
    rf"(?:\*\.)?{_HOST_LABEL}(?:\.{_HOST_LABEL})*",
    "a DNS name of at most 253 characters, '*.' and such a name, or an IP address",
)
EXACT_HOST = Pattern(rf"{_HOST_LABEL}(?:\.{_HOST_LABEL})*", "a DNS name of at most 253 characters")
DNS_NAME = Pattern(
    rf"(?!(?:.*\.)?[0-9]+\Z){_HOST_LABEL}(?:\.{_HOST_LABEL})*", "a DNS name of at most 253 characters, and no address"
)
URL_PATH = Pattern(
    rf"/(?:{_PCHAR}|/)*",
    "an absolute path of URL characters, others percent-encoded, at most 1024 characters",
    longest=1024,
)
EXACT_PATH = Pattern(f"={URL_PATH.expression}", "'=' and an absolute path", longest=1025)
PROBE_PATH = Pattern(
    rf"/(?:{_PCHAR}|[/?])*", "an absolute path, with or without a query, at most 1024 characters", longest=1024
)

# Expressions that Python's `re` and nginx's PCRE read in the same way: no counted repeats, look-arounds, back
# references, named groups, inline flags, POSIX classes or possessive and doubled quantifiers. A group must not be
# repeated, because a request could then keep a worker busy; path_entries.py counts the ways for the same reason.
_REGEX_CLASS = r"\[\^?(?![.:=])(?:[A-Za-z0-9/_.~%-]|\\[dws.\-])+\]"
_REGEX_ATOM = rf"(?:[A-Za-z0-9/_.~!@,;:=&%' -]|\\[dwsDWSbB./^$|()?*+\[\]\\-]|{_REGEX_CLASS}"
REGEX_PATH = Pattern(
    rf"~\*?(?:{_REGEX_ATOM}|[(](?:\?:)?|[)^$|]|(?<=[^()|^*?+~])[*?+]\??)+)",
    "'~' or '~*' and at most 200 of literals, classes, groups, '|' and '?' in at most 30 ways, and behind a '^' "
    "two '*' or '+', none on a group",
    longest=200,
)

HTTP_HEADER = Pattern(
    r"(?=.)[A-Za-z0-9]*(?:[_-][A-Za-z0-9]*){0,6}",
    "an HTTP token of letters, digits (nginx reads no other), and at most six '-' or '_'",
    longest=128,
)
HTTP_URI = Pattern(
    rf"https?://(?:{_HOST_LABEL}(?:\.{_HOST_LABEL})*|\[[0-9A-Fa-f:.]+\])(?::[1-9][0-9]{{0,4}})?"
    r"(?:/(?:[A-Za-z0-9\-._~/]|%[0-9A-Fa-f]{2})*)?",
    "an absolute http or https URI",
    longest=1024,
)
FILE_PATH = Pattern(
    r"/(?:[A-Za-z0-9._~@+:=,-]+/)*[A-Za-z0-9._~@+:=,-]*",
    "an absolute path of letters, digits and ._~@+:=,-",
    longest=1024,
)
NGINX_SIZE = Pattern(r"[0-9]{1,9}[kKmMgG]?", "a number of bytes, or of k, m or g", longest=10)
NGINX_TIME = Pattern(r"[0-9]{1,9}(?:ms|s|m|h|d)?", "a number of seconds, or of ms, s, m, h or d", longest=11)
NGINX_VERSION = Pattern(r"[0-9]{1,3}\.[0-9]{1,3}(?:\.[0-9]{1,3})?", "a version such as 1.26.3", longest=11)

# As the Gateway API writes durations: https://gateway-api.sigs.k8s.io/geps/gep-2257/
DURATION = Pattern(
    r"(?:[0-9]{1,5}(?:h|m|s|ms)){1,4}",
    "a duration such as 90s, 1m30s or 500ms: h, m, s and ms, at most four",
    longest=28,
)
SIZE = Pattern(
    r"[1-9][0-9]{0,9}(?:k|M|G|Ki|Mi|Gi)?", "a number of bytes such as 1000, or of k, M, G, Ki, Mi or Gi", longest=12
)
# nginx does not start if a header that it hides or writes for gRPC is longer: its hash of these names has buckets of 64
# bytes (ngx_http_grpc_module.c).
HEADER_NAME = Pattern(r"[A-Za-z][A-Za-z0-9-]{0,45}", "a letter and at most 45 letters, digits or '-'", longest=46)
# nginx expands a variable in a value: no `$`.
HEADER_VALUE = Pattern(
    r"[!-#%-~]+(?: [!-#%-~]+)*",
    "printable ASCII without '$', single blanks within, at most 2048 characters",
    longest=2048,
)
# As browsers write where a page comes from: https://www.rfc-editor.org/rfc/rfc6454#section-6.2
ORIGIN = Pattern(
    rf"[Hh][Tt][Tt][Pp][Ss]?://(?:\*\.)?{_HOST_LABEL}(?:\.{_HOST_LABEL})*(?::[0-9]{{1,5}})?",
    "http:// or https://, a DNS name, or '*.' and a DNS name, with or without a port; or '*' alone",
    longest=270,
)
HTTP_METHOD = Pattern(r"[A-Z][A-Z-]{0,19}", "capital letters and '-', at most 20", longest=20)

# nginx 1.22 keeps the length of a location's name in one byte; a longer name would match shorter paths.
LONGEST_LOCATION = 254
# nginx resolves dot segments itself. Other spellings of them, and of two slashes in front, get 400: see nginx.conf.j2.
_NEVER_IN_A_LOCATION = re.compile(r"[\x00-\x1f\x7f]|//|\A/\\|[/\\]\.\.?(?=[/;?#\\]|\Z)")


def decode_path(text: str) -> str:
    """Decode an absolute path as nginx decodes the path of a request before it looks for a location.

    Bytes that are not UTF-8 become lone surrogates, as `os.fsdecode` gives them. ValueError if no request can ever
    match the path (nginx refuses control characters, merges slashes, and resolves `.` and `..` first; other spellings
    of these get 400), or if it is longer than LONGEST_LOCATION bytes.
    """
    decoded = unquote(text, errors="surrogateescape")
    if _NEVER_IN_A_LOCATION.search(decoded):
        raise ValueError("has a control character, '//', '/./' or '/../' in some spelling: no such request is served")
    if len(decoded.encode("utf-8", "surrogateescape")) > LONGEST_LOCATION:
        raise ValueError(f"is longer than {LONGEST_LOCATION} bytes")
    return decoded
