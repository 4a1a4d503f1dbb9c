"""The objects of one kind, as an API server lists them; they are read again only if the collection has changed."""

from collections.abc import Mapping
from http import HTTPStatus
from typing import Any, Generic

import pykube
import requests
from pykube.query import Query

from reconciler.cluster.answers import FAILURES, PROTOBUF, StatusError, is_protobuf, send_with_newest
from reconciler.cluster.bodies import read_pieces
from reconciler.cluster.connection import Connection
from reconciler.cluster.pages import Item, Page, PageError, Pages
from reconciler.cluster.protobuf_pages import ProtobufPages
from reconciler.loop.events import Answered
from reconciler.loop.ports import SourceError, Tell
from reconciler.values.messages import find_reason

_Known = Mapping[tuple[str | None, str], Item]
_MOST_PAGES = 10_000
# No object has this name, phase or type. A filter for it gives an empty List with the version of the whole collection.
_NOBODY = "-"
# A List in one Namespace has the version of all Namespaces' objects too. For a name in it the API server looks for one
# object; for a name in all Namespaces it would walk through its whole cache, on behalf of each node.
_ANY_NAMESPACE = "default"
# Protobuf costs the API server half of the time that JSON does. Compressed by gzip, which it does for large answers, it
# costs no more, and has a twentieth of the bytes.
_ACCEPTED = {"Accept": f"{PROTOBUF}, application/json", "Accept-Encoding": "gzip"}


class ClusterError(SourceError):
    """The cluster could not be read."""


class ForbiddenError(ClusterError):
    """The API server does not let us list a kind: `what` it is, what the server says, and the `rule` that is needed."""

    def __init__(self, what: str, said: str, rule: str) -> None:
        super().__init__(f"list {what}: {said}; a ClusterRole needs the rule {rule}")
        self.what = what
        self.said = said
        self.rule = rule


def join_forbidden(errors: list[ForbiddenError]) -> ClusterError:
    """Make one error of several: everything that is missing, once, and what the server said first."""
    what, rules = (list(dict.fromkeys(getattr(error, name) for error in errors)) for name in ("what", "rule"))
    if len(rules) == 1:
        return errors[0]
    return ClusterError(f"list {', '.join(what)}: {errors[0].said}; a ClusterRole needs the rules {', '.join(rules)}")


