"""Secret references: how an option names a field of its Namespace's routing Secret, and how the field is read."""

from reconciler.routing.annotations import Refused, parse_text
from reconciler.routing.keys.shapes import parse_object
from reconciler.routing.secret_fields import NOT_THERE, SecretFields
from reconciler.values.certificates import CertificateError, Chain
from reconciler.values.patterns import DATA_KEY

REFERENCE = '{"valueFrom": {"secretKeyRef": {"key": K}}}'


def parse_reference(value: object, what: str) -> str:
    """Parse a reference to a field, and give the field's name."""
    for step in ("valueFrom", "secretKeyRef"):
        value = parse_object(value, what, {step: lambda one, _: one})[step]
        what = f"{what}.{step}"
    return str(parse_object(value, what, {"key": _parse_field})["key"])


def _parse_field(value: object, what: str) -> str:
    return parse_text(value, what, DATA_KEY)


def require_secret(fields: SecretFields | None, what: str) -> SecretFields:
    """Give the fields of the routing Secret. Refused if there is no Secret."""
    if fields is None:
        raise Refused(what, NOT_THERE, "a routing Secret in the Namespace")
    return fields


def read_field(fields: SecretFields | None, field: str, what: str) -> bytes:
    """Read a field of a routing Secret. Refused if there is nothing in it, or no Secret."""
    value = require_secret(fields, what).get(field)
    if not value:
        raise Refused(what, f"refers to the field {field}, which is missing or empty", "a field of the routing Secret")
    return value


def read_chain(fields: SecretFields | None, field: str, what: str, expected: str) -> Chain:
    """Read certificates in a field of a routing Secret. Refused if they cannot be used."""
    pem = read_field(fields, field, what)
    try:
        return require_secret(fields, what).pems.parse_chain(pem)
    except CertificateError as error:
        raise Refused(what, f"refers to the field {field}, which {error}", expected) from None
