"""What is published in a cluster: the pointer and the shards, each a Secret, because they carry the tenants' keys."""

import base64
import binascii
import secrets
from hashlib import blake2b
from typing import Any

from reconciler.cluster.stored import Kind, Metadata, Store
from reconciler.objects.published import PublishedError
from reconciler.settings import VARIABLES, Settings
from reconciler.values.messages import excerpt
from reconciler.values.value import Value

SECRETS = Kind("Secret", "secrets")
POINTER = "snapshot"
# https://kubernetes.io/docs/concepts/overview/working-with-objects/common-labels/
_LABELS = {"app.kubernetes.io/name": "dispatcher", "app.kubernetes.io/component": "snapshot"}
_SELECTOR = ",".join(f"{name}={value}" for name, value in _LABELS.items())
_SHARD_PREFIX = "snapshot-"
_USED = "dispatcher/used-again"
# Seconds between two looks of a publisher at what is stored. Routers wait for twice as long before they believe it.
INSPECTION = 30.0
# The settings that decide what is listed, what the normaliser reads of it, and which API keys are lost.
_READING = (
    "api_key_secret_name", "api_key_secret_field", "selector", "hosts_annotation", "paths_annotation", "org_label",
    "env_label", "app_name_label", "app_rev_label", "health_checks", "ignore_pod_readiness", "watch_namespaces",
)  # fmt: skip
_LONGEST_TEXT = 300


class Held(Value, frozen=True):
    """The content of a Secret and its resourceVersion."""

    version: str
    content: bytes


class _Secret(Value, frozen=True):
    metadata: Metadata
    data: dict[str, str] = {}


def tell_reading(settings: Settings) -> tuple[tuple[str, str], ...]:
    """Give the names and texts of the settings that decide what a Snapshot holds, if they are not the defaults.

    Long texts are digests.
    """
    texts = {VARIABLES[name].names[0]: _tell(getattr(settings, name)) for name in _READING}
    return tuple(sorted((name, text) for name, text in texts.items() if text != _DEFAULTS[name]))


def check_reading(published: tuple[tuple[str, str], ...], settings: Settings) -> None:
    """Check that what was published was read with settings like these. PublishedError names one that differs."""
    known, ours = dict(published), dict(tell_reading(settings))
    for name in sorted(known.keys() | ours.keys()):
        if known.get(name) != ours.get(name):
            default = _DEFAULTS.get(name, "")
            theirs, own = (excerpt(some.get(name, default), _LONGEST_TEXT) for some in (known, ours))
            raise PublishedError(f"it was read with {excerpt(name)[1:-1]}={theirs}, and this router has {own}")


def _tell(value: object) -> str:
    text = ",".join(value) if isinstance(value, tuple) else str(value)
    return text if len(text) <= _LONGEST_TEXT else blake2b(text.encode(), digest_size=16).hexdigest()


_DEFAULTS = {VARIABLES[name].names[0]: _tell(VARIABLES[name].parse(VARIABLES[name].default)) for name in _READING}


class PublishedObjects:
    """The Secrets of one publication. Each method is one request.

    StoreError if it fails; PublishedError if what it gets cannot be what a publisher wrote.
    """

    def __init__(self, store: Store) -> None:
        self.store = store

    def get_pointer(self, *, cached: bool) -> Held | None:
        """Get the pointer as it is written, from the API server's cache if `cached`; None if nothing is published."""
        return self._get(POINTER, "pointer", cached)

    def get_shard(self, name: str, *, cached: bool) -> bytes | None:
        """Get a packed shard; None if it is not there."""
        held = self._get(_SHARD_PREFIX + name, "shard", cached)
        return held.content if held else None

    def create_shard(self, name: str, packed: bytes) -> bool:
        """Store a packed shard for good; False if there is one of this name."""
        content = _write("dispatcher/shard", "shard", packed) | {"immutable": True}
        return self.store.create(SECRETS, _SHARD_PREFIX + name, content) is not None

    def use_shard_again(self, name: str) -> bool:
        """Mark a shard as used again, so that a publisher who has not heard of it cannot delete it; False if gone.

        The mark is another one each time: a patch that changes nothing leaves the resourceVersion as it is.
        """
        return self.store.annotate(SECRETS, _SHARD_PREFIX + name, {_USED: secrets.token_hex(8)}) is not None

    def write_pointer(self, content: bytes, version: str) -> str | None:
        """Write the pointer in place of the one with this version, or as the first one if the version is empty.

        Give the new version; None if somebody else has written it since.
        """
        whole = _write("dispatcher/snapshot", "pointer", content)
        if version:
            written = self.store.replace(SECRETS, POINTER, version, whole)
        else:
            written = self.store.create(SECRETS, POINTER, whole)
        return written.metadata.resource_version if written else None

    def list_shards(self) -> dict[str, str]:
        """List the names of the shards that an API server's cache has, with their versions."""
        listed = self.store.list_names(SECRETS, _SELECTOR)
        return {
            name.removeprefix(_SHARD_PREFIX): version
            for name, version in listed.items()
            if name.startswith(_SHARD_PREFIX)
        }

    def delete_shard(self, name: str, version: str) -> None:
        """Delete a shard, unless it was used again since it had this version."""
        self.store.delete(SECRETS, _SHARD_PREFIX + name, version)

    def _get(self, name: str, field: str, cached: bool) -> Held | None:
        secret = self.store.get(SECRETS, name, _Secret, cached=cached)
        if secret is None:
            return None
        try:
            content = base64.b64decode(secret.data.get(field, ""), validate=True)
        except (binascii.Error, ValueError):
            raise PublishedError(f"Secret {self.store.namespace}/{name}: {field} is not base64") from None
        return Held(secret.metadata.resource_version, content)


def _write(kind: str, field: str, content: bytes) -> dict[str, Any]:
    return {"metadata": {"labels": _LABELS}, "type": kind, "data": {field: base64.b64encode(content).decode()}}
