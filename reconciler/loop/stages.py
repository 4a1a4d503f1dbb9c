"""The pure stages between a Snapshot and Files, under one set of settings."""

from msgspec.structs import replace

from reconciler.objects.snapshot import Namespace, Snapshot
from reconciler.rendering.tree import TreeRenderer
from reconciler.routing.keeping import keep_last_good
from reconciler.routing.model import Routes, RoutingTable
from reconciler.routing.table import TableBuilder
from reconciler.settings import Settings
from reconciler.values.certificates import PemCache
from reconciler.values.files import Files


class Stages:
    """Builds tables and renders trees. It remembers its last results, so each loop needs an instance of its own."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self._pems = PemCache()
        self._tables = TableBuilder(settings, self._pems)
        self._trees = TreeRenderer(settings)

    def keep_last_good(self, served: Snapshot, snapshot: Snapshot, now: float) -> Snapshot:
        """Give a Snapshot as it is to be read, after `served` was; `now` is in seconds since the epoch."""
        if snapshot.settled:
            return snapshot
        before = {namespace.name: namespace for namespace in served.namespaces}
        namespaces = tuple(self._keep(before.get(one.name), one, now) for one in snapshot.namespaces)
        return replace(snapshot, namespaces=namespaces)

    def _keep(self, before: Namespace | None, after: Namespace, now: float) -> Namespace:
        if before == after:
            return after
        return keep_last_good(before, after, self.settings, self._pems, now)

    def build_table(self, snapshot: Snapshot, now: float) -> RoutingTable:
        """Build the routing table of a Snapshot; `now` is in seconds since the epoch."""
        return self._tables.build(snapshot, now)

    def render(self, routes: Routes) -> Files:
        """Render the tree of a table's routes."""
        return self._trees.render(routes)
