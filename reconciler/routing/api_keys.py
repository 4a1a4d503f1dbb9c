"""API keys: the fields of a Namespace's routing Secret -> the header values that are valid in a request."""

import base64

from reconciler.objects.snapshot import Secret
from reconciler.routing.model import ApiKey
from reconciler.routing.problems import Problem, Reason
from reconciler.values.messages import excerpt

LONGEST_KEY = 2048
MOST_KEYS = 8  # several keys are valid only during a rotation


def is_key_field(field: str, key_field: str) -> bool:
    """Tell whether a Secret's field is for an API key: `key_field`, or `key_field` with a dot and any text after it."""
    return field == key_field or field.startswith(f"{key_field}.")


def read_api_key(secret: Secret | None, key_field: str, problems: list[Problem]) -> ApiKey | None:
    """Read the valid keys of a Namespace: one, or several during a rotation. The field `key_field` comes first."""
    fields = [(name, value) for name, value in secret.data if is_key_field(name, key_field)] if secret else []
    if not secret or not fields:
        return None
    usable = [(name, value) for name, value in fields if value and len(value) <= LONGEST_KEY]
    effect = "it is not valid" if usable else "all paths answer 403"
    for name, value in fields:
        shown = name if name == key_field else excerpt(name)
        if value is None or (name, value) not in usable:
            why = "is not base64" if value is None else "is too long" if value else "is empty"
            expected = f"1 to {LONGEST_KEY} bytes in base64"
            problems.append(Problem(secret.resource, f"field {shown}", f"{why}: {effect}", expected, Reason.API_KEY))
        elif value != value.strip():
            why = "begins or ends with a blank or a line break, which is a part of the key"
            expected = "a key without it, as printf %s makes it"
            problems.append(Problem(secret.resource, f"field {shown}", why, expected, Reason.API_KEY))
    if len(usable) > MOST_KEYS:
        why = f"are {len(usable)}; only the first {MOST_KEYS} by name are valid"
        problems.append(Problem(secret.resource, "API keys", why, f"at most {MOST_KEYS}", Reason.API_KEY))
    return ApiKey(tuple(dict.fromkeys(base64.b64encode(value).decode() for _, value in usable[:MOST_KEYS])))
