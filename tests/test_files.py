"""Release names: the same for the same files, and useless for testing guessed keys."""

from hashlib import blake2b

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconciler.values.files import SECRET, File, name_release

SALT, OTHER_SALT = b"0" * 16, b"1" * 16
FILES = {"nginx.conf": File(b"events {}\n"), "a/certificate.crt": File(b"public")}
SECRETS = {**FILES, "a/certificate.key": File(b"private", SECRET)}


def test_name_is_32_hexadecimal_digits():
    """A release's name is 32 hexadecimal digits."""
    name = name_release(SECRETS, SALT)
    assert len(name) == 32
    assert set(name) <= set("0123456789abcdef")


@given(st.permutations(list(SECRETS)))
def test_order_does_not_show(paths):
    """The same files have the same name, whatever order they came in."""
    assert name_release({path: SECRETS[path] for path in paths}, SALT) == name_release(SECRETS, SALT)


@given(st.binary(min_size=16, max_size=64))
def test_salt_does_not_show_without_secrets(salt):
    """A tree without secrets has the same name everywhere."""
    assert name_release(FILES, salt) == name_release(FILES, SALT)


def test_salt_shows_with_secrets():
    """With another salt, a tree with secrets has another name, so that nobody can test guessed keys with it."""
    assert name_release(SECRETS, SALT) != name_release(SECRETS, OTHER_SALT)


@pytest.mark.parametrize(
    "changed",
    [
        {},
        {"nginx.conf": File(b"events {}\n")},
        {**SECRETS, "nginx.conf": File(b"events {}")},
        {**SECRETS, "nginx.conf": File(b"events {}\n", SECRET)},
        {**SECRETS, "nginx.conf": File(b"")},
        {**SECRETS, "a/certificate.key": File(b"Private", SECRET)},
        {**SECRETS, "a/certificate.key": File(b"", SECRET)},
        {**SECRETS, "a/certificate.key": File(b"private")},
        {**SECRETS, "a/certificate.crt": File(b"private"), "a/certificate.key": File(b"public", SECRET)},
        {**FILES, "b/certificate.key": File(b"private", SECRET)},
        {**SECRETS, "empty": File(b"")},
        {**SECRETS, "empty": File(b"", SECRET)},
    ],
)
def test_any_change_shows(changed):
    """Another path, mode or content, an added file or a missing file gives another name."""
    assert name_release(changed, SALT) != name_release(SECRETS, SALT)


@pytest.mark.parametrize("between", ["", "1 "])
def test_one_file_cannot_pass_for_two(between):
    """One file does not get the name of two files, even if its path imitates the lines that are hashed."""
    first = blake2b(b"1", digest_size=32).hexdigest()
    forged = {f"a 644 {first}\n{between}b": File(b"2")}
    assert name_release(forged, SALT) != name_release({"a": File(b"1"), "b": File(b"2")}, SALT)


def test_a_file_shows_no_content():
    """The repr of a file shows its size and mode, and nothing of its content."""
    assert repr(File(b"private", SECRET)) == "File(7 bytes, 600)"


def test_default_mode():
    """A file is readable by everyone unless it is a secret."""
    assert File(b"").mode == 0o644
