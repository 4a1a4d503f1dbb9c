"""access.basicAuth: only who knows a password may use a path."""

from collections.abc import Iterator
from hashlib import blake2b
from typing import Any

from msgspec.structs import replace

from reconciler.routing.annotations import Refused
from reconciler.routing.keys.key import Key, Kind
from reconciler.routing.keys.secret_references import REFERENCE, parse_reference, read_field, require_secret
from reconciler.routing.secret_fields import SecretFields
from reconciler.settings import Settings
from reconciler.values.files import PASSWORDS
from reconciler.values.htpasswd import ALLOWED, HtpasswdError, parse_htpasswd
from reconciler.values.value import Value


class BasicAuth(Value, frozen=True):
    """The field of the routing Secret with the passwords; later the passwords too, and the name of their file.

    The name says nothing about the passwords. So who sees it cannot try passwords against it, and workers of a former
    release read the present passwords.
    """

    field: str
    file: str = ""
    passwords: bytes = b""

    def __str__(self) -> str:
        return f"field {self.field}"

    def __repr__(self) -> str:
        return f"BasicAuth({self.field})"


def _parse(value: Any, what: str, _: Settings) -> BasicAuth:
    return BasicAuth(parse_reference(value, what))


def _resolve(value: BasicAuth, what: str, fields: SecretFields | None) -> BasicAuth:
    namespace = require_secret(fields, what).namespace
    try:
        passwords = parse_htpasswd(read_field(fields, value.field, what))
    except HtpasswdError as error:
        raise Refused(what, f"refers to the field {value.field}, which {error}", ALLOWED) from None
    digest = blake2b(f"{namespace} {value.field}".encode(), digest_size=16).hexdigest()
    return replace(value, file=f"{digest}.{namespace}", passwords=passwords)


def _list_files(value: BasicAuth) -> Iterator[tuple[str, bytes]]:
    yield f"{PASSWORDS}/{value.file}", value.passwords


KEY = Key(
    name="access.basicAuth",
    kind=Kind.PROTECTION,
    needs_pods=False,
    parse=_parse,
    resolve=_resolve,
    list_secret_files=_list_files,
    weight=3,  # the whole family of headers in a location takes three times what a bare one does
    shape=f"{REFERENCE}, where K is a field of the routing Secret with {ALLOWED}",
    default="no password",
    does="Only who knows a name and a password may use the path, all others get 401. The Pods do not get the password.",
)
