"""What a test API server accepts as a Secret."""

import base64

from support.answers import bad_request, invalid
from support.object_writer import Rules
from support.objects import Object
from support.store import KINDS

LARGEST = 1 << 20  # bytes of data in all

_IMMUTABLE = "Forbidden: field is immutable when `immutable` is set"


def _complete(given: Object) -> Object:
    """Give a Secret's own fields; `stringData` becomes `data`, and what is empty is left out."""
    plain = {name: base64.b64encode(text.encode()).decode() for name, text in (given.get("stringData") or {}).items()}
    data = dict(sorted({**(given.get("data") or {}), **plain}.items()))
    _measure(data)
    immutable = {} if given.get("immutable") is None else {"immutable": given["immutable"]}
    return immutable | ({"data": data} if data else {}) | {"type": given.get("type") or "Opaque"}


def _measure(data: Object) -> int:
    """Count the bytes of data, or refuse what is not base64."""
    try:
        return sum(len(base64.b64decode(each, validate=True)) for each in data.values())
    except (TypeError, ValueError):
        problem = "illegal base64 data at input byte 0"
        raise bad_request(f'Secret in version "v1" cannot be handled as a Secret: {problem}') from None


def _check(made: Object, former: Object) -> None:
    name = made["metadata"]["name"]
    if made["type"] != former.get("type", made["type"]):
        raise invalid("Secret", name, "type", f'Invalid value: "{made["type"]}": field is immutable')
    if former.get("immutable"):
        for field in ("immutable", "data"):
            if made.get(field) != former.get(field):
                raise invalid("Secret", name, field, _IMMUTABLE, "FieldValueForbidden")
    if _measure(made.get("data", {})) > LARGEST:
        problem = f"Too long: may not be more than {LARGEST} bytes"
        raise invalid("Secret", name, "data", problem, "FieldValueTooLong")


SECRETS = Rules(KINDS["secrets"], _complete, _check)
