"""The pure stages between a Snapshot and Files, under one set of settings."""

from dataclasses import replace as replace_settings

from msgspec.structs import replace

from reconciler.objects.snapshot import Namespace, Snapshot
from reconciler.rendering.structure import find_touched, has_same_structure
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
        self._without_lua = TreeRenderer(replace_settings(settings, lua=None))
        self._reloading = (0.0, 0.0)  # from when until when, in seconds since the epoch
        self._reloads = settings.lua is None
        self._why = ""

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

    def use_reloads(self, now: float, seconds: float, why: str) -> None:
        """Render trees whose Pods need a reload for some seconds from `now`, in seconds since the epoch."""
        self._reloading = (now, now + seconds)
        self._reloads = True
        self._why = why

    def take_refusal(self) -> str:
        """Give why reloads are used in place of Lua, once each time that this begins; else an empty text."""
        why, self._why = self._why, ""
        return why

    @property
    def uses_lua(self) -> bool:
        """Whether the trees that are rendered now let Pods come and go without a reload."""
        return not self._reloads

    def use_lua(self) -> None:
        """Render trees whose Pods come and go without a reload again."""
        self._reloading = (0.0, 0.0)
        self._reloads = self.settings.lua is None
        self._why = ""

    def begin(self, now: float) -> None:
        """Begin a cycle; `now` is in seconds since the epoch. If the clock was set back, the wait is over."""
        since, until = self._reloading
        self._reloads = self.settings.lua is None or since <= now < until

    def has_same_structure(self, old: Routes, new: Routes) -> bool:
        """Tell whether only Pods differ that come and go without a reload."""
        return not self._reloads and has_same_structure(old, new)

    def find_touched(self, old: RoutingTable, new: RoutingTable) -> frozenset[str] | None:
        """Name the Namespaces because of which a reload is needed; None stands for all that changed."""
        return None if self._reloads else find_touched(old, new)

    def render(self, routes: Routes) -> Files:
        """Render the tree of a table's routes."""
        return (self._without_lua if self._reloads else self._trees).render(routes)

    def render_endpoints(self, routes: Routes, files: Files) -> Files:
        """Render the tree of routes that have the structure of those whose tree is `files`."""
        return self._trees.render_endpoints(routes, files)
