"""Password files as Apache's htpasswd writes them, with the kinds of hashes alone that cost a worker little time.

nginx asks the C library about other kinds, some of which keep a worker busy for half a second:
https://nginx.org/en/docs/http/ngx_http_auth_basic_module.html#auth_basic_user_file
"""

import re
from base64 import b64decode

LONGEST_HTPASSWD = 64 * 1024
MOST_USERS = 100
ALLOWED = (
    f"1 to {MOST_USERS} lines user:$apr1$..., as htpasswd -m writes them, or user:{{SSHA}}...; "
    f"at most {LONGEST_HTPASSWD // 1024} KiB"
)
# A colon ends a name, and a line that begins with '#' is a comment.
_USER = rb"[!\"$-9;-~][!-9;-~]{0,254}"
_APR1 = re.compile(_USER + rb":\$apr1\$[./0-9A-Za-z]{1,8}\$[./0-9A-Za-z]{22}")
_SSHA = re.compile(_USER + rb":\{SSHA\}([0-9A-Za-z+/]{28,72}={0,2})")
_SHA1 = 20  # bytes
_SALT = range(4, 33)


class HtpasswdError(Exception):
    """A file of passwords that cannot be used. The message says why, and quotes nothing of the file."""


def parse_htpasswd(value: bytes) -> bytes:
    """Read a whole file of passwords, and give its lines. HtpasswdError if a single one cannot be used."""
    if len(value) > LONGEST_HTPASSWD:
        raise HtpasswdError(f"is longer than {LONGEST_HTPASSWD} bytes")
    lines = split_lines(value)
    if len(lines) > MOST_USERS:
        raise HtpasswdError(f"has more than {MOST_USERS} lines")
    bad = next((number for number, line in enumerate(lines, 1) if not is_user(line)), None)
    if bad or not lines:
        raise HtpasswdError(f"cannot be used because of line {bad}" if bad else "is empty")
    return b"".join(line + b"\n" for line in lines)


def split_lines(value: bytes) -> list[bytes]:
    """Split a file into lines. The last one may have a line break or not."""
    return value.removesuffix(b"\n").split(b"\n") if value else []


def is_htpasswd(value: bytes) -> bool:
    """Tell whether a text is a file of passwords, good or bad: at least one of the first lines is a user."""
    return any(map(is_user, split_lines(value)[:MOST_USERS]))


def is_user(line: bytes) -> bool:
    """Tell whether a line is a user with a password of a known kind."""
    salted = _SSHA.fullmatch(line)
    if not salted:
        return bool(_APR1.fullmatch(line))
    try:
        return len(b64decode(salted[1], validate=True)) - _SHA1 in _SALT
    except ValueError:
        return False
