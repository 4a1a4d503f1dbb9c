"""What lets a thousand simulated routers fit on a small machine: a lighter HTTP client, and shards decoded once.

What a router asks, decides and verifies is the daemon's own code. What its own client and decoding cost is measured for
one router alone (test_scale_model.py).
"""

import http.client
import json
import ssl
from collections.abc import Mapping
from http import HTTPStatus
from pathlib import Path
from typing import Any

import yaml

from reconciler.cluster.fallback import PublishedOnly
from reconciler.cluster.lease import Confirmation
from reconciler.cluster.published_objects import PublishedObjects
from reconciler.cluster.published_source import PublishedSource
from reconciler.cluster.stored import Store, StoreError
from reconciler.objects.snapshot_reader import SnapshotReader
from reconciler.settings import Settings


class LeanStore(Store):
    """Sends a router's requests over one kept TLS connection; it sends nothing twice and has no deadline."""

    def __init__(self, config: Mapping[str, Any], namespace: str) -> None:
        cluster, user = config["clusters"][0]["cluster"], config["users"][0]["user"]
        host, _, port = cluster["server"].removeprefix("https://").partition(":")
        context = ssl.create_default_context(cafile=cluster["certificate-authority"])
        self.namespace = namespace
        self._http = http.client.HTTPSConnection(host, int(port), context=context, timeout=60)
        self._headers = {"Authorization": f"Bearer {Path(user['tokenFile']).read_text()}", "Accept": "application/json"}

    def _ask(self, request: Any) -> bytes | None:
        base = "/api/v1" if request.kind.version == "v1" else f"/apis/{request.kind.version}"
        query = "?resourceVersion=0" if request.params else ""
        path = f"{base}/namespaces/{self.namespace}/{request.url}{query}"
        self._http.request(request.method, path, headers=self._headers)
        answer = self._http.getresponse()
        body = answer.read()
        if answer.status == HTTPStatus.OK:
            return body
        if answer.status in request.nothing:
            return None
        raise StoreError(f"{answer.status}: {json.loads(body)['message']}")


class SharingReader(SnapshotReader):
    """A reader that takes what another one of this process has decoded and verified of the same bytes."""

    _known: dict[bytes, Any] = {}

    def add(self, name: str, packed: bytes) -> None:
        """Remember a shard."""
        if packed not in self._known:
            super().add(name, packed)
            while len(self._known) > 16:
                self._known.pop(next(iter(self._known)))
            self._known[packed] = name, self._shards[name]
        known, items = self._known[packed]
        assert known == name, "a shard is not what its name says"
        self._shards[name] = items


def make_lean_source(config: str, settings: Settings) -> PublishedOnly:
    """Make the source of a router that reads what is published."""
    store = LeanStore(yaml.safe_load(Path(config).read_text()), settings.published_namespace)
    published = PublishedSource(PublishedObjects(store), Confirmation(store), settings, lambda _: None)
    published._reader = SharingReader()
    return PublishedOnly(published)