class Collection(Generic[Item]):
    """The objects of one kind that `filters` select, in one Namespace or in all of them."""

    def __init__(
        self, connection: Connection, timeout: float, tell: Tell, kind: type[Item], filters: Mapping[str, Any]
    ) -> None:
        self.complaints: tuple[str, ...] = ()
        self._connection = connection
        self._timeout = timeout
        self._tell = tell
        self._kind: type[Item] = kind
        self._filters = filters
        self._pages = Pages(kind)
        self._protobuf_pages = ProtobufPages(kind)
        self._known = ""  # while the API server's cache has this version, `_items` are up to date
        self._newest = ""
        self._items: tuple[Item, ...] = ()

    @property
    def _name(self) -> str:
        return f"{self._kind.__name__.lower()}s"

    def read(self, consistently: bool) -> tuple[Item, ...]:
        """List the objects, or give the last tuple again if the API server's cache has not changed.

        `consistently`: list the current state in any case, and not the API server's cache. ClusterError if the objects
        cannot be listed completely.
        """
        try:
            cached = self._ask_version() if self._known or consistently else ""
            if consistently:
                self._read_consistently(cached)
            elif not cached or cached != self._known:
                self._read_cache(cached)
        except StatusError as error:
            raise self._explain(error) from None
        return self._items

    def _read_cache(self, cached: str) -> None:
        """List from the API server's cache, but accept no version that is older than the newest List so far."""
        newer = {"resourceVersion": self._newest, "resourceVersionMatch": "NotOlderThan"}
        try:
            self._known = self._read_all(newer if self._newest else {"resourceVersion": "0"})
        except StatusError as error:
            if error.status != HTTPStatus.GATEWAY_TIMEOUT:
                raise
            # The cache of this API server is still older than a List from another API server.
            self._read_consistently(cached)

    def _read_consistently(self, cached: str) -> None:
        """List the current state.

        The cache had the version `cached` before that. While it keeps this version, it holds nothing newer.
        """
        self._read_all({})
        self._known = cached

    def _ask_version(self) -> str:
        """Read the version of the whole collection from an empty List of the API server's cache."""
        fields = self._filters.get("field_selector")
        # dispatcher may list Secrets only by their name, so the name stays; a second field makes the List empty.
        other = "type" if self._kind.__name__ == "Secret" else "status.phase"
        nothing = f"{fields},{other}={_NOBODY}" if fields else f"metadata.name={_NOBODY}"
        where = _ANY_NAMESPACE if self._filters.get("namespace") is pykube.all else self._filters.get("namespace")
        page = self._get({"field_selector": nothing, "namespace": where}, {"resourceVersion": "0"}, {})
        return page.metadata.resource_version

    def _read_all(self, params: dict[str, str]) -> str:
        """Read all pages, and give their version. Nothing is kept before the last page has arrived."""
        items: list[Item] = []
        complaints: list[str] = []
        known = {(item.metadata.namespace, item.metadata.name): item for item in self._items}
        self._protobuf_pages.begin()
        for _ in range(_MOST_PAGES):
            page = self._get(self._filters, params, known)
            items += page.items
            complaints += page.complaints
            if not page.metadata.continue_:
                self._protobuf_pages.end()
                self._newest, self._items = page.metadata.resource_version, tuple(items)
                self.complaints = tuple(f"list {self._name}: {complaint}" for complaint in complaints)
                return self._newest
            params = {"continue": page.metadata.continue_}
        raise ClusterError(f"list {self._name}: more than {_MOST_PAGES} pages")

    def _get(self, filters: Mapping[str, Any], params: dict[str, str], known: _Known[Item]) -> Page[Item]:
        return send_with_newest(self._connection, lambda: self._request(filters, params, known))

    def _request(self, filters: Mapping[str, Any], params: dict[str, str], known: _Known[Item]) -> Page[Item]:
        """Send one request and read its whole answer within the deadline."""
        query = Query(self._connection.api, getattr(pykube, self._kind.__name__)).filter(**filters)
        response: requests.Response | None = None
        try:
            with self._connection.deadline(self._timeout), _execute(query, params) as response:
                if response.status_code != HTTPStatus.OK:
                    raise StatusError(response)
                pages = self._protobuf_pages if is_protobuf(response) else self._pages
                return pages.read(read_pieces(response.raw), known)
        except PageError as error:
            raise ClusterError(f"list {self._name}: {error}") from None
        except TimeoutError:
            raise ClusterError(f"list {self._name}: no complete answer within {self._timeout} s") from None
        except FAILURES as error:
            raise ClusterError(f"list {self._name}: {find_reason(error)}") from None
        finally:
            code, received = (response.status_code, response.raw.tell()) if response is not None else (0, 0)
            self._tell(Answered(self._name, code, received))

    def _explain(self, error: StatusError) -> ClusterError:
        """Explain an error response to the person who operates dispatcher."""
        text = f"list {self._name}: {error.text}"
        if error.status == HTTPStatus.UNAUTHORIZED:
            text += "; the API server does not accept our credentials"
        if error.status == HTTPStatus.FORBIDDEN:
            names = (self._filters.get("field_selector") or "").removeprefix("metadata.name=")
            only = f", resourceNames: [{names}]" if names else ""
            rule = f'{{apiGroups: [""], resources: [{self._name}]{only}, verbs: [list]}}'
            return ForbiddenError(self._name, error.text, rule)
        busy = error.status == HTTPStatus.TOO_MANY_REQUESTS or error.status >= HTTPStatus.INTERNAL_SERVER_ERROR
        return ClusterError(text, busy=busy, retry_after=error.retry_after)


def _execute(query: Query, params: dict[str, str]) -> requests.Response:
    try:
        response: requests.Response = query.execute(params=params, stream=True, headers=_ACCEPTED)
    except requests.HTTPError as error:
        response = error.response
    return response
