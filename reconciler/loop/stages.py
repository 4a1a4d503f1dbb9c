"""The pure stages between a Snapshot and Files, under one set of settings."""

from reconciler.objects.snapshot import Snapshot
from reconciler.rendering.tree import TreeRenderer
from reconciler.routing.model import Routes, RoutingTable
from reconciler.routing.table import TableBuilder
from reconciler.settings import Settings
from reconciler.values.files import Files


class Stages:
    """Builds tables and renders trees. It remembers its last results, so each loop needs an instance of its own."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self._tables = TableBuilder(settings)
        self._trees = TreeRenderer(settings)

    def build_table(self, snapshot: Snapshot, now: float) -> RoutingTable:
        """Build the routing table of a Snapshot; `now` is in seconds since the epoch."""
        return self._tables.build(snapshot, now)

    def render(self, routes: Routes) -> Files:
        """Render the tree of a table's routes."""
        return self._trees.render(routes)
