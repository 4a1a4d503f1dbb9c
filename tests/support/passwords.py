"""Files of passwords, made as Apache's htpasswd makes them, and the headers with which clients send passwords."""

import base64

from passlib.apache import HtpasswdFile
from passlib.hash import ldap_salted_sha1

FIELD = "htpasswd"
# What an entry of paths says to be open only to who knows a password.
BY_PASSWORD = {"basicAuth": {"valueFrom": {"secretKeyRef": {"key": FIELD}}}}


def write_apr1(**users: str) -> bytes:
    """Write a file of users and their passwords, as `htpasswd -m` does."""
    file = HtpasswdFile(default_scheme="apr_md5_crypt")
    for user, password in users.items():
        file.set_password(user, password)
    return bytes(file.to_string())


def write_ssha(**users: str) -> bytes:
    """Write a file of users and their passwords, as LDAP servers hash them."""
    return "".join(f"{user}:{ldap_salted_sha1.hash(password)}\n" for user, password in users.items()).encode()


def basic(user: str, password: str) -> str:
    """Write the value of Authorization."""
    return f"Basic {base64.b64encode(f'{user}:{password}'.encode()).decode()}"
