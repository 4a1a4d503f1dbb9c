"""Objects that this program itself keeps in one Namespace: one request each, with what its answer means."""

from collections.abc import Mapping
from http import HTTPStatus
from typing import Any, TypeVar

import msgspec
import requests

from reconciler.cluster.answers import FAILURES, StatusError, send_with_newest
from reconciler.cluster.connection import Connection
from reconciler.cluster.credentials import CredentialsError
from reconciler.loop.events import Answered
from reconciler.loop.ports import Tell
from reconciler.values.messages import excerpt, find_reason
from reconciler.values.value import Value

# Bytes of an answer: a Secret has at most 1 MiB of data, which are 1.4 MB of base64. A List of names has the metadata
# of thousands of Secrets.
_LARGEST, _LARGEST_LIST = 1 << 21, 1 << 24
_HURRY = 3.0
_MERGE = "application/merge-patch+json"
_NAMES = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1"
# What RBAC says. A quota or a policy refuses with 403 too.
_NO_RIGHT = 'cannot {verb} resource "{resource}"'
_VERBS = {"GET": "get", "POST": "create", "PUT": "update", "PATCH": "patch", "DELETE": "delete"}

_CACHED = (("resourceVersion", "0"),)
_OVER = (HTTPStatus.CONFLICT, HTTPStatus.NOT_FOUND)

Item = TypeVar("Item")


class Kind(Value, frozen=True):
    """A kind of object, its resource and the version of its API."""

    name: str
    resource: str
    version: str = "v1"


class StoreError(Exception):
    """A request failed. The message is one line, without secrets; `busy` and `retry_after` are those of SourceError."""

    def __init__(self, text: str, *, busy: bool = False, retry_after: float = 0.0) -> None:
        super().__init__(text)
        self.busy = busy
        self.retry_after = retry_after


class Metadata(Value, frozen=True, rename="camel"):
    """The metadata that is read of an object."""

    name: str
    resource_version: str


class Named(Value, frozen=True):
    """An object of which only the metadata is read."""

    metadata: Metadata


class _Request(Value, frozen=True):
    """A request. Answers with a status in `nothing` are no failure, but have nothing to read."""

    method: str
    kind: Kind
    name: str
    body: bytes = b""
    params: tuple[tuple[str, str], ...] = ()
    nothing: tuple[HTTPStatus, ...] = ()

    @property
    def verb(self) -> str:
        """The verb that RBAC has for it."""
        return _VERBS[self.method] if self.name else "list"

    @property
    def url(self) -> str:
        """The last parts of its path."""
        resource = self.kind.resource
        return resource if self.method == "POST" or not self.name else f"{resource}/{self.name}"

    @property
    def headers(self) -> dict[str, str]:
        """Its headers, beside those that all requests have."""
        headers = {"Content-Type": _MERGE if self.method == "PATCH" else "application/json"} if self.body else {}
        return headers if self.name else {**headers, "Accept": _NAMES}


class _List(Value, frozen=True):
    items: tuple[Named, ...]


