"""Evidence: what an explanation is found in, be it read from a cluster, from recordings or from a running router."""

from collections.abc import Mapping

from reconciler.objects.listing import Listing
from reconciler.objects.snapshot import Snapshot
from reconciler.objects.workloads import Workload
from reconciler.routing.model import Host, RoutingTable, Upstream
from reconciler.routing.own_upstreams import find_own_upstreams
from reconciler.routing.sharing import Contest
from reconciler.routing.table import TableBuilder
from reconciler.settings import Settings
from reconciler.values.certificates import PemCache
from reconciler.values.value import Value


class HeldNamespace(Value, frozen=True):
    """A Namespace that is served at its last good state, and why."""

    namespace: str
    why: str


class Evidence(Value, frozen=True):
    """A routing table, and what it was made of: `contests` by host, and `listing` with the objects not selected too.

    A running router does not tell these: `contests` is None, and `listing` is empty. Only a router knows who is `held`.
    `gaps` are sentences that say what could not be looked at. If not `has_secrets`, nothing is known of Secrets.
    `own_upstreams` names the upstreams whose Pods come and go with a reload, each with what needs it.
    """

    table: RoutingTable
    contests: Mapping[str, Contest] | None
    listing: Listing
    workloads: tuple[Workload, ...] = ()
    held: tuple[HeldNamespace, ...] = ()
    gaps: tuple[str, ...] = ()
    has_secrets: bool = True
    own_upstreams: Mapping[str, str] = {}

    def find_upstream(self, name: str) -> Upstream | None:
        """Find an upstream by its name."""
        return next((one for one in self.table.routes.upstreams if one.name == name), None)

    def list_upstreams(self, host: Host) -> list[Upstream]:
        """List the upstreams behind a host's paths."""
        names = {location.upstream for location in host.locations}
        return [one for one in self.table.routes.upstreams if one.name in names]

    def find_named(self, name: str) -> Host | None:
        """Find a host by its own name, on whichever port it is served."""
        return next((one for one in self.table.routes.hosts if one.name == name), None)


def gather(
    snapshot: Snapshot, listing: Listing, settings: Settings, now: float, gaps: tuple[str, ...] = ()
) -> Evidence:
    """Build what is routed of a Snapshot; `listing` holds all objects that could be read, selected or not.

    `now` is in seconds since the epoch.
    """
    tables = TableBuilder(settings, PemCache())
    table = tables.build(snapshot, now)
    own = find_own_upstreams(table.routes)
    return Evidence(table, tables.settle(snapshot), listing, gaps=gaps, own_upstreams=own)
