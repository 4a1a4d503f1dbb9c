"""References: which fields of its routing Secret a Namespace can need. No router is given the others."""

import json
import re
from collections.abc import Iterable, Iterator
from contextlib import suppress

from msgspec.structs import replace

from reconciler.objects.snapshot import Namespace
from reconciler.routing.api_keys import is_key_field

# A string of JSON. All of them count, wherever they stand, so that no rule of an option is needed here. One that does
# not end is found too, up to the end of the text: else each quote in it would be tried as a beginning.
_STRING = re.compile(r'"(?:[^"\\]|\\.)*+(?:"|\\?\Z)', re.DOTALL)


def keep_referenced(namespace: Namespace, key_field: str) -> Namespace:
    """Give a Namespace with those fields of its Secret that are API keys, or that an annotation names."""
    secret = namespace.secret
    others = {name for name, _ in secret.data if not is_key_field(name, key_field)} if secret else set()
    if not secret or not others:
        return namespace
    unused = others.difference(_list_strings(namespace))
    if not unused:
        return namespace
    data = tuple((name, value) for name, value in secret.data if name not in unused)
    return replace(namespace, secret=replace(secret, data=data))


def _list_strings(namespace: Namespace) -> Iterator[str]:
    texts: Iterable[str] = {namespace.hosts or "", *(pod.paths for pod in namespace.pods)}
    for text in texts:
        for found in _STRING.finditer(text):
            with suppress(ValueError):
                yield json.loads(found[0], strict=False)