class Store:
    """Reads and writes objects of one Namespace, each within `timeout` seconds. `tell` hears of each answer."""

    def __init__(self, connection: Connection, namespace: str, timeout: float, tell: Tell = lambda _: None) -> None:
        self.namespace = namespace
        self._connection = connection
        self._timeout = timeout
        self.tell = tell

    def hurry(self) -> None:
        """Give each further request only a few seconds: the process ends."""
        self._timeout = min(self._timeout, _HURRY)

    def get(self, kind: Kind, name: str, read_as: type[Item], *, cached: bool = False) -> Item | None:
        """Get an object, from the API server's cache if `cached`; None if it does not exist."""
        params = _CACHED if cached else ()
        body = self._ask(_Request("GET", kind, name, params=params, nothing=(HTTPStatus.NOT_FOUND,)))
        return None if body is None else self._read(body, read_as, kind, name)

    def create(self, kind: Kind, name: str, content: Mapping[str, Any]) -> Named | None:
        """Create an object; None if one of this name exists."""
        whole = self._write(kind, name, content)
        body = self._ask(_Request("POST", kind, name, whole, nothing=(HTTPStatus.CONFLICT,)))
        return None if body is None else self._read(body, Named, kind, name)

    def replace(self, kind: Kind, name: str, version: str, content: Mapping[str, Any]) -> Named | None:
        """Replace an object that has this resourceVersion; None if it has another one, or is gone."""
        whole = self._write(kind, name, content, version)
        body = self._ask(_Request("PUT", kind, name, whole, nothing=_OVER))
        return None if body is None else self._read(body, Named, kind, name)

    def annotate(self, kind: Kind, name: str, annotations: Mapping[str, str]) -> Named | None:
        """Write annotations of an object, also of an immutable one; None if it does not exist."""
        change = msgspec.json.encode({"metadata": {"annotations": annotations}})
        body = self._ask(_Request("PATCH", kind, name, change, nothing=(HTTPStatus.NOT_FOUND,)))
        return None if body is None else self._read(body, Named, kind, name)

    def delete(self, kind: Kind, name: str, version: str) -> None:
        """Delete an object, unless it has another resourceVersion by now, if one is given, or is gone."""
        options: dict[str, Any] = {"apiVersion": "v1", "kind": "DeleteOptions"}
        options |= {"preconditions": {"resourceVersion": version}} if version else {}
        self._ask(_Request("DELETE", kind, name, msgspec.json.encode(options), nothing=_OVER))

    def list_names(self, kind: Kind, selector: str) -> dict[str, str]:
        """List the names of the objects that a label selector finds in the API server's cache, with their versions."""
        body = self._ask(_Request("GET", kind, "", params=(("labelSelector", selector), *_CACHED)))
        listed = self._read(body or b"", _List, kind, "")
        return {item.metadata.name: item.metadata.resource_version for item in listed.items}

    def _write(self, kind: Kind, name: str, content: Mapping[str, Any], version: str = "") -> bytes:
        metadata = {"name": name, "namespace": self.namespace} | content.get("metadata", {})
        metadata |= {"resourceVersion": version} if version else {}
        return msgspec.json.encode({"apiVersion": kind.version, "kind": kind.name, **content, "metadata": metadata})

    def _ask(self, request: _Request) -> bytes | None:
        """Send a request and give the body of its answer; None if its status is one of `nothing`."""
        what = f"{request.verb} {request.kind.name if request.name else request.kind.resource} {self.namespace}"
        what += f"/{request.name}" if request.name else ""
        try:
            with self._connection.deadline(self._timeout):
                self._connection.renew()
                return send_with_newest(self._connection, lambda: self._send(request))
        except StatusError as error:
            if error.status in request.nothing:
                return None
            raise self._explain(error, what, request) from None
        except TimeoutError:
            raise StoreError(f"{what}: no complete answer within {self._timeout} s") from None
        except CredentialsError as error:
            raise StoreError(f"{what}: {error}") from None
        except FAILURES as error:
            raise StoreError(f"{what}: {find_reason(error)}") from None

    def _send(self, request: _Request) -> bytes:
        """Send a request once, and read its answer as far as an answer may go."""
        response: requests.Response | None = None
        try:
            with self._connection.api.request(
                request.method, namespace=self.namespace, version=request.kind.version, url=request.url,
                data=request.body, params=dict(request.params), headers=request.headers, stream=True,
            ) as response:  # fmt: skip
                if response.status_code not in (HTTPStatus.OK, HTTPStatus.CREATED):
                    raise StatusError(response)
                return bytes(response.raw.read(_LARGEST if request.name else _LARGEST_LIST, decode_content=True))
        finally:
            code, received = (response.status_code, response.raw.tell()) if response is not None else (0, 0)
            self.tell(Answered(request.kind.resource, code, received))

    def _read(self, body: bytes, read_as: type[Item], kind: Kind, name: str) -> Item:
        try:
            return msgspec.json.decode(body, type=read_as)
        except (msgspec.MsgspecError, ValueError, RecursionError):
            what = f"{kind.name} {self.namespace}/{excerpt(name)[1:-1]}".rstrip("/")
            raise StoreError(f"{what}: the answer is cut off, or is not what was asked for") from None

    def _explain(self, error: StatusError, what: str, request: _Request) -> StoreError:
        """Explain an answer to the person who operates dispatcher."""
        text, kind, verb = f"{what}: {error.text}", request.kind, request.verb
        if error.status == HTTPStatus.UNAUTHORIZED:
            text += "; the API server does not accept our credentials"
        if (
            error.status == HTTPStatus.FORBIDDEN
            and _NO_RIGHT.format(verb=verb, resource=kind.resource) in error.message
        ):
            group = kind.version.rpartition("/")[0]
            rule = f'{{apiGroups: ["{group}"], resources: [{kind.resource}], verbs: [{verb}]}}'
            text += f"; a Role in Namespace {self.namespace} needs the rule {rule}"
        busy = error.status == HTTPStatus.TOO_MANY_REQUESTS or error.status >= HTTPStatus.INTERNAL_SERVER_ERROR
        return StoreError(text, busy=busy, retry_after=error.retry_after)
