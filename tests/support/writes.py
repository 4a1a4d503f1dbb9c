"""How a test API server reads a request that writes, and hands it to what knows the kind."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from aiohttp import web
from support.answers import BODY_TOO_LARGE, NOT_ALLOWED, Answer, Refused
from support.event_store import create_event, patch_event
from support.lease_store import LEASES
from support.object_writer import ObjectWriter
from support.request_path import Target
from support.secret_store import SECRETS
from support.store import Store

_RULES = {rules.kind.name: rules for rules in (SECRETS, LEASES)}


@dataclass(frozen=True)
class Write:
    """A request that creates, changes or deletes an object; `form` is the type of its body."""

    method: str
    target: Target
    agent: str
    form: str
    body: bytes = field(repr=False)


async def read_write(request: web.Request, target: Target) -> Write:
    """Read a request with its body, or refuse a body that is too large."""
    try:
        body = await request.read()
    except web.HTTPRequestEntityTooLarge:
        raise Refused(BODY_TOO_LARGE) from None
    return Write(request.method, target, request.headers.get("User-Agent", ""), request.content_type, body)


def answer_write(store: Store, write: Write, quota: Mapping[str, int]) -> Answer:
    """Change the store, and answer. `quota` limits the number of Secrets of Namespaces."""
    kind, namespace = write.target.kind, write.target.namespace
    if kind.name == "Event":
        return _write_event(store, write)
    if kind.name not in _RULES or not namespace:
        raise Refused(NOT_ALLOWED)
    limit = quota.get(namespace) if kind.name == "Secret" else None
    writer = ObjectWriter(store, _RULES[kind.name], namespace, write.agent, limit)
    return writer.answer(write.method, write.target.name, write.body, write.form)


def _write_event(store: Store, write: Write) -> Answer:
    namespace, name = write.target.namespace, write.target.name
    if write.method == "POST" and not name:
        return create_event(store, namespace, write.body, write.agent)
    if write.method == "PATCH" and name:
        return patch_event(store, namespace, name, write.body)
    raise Refused(NOT_ALLOWED)
