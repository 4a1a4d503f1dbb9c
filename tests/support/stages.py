"""The pure stages as functions that remember nothing, for tests that call each of them once."""

from reconciler.objects.listing import Listing
from reconciler.objects.normaliser import Normaliser
from reconciler.objects.snapshot import Snapshot
from reconciler.rendering.tree import TreeRenderer
from reconciler.routing.model import Routes, RoutingTable
from reconciler.routing.table import TableBuilder
from reconciler.settings import Settings
from reconciler.values.certificates import PemCache
from reconciler.values.files import Files


def normalise(listing: Listing, settings: Settings) -> Snapshot:
    return Normaliser(settings).normalise(listing)


def build_table(snapshot: Snapshot, settings: Settings, now: float) -> RoutingTable:
    return TableBuilder(settings, PemCache()).build(snapshot, now)


def render(routes: Routes, settings: Settings) -> Files:
    return TreeRenderer(settings).render(routes)
