"""loadBalancing: how nginx chooses among the Pods of a path."""

from typing import Any

from reconciler.routing.keys.key import Key, Kind
from reconciler.routing.keys.shapes import choice
from reconciler.settings import Settings
from reconciler.values.value import Value

_DEFAULT = "round_robin"


class LoadBalancing(Value, frozen=True):
    """A method of nginx other than its own choice."""

    method: str

    def __str__(self) -> str:
        return self.method


def _parse(value: Any, what: str, _: Settings) -> LoadBalancing | None:
    method = choice(_DEFAULT, "least_conn")(value, what)
    return None if method == _DEFAULT else LoadBalancing(method)


KEY = Key(
    name="loadBalancing",
    kind=Kind.FUNCTION,
    needs_upstream=lambda _: True,
    parse=_parse,
    shape=f'"{_DEFAULT}" or "least_conn"',
    default=_DEFAULT,
    does="least_conn sends a request to the Pod with the fewest requests under way, for its weight. It has no effect "
    "beside sessionPersistence or share.",
)
